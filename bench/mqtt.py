"""Publishing to mosquitto with QoS 1: polls of ten values from the bus to the broker's acknowledgement, per second of our core.

Against it: the same payloads, made beforehand, by a bare paho client in a thread of its own with the same window.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from bench.common import CLIENT_CORE, SERVER_CORE, Result, Settings, pin
from headend.model.reading import ReadingBatch, Source
from headend.northbound.delivery import WINDOW
from headend.northbound.layouts import HeadendLayout
from headend.northbound.mqtt import Broker, MqttSink
from headend.northbound.topics import Request, Topics, telemetry_payloads
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.storage.outbox import Outbox
from headend.telemetry import SINK_MESSAGES

MESSAGES = 10_000
QUANTITIES = (*(f"active_energy_import_t{n}" for n in range(1, 9)), "voltage_l1", "current_l1")


@contextmanager
def mosquitto(port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", encoding="utf-8")
        child = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)
        pin(child.pid, CLIENT_CORE)
        try:
            time.sleep(0.5)
            yield
        finally:
            child.terminate()
            child.wait(10)


def batches() -> list[ReadingBatch]:
    return [
        ReadingBatch(
            meter_id=f"meter-{n % 1000:04}",
            source=Source.POLL,
            received_at=n,
            quantities=QUANTITIES,
            values=[n + 0.5] * len(QUANTITIES),
            measured_at=[n] * len(QUANTITIES),
            quality=[0] * len(QUANTITIES),
        )
        for n in range(MESSAGES)
    ]


async def _no_answer(_request: Request) -> object:
    return None


async def ours(port: int, work: list[ReadingBatch]) -> float:
    bus = Bus()
    target = Broker(host="127.0.0.1", port=port, version="5")
    outbox = Outbox(Path("/nonexistent/outbox.db"), max_messages=1, max_octets=1)
    sink = MqttSink(
        target.connect,
        Voice([HeadendLayout(Topics("headend/v1"))], version="1"),
        bus,
        _no_answer,
        lambda: 5,
        outbox=outbox,
    )
    task = asyncio.create_task(sink.run())
    await sink.connected.wait()
    sent = SINK_MESSAGES.labels("mqtt", "sent")._value
    before, cpu = sent.get(), time.process_time()
    for batch in work:
        bus.publish(batch)
    while sent.get() - before < MESSAGES:  # noqa: ASYNC110 - a counter cannot be awaited
        await asyncio.sleep(0.005)
    cpu = time.process_time() - cpu
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    sink.close()
    return MESSAGES / cpu


def bare(port: int, work: list[ReadingBatch]) -> float:
    topics = Topics("headend/v1")
    ready = [(topics.meter(batch.meter_id, "telemetry"), telemetry_payloads(batch)[0]) for batch in work]
    room, connected = threading.Semaphore(WINDOW), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: room.release()
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.wait(10)
    cpu = time.process_time()
    for topic, payload in ready:
        room.acquire()
        client.publish(topic, payload, qos=1)
    for _ in range(WINDOW):
        room.acquire()
    cpu = time.process_time() - cpu
    client.disconnect()
    client.loop_stop()
    return MESSAGES / cpu


def run(settings: Settings) -> list[Result]:
    pin(0, SERVER_CORE)
    work, port = batches(), 21883
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    with mosquitto(port):
        for _ in range(settings.repeats):
            taken["bare"].append(bare(port, work))
            taken["ours"].append(uvloop.run(ours(port, work)))
    return [
        Result(
            benchmark="mqtt",
            what="polls of ten values published with QoS 1 to mosquitto, shaped and acknowledged",
            figure=statistics.median(taken["ours"]),
            unit="messages/s",
            against="bare paho with payloads made beforehand",
            reference=statistics.median(taken["bare"]),
        )
    ]

"""From the meter's answer to the browser and to MQTT, on a served head-end with virtual meters and mosquitto; and many browsers.

Every message says when the answer had come (`ts`: meters that tell no time of their own); how late it arrives is that time until
the client has parsed it, on the clock of one machine. The head-end has core 0; meters, broker and clients share the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt

from bench.common import CLIENT_CORE, SERVER_CORE, Result, Settings, pin

METERS = 100
POLL_SECONDS = 2
BROWSERS = 200
LOOKING = 4
MEASURED_SECONDS = 20.0

FLEET = """
[fleet]
seed = 3
[[group]]
profile = "eastron-sdm630"
name = "m{{number:03}}"
count = {meters}
first_address = "127.70.0.1"
port = {port}
"""
SERVE = """data = {data}
[web]
port = {web}
[gateway]
enabled = false
[mqtt]
broker = "mqtt://127.0.0.1:{mqtt}"
[log]
level = "error"
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], core: int, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out)
    pin(child.pid, core)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(30)


def wait_for(what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            if true():
                return
        time.sleep(0.1)
    raise TimeoutError(what)


def processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def mqtt_late(port: int, seconds: float) -> list[float]:
    late: list[float] = []
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("headend/v1/meters/+/telemetry")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for message in client.messages:
                    late.append(time.time() * 1000 - json.loads(bytes(message.payload))["ts"])  # noqa: PERF401 - a comprehension that times out gives nothing
    return late


async def browser_late(port: int, seconds: float, *, looks: bool = True) -> list[float]:
    """A browser that follows all readings: how late the newest of each meter in a frame is; one that does not look only takes."""
    late: list[float] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(b"GET /api/v1/live?topics=readings HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while line := await reader.readline():
                if looks and line.startswith(b"data: "):
                    frame = json.loads(line[6:])
                    now = time.time() * 1000
                    late += [now - max(meter["measured_at"]) for meter in frame["meters"].values()]
    writer.close()
    return late


async def many(port: int, seconds: float) -> list[float]:
    """All browsers; a few of them look, for all together would be too much for one core."""
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(browser_late(port, seconds, looks=n < LOOKING)) for n in range(BROWSERS)]
    return [late for task in made for late in task.result()]


def percentiles(late: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(late, n=100)
    return cuts[49], cuts[98]


def run(settings: Settings) -> list[Result]:
    return list(_run(settings))


def _run(settings: Settings) -> Iterator[Result]:
    mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    headend = str(Path(sys.executable).with_name("headend"))
    seconds = MEASURED_SECONDS if settings.repeats > 1 else 5.0
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as name:
        folder = Path(name)
        web, mqtt, modbus = free_port(), free_port(), free_port()
        (folder / "mosquitto.conf").write_text(f"listener {mqtt} 127.0.0.1\nallow_anonymous true\n")
        (folder / "fleet.toml").write_text(FLEET.format(meters=METERS, port=modbus))
        listed = folder / "meters.json"
        config = folder / "headend.toml"
        with (
            started([mosquitto, "-c", str(folder / "mosquitto.conf")], CLIENT_CORE, folder / "broker.out"),
            started([headend, "emulate", str(folder / "fleet.toml"), "--json"], CLIENT_CORE, listed),
        ):
            wait_for("the meters", lambda: len(json.loads(listed.read_text())) == METERS)
            text = SERVE.format(data=json.dumps(str(folder / "data")), web=web, mqtt=mqtt)
            for meter in json.loads(listed.read_text()):
                text += (
                    f'[[meters]]\nurl = {json.dumps(meter["url"])}\nname = "{meter["name"]}"\npoll = {POLL_SECONDS}\n'
                )
            config.write_text(text)
            with started([headend, "serve", "--config", str(config)], SERVER_CORE, folder / "serve.out") as child:
                wait_for("all meters online", lambda: _status(web)["online"] == METERS)
                yield from _measured(child.pid, web, mqtt, seconds)


def _status(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _measured(pid: int, web: int, mqtt: int, seconds: float) -> Iterator[Result]:
    time.sleep(2 * POLL_SECONDS)
    half, most = percentiles(asyncio.run(mqtt_late(mqtt, seconds)))
    yield _late("answer of a meter to a client of mosquitto, 50 %", half)
    yield _late("the same, 99 %", most)
    before, since = processor(pid), time.monotonic()
    half, most = percentiles(asyncio.run(browser_late(web, seconds)))
    alone = (processor(pid) - before) / (time.monotonic() - since)
    yield _late("answer of a meter to one browser, 50 %", half)
    yield _late("the same, 99 %", most)
    before, since = processor(pid), time.monotonic()
    half, most = percentiles(asyncio.run(many(web, seconds)))
    share = (processor(pid) - before) / (time.monotonic() - since)
    yield _late(f"answer of a meter to each of {BROWSERS} browsers, 50 %", half)
    yield _late("the same, 99 %", most)
    yield Result(
        benchmark="latency",
        what=f"share of a core for {BROWSERS} browsers on the live feed of {METERS} meters, {POLL_SECONDS} s apart",
        figure=round(share - alone, 3),
        unit="of a core",
        note=f"beside {alone:.3f} for one browser, polling, storing and MQTT",
    )


def _late(what: str, milliseconds: float) -> Result:
    return Result(benchmark="latency", what=what, figure=round(milliseconds, 1), unit="ms")

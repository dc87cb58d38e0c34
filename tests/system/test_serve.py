"""`headend serve` as it is run: settings, ports, TLS, signals, and what survives."""

from __future__ import annotations

import json
import queue
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.ports import free_port

from .served import COMMAND, HeadEnd, Meters, Process, certificate_files, configured, enter

PASSWORD = "w9-Lkd21"
FLEET = """
[fleet]
seed = 3

[[group]]
profile = "generic-dlms-1p"
count = 50
first_address = "127.31.0.1"
name = "flat-{number:03}"

[[group]]
profile = "generic-dlms-3p"
count = 20
first_address = "127.32.0.1"
name = "shop-{number:03}"
params = { auth = "lls", client = "1" }
secrets = { secret = "env:FLEET_SECRET" }

[[group]]
profile = "eastron-sdm630"
count = 30
units = [1, 2, 3]
first_address = "127.33.0.1"
name = "panel-{number:03}"
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Meters]:
    with Meters(tmp_path, FLEET, {"FLEET_SECRET": PASSWORD}) as meters:
        yield meters


def rows(folder: Path) -> tuple[int, str]:
    """(readings in the database, what SQLite says of its integrity), by SQLite itself."""
    with sqlite3.connect(folder / "data" / "headend.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM readings").fetchone()
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return count, integrity


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_and_everything_goes_on(tmp_path: Path, fleet: Meters) -> None:
    config = str(configured(tmp_path, ""))
    enter(tmp_path, fleet.roster, 1.0, PASSWORD)
    subprocess.run(
        [*COMMAND, "user", "add", "alice", "--role", "admin", "--config", config],
        input="a long password\n",
        text=True,
        check=True,
        capture_output=True,
    )
    acknowledged = 0
    for _ in range(2):
        with HeadEnd(tmp_path) as head_end:
            assert head_end.meters == 100
            acknowledged += head_end.wait_stored(3000)
            head_end.stop(signal.SIGKILL)
        count, integrity = rows(tmp_path)
        assert integrity == "ok"
        assert count >= acknowledged
    with HeadEnd(tmp_path) as head_end:
        status = head_end.wait(lambda: status if (status := head_end.get("api/v1/status"))["online"] == 100 else None)
        assert status["offline"] == 0
        signed_in = httpx.post(
            f"{head_end.url}api/v1/session",
            json={"user": "alice", "password": "a long password"},
            headers={"Origin": head_end.url.rstrip("/")},
        )
        assert signed_in.json() == {"kind": "user", "name": "alice", "role": "admin"}
        assert PASSWORD not in json.dumps(head_end.get("api/v1/meters?limit=1000"))
        assert head_end.stop() == 0
        assert PASSWORD not in head_end.said


def test_it_says_when_it_is_ready_answers_and_releases_sessions_when_it_stops(tmp_path: Path, heard: Heard) -> None:
    """The meter is behind a wire that keeps what it hears: the last thing is the release of the association."""
    configured(tmp_path, "")
    enter(tmp_path, [{"url": heard.url, "name": "m1"}], 1.0)
    with HeadEnd(tmp_path) as head_end:
        assert head_end.get("api/v1/health") == {"status": "ok"}
        head_end.wait(lambda: head_end.get("api/v1/status")["online"] or None)
        with follower(head_end.mqtt) as messages:
            topics = {next_message(messages).topic for _ in range(3)}
            assert any(topic.startswith("headend/v1/") for topic in topics)
        began = time.monotonic()
        assert head_end.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        assert "head-end stops" in head_end.said
        assert "Traceback" not in head_end.said
    assert heard.octets[8] == 0x62, heard.octets.hex(" ")


def test_ctrl_c_is_a_stop_too(tmp_path: Path) -> None:
    with HeadEnd(tmp_path) as head_end:
        assert head_end.stop(signal.SIGINT) == 0


def test_systemd_hears_that_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(60)
        with HeadEnd(tmp_path, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}) as head_end:
            assert heard.recv(1000).startswith(b"READY=1\nSTATUS=")
            for _ in range(3):
                assert heard.recv(1000).startswith(b"WATCHDOG=1\nSTATUS=0 meters")
            assert head_end.stop(signal.SIGTERM) == 0
        heard.settimeout(0)
        said = []
        with suppress(BlockingIOError):
            while True:
                said.append(heard.recv(1000))
        assert said[-1].startswith(b"STOPPING=1")


def test_two_servers_on_one_port(tmp_path: Path) -> None:
    with HeadEnd(tmp_path) as head_end:
        port = httpx.URL(head_end.url).port
        for name, settings, words in (
            ("web", f"[web]\nport = {port}\n", f"the web server cannot listen on 127.0.0.1:{port}"),
            (
                "mqtt",
                f"[mqtt]\nembedded_port = {head_end.mqtt}\n",
                f"the embedded broker cannot listen on 127.0.0.1:{head_end.mqtt}",
            ),
        ):
            other = tmp_path / name
            other.mkdir()
            with Process("serve", "--config", str(configured(other, settings))) as second:
                assert second.child.wait(30) == 2
                assert words in second.said
                assert "  try: " in second.said
                assert "Traceback" not in second.said
        assert head_end.get("api/v1/health") == {"status": "ok"}


def test_two_servers_on_one_data_folder(tmp_path: Path) -> None:
    with HeadEnd(tmp_path) as head_end:
        with Process("serve", "--config", str(tmp_path / "headend.toml")) as second:
            assert second.child.wait(30) == 2
            assert f"another head-end works on {tmp_path / 'data'}" in second.said
        assert head_end.get("api/v1/health") == {"status": "ok"}
        head_end.stop(signal.SIGKILL)
    with HeadEnd(tmp_path) as head_end:
        assert head_end.stop() == 0


def test_beyond_loopback_a_broker_needs_users(tmp_path: Path) -> None:
    config = configured(tmp_path, '[mqtt]\nembedded_host = "0.0.0.0"\n')
    with Process("serve", "--config", str(config)) as refused:
        assert refused.child.wait(30) == 2
        assert "would take anybody" in refused.said
        assert "mqtt.embedded_users" in refused.said


def test_tls_by_two_settings(tmp_path: Path) -> None:
    certificate, key = certificate_files(tmp_path)
    tls = f'[web]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    with HeadEnd(tmp_path, tls) as head_end:
        assert head_end.url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=certificate)
        answer = httpx.get(f"{head_end.url}api/v1/health", verify=trust)
        assert answer.json() == {"status": "ok"}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{head_end.url}api/v1/health")
        assert head_end.stop() == 0


@pytest.mark.slow
def test_a_disk_that_takes_nothing_is_loud_and_passes(tmp_path: Path, fleet: Meters) -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses the write, as it would there."""
    configured(tmp_path, "")
    enter(tmp_path, fleet.roster, 1.0, PASSWORD)
    with HeadEnd(tmp_path) as head_end:
        head_end.wait_stored(2000)
        largest = max(path.stat().st_size for path in (tmp_path / "data").iterdir())
        resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        with follower(head_end.mqtt) as messages:
            said = head_end.until("database does not take readings")
            assert (said["level"], said["code"]) == ("error", "storage")
            assert head_end.get("api/v1/health") == {"status": "degraded"}
            while True:
                message = next_message(messages)
                if message.topic == "headend/v1/gateway/events":
                    break
            assert json.loads(message.payload)["event"] == "STORAGE_FULL"
        stuck = head_end.stored()
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE, unlimited)
        head_end.until("database takes readings again")
        stored = head_end.wait_stored(stuck + 2000)
        assert head_end.get("api/v1/health") == {"status": "ok"}
        assert head_end.stop() == 0
    count, integrity = rows(tmp_path)
    assert integrity == "ok"
    assert count >= stored


@pytest.mark.slow
@pytest.mark.broker
def test_a_broker_that_goes_and_comes_back(tmp_path: Path, fleet: Meters) -> None:
    port = free_port()
    configured(tmp_path, "")
    enter(tmp_path, fleet.roster[:5], 1.0)
    with HeadEnd(tmp_path, f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n') as head_end:
        head_end.until("sink away")
        for _ in range(2):
            with mosquitto(tmp_path, port), follower(port) as messages:
                head_end.until("sink connected")
                wanted = {
                    f"headend/v1/meters/{line['name']}/{tail}"
                    for line in fleet.roster[:5]
                    for tail in ("telemetry", "status")
                }
                wanted.add("headend/v1/gateway/status")
                while wanted:
                    message = next_message(messages)
                    wanted.discard(message.topic)
                    if message.topic.endswith("/status"):
                        assert json.loads(message.payload)["online"] is True
                with follower(port) as later:
                    # What is retained greets those who come later.
                    found = [next_message(later) for _ in range(6)]
                    assert sum(message.retain and message.topic.endswith("status") for message in found) >= 5
            head_end.until("sink away")
        assert head_end.stop() == 0


# what it is looked at with


class Heard:
    """A wire to a virtual meter, in a thread; keeps the last thing that was said to the meter."""

    def __init__(self, meter: tuple[str, int]) -> None:
        self.octets = b""
        self._meter = meter
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"dlms://127.0.0.1:{self._listener.getsockname()[1]}?profile=generic-dlms-1p"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            meter = socket.create_connection(self._meter)
            self._sockets += [client, meter]
            for source, target in ((client, meter), (meter, client)):
                thread = threading.Thread(target=self._pass, args=(source, target, source is client))
                thread.start()
                self._threads.append(thread)

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    self.octets = data
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    with Meters(tmp_path, '[[group]]\nprofile = "generic-dlms-1p"\nfirst_address = "127.34.0.1"\n') as meters:
        url = httpx.URL(meters.roster[0]["url"])
        wire = Heard((url.host, url.port or 4059))
        yield wire
        wire.close()


Messages: TypeAlias = "queue.Queue[paho.MQTTMessage]"


@contextmanager
def follower(port: int) -> Iterator[Messages]:
    """All messages under headend/ at a broker, by a client that is not ours."""
    messages: Messages = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_connect = lambda connected, *_: connected.subscribe("headend/#", qos=1)
    client.on_message = lambda _client, _data, message: messages.put(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


def next_message(messages: Messages) -> paho.MQTTMessage:
    return messages.get(timeout=30)


@contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[None]:
    """A broker that forgets everything when it ends."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("no mosquitto on this machine: make test installs it")
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n")
    with subprocess.Popen([program, "-c", str(config)]) as broker:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                break
        try:
            yield
        finally:
            broker.terminate()

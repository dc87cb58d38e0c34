"""Thousands of meters dial in to `headend serve`, and everything goes wrong that can.

The head-end, the meters (another process of the same program) and mosquitto run on this machine. What is counted at mosquitto is
counted by a client of its own: the head-end is not asked how well it does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiomqtt
import httpx

HEADEND: Final = [str(Path(sys.executable).with_name("headend"))]
POLL_SECONDS: Final = 60
STORM_SECONDS: Final = 10
GARBAGE: Final = 100 << 20
SLOW: Final = 500
COMMANDS: Final = 300

FLEET: Final = """
[fleet]
seed = 7

[[group]]
profile = "ivy-em114070"
name = "ivy-{{number:05}}"
count = {ivy}
first_address = "127.50.0.1"
dial = "tcp://127.0.0.1:{port}"
spread = {spread}
retry = 2
most = 10

[[group]]
profile = "generic-dlt645-1p"
name = "dlt-{{number:05}}"
count = {dlt645}
first_address = "127.51.0.1"
dial = "tcp://127.0.0.1:{port}"
registration = "usr"
number = "9{{number:07}}"
spread = {spread}
retry = 2
most = 10

[[group]]
profile = "generic-dlms-push"
name = "push-{{number:05}}"
count = {push}
first_address = "127.52.0.1"
dial = "tcp://127.0.0.1:{port}"
spread = {spread}
retry = 2
most = 10
"""
SETTINGS: Final = """
data = "{data}"
[web]
port = {web}
[gateway]
places = ["tcp://127.0.0.1:{gate}"]
links = 15000
[mqtt]
{broker}
[poll]
in_flight = 500
[log]
level = "error"
"""


@dataclass(slots=True)
class Ports:
    """Where everybody listens."""

    gate: int
    web: int
    mqtt: int


@dataclass(slots=True)
class Figures:
    """What was measured, by name."""

    values: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def note(self, name: str, value: object) -> None:
        """Keep a figure, and show it."""
        self.values[name] = value
        print(f"{name:58} {value}", flush=True)

    def expect(self, name: str, value: float, *, least: float | None = None, most: float | None = None) -> None:
        """Keep a figure that has to lie within bounds."""
        self.note(name, value)
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"at most {most}"
            self.faults.append(f"{name}: {value}, expected {bounds}")


class Site:
    """Head-end, meters, broker, and who watches them."""

    def __init__(self, folder: Path, ports: Ports, meters: int, *, embedded: bool) -> None:
        self.embedded = embedded
        """the broker is the head-end's own"""
        self.folder = folder
        self.ports = ports
        self.meters = meters
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.telemetry: Counter[str] = Counter()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.web}", timeout=60)

    def run(self, name: str, *command: str, output: Path | None = None) -> None:
        """Start a process of the site."""
        out = (output or self.folder / f"{name}.out").open("wb")
        err = (self.folder / f"{name}.err").open("wb")
        self.processes[name] = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)

    def kill(self, name: str, how: int = signal.SIGTERM) -> None:
        """End a process."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(60)

    def broker(self) -> None:
        """Mosquitto, as if nobody had ever stopped it."""
        path = self.folder / "mosquitto.conf"
        path.write_text(f"listener {self.ports.mqtt} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n")
        found = next(path for path in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto") if Path(path).exists())
        self.run("broker", found, "-c", str(path))

    def emulate(self, spread: int) -> None:
        """The meters; they dial until somebody listens."""
        ivy, dlt645 = self.meters * 4 // 10, self.meters * 3 // 10
        push = self.meters - ivy - dlt645
        text = FLEET.format(ivy=ivy, dlt645=dlt645, push=push, port=self.ports.gate, spread=spread)
        (self.folder / "fleet.toml").write_text(text)
        self.run(
            "fleet", *HEADEND, "emulate", str(self.folder / "fleet.toml"), "--json", output=self.folder / "meters.json"
        )

    async def start(self) -> None:
        """Everything up: the meters are entered before the head-end runs."""
        data = self.folder / "data"
        named = (
            f"embedded_port = {self.ports.mqtt}" if self.embedded else f'broker = "mqtt://127.0.0.1:{self.ports.mqtt}"'
        )
        values = {"data": data, "web": self.ports.web, "gate": self.ports.gate, "broker": named}
        (self.folder / "serve.toml").write_text(SETTINGS.format(**values))
        config = ["--config", str(self.folder / "serve.toml")]
        if not self.embedded:
            self.broker()
        self.emulate(spread=STORM_SECONDS)
        await until("the list of meters", 120, lambda: _whole(self.folder / "meters.json"))
        entered = [*HEADEND, "meters", "import", str(self.folder / "meters.json"), "--poll", str(POLL_SECONDS), *config]
        await asyncio.to_thread(subprocess.run, entered, check=True, capture_output=True)
        key = [*HEADEND, "key", "add", "soak", "--role", "admin", *config]
        said = await asyncio.to_thread(subprocess.run, key, check=True, capture_output=True)
        self.client.headers["Authorization"] = f"Bearer {said.stdout.decode().strip()}"
        self.run("serve", *HEADEND, "serve", *config)
        await until("the head-end", 120, self._answers)

    async def _answers(self) -> bool:
        try:
            return (await self.client.get("/api/v1/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async def listen(self) -> None:
        """Count telemetry at the broker, by meter, over its restarts."""
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", self.ports.mqtt, identifier="soak", clean_session=False, max_queued_incoming_messages=0
                ) as client:
                    await client.subscribe("headend/v1/meters/+/telemetry", qos=1)
                    async for message in client.messages:
                        self.telemetry[message.topic.value.split("/")[3]] += 1
            except aiomqtt.MqttError:
                await asyncio.sleep(0.5)

    async def connected(self) -> int:
        """Open connections; meters that only push are known by their first push."""
        return int((await self.client.get("/api/v1/connections", params={"limit": 1})).json()["total"])

    async def status(self) -> dict[str, Any]:
        """The head-end at a glance."""
        found: dict[str, Any] = (await self.client.get("/api/v1/status")).json()
        return found

    def memory(self, name: str) -> int:
        """Resident octets of a process."""
        for line in Path(f"/proc/{self.processes[name].pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise AssertionError("a process has a size")

    def processor(self, name: str) -> float:
        """Seconds of processor time of a process."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        """Everything down."""
        await self.client.aclose()
        for name in tuple(self.processes):
            self.kill(name)


def _whole(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text()))
    except (OSError, ValueError):
        return False


async def until(what: str, seconds: float, true: Callable[[], bool | Awaitable[bool]]) -> float:
    """Wait until something is so; returns how long it took."""
    began = time.monotonic()
    while True:
        found = true()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what} did not come about within {seconds:.0f} s")
        await asyncio.sleep(0.2)


async def all_connected(site: Site, figures: Figures, name: str, most: float) -> None:
    """Wait until every meter is connected."""

    async def connected() -> bool:
        return await site.connected() >= site.meters

    try:
        figures.expect(name, round(await until("all connections", 300, connected), 1), most=most)
    except TimeoutError:
        figures.expect(f"{name}: connected", await site.connected(), least=site.meters)


async def heard_of_all(site: Site, figures: Figures, name: str, seconds: float) -> None:
    """Wait until each meter was heard of anew at the broker."""
    before = Counter(site.telemetry)

    def heard() -> bool:
        return sum(count > before[meter] for meter, count in site.telemetry.items()) >= site.meters

    try:
        figures.note(name, round(await until("telemetry of all", seconds, heard), 1))
    except TimeoutError:
        missing = site.meters - sum(count > before[meter] for meter, count in site.telemetry.items())
        figures.expect(f"{name}: meters not heard of", missing, most=0)


async def slow(port: int, count: int, stop: asyncio.Event) -> None:
    """Callers that say an octet a second, and never anything whole."""

    async def one(number: int) -> None:
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(f"127.60.{number >> 8}.{number & 255}", 0)
                )
                for octet in bytes.fromhex("0001000100010012") * 100:
                    writer.write(bytes((octet,)))
                    await writer.drain()
                    await asyncio.sleep(1)
                    if stop.is_set():
                        break
                writer.close()
            except OSError:
                await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for number in range(1, count + 1):
            group.create_task(one(number))


async def garbage(port: int, octets: int) -> int:
    """One peer that sends noise as long as it may; returns how much was taken from it."""
    taken, noise = 0, os.urandom(1 << 16)
    deadline = time.monotonic() + 60
    while taken < octets and time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.61.0.1", 0))
            while taken < octets:
                writer.write(noise)
                await asyncio.wait_for(writer.drain(), 5)
                taken += len(noise)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.02)
    return taken


async def flood(port: int, number: str, stop: asyncio.Event) -> int:
    """A meter that sends heartbeats as fast as they are taken; returns how many."""
    from headend.drivers.recognition import Kind  # noqa: PLC0415 - only here
    from headend.drivers.registrations import built_in  # noqa: PLC0415

    longi, sent = built_in().get("longi"), 0
    frame = longi.encode(Kind.HEARTBEAT, {"device": "meter", "number": number})
    login = longi.encode(Kind.LOGIN, {"device": "meter", "number": number, "option": "00"})
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.62.0.1", 0))
            writer.write(login)
            while not stop.is_set():
                writer.write(frame * 100)
                await asyncio.wait_for(writer.drain(), 2)
                sent += 100
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1 << 16), 0.01)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.5)
    return sent


async def run(folder: Path, ports: Ports, meters: int, minutes: float, *, embedded: bool) -> Figures:
    """The whole of it; with the embedded broker, only until each meter was heard of."""
    figures = Figures()
    site = Site(folder, ports, meters, embedded=embedded)
    listening = asyncio.create_task(site.listen())
    try:
        await site.start()
        figures.note("meters", meters)
        await all_connected(site, figures, "seconds until all were connected, dialled over 10 s", 60)
        await heard_of_all(site, figures, "seconds until each was heard of at the broker", 5 * POLL_SECONDS)
        if embedded:
            return figures
        idle = site.memory("serve")
        figures.note("resident MB of the head-end, all connected", round(idle / 1e6, 1))

        await commands(site, figures)
        used = site.processor("serve")
        began = time.monotonic()
        await asyncio.sleep(60 * minutes)
        share = (site.processor("serve") - used) / (time.monotonic() - began)
        figures.note("share of a core, polled every minute", round(share, 3))

        site.kill("fleet", signal.SIGKILL)
        await until("the end of all connections", 60, lambda: _none(site))
        site.emulate(spread=STORM_SECONDS)
        await all_connected(site, figures, "seconds until all were back after a storm of 10 s", 60)

        stop = asyncio.Event()
        nuisances = [
            asyncio.create_task(slow(ports.gate, SLOW, stop)),
            asyncio.create_task(flood(ports.gate, "999999999999", stop)),
        ]
        used, size = site.processor("serve"), site.memory("serve")
        figures.note("octets of noise that one peer sent in vain", await garbage(ports.gate, GARBAGE))
        figures.note("seconds of processor time meanwhile", round(site.processor("serve") - used, 1))
        figures.expect("MB that the head-end grew by meanwhile", round((site.memory("serve") - size) / 1e6, 1), most=50)
        await heard_of_all(
            site, figures, "seconds until each was heard of, beside slow, noisy and flooding callers", 3 * POLL_SECONDS
        )
        stop.set()
        figures.note("heartbeats of a flooding meter", (await asyncio.gather(*nuisances))[1])

        site.kill("broker")
        await asyncio.sleep(60)
        waited = await site.status()
        site.broker()
        await heard_of_all(
            site, figures, "seconds until each was heard of after a minute without broker", 4 * POLL_SECONDS
        )
        figures.note("readings stored", (await site.status())["readings_stored"])
        figures.expect("meters offline at the end", (await site.status())["offline"], most=meters // 200)
        figures.expect("growth of the head-end's memory", round(site.memory("serve") / idle, 2), most=1.5)
        figures.note("readings waiting without a broker", waited["readings_waiting"])
    finally:
        listening.cancel()
        await site.stop()
    return figures


async def commands(site: Site, figures: Figures) -> None:
    """Reads as commands, one after the other, each of another meter that logs in."""
    names = [meter["name"] for meter in json.loads((site.folder / "meters.json").read_text())]
    asked = [name for name in names if name.startswith("ivy")][:COMMANDS]
    times = []
    for name in asked:
        began = time.monotonic()
        answer = await site.client.post(
            f"/api/v1/meters/{name}/commands", json={"kind": "read"}, headers={"Prefer": "wait=30"}
        )
        if answer.json().get("state") == "succeeded":
            times.append(time.monotonic() - began)
        else:
            figures.faults.append(f"{name}: {answer.text[:300]}")
    figures.expect("commands that succeeded", len(times), least=len(asked))
    if not times:
        return
    times.sort()
    figures.note("milliseconds of a command and its answer, half of them", round(times[len(times) // 2] * 1000, 1))
    figures.note("milliseconds of a command and its answer, 99 %", round(times[len(times) * 99 // 100] * 1000, 1))


async def _none(site: Site) -> bool:
    return await site.connected() == 0

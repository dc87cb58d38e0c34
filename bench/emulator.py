"""The virtual fleet: answers a second, the start, memory, a storm of connections, and a head-end that reads all of it once.

The fleet has a process and a core of its own, as the bare responder it is compared with; a bare client on the other core
asks both of them the same. A figure is answers per second of processor time of the fleet.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import uvloop

from bench.common import CLIENT_CORE, Result, Settings, client, module, resident, say, server, start
from bench.exchange import request
from bench.polling import all_read, parts
from bench.responder import AARQ, CLIENT, METER
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.model import meter as model
from headend.protocols.wrapper import wrap
from headend.storage.store import Store
from headend.transport.tcp import raise_descriptor_limit

METERS = 10_000
ASKED = 1000
FIRST = "127.40.0.1"
PROFILES = {"dlms": "generic-dlms-3p", "modbus": "eastron-sdm630"}
READ = {"dlms": request("wrapper").frames[1], "modbus": bytes.fromhex("000100000006010400000006")}
HELLO = {"dlms": wrap(AARQ, CLIENT, METER), "modbus": b""}


async def fleet(protocol: str) -> None:
    """The fleet in this process; each line on standard input tells what it has cost so far."""
    loop = asyncio.get_running_loop()
    profile = Library().get(PROFILES[protocol])
    base, begun = resident(), time.perf_counter()
    made = Fleet([Group(profile=profile, count=METERS, first_address=FIRST)])
    await made.start()
    taken = time.perf_counter() - begun
    say(port=made._listeners[0].port, seconds=taken)
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(cpu=time.process_time(), links=made.links, octets=resident() - base)
    await made.aclose()


class Asking(asyncio.Protocol):
    """Says hello where one has to, then asks and asks again; `enough` is set when so many answers came."""

    answers = 0
    hello: bytes
    read: bytes
    again = True
    enough: asyncio.Event

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.hello or self.read)

    def data_received(self, _data: bytes) -> None:
        type(self).answers += 1
        if self.again:
            self.transport.write(self.read)
        elif self.answers == METERS:
            self.enough.set()


def asking(protocol: str, *, again: bool) -> type[Asking]:
    fields = {"hello": HELLO[protocol], "read": READ[protocol], "again": again, "enough": asyncio.Event()}
    return type("Asking", (Asking,), fields)


def hosts(count: int, *, many: bool) -> list[str]:
    first = int(IPv4Address(FIRST))
    return [str(IPv4Address(first + number)) if many else "127.0.0.1" for number in range(count)]


async def ask(protocol: str, port: int, *, many: bool) -> None:
    """Ask a thousand meters without a pause; each line on standard input tells how many answers came."""
    loop, kind = asyncio.get_running_loop(), asking(protocol, again=True)
    for host in hosts(ASKED, many=many):
        await loop.create_connection(kind, host, port)
    say(ready=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(answers=kind.answers)


async def storm(protocol: str, port: int) -> None:
    """Connect to all meters at once; how many seconds until each of them has answered something."""
    raise_descriptor_limit()
    loop, kind = asyncio.get_running_loop(), asking(protocol, again=False)
    begun = time.perf_counter()
    async with asyncio.timeout(60):
        await asyncio.gather(*(loop.create_connection(kind, host, port) for host in hosts(METERS, many=True)))
        await kind.enough.wait()
    say(seconds=time.perf_counter() - begun)
    sys.stdin.readline()


async def read_all(port: int, folder: Path) -> None:
    """The head-end reads the whole plan of every meter once, and stores it."""
    raise_descriptor_limit()
    profile = Library().get(PROFILES["dlms"])
    known = [
        model.Meter(
            id=f"meter-{number:05}",
            protocol="dlms",
            framing="wrapper",
            endpoint=model.Endpoint(kind=model.EndpointKind.TCP, host=host, port=port),
            poll_seconds=60,
        )
        for number, host in enumerate(hosts(METERS, many=True))
    ]
    with Store.open(folder / "fleet.db", vault_key=None) as store:
        made = parts(profile, store.readings.write, known)
        for state in made.roster:
            made.poller._schedule.hurry(state.meter.id, 0.0)
        begun, cpu = time.perf_counter(), time.process_time()
        polling, writing = asyncio.create_task(made.poller.run()), asyncio.create_task(made.writer.run())
        await all_read(made.roster)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        failed = sum(state.reads_failed for state in made.roster)
        made.poller.stop()
        await polling
        await made.lanes.aclose()
        made.writer.close()
        await writing
    say(seconds=seconds, cpu=cpu, failed=failed, readings=made.writer.acknowledged)
    sys.stdin.readline()


def rate(protocol: str, command: list[str], seconds: float, *, many: bool) -> float:
    """Answers per second of processor time of a server."""
    with server(command) as (process, ready):
        asker = start(module("bench.emulator", "ask", protocol, ready["port"], int(many)), CLIENT_CORE)
        try:
            asker.line()
            time.sleep(0.5)
            cpu, answers = json.loads(process.ask())["cpu"], json.loads(asker.ask())["answers"]
            time.sleep(seconds)
            cpu, answers = json.loads(process.ask())["cpu"] - cpu, json.loads(asker.ask())["answers"] - answers
        finally:
            asker.stop()
    return float(answers / cpu)


def rates(settings: Settings) -> list[Result]:
    results = []
    for protocol, profile in PROFILES.items():
        taken: dict[str, list[float]] = {"ours": [], "bare": []}
        responder = "wrapper" if protocol == "dlms" else "modbus"
        for _ in range(settings.repeats):
            bare, ours = module("bench.responder", responder), module("bench.emulator", "fleet", protocol)
            taken["bare"].append(rate(protocol, bare, settings.seconds, many=False))
            taken["ours"].append(rate(protocol, ours, settings.seconds, many=True))
        results.append(
            Result(
                benchmark="emulator",
                what=f"answers of {ASKED:,} virtual meters, {profile}",
                figure=statistics.median(taken["ours"]),
                unit="answers/s",
                against="a bare uvloop responder",
                reference=statistics.median(taken["bare"]),
                target=0.6,
            )
        )
    return results


def run(settings: Settings) -> list[Result]:
    results = rates(settings)
    with server(module("bench.emulator", "fleet", "modbus")) as (process, ready):
        storming = start(module("bench.emulator", "storm", "modbus", ready["port"]), CLIENT_CORE)
        seconds = json.loads(storming.line())["seconds"]
        seen = json.loads(process.ask())
        storming.stop()
    assert seen["links"] == METERS
    figures: list[tuple[str, float, str, float, str]] = [
        (f"{METERS:,} virtual meters started", ready["seconds"], "s", 1.0, ""),
        ("memory of a connected virtual meter", seen["octets"] / METERS, "octets", 6000, ""),
        (f"{METERS:,} connections at once, all answered", seconds, "s", 5.0, ""),
    ]
    results += [
        Result(benchmark="emulator", what=what, figure=figure, unit=unit, target=target, at_most=True, note=note)
        for what, figure, unit, target, note in figures
    ]
    with server(module("bench.emulator", "fleet", "dlms")) as (_, ready):
        said = client(module("bench.emulator", "head-end", ready["port"]))
    note = f"{said['readings']:,} readings stored, {said['cpu']:.1f} s of the head-end's processor, {said['failed']} failed"
    what = f"{METERS:,} DLMS meters connected, read and stored by our head-end"
    return [*results, Result(benchmark="emulator", what=what, figure=said["seconds"], unit="s", note=note)]


def main() -> None:
    match sys.argv[1:]:
        case ["fleet", protocol]:
            uvloop.run(fleet(protocol))
        case ["ask", protocol, port, many]:
            uvloop.run(ask(protocol, int(port), many=many == "1"))
        case ["storm", protocol, port]:
            uvloop.run(storm(protocol, int(port)))
        case ["head-end", port]:
            with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
                uvloop.run(read_all(int(port), Path(temporary)))


if __name__ == "__main__":
    main()

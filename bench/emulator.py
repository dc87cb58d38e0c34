"""Answers a second of a fleet of virtual meters against those of a bare responder that holds ready octets.

Both are asked the same twenty registers, one after the other on each of a thousand connections, by a client on another
core. A figure is answers per second of processor time of the server. Besides: how long ten thousand meters take to start,
what they take when all are connected at once, and how much memory each of them has then.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

import uvloop

from bench.common import CLIENT_CORE, Process, Result, Settings, module, resident, say, server, start
from bench.responder import AARQ, CLIENT, METER
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.protocols.wrapper import wrap
from headend.transport.tcp import raise_descriptor_limit

PROFILE = "generic-dlms-3p"
CONNECTIONS = 1000
STORM = 10_000
AT_ONCE = 500
KEYS = (
    "active_energy_import_total", "active_energy_import_t1", "active_energy_import_t2", "active_energy_export_total",
    "reactive_energy_import_total", "apparent_energy_import_total", "active_demand_max_import_total",
    "active_power_import_total", "active_power_import_l1", "active_power_import_l2", "active_power_import_l3",
    "voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3",
    "power_factor_total", "frequency", "meter_time",
)  # fmt: skip


def requests() -> list[bytes]:
    """A GET for each of the registers, as it stands on the wire."""
    refs = {entry.quantity: entry.ref.address for entry in Library().get(PROFILE).objects}
    return [wrap(b"\xc0\x01\xc1" + cosem_ref(refs[key]).attribute.encode() + b"\x00", CLIENT, METER) for key in KEYS]


# --- the client, in a process of its own ---


class Asking(asyncio.Protocol):
    """Associates, then asks for the next register as soon as an answer is there."""

    frames: tuple[bytes, ...] = ()
    answers = 0
    refused = 0
    awaited = 0
    ready: asyncio.Event

    def __init__(self, at: int, *, once: bool) -> None:
        self.at = -1
        self.first = at % len(self.frames)
        self.once = once

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(wrap(AARQ, CLIENT, METER))

    def data_received(self, data: bytes) -> None:
        if self.at < 0:
            self.at = self.first
            if not self.once:
                self.arrive()
        else:
            Asking.answers += 1
            Asking.refused += data[11] != 0
            self.at = (self.at + 1) % len(self.frames)
            if self.once:
                self.arrive()
                return
        self.transport.write(self.frames[self.at])

    def arrive(self) -> None:
        Asking.awaited -= 1
        if not Asking.awaited:
            Asking.ready.set()


async def ask(port: int, count: int, how: str) -> None:
    """Connect to `count` meters, all together for a `storm`; then tell how many answers came, a line a line."""
    raise_descriptor_limit()
    Asking.frames, Asking.awaited, Asking.ready = tuple(requests()), count, asyncio.Event()
    once = how == "storm"
    loop = asyncio.get_running_loop()
    since = time.perf_counter()

    async def one(number: int) -> None:
        host = "127.0.0.1" if how == "responder" else f"127.40.{number + 1 >> 8}.{number + 1 & 255}"
        await loop.create_connection(lambda: Asking(number, once=once), host, port)

    step = count if once else AT_ONCE
    for first in range(0, count, step):
        await asyncio.gather(*(one(number) for number in range(first, min(first + step, count))))
    await Asking.ready.wait()
    say(seconds=time.perf_counter() - since, refused=Asking.refused)
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(answers=Asking.answers, refused=Asking.refused)


# --- the meters, in a process of their own ---


async def play(count: int) -> None:
    """A fleet; tells its processor time and memory whenever a line comes."""
    loop = asyncio.get_running_loop()
    profile = Library().get(PROFILE)
    base, since = resident(), time.perf_counter()
    fleet = Fleet([Group(profile=profile, count=count, first_address="127.40.0.1")])
    await fleet.start()
    took = time.perf_counter() - since
    port = int(next(iter(fleet.roster())).url.rpartition(":")[2].partition("/")[0].partition("?")[0])
    say(port=port, start=took)
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(cpu=time.process_time(), octets=resident() - base, links=fleet.links)
    await fleet.aclose()


# --- the measurement ---


def told(process: Process) -> dict[str, float]:
    figures: dict[str, float] = json.loads(process.ask())
    return figures


def answers_per_second(meters: Process, port: int, how: str, seconds: float) -> float:
    """Answers by processor time of the server."""
    client = start(module("bench.emulator", "ask", port, CONNECTIONS, how), CLIENT_CORE)
    try:
        client.line()
        time.sleep(0.3)
        cpu, answers = told(meters)["cpu"], told(client)["answers"]
        time.sleep(seconds)
        cpu, last = told(meters)["cpu"] - cpu, told(client)
        assert not last["refused"]
        return (last["answers"] - answers) / cpu
    finally:
        client.stop()


def run(settings: Settings) -> list[Result]:
    ours, bare = [], []
    with (
        server(module("bench.emulator", "play", CONNECTIONS)) as (meters, ready),
        server(module("bench.responder", "wrapper")) as (responder, answering),
    ):
        for _ in range(settings.repeats):
            bare.append(answers_per_second(responder, answering["port"], "responder", settings.seconds))
            ours.append(answers_per_second(meters, ready["port"], "fleet", settings.seconds))
    speed = Result(
        benchmark="emulator",
        what=f"answers of virtual DLMS meters, {len(KEYS)} registers in turn, {CONNECTIONS:,} connections",
        figure=statistics.median(ours),
        unit="answers/s",
        against="a bare uvloop responder",
        reference=statistics.median(bare),
        target=0.6,
        note="by processor time of the server",
    )
    return [speed, *storm()]


def storm() -> list[Result]:
    """Ten thousand meters, and a client that connects to all of them at once and asks each for a register."""
    with server(module("bench.emulator", "play", STORM)) as (meters, ready):
        client = start(module("bench.emulator", "ask", ready["port"], STORM, "storm"), CLIENT_CORE)
        try:
            served = json.loads(client.line())
            seen = told(meters)
        finally:
            client.stop()
    assert seen["links"] == STORM
    assert not served["refused"]
    return [
        Result(benchmark="emulator", what=what, figure=figure, unit=unit, target=target, at_most=True)
        for what, figure, unit, target in (
            (f"start of {STORM:,} virtual meters", ready["start"], "s", 1.0),
            (f"{STORM:,} simultaneous connects, each served", served["seconds"], "s", None),
            ("memory of a connected virtual meter", seen["octets"] / STORM, "octets", 6000),
        )
    ]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "play":
        uvloop.run(play(int(arguments[0])))
    else:
        uvloop.run(ask(int(arguments[0]), int(arguments[1]), arguments[2]))

"""Meters that dial in: how fast they are let in, what each costs in memory, and how fast their heartbeats and pushes are worked on.

The gateway with roster, lanes, poller, intake and bus, as the runtime puts them together, in a process of its own; the callers in
another. Against it a server that only reads, and counts octets. Callers send one frame each, round by round; a round begins
when the server has read the one before, which a connection beside tells.

    python -m bench.gateway gateway|bare|answering COUNT     the server
    python -m bench.gateway call PORT CONTROL COUNT SECONDS WHAT...
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import uvloop

from bench.common import CLIENT_CORE, SERVER_CORE, Process, Result, Settings, interleaved, module, resident, say, start
from headend.drivers.recognition import Kind, Known
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import ReadingBatch
from headend.protocols.wrapper import wrap
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.gateway.gateway import Gateway
from headend.services.gateway.house import House, Recognition
from headend.services.gateway.limits import Limits
from headend.services.intake import Intake
from headend.services.intake import Known as KnownMeters
from headend.services.pushes import Pushes
from headend.services.roster import Roster
from headend.storage.store import wall_millis
from headend.transport.open import open_link
from headend.transport.tcp import ListenLimits, listen_tcp

STORM: Final = 10_000
STEADY: Final = 1000
"""callers whose heartbeats and pushes are measured"""
AT_ONCE: Final = 500
"""connections that the callers have under way"""
STORM_SECONDS: Final = 5.0
MEMORY: Final = 8192
SHARE: Final = 0.30

LONGI: Final = built_in().get("longi")
PROFILE: Final = MeterProfile(
    id="bench",
    vendor="",
    model="",
    protocol="dlms",
    state=ProfileState.DRAFT,
    source="",
    objects=(
        ObjectEntry(ref=ObjectRef("dlms", "3/1-0:1.8.0.255/2"), quantity="active_energy_import_total"),
        ObjectEntry(ref=ObjectRef("dlms", "3/1-0:32.7.0.255/2"), quantity="voltage_l1"),
    ),
)
PUSH: Final = wrap(
    bytes.fromhex(
        "0f 40000000 00"  # data-notification without a date-time
        "02 02"  # two rows: object, value, scaler and unit
        "02 03 09 06 0100010800ff 06 0001e240 02 02 0f 00 16 1e"
        "02 03 09 06 0100200700ff 12 08fc 02 02 0f ff 16 23"
    ),
    1,
    1,
)
"""An energy and a voltage, as Aidon and Iskraemeco write them."""


def number_of(caller: int) -> str:
    return f"{caller + 1:012}"


# --- the servers ---


class Reader(asyncio.Protocol):
    """Reads and counts, nothing else."""

    octets = 0

    def data_received(self, data: bytes) -> None:
        Reader.octets += len(data)


class Answerer(Reader):
    """Also sends as many octets back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._transport.write(data)  # type: ignore[attr-defined] # a stream's


class Control(asyncio.Protocol):
    """Answers each line with the octets read so far and the processor time."""

    def __init__(self, octets: Callable[[], int]) -> None:
        self._octets = octets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, _data: bytes) -> None:
        said = {"octets": self._octets(), "cpu": time.process_time()}
        self._transport.write(json.dumps(said).encode() + b"\n")  # type: ignore[attr-defined] # a stream's


async def bare(kind: type[Reader]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(kind, "127.0.0.1", 0, backlog=4096)
    control = await loop.create_server(lambda: Control(lambda: Reader.octets), "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1], control=control.sockets[0].getsockname()[1])
    await asyncio.to_thread(sys.stdin.readline)


async def gateway(count: int) -> None:
    loop = asyncio.get_running_loop()
    bus = Bus()
    roster = Roster(bus, wall_millis)
    batches = bus.subscribe("bench", ReadingBatch, maxsize=1000)

    def profile(_meter: Meter) -> MeterProfile:
        return PROFILE

    async def secrets(_meter: Meter) -> dict[str, Any]:
        return {}

    heard = Pushes(bus, profile, wall_millis).heard
    lanes = Lanes(roster, open_link=open_link, driver=driver, profile=profile, secrets=secrets, heard=heard)
    poller = Poller(roster, lanes, bus, profile=profile, clock=wall_millis)
    intake = Intake(KnownMeters(roster=roster, profile=profile, secrets=secrets), bus, heard, wall_millis)
    house = House(
        roster=roster,
        lanes=lanes,
        intake=intake,
        bus=bus,
        driver=driver,
        millis=wall_millis,
        dialled_in=poller.connected,
    )
    recognition = Recognition(known=Known(built_in()), drivers=[driver("dlms"), driver("modbus")])
    limits = Limits(rate=1e9, burst=1e9)
    made = Gateway(house, recognition, limits)
    gc.collect()
    before = resident()
    roster.load(
        Meter(
            id=f"meter-{caller:05}",
            protocol="dlms",
            framing="wrapper",
            endpoint=Endpoint(kind=EndpointKind.INBOUND, host=number_of(caller)),
            profile_id="bench",
            poll_seconds=900.0,
        )
        for caller in range(count)
    )
    working = asyncio.create_task(intake.run())

    def octets() -> int:
        return sum(link.octets_in for link in listener.links)

    listener = await listen_tcp("127.0.0.1", 0, made.take, ListenLimits(links=count + 100))
    control = await loop.create_server(lambda: Control(octets), "127.0.0.1", 0)
    say(port=listener.port, control=control.sockets[0].getsockname()[1])
    started = time.process_time()
    while await asyncio.to_thread(sys.stdin.readline):
        cpu = time.process_time() - started
        gc.collect()
        known = sum(bool(caller.states) for caller in made.callers.values())
        say(known=known, cpu=cpu, octets_each=(resident() - before) / max(1, known), batches=batches.size)
    intake.close()
    await working
    made.abort()
    await listener.aclose()


# --- the callers ---


class Modem(asyncio.Protocol):
    """Logs in and counts what it is answered."""

    def __init__(self, answered: Callable[[], None], caller: int) -> None:
        self._answered = answered
        self.caller = caller
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(login(self.caller))

    def data_received(self, _data: bytes) -> None:
        self._answered()


def login(caller: int) -> bytes:
    return LONGI.encode(Kind.LOGIN, {"device": "meter", "number": number_of(caller), "option": "00"})


def heartbeat(caller: int) -> bytes:
    return LONGI.encode(Kind.HEARTBEAT, {"device": "meter", "number": number_of(caller)})


def _same(modem: Modem) -> Modem:
    return modem


async def dial(port: int, count: int, *, answered: bool) -> tuple[list[Modem], float]:
    """All callers connected, and with `answered` all logins acknowledged; the seconds that it took."""
    loop = asyncio.get_running_loop()
    acknowledged, done = 0, asyncio.Event()

    def one() -> None:
        nonlocal acknowledged
        acknowledged += 1
        if acknowledged == count:
            done.set()

    modems: list[Modem] = []
    waiting = iter(range(count))

    async def connect() -> None:
        for caller in waiting:
            modem = Modem(one, caller)
            await loop.create_connection(partial(_same, modem), "127.0.0.1", port)
            modems.append(modem)

    since = time.perf_counter()
    await asyncio.gather(*(connect() for _ in range(AT_ONCE)))
    if answered:
        async with asyncio.timeout(60):
            await done.wait()
    return modems, time.perf_counter() - since


async def call(port: int, control: int, count: int, seconds: float, what: str) -> None:
    modems, _ = await dial(port, count, answered=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", control)

    async def told() -> dict[str, Any]:
        writer.write(b"?\n")
        said: dict[str, Any] = json.loads(await reader.readline())
        return said

    frames = [PUSH if what == "push" else heartbeat(modem.caller) for modem in modems]
    each = sum(map(len, frames))
    rounds, until, expected = 0, 0.0, sum(len(login(caller)) for caller in range(count))

    async def reads() -> None:
        while (await told())["octets"] < expected:  # noqa: ASYNC110 # it must be asked
            await asyncio.sleep(0.005)

    await reads()
    begun: dict[str, Any] = {}
    while not rounds or time.perf_counter() < until:
        for modem, frame in zip(modems, frames, strict=True):
            modem.transport.write(frame)
        expected += each
        await reads()
        rounds += 1
        if not begun:  # the first round has been for warmth
            begun, rounds, until = await told(), 0, time.perf_counter() + seconds
    ended = await told()
    say(per_cpu=rounds * count / (ended["cpu"] - begun["cpu"]))
    for modem in modems:
        modem.transport.abort()
    writer.close()


async def storm(port: int, count: int) -> None:
    modems, seconds = await dial(port, count, answered=True)
    say(seconds=seconds, open=sum(not modem.transport.is_closing() for modem in modems))
    await asyncio.to_thread(sys.stdin.readline)


# --- the figures ---


@contextmanager
def server(kind: str, count: int) -> Iterator[tuple[Process, dict[str, Any]]]:
    process = start(module("bench.gateway", kind, count), SERVER_CORE)
    try:
        yield process, json.loads(process.line())
    finally:
        process.stop()


def client(*arguments: object) -> dict[str, Any]:
    process = start(module("bench.gateway", *arguments), CLIENT_CORE)
    try:
        said: dict[str, Any] = json.loads(process.line())
        return said
    finally:
        process.stop()


def storm_once() -> dict[str, Any]:
    with server("gateway", STORM) as (process, ready):
        callers = start(module("bench.gateway", "storm", ready["port"], STORM), CLIENT_CORE)
        try:
            said = json.loads(callers.line())
            seen = json.loads(process.ask())
        finally:
            callers.stop()
    return {
        "seconds": said["seconds"],
        "cpu": seen["cpu"],
        "lost": STORM - min(said["open"], seen["known"]),
        "memory": seen["octets_each"],
    }


def run(settings: Settings) -> list[Result]:
    stormed = interleaved({"storm": storm_once}, settings.repeats)["storm"]

    def steady(kind: str, what: str) -> Callable[[], dict[str, Any]]:
        def once() -> dict[str, Any]:
            with server(kind, STEADY) as (_, ready):
                return client("call", ready["port"], ready["control"], STEADY, 2 * settings.seconds, what)

        return once

    rates = interleaved(
        {
            f"{kind} {what}": steady(kind, what)
            for what in ("heartbeat", "push")
            for kind in ("bare", "answering", "gateway")
            if (kind, what) != ("answering", "push")
        },
        settings.repeats,
    )
    name = "gateway"
    return [
        Result(
            benchmark=name,
            what=f"{STORM:,} meters dial in at once, until each login is acknowledged and its lane owns the connection",
            figure=stormed["seconds"],
            unit="s",
            target=STORM_SECONDS,
            at_most=True,
            note=f"{stormed['lost']:.0f} lost; {stormed['cpu']:.1f} s of the gateway's core, callers on the other",
        ),
        Result(
            benchmark=name,
            what="memory of a connected meter, with roster, schedule and lane",
            figure=stormed["memory"],
            unit="octets",
            target=MEMORY,
            at_most=True,
            note="resident, without a session",
        ),
        Result(
            benchmark=name,
            what="heartbeats, recognised and acknowledged",
            figure=rates["gateway heartbeat"]["per_cpu"],
            unit="/s",
            against="server that answers",
            reference=rates["answering heartbeat"]["per_cpu"],
        ),
        *(
            Result(
                benchmark=name,
                what=title,
                figure=rates[f"gateway {what}"]["per_cpu"],
                unit="/s",
                against="server that only reads",
                reference=rates[f"bare {what}"]["per_cpu"],
                target=SHARE,
            )
            for what, title in (
                ("heartbeat", "heartbeats, recognised and acknowledged"),
                ("push", "pushes of two values to readings on the bus"),
            )
        ),
    ]


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["bare", _]:
            uvloop.run(bare(Reader))
        case ["answering", _]:
            uvloop.run(bare(Answerer))
        case ["gateway", count]:
            uvloop.run(gateway(int(count)))
        case ["storm", port, count]:
            uvloop.run(storm(int(port), int(count)))
        case ["call", port, control, count, seconds, what]:
            uvloop.run(call(int(port), int(control), int(count), float(seconds), what))


if __name__ == "__main__":
    main(sys.argv[1:])

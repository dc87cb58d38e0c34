"""The whole way of a reading: schedule, lane, session, wire, mapping, bus, writer, SQLite; meters polled as fast as it goes.

The real parts, put together as the runtime does, against a responder in a process of its own. A figure is values stored
per second of processor time, all threads together; the queue of the writer is watched while it runs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.common import Meter, Result, Settings, client, interleaved, module, say, server
from headend.drivers.registry import driver
from headend.model import meter as model
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import MeterProfile, ProfileState
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.services.writer import Writer
from headend.storage.store import Store, wall_millis
from headend.transport.link import Link
from headend.transport.open import open_link
from headend.transport.tcp import connect_tcp

METERS = 1000
QUEUE = 100_000
PERIOD = 0.001
"""Every meter is due again as soon as it was read."""


def profile(values: int) -> MeterProfile:
    refs = [ObjectRef("dlms", f"3/1-0:{n}.8.0.255/2") for n in range(1, values + 1)]
    entries = tuple(ObjectEntry(ref=ref, quantity=f"q{n}", exponent=-1 if n else 0) for n, ref in enumerate(refs))
    return MeterProfile(
        id="bench", vendor="", model="", protocol="dlms", state=ProfileState.DRAFT, source="", objects=entries
    )


def meters() -> list[model.Meter]:
    return [
        model.Meter(
            id=f"meter-{n:05}",
            protocol="dlms",
            framing="wrapper",
            endpoint=model.Endpoint(kind=model.EndpointKind.TCP, host=f"meter-{n}", port=4059),
            poll_seconds=PERIOD,
        )
        for n in range(METERS)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A head-end without its shell."""

    roster: Roster
    lanes: Lanes
    poller: Poller
    writer: Writer


def parts(
    read: MeterProfile, write: Callable[..., Any], known: Iterable[model.Meter], port: int | None = None
) -> Parts:
    """The parts as the runtime puts them together; with `port` every meter is found there, whatever its endpoint."""
    bus = Bus()
    roster = Roster(bus, wall_millis)
    roster.load(known)

    async def secrets(_meter: model.Meter) -> dict[str, Any]:
        return {}

    async def link(endpoint: model.Endpoint, timeout: float) -> Link:
        return await (connect_tcp("127.0.0.1", port, timeout) if port else open_link(endpoint, timeout))

    lanes = Lanes(
        roster,
        open_link=link,
        driver=driver,
        profile=lambda _meter: read,
        secrets=secrets,
        connects_per_second=1e6,
        connect_timeout=30,
        request_timeout=30,
    )
    return Parts(
        roster=roster,
        lanes=lanes,
        poller=Poller(roster, lanes, bus, profile=lambda _meter: read, clock=wall_millis),
        writer=Writer(bus, write, clock=wall_millis, queue_readings=QUEUE),
    )


async def all_read(roster: Roster) -> None:
    """Wait until every meter was read once."""
    async with asyncio.timeout(120):
        while any(state.reads_ok == 0 for state in roster):  # noqa: ASYNC110 # nobody tells us
            await asyncio.sleep(0.02)


async def measure(port: int, values: int, seconds: float, folder: Path) -> None:
    with Store.open(folder / "poll.db", vault_key=None) as store:
        made = parts(profile(values), store.readings.write, meters(), port)
        lanes, poller, writer = made.lanes, made.poller, made.writer
        polling, writing = asyncio.create_task(poller.run()), asyncio.create_task(writer.run())
        await all_read(made.roster)
        await asyncio.sleep(0.5)
        meter, deepest = Meter(), 0
        meter.count = writer.acknowledged
        meter.begin()
        for _ in range(20):
            await asyncio.sleep(seconds / 20)
            deepest = max(deepest, writer.waiting)
        meter.count = writer.acknowledged
        figures = meter.end()
        assert not polling.done()
        assert not writing.done()
        poller.stop()
        await polling
        await lanes.aclose()
        writer.close()
        await writing
    say(**figures, deepest=deepest)
    sys.stdin.readline()


def run(settings: Settings) -> list[Result]:
    seconds = 2 * settings.seconds
    with server(module("bench.responder", "wrapper")) as (_, ready):
        port = ready["port"]
        said = interleaved(
            {
                "bare": lambda: client(module("bench.exchange", "bare", "wrapper", port, METERS, settings.seconds)),
                "one": lambda: client(module("bench.polling", port, 1, seconds)),
                "list": lambda: client(module("bench.polling", port, 10, seconds)),
            },
            settings.repeats,
        )
    bare = said["bare"]["per_cpu"]
    titles = {
        "one": ("one value a read, mapped and stored", 0.25),
        "list": ("ten values a read (GET with list), stored", 0.5),
    }
    return [
        Result(
            benchmark="polling",
            what=f"{METERS:,} meters polled, {title}",
            figure=said[name]["per_cpu"],
            unit="values/s",
            against="round trips of a bare client",
            reference=bare,
            target=target,
            note=f"by the wall {said[name]['per_wall']:,.0f}; at most {said[name]['deepest']:,.0f} of {QUEUE:,} in the queue",
        )
        for name, (title, target) in titles.items()
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        port, values, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
        uvloop.run(measure(port, values, seconds, Path(temporary)))

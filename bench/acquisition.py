"""What a read costs above the session: schedule, lane, mapping, bus, metrics, with a session that answers at once.

Microseconds of processor time per read, of the quickest among many chunks, because others may use the machine. `bare` is the
session and the mapping alone, in a plain loop; the difference is what the acquisition costs.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import uvloop

from bench.common import Result, Settings
from headend.drivers.mapping import to_batch
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ObjectRef, ReadPlan, ReadResult
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import ReadingBatch, Source
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.plan import poll_plan
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.transport.deadline import NEVER, sweeper

METERS = 10_000
CHUNK = 2_000
PROFILE = MeterProfile(
    id="bench",
    vendor="",
    model="",
    protocol="none",
    state=ProfileState.DRAFT,
    source="",
    objects=tuple(ObjectEntry(ref=ObjectRef("none", str(n)), quantity=f"q{n}", exponent=-1) for n in range(4)),
)


class Silence:
    """A link that carries nothing."""

    peer = local = "nowhere"
    octets_in = octets_out = 0
    tap = None
    is_open = True

    def set_receiver(self, receiver: Any, buffered: bytes = b"") -> None: ...
    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    async def aclose(self) -> None: ...


class Session:
    sound = True
    deadline = NEVER
    result = ReadResult(values=[2301, 500, 17, 123456])

    async def read(self, _plan: ReadPlan) -> ReadResult:
        return self.result

    async def aclose(self) -> None:
        sweeper().discard(self)

    def notifications(self) -> tuple[()]:
        return ()

    def expire(self) -> None: ...


class Driver:
    async def attach(self, *_: Any, **__: Any) -> Any:
        session = Session()
        sweeper().add(session)  # as real sessions do
        return session


def quickest(marks: list[float]) -> float:
    return min(end - start for start, end in pairwise(marks)) / CHUNK


def clock() -> int:
    return time.time_ns() // 1_000_000


async def bare(reads: int) -> float:
    session, plan = Session(), poll_plan(PROFILE)
    marks = [time.process_time()]
    for _ in range(reads // CHUNK):
        for _ in range(CHUNK):
            to_batch("meter", plan, await session.read(plan), clock(), Source.POLL)
        marks.append(time.process_time())
    return quickest(marks)


async def polled(reads: int) -> float:
    bus = Bus()
    roster = Roster(bus, clock)
    roster.load(
        Meter(
            id=f"meter-{n}",
            protocol="none",
            framing="",
            endpoint=Endpoint(kind=EndpointKind.MEMORY, path=str(n)),
            poll_seconds=0.001,
        )
        for n in range(METERS)
    )

    async def nothing(_meter: Meter) -> dict[str, Any]:
        return {}

    async def link(_endpoint: Endpoint, _timeout: float) -> Any:
        return Silence()

    lanes = Lanes(
        roster,
        open_link=link,
        driver=lambda _name: Driver(),  # type: ignore[arg-type,return-value] # only what is called
        profile=lambda _meter: PROFILE,
        secrets=nothing,
        connects_per_second=1e9,
    )
    poller = Poller(roster, lanes, bus, profile=lambda _meter: PROFILE, clock=clock, max_in_flight=1)
    count = 0
    marks: list[float] = []

    def put(_batch: ReadingBatch) -> None:
        nonlocal count
        count += 1
        if count >= METERS and count % CHUNK == 0:  # all sessions are open now
            marks.append(time.process_time())
            if count >= METERS + reads:
                poller.stop()

    subscription = bus.subscribe("bench", ReadingBatch, maxsize=1)
    subscription.put = put  # type: ignore[method-assign,assignment] # counts, keeps nothing
    bus.subscribe("other", ReadingBatch, maxsize=1).close()
    await poller.run()
    await lanes.aclose()
    return quickest(marks)


def run(settings: Settings) -> list[Result]:
    reads = 20_000 * settings.repeats
    bare_seconds, polled_seconds = uvloop.run(bare(reads)), uvloop.run(polled(reads))
    return [
        Result(
            benchmark="acquisition",
            what="what schedule, lane, bus and metrics add to a read",
            figure=1e6 * (polled_seconds - bare_seconds),
            unit="µs",
            note=f"session and mapping of four values alone: {1e6 * bare_seconds:.1f} µs",
        )
    ]

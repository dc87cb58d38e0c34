"""Round trips that the planner saves, and a fleet of 10,000 meters polled each minute by one process.

Round trips are counted, not measured: requests that a session sent for a poll, once it has learned its meter, against one for each
value (and scaler, in the first association). The fleet is a responder in a process of its own; what is measured is the
processor time of the head-end as a share of a core, and how late reads were, from when a meter was due to its values.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from bench.common import Result, Settings, client, module, resident, say, server
from bench.polling import all_read, parts, profile
from headend.drivers.knowledge import Knowledge
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ObjectRef, ReadPlan
from headend.model.profile import MeterProfile, ProfileState
from headend.services.acquisition.plan import poll_plan
from headend.storage.store import Store, wall_millis
from headend.transport.memory import memory_pair
from headend.transport.tcp import raise_descriptor_limit

METERS = 10_000
VALUES = 20
PERIOD = 60.0
LEARNED = 4
"""sessions after which a meter is known"""


def registers(count: int) -> MeterProfile:
    """A DLMS meter with as many registers, whose scalers only the meter knows."""
    refs = [ObjectRef("dlms", f"3/1-0:{n}.8.0.255/2") for n in range(1, count + 1)]
    entries = tuple(
        ObjectEntry(ref=ref, quantity=f"q{n}", scaler=None, type="uint32", emulate={"value": n})
        for n, ref in enumerate(refs)
    )
    return MeterProfile(
        id="registers", vendor="", model="", protocol="dlms", state=ProfileState.DRAFT, source="", objects=entries
    )


async def trips(file: MeterProfile, framing: str, plan: ReadPlan) -> tuple[int, int]:
    """Requests of a poll of a meter that is known, and those of the first one, scalers and all."""
    served = replace(file, objects=tuple(replace(each, scaler=each.scaler or 0) for each in file.objects))
    meter = VirtualMeter(MeterKind(served, wall_millis), 1, 0, {}, {})
    known = Meter(
        id="m", protocol=file.protocol, framing=framing, endpoint=Endpoint(kind=EndpointKind.MEMORY, path="bench")
    )
    the_driver, knowledge = driver(file.protocol), Knowledge()
    taken = []
    for _ in range(LEARNED):
        near, far = memory_pair()
        the_driver.serve(far, meter)
        session = await the_driver.attach(near, known, file, {}, knowledge=knowledge)
        before = knowledge.requests
        result = await session.read(plan)
        assert not result.errors
        taken.append(knowledge.requests - before)
        await session.aclose()
    return taken[-1], taken[0]


def meters() -> list[Meter]:
    return [
        Meter(
            id=f"meter-{n:05}",
            protocol="dlms",
            framing="wrapper",
            endpoint=Endpoint(kind=EndpointKind.TCP, host=f"meter-{n}", port=4059),
            poll_seconds=PERIOD,
        )
        for n in range(METERS)
    ]


async def measure(port: int, minutes: float, folder: Path) -> None:
    raise_descriptor_limit()
    with Store.open(folder / "poll.db", vault_key=None) as store:
        made = parts(profile(VALUES), store.readings.write, meters(), port)
        polling, writing = asyncio.create_task(made.poller.run()), asyncio.create_task(made.writer.run())
        await all_read(made.roster)
        late: list[float] = []
        done = made.poller._schedule.done

        def noted(meter_id: str, now: float) -> float:
            late.append(done(meter_id, now))
            return late[-1]

        made.poller._schedule.done = noted  # type: ignore[method-assign] # looks on
        reads, cpu, wall = sum(state.reads_ok for state in made.roster), time.process_time(), time.perf_counter()
        await asyncio.sleep(minutes * PERIOD)
        reads = sum(state.reads_ok for state in made.roster) - reads
        seconds = time.perf_counter() - wall
        cpu = time.process_time() - cpu
        failed = sum(state.reads_failed for state in made.roster)
        made.poller.stop()
        await polling
        await made.lanes.aclose()
        made.writer.close()
        await writing
    late.sort()
    say(
        share=cpu / seconds,
        reads=reads / seconds,
        failed=failed,
        p50=late[len(late) // 2],
        p99=late[int(0.99 * len(late))],
        octets=resident(),
    )
    sys.stdin.readline()


def saved(title: str, now: int, first: int, values: int) -> Result:
    return Result(
        benchmark="planner",
        what=f"round trips saved: {title}, {values} values in {now} request{'' if now == 1 else 's'}",
        figure=values / now,
        unit="x",
        against="one request for each value",
        reference=1.0,
        target=10.0,
        note=f"the first poll of a meter that nobody knows takes {first}",
    )


def run(settings: Settings) -> list[Result]:
    sdm630, twenty = Library().get("eastron-sdm630"), registers(VALUES)
    found = []
    for title, file, framing in (("SDM630", sdm630, "tcp"), ("DLMS meter", twenty, "wrapper")):
        plan = poll_plan(file)
        now, first = uvloop.run(trips(file, framing, plan))
        found.append(saved(title, now, first, len(plan.entries)))
    minutes = 1.0 if settings.seconds < 1 else 2.0
    with server(module("bench.responder", "wrapper")) as (_, ready):
        said: dict[str, Any] = client(module("bench.planner", ready["port"], minutes))
    assert not said["failed"]
    title = f"{METERS:,} meters x {VALUES} values each minute, one process"
    return [
        *found,
        Result(
            benchmark="planner",
            what=f"{title}: share of a core",
            figure=100 * said["share"],
            unit="%",
            note=f"{said['reads']:,.0f} reads/s stored, {said['octets'] / 1e6:,.0f} MB resident",
        ),
        Result(
            benchmark="planner",
            what=f"{title}: lateness, p99",
            figure=1e3 * said["p99"],
            unit="ms",
            note=f"p50 {1e3 * said['p50']:.1f} ms; from due to its values",
        ),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        uvloop.run(measure(int(sys.argv[1]), float(sys.argv[2]), Path(temporary)))

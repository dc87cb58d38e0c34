"""What alarms cost: 10,000 meters with 20 values a minute, judged by all the built-in rules.

Processor time of the engine alone, a batch being one poll of one meter. `quiet` is a fleet in which nothing is wrong, `standing`
one in which a tenth of the meters has an alarm that stands, `storm` the batch that raises an alarm on every meter. Memory is
what Python's allocator gave for a watched meter after its first poll, without the identity of the meter.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
import tracemalloc
from collections.abc import Sequence

from bench.common import Result, Settings
from headend.model.alarm_rules import resolve
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.alarms.engine import Engine
from headend.services.alarms.table import Table

METERS = 10_000
START = 1_767_225_600_000
MINUTE = 60_000
PHASES = ("l1", "l2", "l3")
QUANTITIES = (
    *(f"{stem}_{phase}" for stem in ("voltage", "current", "power_factor", "active_power") for phase in PHASES),
    *("active_power_total", "reactive_power_total", "power_factor_total", "frequency", "relay_closed"),
    *("active_energy_import_total", "active_energy_export_total", "temperature_ambient"),
)
GOOD = (0,) * len(QUANTITIES)
LAYER = {"ratings": {"nominal_voltage": 230.0, "rated_current": 60.0, "rated_power": 20_000.0}}


def polled(minute: int, bad: Sequence[int] | range = ()) -> list[ReadingBatch]:
    """One poll of every meter; the voltage of `bad` ones is too high."""
    chance = random.Random(minute)
    wrong = set(bad)
    batches = []
    for meter in range(METERS):
        at = START + minute * MINUTE + meter * MINUTE // METERS
        volts = 262.0 if meter in wrong else 230.0
        values: list[Value] = [volts + chance.randrange(30) / 10 for _ in PHASES]
        values += [chance.randrange(3000) / 100 for _ in PHASES]
        values += [0.9 + chance.randrange(10) / 100 for _ in PHASES]
        values += [chance.randrange(4000) for _ in PHASES]
        values += [chance.randrange(12_000), 210.0, 0.95, 50.0, True, 10_000_000 + minute, 0, 21.5]
        batches.append(
            ReadingBatch(
                meter_id=f"meter-{meter:05}",
                source=Source.POLL,
                received_at=at,
                quantities=QUANTITIES,
                values=values,
                measured_at=(at,) * len(QUANTITIES),
                quality=GOOD,
            )
        )
    return batches


def watching(table: Table) -> Engine:
    engine = Engine()
    for meter in range(METERS):
        engine.watch(f"meter-{meter:05}", table, START, 60.0)
    return engine


def judged(engine: Engine, batches: Sequence[ReadingBatch]) -> float:
    """Seconds of the processor to judge batches, and to take what came of it."""
    gc.collect()
    evaluate = engine.evaluate
    since = time.process_time()
    for batch in batches:
        evaluate(batch)
    engine.sweep(batches[-1].received_at)
    engine.take()
    return time.process_time() - since


def looped(batches: Sequence[ReadingBatch]) -> float:
    """Seconds to look at every value of the batches and do nothing: what no rule can undercut."""
    gc.collect()
    since = time.process_time()
    for batch in batches:
        for _quantity, value, _at, quality in zip(
            batch.quantities, batch.values, batch.measured_at, batch.quality, strict=True
        ):
            if quality or value is None:
                raise AssertionError
    return time.process_time() - since


def run(settings: Settings) -> list[Result]:
    table = Table(resolve((LAYER,)))
    quiet, standing, storm, bare = [], [], [], []
    for _ in range(settings.repeats):
        engine = watching(table)
        judged(engine, polled(0))
        minute = polled(1)
        bare.append(looped(minute))
        quiet.append(judged(engine, minute))
        tenth = range(0, METERS, 10)
        judged(engine, polled(2, tenth))
        standing.append(judged(engine, polled(3, tenth)))
        engine = watching(table)
        judged(engine, polled(0))
        judged(engine, polled(1, range(METERS)))
        storm.append(judged(engine, polled(2, range(METERS))))
    each = {name: statistics.median(times) / METERS * 1e6 for name, times in (("quiet", quiet), ("standing", standing))}
    raised = statistics.median(storm) / METERS * 1e6
    return [
        Result(
            benchmark="alarms",
            what="judge a batch of 20 readings, nothing wrong",
            figure=each["quiet"],
            unit="µs",
            against="a loop that only looks at them",
            reference=statistics.median(bare) / METERS * 1e6,
            note=f"{len(table.columns)} quantities watched",
        ),
        Result(
            benchmark="alarms",
            what="10,000 meters with 20 values a minute",
            figure=each["standing"] * METERS / 60e6 * 100,
            unit="% of a core",
            target=1.0,
            at_most=True,
            note=f"a tenth has alarms: {each['standing']:.1f} µs a batch",
        ),
        Result(
            benchmark="alarms",
            what="raise three alarms on every meter at once",
            figure=raised,
            unit="µs a meter",
            note="evaluated and noted, not stored",
        ),
        Result(benchmark="alarms", what="memory of a watched meter", figure=memory(table), unit="octets"),
    ]


def memory(table: Table) -> float:
    """Octets for one more meter that is watched and was read."""
    batches = polled(0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    engine = watching(table)
    for batch in batches:
        engine.evaluate(batch)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / METERS

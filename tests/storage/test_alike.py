"""Both databases give the same answers, whatever is done to them: random writes, queries and removals on both at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from headend.errors import HeadendError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.reading import ReadingBatch, Source
from headend.storage.store import Store

from .conftest import KEY, again, empty, settle

DAY, HOUR = 86_400_000, 3_600_000
NOON = 1_772_366_400_000
METERS = st.sampled_from(["a", "B", "ä", "_", "m%1"])
"""in another order by language than by octets"""
QUANTITIES = st.sampled_from(["e", "U", "relay"])
TIMES = st.one_of(
    st.integers(NOON - 3, NOON + 3),
    st.integers(-3, 3).map(lambda n: NOON // DAY * DAY + n * DAY - 1),
    st.integers(0, 40).map(lambda n: NOON + n * HOUR // 2),
    st.sampled_from([0, -DAY, NOON + 9000 * DAY, NOON + 40_000 * DAY]),
)
NUMBERS = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False, width=32), st.booleans()
)
VALUES = st.one_of(
    NUMBERS,
    st.sampled_from([2**53 + 1, -(2**70), math.nan, math.inf, -0.0, "", "on", "half \ud800", "nul \0"]),
)
ROWS = st.lists(st.tuples(QUANTITIES, TIMES, VALUES, st.sampled_from([0, 1, 32, 33, 63])), max_size=12)
BATCHES = st.lists(st.tuples(METERS, TIMES, st.sampled_from(Source), ROWS), min_size=1, max_size=4)
SPANS = st.tuples(TIMES, TIMES).map(sorted)


def batch_of(meter: str, received_at: int, source: Source, rows: list[tuple[str, int, Any, int]]) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=source,
        received_at=received_at,
        quantities=[row[0] for row in rows],
        measured_at=[row[1] for row in rows],
        values=[row[2] for row in rows],
        quality=[row[3] for row in rows],
    )


def plain(answer: Any) -> Any:
    """What can be compared: types are told apart, nan equals itself."""
    if isinstance(answer, float):
        return "nan" if math.isnan(answer) else ("float", str(answer))
    if isinstance(answer, bool | int | str | type(None)):
        return (type(answer).__name__, answer)
    if hasattr(answer, "__dataclass_fields__"):
        return {name: plain(getattr(answer, name)) for name in answer.__dataclass_fields__}
    if isinstance(answer, list | tuple):
        return [plain(each) for each in answer]
    if isinstance(answer, dict):
        return {name: plain(each) for name, each in answer.items()}
    return answer


class Alike(RuleBasedStateMachine):
    """Each rule does the same to both."""

    stores: tuple[Store, Store]
    others: tuple[Store, Store]
    """the same databases, as another process has them open"""
    clear: Callable[[], None]

    @initialize()
    def begin(self) -> None:
        """With nothing in them."""
        type(self).clear()

    def both(self, ask: Callable[[Store], Any]) -> Any:
        """The answer of both, or the error."""
        answers = []
        for store in self.stores:
            try:
                answers.append(plain(ask(store)))
            except HeadendError as error:
                answers.append((type(error).__name__, str(error)))
        assert answers[0] == answers[1]
        return answers[0]

    def write_both(self, given: list[ReadingBatch], *, other: bool) -> None:
        """Each database by one process that has it open."""
        for store in self.others if other else self.stores:
            store.readings.write(given)

    @rule(batches=BATCHES, again=st.booleans(), other=st.booleans())
    def write(self, batches: list[Any], *, again: bool, other: bool) -> None:
        """Readings, and perhaps the same once more."""
        given = [batch_of(*each) for each in batches]
        for _ in range(1 + again):
            self.write_both(given, other=other)

    @rule(
        meter=METERS,
        rows=st.lists(st.tuples(QUANTITIES, NUMBERS), min_size=1, unique_by=lambda row: row[0]),
        first=st.integers(0, 30),
        quality=st.sampled_from([0, 0, 32]),
        others=st.lists(st.booleans(), min_size=1, max_size=4),
    )
    def poll(self, meter: str, rows: list[tuple[str, Any]], first: int, quality: int, others: list[bool]) -> None:
        """The same quantities some times, by one process and another."""
        for n, other in enumerate(others, first):
            given = [(quantity, NOON + n * 1000, value, quality) for quantity, value in rows]
            self.write_both([batch_of(meter, NOON + n * 1000 + 300, Source.POLL, given)], other=other)
        self.both(lambda store: store.readings.latest([meter]))

    @rule(meter=METERS, quantity=QUANTITIES, span=SPANS, limit=st.sampled_from([1, 3, 1000]))
    def series(self, meter: str, quantity: str, span: list[int], limit: int) -> None:
        """A series, with and without receipts."""
        self.both(lambda store: store.readings.series(meter, quantity, *span, limit=limit))
        self.both(lambda store: store.readings.received(meter, quantity, *span, limit=limit))

    @rule(meter=METERS, quantities=st.lists(QUANTITIES, max_size=3), span=SPANS)
    def several(self, meter: str, quantities: list[str], span: list[int]) -> None:
        """Some series at once, which are those that one gets one by one."""
        found = self.both(lambda store: store.readings.several(meter, quantities, *span))
        for quantity in quantities:
            assert found[quantity] == plain(self.stores[0].readings.series(meter, quantity, *span))

    @rule(meter=METERS, quantity=QUANTITIES)
    def all_of_it(self, meter: str, quantity: str) -> None:
        """Everything of a series."""
        self.both(lambda store: store.readings.received(meter, quantity, -(2**62), 2**62))
        self.both(lambda store: (store.readings.count(), store.readings.count(meter, quantity)))

    @rule(meter=METERS, quantity=QUANTITIES, at=TIMES)
    def receipt(self, meter: str, quantity: str, at: int) -> None:
        """How one reading came."""
        self.both(lambda store: store.readings.receipt(meter, quantity, at))

    @rule(meters=st.none() | st.lists(METERS, max_size=3), quantities=st.none() | st.lists(QUANTITIES, max_size=2))
    def latest(self, meters: list[str] | None, quantities: list[str] | None) -> None:
        """The latest of some series, in the same order."""
        self.both(lambda store: store.readings.latest(meters, quantities))

    @rule(meter=METERS, quantity=QUANTITIES, span=SPANS, bucket=st.sampled_from([1000, HOUR, DAY]))
    def buckets(self, meter: str, quantity: str, span: list[int], bucket: int) -> None:
        """Buckets; PostgreSQL rounds integers beyond 2**53, and an infinite mean is another matter."""
        found = [store.readings.aggregate(meter, quantity, *span, bucket) for store in self.stores]
        assume(all(value is not None and math.isfinite(value) for each in found for value in each.mean))
        assert found[0].start == found[1].start
        assert found[0].count == found[1].count
        for name in ("minimum", "maximum", "mean", "last"):
            assert list(getattr(found[0], name)) == pytest.approx(list(getattr(found[1], name)), rel=1e-12, abs=1e-9)

    @rule(day=st.integers(-2, 3))
    def summarise(self, day: int) -> None:
        """Old days are summarised."""
        for store in self.stores:
            settle(store, NOON // DAY + day)

    @rule(day=st.integers(-2, 3), minutes=st.sampled_from([15, 60, 1440]))
    def purge_summaries(self, day: int, minutes: int) -> None:
        """Old summaries go."""
        self.both(lambda store: store.summaries.purge(minutes, NOON // DAY + day))

    @rule(day=st.integers(-2, 3))
    def purge(self, day: int) -> None:
        """Old days go."""
        self.both(lambda store: store.readings.purge(NOON // DAY + day))

    @rule(meter=METERS, number=st.integers(1, 3), revision=st.none() | st.integers(0, 2))
    def put(self, meter: str, number: int, revision: int | None) -> None:
        """A meter, or another version of it."""
        given = Meter(
            id=meter,
            name=f"Name {number} ÄÖ",
            protocol="dlms",
            framing="wrapper",
            endpoint=Endpoint(kind=EndpointKind.TCP, host=f"192.0.2.{number}", port=4059),
            identity=MeterIdentity(serial=f"S{number}"),
            enabled=number > 1,
            tags=("x",) if number == 2 else ("%", "ä"),
        )
        self.both(lambda store: store.meters.put(given, revision=revision))

    @rule(meter=METERS, keep=st.booleans())
    def delete(self, meter: str, *, keep: bool) -> None:
        """A meter goes, with or without its readings."""
        self.both(lambda store: store.meters.delete(meter, keep_history=keep))

    @rule(
        search=st.sampled_from(["", "ä", "name 1", "_", "%", "s2", "192.0.2.3"]), tag=st.sampled_from([None, "x", "ä"])
    )
    def meters(self, search: str, tag: str | None) -> None:
        """Meters that are looked for."""
        self.both(lambda store: (store.meters.list(search=search, tag=tag), store.meters.count(search=search, tag=tag)))

    @rule(meter=METERS, at=TIMES)
    def event(self, meter: str, at: int) -> None:
        """Events have the same numbers."""
        event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=at, meter_id=meter)
        self.both(lambda store: store.events.append([event]))
        self.both(lambda store: [each.event for each in store.events.list(meter_id=meter)])


def test_both_databases_give_the_same_answers(postgres_url: str, tmp_path: Path) -> None:
    def clear() -> None:
        for store in stores:
            empty(store)

    with (
        Store.open(tmp_path / "h.db", vault_key=KEY) as one,
        Store.open(postgres_url, vault_key=KEY, folder=tmp_path) as other,
        again(one) as one_again,
        again(other) as other_again,
    ):
        stores = (one, other)
        has = {"stores": stores, "others": (one_again, other_again), "clear": staticmethod(clear)}
        machine = type("BothAlike", (Alike,), has)
        run_state_machine_as_test(  # type: ignore[no-untyped-call] # as Hypothesis has it
            machine,
            settings=settings(
                max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )

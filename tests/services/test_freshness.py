"""Which values are live: the rule, and the watch over thousands of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.reading import ReadingBatch, Source
from headend.services.bus import Bus
from headend.services.freshness import Freshness, Watch
from headend.services.roster import MeterState, Roster

from .support import meter

NOW = 1_700_000_000_000


def a_state(poll_seconds: float, *, online: bool | None = True, enabled: bool = True) -> MeterState:
    roster = Roster(Bus(), lambda: NOW)
    roster.load([meter("m", "m", poll_seconds=poll_seconds, enabled=enabled)])
    state = roster.state("m")
    state.online = online
    return state


@pytest.mark.parametrize(
    ("poll", "interval", "seconds"),
    [(60, 0, 180), (60, 900, 2700), (2, 0, 60), (2, 10, 60), (2, 30, 90), (0, 0, 3600), (0, 900, 2700)],
)
def test_a_value_is_live_for_three_of_its_periods_and_at_least_a_minute(
    poll: float, interval: float, seconds: int
) -> None:
    rules, state = Freshness(every=lambda _meter, quantity: interval if quantity == "x" else 0.0), a_state(poll)
    assert not rules.is_stale(state, "x", NOW, NOW + seconds * 1000)
    assert rules.is_stale(state, "x", NOW, NOW + seconds * 1000 + 1)
    assert rules.seconds(state, "y") == Freshness().seconds(state, "x") == rules.seconds(state)


def test_nothing_is_live_of_a_meter_that_is_offline() -> None:
    assert Freshness().is_stale(a_state(60, online=False), "x", NOW, NOW)
    assert not Freshness().is_stale(a_state(60, online=None), "x", NOW, NOW)
    assert not Freshness().is_stale(a_state(60, enabled=False), "x", NOW, NOW + 3_600_000), "it is not polled"


def batch(meter_id: str, at: int, *quantities: str, source: Source = Source.POLL) -> ReadingBatch:
    size = len(quantities)
    return ReadingBatch(
        meter_id=meter_id,
        source=source,
        received_at=at,
        quantities=quantities,
        values=[1] * size,
        measured_at=[at] * size,
        quality=[0] * size,
    )


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200), st.sampled_from("ab"), st.sets(st.sampled_from("xyz"), min_size=1), st.booleans()
        )
    )
)
def test_the_watch_tells_each_value_once_when_the_rule_says_so(
    steps: list[tuple[int, str, set[str], bool]],
) -> None:
    now = NOW
    roster = Roster(Bus(), lambda: now)
    roster.load(meter(name, name, poll_seconds=period) for name, period in (("a", 10.0), ("b", 60.0)))
    rules = Freshness(every=lambda _meter, quantity: 300.0 if quantity == "z" else 0.0)
    watch = Watch(roster, lambda: now, rules)
    live: dict[tuple[str, str], int] = {}
    for seconds, name, quantities, looks in steps:
        now += seconds * 1000
        watch.take(batch(name, now, *quantities))
        live |= {(name, quantity): now for quantity in quantities}
        if looks:
            told = {(meter_id, each) for meter_id, keys in watch.stale().items() for each in keys}
            gone = {key for key, at in live.items() if rules.is_stale(roster.find(key[0]), key[1], at, now)}
            assert told == gone
            for key in gone:
                del live[key]
    now += 10_000_000
    told = {(meter_id, each) for meter_id, keys in watch.stale().items() for each in keys}
    assert told == set(live)
    assert watch.stale() == {}
    assert not watch._seen
    assert len(watch._heap) <= 2


def test_history_is_not_live() -> None:
    watch = Watch(Roster(Bus(), lambda: NOW), lambda: NOW + 10**9, Freshness())
    watch.take(batch("a", NOW, "x", source=Source.HISTORY))
    assert watch.stale() == {}

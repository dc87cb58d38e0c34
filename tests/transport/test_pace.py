from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError
from headend.model.targets import Target, parse_targets
from headend.transport.pace import NEVER, WAITING, Pace


def let_out(pace: Pace, steps: Sequence[float], room: int = 50) -> list[tuple[float, Target]]:
    """All targets with the times at which they went; the clock goes on by the steps, again and again, and as the pace asks."""
    now, out, turn = 0.0, [], 0
    while not pace.finished:
        taken = pace.take(now, room)
        assert len(taken) <= room
        out += [(now, target) for target in taken]
        asked = pace.next_at(now)
        if pace.finished:
            assert asked == NEVER
            break
        now = max(now + steps[turn % len(steps)], asked)
        turn += 1
        assert turn < 100_000
    return out


def most_above(times: Sequence[float], rate: float) -> float:
    """How far any stretch of time has more than its share."""
    return max(
        last + 1 - first - rate * (times[last] - times[first])
        for first in range(len(times))
        for last in range(first, len(times))
    )


@given(
    st.lists(st.floats(0, 0.7), min_size=1, max_size=20),
    st.sampled_from([None, 3.0, 40.0, 1000.0]),
    st.sampled_from([None, 0.5, 7.0, 100.0]),
    st.integers(1, 60),
)
def test_no_stretch_of_time_has_more_than_its_share(
    steps: list[float], rate: float | None, network_rate: float | None, room: int
) -> None:
    targets = parse_targets(["10.0.0.0/28", "10.0.1.0/27", "fd00::/120"], [1], excluded=["fd00::10-fd00::ff"])
    out = let_out(Pace(targets.walk(3), rate, network_rate), [*steps, 0.01], room)
    assert {target for _, target in out} == set(targets.walk(3))
    assert len(out) == targets.count
    times = [time for time, _ in out]
    assert times == sorted(times)
    if rate is not None:
        assert most_above(times, rate) <= max(1.0, rate / 20) + 1e-6
    by_network: dict[int, list[float]] = defaultdict(list)
    for time, target in out:
        by_network[target[3]].append(time)
    assert len(by_network) == 3
    if network_rate is not None:
        for each in by_network.values():
            assert most_above(each, network_rate) <= max(1.0, network_rate / 20) + 1e-6


@pytest.mark.parametrize(
    ("rate", "network_rate", "expected"), [(500.0, None, 500.0), (None, 40.0, 160.0), (100.0, 40.0, 100.0)]
)
def test_the_rate_is_reached(rate: float | None, network_rate: float | None, expected: float) -> None:
    """With a clock that goes on by milliseconds, as a poll does."""
    targets = parse_targets(["10.0.0.0/22"], [1, 2])
    out = let_out(Pace(targets.walk(9), rate, network_rate), [0.001])
    assert targets.count / out[-1][0] == pytest.approx(expected, rel=0.03)


def test_a_network_that_has_had_its_share_does_not_keep_others_waiting() -> None:
    slow = [(position, f"10.0.0.{position}", 1, 0x0A0000) for position in range(100)]
    others = [(100 + at, f"10.0.{1 + at}.1", 1, 0x0A0001 + at) for at in range(100)]
    pace = Pace(iter([*slow, *others]), None, 1.0)
    assert pace.take(0.0, 1000) == [slow[0], *others]
    assert pace.take(0.999, 1000) == []
    assert pace.next_at(0.999) == pytest.approx(1.0)
    assert pace.take(50.0, 1000) == [slow[1]], "what was not used in fifty seconds is not made up for"


def test_the_source_waits_when_too_many_wait() -> None:
    taken = 0

    def source() -> object:
        nonlocal taken
        for position in range(10 * WAITING):
            taken += 1
            yield position, "10.0.0.1", 1, 7

    pace = Pace(source(), None, 1.0)  # type: ignore[arg-type] # a generator is an iterator
    assert len(pace.take(0.0, 100_000)) == 1
    assert taken == WAITING + 1
    assert pace.next_at(0.0) == pytest.approx(1.0)


def test_without_limits_all_go_at_once() -> None:
    pace = Pace(parse_targets(["10.0.0.0/24"], [1]).walk(1))
    assert pace.next_at(5.0) == 5.0
    assert len(pace.take(5.0, 200)) == 200
    assert len(pace.take(5.0, 200)) == 56
    assert pace.finished


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_is_more_than_nothing(rate: float) -> None:
    with pytest.raises(ConfigError, match="more than 0"):
        Pace(iter(()), rate)

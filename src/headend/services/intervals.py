"""From readings to intervals: pure functions over readings in the order of time.

A register that grows is looked at where intervals meet. Its value there is the reading nearest to that time, within a hundredth of
the period; else it lies on the line between the reading before and the one after, where these are no further apart than a period
(the intervals it bounds are ESTIMATED then). Otherwise it is not known, and neither are those intervals: a gap is left out, never
filled. Intervals are differences of such values, so that they always add up to what the register counted.

A register that goes down has rolled over where the way over its highest value (a power of ten of its digits, or 32 bits) is
possible in the time; so the difference goes on. Otherwise, and where it went up faster than the limit, the meter was exchanged or
its register was reset: no interval spans that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from headend.model.interval import Amount, Derivation, Interval
from headend.model.reading import Quality, Source, Value

Row: TypeAlias = tuple[int, Value, int, int, Source]
"""Time of measurement, value, quality, time of receipt, source."""

_MISSING = int(Quality.MISSING)
_LINE = int(Derivation.INTERPOLATED | Quality.ESTIMATED)
"""flags as plain numbers: those of enums are ten times as dear"""
_TURNED = int(Derivation.ROLLED_OVER)
_OFF = int(Derivation.OFF_GRID)
_QUALITIES = tuple(map(Quality, range(64)))
HOUR_MS: Final = 3_600_000
TOLERANCE: Final = 100
"""a reading within this part of a period stands for the time it is near to"""
LARGEST: Final = 10**24
"""what is beyond (and what is not finite) is an error of the meter, and has no exact decimal of 28 digits"""
_POWERS: Final = tuple(10**power for power in range(7))
"""of ten: the unit that a register of 32 bits may count in, in steps"""


class _Point(NamedTuple):
    """A register at a time, in steps of the resolution, as if it had never rolled over; `life` grows with each exchange."""

    at: int
    steps: int
    quality: int
    read_at: int
    source: Source
    life: int = 0
    turns: int = 0
    interpolated: bool = False


def to_steps(value: Value, digits: int) -> int | None:
    """A number in units of 10**-digits, rounded half to even; None where it is no number, or none that a meter counts to."""
    if isinstance(value, bool | str) or not -LARGEST < value < LARGEST:
        return None
    if isinstance(value, int):
        return value * int(10**digits)
    return round(Decimal(repr(value)).scaleb(digits))


def from_steps(steps: int, digits: int) -> Amount:
    """The amount: an int where it is whole."""
    whole, rest = divmod(steps, 10**digits)
    return whole if not rest else Decimal(steps).scaleb(-digits).normalize()


def differences(
    rows: Iterable[Row], start: int, end: int, period: int, *, digits: int, limit: int
) -> Iterator[Interval]:
    """Intervals of a register with start <= interval < end, on the grid of the period.

    `rows` begin a period before the start and end a period after the end. `limit` is the most that the register can grow in an
    hour, in base units.
    """
    first, last = -(-start // period) * period, end // period * period
    before: _Point | None = None
    for at, point in _bounds(_lives(_points(rows, digits), limit * 10**digits), first, last, period):
        if before is not None and point is not None and before.life == point.life:
            yield _difference(before, point, at - period, at, digits)
        before = point


def _difference(before: _Point, after: _Point, start: int, end: int, digits: int) -> Interval:
    status = before.quality | after.quality
    if before.interpolated or after.interpolated:
        status |= _LINE
    if before.turns != after.turns:
        status |= _TURNED
    value = from_steps(after.steps - before.steps, digits)
    return Interval(start, end, value, _QUALITIES[status & 0x3F], status, after.read_at, after.source)


def _points(rows: Iterable[Row], digits: int) -> Iterator[_Point]:
    for at, value, quality, read_at, source in rows:
        steps = to_steps(value, digits)
        if steps is not None and steps >= 0 and not quality & _MISSING:
            yield _Point(at, steps, quality, read_at, source)


def _lives(points: Iterable[_Point], per_hour: int) -> Iterator[_Point]:
    """The points as a register that never rolls over: what it lost is added, and a new life begins where it cannot be told."""
    before: _Point | None = None
    shown = added = life = turns = 0
    for point in points:
        if before is not None:
            grown, most = point.steps - shown, -(-per_hour * (point.at - before.at) // HOUR_MS)
            if grown < 0:
                span = _span(shown, point.steps, most)
                grown, added, turns = grown + span, added + span, turns + bool(span)
            if not 0 <= grown <= most:
                life, added = life + 1, 0
        shown = point.steps
        before = _Point(point.at, shown + added, point.quality, point.read_at, point.source, life, turns)
        yield before


def _span(before: int, after: int, most: int) -> int:
    """Where a register turned over that went down, in steps; 0 where it cannot have."""
    decimal = 10 ** len(str(before))
    binary = [power << 32 for power in _POWERS if power << 32 > before]
    spans = [span for span in (decimal, *binary) if after + span - before <= most and (span - before) * 10 <= span]
    return min(spans, default=0)


def _bounds(points: Iterator[_Point], first: int, last: int, period: int) -> Iterator[tuple[int, _Point | None]]:
    """The register at each time of the grid, or None where it is not known."""
    near = period // TOLERANCE
    left: _Point | None = None
    right = next(points, None)
    for at in range(first, last + 1, period):
        while right is not None and right.at <= at:
            left, right = right, next(points, None)
        before = at - left.at if left is not None else near + 1
        after = right.at - at if right is not None else near + 1
        if left is not None and before <= min(near, after):
            yield at, left
        elif right is not None and after <= near:
            yield at, right
        elif left is None or right is None or left.life != right.life or right.at - left.at > period:
            yield at, None
        else:
            steps = left.steps + (right.steps - left.steps) * (at - left.at) // (right.at - left.at)
            quality = left.quality | right.quality
            yield at, _Point(at, steps, quality, right.read_at, right.source, left.life, left.turns, interpolated=True)


def given(rows: Iterable[Row], start: int, end: int, period: int, *, digits: int) -> Iterator[Interval]:
    """Intervals that the meter made itself: a reading is what the period before it came to. One before its time is shorter."""
    near, until = period // TOLERANCE, 0
    for at, value, quality, read_at, source in rows:
        steps = to_steps(value, digits)
        if steps is None or quality & _MISSING:
            continue
        grid = round(at / period) * period
        stop = grid if abs(at - grid) <= near else at
        begin = max(stop - period, until)
        until = max(stop, until)
        if start <= begin < stop <= end:
            status = quality | (_OFF if begin % period or stop % period else 0)
            yield Interval(begin, stop, from_steps(steps, digits), _QUALITIES[quality & 0x3F], status, read_at, source)


def moments(rows: Iterable[Row], start: int, end: int, *, digits: int) -> Iterator[Interval]:
    """Values of the moment."""
    for at, value, quality, read_at, source in rows:
        steps = to_steps(value, digits)
        if steps is not None and start <= at < end and not quality & _MISSING:
            yield Interval(at, at, from_steps(steps, digits), _QUALITIES[quality & 0x3F], quality, read_at, source)

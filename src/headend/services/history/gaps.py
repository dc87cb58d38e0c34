"""What to ask a meter for, in which order, and what follows from what it answers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from headend.model.intervals import Grid, Reason
from headend.model.objects import HistoryBlock, RowFlag
from headend.model.reading import Quality

NEAR: Final = 4
"""Rows between two gaps that are read once more, rather than asking twice."""
_IN_DOUBT: Final = int(Quality.CLOCK_INVALID)
_AT_RISK: Final = 0.1
"""The share of what a meter keeps that it will write over first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one request asks for: from the first to the last time that is lacking, both included."""

    first: int
    last: int
    lacking: tuple[int, ...]


def pieces(grid: Grid, lacking: Sequence[int], *, most: int, kept: int, now: int) -> list[Piece]:
    """The requests for what is lacking (in order), of at most `most` rows each; `kept` rows is what the meter holds.

    What it will soon write over goes first, oldest first; then the rest, newest first.
    """
    found: list[list[int]] = []
    for at in lacking:
        if found and at - found[-1][-1] <= NEAR * grid.period and at - found[-1][0] < most * grid.period:
            found[-1].append(at)
        else:
            found.append([at])
    made = [Piece(times[0], times[-1], tuple(times)) for times in found]
    safe = now - round(kept * (1 - _AT_RISK)) * grid.period if kept else 0
    risky = [piece for piece in made if piece.first < safe]
    return risky + [piece for piece in reversed(made) if piece.first >= safe]


def reasons(
    grid: Grid, lacking: Iterable[int], flags: Mapping[int, RowFlag], *, newest: int, oldest: int | None
) -> dict[int, Reason]:
    """Why a meter that was asked has no rows of these times, as far as that is certain.

    `flags` holds what the meter says in the rows that it has sent, by their time. It is certain only where the meter has
    recorded something later already, or holds nothing so old any more.
    """
    found: dict[int, Reason] = {}
    later = sorted(flags)
    for at in lacking:
        if oldest is not None and at < oldest - grid.tolerance:
            found[at] = Reason.WRAPPED
        elif at < newest - grid.tolerance:
            said = next((flags[time] for time in later if time > at), RowFlag(0))
            if said & RowFlag.POWER_DOWN:
                found[at] = Reason.POWER_DOWN
            elif said & RowFlag.CLOCK_SET:
                found[at] = Reason.CLOCK_SHIFT
            else:
                found[at] = Reason.NOT_RECORDED
    return found


def flags_of(block: HistoryBlock) -> dict[int, RowFlag]:
    """What the rows of a block say of themselves, by their time."""
    flags = block.flags or (RowFlag(0),) * len(block.times)
    return {at: flag for at, flag in zip(block.times, flags, strict=True) if at is not None}


def repeated(times: Iterable[int | None]) -> int:
    """How many rows are not later than the one before: the clock was set back between them."""
    count, before = 0, None
    for at in times:
        if at is not None:
            count += before is not None and at <= before
            before = at
    return count


def wanted(block: HistoryBlock, grid: Grid, lacking: Collection[int], piece: Piece) -> HistoryBlock:
    """The rows of a block that are new: those that lack, and those between the places; of one time the row recorded last.

    Where other rows lie between the two, the clock was set back by several intervals, and which time it was right is not known:
    the row says so. Next to each other they are of a clock that was set back by seconds, as a rule.
    """
    place_of = {grid.place(at): at for at in lacking}
    chosen: dict[int, int] = {}
    doubtful: set[int] = set()
    for index, at in enumerate(block.times):
        if at is None:
            continue
        place = grid.place(at)
        between = place is None and piece.first <= at <= piece.last
        if between or (place is not None and place in place_of):
            time = at if place is None else place_of[place]
            if index - chosen.get(time, index) > 1:
                doubtful.add(time)
            chosen[time] = index
    kept = [chosen[at] for at in sorted(chosen)]
    return replace(
        block,
        times=[block.times[index] for index in kept],
        rows=[block.rows[index] for index in kept],
        quality=[block.quality[chosen[at]] | (_IN_DOUBT if at in doubtful else 0) for at in sorted(chosen)],
        flags=[block.flags[index] for index in kept] if block.flags else (),
    )

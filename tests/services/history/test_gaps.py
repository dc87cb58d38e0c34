from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.intervals import Grid, Reason
from headend.model.objects import HistoryBlock, HistoryColumn, ObjectRef, RowFlag
from headend.model.reading import Quality, ReadingBatch, Source
from headend.services.history.counters import Fall, falls
from headend.services.history.gaps import NEAR, Piece, flags_of, pieces, reasons, repeated, wanted

PERIOD = 900_000
GRID = Grid(PERIOD)
ENERGY = "active_energy_import_total"
COLUMN = HistoryColumn(ref=ObjectRef("dlms", "3/1-0:1.8.0.255/2"), quantity=ENERGY)


def block(*times: int | None, flags: tuple[RowFlag, ...] = ()) -> HistoryBlock:
    return HistoryBlock(
        columns=(COLUMN,), times=times, rows=[(n,) for n in range(len(times))], quality=[0] * len(times), flags=flags
    )


@given(st.sets(st.integers(0, 2000), min_size=1), st.integers(1, 100), st.integers(0, 3000))
def test_pieces_hold_all_that_is_lacking_once_and_are_no_longer_than_asked(
    places: set[int], most: int, kept: int
) -> None:
    lacking = [place * PERIOD for place in sorted(places)]
    now = 2001 * PERIOD
    found = pieces(GRID, lacking, most=most, kept=kept, now=now)
    assert sorted(at for piece in found for at in piece.lacking) == lacking
    for piece in found:
        assert (piece.first, piece.last) == (piece.lacking[0], piece.lacking[-1])
        assert (piece.last - piece.first) // PERIOD < most
    risky = [piece for piece in found if kept and piece.first < now - round(kept * 0.9) * PERIOD]
    rest = found[len(risky) :]
    assert found[: len(risky)] == sorted(risky, key=lambda piece: piece.first)
    assert rest == sorted(rest, key=lambda piece: -piece.first)


def test_what_lies_near_is_read_in_one_go() -> None:
    lacking = [0, 1, NEAR + 1, 2 * NEAR + 2]
    found = pieces(GRID, [each * PERIOD for each in lacking], most=96, kept=0, now=10**9)
    assert [piece.first // PERIOD for piece in found] == [2 * NEAR + 2, 0]


def test_a_reason_is_given_only_where_it_is_certain() -> None:
    at = [n * PERIOD for n in range(10)]
    flags = {at[3]: RowFlag.POWER_DOWN, at[5]: RowFlag.CLOCK_SET | RowFlag(0), at[8]: RowFlag(0)}
    lost = [at[0], at[2], at[4], at[6], at[9]]
    assert reasons(GRID, lost, flags, newest=at[8], oldest=at[1]) == {
        at[0]: Reason.WRAPPED,
        at[2]: Reason.POWER_DOWN,
        at[4]: Reason.CLOCK_SHIFT,
        at[6]: Reason.NOT_RECORDED,
    }
    assert reasons(GRID, lost, {}, newest=0, oldest=None) == {}
    assert reasons(GRID, [at[9]], {}, newest=at[9] + PERIOD, oldest=None) == {at[9]: Reason.NOT_RECORDED}


def test_of_two_rows_of_one_time_the_later_one_counts() -> None:
    rows = block(PERIOD, 2 * PERIOD, None, PERIOD + 9000, 2 * PERIOD, 3 * PERIOD)
    assert repeated(rows.times) == 1
    lacking = (PERIOD, 2 * PERIOD)
    kept = wanted(rows, GRID, lacking, Piece(PERIOD, 2 * PERIOD, lacking))
    assert (list(kept.times), list(kept.rows), list(kept.flags)) == ([PERIOD + 9000, 2 * PERIOD], [(3,), (4,)], [])


@pytest.mark.parametrize(
    ("times", "in_doubt"),
    [
        ((1, 2, 3, 2, 3, 4), {2, 3}),  # set back by two intervals
        ((1, 2, 3, 3, 4), set()),  # by seconds: the same end was passed twice
        ((1, 2, 3, 4), set()),
    ],
)
def test_rows_that_a_clock_set_back_has_repeated_are_in_doubt(times: Sequence[int], in_doubt: set[int]) -> None:
    lacking = tuple(n * PERIOD for n in range(1, 5))
    rows = block(*(n * PERIOD for n in times))
    kept = wanted(rows, GRID, lacking, Piece(lacking[0], lacking[-1], lacking))
    assert tuple(kept.times) == lacking
    assert {at // PERIOD for at, quality in zip(kept.times, kept.quality, strict=True) if quality} == in_doubt
    assert set(kept.quality) <= {0, Quality.CLOCK_INVALID}


def test_a_row_between_the_places_is_kept_where_something_lacks() -> None:
    between = PERIOD + PERIOD // 2
    rows = block(between, 2 * PERIOD, 9 * PERIOD // 2, flags=(RowFlag.POWER_DOWN, RowFlag(0), RowFlag(0)))
    piece = Piece(PERIOD, 3 * PERIOD, (PERIOD, 3 * PERIOD))
    kept = wanted(rows, GRID, piece.lacking, piece)
    assert (list(kept.times), list(kept.flags)) == ([between], [RowFlag.POWER_DOWN])
    assert flags_of(rows)[between] is RowFlag.POWER_DOWN
    assert flags_of(replace(rows, flags=())) == dict.fromkeys(rows.times, RowFlag(0))


def batch(*rows: tuple[int, object], quantity: str = ENERGY) -> ReadingBatch:
    return ReadingBatch(
        meter_id="m",
        source=Source.HISTORY,
        received_at=0,
        quantities=(quantity,) * len(rows),
        values=[value for _, value in rows],  # type: ignore[misc]
        measured_at=[at for at, _ in rows],
        quality=(0,) * len(rows),
    )


def test_a_counter_that_falls_is_seen_within_an_answer_and_between_two() -> None:
    last: dict[str, tuple[int, float]] = {}
    assert list(falls(batch((2, 20), (1, 10), (3, 5), (4, 6)), last)) == [Fall(ENERGY, 3, 20, 5)]
    assert last == {ENERGY: (4, 6)}
    assert list(falls(batch((1, 1), (2, 2)), last)) == []
    assert last == {ENERGY: (4, 6)}, "what is older says nothing of the newest"
    assert list(falls(batch((5, 3)), last)) == [Fall(ENERGY, 5, 6, 3)]


def test_what_is_no_counter_may_fall() -> None:
    for quantity in ("voltage_l1", "no such thing", "active_energy_since_reset_import"):
        assert list(falls(batch((1, 5), (2, 1), quantity=quantity), {})) == []
    assert list(falls(batch((1, True), (2, "1")), {})) == []


def test_a_counter_that_was_at_its_end_has_rolled_over() -> None:
    assert Fall(ENERGY, 0, 99_999_990, 12).rolled_over
    assert not Fall(ENERGY, 0, 99_999_990, 9_000_000).rolled_over
    assert not Fall(ENERGY, 0, 5_000, 12).rolled_over

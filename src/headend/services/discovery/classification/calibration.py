"""Confidence that means what it says: logistic regression of "right" on a few measures, and how far stated and real agree. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import mul
from typing import Final

STEPS: Final = 60
RIDGE: Final = 0.15
"""Pulls the coefficients to 0, so that few cases do not make them certain."""
BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One answer: its measures, whether it was right, and how much it counts."""

    measures: tuple[float, ...]
    right: bool
    weight: float = 1.0


def probability(coefficients: Sequence[float], measures: Sequence[float]) -> float:
    """How probably an answer with such measures is right; the first coefficient stands alone."""
    return _logistic(coefficients[0] + sum(c * m for c, m in zip(coefficients[1:], measures, strict=True)))


def fit(cases: Sequence[Case], growing: Sequence[int] = ()) -> tuple[float, ...]:
    """Coefficients of the logistic regression.

    The measures whose numbers are in `growing` cannot speak against an answer: where few cases say they do, they are left out.
    """
    total = sum(case.weight for case in cases)
    shares = [case.weight / total * len(cases) for case in cases]
    right = [case.right for case in cases]
    falling: set[int] = set()
    while True:
        found = _fit([(1.0, *_blanked(case.measures, falling)) for case in cases], right, shares)
        more = {number for number in growing if found[number + 1] < 0}
        if not more:
            return found
        falling |= more


def _blanked(measures: Sequence[float], numbers: AbstractSet[int]) -> Iterable[float]:
    return (0.0 if number in numbers else each for number, each in enumerate(measures)) if numbers else measures


def _fit(rows: Sequence[Sequence[float]], right: Sequence[bool], shares: Sequence[float]) -> tuple[float, ...]:
    """Newton's method with a ridge."""
    size = len(rows[0])
    below = [(i, j) for i in range(size) for j in range(i + 1)]
    found = [0.0] * size
    for _ in range(STEPS):
        gradient = [-RIDGE * each for each in found]
        gradient[0] = 0.0
        hessian = [
            [RIDGE if row == column and row else 1e-9 * (row == column) for column in range(size)]
            for row in range(size)
        ]
        for row, was_right, share in zip(rows, right, shares, strict=True):
            p = _logistic(sum(map(mul, found, row)))
            off, curve = share * (was_right - p), share * p * (1 - p)
            for i in range(size):
                gradient[i] += off * row[i]
            for i, j in below:
                hessian[i][j] += curve * row[i] * row[j]
        for i, j in below:
            hessian[j][i] = hessian[i][j]
        step = _solve(hessian, gradient)
        found = [each + max(-5.0, min(5.0, delta)) for each, delta in zip(found, step, strict=True)]
        if max(map(abs, step)) < 1e-9:
            break
    return tuple(found)


def _logistic(exponent: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, exponent))))


def _solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Gaussian elimination with the largest element first."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for index in range(column + 1, size):
            factor = rows[index][column] / rows[column][column]
            rows[index] = [a - factor * b for a, b in zip(rows[index], rows[column], strict=True)]
    found = [0.0] * size
    for index in reversed(range(size)):
        rest = sum(rows[index][other] * found[other] for other in range(index + 1, size))
        found[index] = (rows[index][size] - rest) / rows[index][index]
    return found


def expected_calibration_error(stated: Sequence[tuple[float, bool]]) -> float:
    """Mean distance between stated confidence and share of right answers, over ten bins of equal width; 0 without answers."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in stated:
        bins[min(BINS - 1, int(confidence * BINS))].append((confidence, right))
    return sum(abs(sum(c - r for c, r in each)) for each in bins) / max(1, len(stated))


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of Wilson for a share (95 %); the whole of it without cases."""
    if not total:
        return 0.0, 1.0
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    width = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - width), min(1.0, middle + width)

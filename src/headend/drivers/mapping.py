"""The funnel: raw values of any protocol become one ReadingBatch. Pure, and the only such place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from headend.drivers.base import Notification
from headend.errors import CapabilityError
from headend.model.objects import HistoryBlock, ObjectEntry, RawValue, ReadPlan, ReadResult
from headend.model.reading import Missing, Quality, ReadingBatch, Source, Value

MAX_TEXT: Final = 512
"""characters; a meter that sends more gives no reading"""
_EXACT_DIGITS = 10**15
_GOOD = int(Quality.GOOD)
_PRECISION = int(Quality.PRECISION)
MAX_EXPONENT = 36
"""What a meter may tell as a scaler, and more: an amount that needs a greater power of ten is no amount but a mistake."""
_POWERS: tuple[int, ...] = tuple(10**n for n in range(MAX_EXPONENT + 1))


def scale(raw: RawValue, exponent: int) -> Value | None:
    """A raw value times 10**exponent: an int stays an int where it can, a negative exponent divides once, correctly rounded.

    Octets become text (printable ASCII or UTF-8) or hexadecimal. None, structured values, and amounts with an exponent
    beyond MAX_EXPONENT have no reading: None.
    """
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int | float):
        if exponent == 0:
            return raw
        if not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
            return None
        return raw * _POWERS[exponent] if exponent > 0 else raw / _POWERS[-exponent]
    if isinstance(raw, bytes | bytearray):
        return octets_to_text(bytes(raw))
    return raw if isinstance(raw, str) else None


def _held(raw: RawValue, exponent: int) -> Value | None:
    """The scaled value as a reading holds it; None for a text that is longer than any identifier or state."""
    value = scale(raw, exponent)
    return None if isinstance(value, str) and len(value) > MAX_TEXT else value


def octets_to_text(octets: bytes) -> str:
    """Octets as the text they hold when all of it is printable, else as hexadecimal."""
    try:
        text = octets.rstrip(b"\x00 ").decode("utf-8")
    except UnicodeDecodeError:
        return octets.hex()
    return text if text.isprintable() else octets.hex()


@lru_cache(maxsize=1024)
def _columns(plan: ReadPlan) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """(quantities, exponents, good qualities) of a plan in which every entry has a quantity, else shorter than the plan."""
    kept = [entry for entry in plan.entries if entry.quantity]
    return (
        tuple(entry.quantity for entry in kept),
        tuple(entry.exponent for entry in plan.entries),
        (_GOOD,) * len(kept),
    )


def to_batch(meter_id: str, plan: ReadPlan, result: ReadResult, received_at: int, source: Source) -> ReadingBatch:
    """Scale what a read brought; what did not come, or cannot be a reading, is listed in `missing` with its reason.

    `received_at` in milliseconds; readings carry the meter's own time when the result has one.
    """
    quantities, exponents, good = _columns(plan)
    if result.exponents is not None:
        exponents = tuple(result.exponents)
    at = received_at if result.measured_at is None else result.measured_at
    values: list[Value] = []
    if not result.errors and len(quantities) == len(plan.entries):
        for raw, exponent in zip(result.values, exponents, strict=True):
            if not ((type(raw) is int and -_EXACT_DIGITS < raw < _EXACT_DIGITS) or type(raw) is float):
                break
            if exponent == 0:
                values.append(raw)
            elif 0 < exponent <= MAX_EXPONENT:
                values.append(raw * _POWERS[exponent])
            elif -MAX_EXPONENT <= exponent < 0:
                values.append(raw / _POWERS[-exponent])
            else:
                break
        else:
            return ReadingBatch(
                meter_id=meter_id,
                source=source,
                received_at=received_at,
                quantities=quantities,
                values=values,
                measured_at=(at,) * len(values),
                quality=good,
            )
    return _with_gaps(meter_id, plan.entries, result, exponents, at, received_at, source)


def _with_gaps(
    meter_id: str,
    entries: Sequence[ObjectEntry],
    result: ReadResult,
    exponents: Sequence[int],
    at: int,
    received_at: int,
    source: Source,
) -> ReadingBatch:
    quantities: list[str] = []
    values: list[Value] = []
    quality: list[int] = []
    missing: list[Missing] = []
    for index, entry in enumerate(entries):
        error = result.errors.get(index)
        value = None if error else _held(result.values[index], exponents[index])
        if error is not None or (value is None and entry.quantity):
            code, reason = (
                (error.code, str(error)) if error else ("null", "the meter gave no value that a reading can hold")
            )
            missing.append(Missing(ref=str(entry.ref), quantity=entry.quantity, code=code, reason=reason))
        elif value is not None and entry.quantity:
            quantities.append(entry.quantity)
            values.append(value)
            quality.append(_quality(result.values[index], exponents[index]))
    return ReadingBatch(
        meter_id=meter_id,
        source=source,
        received_at=received_at,
        quantities=tuple(quantities),
        values=values,
        measured_at=(at,) * len(values),
        quality=tuple(quality),
        missing=tuple(missing),
    )


def _quality(raw: RawValue, exponent: int) -> int:
    """PRECISION where an integer has more digits than a float can hold exactly after a division."""
    return _PRECISION if exponent < 0 and type(raw) is int and abs(raw) >= _EXACT_DIGITS else _GOOD


def history_batch(meter_id: str, block: HistoryBlock, received_at: int) -> ReadingBatch:
    """The readings of a block of load-profile rows, column by column; rows without a time have none."""
    quantities: list[str] = []
    values: list[Value] = []
    times: list[int] = []
    quality: list[int] = []
    for position, column in enumerate(block.columns):
        if not column.quantity:
            continue
        for at, row, flags in zip(block.times, block.rows, block.quality, strict=True):
            value = _held(row[position], column.exponent)
            if value is None or at is None:
                continue
            quantities.append(column.quantity)
            values.append(value)
            times.append(at)
            quality.append(flags | _quality(row[position], column.exponent))
    return ReadingBatch(
        meter_id=meter_id,
        source=Source.HISTORY,
        received_at=received_at,
        quantities=quantities,
        values=values,
        measured_at=times,
        quality=quality,
    )


def push_batch(
    meter_id: str, entries: Iterable[ObjectEntry], notification: Notification, received_at: int
) -> ReadingBatch | None:
    """The readings in what a meter said unasked; None when it names no object that has a quantity in its profile.

    A value whose scaler only the meter knows is missing unless the push tells it: nothing is guessed.
    """
    said, scales = notification.values, notification.scales
    pushed = [entry for entry in entries if entry.quantity and entry.ref in said]
    if not pushed:
        return None
    unknown = CapabilityError(
        "a push does not tell the scaler of this object", hint="write the scaler into the profile"
    )
    result = ReadResult(
        values=[said[entry.ref] for entry in pushed],
        errors={
            index: unknown
            for index, entry in enumerate(pushed)
            if entry.scaler is None and isinstance(said[entry.ref], int | float) and entry.ref not in scales
        },
        exponents=[scales[entry.ref][0] if entry.ref in scales else entry.exponent for entry in pushed],
        measured_at=notification.measured_at,
    )
    return to_batch(meter_id, ReadPlan(entries=tuple(pushed)), result, received_at, Source.PUSH)

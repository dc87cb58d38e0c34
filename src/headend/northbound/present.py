"""The present values of a batch, for systems that take whatever they are told for the state of this moment. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headend.model.reading import Quality, ReadingBatch, Source, Value

_UNUSABLE: Final = Quality.OUT_OF_RANGE | Quality.MISSING


def present_values(batch: ReadingBatch, seconds: Callable[[str], float | None]) -> dict[str, Value | None]:
    """The newest value of each quantity, unless it was measured more than so many seconds before it came.

    None is a value that is not what it seems, or was asked for and did not come. `seconds` None leaves a quantity out.
    """
    if batch.source is Source.HISTORY:
        return {}
    newest: dict[str, tuple[int, Value | None]] = {}
    for key, value, at, quality in zip(batch.quantities, batch.values, batch.measured_at, batch.quality, strict=True):
        limit = seconds(key)
        then = batch.received_at if quality & Quality.CLOCK_INVALID else at
        if limit is None or batch.received_at - then > 1000 * limit or newest.get(key, (then,))[0] > then:
            continue
        newest[key] = (then, None if quality & _UNUSABLE else value)
    found = {key: value for key, (_, value) in newest.items()}
    for gap in batch.missing:
        if gap.quantity and seconds(gap.quantity) is not None:
            found.setdefault(gap.quantity, None)
    return found

"""What a load profile captures: the columns of its rows, with quantities and scalers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headend.drivers.dlms.clocks import CLOCK, CLOCK_CLASS
from headend.drivers.dlms.plans import SCALED_ATTRIBUTES
from headend.drivers.dlms.refs import CosemRef
from headend.errors import HeadendError, ServiceRefused
from headend.model.objects import HistoryColumn
from headend.model.quantity import base_unit, for_obis
from headend.protocols.dlms.classes import CaptureObject, to_capture_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headend.drivers.dlms.access import Access
    from headend.drivers.dlms.answers import Scale
    from headend.model.objects import ObjectEntry, ObjectRef

_CAPTURE_OBJECTS, _CAPTURE_PERIOD = 3, 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What a load profile captures.

    `clock` is the place of its date-time among the captured objects, -1 without one; `columns` are all others; `period`
    are the milliseconds between rows, None when they come irregularly.
    """

    captured: tuple[CaptureObject, ...]
    clock: int
    columns: tuple[HistoryColumn, ...]
    period: int | None


async def ask_shape(access: Access, ref: CosemRef, entries: Mapping[ObjectRef, ObjectEntry]) -> Shape:
    """Ask the meter. `entries` are the objects of its meter file, whose scalers go before the meter's own."""
    objects, seconds = await access.read_refs(ref.other(_CAPTURE_OBJECTS), ref.other(_CAPTURE_PERIOD))
    if isinstance(objects, HeadendError):
        raise objects
    captured = tuple(to_capture_objects(objects))
    if not captured:
        raise ServiceRefused(f"{ref}: the load profile captures nothing", reason="capture_objects")
    clock = next((at for at, column in enumerate(captured) if _is_clock(column)), -1)
    others = [column for at, column in enumerate(captured) if at != clock]
    refs = [CosemRef(column.class_id, column.logical_name, column.attribute_id) for column in others]
    scales = await access.scales(refs)
    columns = tuple(
        _column(column, column_ref, scale, entries.get(column_ref.object_ref))
        for column, column_ref, scale in zip(others, refs, scales, strict=True)
    )
    period = seconds * 1000 if isinstance(seconds, int) and seconds > 0 else None
    return Shape(captured, clock, columns, period)


def _is_clock(column: CaptureObject) -> bool:
    return column.class_id == CLOCK_CLASS and column.attribute_id == CLOCK.member


def _column(
    column: CaptureObject, ref: CosemRef, scale: Scale | HeadendError, entry: ObjectEntry | None
) -> HistoryColumn:
    """A column without a scaler, or in another unit than its quantity, has no quantity: it makes no readings."""
    if entry is not None and entry.scaler is not None and not column.data_index:
        unit, _ = base_unit(entry.unit)
        return HistoryColumn(ref=ref.object_ref, quantity=entry.quantity, unit=unit, exponent=entry.exponent)
    if isinstance(scale, HeadendError):
        return HistoryColumn(ref=ref.object_ref)
    whole_value = not column.data_index and ref.member in SCALED_ATTRIBUTES.get(ref.class_id, (2,))
    quantity = for_obis(ref.obis) if whole_value else None
    key = quantity.key if quantity is not None and quantity.unit == scale.unit else ""
    return HistoryColumn(ref=ref.object_ref, quantity=key, unit=scale.unit, exponent=scale.exponent)

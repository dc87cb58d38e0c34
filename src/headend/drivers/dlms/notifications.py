"""Pushes and events of a meter, as the model knows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.drivers.base import Notification
from headend.drivers.dlms.refs import CosemRef
from headend.errors import DecodeError
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.axdr import decode_data
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from headend.model.objects import RawValue
    from headend.protocols.dlms.clock import EpochReader


def to_notification(apdu: DataNotification | EventNotification, reader: EpochReader) -> Notification:
    """One notification; data that cannot be decoded stay octets."""
    if isinstance(apdu, EventNotification):
        value = _plain(apdu.value)
        ref = CosemRef(
            apdu.attribute.class_id, Obis.from_bytes(apdu.attribute.logical_name), apdu.attribute.attribute_id
        )
        at = _moment(apdu.time or b"", reader)
        return Notification(kind="event", body=value, measured_at=at, values={ref.object_ref: value})
    return Notification(kind="push", body=_plain(apdu.body), measured_at=_moment(apdu.date_time, reader))


def _moment(date_time: bytes, reader: EpochReader) -> int | None:
    return reader.read(date_time) if len(date_time) == 12 else None


def _plain(data: bytes) -> RawValue:
    try:
        return decode_data(data)[0]
    except DecodeError:
        return data

"""What a meter sends unasked: EventNotification C2 and DataNotification 0F. Their data stay encoded A-XDR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor, decode_attribute
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

NOTIFICATION_TAGS: Final = frozenset({0x0F, 0x18, 0x38, 0x58, 0xC2, 0xCA, 0xD2})
"""data-notification, information-report and event-notification, both also ciphered with the global or the dedicated key."""

_DATE_TIME_LENGTH: Final = 12
_TAGGED_DATE_TIME: Final = b"\x09\x0c"


@dataclass(frozen=True, slots=True)
class DataNotification:
    """A push. `date_time` is twelve octets or none.

    `tagged_date_time` names a peculiarity of Kaifa meters: the date-time carries the A-XDR tag 09 before its length.
    """

    TAG: ClassVar[int] = 0x0F

    long_invoke_id_and_priority: int
    date_time: bytes
    body: bytes
    tagged_date_time: bool = False

    def encode(self) -> bytes:
        """The APDU."""
        tag = b"\x09" if self.tagged_date_time else b""
        head = b"\x0f" + self.long_invoke_id_and_priority.to_bytes(4, "big")
        return head + tag + encode_length(len(self.date_time)) + self.date_time + self.body


@dataclass(frozen=True, slots=True)
class EventNotification:
    """An event: the value of one attribute, with the time of the event where the meter gives it."""

    TAG: ClassVar[int] = 0xC2

    attribute: AttributeDescriptor
    value: bytes
    time: bytes | None = None

    def encode(self) -> bytes:
        """The APDU."""
        time = b"\x00" if self.time is None else b"\x01" + encode_length(len(self.time)) + self.time
        return b"\xc2" + time + self.attribute.encode() + self.value


def decode_data_notification(reader: Reader) -> DataNotification:
    """Decode after the tag."""
    invoke = reader.u32("long invoke id")
    offset = reader.offset
    tagged = reader.data[offset : offset + 2] == _TAGGED_DATE_TIME
    if tagged:
        reader.u8("tag of the date-time")
    date_time = reader.string("date-time")
    if len(date_time) not in {0, _DATE_TIME_LENGTH}:
        raise DecodeError("date-time", offset=offset, expected="0 or 12 octets", got=str(len(date_time)))
    return DataNotification(invoke, date_time, reader.tail("notification body"), tagged)


def decode_event_notification(reader: Reader) -> EventNotification:
    """Decode after the tag."""
    time = reader.string("time of the event") if reader.flag("time of the event") else None
    return EventNotification(decode_attribute(reader), reader.tail("value of the event"), time)

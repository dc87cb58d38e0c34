"""Selective access to a profile buffer (IEC 62056-6-2, class 7): which rows and columns, both roles.

```text
selector 1  range_descriptor  structure { restricting_object, from_value, to_value, selected_values }
selector 2  entry_descriptor  structure { from_entry, to_entry, from_selected_value, to_selected_value }
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import AccessSelection
from headend.protocols.dlms.axdr import (
    Data,
    Tag,
    array,
    decode_typed,
    encode_data,
    octet_string,
    structure,
    uint16,
    uint32,
)
from headend.protocols.dlms.classes import CaptureObject, to_capture_object, to_capture_objects
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from headend.protocols.dlms.clock import CosemDateTime

CLOCK: Final = CaptureObject(8, Obis(0, 0, 1, 0, 0, 255), 2)
"""The column that rows are mostly restricted by: time of the clock."""


@dataclass(frozen=True, slots=True)
class RangeDescriptor:
    """Rows in which a column lies between two values, both included; all columns when none is selected."""

    selector: ClassVar[int] = 1

    restricting: CaptureObject
    from_value: Data
    to_value: Data
    selected: tuple[CaptureObject, ...] = ()

    @classmethod
    def between(
        cls, start: CosemDateTime, end: CosemDateTime, selected: tuple[CaptureObject, ...] = ()
    ) -> RangeDescriptor:
        """Rows captured from `start` to `end` by the meter's clock."""
        return cls(CLOCK, octet_string(start.to_bytes()), octet_string(end.to_bytes()), selected)

    def to_selection(self) -> AccessSelection:
        """What a GET request carries."""
        columns = array(*(column.to_data() for column in self.selected))
        data = structure(self.restricting.to_data(), self.from_value, self.to_value, columns)
        return AccessSelection(self.selector, encode_data(data))


@dataclass(frozen=True, slots=True)
class EntryDescriptor:
    """Rows and columns by number from 1 on, both ends included; 0 at the upper end means the last one."""

    selector: ClassVar[int] = 2

    from_entry: int
    to_entry: int = 0
    from_selected: int = 1
    to_selected: int = 0

    def to_selection(self) -> AccessSelection:
        """What a GET request carries."""
        data = structure(
            uint32(self.from_entry), uint32(self.to_entry), uint16(self.from_selected), uint16(self.to_selected)
        )
        return AccessSelection(self.selector, encode_data(data))


def from_selection(selection: AccessSelection) -> RangeDescriptor | EntryDescriptor:
    """What a request asks for; raises DecodeError for another selector or structure."""
    data, end = decode_typed(selection.parameters)
    if end != len(selection.parameters):
        raise DecodeError("selective access", offset=end, expected="no more octets")
    if selection.selector not in (RangeDescriptor.selector, EntryDescriptor.selector):
        raise DecodeError("selective access", expected="selector 1 or 2", got=str(selection.selector))
    fields = data.value
    if not isinstance(fields, tuple) or len(fields) != 4:
        raise DecodeError("selective access", expected="a structure of 4", got=data.tag.name)
    if selection.selector == RangeDescriptor.selector:
        restricting, selected = to_capture_object(fields[0].plain()), to_capture_objects(fields[3].plain())
        return RangeDescriptor(restricting, fields[1], fields[2], tuple(selected))
    return EntryDescriptor(*(_number(each) for each in fields))


def _number(data: Data) -> int:
    if data.tag not in (Tag.UINT32, Tag.UINT16) or not isinstance(data.value, int):
        raise DecodeError("entry_descriptor", expected="unsigned numbers", got=data.tag.name)
    return data.value

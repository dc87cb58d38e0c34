"""Objects of a virtual meter of which a list tells that there are such: what a list does not tell, they show as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_objects import CosemObject, Read
from headend.drivers.dlms.refs import cosem_ref
from headend.standards.cosem import find_class

if TYPE_CHECKING:
    from headend.model.profile import ListedObject

_LOGICAL_NAME: Final = 1
_NO_SCALE: Final = b"\x02\x02\x0f\x00\x16\xff"
_NULL: Final = b"\x00"
_NOTHING: Final = {
    "array": b"\x01\x00",
    "structure": b"\x02\x00",
    "boolean": b"\x03\x00",
    "bit_string": b"\x04\x00",
    "int32": b"\x05" + bytes(4),
    "uint32": b"\x06" + bytes(4),
    "octet_string": b"\x09\x00",
    "visible_string": b"\x0a\x00",
    "int8": b"\x0f\x00",
    "int16": b"\x10\x00\x00",
    "uint8": b"\x11\x00",
    "uint16": b"\x12\x00\x00",
    "int64": b"\x14" + bytes(8),
    "uint64": b"\x15" + bytes(8),
    "enum": b"\x16\x00",
    "date_time": b"\x09\x0c" + b"\xff" * 9 + b"\x80\x00\xff",
}
"""what an attribute of a type shows that holds nothing"""


def add_listed(objects: dict[tuple[int, bytes], CosemObject], listed: ListedObject) -> None:
    """Let there be an object, or add to one what the list tells of it."""
    ref = cosem_ref(listed.ref)
    key = ref.class_id, ref.obis.to_bytes()
    made = objects.setdefault(key, CosemObject(ref.class_id, ref.obis))
    made.version = listed.version
    for attribute_id, octets in listed.values.items():
        if attribute_id != _LOGICAL_NAME:
            made.reads.setdefault(attribute_id, _constant(octets))
    known = find_class(ref.class_id, listed.version)
    for attribute in known.attributes.values() if known is not None else ():
        shown = _NO_SCALE if attribute.name == "scaler_unit" else _NOTHING.get(attribute.type, _NULL)
        made.reads.setdefault(attribute.attribute_id, _constant(shown))


def _constant(octets: bytes) -> Read:
    return lambda _: octets

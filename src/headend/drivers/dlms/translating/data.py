"""A-XDR data as elements (IEC 62056-6-2, 4.1.5). Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from headend.drivers.dlms.nodes import Node, first_error, read_data
from headend.drivers.dlms.translating.element import Element, items, octets, text
from headend.errors import DecodeError
from headend.protocols.dlms.axdr_plain import Tag, decode_length

_NAMES: Final = MappingProxyType(
    {
        Tag.NULL: "None",
        Tag.ARRAY: "Array",
        Tag.STRUCTURE: "Structure",
        Tag.BOOLEAN: "Boolean",
        Tag.BIT_STRING: "BitString",
        Tag.INT32: "Int32",
        Tag.UINT32: "UInt32",
        Tag.OCTET_STRING: "OctetString",
        Tag.VISIBLE_STRING: "String",
        Tag.UTF8_STRING: "StringUTF8",
        Tag.BCD: "BCD",
        Tag.INT8: "Int8",
        Tag.INT16: "Int16",
        Tag.UINT8: "UInt8",
        Tag.UINT16: "UInt16",
        Tag.COMPACT_ARRAY: "CompactArray",
        Tag.INT64: "Int64",
        Tag.UINT64: "UInt64",
        Tag.ENUM: "Enum",
        Tag.FLOAT32: "Float32",
        Tag.FLOAT64: "Float64",
        Tag.DATE_TIME: "DateTime",
        Tag.DATE: "Date",
        Tag.TIME: "Time",
        Tag.DELTA_INT8: "DeltaInt8",
        Tag.DELTA_INT16: "DeltaInt16",
        Tag.DELTA_INT32: "DeltaInt32",
        Tag.DELTA_UINT8: "DeltaUInt8",
        Tag.DELTA_UINT16: "DeltaUInt16",
        Tag.DELTA_UINT32: "DeltaUInt32",
        Tag.DONT_CARE: "DontCare",
    }
)
_COUNTED: Final = frozenset({Tag.BIT_STRING, Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING})


def data_element(data: bytes) -> Element:
    """One value; raises DecodeError for what cannot be read to its end."""
    node = read_data(data)
    error = first_error(node)
    if error is not None:
        raise error
    if node.end != len(data):
        raise DecodeError("data", offset=node.end, expected="the end", got=f"{len(data) - node.end} octets more")
    return _element(node, data)


def _element(node: Node, data: bytes) -> Element:
    tag = node.tag
    if tag is None:
        return octets("AttributeDescriptor", data[node.offset : node.end])
    name = _NAMES[tag]
    if node.is_sequence:
        return items(name, tuple(_element(child, data) for child in node.children))
    start = node.offset + 1
    if tag in _COUNTED and not node.oddity:
        length, start = decode_length(data, start)
        if tag is Tag.BIT_STRING:
            bits = "".join(f"{octet:08b}" for octet in data[start : node.end])
            return text(name, bits[:length])
    content = data[start : node.end] if not node.oddity else node.value
    if tag is Tag.BOOLEAN:
        return text(name, str(any(content)) if isinstance(content, bytes) else "")
    if tag in {Tag.VISIBLE_STRING, Tag.UTF8_STRING} and isinstance(content, bytes):
        return text(name, content.decode("utf-8" if tag is Tag.UTF8_STRING else "latin-1", "replace"))
    if tag in {Tag.NULL, Tag.DONT_CARE} or not isinstance(content, bytes):
        return Element(name)
    return octets(name, content)

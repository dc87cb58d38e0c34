"""What requests point at: attributes, methods and parts of an attribute. Enumerated results of both."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.octets import Reader

DESCRIPTOR_LENGTH: Final = 9
CONFIRMED: Final = 0x40
"""Service class bit of an invoke-id-and-priority octet."""
HIGH_PRIORITY: Final = 0x80
INVOKE_ID: Final = 0x0F


class AttributeDescriptor(NamedTuple):
    """cosem-attribute-descriptor: nine octets on the wire."""

    class_id: int
    logical_name: bytes
    attribute_id: int

    def encode(self) -> bytes:
        """The nine octets."""
        return self.class_id.to_bytes(2, "big") + self.logical_name + (self.attribute_id & 0xFF).to_bytes(1, "big")


class MethodDescriptor(NamedTuple):
    """cosem-method-descriptor: nine octets on the wire."""

    class_id: int
    logical_name: bytes
    method_id: int

    def encode(self) -> bytes:
        """The nine octets."""
        return self.class_id.to_bytes(2, "big") + self.logical_name + (self.method_id & 0xFF).to_bytes(1, "big")


class AccessSelection(NamedTuple):
    """selective-access-descriptor: a selector and its parameters as encoded A-XDR."""

    selector: int
    parameters: bytes


SelectedAttributes: TypeAlias = tuple[tuple[AttributeDescriptor, AccessSelection | None], ...]
"""The attributes of a request with list, each with the part of it that is meant."""


class DataAccessResult(enum.IntEnum):
    """Why an attribute was not read or written; SUCCESS only answers a SET."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_GET_ABORTED = 15
    NO_LONG_GET_IN_PROGRESS = 16
    LONG_SET_ABORTED = 17
    NO_LONG_SET_IN_PROGRESS = 18
    DATA_BLOCK_NUMBER_INVALID = 19
    OTHER_REASON = 250

    @classmethod
    def _missing_(cls, value: object) -> DataAccessResult:  # noqa: ARG003 - the signature is the enum module's
        """A number that the standard does not have is another reason."""
        return cls.OTHER_REASON


class ActionResult(enum.IntEnum):
    """Outcome of a method."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_ACTION_ABORTED = 15
    NO_LONG_ACTION_IN_PROGRESS = 16
    OTHER_REASON = 250

    @classmethod
    def _missing_(cls, value: object) -> ActionResult:  # noqa: ARG003 - the signature is the enum module's
        """A number that the standard does not have is another reason."""
        return cls.OTHER_REASON


def decode_attribute(reader: Reader) -> AttributeDescriptor:
    """Nine octets."""
    class_id, name, index = _descriptor(reader, "attribute descriptor")
    return AttributeDescriptor(class_id, name, index)


def decode_method(reader: Reader) -> MethodDescriptor:
    """Nine octets."""
    class_id, name, index = _descriptor(reader, "method descriptor")
    return MethodDescriptor(class_id, name, index)


def _descriptor(reader: Reader, what: str) -> tuple[int, bytes, int]:
    raw = reader.octets(DESCRIPTOR_LENGTH, what)
    index = raw[8] - 0x100 if raw[8] & 0x80 else raw[8]
    return int.from_bytes(raw[:2], "big"), raw[2:8], index


def encode_selection(access: AccessSelection | None) -> bytes:
    """The optional selection: 00, or 01, selector and parameters."""
    return b"\x00" if access is None else bytes((0x01, access.selector)) + access.parameters


def decode_selection(reader: Reader) -> AccessSelection | None:
    """The optional selection; its parameters stay encoded."""
    if not reader.flag("selective access"):
        return None
    return AccessSelection(reader.u8("access selector"), take_data(reader))


def encode_attributes(attributes: SelectedAttributes) -> bytes:
    """How many, and each with its selection."""
    each = (attribute.encode() + encode_selection(access) for attribute, access in attributes)
    return encode_length(len(attributes)) + b"".join(each)


def decode_attributes(reader: Reader) -> SelectedAttributes:
    """A list of attributes, each with its selection."""
    count = reader.length("number of attributes")
    return tuple((decode_attribute(reader), decode_selection(reader)) for _ in range(count))


def encode_methods(methods: tuple[MethodDescriptor, ...]) -> bytes:
    """How many, and each."""
    return encode_length(len(methods)) + b"".join(method.encode() for method in methods)


def decode_methods(reader: Reader) -> tuple[MethodDescriptor, ...]:
    """A list of methods."""
    return tuple(decode_method(reader) for _ in range(reader.length("number of methods")))


def take_data(reader: Reader) -> bytes:
    """One A-XDR value, checked but still encoded."""
    _, end = decode_data(reader.data, reader.offset, reader.end)
    return reader.octets(end - reader.offset, "data")


def encode_values(values: tuple[bytes, ...]) -> bytes:
    """SEQUENCE OF Data: how many, and each."""
    return encode_length(len(values)) + b"".join(values)


def decode_values(reader: Reader) -> tuple[bytes, ...]:
    """SEQUENCE OF Data; each stays encoded."""
    return tuple(take_data(reader) for _ in range(reader.length("number of values")))


def check_count(what: str, wanted: int, found: int) -> None:
    """Raise DecodeError unless there are as many values as things that they are for."""
    if wanted != found:
        raise DecodeError(what, expected=f"{wanted} values", got=str(found))

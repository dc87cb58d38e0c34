"""GET: requests C0, responses C4.

Data stay encoded A-XDR, because who reads them knows what they mean. Where data end an APDU they are not even looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    AttributeDescriptor,
    DataAccessResult,
    SelectedAttributes,
    decode_attribute,
    decode_attributes,
    decode_selection,
    encode_attributes,
    encode_selection,
    take_data,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

DataOrResult: TypeAlias = bytes | DataAccessResult


@dataclass(frozen=True, slots=True)
class GetRequestNormal:
    """Read one attribute, or the part of it that `access` selects."""

    TAG: ClassVar[int] = 0xC0

    invoke_id_and_priority: int
    attribute: AttributeDescriptor
    access: AccessSelection | None = None

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC0, 0x01, self.invoke_id_and_priority))
        return head + self.attribute.encode() + encode_selection(self.access)


@dataclass(frozen=True, slots=True)
class GetRequestNext:
    """Ask for the block after number `block_number`."""

    TAG: ClassVar[int] = 0xC0

    invoke_id_and_priority: int
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC0, 0x02, self.invoke_id_and_priority)) + self.block_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class GetRequestWithList:
    """Read several attributes in one exchange."""

    TAG: ClassVar[int] = 0xC0

    invoke_id_and_priority: int
    attributes: SelectedAttributes

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC0, 0x03, self.invoke_id_and_priority)) + encode_attributes(self.attributes)


@dataclass(frozen=True, slots=True)
class GetResponseNormal:
    """The data, or why there are none."""

    TAG: ClassVar[int] = 0xC4

    invoke_id_and_priority: int
    result: DataOrResult

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC4, 0x01, self.invoke_id_and_priority)) + encode_result(self.result)


@dataclass(frozen=True, slots=True)
class GetResponseWithDatablock:
    """One block of data that do not fit one APDU, or why there are no more."""

    TAG: ClassVar[int] = 0xC4

    invoke_id_and_priority: int
    last_block: bool
    block_number: int
    result: DataOrResult

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC4, 0x02, self.invoke_id_and_priority, self.last_block)) + self.block_number.to_bytes(4, "big")
        if isinstance(self.result, bytes):
            return head + b"\x00" + encode_length(len(self.result)) + self.result
        return head + bytes((0x01, self.result))


@dataclass(frozen=True, slots=True)
class GetResponseWithList:
    """Data or reason for each attribute of the request, in its order."""

    TAG: ClassVar[int] = 0xC4

    invoke_id_and_priority: int
    results: tuple[DataOrResult, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC4, 0x03, self.invoke_id_and_priority)) + self.encode_results()

    def encode_results(self) -> bytes:
        """What is cut into blocks when the APDU is too long."""
        return encode_length(len(self.results)) + b"".join(map(encode_result, self.results))


GetRequest: TypeAlias = GetRequestNormal | GetRequestNext | GetRequestWithList
GetResponse: TypeAlias = GetResponseNormal | GetResponseWithDatablock | GetResponseWithList


def encode_result(result: DataOrResult) -> bytes:
    """Get-Data-Result: 00 and data, or 01 and the reason."""
    return b"\x00" + result if isinstance(result, bytes) else bytes((0x01, result))


def decode_get_request(reader: Reader) -> GetRequest:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("GET request")
    invoke = reader.u8("invoke id")
    request: GetRequest
    if kind == 0x01:
        attribute = decode_attribute(reader)
        access = decode_selection(reader) if reader.left else None  # some clients leave the octet out
        request = GetRequestNormal(invoke, attribute, access)
    elif kind == 0x02:
        request = GetRequestNext(invoke, reader.u32("block number"))
    elif kind == 0x03:
        request = GetRequestWithList(invoke, decode_attributes(reader))
    else:
        raise DecodeError("GET request", offset=offset, expected="type 01, 02 or 03", got=f"{kind:02x}")
    reader.finish("GET request")
    return request


def decode_get_response(reader: Reader) -> GetResponse:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("GET response")
    invoke = reader.u8("invoke id")
    response: GetResponse
    if kind == 0x01:
        response = GetResponseNormal(invoke, decode_last_result(reader))
    elif kind == 0x02:
        last = reader.flag("last block")
        number = reader.u32("block number")
        failed = reader.flag("block or reason")
        result = DataAccessResult(reader.u8("reason")) if failed else reader.string("raw data")
        response = GetResponseWithDatablock(invoke, last, number, result)
    elif kind == 0x03:
        response = GetResponseWithList(invoke, decode_results(reader))
    else:
        raise DecodeError("GET response", offset=offset, expected="type 01, 02 or 03", got=f"{kind:02x}")
    reader.finish("GET response")
    return response


def decode_results(reader: Reader) -> tuple[DataOrResult, ...]:
    """The list of results of a response with list."""
    return tuple(decode_result(reader) for _ in range(reader.length("number of results")))


def decode_result(reader: Reader) -> DataOrResult:
    """Get-Data-Result in a list: 00 and data, or 01 and the reason."""
    return take_data(reader) if _has_data(reader) else DataAccessResult(reader.u8("reason"))


def decode_last_result(reader: Reader) -> DataOrResult:
    """Get-Data-Result at the end of an APDU."""
    return reader.tail("data") if _has_data(reader) else DataAccessResult(reader.u8("reason"))


def _has_data(reader: Reader) -> bool:
    offset = reader.offset
    choice = reader.u8("data or reason")
    if choice > 0x01:
        raise DecodeError("data or reason", offset=offset, expected="00 (data) or 01 (reason)", got=f"{choice:02x}")
    return choice == 0x00

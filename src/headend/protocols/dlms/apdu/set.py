"""SET: requests C1, responses C5. Data stay encoded A-XDR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    AttributeDescriptor,
    DataAccessResult,
    SelectedAttributes,
    check_count,
    decode_attribute,
    decode_attributes,
    decode_selection,
    decode_values,
    encode_attributes,
    encode_selection,
    encode_values,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader


@dataclass(frozen=True, slots=True)
class SetRequestNormal:
    """Write one attribute."""

    TAG: ClassVar[int] = 0xC1

    invoke_id_and_priority: int
    attribute: AttributeDescriptor
    data: bytes
    access: AccessSelection | None = None

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC1, 0x01, self.invoke_id_and_priority))
        return head + self.attribute.encode() + encode_selection(self.access) + self.data


@dataclass(frozen=True, slots=True)
class SetRequestFirstDatablock:
    """Write one attribute in blocks: the first one."""

    TAG: ClassVar[int] = 0xC1

    invoke_id_and_priority: int
    attribute: AttributeDescriptor
    access: AccessSelection | None
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC1, 0x02, self.invoke_id_and_priority))
        target = self.attribute.encode() + encode_selection(self.access)
        return head + target + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class SetRequestDatablock:
    """A following block."""

    TAG: ClassVar[int] = 0xC1

    invoke_id_and_priority: int
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC1, 0x03, self.invoke_id_and_priority))
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class SetRequestWithList:
    """Write several attributes in one exchange, each its value."""

    TAG: ClassVar[int] = 0xC1

    invoke_id_and_priority: int
    attributes: SelectedAttributes
    values: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC1, 0x04, self.invoke_id_and_priority))
        return head + encode_attributes(self.attributes) + encode_values(self.values)


@dataclass(frozen=True, slots=True)
class SetRequestWithListAndFirstDatablock:
    """Write several attributes, their values in blocks: the first one."""

    TAG: ClassVar[int] = 0xC1

    invoke_id_and_priority: int
    attributes: SelectedAttributes
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC1, 0x05, self.invoke_id_and_priority)) + encode_attributes(self.attributes)
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class SetResponseNormal:
    """What became of the write."""

    TAG: ClassVar[int] = 0xC5

    invoke_id_and_priority: int
    result: DataAccessResult

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC5, 0x01, self.invoke_id_and_priority, self.result))


@dataclass(frozen=True, slots=True)
class SetResponseDatablock:
    """A block has arrived; the next one may come."""

    TAG: ClassVar[int] = 0xC5

    invoke_id_and_priority: int
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC5, 0x02, self.invoke_id_and_priority)) + self.block_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class SetResponseLastDatablock:
    """The last block has arrived, and what became of the write."""

    TAG: ClassVar[int] = 0xC5

    invoke_id_and_priority: int
    result: DataAccessResult
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC5, 0x03, self.invoke_id_and_priority, self.result))
        return head + self.block_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class SetResponseLastDatablockWithList:
    """The last block has arrived, and what became of each write."""

    TAG: ClassVar[int] = 0xC5

    invoke_id_and_priority: int
    results: tuple[DataAccessResult, ...]
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC5, 0x04, self.invoke_id_and_priority)) + _encode_results(self.results)
        return head + self.block_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class SetResponseWithList:
    """What became of each write."""

    TAG: ClassVar[int] = 0xC5

    invoke_id_and_priority: int
    results: tuple[DataAccessResult, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC5, 0x05, self.invoke_id_and_priority)) + _encode_results(self.results)


SetRequest: TypeAlias = (
    SetRequestNormal
    | SetRequestFirstDatablock
    | SetRequestDatablock
    | SetRequestWithList
    | SetRequestWithListAndFirstDatablock
)
SetResponse: TypeAlias = (
    SetResponseNormal
    | SetResponseDatablock
    | SetResponseLastDatablock
    | SetResponseLastDatablockWithList
    | SetResponseWithList
)


def encode_block(last_block: bool, block_number: int, raw_data: bytes) -> bytes:  # noqa: FBT001 - fields in their order
    """DataBlock-SA, the block of SET and ACTION."""
    return bytes((last_block,)) + block_number.to_bytes(4, "big") + encode_length(len(raw_data)) + raw_data


def decode_block(reader: Reader) -> tuple[bool, int, bytes]:
    """DataBlock-SA: last, number, raw data."""
    return reader.flag("last block"), reader.u32("block number"), reader.string("raw data")


def _encode_results(results: tuple[DataAccessResult, ...]) -> bytes:
    return encode_length(len(results)) + bytes(results)


def _decode_results(reader: Reader) -> tuple[DataAccessResult, ...]:
    return tuple(DataAccessResult(result) for result in reader.string("results"))


def decode_set_request(reader: Reader) -> SetRequest:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("SET request")
    invoke = reader.u8("invoke id")
    request: SetRequest
    if kind == 0x01:
        attribute = decode_attribute(reader)
        access = decode_selection(reader)
        request = SetRequestNormal(invoke, attribute, reader.tail("data"), access)
    elif kind == 0x02:
        request = SetRequestFirstDatablock(
            invoke, decode_attribute(reader), decode_selection(reader), *decode_block(reader)
        )
    elif kind == 0x03:
        request = SetRequestDatablock(invoke, *decode_block(reader))
    elif kind == 0x04:
        attributes, values = decode_attributes(reader), decode_values(reader)
        check_count("SET request", len(attributes), len(values))
        request = SetRequestWithList(invoke, attributes, values)
    elif kind == 0x05:
        request = SetRequestWithListAndFirstDatablock(invoke, decode_attributes(reader), *decode_block(reader))
    else:
        raise DecodeError("SET request", offset=offset, expected="type 01 to 05", got=f"{kind:02x}")
    reader.finish("SET request")
    return request


def decode_set_response(reader: Reader) -> SetResponse:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("SET response")
    invoke = reader.u8("invoke id")
    response: SetResponse
    if kind == 0x01:
        response = SetResponseNormal(invoke, DataAccessResult(reader.u8("result")))
    elif kind == 0x02:
        response = SetResponseDatablock(invoke, reader.u32("block number"))
    elif kind == 0x03:
        result = DataAccessResult(reader.u8("result"))
        response = SetResponseLastDatablock(invoke, result, reader.u32("block number"))
    elif kind == 0x04:
        results = _decode_results(reader)
        response = SetResponseLastDatablockWithList(invoke, results, reader.u32("block number"))
    elif kind == 0x05:
        response = SetResponseWithList(invoke, _decode_results(reader))
    else:
        raise DecodeError("SET response", offset=offset, expected="type 01 to 05", got=f"{kind:02x}")
    reader.finish("SET response")
    return response

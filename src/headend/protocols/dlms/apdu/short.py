"""Services of short-name referencing (IEC 62056-5-3): READ 05, 0C; WRITE 06, 0D; UnconfirmedWrite 16; InformationReport 18.

```text
 read-request          05  list of variables                    one answer for each in read-response 0C
 write-request         06  list of variables  list of data      one answer for each in write-response 0D
 unconfirmed-write     16  list of variables  list of data      no answer
 information-report    18  time  list of variables  list of data, unasked

 variable   02 name                     04 name selector parameters
            05 block number             asks for the block after this one of a long answer
            06 last number raw data     a block of a long read-request
            07 last number              a block of a long write-request, whose raw data are its only data, an octet-string
```

There is no invoke id. Raw data are cut out of what follows the tag: the list of variables of a read-request, both lists of a
write-request, the list of results of a read-response. Data stay encoded A-XDR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult, take_data
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OCTET_STRING: Final = 0x09


@dataclass(frozen=True, slots=True)
class VariableName:
    """An attribute or a method, by its short name."""

    name: int

    def encode(self) -> bytes:
        """Choice and name."""
        return b"\x02" + self.name.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ParameterizedAccess:
    """A part of an attribute, as selector and parameters say, or a method that returns something: its selector is 0."""

    name: int
    selector: int
    parameters: bytes

    def encode(self) -> bytes:
        """Choice, name, selector and parameters."""
        return b"\x04" + self.name.to_bytes(2, "big") + bytes((self.selector,)) + self.parameters


@dataclass(frozen=True, slots=True)
class BlockNumberAccess:
    """The block after `block_number`."""

    block_number: int

    def encode(self) -> bytes:
        """Choice and number."""
        return b"\x05" + self.block_number.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ReadDataBlockAccess:
    """A block of a read-request."""

    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """Choice and block."""
        return b"\x06" + _encode_block(self)


@dataclass(frozen=True, slots=True)
class WriteDataBlockAccess:
    """A block of a write-request; its raw data are the data of the request."""

    last_block: bool
    block_number: int

    def encode(self) -> bytes:
        """Choice, last, number."""
        return bytes((0x07, self.last_block)) + self.block_number.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class DataBlock:
    """data-block-result: a block of a read-response."""

    last_block: bool
    block_number: int
    raw_data: bytes


@dataclass(frozen=True, slots=True)
class BlockNumber:
    """A block of a request has arrived; the next one may come."""

    block_number: int


VariableAccess: TypeAlias = (
    VariableName | ParameterizedAccess | BlockNumberAccess | ReadDataBlockAccess | WriteDataBlockAccess
)
ReadResult: TypeAlias = bytes | DataAccessResult | DataBlock | BlockNumber
WriteResult: TypeAlias = DataAccessResult | BlockNumber


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read variables."""

    TAG: ClassVar[int] = 0x05

    variables: tuple[VariableAccess, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return b"\x05" + encode_variables(self.variables)


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """Data, or the reason why not, for each variable of the request, in its order."""

    TAG: ClassVar[int] = 0x0C

    results: tuple[ReadResult, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return b"\x0c" + encode_length(len(self.results)) + b"".join(map(encode_read_result, self.results))


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Write variables, or invoke methods: each gets the data at its place."""

    TAG: ClassVar[int] = 0x06

    variables: tuple[VariableAccess, ...]
    data: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return b"\x06" + _encode_writes(self.variables, self.data)


@dataclass(frozen=True, slots=True)
class WriteResponse:
    """What became of each write."""

    TAG: ClassVar[int] = 0x0D

    results: tuple[WriteResult, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return b"\x0d" + encode_length(len(self.results)) + b"".join(map(_encode_write_result, self.results))


@dataclass(frozen=True, slots=True)
class UnconfirmedWriteRequest:
    """Write variables without an answer."""

    TAG: ClassVar[int] = 0x16

    variables: tuple[VariableAccess, ...]
    data: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return b"\x16" + _encode_writes(self.variables, self.data)


@dataclass(frozen=True, slots=True)
class InformationReport:
    """What a meter tells unasked: variables and their data. `time` is a GeneralizedTime, as 20251121120000Z."""

    TAG: ClassVar[int] = 0x18

    variables: tuple[VariableAccess, ...]
    data: tuple[bytes, ...]
    time: bytes | None = None

    def encode(self) -> bytes:
        """The APDU."""
        time = b"\x00" if self.time is None else b"\x01" + encode_length(len(self.time)) + self.time
        return b"\x18" + time + _encode_writes(self.variables, self.data)


ShortRequest: TypeAlias = ReadRequest | WriteRequest
ShortResponse: TypeAlias = ReadResponse | WriteResponse


def encode_variables(variables: Sequence[VariableAccess]) -> bytes:
    """A list of variables."""
    return encode_length(len(variables)) + b"".join(variable.encode() for variable in variables)


def encode_read_result(result: ReadResult) -> bytes:
    """One result of a read-response."""
    if isinstance(result, bytes):
        return b"\x00" + result
    if isinstance(result, DataBlock):
        return b"\x02" + _encode_block(result)
    if isinstance(result, BlockNumber):
        return b"\x03" + result.block_number.to_bytes(2, "big")
    return bytes((0x01, result))


def _encode_write_result(result: WriteResult) -> bytes:
    if isinstance(result, BlockNumber):
        return b"\x02" + result.block_number.to_bytes(2, "big")
    return b"\x00" if result == DataAccessResult.SUCCESS else bytes((0x01, result))


def _encode_block(block: ReadDataBlockAccess | DataBlock) -> bytes:
    raw_data = block.raw_data
    return bytes((block.last_block,)) + block.block_number.to_bytes(2, "big") + encode_length(len(raw_data)) + raw_data


def _encode_writes(variables: Sequence[VariableAccess], data: Sequence[bytes]) -> bytes:
    return encode_variables(variables) + encode_length(len(data)) + b"".join(data)


def decode_read_request(reader: Reader) -> ReadRequest:
    """Decode after the tag."""
    variables = _decode_variables(reader)
    if any(isinstance(variable, WriteDataBlockAccess) for variable in variables):
        raise DecodeError("read-request", expected="something to read", got="a block to write")
    reader.finish("read-request")
    return ReadRequest(variables)


def decode_read_response(reader: Reader) -> ReadResponse:
    """Decode after the tag. Where data end the APDU they are not looked at."""
    count = reader.length("number of results")
    if count == 1 and reader.peek() == 0x00:
        reader.u8("result")
        return ReadResponse((reader.tail("data"),))
    results = tuple(_decode_read_result(reader) for _ in range(count))
    reader.finish("read-response")
    return ReadResponse(results)


def decode_write_request(reader: Reader) -> WriteRequest:
    """Decode after the tag."""
    variables, data = _decode_writes(reader, "write-request")
    return WriteRequest(variables, data)


def decode_unconfirmed_write_request(reader: Reader) -> UnconfirmedWriteRequest:
    """Decode after the tag."""
    variables, data = _decode_writes(reader, "unconfirmed-write-request")
    return UnconfirmedWriteRequest(variables, data)


def decode_write_response(reader: Reader) -> WriteResponse:
    """Decode after the tag."""
    count = reader.length("number of results")
    results = tuple(_decode_write_result(reader) for _ in range(count))
    reader.finish("write-response")
    return WriteResponse(results)


def decode_information_report(reader: Reader) -> InformationReport:
    """Decode after the tag."""
    time = reader.string("time") if reader.flag("time") else None
    variables, data = _decode_writes(reader, "information-report")
    return InformationReport(variables, data, time)


def block_asked(request: ShortRequest) -> int | None:
    """The number in a request for the next block of an answer; None for any other request."""
    match request:
        case ReadRequest((BlockNumberAccess(number),)):
            return number
    return None


def block_of_answer(response: ShortResponse) -> DataBlock | None:
    """The block that a response is."""
    match response:
        case ReadResponse((DataBlock() as block,)):
            return block
    return None


def acknowledged_block(response: ShortResponse) -> int | None:
    """The number of the block of a request that the response acknowledges; None for an answer."""
    match response:
        case ReadResponse((BlockNumber(number),)) | WriteResponse((BlockNumber(number),)):
            return number
    return None


def block_of_write(request: WriteRequest) -> tuple[WriteDataBlockAccess, bytes] | None:
    """The block that a write-request is, and its raw data; None for a whole one. Raises DecodeError for half a block."""
    if not any(isinstance(variable, WriteDataBlockAccess) for variable in request.variables):
        return None
    match request:
        case WriteRequest((WriteDataBlockAccess() as block,), (data,)) if data[:1] == bytes((_OCTET_STRING,)):
            reader = Reader(data, 1)
            return block, reader.string("raw data")
    raise DecodeError("write-data-block-access", expected="one octet-string of raw data")


def write_block(block: WriteDataBlockAccess, raw_data: bytes) -> WriteRequest:
    """A block of a write-request."""
    return WriteRequest((block,), (bytes((_OCTET_STRING,)) + encode_length(len(raw_data)) + raw_data,))


def _decode_variables(reader: Reader) -> tuple[VariableAccess, ...]:
    return tuple(_decode_variable(reader) for _ in range(reader.length("number of variables")))


def _decode_variable(reader: Reader) -> VariableAccess:
    offset = reader.offset
    decode = _VARIABLES.get(reader.u8("variable-access-specification"))
    if decode is None:
        got = f"{reader.data[offset]:02x}"
        raise DecodeError("variable-access-specification", offset=offset, expected="02, 04, 05, 06 or 07", got=got)
    return decode(reader)


def _decode_writes(reader: Reader, what: str) -> tuple[tuple[VariableAccess, ...], tuple[bytes, ...]]:
    variables = _decode_variables(reader)
    offset = reader.offset
    count = reader.length("number of data")
    if count != len(variables):
        expected = f"as many as variables, {len(variables)}"
        raise DecodeError(f"{what}: number of data", offset=offset, expected=expected, got=str(count))
    data = tuple(take_data(reader) for _ in range(count))
    reader.finish(what)
    return variables, data


def _decode_read_result(reader: Reader) -> ReadResult:
    offset = reader.offset
    choice = reader.u8("result")
    if choice == 0x00:
        return take_data(reader)
    if choice == 0x01:
        return DataAccessResult(reader.u8("reason"))
    if choice == 0x02:
        return DataBlock(reader.flag("last block"), reader.u16("block number"), reader.string("raw data"))
    if choice == 0x03:
        return BlockNumber(reader.u16("block number"))
    raise DecodeError("result of a read", offset=offset, expected="00, 01, 02 or 03", got=f"{choice:02x}")


def _decode_write_result(reader: Reader) -> WriteResult:
    offset = reader.offset
    choice = reader.u8("result")
    if choice == 0x00:
        return DataAccessResult.SUCCESS
    if choice == 0x01:
        return DataAccessResult(reader.u8("reason"))
    if choice == 0x02:
        return BlockNumber(reader.u16("block number"))
    raise DecodeError("result of a write", offset=offset, expected="00, 01 or 02", got=f"{choice:02x}")


_VARIABLES: Final[dict[int, Callable[[Reader], VariableAccess]]] = {
    0x02: lambda reader: VariableName(reader.u16("short name")),
    0x04: lambda reader: ParameterizedAccess(reader.u16("short name"), reader.u8("selector"), take_data(reader)),
    0x05: lambda reader: BlockNumberAccess(reader.u16("block number")),
    0x06: lambda reader: ReadDataBlockAccess(
        reader.flag("last block"), reader.u16("block number"), reader.string("raw data")
    ),
    0x07: lambda reader: WriteDataBlockAccess(reader.flag("last block"), reader.u16("block number")),
}

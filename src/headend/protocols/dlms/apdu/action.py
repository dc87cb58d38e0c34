"""ACTION: requests C3, responses C7. Parameters stay encoded A-XDR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import (
    ActionResult,
    MethodDescriptor,
    check_count,
    decode_method,
    decode_methods,
    decode_values,
    encode_methods,
    encode_values,
)
from headend.protocols.dlms.apdu.get import DataOrResult, decode_last_result, decode_result, encode_result
from headend.protocols.dlms.apdu.set import decode_block, encode_block
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader


@dataclass(frozen=True, slots=True)
class ActionRequestNormal:
    """Invoke one method, with or without parameters."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    method: MethodDescriptor
    parameters: bytes | None = None

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC3, 0x01, self.invoke_id_and_priority)) + self.method.encode()
        return head + (b"\x00" if self.parameters is None else b"\x01" + self.parameters)


@dataclass(frozen=True, slots=True)
class ActionRequestNextPblock:
    """Ask for the block of the answer after number `block_number`."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC3, 0x02, self.invoke_id_and_priority)) + self.block_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class ActionRequestWithList:
    """Invoke several methods in their order. Each has parameters; null-data where it takes none."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    methods: tuple[MethodDescriptor, ...]
    parameters: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC3, 0x03, self.invoke_id_and_priority))
        return head + encode_methods(self.methods) + encode_values(self.parameters)


@dataclass(frozen=True, slots=True)
class ActionRequestFirstPblock:
    """Invoke one method with parameters in blocks: the first one."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    method: MethodDescriptor
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC3, 0x04, self.invoke_id_and_priority)) + self.method.encode()
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class ActionRequestWithListAndFirstPblock:
    """Invoke several methods, their parameters in blocks: the first one."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    methods: tuple[MethodDescriptor, ...]
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC3, 0x05, self.invoke_id_and_priority)) + encode_methods(self.methods)
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class ActionRequestPblock:
    """A following block of parameters."""

    TAG: ClassVar[int] = 0xC3

    invoke_id_and_priority: int
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC3, 0x06, self.invoke_id_and_priority))
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class ActionResponseNormal:
    """Outcome of the method, and what it returned if it returns something."""

    TAG: ClassVar[int] = 0xC7

    invoke_id_and_priority: int
    result: ActionResult
    return_parameters: DataOrResult | None = None

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC7, 0x01, self.invoke_id_and_priority)) + encode_outcome(self.result, self.return_parameters)


class Outcome(NamedTuple):
    """What became of one method of a list, and what it returned if it returns something."""

    result: ActionResult
    return_parameters: DataOrResult | None = None


@dataclass(frozen=True, slots=True)
class ActionResponseWithList:
    """The outcome of each method of the request, in its order."""

    TAG: ClassVar[int] = 0xC7

    invoke_id_and_priority: int
    outcomes: tuple[Outcome, ...]

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC7, 0x03, self.invoke_id_and_priority)) + self.encode_outcomes()

    def encode_outcomes(self) -> bytes:
        """What is cut into blocks when the APDU is too long."""
        return encode_length(len(self.outcomes)) + b"".join(encode_outcome(*each) for each in self.outcomes)


@dataclass(frozen=True, slots=True)
class ActionResponsePblock:
    """One block of what the method returned."""

    TAG: ClassVar[int] = 0xC7

    invoke_id_and_priority: int
    last_block: bool
    block_number: int
    raw_data: bytes

    def encode(self) -> bytes:
        """The APDU."""
        head = bytes((0xC7, 0x02, self.invoke_id_and_priority))
        return head + encode_block(self.last_block, self.block_number, self.raw_data)


@dataclass(frozen=True, slots=True)
class ActionResponseNextPblock:
    """A block of parameters has arrived; the next one may come."""

    TAG: ClassVar[int] = 0xC7

    invoke_id_and_priority: int
    block_number: int

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0xC7, 0x04, self.invoke_id_and_priority)) + self.block_number.to_bytes(4, "big")


ActionRequest: TypeAlias = (
    ActionRequestNormal
    | ActionRequestNextPblock
    | ActionRequestWithList
    | ActionRequestFirstPblock
    | ActionRequestWithListAndFirstPblock
    | ActionRequestPblock
)
ActionResponse: TypeAlias = (
    ActionResponseNormal | ActionResponsePblock | ActionResponseWithList | ActionResponseNextPblock
)


def encode_outcome(result: ActionResult, returned: DataOrResult | None) -> bytes:
    """Action-Response-With-Optional-Data."""
    return bytes((result,)) + (b"\x00" if returned is None else b"\x01" + encode_result(returned))


def decode_outcomes(reader: Reader) -> tuple[Outcome, ...]:
    """The list of outcomes of a response with list."""
    return tuple(_decode_outcome(reader) for _ in range(reader.length("number of outcomes")))


def _decode_outcome(reader: Reader) -> Outcome:
    result = ActionResult(reader.u8("action result"))
    return Outcome(result, decode_result(reader) if reader.flag("return parameters") else None)


def decode_action_request(reader: Reader) -> ActionRequest:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("ACTION request")
    invoke = reader.u8("invoke id")
    request: ActionRequest
    if kind == 0x01:
        method = decode_method(reader)
        request = ActionRequestNormal(invoke, method, reader.tail("parameters") if reader.flag("parameters") else None)
    elif kind == 0x02:
        request = ActionRequestNextPblock(invoke, reader.u32("block number"))
    elif kind == 0x03:
        methods, parameters = decode_methods(reader), decode_values(reader)
        check_count("ACTION request", len(methods), len(parameters))
        request = ActionRequestWithList(invoke, methods, parameters)
    elif kind == 0x04:
        request = ActionRequestFirstPblock(invoke, decode_method(reader), *decode_block(reader))
    elif kind == 0x05:
        request = ActionRequestWithListAndFirstPblock(invoke, decode_methods(reader), *decode_block(reader))
    elif kind == 0x06:
        request = ActionRequestPblock(invoke, *decode_block(reader))
    else:
        raise DecodeError("ACTION request", offset=offset, expected="type 01 to 06", got=f"{kind:02x}")
    reader.finish("ACTION request")
    return request


def decode_action_response(reader: Reader) -> ActionResponse:
    """Decode after the tag."""
    offset = reader.offset
    kind = reader.u8("ACTION response")
    invoke = reader.u8("invoke id")
    response: ActionResponse
    if kind == 0x01:
        result = ActionResult(reader.u8("action result"))
        returned = decode_last_result(reader) if reader.left and reader.flag("return parameters") else None
        response = ActionResponseNormal(invoke, result, returned)
    elif kind == 0x02:
        response = ActionResponsePblock(invoke, *decode_block(reader))
    elif kind == 0x03:
        response = ActionResponseWithList(invoke, decode_outcomes(reader))
    elif kind == 0x04:
        response = ActionResponseNextPblock(invoke, reader.u32("block number"))
    else:
        raise DecodeError("ACTION response", offset=offset, expected="type 01 to 04", got=f"{kind:02x}")
    reader.finish("ACTION response")
    return response

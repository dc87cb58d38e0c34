"""ACTION: requests C3, responses C7. Parameters stay encoded A-XDR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import ActionResult, MethodDescriptor, decode_method
from headend.protocols.dlms.apdu.get import DataOrResult, decode_last_result, encode_result
from headend.protocols.dlms.apdu.set import decode_block, encode_block
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
        head = bytes((0xC7, 0x01, self.invoke_id_and_priority, self.result))
        returned = self.return_parameters
        return head + (b"\x00" if returned is None else b"\x01" + encode_result(returned))


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
    ActionRequestNormal | ActionRequestNextPblock | ActionRequestFirstPblock | ActionRequestPblock
)
ActionResponse: TypeAlias = ActionResponseNormal | ActionResponsePblock | ActionResponseNextPblock


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
    elif kind == 0x04:
        request = ActionRequestFirstPblock(invoke, decode_method(reader), *decode_block(reader))
    elif kind == 0x06:
        request = ActionRequestPblock(invoke, *decode_block(reader))
    else:
        raise DecodeError("ACTION request", offset=offset, expected="type 01, 02, 04 or 06", got=f"{kind:02x}")
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
    elif kind == 0x04:
        response = ActionResponseNextPblock(invoke, reader.u32("block number"))
    else:
        raise DecodeError("ACTION response", offset=offset, expected="type 01, 02 or 04", got=f"{kind:02x}")
    reader.finish("ACTION response")
    return response

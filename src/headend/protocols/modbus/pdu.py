"""Modbus PDUs: requests and responses of functions 1-6, 15, 16, 17 and 43/14, and exceptions (clauses 6 and 7).

Registers travel as raw octets here: what they mean is told in `values`. Decoders raise DecodeError, encoders
LocalProtocolError, nothing else.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from headend.errors import (
    Busy,
    ConnectRefused,
    DecodeError,
    HeadendError,
    LinkTimeout,
    LocalProtocolError,
    ObjectUndefined,
    RemoteProtocolError,
    ServiceRefused,
)


class Function(enum.IntEnum):
    """Function codes."""

    READ_COILS = 0x01
    READ_DISCRETE_INPUTS = 0x02
    READ_HOLDING_REGISTERS = 0x03
    READ_INPUT_REGISTERS = 0x04
    WRITE_SINGLE_COIL = 0x05
    WRITE_SINGLE_REGISTER = 0x06
    WRITE_MULTIPLE_COILS = 0x0F
    WRITE_MULTIPLE_REGISTERS = 0x10
    REPORT_SERVER_ID = 0x11
    ENCAPSULATED_INTERFACE = 0x2B


_BIT_READS: Final = (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)
_REGISTER_READS: Final = (Function.READ_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS)
_READS: Final = _BIT_READS + _REGISTER_READS
_MEI_DEVICE_IDENTIFICATION: Final = 0x0E

MAX_READ_BITS: Final = 2000
MAX_READ_REGISTERS: Final = 125
MAX_WRITE_BITS: Final = 1968
MAX_WRITE_REGISTERS: Final = 123


class ExceptionCode(enum.IntEnum):
    """Exception codes (clause 7)."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    SERVER_DEVICE_FAILURE = 0x04
    ACKNOWLEDGE = 0x05
    SERVER_DEVICE_BUSY = 0x06
    NEGATIVE_ACKNOWLEDGE = 0x07
    MEMORY_PARITY_ERROR = 0x08
    GATEWAY_PATH_UNAVAILABLE = 0x0A
    GATEWAY_TARGET_FAILED_TO_RESPOND = 0x0B


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read `count` coils, discrete inputs, holding or input registers (functions 1 to 4)."""

    function: int
    address: int
    count: int

    @property
    def byte_count(self) -> int:
        """Octets of the data that answers."""
        return (self.count + 7) // 8 if self.function in _BIT_READS else self.count * 2


@dataclass(frozen=True, slots=True)
class WriteSingle:
    """Write one coil (value 0xFF00 or 0) or one register; the response is an echo (functions 5 and 6)."""

    function: int
    address: int
    value: int


@dataclass(frozen=True, slots=True)
class WriteMultiple:
    """Write coils (packed, first in bit 0) or registers (functions 15 and 16); `count` is theirs, not of octets."""

    function: int
    address: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ReportServerId:
    """Ask what the device is (function 17)."""

    function: int = Function.REPORT_SERVER_ID


@dataclass(frozen=True, slots=True)
class ReadDeviceIdentification:
    """Read identification objects (function 43, MEI 14): category 1 basic, 2 regular, 3 extended, 4 one object."""

    category: int = 1
    object_id: int = 0
    function: int = Function.ENCAPSULATED_INTERFACE


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """A request that the server must refuse with the exception `code`."""

    function: int
    code: int


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """Registers (two octets each) or packed bits."""

    function: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WriteMultipleResponse:
    """What was written."""

    function: int
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class ServerIdResponse:
    """Device specific octets: commonly an id, the run indicator (0x00, 0xFF), text."""

    data: bytes
    function: int = Function.REPORT_SERVER_ID


@dataclass(frozen=True, slots=True)
class DeviceIdentificationResponse:
    """Identification objects; `next_object_id` says where to go on when `more_follows`."""

    category: int
    conformity: int
    more_follows: bool
    next_object_id: int
    objects: tuple[tuple[int, bytes], ...]
    function: int = Function.ENCAPSULATED_INTERFACE


@dataclass(frozen=True, slots=True)
class ExceptionResponse:
    """The server, or a gateway before it, says no. `function` is that of the request."""

    function: int
    code: int

    @property
    def name(self) -> str:
        """The exception in words."""
        try:
            return ExceptionCode(self.code).name.lower().replace("_", " ")
        except ValueError:
            return f"exception 0x{self.code:02X}"

    def to_error(self) -> HeadendError:
        """The error of our tree.

        The two gateway exceptions tell of the way to the unit, not of the meter, and are link errors: 0A as
        ConnectRefused (the way there is closed), 0B as LinkTimeout (the gateway waited in our place). Both are
        retryable, as 05 and 06 (Busy) are. Everything else would be answered the same way again.
        """
        message = f"{self.name} (function 0x{self.function:02X}, exception 0x{self.code:02X})"
        match self.code:
            case ExceptionCode.ILLEGAL_DATA_ADDRESS:
                return ObjectUndefined(message)
            case ExceptionCode.ACKNOWLEDGE | ExceptionCode.SERVER_DEVICE_BUSY:
                return Busy(message)
            case ExceptionCode.GATEWAY_PATH_UNAVAILABLE:
                return ConnectRefused(message, hint="the gateway has no way to this unit id, or is overloaded")
            case ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND:
                return LinkTimeout(message, hint="the gateway answers, the unit behind it does not")
        return ServiceRefused(message, reason=self.name)


Request: TypeAlias = ReadRequest | WriteSingle | WriteMultiple | ReportServerId | ReadDeviceIdentification
Response: TypeAlias = (
    ReadResponse
    | WriteSingle
    | WriteMultipleResponse
    | ServerIdResponse
    | DeviceIdentificationResponse
    | ExceptionResponse
)

_THREE = struct.Struct(">BHH")


def encode_request(request: Request) -> bytes:
    """The PDU of a request; raises LocalProtocolError when the standard forbids it."""
    fault = _fault(request)
    if fault is not None:
        raise LocalProtocolError(f"{fault[1]} in {request}")
    match request:
        case ReadRequest():
            return _THREE.pack(request.function, request.address, request.count)
        case WriteSingle():
            return _THREE.pack(request.function, request.address, request.value)
        case WriteMultiple():
            head = _THREE.pack(request.function, request.address, request.count)
            return b"%b%c%b" % (head, len(request.data), request.data)
        case ReadDeviceIdentification():
            return bytes((request.function, _MEI_DEVICE_IDENTIFICATION, request.category, request.object_id))
    return bytes((request.function,))


def decode_request(pdu: bytes) -> Request | InvalidRequest:
    """The request in a PDU. What the server must answer with an exception comes as InvalidRequest.

    Raises DecodeError for what is no request at all: no octets, or the function code of an exception.
    """
    if not pdu or not 0 < pdu[0] < 0x80:
        raise DecodeError("no request", offset=0, expected="a function code of 1 to 127", got=pdu[:1].hex())
    request = _parse_request(pdu)
    if isinstance(request, InvalidRequest):
        return request
    fault = _fault(request)
    return request if fault is None else InvalidRequest(request.function, fault[0])


def _parse_request(pdu: bytes) -> Request | InvalidRequest:
    function = pdu[0]
    wrong_size = InvalidRequest(function, ExceptionCode.ILLEGAL_DATA_VALUE)
    match function:
        case Function.REPORT_SERVER_ID:
            return ReportServerId() if len(pdu) == 1 else wrong_size
        case Function.ENCAPSULATED_INTERFACE if pdu[1:2] == b"\x0e":
            return ReadDeviceIdentification(pdu[2], pdu[3]) if len(pdu) == 4 else wrong_size
        case 0x01 | 0x02 | 0x03 | 0x04:
            return ReadRequest(*_THREE.unpack(pdu)) if len(pdu) == 5 else wrong_size
        case Function.WRITE_SINGLE_COIL | Function.WRITE_SINGLE_REGISTER:
            return WriteSingle(*_THREE.unpack(pdu)) if len(pdu) == 5 else wrong_size
        case Function.WRITE_MULTIPLE_COILS | Function.WRITE_MULTIPLE_REGISTERS:
            if len(pdu) < 6 or len(pdu) != 6 + pdu[5]:
                return wrong_size
            _, address, count = _THREE.unpack_from(pdu)
            return WriteMultiple(function, address, count, pdu[6:])
    return InvalidRequest(function, ExceptionCode.ILLEGAL_FUNCTION)


def _fault(request: Request) -> tuple[ExceptionCode, str] | None:
    """The rule a request breaks, and the exception that answers it."""
    match request:
        case ReadRequest(function, address, count):
            limit = MAX_READ_BITS if function in _BIT_READS else MAX_READ_REGISTERS
            if function not in _READS:
                return ExceptionCode.ILLEGAL_FUNCTION, "no reading function"
            return _range_fault(address, count, limit)
        case WriteSingle(function, address, value):
            if function not in (Function.WRITE_SINGLE_COIL, Function.WRITE_SINGLE_REGISTER):
                return ExceptionCode.ILLEGAL_FUNCTION, "no function for one value"
            if not 0 <= value <= 0xFFFF or (function == Function.WRITE_SINGLE_COIL and value not in (0, 0xFF00)):
                return ExceptionCode.ILLEGAL_DATA_VALUE, "value out of range"
            return _range_fault(address, 1, 1)
        case WriteMultiple(function, address, count, data):
            if function not in (Function.WRITE_MULTIPLE_COILS, Function.WRITE_MULTIPLE_REGISTERS):
                return ExceptionCode.ILLEGAL_FUNCTION, "no function for several values"
            bits = function == Function.WRITE_MULTIPLE_COILS
            if len(data) != ((count + 7) // 8 if bits else count * 2):
                return ExceptionCode.ILLEGAL_DATA_VALUE, "count and data disagree"
            return _range_fault(address, count, MAX_WRITE_BITS if bits else MAX_WRITE_REGISTERS)
        case ReadDeviceIdentification(category, object_id):
            if not 1 <= category <= 4 or not 0 <= object_id <= 0xFF:
                return ExceptionCode.ILLEGAL_DATA_VALUE, "category or object id out of range"
    return None


def _range_fault(address: int, count: int, limit: int) -> tuple[ExceptionCode, str] | None:
    if not 1 <= count <= limit:
        return ExceptionCode.ILLEGAL_DATA_VALUE, f"count not in 1 to {limit}"
    if address < 0 or address + count > 0x10000:
        return ExceptionCode.ILLEGAL_DATA_ADDRESS, "address beyond 0xFFFF"
    return None


def encode_response(response: Response) -> bytes:
    """The PDU of a response; raises LocalProtocolError when it does not fit."""
    match response:
        case ReadResponse(function, data):
            pdu = b"%c%c%b" % (function, min(len(data), 0xFF), data)
        case WriteSingle(function, address, value):
            pdu = _THREE.pack(function, address, value)
        case WriteMultipleResponse(function, address, count):
            pdu = _THREE.pack(function, address, count)
        case ServerIdResponse(data):
            pdu = b"%c%c%b" % (response.function, min(len(data), 0xFF), data)
        case DeviceIdentificationResponse():
            head = (response.category, response.conformity, 0xFF * response.more_follows, response.next_object_id)
            pdu = bytes((response.function, _MEI_DEVICE_IDENTIFICATION, *head, len(response.objects)))
            pdu += b"".join(b"%c%c%b" % (object_id, min(len(text), 0xFF), text) for object_id, text in response.objects)
        case _:
            pdu = bytes((response.function | 0x80, response.code))
    if len(pdu) > 253:
        raise LocalProtocolError(f"a response of {len(pdu)} octets: a PDU has at most 253")
    return pdu


def decode_response(pdu: bytes) -> Response:
    """The response in a PDU; raises DecodeError."""
    if not pdu:
        raise DecodeError("empty PDU", offset=0)
    function = pdu[0]
    match function:
        case 0x01 | 0x02 | 0x03 | 0x04:
            return ReadResponse(function, _counted(pdu))
        case Function.WRITE_SINGLE_COIL | Function.WRITE_SINGLE_REGISTER:
            return WriteSingle(*_THREE.unpack(_sized(pdu, 5)))
        case Function.WRITE_MULTIPLE_COILS | Function.WRITE_MULTIPLE_REGISTERS:
            return WriteMultipleResponse(*_THREE.unpack(_sized(pdu, 5)))
        case Function.REPORT_SERVER_ID:
            return ServerIdResponse(_counted(pdu))
        case Function.ENCAPSULATED_INTERFACE:
            return _decode_identification(pdu)
        case _ if function & 0x80:
            return ExceptionResponse(function & 0x7F, _sized(pdu, 2)[1])
    raise DecodeError("unknown function code in a response", offset=0, got=f"{function:02X}")


def _sized(pdu: bytes, size: int) -> bytes:
    if len(pdu) != size:
        raise DecodeError("wrong size of a response", offset=0, expected=f"{size} octets", got=str(len(pdu)))
    return pdu


def _counted(pdu: bytes) -> bytes:
    if len(pdu) < 2 or len(pdu) != 2 + pdu[1]:
        raise DecodeError("byte count disagrees with the response", offset=1, got=f"{len(pdu)} octets in all")
    return pdu[2:]


def _decode_identification(pdu: bytes) -> DeviceIdentificationResponse:
    if len(pdu) < 7 or pdu[1] != _MEI_DEVICE_IDENTIFICATION:
        raise DecodeError("no device identification", offset=1, expected="MEI type 0E, five octets", got=pdu[1:].hex())
    objects = []
    offset = 7
    for _ in range(pdu[6]):
        end = offset + 2 + (pdu[offset + 1] if offset + 1 < len(pdu) else 0)
        if offset + 2 > len(pdu) or end > len(pdu):
            raise DecodeError("identification object beyond the PDU", offset=offset, got=f"{len(pdu)} octets")
        objects.append((pdu[offset], pdu[offset + 2 : end]))
        offset = end
    if offset != len(pdu):
        raise DecodeError("octets after the last identification object", offset=offset)
    return DeviceIdentificationResponse(pdu[2], pdu[3], pdu[4] != 0, pdu[5], tuple(objects))


def check_answer(request: Request, response: Response) -> None:
    """Raise RemoteProtocolError unless the response is one to this request: function, byte count or echo."""
    if response.function != request.function:
        raise RemoteProtocolError(
            "answer to another function", expected=f"{request.function:02X}", got=f"{response.function:02X}"
        )
    match request, response:
        case _, ExceptionResponse():
            return
        case ReadRequest(), ReadResponse():
            if len(response.data) != request.byte_count:
                raise RemoteProtocolError(
                    "wrong byte count", offset=1, expected=str(request.byte_count), got=str(len(response.data))
                )
        case WriteSingle(), _ if request != response:
            raise RemoteProtocolError("the echo differs from the request", expected=str(request), got=str(response))
        case WriteMultiple(), WriteMultipleResponse():
            if (request.address, request.count) != (response.address, response.count):
                raise RemoteProtocolError("another range was written", expected=str(request), got=str(response))

"""Requests and answers of DL/T 645 in frames, in both versions (clause 7 of 2007, clause 7 of 1997).

| 2007 | 1997 | request | answer |
| --- | --- | --- | --- |
| 11 | 01 | `Read` | `Data` |
| 12 | 02 | `ReadFollowing` | `Data` |
| - | 03 | `ReRead` | `Data` |
| 13 | - | `ReadAddress` | `MeterAddress` |
| 14 | 04 | `Write` | `Confirmation` |
| 15 | 0A | `WriteAddress` | `Confirmation` |
| 08 | 08 | `SetTime` | none |
| 16 | - | `Freeze` | `Confirmation`; none to the broadcast address |
| 17 | 0C | `ChangeBaudRate` | `Confirmation` with the octet of the request |
| 18 | 0F | `ChangePassword` | `Confirmation` with the new password |
| 19 | 10 | `ClearDemand` | `Confirmation`; none to the broadcast address |
| 1A | - | `ClearMeter` | `Confirmation` |
| 1B | - | `ClearEvents` | `Confirmation` |
| 1C | - | `Control` | `Confirmation` |
| 1D | - | `SetOutput` | `Confirmation` with the octet of the request |
| 03 | - | `Authenticate` | `Data` |

Any answer may be a `Refusal` instead. The control code of an answer is that of the request with D7 set; D6 says that it is a
refusal, D5 that more data follow.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from headend.errors import CapabilityError, DecodeError
from headend.protocols.dlt645.fields import at_least, decode_address, decode_di, encode_di
from headend.protocols.dlt645.frame import FROM_METER, FUNCTION, MORE_FOLLOWS, REFUSED
from headend.protocols.dlt645.requests import (
    Authenticate,
    ChangeBaudRate,
    ChangePassword,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Control,
    Freeze,
    InvalidRequest,
    Read,
    ReadAddress,
    ReadFollowing,
    Request,
    ReRead,
    SetOutput,
    SetTime,
    Write,
    WriteAddress,
)
from headend.protocols.dlt645.responses import Confirmation, Data, MeterAddress, Refusal, Response
from headend.standards.dlt645 import Version

RequestType: TypeAlias = type[Request]

FUNCTIONS: Final[dict[Version, dict[int, RequestType]]] = {
    Version.V2007: {
        0x03: Authenticate,
        0x08: SetTime,
        0x11: Read,
        0x12: ReadFollowing,
        0x13: ReadAddress,
        0x14: Write,
        0x15: WriteAddress,
        0x16: Freeze,
        0x17: ChangeBaudRate,
        0x18: ChangePassword,
        0x19: ClearDemand,
        0x1A: ClearMeter,
        0x1B: ClearEvents,
        0x1C: Control,
        0x1D: SetOutput,
    },
    Version.V1997: {
        0x01: Read,
        0x02: ReadFollowing,
        0x03: ReRead,
        0x04: Write,
        0x08: SetTime,
        0x0A: WriteAddress,
        0x0C: ChangeBaudRate,
        0x0F: ChangePassword,
        0x10: ClearDemand,
    },
}
"""What the function codes (D4 to D0 of the control code) ask for."""

_CODES: Final = {version: {request: code for code, request in table.items()} for version, table in FUNCTIONS.items()}
_ANSWERED_WITH_DATA: Final = (Read, ReadFollowing, ReRead, Authenticate)


def function_code(request: Request | InvalidRequest, version: Version) -> int:
    """The function code of a request; CapabilityError when the version has no such request."""
    if isinstance(request, InvalidRequest):
        return request.function
    code = _CODES[version].get(type(request))
    if code is None:
        raise CapabilityError(f"DL/T 645-{version.value} has no request {type(request).__name__}")
    return code


def version_of(control: int, size: int) -> Version:
    """The version that a frame belongs to, by its function and the octets of its data.

    The time (08) is the same in both. A request 03 is a re-read of 1997 when a data identifier of it is all there is.
    """
    function = control & FUNCTION
    if function == 0x03:
        return Version.V1997 if control == 0x03 and size == 2 else Version.V2007
    return Version.V1997 if function in FUNCTIONS[Version.V1997] and function != 0x08 else Version.V2007


def encode_request(request: Request | InvalidRequest, version: Version) -> tuple[int, bytes]:
    """Control code and data; CapabilityError as above, LocalProtocolError for what cannot be sent."""
    return function_code(request, version), request.to_octets(version)


def decode_request(control: int, data: bytes, version: Version) -> Request:
    """The request of a frame; DecodeError for a control code that asks for nothing, and for wrong data."""
    found = FUNCTIONS[version].get(control)
    if found is None:
        raise DecodeError("no request has this control code", got=f"{control:02X}")
    return found.from_octets(data, version)


def encode_response(response: Response, function: int, version: Version) -> tuple[int, bytes]:
    """Control code and data of an answer to a request with this function code."""
    control = FROM_METER | function
    match response:
        case Refusal():
            return control | REFUSED, bytes((response.error & 0xFF,)) + response.detail
        case Data():
            octets = encode_di(response.di, version) + response.data
            if response.sequence is not None:
                octets += bytes((response.sequence & 0xFF,))
            return control | (MORE_FOLLOWS if response.more else 0), octets
        case MeterAddress():
            return control, response.address.octets
    return control, response.data


def decode_response(control: int, data: bytes, version: Version) -> Response:
    """The answer of a frame; DecodeError for a control code that answers nothing, and for wrong data."""
    request = FUNCTIONS[version].get(control & FUNCTION)
    if not control & FROM_METER or (request is None and not control & REFUSED):
        raise DecodeError("no answer has this control code", got=f"{control:02X}")
    if control & REFUSED:
        return Refusal(at_least(data, 1)[0], data[1:])
    if request in _ANSWERED_WITH_DATA:
        di, at = decode_di(data, version)
        more = control & MORE_FOLLOWS != 0
        if request is ReadFollowing and version is Version.V2007:
            at_least(data, at + 1)
            return Data(di, data[at:-1], more, data[-1])
        return Data(di, data[at:], more)
    return MeterAddress(decode_address(data)) if request is ReadAddress else Confirmation(data)

"""Every APDU that this package knows, by its first octet.

Initiate APDUs are not among them: they only live in the user-information of ACSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.acse import Aare, Aarq, Rlre, Rlrq, decode_aare, decode_aarq, decode_rlre, decode_rlrq
from headend.protocols.dlms.apdu.access import (
    AccessRequest,
    AccessResponse,
    decode_access_request,
    decode_access_response,
)
from headend.protocols.dlms.apdu.action import (
    ActionRequest,
    ActionResponse,
    decode_action_request,
    decode_action_response,
)
from headend.protocols.dlms.apdu.exception import (
    ConfirmedServiceError,
    ExceptionResponse,
    decode_confirmed_service_error,
    decode_exception_response,
)
from headend.protocols.dlms.apdu.get import GetRequest, GetResponse, decode_get_request, decode_get_response
from headend.protocols.dlms.apdu.notification import (
    DataNotification,
    EventNotification,
    decode_data_notification,
    decode_event_notification,
)
from headend.protocols.dlms.apdu.set import SetRequest, SetResponse, decode_set_request, decode_set_response
from headend.protocols.dlms.apdu.short import (
    InformationReport,
    ShortRequest,
    ShortResponse,
    UnconfirmedWriteRequest,
    decode_information_report,
    decode_read_request,
    decode_read_response,
    decode_unconfirmed_write_request,
    decode_write_request,
    decode_write_response,
)
from headend.protocols.dlms.octets import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

Request: TypeAlias = GetRequest | SetRequest | ActionRequest
Response: TypeAlias = GetResponse | SetResponse | ActionResponse
Notification: TypeAlias = DataNotification | EventNotification | InformationReport
Refusal: TypeAlias = ExceptionResponse | ConfirmedServiceError
ShortApdu: TypeAlias = ShortRequest | ShortResponse | UnconfirmedWriteRequest
"""APDUs of short-name referencing, which have no invoke id."""
Access: TypeAlias = AccessRequest | AccessResponse
"""The one service with a long invoke id."""
Apdu: TypeAlias = Request | Response | Access | ShortApdu | Notification | Refusal | Aarq | Aare | Rlrq | Rlre

DECODERS: Final[dict[int, Callable[[Reader], Apdu]]] = {
    0x05: decode_read_request,
    0x06: decode_write_request,
    0x0C: decode_read_response,
    0x0D: decode_write_response,
    0x0E: decode_confirmed_service_error,
    0x0F: decode_data_notification,
    0x16: decode_unconfirmed_write_request,
    0x18: decode_information_report,
    0x60: decode_aarq,
    0x61: decode_aare,
    0x62: decode_rlrq,
    0x63: decode_rlre,
    0xC0: decode_get_request,
    0xC1: decode_set_request,
    0xC2: decode_event_notification,
    0xC3: decode_action_request,
    0xC4: decode_get_response,
    0xC5: decode_set_response,
    0xC7: decode_action_response,
    0xD8: decode_exception_response,
    0xD9: decode_access_request,
    0xDA: decode_access_response,
}


def decode_apdu(apdu: bytes) -> Apdu:
    """Decode one whole APDU; raises DecodeError for anything else."""
    reader = Reader(apdu)
    tag = reader.u8("APDU")
    decoder = DECODERS.get(tag)
    if decoder is None:
        raise DecodeError("APDU", offset=0, expected="a known tag", got=f"{tag:02x}")
    return decoder(reader)

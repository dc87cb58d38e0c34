"""Between ACSE and the association events: the initiate APDU in the user-information, plain or protected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.errors import DecodeError
from headend.protocols.dlms.acse import Aare, Aarq
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, decode_confirmed_service_error
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import (
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
    decode_initiate_response,
)
from headend.protocols.dlms.octets import Reader

if TYPE_CHECKING:
    from headend.protocols.dlms.events import Protection, Spoken


def encode_spoken(event: Spoken, protection: Protection | None) -> bytes:
    """The APDU of what one side says; of the associations only the initiate APDU is ciphered here."""
    if isinstance(event, AssociationRequest):
        return request_to_aarq(event, protection).encode()
    if isinstance(event, AssociationResponse):
        return response_to_aare(event, protection).encode()
    return event.encode()


def decode_spoken(apdu: bytes, protection: Protection | None) -> Spoken:
    """What one side says, from its plain APDU."""
    decoded = decode_apdu(apdu)
    if isinstance(decoded, Aarq):
        return request_from_aarq(decoded, protection)
    if isinstance(decoded, Aare):
        return response_from_aare(decoded, protection)
    return decoded


def request_to_aarq(event: AssociationRequest, protection: Protection | None) -> Aarq:
    """What the client sends."""
    initiate = event.initiate.encode()
    return Aarq(
        application_context=event.application_context,
        mechanism=event.mechanism,
        calling_ap_title=event.system_title,
        authentication_value=event.authentication_value,
        user_information=protection.protect(initiate) if protection else initiate,
        others=event.others,
    )


def request_from_aarq(aarq: Aarq, protection: Protection | None) -> AssociationRequest:
    """What the server reads."""
    initiate = _plain(aarq.user_information, aarq.calling_ap_title, protection)
    reader = Reader(initiate)
    if reader.peek() != InitiateRequest.TAG:
        raise DecodeError(
            "user information of the AARQ", offset=0, expected="an initiate request", got=initiate[:1].hex()
        )
    reader.u8("initiate request")
    return AssociationRequest(
        initiate=decode_initiate_request(reader),
        application_context=aarq.application_context,
        mechanism=aarq.mechanism,
        authentication_value=aarq.authentication_value,
        system_title=aarq.calling_ap_title,
        others=aarq.others,
    )


def response_to_aare(event: AssociationResponse, protection: Protection | None) -> Aare:
    """What the server sends. A refusal with an error goes plain, because the client may not have the key."""
    initiate = event.initiate.encode() if event.initiate else b""
    if protection and isinstance(event.initiate, InitiateResponse):
        initiate = protection.protect(initiate)
    return Aare(
        application_context=event.application_context,
        result=event.result,
        diagnostic_source=event.diagnostic_source,
        diagnostic=event.diagnostic,
        responding_ap_title=event.system_title,
        mechanism=event.mechanism,
        authentication_value=event.authentication_value,
        user_information=initiate,
        others=event.others,
    )


def response_from_aare(aare: Aare, protection: Protection | None) -> AssociationResponse:
    """What the client reads. Some meters refuse without user-information."""
    initiate: InitiateResponse | ConfirmedServiceError | None = None
    if aare.user_information:
        initiate = _initiate_response(_plain(aare.user_information, aare.responding_ap_title, protection))
    return AssociationResponse(
        initiate=initiate,
        application_context=aare.application_context,
        result=aare.result,
        diagnostic_source=aare.diagnostic_source,
        diagnostic=aare.diagnostic,
        mechanism=aare.mechanism,
        authentication_value=aare.authentication_value,
        system_title=aare.responding_ap_title,
        others=aare.others,
    )


def _initiate_response(apdu: bytes) -> InitiateResponse | ConfirmedServiceError:
    reader = Reader(apdu)
    tag = reader.u8("user information of the AARE")
    if tag == InitiateResponse.TAG:
        return decode_initiate_response(reader)
    if tag == ConfirmedServiceError.TAG:
        return decode_confirmed_service_error(reader)
    raise DecodeError("user information of the AARE", offset=0, expected="08 or 0e", got=f"{tag:02x}")


def _plain(user_information: bytes, system_title: bytes, protection: Protection | None) -> bytes:
    if protection is None or not user_information:
        return user_information
    return protection.unprotect_initiate(user_information, system_title)

"""Associations as elements (IEC 62056-5-3, 9.4). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from headend.drivers.dlms.translating.element import Element, hidden, holds, number, octets, text
from headend.protocols.dlms.acse import Aare, Aarq, DiagnosticSource, Mechanism, Rlre, Rlrq
from headend.protocols.dlms.initiate import (
    Conformance,
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
    decode_initiate_response,
)
from headend.protocols.dlms.octets import Reader

Nested: TypeAlias = Callable[[bytes], Element]
"""Makes an element of an APDU that lies in another one."""

_CONTEXTS: Final = {1: "LN", 2: "SN", 3: "LN_WITH_CIPHERING", 4: "SN_WITH_CIPHERING"}
_MECHANISMS: Final = {
    0: "None",
    1: "Low",
    2: "High",
    3: "HighMd5",
    4: "HighSha1",
    5: "HighGmac",
    6: "HighSha256",
    7: "HighEcdsa",
}
_REQUEST_REASONS: Final = {0: "Normal", 1: "Urgent", 30: "UserDefined"}
_RESPONSE_REASONS: Final = {0: "Normal", 1: "NotFinished", 30: "UserDefined"}
_CONFORMANCE: Final = {
    Conformance.GENERAL_PROTECTION: "GeneralProtection",
    Conformance.GENERAL_BLOCK_TRANSFER: "GeneralBlockTransfer",
    Conformance.READ: "Read",
    Conformance.WRITE: "Write",
    Conformance.UNCONFIRMED_WRITE: "UnconfirmedWrite",
    Conformance.DELTA_VALUE_ENCODING: "DeltaValueEncoding",
    Conformance.ATTRIBUTE0_WITH_SET: "Attribute0SupportedWithSet",
    Conformance.PRIORITY_MANAGEMENT: "PriorityMgmtSupported",
    Conformance.ATTRIBUTE0_WITH_GET: "Attribute0SupportedWithGet",
    Conformance.BLOCK_TRANSFER_WITH_GET: "BlockTransferWithGetOrRead",
    Conformance.BLOCK_TRANSFER_WITH_SET: "BlockTransferWithSetOrWrite",
    Conformance.BLOCK_TRANSFER_WITH_ACTION: "BlockTransferWithAction",
    Conformance.MULTIPLE_REFERENCES: "MultipleReferences",
    Conformance.INFORMATION_REPORT: "InformationReport",
    Conformance.DATA_NOTIFICATION: "DataNotification",
    Conformance.ACCESS: "Access",
    Conformance.PARAMETERIZED_ACCESS: "ParameterizedAccess",
    Conformance.GET: "Get",
    Conformance.SET: "Set",
    Conformance.SELECTIVE_ACCESS: "SelectiveAccess",
    Conformance.EVENT_NOTIFICATION: "EventNotification",
    Conformance.ACTION: "Action",
}


def acse_element(apdu: Aarq | Aare | Rlrq | Rlre, nested: Nested) -> Element:
    """One APDU of an association."""
    match apdu:
        case Aarq():
            return Element("AssociationRequest", inside=tuple(_aarq(apdu, nested)))
        case Aare():
            return Element("AssociationResponse", inside=tuple(_aare(apdu, nested)))
        case Rlrq():
            return Element("ReleaseRequest", inside=tuple(_release(apdu, _REQUEST_REASONS, nested)))
        case _:
            return Element("ReleaseResponse", inside=tuple(_release(apdu, _RESPONSE_REASONS, nested)))


def _aarq(apdu: Aarq, nested: Nested) -> Iterator[Element]:
    yield text("ApplicationContextName", _CONTEXTS.get(apdu.application_context, str(apdu.application_context)))
    if apdu.calling_ap_title:
        yield octets("CallingAPTitle", apdu.calling_ap_title)
    if apdu.mechanism is not None:
        yield text("SenderACSERequirements", "1")
        yield text("MechanismName", _MECHANISMS.get(apdu.mechanism, str(apdu.mechanism)))
    if apdu.authentication_value:
        challenge = (apdu.mechanism or 0) > Mechanism.LLS
        yield (octets if challenge else hidden)("CallingAuthentication", apdu.authentication_value)
    if apdu.user_information:
        yield nested(apdu.user_information)


def _aare(apdu: Aare, nested: Nested) -> Iterator[Element]:
    yield text("ApplicationContextName", _CONTEXTS.get(apdu.application_context, str(apdu.application_context)))
    yield number("AssociationResult", apdu.result)
    user = apdu.diagnostic_source == DiagnosticSource.USER
    yield holds("ResultSourceDiagnostic", number("ACSEServiceUser" if user else "ACSEServiceProvider", apdu.diagnostic))
    if apdu.responding_ap_title:
        yield octets("RespondingAPTitle", apdu.responding_ap_title)
    if apdu.mechanism is not None:
        yield text("ResponderACSERequirement", "1")
        yield text("MechanismName", _MECHANISMS.get(apdu.mechanism, str(apdu.mechanism)))
    if apdu.authentication_value:
        yield octets("RespondingAuthentication", apdu.authentication_value)
    if apdu.user_information:
        yield nested(apdu.user_information)


def _release(apdu: Rlrq | Rlre, reasons: dict[int, str], nested: Nested) -> Iterator[Element]:
    if apdu.reason is not None:
        yield text("Reason", reasons.get(apdu.reason, str(apdu.reason)))
    if apdu.user_information:
        yield nested(apdu.user_information)


def initiate_element(apdu: bytes) -> Element:
    """initiate-request or initiate-response."""
    reader = Reader(apdu)
    if reader.u8("initiate") == InitiateRequest.TAG:
        request = decode_initiate_request(reader)
        return Element("InitiateRequest", inside=tuple(_initiate_request(request)))
    return Element("InitiateResponse", inside=tuple(_initiate_response(decode_initiate_response(reader))))


def _initiate_request(apdu: InitiateRequest) -> Iterator[Element]:
    if apdu.dedicated_key:
        yield hidden("DedicatedKey", apdu.dedicated_key)
    if not apdu.response_allowed:
        yield text("ResponseAllowed", "False")
    if apdu.quality_of_service is not None:
        yield number("ProposedQualityOfService", apdu.quality_of_service)
    yield number("ProposedDlmsVersionNumber", apdu.dlms_version)
    yield Element("ProposedConformance", inside=tuple(_conformance(apdu.conformance)))
    yield number("ProposedMaxPduSize", apdu.max_receive_pdu, 2)


def _initiate_response(apdu: InitiateResponse) -> Iterator[Element]:
    if apdu.quality_of_service is not None:
        yield number("NegotiatedQualityOfService", apdu.quality_of_service)
    yield number("NegotiatedDlmsVersionNumber", apdu.dlms_version)
    yield Element("NegotiatedConformance", inside=tuple(_conformance(apdu.conformance)))
    yield number("NegotiatedMaxPduSize", apdu.max_receive_pdu, 2)
    yield number("VaaName", apdu.vaa_name, 2)


def _conformance(conformance: Conformance) -> Iterator[Element]:
    for bit, name in _CONFORMANCE.items():
        if bit in conformance:
            yield Element("ConformanceBit", ("Name", name))

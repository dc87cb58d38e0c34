"""What a `DlmsConnection` is told and tells, beside the APDUs of `apdu.table` that are events themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from headend.protocols.base import LinkOpened, LinkReleased
from headend.protocols.dlms.acse import ApplicationContext, AssociationResult, DiagnosticSource, Element, Rlre, Rlrq
from headend.protocols.dlms.apdu.access import AccessRequest
from headend.protocols.dlms.apdu.action import (
    ActionRequestNextPblock,
    ActionRequestPblock,
    ActionResponseNextPblock,
    ActionResponsePblock,
)
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import GetRequestNext, GetResponseWithDatablock
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import SetRequestDatablock, SetResponseDatablock
from headend.protocols.dlms.apdu.short import (
    InformationReport,
    ReadRequest,
    ReadResponse,
    UnconfirmedWriteRequest,
    WriteRequest,
    block_asked,
    block_of_answer,
)
from headend.protocols.dlms.apdu.table import Access, Notification, Refusal, Request, Response, ShortApdu
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.state import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """The AARQ with its user-information decoded. `authentication_value` is the LLS password or the HLS challenge."""

    initiate: InitiateRequest
    application_context: int = ApplicationContext.LN
    mechanism: int | None = None
    authentication_value: bytes = field(default=b"", repr=False)
    system_title: bytes = b""
    others: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationResponse:
    """The AARE with its user-information decoded."""

    initiate: InitiateResponse | ConfirmedServiceError | None = None
    application_context: int = ApplicationContext.LN
    result: int = AssociationResult.ACCEPTED
    diagnostic_source: int = DiagnosticSource.USER
    diagnostic: int = 0
    mechanism: int | None = None
    authentication_value: bytes = field(default=b"", repr=False)
    system_title: bytes = b""
    others: tuple[Element, ...] = ()

    @property
    def accepted(self) -> bool:
        """True when both halves say yes."""
        return self.result == AssociationResult.ACCEPTED and isinstance(self.initiate, InitiateResponse)


@dataclass(frozen=True, slots=True)
class BlockReceived:
    """One block of an answer that is streamed; the last one ends the request."""

    invoke_id_and_priority: int
    block_number: int
    raw_data: bytes
    last_block: bool


Spoken: TypeAlias = (
    AssociationRequest
    | AssociationResponse
    | Request
    | Response
    | Access
    | ShortApdu
    | Notification
    | Refusal
    | Rlrq
    | Rlre
)
"""What both sides say to each other."""

Event: TypeAlias = Spoken | BlockReceived | LinkOpened | LinkReleased

_MESSAGES: Final[dict[type, Message]] = {
    AssociationRequest: Message.AARQ,
    GetRequestNext: Message.NEXT,
    SetRequestDatablock: Message.NEXT,
    SetResponseDatablock: Message.BLOCK,
    ActionRequestNextPblock: Message.NEXT,
    ActionRequestPblock: Message.NEXT,
    ActionResponseNextPblock: Message.BLOCK,
    ExceptionResponse: Message.EXCEPTION,
    ConfirmedServiceError: Message.EXCEPTION,
    DataNotification: Message.NOTIFICATION,
    EventNotification: Message.NOTIFICATION,
    InformationReport: Message.NOTIFICATION,
    WriteRequest: Message.REQUEST,
    UnconfirmedWriteRequest: Message.UNCONFIRMED,
    Rlrq: Message.RLRQ,
    Rlre: Message.RLRE,
}


def message_of(event: Spoken) -> Message:
    """What an event means for the conversation."""
    if isinstance(event, AssociationResponse):
        return Message.AARE_ACCEPTED if event.accepted else Message.AARE_REFUSED
    if isinstance(event, GetResponseWithDatablock):
        more = not event.last_block and isinstance(event.result, bytes)
        return Message.BLOCK if more else Message.RESPONSE
    if isinstance(event, ReadRequest):
        return Message.REQUEST if block_asked(event) is None else Message.NEXT
    if isinstance(event, ReadResponse):
        block = block_of_answer(event)
        return Message.RESPONSE if block is None or block.last_block else Message.BLOCK
    if isinstance(event, ActionResponsePblock):
        return Message.RESPONSE if event.last_block else Message.BLOCK
    if isinstance(event, AccessRequest):
        return Message.REQUEST if event.confirmed else Message.UNCONFIRMED
    return _MESSAGES.get(type(event)) or (Message.REQUEST if isinstance(event, Request) else Message.RESPONSE)


class Protection(Protocol):
    """One stage between APDUs and framing that ciphers what is sent and deciphers what is received.

    It sees every APDU but those of ACSE, and of these the initiate APDU in the user-information. Its errors are SecurityError.
    """

    overhead: int
    """How many octets `protect` adds at most."""

    def unprotect_initiate(self, apdu: bytes, system_title: bytes) -> bytes:
        """The plain initiate APDU from an AARQ or AARE, and the system title in it learned; nothing when it does not hold."""

    def agreed(self, conformance: Conformance, dedicated_key: bytes) -> None:
        """Learn what an accepted association has agreed on; no dedicated key is no octets."""

    def protect(self, apdu: bytes) -> bytes:
        """The APDU as it goes over the wire."""

    def unprotect(self, apdu: bytes) -> bytes:
        """The plain APDU."""

"""What is offered to a meter in an AARQ, and what it makes of it. Pure; no offer holds a secret."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from headend.drivers.dlms.access import PROPOSED, PROPOSED_SHORT
from headend.drivers.dlms.parameters import MECHANISMS
from headend.errors import DecodeError
from headend.model.discovery import TrialOutcome
from headend.protocols.dlms.acse import (
    Aare,
    Aarq,
    ApplicationContext,
    AssociationResult,
    Diagnostic,
    DiagnosticSource,
)
from headend.protocols.dlms.apdu.exception import (
    ConfirmedServiceError,
    ExceptionResponse,
    ServiceError,
    StateError,
    decode_confirmed_service_error,
)
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.initiate import InitiateRequest, InitiateResponse, decode_initiate_response
from headend.protocols.dlms.octets import Reader

CONTEXTS: Final = {
    "ln": ApplicationContext.LN,
    "sn": ApplicationContext.SN,
    "ln-ciphered": ApplicationContext.LN_CIPHERED,
    "sn-ciphered": ApplicationContext.SN_CIPHERED,
}
CONTEXT_WORDS: Final = {context.value: word for word, context in CONTEXTS.items()}
MECHANISM_WORDS: Final = {mechanism.value: word for word, mechanism in MECHANISMS.items()}
HIGH: Final = ("gmac", "sha256", "md5", "sha1", "ecdsa", "hls")
"""Mechanisms of high level security, in the order in which they are asked for."""
TITLE: Final = bytes.fromhex("4844450000000001")
"""Our system title, as for associations that mean it."""
_CHALLENGE: Final = b"headend-probing!"
"""What a meter would have to prove itself with. No proof of ours follows, so nothing depends on its being new."""
_LONG_CHALLENGE: Final = {"ecdsa": 2}
"""How many times the challenge stands where 32 octets are the least."""
ACCEPTED: Final = "accepted"
_RESULTS: Final = {
    AssociationResult.ACCEPTED.value: ACCEPTED,
    AssociationResult.REJECTED_PERMANENT.value: "rejected-permanent",
    AssociationResult.REJECTED_TRANSIENT.value: "rejected-transient",
}
_GLO_INITIATE_RESPONSE: Final = 0x28
_GENERAL_GLO: Final = 0xDB
_SUITE: Final = 0x0F
_SUITES: Final = 3
_DIAGNOSTICS, _STATES, _SERVICES = (
    {each.value: each.name.lower().replace("_", "-") for each in kind}
    for kind in (Diagnostic, StateError, ServiceError)
)
"""The standard's words."""
AUTHENTICATION: Final = frozenset(
    {
        Diagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED.value,
        Diagnostic.AUTHENTICATION_MECHANISM_NAME_REQUIRED.value,
        Diagnostic.AUTHENTICATION_FAILURE.value,
        Diagnostic.AUTHENTICATION_REQUIRED.value,
    }
)
"""Diagnostics of a meter that knows a client and wants it to authenticate."""


class Offer(NamedTuple):
    """Who asks whom, for which application context and authentication mechanism, in the words of `Trial`."""

    client: int
    server: int
    context: str = "ln"
    mechanism: str = "none"

    @property
    def referencing(self) -> str:
        """Ln or sn."""
        return self.context[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a meter said to an offer. `code` is the diagnostic of the service user, None where it gave none."""

    outcome: TrialOutcome
    result: str = ""
    diagnostic: str = ""
    code: int | None = None
    initiate: InitiateResponse | None = None
    title: bytes = b""
    suite: int | None = None
    """that its initiate response is ciphered in"""
    context: str = ""
    """as its AARE names it"""
    mechanism: str = ""
    """likewise"""
    note: str = ""
    deciphers: bool = False
    """it tried to decipher what came"""
    busy: bool = False

    @property
    def wants_authentication(self) -> bool:
        """True for a client that the meter knows, and which is to authenticate."""
        return self.outcome is TrialOutcome.REJECTED and self.code in AUTHENTICATION

    @property
    def knows_client(self) -> bool:
        """True where this client is known for sure: some meters refuse all whom they do not know for their authentication."""
        return self.wants_authentication and self.code != Diagnostic.AUTHENTICATION_FAILURE

    @property
    def wants_other_context(self) -> bool:
        """True where the application context is not what this client may use."""
        code = Diagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
        return self.outcome is TrialOutcome.REJECTED and self.code == code


@lru_cache(maxsize=64)
def aarq(context: str, mechanism: str) -> bytes:
    """The AARQ. No password: what HLS brings along is the challenge to the meter."""
    high = mechanism in HIGH
    short = context.startswith("sn")
    titled = high or context.endswith("ciphered")
    initiate = InitiateRequest(conformance=PROPOSED_SHORT if short else PROPOSED)
    return Aarq(
        application_context=CONTEXTS[context],
        mechanism=MECHANISMS[mechanism] if high else None,
        calling_ap_title=TITLE if titled else b"",
        authentication_value=_CHALLENGE * _LONG_CHALLENGE.get(mechanism, 1) if high else b"",
        user_information=initiate.encode(),
    ).encode()


def judge(offer: Offer, apdu: bytes) -> Answer:
    """What the APDU says that answers an offer; raises DecodeError for what is no answer to it."""
    decoded = decode_apdu(apdu)
    if isinstance(decoded, Aare):
        return _judge_aare(offer, decoded)
    if isinstance(decoded, ExceptionResponse):
        deciphers = decoded.service_error in {ServiceError.DECIPHERING_ERROR, ServiceError.INVOCATION_COUNTER_ERROR}
        words = _STATES.get(decoded.state_error, ""), _SERVICES.get(decoded.service_error, "")
        return Answer(outcome=TrialOutcome.EXCEPTION, diagnostic=", ".join(filter(None, words)), deciphers=deciphers)
    if isinstance(decoded, ConfirmedServiceError):
        return Answer(outcome=TrialOutcome.EXCEPTION, diagnostic=decoded.describe())
    raise DecodeError("answer to an AARQ", expected="AARE or an exception", got=type(decoded).__name__)


def _judge_aare(offer: Offer, aare: Aare) -> Answer:
    initiate, suite, note = _initiate(aare.user_information)
    user = aare.diagnostic_source == DiagnosticSource.USER
    diagnostic = _DIAGNOSTICS.get(aare.diagnostic, str(aare.diagnostic)) if user else f"provider-{aare.diagnostic}"
    accepted = aare.result == AssociationResult.ACCEPTED
    asks = user and aare.diagnostic == Diagnostic.AUTHENTICATION_REQUIRED
    outcome = TrialOutcome.REJECTED
    if offer.mechanism in HIGH and (accepted or asks) and aare.authentication_value:
        outcome = TrialOutcome.WANTS_SECRET
    elif accepted and (initiate is not None or suite is not None):
        outcome = TrialOutcome.ACCEPTED
    elif accepted:
        note = note or "accepted without an initiate response"
    return Answer(
        outcome=outcome,
        result=_RESULTS.get(aare.result, str(aare.result)),
        diagnostic="" if accepted and not aare.diagnostic else diagnostic,
        code=aare.diagnostic if user else None,
        initiate=initiate,
        title=aare.responding_ap_title,
        suite=suite,
        context=CONTEXT_WORDS.get(aare.application_context, ""),
        mechanism="" if aare.mechanism is None else MECHANISM_WORDS.get(aare.mechanism, ""),
        note=note,
        busy=aare.result == AssociationResult.REJECTED_TRANSIENT,
    )


def _initiate(information: bytes) -> tuple[InitiateResponse | None, int | None, str]:
    """The initiate response in the user information; or the suite that it is ciphered in; or why it is none."""
    reader = Reader(information)
    if not information:
        return None, None, ""
    try:
        tag = reader.u8("user information")
        if tag == InitiateResponse.TAG:
            return decode_initiate_response(reader), None, ""
        if tag == ConfirmedServiceError.TAG:
            return None, None, decode_confirmed_service_error(reader).describe()
        if tag == _GENERAL_GLO:
            reader.string("system title")
        if tag in {_GLO_INITIATE_RESPONSE, _GENERAL_GLO}:
            reader.length("ciphered initiate response")
            suite = reader.u8("security control") & _SUITE
            return None, suite if suite < _SUITES else None, "its initiate response is ciphered"
    except DecodeError as error:
        return None, None, f"initiate response: {error}"
    return None, None, f"user information begins with {tag:02x}"


def mechanism_of(number: int) -> str:
    """The word for a mechanism id."""
    return MECHANISM_WORDS.get(number, "")

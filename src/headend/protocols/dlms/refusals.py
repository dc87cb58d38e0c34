"""What a meter says when it refuses, as errors of the tree."""

from __future__ import annotations

from typing import Final

from headend.errors import (
    AccessDenied,
    AssociationRejected,
    AuthenticationFailed,
    Busy,
    DecipherFailed,
    HeadendError,
    MeterError,
    ObjectUndefined,
    ReplayDetected,
    ServiceRefused,
)
from headend.protocols.dlms.acse import Diagnostic, DiagnosticSource
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.table import Refusal
from headend.protocols.dlms.events import AssociationResponse

_AUTHENTICATION: Final = range(
    Diagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED, Diagnostic.AUTHENTICATION_REQUIRED + 1
)
_KEYS: Final = "check ek, ak, the security suite and the client's system title; do not try at random"
_CONTEXT: Final = "the meter may want ciphering, or its objects may have short names: ref=sn"
_DENIED: Final = frozenset({"read-write-denied", "scope-of-access-violated"})
_UNDEFINED: Final = frozenset({"object-undefined", "object-class-inconsistent", "object-unavailable"})


def association_error(response: AssociationResponse) -> HeadendError:
    """The error of an AARE that does not accept."""
    result, diagnostic = response.result, response.diagnostic
    user = response.diagnostic_source == DiagnosticSource.USER
    words = _name(Diagnostic, diagnostic) if user else f"provider diagnostic {diagnostic}"
    if isinstance(response.initiate, ConfirmedServiceError):
        words += f", {response.initiate.describe()}"
    if user and diagnostic in _AUTHENTICATION:
        return AuthenticationFailed(
            f"the meter refuses the association: {words}",
            hint="check the password, the authentication mechanism and the client address; do not try at random",
        )
    other_context = user and diagnostic == Diagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    return AssociationRejected(
        f"the meter refuses the association: {words}",
        result=result,
        diagnostic=diagnostic,
        hint=_CONTEXT if other_context else "",
    )


def access_error(result: DataAccessResult, what: str) -> MeterError:
    """The error of an attribute that was not read or written."""
    return _result_error(_words(result.name), what)


def action_error(result: ActionResult, what: str) -> MeterError:
    """The error of a method that failed."""
    return _result_error(_words(result.name), what)


def refusal_error(refusal: Refusal, what: str) -> HeadendError:
    """The error of a service that was refused as a whole."""
    if isinstance(refusal, ExceptionResponse) and refusal.service_error == ServiceError.DECIPHERING_ERROR:
        return DecipherFailed(f"{what}: the meter cannot decipher it", hint=_KEYS)
    if isinstance(refusal, ExceptionResponse) and refusal.service_error == ServiceError.INVOCATION_COUNTER_ERROR:
        expected = "" if refusal.invocation_counter is None else f", it expects {refusal.invocation_counter}"
        return ReplayDetected(f"{what}: the meter refuses the invocation counter{expected}")
    if isinstance(refusal, ConfirmedServiceError):
        words = refusal.describe()
    else:
        words = f"{_name(StateError, refusal.state_error)}, {_name(ServiceError, refusal.service_error)}"
    return ServiceRefused(f"{what}: {words}", reason=words)


def association_is_lost(refusal: Refusal) -> bool:
    """True when the meter may have forgotten the association: service-not-allowed, operation-not-possible."""
    return refusal == ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OPERATION_NOT_POSSIBLE)


def _result_error(words: str, what: str) -> MeterError:
    if words in _DENIED:
        return AccessDenied(f"{what}: {words}")
    if words in _UNDEFINED:
        return ObjectUndefined(f"{what}: {words}")
    if words == "temporary-failure":
        return Busy(f"{what}: {words}")
    return ServiceRefused(f"{what}: {words}", reason=words)


def _words(name: str) -> str:
    return name.lower().replace("_", "-")


def _name(names: type[Diagnostic | StateError | ServiceError], number: int) -> str:
    try:
        return _words(names(number).name)
    except ValueError:
        return str(number)

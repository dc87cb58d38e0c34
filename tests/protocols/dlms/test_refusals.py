"""Every way of saying no becomes the error of the tree that fits it."""

from __future__ import annotations

import pytest

from headend.errors import (
    AccessDenied,
    AssociationRejected,
    AuthenticationFailed,
    Busy,
    DecipherFailed,
    HeadendError,
    ObjectUndefined,
    ReplayDetected,
    ServiceRefused,
)
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.events import AssociationResponse
from headend.protocols.dlms.refusals import (
    access_error,
    action_error,
    association_error,
    association_is_lost,
    refusal_error,
)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (DataAccessResult.READ_WRITE_DENIED, AccessDenied),
        (DataAccessResult.SCOPE_OF_ACCESS_VIOLATED, AccessDenied),
        (DataAccessResult.OBJECT_UNDEFINED, ObjectUndefined),
        (DataAccessResult.OBJECT_CLASS_INCONSISTENT, ObjectUndefined),
        (DataAccessResult.OBJECT_UNAVAILABLE, ObjectUndefined),
        (DataAccessResult.TEMPORARY_FAILURE, Busy),
        (DataAccessResult.HARDWARE_FAULT, ServiceRefused),
        (DataAccessResult.OTHER_REASON, ServiceRefused),
    ],
)
def test_access(result: DataAccessResult, kind: type[HeadendError]) -> None:
    error = access_error(result, "3/1-0:1.8.0.255/2")
    assert type(error) is kind
    assert str(error).startswith("3/1-0:1.8.0.255/2: ")


def test_action() -> None:
    assert type(action_error(ActionResult.READ_WRITE_DENIED, "relay")) is AccessDenied
    error = action_error(ActionResult.TYPE_UNMATCHED, "relay")
    assert isinstance(error, ServiceRefused)
    assert error.reason == "type-unmatched"


@pytest.mark.parametrize("diagnostic", [11, 12, 13, 14])
def test_authentication(diagnostic: int) -> None:
    error = association_error(AssociationResponse(result=1, diagnostic=diagnostic))
    assert isinstance(error, AuthenticationFailed)
    assert not error.retryable


def test_association() -> None:
    error = association_error(AssociationResponse(result=2, diagnostic=2, initiate=ConfirmedServiceError(1, 6, 2)))
    assert isinstance(error, AssociationRejected)
    assert (error.result, error.diagnostic) == (2, 2)
    assert "application-context-name-not-supported, initiate: initiate: incompatible-conformance" in str(error)


def test_association_refused_by_the_provider() -> None:
    error = association_error(AssociationResponse(result=1, diagnostic_source=2, diagnostic=13))
    assert isinstance(error, AssociationRejected)
    assert "provider diagnostic 13" in str(error)


def test_whole_services() -> None:
    error = refusal_error(ExceptionResponse(1, 4), "GET")
    assert isinstance(error, ServiceRefused)
    assert error.reason == "service-not-allowed, pdu-too-long"
    assert "99" in str(refusal_error(ExceptionResponse(99, 1), "GET"))
    assert "initiate" in str(refusal_error(ConfirmedServiceError(1, 6, 0), "AARQ"))


def test_an_association_that_timed_out_at_the_meter() -> None:
    assert association_is_lost(ExceptionResponse(1, 1))
    assert not association_is_lost(ExceptionResponse(1, 2))
    assert not association_is_lost(ConfirmedServiceError(1, 1, 1))


def test_refusals_of_the_security() -> None:
    assert type(refusal_error(ExceptionResponse(1, 5), "GET")) is DecipherFailed
    error = refusal_error(ExceptionResponse(1, 6, 4711), "GET")
    assert type(error) is ReplayDetected
    assert "it expects 4711" in str(error)
    assert "expects" not in str(refusal_error(ExceptionResponse(1, 6), "GET"))

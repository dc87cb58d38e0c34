"""What a virtual meter answers to ACCESS: every read, write and invocation in its order, by the rules of the other services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.dlms.meter_objects import Refused
from headend.errors import LocalProtocolError
from headend.protocols.dlms.apdu.access import (
    BREAK_ON_ERROR,
    NULL_DATA,
    SELF_DESCRIPTIVE,
    AccessAction,
    AccessGet,
    AccessResponse,
    AccessResult,
    service_of,
)
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ExceptionResponse, ServiceError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headend.protocols.dlms.apdu.access import AccessRequest, AccessSpecification
    from headend.protocols.dlms.apdu.action import Outcome
    from headend.protocols.dlms.apdu.descriptor import AccessSelection, AttributeDescriptor, MethodDescriptor
    from headend.protocols.dlms.connection import DlmsConnection

_TOO_LONG: Final = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.PDU_TOO_LONG)


class Services(NamedTuple):
    """The services of one association; `read` raises Refused."""

    read: Callable[[AttributeDescriptor, AccessSelection | None], Iterator[bytes]]
    write: Callable[[AttributeDescriptor, bytes, AccessSelection | None], DataAccessResult]
    invoke: Callable[[MethodDescriptor, bytes], Outcome]


class _TooLongError(Exception):
    """The answer is longer than the client takes."""


def respond_to_access(connection: DlmsConnection, services: Services, request: AccessRequest) -> None:
    """Do what is asked, and send the answer if the client wants one."""
    try:
        response = _respond(services, request, connection.longest_answer)
        if request.confirmed:
            connection.send(response)
    except (_TooLongError, LocalProtocolError):
        if request.confirmed:
            connection.send(_TOO_LONG)


def _respond(services: Services, request: AccessRequest, room: int) -> AccessResponse:
    data: list[bytes] = []
    results: list[AccessResult] = []
    stopped = False
    for asked, given in zip(request.specifications, request.data, strict=True):
        if stopped:
            returned, result = NULL_DATA, _not_done(asked)
        else:
            returned, result = _do(services, asked, given, room)
        room -= len(returned)
        data.append(returned)
        results.append(AccessResult(service_of(asked), result))
        stopped = stopped or (
            result != DataAccessResult.SUCCESS and request.long_invoke_id_and_priority & BREAK_ON_ERROR != 0
        )
    invoke = request.long_invoke_id_and_priority
    repeated = request.specifications if invoke & SELF_DESCRIPTIVE else None
    return AccessResponse(invoke, tuple(data), tuple(results), specifications=repeated)


def _do(
    services: Services, asked: AccessSpecification, given: bytes, room: int
) -> tuple[bytes, DataAccessResult | ActionResult]:
    if isinstance(asked, AccessAction):
        result, returned = services.invoke(asked.method, given)
        return (returned if isinstance(returned, bytes) else NULL_DATA), result
    if not isinstance(asked, AccessGet):
        return NULL_DATA, services.write(asked.attribute, given, asked.access)
    value = bytearray()
    try:
        for piece in services.read(asked.attribute, asked.access):
            value += piece
            if len(value) > room:
                raise _TooLongError
    except Refused as refused:
        return NULL_DATA, refused.result
    return bytes(value), DataAccessResult.SUCCESS


def _not_done(asked: AccessSpecification) -> DataAccessResult | ActionResult:
    return ActionResult.OTHER_REASON if isinstance(asked, AccessAction) else DataAccessResult.OTHER_REASON

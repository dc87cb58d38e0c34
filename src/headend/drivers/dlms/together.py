"""Several writes, several invocations, or reads and these together: lists of SET and ACTION, ACCESS, or one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from headend.drivers.dlms.answers import returned_by, unexpected_error
from headend.errors import CapabilityError, HeadendError, MeterError, RemoteProtocolError, ServiceRefused
from headend.protocols.dlms.apdu.access import (
    BREAK_ON_ERROR,
    NULL_DATA,
    AccessAction,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessSet,
    AccessSpecification,
    service_of,
)
from headend.protocols.dlms.apdu.action import ActionRequestWithList, ActionResponseWithList
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.set import SetRequestWithList, SetResponseWithList
from headend.protocols.dlms.refusals import access_error, action_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from headend.drivers.dlms.access import Access
    from headend.drivers.dlms.refs import CosemRef
    from headend.protocols.dlms.apdu.access import AccessResult
    from headend.protocols.dlms.apdu.descriptor import AccessSelection

_T = TypeVar("_T")
_WHAT: Final = "ACCESS"
_UNKNOWN: Final = "service-unknown, service-not-supported"
"""Reason of a service that was refused because the meter does not have it."""


class Read(NamedTuple):
    """An attribute, or the part of it that is selected."""

    ref: CosemRef
    selection: AccessSelection | None = None

    @property
    def asked(self) -> AccessSpecification:
        """What the request says of it."""
        return AccessGet(self.ref.attribute, self.selection)

    @property
    def data(self) -> bytes:
        """The data that go with it."""
        return NULL_DATA


class Write(NamedTuple):
    """An attribute and the encoded data that it gets."""

    ref: CosemRef
    data: bytes
    selection: AccessSelection | None = None

    @property
    def asked(self) -> AccessSpecification:
        """What the request says of it."""
        return AccessSet(self.ref.attribute, self.selection)


class Invoke(NamedTuple):
    """A method and its encoded parameters."""

    ref: CosemRef
    data: bytes = NULL_DATA

    @property
    def asked(self) -> AccessSpecification:
        """What the request says of it."""
        return AccessAction(self.ref.method)


Item: TypeAlias = Read | Write | Invoke


async def write_all(access: Access, writes: Sequence[tuple[CosemRef, bytes]]) -> list[HeadendError | None]:
    """Write several attributes in as few exchanges as the meter allows; an error for each that it refuses."""
    if access.most > 1:
        done = await _unless_unknown(_write_list(access, writes))
        if done is not None:
            return done
        access.most = 1
    if access.with_access:
        told = await _unless_unknown(do_together(access, [Write(ref, data) for ref, data in writes]))
        if told is not None:
            return [each if isinstance(each, HeadendError) else None for each in told]
        access.with_access = False
    return [await _or_error(access.set(ref, data)) for ref, data in writes]


async def invoke_all(access: Access, calls: Sequence[tuple[CosemRef, bytes]]) -> list[bytes | HeadendError | None]:
    """Invoke several methods, as `write_all` writes; the encoded data that each returns, or its error.

    Every method has parameters, null-data where it takes none.
    """
    if access.most > 1:
        done = await _unless_unknown(_invoke_list(access, calls))
        if done is not None:
            return done
        access.most = 1
    if access.with_access:
        told = await _unless_unknown(do_together(access, [Invoke(ref, data) for ref, data in calls]))
        if told is not None:
            return [None if each == NULL_DATA else each for each in told]
        access.with_access = False
    return [await _or_error(access.invoke(ref, data)) for ref, data in calls]


async def do_together(
    access: Access, items: Sequence[Item], *, break_on_error: bool = False
) -> list[bytes | HeadendError]:
    """Do all items in their order, in one exchange: the encoded data of each, null-data where there are none, or its error.

    With `break_on_error` the meter does nothing after the first failure. Raises CapabilityError, before anything is sent,
    when the meter does not do ACCESS.
    """
    if not access.with_access:
        raise CapabilityError("this meter does not do ACCESS")
    invoke = access.conversation.connection.next_long_invoke_id() | (BREAK_ON_ERROR if break_on_error else 0)
    asked = tuple(item.asked for item in items)
    answer = await access.request(AccessRequest(invoke, asked, tuple(item.data for item in items)), _WHAT)
    if not isinstance(answer, AccessResponse) or len(answer.results) != len(items):
        raise unexpected_error(answer, _WHAT)
    if [each.service for each in answer.results] != [service_of(each) for each in asked]:
        raise RemoteProtocolError(f"{_WHAT}: results of other services than were asked for")
    return [
        _outcome(item.ref, data, result) for item, data, result in zip(items, answer.data, answer.results, strict=True)
    ]


def _outcome(ref: CosemRef, data: bytes, outcome: AccessResult) -> bytes | HeadendError:
    result = outcome.result
    if isinstance(result, ActionResult):
        return data if result == ActionResult.SUCCESS else action_error(result, f"{_WHAT} {ref}")
    return data if result == DataAccessResult.SUCCESS else access_error(result, f"{_WHAT} {ref}")


async def _write_list(access: Access, writes: Sequence[tuple[CosemRef, bytes]]) -> list[HeadendError | None]:
    attributes = tuple((ref.attribute, None) for ref, _ in writes)
    request = SetRequestWithList(access.next_invoke_id(), attributes, tuple(data for _, data in writes))
    answer = await access.request(request, "SET of a list")
    if not isinstance(answer, SetResponseWithList) or len(answer.results) != len(writes):
        raise unexpected_error(answer, "SET of a list")
    return [
        None if result == DataAccessResult.SUCCESS else access_error(result, f"SET {ref}")
        for (ref, _), result in zip(writes, answer.results, strict=True)
    ]


async def _invoke_list(access: Access, calls: Sequence[tuple[CosemRef, bytes]]) -> list[bytes | HeadendError | None]:
    methods, values = tuple(ref.method for ref, _ in calls), tuple(data for _, data in calls)
    request = ActionRequestWithList(access.next_invoke_id(), methods, values)
    answer = await access.request(request, "ACTION of a list")
    if not isinstance(answer, ActionResponseWithList) or len(answer.outcomes) != len(calls):
        raise unexpected_error(answer, "ACTION of a list")
    return [returned_by(ref, *outcome) for (ref, _), outcome in zip(calls, answer.outcomes, strict=True)]


async def _unless_unknown(done: Awaitable[_T]) -> _T | None:
    """None when the meter has promised a service and does not know it: nothing was done then."""
    try:
        return await done
    except ServiceRefused as error:
        if error.reason != _UNKNOWN:
            raise
        return None


async def _or_error(done: Awaitable[_T]) -> _T | HeadendError:
    try:
        return await done
    except MeterError as error:
        return error

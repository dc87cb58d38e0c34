"""What a virtual meter with short names answers to READ, WRITE and UnconfirmedWrite.

A short name stands for an attribute or a method of an object, which are read, written and invoked as by logical names.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_services import UNKNOWN_SERVICE, invoke_method, read_result, write_attribute
from headend.protocols.dlms.apdu.action import ActionRequestNormal
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.short import (
    ParameterizedAccess,
    ReadRequest,
    ReadResponse,
    UnconfirmedWriteRequest,
    VariableName,
    WriteRequest,
    WriteResponse,
    encode_read_result,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.security.authentication import REPLY_TO_HLS
from headend.protocols.dlms.short_names import REPLY_TO_HLS_SN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headend.drivers.dlms.meter_objects import Association
    from headend.drivers.dlms.meter_view import View
    from headend.protocols.dlms.apdu.action import ActionResponseNormal
    from headend.protocols.dlms.apdu.short import ShortRequest, ShortResponse, VariableAccess
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.short_names import Member

_NULL_DATA: Final = b"\x00"


def respond_short(
    connection: DlmsConnection,
    view: View,
    association: Association,
    request: ShortRequest | UnconfirmedWriteRequest,
) -> None:
    """Send the answer to a request, if it has one."""
    if not _is_agreed(request, association.conformance):
        if not isinstance(request, UnconfirmedWriteRequest):
            connection.send(UNKNOWN_SERVICE)
        return
    if isinstance(request, ReadRequest):
        results = [_read(view, association, variable) for variable in request.variables]
        connection.answer_read(chain((encode_length(len(results)),), *results))
        return
    pairs = zip(request.variables, request.data, strict=True)
    written = tuple(_write(view, association, variable, data) for variable, data in pairs)
    if isinstance(request, WriteRequest):
        connection.send(WriteResponse(written))


def _is_agreed(request: ShortRequest | UnconfirmedWriteRequest, conformance: Conformance) -> bool:
    """True when the association has agreed on the service and on all that the request makes of it."""
    needed = {
        ReadRequest: Conformance.READ,
        WriteRequest: Conformance.WRITE,
        UnconfirmedWriteRequest: Conformance.UNCONFIRMED_WRITE,
    }[type(request)]
    if len(request.variables) > 1:
        needed |= Conformance.MULTIPLE_REFERENCES
    if any(isinstance(each, ParameterizedAccess) and each.selector for each in request.variables):
        needed |= Conformance.PARAMETERIZED_ACCESS
    return needed in conformance


def _member(view: View, variable: VariableAccess) -> Member | None:
    return view.short_names.member(variable.name) if isinstance(variable, VariableName | ParameterizedAccess) else None


def _read(view: View, association: Association, variable: VariableAccess) -> Iterator[bytes]:
    """One result, encoded. A method is invoked with the parameters of the access, and what it returns is the result."""
    member = _member(view, variable)
    if member is None:
        return iter((encode_read_result(DataAccessResult.OBJECT_UNDEFINED),))
    if not member.is_method:
        return read_result(view, association, _attribute(member), _selection(variable))
    if not isinstance(variable, ParameterizedAccess):
        return iter((encode_read_result(DataAccessResult.READ_WRITE_DENIED),))
    outcome = invoke_method(view, association, _method(member), variable.parameters)
    if outcome.result != ActionResult.SUCCESS:
        return iter((encode_read_result(DataAccessResult(outcome.result)),))
    returned = outcome.return_parameters
    return iter((encode_read_result(_NULL_DATA if returned is None else returned),))


def _write(view: View, association: Association, variable: VariableAccess, data: bytes) -> DataAccessResult:
    member = _member(view, variable)
    if member is None:
        return DataAccessResult.OBJECT_UNDEFINED
    if member.is_method:
        return DataAccessResult(invoke_method(view, association, _method(member), data).result)
    return write_attribute(view, association, _attribute(member), data, _selection(variable))


def _attribute(member: Member) -> AttributeDescriptor:
    target = member.target
    return AttributeDescriptor(target.class_id, target.logical_name.to_bytes(), member.number)


def _method(member: Member) -> MethodDescriptor:
    target = member.target
    return MethodDescriptor(target.class_id, target.logical_name.to_bytes(), member.number)


def _selection(variable: VariableAccess) -> AccessSelection | None:
    if isinstance(variable, ParameterizedAccess):
        return AccessSelection(variable.selector, variable.parameters)
    return None


# --- high level security ---


def as_proof(request: ShortRequest) -> ActionRequestNormal | None:
    """Pass 3 of high level security as logical names would say it; None for any other request."""
    match request:
        case ReadRequest((ParameterizedAccess(name, _, data),)) if name == REPLY_TO_HLS_SN:
            return ActionRequestNormal(0, REPLY_TO_HLS, data)
        case WriteRequest((VariableName(name),), (data,)) if name == REPLY_TO_HLS_SN:
            return ActionRequestNormal(0, REPLY_TO_HLS, data)
    return None


def as_reply(request: ShortRequest, response: ActionResponseNormal) -> ShortResponse:
    """Pass 4 in the same way. A WRITE says that the proof is good, and cannot carry that of the meter."""
    if isinstance(request, WriteRequest):
        return WriteResponse((DataAccessResult(response.result),))
    if response.result != ActionResult.SUCCESS or response.return_parameters is None:
        return ReadResponse((DataAccessResult(response.result),))
    return ReadResponse((response.return_parameters,))

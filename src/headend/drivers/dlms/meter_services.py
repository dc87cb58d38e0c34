"""What a virtual meter answers to each service of an association: the general way, by the standard's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

from headend.drivers.base import MeterModel, Trouble
from headend.drivers.dlms.meter_access import Services, respond_to_access
from headend.drivers.dlms.meter_clients import Client
from headend.drivers.dlms.meter_objects import Association, CosemObject, Refused
from headend.drivers.dlms.meter_rights import require
from headend.drivers.dlms.meter_security import CIPHERED, Setup, refuse_client
from headend.drivers.dlms.meter_view import View
from headend.drivers.dlms.parameters import Parameters
from headend.errors import AccessDenied, DecodeError, HeadendError
from headend.protocols.dlms.acse import (
    ApplicationContext,
    AssociationResult,
    Diagnostic,
    DiagnosticSource,
)
from headend.protocols.dlms.apdu.access import AccessRequest
from headend.protocols.dlms.apdu.action import (
    ActionRequestNormal,
    ActionRequestWithList,
    ActionResponseNormal,
    ActionResponseWithList,
    Outcome,
)
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal
from headend.protocols.dlms.apdu.set import (
    SetRequestNormal,
    SetRequestWithList,
    SetResponseNormal,
    SetResponseWithList,
)
from headend.protocols.dlms.apdu.table import DECODERS, Request
from headend.protocols.dlms.axdr import Data, decode_typed, encode_length
from headend.protocols.dlms.blocks import MIN_PDU
from headend.protocols.dlms.classes import INVOKE, AccessRight
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import DLMS_VERSION, NO_CONFORMANCE, VAA_LN, VAA_SN, Conformance, InitiateResponse
from headend.protocols.dlms.security.ciphering import (
    GENERAL_DEDICATED,
    GENERAL_GLOBAL,
    PLAIN_OF_DEDICATED,
    PLAIN_OF_GLOBAL,
)
from headend.standards.cosem import find_class

OFFERED: Final = (
    Conformance.PRIORITY_MANAGEMENT
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
    | Conformance.BLOCK_TRANSFER_WITH_ACTION
    | Conformance.GENERAL_BLOCK_TRANSFER
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.GET
    | Conformance.SET
    | Conformance.SELECTIVE_ACCESS
    | Conformance.ACCESS
    | Conformance.EVENT_NOTIFICATION
    | Conformance.ACTION
)
"""What a virtual meter does; a client gets what it proposes of it."""
OFFERED_SHORT: Final = (
    Conformance.READ
    | Conformance.WRITE
    | Conformance.UNCONFIRMED_WRITE
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
    | Conformance.GENERAL_BLOCK_TRANSFER
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.INFORMATION_REPORT
    | Conformance.PARAMETERIZED_ACCESS
)
"""The same for one with short names."""

NOT_ASSOCIATED: Final = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OPERATION_NOT_POSSIBLE)
UNKNOWN_SERVICE: Final = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.SERVICE_NOT_SUPPORTED)
_MALFORMED: Final = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OTHER_REASON)
_CIPHERED: Final = frozenset({*PLAIN_OF_GLOBAL, *PLAIN_OF_DEDICATED, GENERAL_GLOBAL, GENERAL_DEDICATED})
_LONG_CONTEXTS: Final = ApplicationContext.LN, ApplicationContext.LN_CIPHERED
_SHORT_CONTEXTS: Final = ApplicationContext.SN, ApplicationContext.SN_CIPHERED
_INITIATE: Final = 1
_INITIATE_ERROR: Final = 6
_VERSION_TOO_LOW: Final = 1
_INCOMPATIBLE_CONFORMANCE: Final = 2
_PDU_SIZE_TOO_SHORT: Final = 3


# --- associations ---


def associate(
    request: AssociationRequest, client: Client | None, model: MeterModel, parameters: Parameters, setup: Setup | None
) -> AssociationResponse:
    """The answer to an AARQ of a client that the meter knows, or of one that it does not know."""
    diagnostic: Diagnostic | None = Diagnostic.NO_REASON_GIVEN
    if client is not None:
        diagnostic = refuse_client(request, client, setup, model)
    short = parameters.short_names
    contexts = _SHORT_CONTEXTS if short else _LONG_CONTEXTS
    context = request.application_context if request.application_context in contexts else contexts[0]
    if request.application_context != context:
        diagnostic = Diagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    if diagnostic is not None:
        return _rejected(context, diagnostic)
    initiate = request.initiate
    offered = OFFERED_SHORT if short else OFFERED
    if context in CIPHERED:
        offered |= Conformance.GENERAL_PROTECTION
    conformance = initiate.conformance & offered
    if initiate.dlms_version < DLMS_VERSION:
        return _rejected(context, Diagnostic.NO_REASON_GIVEN, _VERSION_TOO_LOW)
    if (Conformance.READ if short else Conformance.GET) not in conformance:
        return _rejected(context, Diagnostic.NO_REASON_GIVEN, _INCOMPATIBLE_CONFORMANCE)
    if 0 < initiate.max_receive_pdu < MIN_PDU:
        return _rejected(context, Diagnostic.NO_REASON_GIVEN, _PDU_SIZE_TOO_SHORT)
    vaa_name = VAA_SN if short else VAA_LN
    granted = InitiateResponse(conformance=conformance, max_receive_pdu=parameters.max_pdu, vaa_name=vaa_name)
    return AssociationResponse(application_context=context, initiate=granted)


def troubled(response: AssociationResponse, model: MeterModel) -> AssociationResponse:
    """The answer to an AARQ of a meter that may have trouble with associations."""
    if not response.accepted or not model.troubles:
        return response
    rejected = _rejected(response.application_context, Diagnostic.NO_REASON_GIVEN)
    if Trouble.REFUSES_ASSOCIATION in model.troubles:
        return rejected
    if Trouble.NO_ASSOCIATION_LEFT in model.troubles:
        return replace(
            rejected, result=AssociationResult.REJECTED_TRANSIENT, diagnostic_source=DiagnosticSource.PROVIDER
        )
    return response


def _rejected(context: int, diagnostic: Diagnostic, initiate_error: int | None = None) -> AssociationResponse:
    error = None
    if initiate_error is not None:
        error = ConfirmedServiceError(_INITIATE, _INITIATE_ERROR, initiate_error)
    return AssociationResponse(
        application_context=context,
        result=AssociationResult.REJECTED_PERMANENT,
        diagnostic=diagnostic,
        initiate=error,
    )


def refusal_of(apdu: bytes, *, associated: bool) -> ExceptionResponse:
    """What a meter says to an APDU that it cannot take now, or not at all."""
    if apdu[0] not in DECODERS and (associated or apdu[0] not in _CIPHERED):
        return UNKNOWN_SERVICE
    return _MALFORMED if associated else NOT_ASSOCIATED


# --- requests ---


def respond(connection: DlmsConnection, view: View, association: Association, request: Request | AccessRequest) -> None:
    """Send the answer to a request."""
    if not _is_agreed(request, association.conformance):
        connection.send(UNKNOWN_SERVICE)
        return
    if isinstance(request, AccessRequest):
        services = Services(
            partial(_read, view, association),
            partial(write_attribute, view, association),
            partial(invoke_method, view, association),
        )
        respond_to_access(connection, services, request)
        return
    invoke_id = request.invoke_id_and_priority
    match request:
        case GetRequestNormal(_, attribute, access):
            try:
                pieces = _read(view, association, attribute, access)
            except Refused as refused:
                connection.send(GetResponseNormal(invoke_id, refused.result))
            else:
                connection.answer_get(invoke_id, pieces)
        case GetRequestWithList(_, attributes):
            results = [read_result(view, association, attribute, access) for attribute, access in attributes]
            count = encode_length(len(results))
            connection.answer_get(invoke_id, chain((count,), *results), with_list=True)
        case SetRequestNormal(_, attribute, data, access):
            connection.send(SetResponseNormal(invoke_id, write_attribute(view, association, attribute, data, access)))
        case SetRequestWithList(_, attributes, values):
            written = [
                write_attribute(view, association, attribute, data, access)
                for (attribute, access), data in zip(attributes, values, strict=True)
            ]
            connection.send(SetResponseWithList(invoke_id, tuple(written)))
        case ActionRequestNormal(_, method, parameters):
            connection.send(ActionResponseNormal(invoke_id, *invoke_method(view, association, method, parameters)))
        case ActionRequestWithList(_, methods, values):
            outcomes = [
                invoke_method(view, association, method, data) for method, data in zip(methods, values, strict=True)
            ]
            connection.send(ActionResponseWithList(invoke_id, tuple(outcomes)))


def _is_agreed(request: Request | AccessRequest, conformance: Conformance) -> bool:
    """True when the association has agreed on the service."""
    match request:
        case AccessRequest():
            return Conformance.ACCESS in conformance
        case GetRequestNormal(_, _, access):
            return Conformance.GET | (Conformance.SELECTIVE_ACCESS if access else NO_CONFORMANCE) in conformance
        case GetRequestWithList():
            return Conformance.GET | Conformance.MULTIPLE_REFERENCES in conformance
        case SetRequestNormal():
            return Conformance.SET in conformance
        case SetRequestWithList():
            return Conformance.SET | Conformance.MULTIPLE_REFERENCES in conformance
        case ActionRequestNormal():
            return Conformance.ACTION in conformance
        case ActionRequestWithList():
            return Conformance.ACTION | Conformance.MULTIPLE_REFERENCES in conformance
        case _:
            return False


def read_result(
    view: View, association: Association, attribute: AttributeDescriptor, access: AccessSelection | None
) -> Iterator[bytes]:
    """One result of a list: 00 and the data, or 01 and the reason."""
    try:
        return chain((b"\x00",), _read(view, association, attribute, access))
    except Refused as refused:
        return iter((bytes((0x01, refused.result)),))


def _read(
    view: View, association: Association, attribute: AttributeDescriptor, access: AccessSelection | None
) -> Iterator[bytes]:
    """The encoded value in pieces; raises Refused before the first one."""
    try:
        made = _find(view, attribute.class_id, attribute.logical_name)
        read = made.reads.get(attribute.attribute_id)
        if read is None:
            raise Refused(_missing(made, attribute.attribute_id))
        require(association, view.attribute_right(made, attribute.attribute_id), AccessRight.READ)
        buffer = view.buffers.get(attribute.encode())
        if buffer is not None:
            return buffer.pieces(association, access)
        if access is not None:
            raise Refused(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
        return iter((read(association),))
    except HeadendError as error:
        raise Refused(_reason(error)) from error


def _find(view: View, class_id: int, name: bytes) -> CosemObject:
    made = view.objects.get((class_id, name))
    if made is None:
        if (class_id, name) in view.hidden:
            raise Refused(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
        known = name in view.names
        raise Refused(DataAccessResult.OBJECT_CLASS_INCONSISTENT if known else DataAccessResult.OBJECT_UNDEFINED)
    return made


def _missing(made: CosemObject, attribute_id: int) -> DataAccessResult:
    """Why an attribute cannot be read: the class has none such, it is secret, or this meter does not have it."""
    cosem_class = find_class(made.class_id, made.version)
    if attribute_id in made.denied or cosem_class is None or attribute_id not in cosem_class.attributes:
        return DataAccessResult.READ_WRITE_DENIED
    return DataAccessResult.OBJECT_UNAVAILABLE


def write_attribute(
    view: View,
    association: Association,
    attribute: AttributeDescriptor,
    data: bytes,
    access: AccessSelection | None,
) -> DataAccessResult:
    """Write one attribute."""
    try:
        made = _find(view, attribute.class_id, attribute.logical_name)
        write = made.writes.get(attribute.attribute_id)
        if write is None and attribute.attribute_id not in made.reads:
            return _missing(made, attribute.attribute_id)
        if write is None:
            return DataAccessResult.READ_WRITE_DENIED
        require(association, view.attribute_right(made, attribute.attribute_id), AccessRight.WRITE)
        if access is not None:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        write(association, _decode(data))
    except Refused as refused:
        return refused.result
    except HeadendError as error:
        return _reason(error)
    return DataAccessResult.SUCCESS


def invoke_method(view: View, association: Association, method: MethodDescriptor, parameters: bytes | None) -> Outcome:
    """Invoke one method."""
    try:
        made = _find(view, method.class_id, method.logical_name)
        invoke = made.methods.get(method.method_id)
        if invoke is None:
            return Outcome(ActionResult.READ_WRITE_DENIED)
        require(association, view.method_right(made, method.method_id), INVOKE)
        returned = invoke(association, None if parameters is None else _decode(parameters))
    except Refused as refused:
        return Outcome(ActionResult(refused.result))
    except HeadendError as error:
        return Outcome(ActionResult(_reason(error)))
    return Outcome(ActionResult.SUCCESS, returned)


def _decode(octets: bytes) -> Data:
    try:
        data, end = decode_typed(octets)
    except DecodeError as error:
        raise Refused(DataAccessResult.TYPE_UNMATCHED) from error
    if end != len(octets):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return data


def _reason(error: HeadendError) -> DataAccessResult:
    """What a meter says when its model refuses."""
    denied = isinstance(error, AccessDenied)
    return DataAccessResult.READ_WRITE_DENIED if denied else DataAccessResult.OTHER_REASON

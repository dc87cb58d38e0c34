"""Services of xDLMS as elements (IEC 62056-5-3). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from headend.drivers.dlms.explaining.parts import SECRET_ATTRIBUTES, SECRET_METHODS
from headend.drivers.dlms.translating.data import data_element
from headend.drivers.dlms.translating.element import Element, hidden, holds, items, number, octets, text
from headend.protocols.dlms.apdu import action, get, notification
from headend.protocols.dlms.apdu import set as setting
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
    SelectedAttributes,
)
from headend.protocols.dlms.apdu.exception import (
    ERRORS,
    ConfirmedServiceError,
    ExceptionResponse,
    ServiceError,
    StateError,
)

_RESULTS: Final = {
    "OBJECT_UNDEFINED": "UndefinedObject",
    "OBJECT_CLASS_INCONSISTENT": "InconsistentClass",
    "OBJECT_UNAVAILABLE": "UnavailableObject",
    "TYPE_UNMATCHED": "UnmatchedType",
    "SCOPE_OF_ACCESS_VIOLATED": "AccessViolated",
    "LONG_GET_ABORTED": "LongGetOrReadAborted",
    "NO_LONG_GET_IN_PROGRESS": "NoLongGetOrReadInProgress",
    "LONG_SET_ABORTED": "LongSetOrWriteAborted",
    "NO_LONG_SET_IN_PROGRESS": "NoLongSetOrWriteInProgress",
}
"""Results whose names are not simply those of the standard."""

Parts: TypeAlias = Iterator[Element]


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.replace("-", "_").split("_"))


def result_element(name: str, result: DataAccessResult | ActionResult) -> Element:
    """A result by its name."""
    return text(name, _RESULTS.get(result.name, _camel(result.name)))


def _service(name: str, variant: str, invoke_id: int, *inside: Element) -> Element:
    return holds(name, holds(name + variant, number("InvokeIdAndPriority", invoke_id), *inside))


def attribute_element(target: AttributeDescriptor) -> Element:
    """A cosem-attribute-descriptor."""
    return holds(
        "AttributeDescriptor",
        number("ClassId", target.class_id, 2),
        octets("InstanceId", target.logical_name),
        number("AttributeId", target.attribute_id & 0xFF),
    )


def method_element(target: MethodDescriptor) -> Element:
    """A cosem-method-descriptor."""
    return holds(
        "MethodDescriptor",
        number("ClassId", target.class_id, 2),
        octets("InstanceId", target.logical_name),
        number("MethodId", target.method_id & 0xFF),
    )


def selection_elements(access: AccessSelection | None) -> Parts:
    """The part of an attribute that is meant, if one is."""
    if access is not None:
        parameters = holds("AccessParameters", data_element(access.parameters))
        yield holds("AccessSelection", number("AccessSelector", access.selector), parameters)


def _selected(attributes: SelectedAttributes) -> Element:
    each = (
        holds("AttributeDescriptorWithSelection", attribute_element(target), *selection_elements(access))
        for target, access in attributes
    )
    return items("AttributeDescriptorList", tuple(each))


def _data_or_result(content: bytes | DataAccessResult, name: str = "DataAccessError") -> Element:
    return holds("Data", data_element(content)) if isinstance(content, bytes) else result_element(name, content)


def _block(name: str, *, last: bool, block_number: int, raw: Element) -> Element:
    return holds(name, number("LastBlock", last), number("BlockNumber", block_number, 4), raw)


def get_element(apdu: get.GetRequest | get.GetResponse) -> Element:
    """A GET service."""
    invoke_id = apdu.invoke_id_and_priority
    match apdu:
        case get.GetRequestNormal():
            return _service(
                "GetRequest", "Normal", invoke_id, attribute_element(apdu.attribute), *selection_elements(apdu.access)
            )
        case get.GetRequestNext():
            return _service("GetRequest", "ForNextDataBlock", invoke_id, number("BlockNumber", apdu.block_number, 4))
        case get.GetRequestWithList():
            return _service("GetRequest", "WithList", invoke_id, _selected(apdu.attributes))
        case get.GetResponseNormal():
            return _service("GetResponse", "Normal", invoke_id, holds("Result", _data_or_result(apdu.result)))
        case get.GetResponseWithDatablock():
            content = apdu.result
            raw = (
                octets("RawData", content)
                if isinstance(content, bytes)
                else result_element("DataAccessResult", content)
            )
            inner = holds("Result", raw)
            block = _block("Result", last=apdu.last_block, block_number=apdu.block_number, raw=inner)
            return _service("GetResponse", "withDataBlock", invoke_id, block)
        case _:
            results = tuple(map(_data_or_result, apdu.results))
            return _service("GetResponse", "WithList", invoke_id, items("Result", results))


def written_element(target: AttributeDescriptor, data: bytes) -> Element:
    """A value to be written, unless it is a secret."""
    secret = (target.class_id, target.attribute_id) in SECRET_ATTRIBUTES
    return hidden("OctetString", data) if secret else data_element(data)


def set_request(apdu: setting.SetRequest) -> Element:
    """A SET request; blocks are not shown, as nobody knows what is in them."""
    invoke_id = apdu.invoke_id_and_priority
    match apdu:
        case setting.SetRequestNormal():
            value = holds("Value", written_element(apdu.attribute, apdu.data))
            target = (attribute_element(apdu.attribute), *selection_elements(apdu.access))
            return _service("SetRequest", "Normal", invoke_id, *target, value)
        case setting.SetRequestWithList():
            values = [
                written_element(target, data) for (target, _), data in zip(apdu.attributes, apdu.values, strict=False)
            ]
            listed = items("ValueList", tuple(values))
            return _service("SetRequest", "WithList", invoke_id, _selected(apdu.attributes), listed)
    raw = hidden("RawData", apdu.raw_data)
    block = _block("DataBlock", last=apdu.last_block, block_number=apdu.block_number, raw=raw)
    match apdu:
        case setting.SetRequestFirstDatablock():
            first = (attribute_element(apdu.attribute), *selection_elements(apdu.access))
            return _service("SetRequest", "FirstDataBlock", invoke_id, *first, block)
        case setting.SetRequestWithListAndFirstDatablock():
            return _service("SetRequest", "WithListAndWithFirstDatablock", invoke_id, _selected(apdu.attributes), block)
        case _:
            return _service("SetRequest", "WithDataBlock", invoke_id, block)


def set_response(apdu: setting.SetResponse) -> Element:
    """A SET response."""
    invoke_id = apdu.invoke_id_and_priority
    match apdu:
        case setting.SetResponseNormal():
            return _service("SetResponse", "Normal", invoke_id, result_element("Result", apdu.result))
        case setting.SetResponseDatablock():
            return _service("SetResponse", "DataBlock", invoke_id, number("BlockNumber", apdu.block_number, 4))
        case setting.SetResponseLastDatablock():
            done = (result_element("Result", apdu.result), number("BlockNumber", apdu.block_number, 4))
            return _service("SetResponse", "WithLastDataBlock", invoke_id, *done)
    results = items("Result", tuple(result_element("DataAccessResult", each) for each in apdu.results))
    if isinstance(apdu, setting.SetResponseWithList):
        return _service("SetResponse", "WithList", invoke_id, results)
    end = number("BlockNumber", apdu.block_number, 4)
    return _service("SetResponse", "WithLastDataBlockWithList", invoke_id, results, end)


def given_element(target: MethodDescriptor, data: bytes) -> Element:
    """Parameters of a method, unless they are a secret."""
    secret = (target.class_id, target.method_id) in SECRET_METHODS
    return hidden("OctetString", data) if secret else data_element(data)


def action_request(apdu: action.ActionRequest) -> Element:
    """An ACTION request; blocks are not shown, as nobody knows what is in them."""
    invoke_id = apdu.invoke_id_and_priority
    match apdu:
        case action.ActionRequestNormal():
            given = (
                [holds("MethodInvocationParameters", given_element(apdu.method, apdu.parameters))]
                if apdu.parameters
                else []
            )
            return _service("ActionRequest", "Normal", invoke_id, method_element(apdu.method), *given)
        case action.ActionRequestNextPblock():
            return _service("ActionRequest", "ForNextPBlock", invoke_id, number("BlockNumber", apdu.block_number, 4))
        case action.ActionRequestWithList():
            methods = items("MethodDescriptorList", tuple(map(method_element, apdu.methods)))
            values = [given_element(target, data) for target, data in zip(apdu.methods, apdu.parameters, strict=False)]
            listed = items("MethodInvocationParametersList", tuple(values))
            return _service("ActionRequest", "WithList", invoke_id, methods, listed)
    raw = hidden("RawData", apdu.raw_data)
    block = _block("PBlock", last=apdu.last_block, block_number=apdu.block_number, raw=raw)
    match apdu:
        case action.ActionRequestFirstPblock():
            return _service("ActionRequest", "WithFirstPBlock", invoke_id, method_element(apdu.method), block)
        case action.ActionRequestWithListAndFirstPblock():
            methods = items("MethodDescriptorList", tuple(map(method_element, apdu.methods)))
            return _service("ActionRequest", "WithListAndFirstPBlock", invoke_id, methods, block)
        case _:
            return _service("ActionRequest", "WithPBlock", invoke_id, block)


def action_response(apdu: action.ActionResponse) -> Element:
    """An ACTION response."""
    invoke_id = apdu.invoke_id_and_priority
    match apdu:
        case action.ActionResponseNormal():
            return _service("ActionResponse", "Normal", invoke_id, *_outcome(apdu.result, apdu.return_parameters))
        case action.ActionResponseWithList():
            outcomes = (holds("ActionResponse", *_outcome(*each)) for each in apdu.outcomes)
            return _service("ActionResponse", "WithList", invoke_id, items("ActionResponseList", tuple(outcomes)))
        case action.ActionResponsePblock():
            raw = octets("RawData", apdu.raw_data)
            block = _block("PBlock", last=apdu.last_block, block_number=apdu.block_number, raw=raw)
            return _service("ActionResponse", "WithPBlock", invoke_id, block)
        case _:
            return _service("ActionResponse", "NextPBlock", invoke_id, number("BlockNumber", apdu.block_number, 4))


def _outcome(result: ActionResult, returned: bytes | DataAccessResult | None) -> Parts:
    yield result_element("Result", result)
    if returned is not None:
        yield holds("ReturnParameters", _data_or_result(returned))


def notification_element(apdu: notification.DataNotification | notification.EventNotification) -> Element:
    """What a meter says unasked."""
    if isinstance(apdu, notification.DataNotification):
        return holds(
            "DataNotification",
            number("LongInvokeIdAndPriority", apdu.long_invoke_id_and_priority, 4),
            octets("DateTime", apdu.date_time),
            holds("NotificationBody", holds("DataValue", data_element(apdu.body))),
        )
    time = [octets("Time", apdu.time)] if apdu.time else []
    value = holds("AttributeValue", written_element(apdu.attribute, apdu.value))
    return holds("EventNotificationRequest", *time, attribute_element(apdu.attribute), value)


def refusal_element(apdu: ExceptionResponse | ConfirmedServiceError) -> Element:
    """Why a service was not done."""
    if isinstance(apdu, ExceptionResponse):
        counter = [] if apdu.invocation_counter is None else [number("InvocationCounter", apdu.invocation_counter, 4)]
        return holds(
            "ExceptionResponse",
            text("StateError", _member(StateError, apdu.state_error)),
            text("ServiceError", _member(ServiceError, apdu.service_error)),
            *counter,
        )
    kind, values = ERRORS.get(apdu.kind, (f"kind-{apdu.kind}", ()))
    value = _camel(values[apdu.value]) if apdu.value < len(values) else str(apdu.value)
    return holds(
        "ConfirmedServiceError", number("Service", apdu.service), holds("ServiceError", text(_camel(kind), value))
    )


def _member(names: type[StateError | ServiceError], value: int) -> str:
    try:
        return _camel(names(value).name)
    except ValueError:
        return str(value)

"""ACCESS as elements (IEC 62056-5-3). Pure."""

from __future__ import annotations

from headend.drivers.dlms.translating.apdus import (
    attribute_element,
    given_element,
    method_element,
    result_element,
    selection_elements,
    written_element,
)
from headend.drivers.dlms.translating.data import data_element
from headend.drivers.dlms.translating.element import Element, holds, items, number, octets
from headend.protocols.dlms.apdu.access import (
    AccessAction,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessResult,
    AccessSpecification,
)

_SERVICES = {1: "Get", 2: "Set", 3: "Action"}


def access_element(apdu: AccessRequest | AccessResponse) -> Element:
    """An ACCESS request, or its response with what was asked if it repeats that."""
    name = "AccessRequest" if isinstance(apdu, AccessRequest) else "AccessResponse"
    body = _request(apdu) if isinstance(apdu, AccessRequest) else _response(apdu)
    invoke_id = number("LongInvokeIdAndPriority", apdu.long_invoke_id_and_priority, 4)
    return holds(name, invoke_id, octets("DateTime", apdu.date_time), holds(f"{name}Body", *body))


def _request(apdu: AccessRequest) -> tuple[Element, ...]:
    given = tuple(_data(asked, data) for asked, data in zip(apdu.specifications, apdu.data, strict=True))
    return _specifications(apdu.specifications), items("AccessRequestListOfData", given)


def _response(apdu: AccessResponse) -> tuple[Element, ...]:
    asked: tuple[Element, ...] = ()
    if apdu.specifications is None:
        data = tuple(map(data_element, apdu.data))
    else:
        data = tuple(_data(each, data) for each, data in zip(apdu.specifications, apdu.data, strict=True))
        asked = (_specifications(apdu.specifications),)
    results = items("AccessResponseSpecification", tuple(map(_result, apdu.results)))
    return *asked, items("AccessResponseListOfData", data), results


def _specifications(specifications: tuple[AccessSpecification, ...]) -> Element:
    return items("AccessRequestSpecification", tuple(map(_specification, specifications)))


def _specification(asked: AccessSpecification) -> Element:
    if isinstance(asked, AccessAction):
        inner = holds("AccessRequestAction", method_element(asked.method))
    else:
        selected = "WithSelection" if asked.access else ""
        name = f"AccessRequest{'Get' if isinstance(asked, AccessGet) else 'Set'}{selected}"
        inner = holds(name, attribute_element(asked.attribute), *selection_elements(asked.access))
    return holds("_AccessRequestSpecification", inner)


def _data(asked: AccessSpecification, data: bytes) -> Element:
    """Data that go with what is asked, unless they are a secret."""
    if isinstance(asked, AccessAction):
        return given_element(asked.method, data)
    return written_element(asked.attribute, data)


def _result(each: AccessResult) -> Element:
    name = f"AccessResponse{_SERVICES.get(each.service, '')}"
    return holds("_AccessResponseSpecification", holds(name, result_element("Result", each.result)))

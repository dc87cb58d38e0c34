"""The readings of a push as a layer. Pure."""

from __future__ import annotations

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.scribe import Octets
from headend.drivers.dlms.explaining.words import class_text, date_time_text, leaf_text, obis_name
from headend.drivers.dlms.nodes import Node, first_error, is_logical_name
from headend.drivers.dlms.pushes import Pushed, read_push
from headend.standards.cosem import find_class

_VALUE = 2
_NUMBERS = (1, 3, 4, 5)
"""Classes whose attribute 2 is plainly the value."""


def readings_layer(body: Node, octets: Octets, *, tagged_date_time: bool = False) -> list[Layer]:
    """One layer with a line for each object of a push; none for a push of unknown shape."""
    pushed = read_push(body, tagged_date_time=tagged_date_time)
    if not pushed:
        return []
    offset, length = octets.span(0, len(octets.data))
    fields = tuple((_name(each), _value(each), *octets.span(each.node.offset, each.node.end)) for each in pushed)
    incomplete = " (incomplete)" if first_error(body) else ""
    return [Layer(name=f"Readings{incomplete}", offset=offset, length=length, fields=fields)]


def is_positional(body: Node) -> bool:
    """True for a list of values of which none is a code: its place alone tells what a value is."""
    leaves = [node for node in body.walk() if not node.is_sequence]
    coded = any(node.descriptor or (isinstance(node.value, bytes) and is_logical_name(node.value)) for node in leaves)
    return body.is_sequence and len(leaves) > 1 and not coded and first_error(body) is None


def _name(pushed: Pushed) -> str:
    """The code, what it means, and the attribute where that is not the value."""
    parts = [str(pushed.obis), obis_name(pushed.obis)]
    if pushed.class_id and (pushed.attribute_id != _VALUE or pushed.class_id not in _NUMBERS):
        known = find_class(pushed.class_id)
        attribute = known.attributes.get(pushed.attribute_id) if known else None
        parts.append(
            attribute.name if attribute else f"attribute {pushed.attribute_id} of {class_text(pushed.class_id)}"
        )
    return " ".join(part for part in parts if part)


def _value(pushed: Pushed) -> str:
    """The value in its unit; a raw one says so."""
    raw = pushed.raw
    if isinstance(raw, list):
        return "a structure: see the body"
    if raw is None:
        return "null"
    if isinstance(raw, bytes):
        return date_time_text(raw) if pushed.is_clock else leaf_text(pushed.node)
    if pushed.scaler is not None:
        return f"{pushed.value} {pushed.unit}".rstrip()
    scaled = type(raw) in {int, float} and pushed.obis.a == 1 and pushed.class_id in {0, 3, 4, 5}
    return f"{leaf_text(pushed.node)} (raw: the push does not tell its scaler)" if scaled else leaf_text(pushed.node)

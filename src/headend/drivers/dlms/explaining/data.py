"""A-XDR data as layers (IEC 62056-6-2, 4.1.5): short rows in one line, longer ones in a layer of their own. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.scribe import Field, Octets
from headend.drivers.dlms.explaining.words import is_scaler_unit, leaf_text, scaler_unit_text, type_name
from headend.drivers.dlms.nodes import Node, first_error, read_data

_IN_ONE_LINE: Final = 6
"""Values that a row may have to be shown in one line."""


def data_layer(octets: Octets, name: str = "data", *, secret: bool = False) -> Layer:
    """One value that fills all octets; what is wrong in it is told. The contents of a secret are not shown."""
    offset, length = octets.span(0, len(octets.data))
    if secret:
        fields = (("value", f"{len(octets.data)} octets, not shown: a secret", offset, length),)
        return Layer(name=name, offset=offset, length=length, fields=fields)
    return node_layer(read_data(octets.data), octets, name)


def node_layer(node: Node, octets: Octets, name: str = "data") -> Layer:
    """A value that has been read, as a layer over all octets."""
    offset, length = octets.span(0, len(octets.data))
    fields: tuple[Field, ...] = ()
    layers: tuple[Layer, ...] = ()
    if node.is_sequence:
        fields, layers = _elements(node, octets)
        name += f": {_kind(node)}"
    elif node.error is None:
        fields = (("value", _value(node), *octets.span(node.offset, node.end)),)
    fields = tuple(sorted((*fields, *_oddities(node, octets)), key=lambda field: field[2]))
    return Layer(name=name, offset=offset, length=length, fields=fields, layers=layers, error=_error(node, octets))


def _oddities(node: Node, octets: Octets) -> list[Field]:
    """Each peculiarity once, where it is met first."""
    first = {each.oddity: each for each in reversed(list(node.walk())) if each.oddity}
    return [
        ("peculiarity", f"{oddity}, as this meter writes it", *octets.span(each.offset, each.end))
        for oddity, each in first.items()
    ]


def _error(node: Node, octets: Octets) -> str:
    error = first_error(node)
    if error is not None:
        return octets.say(error)
    left = len(octets.data) - node.end
    return f"{left} octets follow the data (at octet {octets.place(node.end)})" if left else ""


def _elements(node: Node, octets: Octets) -> tuple[tuple[Field, ...], tuple[Layer, ...]]:
    """The elements of a sequence: those of one line as fields, the others as layers."""
    fields: list[Field] = []
    layers: list[Layer] = []
    for index, child in enumerate(node.children):
        span = octets.span(child.offset, child.end)
        if not child.is_sequence or _fits_one_line(child):
            if child.error is None:
                fields.append((f"[{index}]", _value(child), *span))
            continue
        inner, deeper = _elements(child, octets)
        layers.append(
            Layer(name=f"[{index}] {_kind(child)}", offset=span[0], length=span[1], fields=inner, layers=deeper)
        )
    return tuple(fields), tuple(layers)


def _fits_one_line(node: Node) -> bool:
    if len(node.children) > _IN_ONE_LINE:
        return False
    below = list(node.walk())
    return sum(not each.is_sequence for each in below) <= _IN_ONE_LINE and not any(each.error for each in below)


def _kind(node: Node) -> str:
    return f"{node.tag.name.lower() if node.tag else 'data'} of {len(node.children)}"


def _value(node: Node) -> str:
    """A value of one line with its type."""
    if node.descriptor is not None:
        return leaf_text(node)
    if not node.is_sequence:
        kind = type_name(node.tag) if node.tag is not None else "data"
        return kind if node.value is None else f"{kind} {leaf_text(node)}"
    return _row(node)


def _row(node: Node) -> str:
    if is_scaler_unit(node):
        return "{" + scaler_unit_text(node) + "}"
    return "{" + ", ".join(_row(child) if child.is_sequence else leaf_text(child) for child in node.children) + "}"

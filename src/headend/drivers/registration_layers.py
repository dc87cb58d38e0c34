"""Logins, heartbeats and their acknowledgements in words, and the frames between them. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from headend.drivers.base import Layer
from headend.drivers.heartbeats import frame_length
from headend.errors import DecodeError
from headend.protocols.dlms.delimiting import FIRST_OCTETS, MAX_APDU, Delimiter
from headend.protocols.frame_layout import Check, Field, Found, Layout, Length, find, first_octets, to_text
from headend.protocols.registration import FrameForm, Registered, Registration
from headend.protocols.wrapper import HEADER_LENGTH

_AT: Final = re.compile(r"at octet (\d+)")
_WHO: Final = {"number": "number", "device": "sent by"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Octets from one offset to another; None for `layer` where they are no login, heartbeat or acknowledgement."""

    start: int
    end: int
    layer: Layer | None


@dataclass(frozen=True, slots=True)
class _Shape:
    """A frame that may stand somewhere; `acknowledges` where it is what a head-end says."""

    registration: Registration
    form: FrameForm
    layout: Layout
    acknowledges: bool
    firsts: frozenset[int]


def explain_mixed(
    data: bytes, registrations: Iterable[Registration], explain: Callable[[bytes], tuple[str, Layer]]
) -> tuple[str, Layer] | None:
    """Name of the protocol and explanation of octets with logins or heartbeats in them; None where there are none.

    `explain` is asked for what stands between them, as one stream.
    """
    pieces = list(_pieces(data, _shapes(registrations)))
    said = [piece.layer for piece in pieces if piece.layer is not None]
    if not said:
        return None
    others = [piece for piece in pieces if piece.layer is None]
    if not others:
        return "", said[0] if len(said) == 1 else _whole(data, said, "")
    places = _Places(others)
    name, layer = explain(b"".join(data[piece.start : piece.end] for piece in others))
    moved = _relocate(layer, places)
    inner = moved.layers if moved.layers and not moved.fields else [replace(moved, error="")]
    return name, _whole(data, [*said, *inner], moved.error)


def _whole(data: bytes, layers: Iterable[Layer], error: str) -> Layer:
    layers = sorted(layers, key=lambda each: each.offset)
    return Layer(name="logins, heartbeats and frames", offset=0, length=len(data), layers=layers, error=error)


def explain_opening(data: bytes, registrations: Iterable[Registration]) -> Layer | None:
    """What octets say that are the first and only ones on a connection."""
    for registration in registrations:
        for form in registration.frames:
            found = find(form.layout, data, silent=True)
            if isinstance(found, Found) and found.end == len(data):
                return _form_layer(registration, form, data, found)
    return None


def _shapes(registrations: Iterable[Registration]) -> list[_Shape]:
    shapes: list[_Shape] = []
    for registration in registrations:
        for form in registration.frames:
            if form.opening or form.alone:
                continue
            shapes.append(_Shape(registration, form, form.layout, False, first_octets(form.layout)))  # noqa: FBT003
            answer = form.acknowledgement
            if answer is not None:
                shapes.append(_Shape(registration, form, answer, True, first_octets(answer)))  # noqa: FBT003
    return shapes


def _pieces(data: bytes, shapes: Sequence[_Shape]) -> Iterator[_Piece]:
    at = 0
    while at < len(data):
        layer = _layer_at(data, at, shapes)
        end = at + (layer.length if layer is not None else _length(data, at))
        yield _Piece(at, end, layer)
        at = end


def _length(data: bytes, at: int) -> int:
    """Octets of what begins at an offset and is no login or heartbeat: all the rest where that cannot be told."""
    length: int | None
    if data[at] in FIRST_OCTETS:
        try:
            length = Delimiter().find_end(data[at : at + MAX_APDU])
        except DecodeError:
            length = None
    else:
        length = frame_length(data, at)
    return min(length or len(data), len(data) - at)


def _layer_at(data: bytes, at: int, shapes: Iterable[_Shape]) -> Layer | None:
    """The login, heartbeat or acknowledgement that begins at an offset."""
    for shape in shapes:
        found = find(shape.layout, data, at, silent=True) if data[at] in shape.firsts else None
        if isinstance(found, Found):
            if not shape.acknowledges:
                return _form_layer(shape.registration, shape.form, data, found)
            name = f"acknowledgement of a {shape.form.kind.value} ({shape.registration.name})"
            return _layer(name, shape.layout, data, found)
    return None


def _form_layer(registration: Registration, form: FrameForm, data: bytes, found: Found) -> Layer:
    layer = _layer(f"{form.kind.value} ({registration.name})", form.layout, data, found)
    said = registration.match(data[: found.end], found.start, silent=True)
    if not isinstance(said, Registered):
        return layer
    if not said.answer:
        state = "none is known"
    elif said.acknowledgement:
        state = said.acknowledgement.hex(" ")
    else:
        state = f"none, by the rule {registration.policy.value}"
    fields = [*layer.fields, ("acknowledgement", state, found.end - 1, 0)]
    if said.blank:
        fields.append(("identity", "none: nobody has set the number", found.end - 1, 0))
    return replace(layer, fields=fields)


def _layer(name: str, layout: Layout, data: bytes, found: Found) -> Layer:
    """The parts of a frame by their names."""
    fields: list[tuple[str, str, int, int]] = []
    at = found.start
    error = ""
    if layout.wrapped is not None:
        fields += [
            ("source wPort", str(found.ports[0]), at + 2, 2),
            ("destination wPort", str(found.ports[1]), at + 4, 2),
            ("length", str(found.end - at - HEADER_LENGTH), at + 6, 2),
        ]
        at += HEADER_LENGTH
    for part in layout.parts:
        start = at
        if isinstance(part, bytes):
            at += len(part)
            text = (
                part.decode("ascii") if part.isascii() and part.decode("ascii").isprintable() and len(part) > 2 else ""
            )
            fields.append(("octets", text or part.hex(" ").upper(), start, len(part)))
        elif isinstance(part, Field):
            at = found.fields[part.name][1]
            fields.append((_WHO.get(part.name, part.name), to_text(part, data[start:at]), start, at - start))
        elif isinstance(part, Length):
            at += 1
            fields.append(("length of the number", str(data[start]), start, 1))
        elif isinstance(part, Check):
            at += part.size
            said = data[start:at].hex(" ").upper()
            fields.append(("check octets", f"{said} ({'right' if found.check_ok else 'wrong'})", start, part.size))
            if not found.check_ok:
                error = f"check octets wrong (at octet {start}, got {said})"
    return Layer(name=name, offset=found.start, length=found.end - found.start, fields=fields, error=error)


class _Places:
    """Where the octets of several pieces, put together, stood."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._starts = [0, *accumulate(piece.end - piece.start for piece in pieces)]
        self._pieces = pieces

    def place(self, at: int) -> int:
        """The offset of one octet."""
        index = min(max(0, bisect_right(self._starts, at) - 1), len(self._pieces) - 1)
        return self._pieces[index].start + at - self._starts[index]


def _relocate(layer: Layer, places: _Places) -> Layer:
    """The layer of octets out of several pieces, with the places where they stood."""
    start = places.place(layer.offset)
    end = places.place(layer.offset + layer.length - 1) + 1 if layer.length else start
    return replace(
        layer,
        offset=start,
        length=end - start,
        fields=[(name, value, places.place(at), size) for name, value, at, size in layer.fields],
        layers=[_relocate(each, places) for each in layer.layers],
        error=_AT.sub(lambda match: f"at octet {places.place(int(match[1]))}", layer.error),
    )

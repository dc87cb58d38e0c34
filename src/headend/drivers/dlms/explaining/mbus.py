"""Long frames of wired M-Bus octet by octet (EN 13757-2; IEC 62056-7-3), and the APDUs that they carry. Pure."""

from __future__ import annotations

from collections.abc import Callable

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.scribe import Octets
from headend.drivers.dlms.explaining.stream import Stream, payload_layer
from headend.drivers.dlms.explaining.words import hex_text
from headend.protocols.mbus import BROADCAST, RSP_UD, SND_UD, START, STOP

_HEADER = 4
_OVERHEAD = 5
_WRAPPED = {0: 256, 1: 257}
"""Lengths that do not fit their octet."""
_LAST = 0x10
_TRANSPORT = 0x1F
"""Highest control information that counts parts of an APDU."""
_CONTROLS = {SND_UD: "SND-UD, from the master or a push", RSP_UD: "RSP-UD, an answer"}


def is_mbus(data: bytes) -> bool:
    """True when a long frame may begin so."""
    return len(data) >= _HEADER and data[0] == data[3] == START and data[1] == data[2]


def explain_mbus(data: bytes, dialogue: Dialogue) -> Layer:
    """All frames of the input; what is between them is told."""
    octets = Octets.whole(data)
    stream = Stream(dialogue)
    parts: list[Octets] = []
    at = 0
    while at < len(data):
        if not is_mbus(data[at : at + _HEADER]):
            start, at = at, _next_start(data, at)
            fields = (("octets", hex_text(data[start:at]), start, at - start),)
            error = f"{at - start} octets are no frame (at octet {start}, expected 68 L L 68)"
            stream.layers.append(Layer(name="skipped", offset=start, length=at - start, fields=fields, error=error))
            continue
        at = _frame(octets, at, stream, parts)
    if parts:
        stream.problems.append(f"the APDU is incomplete: more frames were announced (at octet {len(data)})")
        _put_together(parts, stream)
    return stream.finish("M-Bus (EN 13757-2)", len(data))


def _next_start(data: bytes, at: int) -> int:
    """Where the next frame may begin, or the end."""
    while at < len(data):
        at = data.find(START, at + 1)
        if at < 0:
            break
        if is_mbus(data[at : at + _HEADER]):
            return at
    return len(data)


def _frame(octets: Octets, start: int, stream: Stream, parts: list[Octets]) -> int:
    """One frame; returns the offset after it. Its part of an APDU joins `parts`, which the last one empties."""
    data = octets.data
    length = _WRAPPED.get(data[start + 1], data[start + 1])
    body, end = start + _HEADER, start + _HEADER + length
    stop = min(end + 2, len(data))
    fields = [("length", str(length), start + 1, 2), *_address_fields(data[body:end], body)]
    error = _problem(data, body, end)
    if not error.startswith("the frame is cut"):
        fields.append(("checksum", f"{data[end]:02X} ({'wrong' if error else 'right'})", end, 1))
    name = "M-Bus long frame (EN 13757-2)"
    part = octets.part(body + _OVERHEAD, min(end, len(data)))
    transport = data[body + 2] if body + 2 < len(data) else 0xFF
    if data[start + 1] in _WRAPPED:
        wrapped = f"a frame of {length} octets, whose length does not fit the octet that tells it"
        fields.append(("peculiarity", wrapped, start + 1, 2))
    layers: tuple[Layer, ...] = ()
    if transport <= _TRANSPORT and part.data:
        span = part.span(0, len(part.data))
        fields.append(("part of the APDU", f"{len(part.data)} octets", *span))
        if transport & ~_LAST == 0 and parts:
            stream.problems.append(f"the APDU is incomplete: another one begins (at octet {start})")
            _put_together(parts, stream)
        parts.append(part)
        if not transport & _LAST and len(parts) == 1:
            fields.append(("peculiarity", "an APDU in several frames: the control information counts them", *span))
        if transport & _LAST and len(parts) == 1:
            layers = (payload_layer(part, stream.dialogue),)
    fields.sort(key=lambda field: field[2])
    stream.layers.append(
        Layer(name=name, offset=start, length=stop - start, fields=tuple(fields), layers=layers, error=error)
    )
    if transport <= _TRANSPORT and transport & _LAST:
        if not layers:
            _put_together(parts, stream)
        else:
            stream.joined(parts[0])
        parts.clear()
    return stop


def _put_together(parts: list[Octets], stream: Stream) -> None:
    whole = Octets.join(parts)
    parts.clear()
    if not whole.data:
        return
    offset, length = whole.span(0, len(whole.data))
    inner = (payload_layer(whole, stream.dialogue),)
    stream.layers.append(Layer(name="put together from frames", offset=offset, length=length, layers=inner))
    stream.joined(whole)


def _address_fields(body: bytes, at: int) -> list[tuple[str, str, int, int]]:
    """Control to destination, as far as they are there."""
    shows: tuple[tuple[str, Callable[[int], str]], ...] = (
        ("control", lambda value: f"{value:02X} ({_CONTROLS.get(value, 'other')})"),
        ("address", lambda value: f"{value} (everybody)" if value == BROADCAST else str(value)),
        ("control information", _transport_text),
        ("source SAP", str),
        ("destination SAP", str),
    )
    return [
        (name, show(value), at + index, 1) for index, ((name, show), value) in enumerate(zip(shows, body, strict=False))
    ]


def _transport_text(value: int) -> str:
    if value > _TRANSPORT:
        return f"{value:02X} (no part of an APDU)"
    return f"{value:02X} (part {value & 0x0F} of an APDU{', the last' if value & _LAST else ''})"


def _problem(data: bytes, body: int, end: int) -> str:
    if end + 2 > len(data):
        told, there = end + 2 - body + _HEADER, len(data) - body + _HEADER
        return f"the frame is cut short: {told} octets are told, {there} are there (at octet {len(data)})"
    calculated = sum(data[body:end]) & 0xFF
    if calculated != data[end]:
        return f"checksum wrong (at octet {end}, expected {calculated:02X}, got {data[end]:02X})"
    if data[end + 1] != STOP:
        return f"no stop octet (at octet {end + 1}, expected 16, got {data[end + 1]:02X})"
    return ""

"""Any octets of Modbus in words: MBAP and RTU frames, one or many, or a bare PDU. Pure.

Answers do not say which registers they hold; where the question stands before its answer in the input, they are named.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from headend.drivers.base import Layer
from headend.drivers.modbus.recognising import MBAP_HEADER, is_mbap, rtu_size
from headend.errors import RemoteProtocolError
from headend.protocols.base import Role
from headend.protocols.modbus import pdu as pdus
from headend.protocols.modbus.framing import crc16, rtu_length

_Field: TypeAlias = tuple[str, str, int, int]
_Message: TypeAlias = pdus.Request | pdus.Response | pdus.InvalidRequest

_BITS: Final = frozenset({pdus.Function.READ_COILS, pdus.Function.READ_DISCRETE_INPUTS})
_PLAUSIBLE: Final = (1e-6, 1e12)
"""Amounts between which registers may hold a float."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame from `start` up to `end`; its PDU lies from `pdu_start` up to `pdu_end`. `pair` tells which answer is whose."""

    name: str
    start: int
    end: int
    pdu_start: int
    pdu_end: int
    pair: int
    fields: tuple[_Field, ...]
    error: str = ""


def explain(data: bytes) -> Layer:
    """Decode frames (MBAP, RTU), or a bare PDU; what is malformed ends in a layer with `error` set."""
    asked: dict[tuple[int, int], pdus.Request] = {}
    layers: list[Layer] = []
    at = 0
    while at < len(data) and (frame := _next_frame(data, at)) is not None:
        layers.append(_layer(frame, data, asked))
        at = frame.end
    if not layers:
        pdu = _pdu_layer(data, 0, None)
        known = len(data) > 0 and not pdu.error
        error = "" if known else "neither MBAP nor RTU with a correct CRC, nor a PDU (at octet 0)"
        return pdu if known else Layer(name="Modbus", offset=0, length=len(data), error=error)
    error = f"{len(data) - at} octets follow the frame (at octet {at})" if at < len(data) else ""
    if len(layers) > 1:
        return Layer(name="Modbus", offset=0, length=len(data), layers=tuple(layers), error=error)
    return replace(layers[0], error=error) if error and not layers[0].error else layers[0]


def _next_frame(data: bytes, at: int) -> _Frame | None:
    """The frame at `at`: RTU when its CRC is right, MBAP when it looks like one, RTU with a wrong CRC as the last resort."""
    rest = data[at:]
    size = rtu_size(rest)
    if size:
        return _rtu(data, at, size)
    if len(rest) > MBAP_HEADER and is_mbap(rest):
        return _mbap(data, at)
    lengths = {rtu_length(rest, 0, sender) for sender in Role}
    damaged = len(rest) if len(rest) in lengths and len(rest) >= 5 else 0
    return _rtu(data, at, damaged) if damaged else None


def _mbap(data: bytes, at: int) -> _Frame:
    told = int.from_bytes(data[at + 4 : at + 6], "big")
    end = min(at + 6 + told, len(data))
    fields = (
        ("transaction id", f"0x{data[at : at + 2].hex().upper()}", at, 2),
        ("protocol id", f"{data[at + 2 : at + 4].hex()} (Modbus)", at + 2, 2),
        ("length", str(told), at + 4, 2),
        ("unit id", str(data[at + 6]), at + 6, 1),
    )
    left = end - at - 6
    error = "" if left == told else f"the header tells {told} octets, {left} are there (at octet {end})"
    name = "MBAP (Modbus messaging on TCP/IP, 3.1.3)"
    return _Frame(name, at, end, at + MBAP_HEADER, end, int.from_bytes(data[at : at + 2], "big"), fields, error)


def _rtu(data: bytes, at: int, size: int) -> _Frame:
    end = at + size
    calculated = crc16(data[at : end - 2])
    got = int.from_bytes(data[end - 2 : end], "little")
    right = calculated == got
    fields = (
        ("unit id", "0 (broadcast)" if data[at] == 0 else str(data[at]), at, 1),
        ("CRC", f"0x{got:04X} ({'right' if right else 'wrong'})", end - 2, 2),
    )
    error = "" if right else f"CRC wrong (at octet {end - 2}, expected {calculated:04X}, got {got:04X})"
    return _Frame("RTU (Modbus over serial line, 2.5.1)", at, end, at + 1, end - 2, data[at], fields, error)


def _layer(frame: _Frame, data: bytes, asked: dict[tuple[int, int], pdus.Request]) -> Layer:
    """A frame, and its PDU as an answer where the same function was asked before."""
    pdu = data[frame.pdu_start : frame.pdu_end]
    key = (frame.pair, pdu[0] & 0x7F if pdu else 0)
    request = asked.pop(key, None)
    layer = _pdu_layer(pdu, frame.pdu_start, request)
    if pdu and pdu[0] < 0x80 and (request is None or "request" in layer.name):
        message = pdus.decode_request(pdu)
        if not isinstance(message, pdus.InvalidRequest):
            asked[key] = message
    size = frame.end - frame.start
    return Layer(
        name=frame.name, offset=frame.start, length=size, fields=frame.fields, layers=(layer,), error=frame.error
    )


def _pdu_layer(pdu: bytes, offset: int, request: pdus.Request | None) -> Layer:
    """One PDU. Requests and responses look alike now and then; what was not asked before is shown as a request."""
    try:
        message = _decode(pdu, answers=request is not None)
        fields = [("function", f"0x{pdu[0]:02X} ({_function(pdu)})", 0, 1), *_content(message, request)]
    except RemoteProtocolError as error:
        place = f"at octet {offset + (error.offset or 0)}"
        text = str(error)
        told = text.replace(f"at octet {error.offset}", place, 1) if error.offset is not None else f"{text} ({place})"
        return Layer(name=_name(pdu, ""), offset=offset, length=len(pdu), error=told)
    answers = not isinstance(message, pdus.Request) or (request is not None and isinstance(message, pdus.Response))
    kind = "response" if answers else "request"
    shown = tuple((name, value, offset + at, size) for name, value, at, size in fields)
    return Layer(name=_name(pdu, kind), offset=offset, length=len(pdu), fields=shown)


def _decode(pdu: bytes, *, answers: bool) -> _Message:
    """What was asked is answered, or asked again."""
    message = pdus.decode_request(pdu) if pdu and pdu[0] < 0x80 else pdus.InvalidRequest(0, 0)
    if not answers and not isinstance(message, pdus.InvalidRequest):
        return message
    try:
        return pdus.decode_response(pdu)
    except RemoteProtocolError:
        if isinstance(message, pdus.InvalidRequest):
            raise
        return message


def _name(pdu: bytes, kind: str) -> str:
    words = " ".join(each for each in ("PDU", _function(pdu), kind) if each)
    return f"{words} (Modbus application protocol, 6)" if kind else words


def _function(pdu: bytes) -> str:
    try:
        return pdus.Function(pdu[0] & 0x7F).name.lower().replace("_", " ") if pdu else ""
    except ValueError:
        return ""


def _content(message: _Message, request: pdus.Request | None) -> Iterator[_Field]:
    match message:
        case pdus.ReadRequest(_, address, count) | pdus.WriteMultipleResponse(_, address, count):
            yield from _range(address, count)
        case pdus.WriteSingle(_, address, value):
            yield from (("address", _place(address), 1, 2), ("value", f"0x{value:04X} ({value})", 3, 2))
        case pdus.WriteMultiple(function, address, count, octets):
            yield from _range(address, count)
            yield ("byte count", str(len(octets)), 5, 1)
            yield from _values(function, octets, 6, address)
        case pdus.ReadResponse(function, octets):
            yield ("byte count", str(len(octets)), 1, 1)
            yield from _values(function, octets, 2, request.address if isinstance(request, pdus.ReadRequest) else None)
        case pdus.ServerIdResponse(octets):
            yield ("byte count", str(len(octets)), 1, 1)
            yield ("data", octets.hex(" ", 2), 2, len(octets))
        case pdus.ReadDeviceIdentification(category, object_id):
            yield from (("category", str(category), 2, 1), ("object id", str(object_id), 3, 1))
        case pdus.DeviceIdentificationResponse():
            yield from _identification(message)
        case pdus.ExceptionResponse():
            yield ("exception", f"0x{message.code:02X} ({message.name})", 1, 1)


def _range(address: int, count: int) -> Iterator[_Field]:
    last = f" to {_place(address + count - 1)}" if count > 1 else ""
    yield ("address", f"{_place(address)}{last}", 1, 2)
    yield ("count", str(count), 3, 2)


def _place(address: int) -> str:
    return f"0x{address:04X} ({address})"


def _values(function: int, octets: bytes, at: int, address: int | None) -> Iterator[_Field]:
    """Bits or registers, and what pairs of registers are as floats where they may be some."""
    if function in _BITS or function == pdus.Function.WRITE_MULTIPLE_COILS or len(octets) % 2:
        bits = "".join(f"{octet:08b}"[::-1] for octet in octets)
        yield ("bits", f"{bits} (first one first)", at, len(octets))
        return
    for index in range(0, len(octets), 2):
        value = int.from_bytes(octets[index : index + 2], "big")
        name = f"[{index // 2}]" if address is None else f"register {_place(address + index // 2)}"
        yield (name, f"0x{value:04X} ({value})", at + index, 2)
    floats = [value for (value,) in struct.iter_unpack(">f", octets)] if octets and len(octets) % 4 == 0 else []
    if floats and all(map(_may_be_amount, floats)) and any(floats):
        yield ("as float32, high word first", ", ".join(f"{value:.7g}" for value in floats), at, len(octets))


def _may_be_amount(value: float) -> bool:
    low, high = _PLAUSIBLE
    return value == 0 or (math.isfinite(value) and low <= abs(value) <= high)


def _identification(message: pdus.DeviceIdentificationResponse) -> Iterator[_Field]:
    yield ("category", str(message.category), 2, 1)
    yield ("conformity", f"0x{message.conformity:02X}", 3, 1)
    yield ("more follows", "yes" if message.more_follows else "no", 4, 1)
    at = 7
    for object_id, text in message.objects:
        yield (f"object {object_id}", text.decode("latin-1"), at + 2, len(text))
        at += 2 + len(text)

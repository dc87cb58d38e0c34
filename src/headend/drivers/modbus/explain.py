"""Telling Modbus framings apart, and any frame layer by layer. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from headend.drivers.base import Layer
from headend.errors import HeadendError
from headend.protocols.base import NEED_DATA, NeedData, Role
from headend.protocols.modbus import pdu as pdus
from headend.protocols.modbus.framing import MAX_PDU, crc16, rtu_length

_Field: TypeAlias = tuple[str, str, int, int]


def recognise(data: bytes) -> str | NeedData:
    """`tcp` for MBAP, `rtu` for RTU with a correct CRC, empty for neither, NEED_DATA while that cannot be told."""
    if _rtu_size(data):
        return "rtu"
    length = int.from_bytes(data[4:6], "big") if len(data) >= 6 else 2
    plausible = not any(data[2:4]) and 2 <= length <= MAX_PDU + 1
    if plausible and len(data) >= 8:
        plausible = 0 < data[7] & 0x7F <= pdus.Function.ENCAPSULATED_INTERFACE
        if plausible and len(data) >= 6 + length:
            return "tcp"
    return NEED_DATA if plausible or any(rtu_length(data, 0, sender) > len(data) for sender in Role) else ""


def _rtu_size(data: bytes) -> int:
    """Octets of the complete RTU frame with correct CRC that starts here; 0 when there is none."""
    for sender in Role:
        length = rtu_length(data, 0, sender)
        if 0 < length <= len(data) and crc16(data[:length]) == 0:
            return length
    return 0


def explain(data: bytes) -> Layer:
    """Decode a frame (MBAP, RTU, or a bare PDU); what is malformed ends in a layer with `error` set."""
    framing = recognise(data)
    if framing == "tcp":
        size = 6 + int.from_bytes(data[4:6], "big")
        fields = [
            ("transaction id", f"0x{data[:2].hex().upper()}", 0, 2),
            ("protocol id", data[2:4].hex(), 2, 2),
            ("length", str(size - 6), 4, 2),
            ("unit id", str(data[6]), 6, 1),
        ]
        return _frame("MBAP", data, size, fields, (7, size))
    if framing == "rtu":
        size = _rtu_size(data)
        crc = f"0x{int.from_bytes(data[size - 2 : size], 'little'):04X}"
        fields = [("unit id", str(data[0]), 0, 1), ("crc", crc, size - 2, 2)]
        return _frame("RTU", data, size, fields, (1, size - 2))
    layer = _explain_pdu(data, 0)
    if not layer.error:
        return layer
    return Layer(name="Modbus", offset=0, length=len(data), error="neither MBAP nor RTU with a correct CRC, nor a PDU")


def _frame(name: str, data: bytes, size: int, fields: Sequence[_Field], pdu: tuple[int, int]) -> Layer:
    start, end = pdu
    return Layer(
        name=name,
        offset=0,
        length=size,
        fields=fields,
        layers=(_explain_pdu(data[start:end], start),),
        error=f"{len(data) - size} octets follow the frame" if len(data) > size else "",
    )


def _explain_pdu(data: bytes, offset: int) -> Layer:
    """One PDU. Requests and responses look alike now and then; what fits a request is shown as one."""
    name = _name(data)
    try:
        fields = _fields(data, offset)
    except HeadendError as error:
        return Layer(name=name, offset=offset, length=len(data), error=str(error))
    return Layer(name=name, offset=offset, length=len(data), fields=fields)


def _name(data: bytes) -> str:
    try:
        return f"PDU {pdus.Function(data[0] & 0x7F).name.lower().replace('_', ' ')}" if data else "PDU"
    except ValueError:
        return "PDU"


def _fields(data: bytes, offset: int) -> list[_Field]:
    message: pdus.Request | pdus.Response | pdus.InvalidRequest
    message = pdus.InvalidRequest(0, 0)
    if data and data[0] < 0x80:
        message = pdus.decode_request(data)
    if isinstance(message, pdus.InvalidRequest):
        message = pdus.decode_response(data)
    first = ("function", f"0x{data[0]:02X}", offset, 1)
    return [first, *((name, value, offset + at, size) for name, value, at, size in _content(message))]


def _content(message: pdus.Request | pdus.Response) -> Iterator[_Field]:
    match message:
        case pdus.ReadRequest(_, address, count) | pdus.WriteMultipleResponse(_, address, count):
            yield from (("address", f"0x{address:04X}", 1, 2), ("count", str(count), 3, 2))
        case pdus.WriteSingle(_, address, value):
            yield from (("address", f"0x{address:04X}", 1, 2), ("value", f"0x{value:04X}", 3, 2))
        case pdus.WriteMultiple(_, address, count, octets):
            yield from (("address", f"0x{address:04X}", 1, 2), ("count", str(count), 3, 2))
            yield from (("byte count", str(len(octets)), 5, 1), ("data", octets.hex(" ", 2), 6, len(octets)))
        case pdus.ReadResponse(_, octets) | pdus.ServerIdResponse(octets):
            yield from (("byte count", str(len(octets)), 1, 1), ("data", octets.hex(" ", 2), 2, len(octets)))
        case pdus.ReadDeviceIdentification(category, object_id):
            yield from (("category", str(category), 2, 1), ("object id", str(object_id), 3, 1))
        case pdus.DeviceIdentificationResponse():
            yield from _identification(message)
        case pdus.ExceptionResponse():
            yield ("exception", f"0x{message.code:02X} {message.name}", 1, 1)


def _identification(message: pdus.DeviceIdentificationResponse) -> Iterator[_Field]:
    yield ("category", str(message.category), 2, 1)
    yield ("conformity", f"0x{message.conformity:02X}", 3, 1)
    yield ("more follows", "yes" if message.more_follows else "no", 4, 1)
    at = 7
    for object_id, text in message.objects:
        yield (f"object {object_id}", text.decode("latin-1"), at + 2, len(text))
        at += 2 + len(text)

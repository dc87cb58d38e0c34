"""Recognising DLMS in the first octets of a link, and taking any frame apart, layer by layer. Pure."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from headend.drivers.base import Layer, Sniff
from headend.errors import DecodeError, HeadendError
from headend.protocols.base import NEED_DATA
from headend.protocols.dlms.acse import Aare, Aarq
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor, MethodDescriptor
from headend.protocols.dlms.apdu.get import GetResponseNormal
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import SetRequestNormal
from headend.protocols.dlms.apdu.table import DECODERS, decode_apdu
from headend.protocols.dlms.association import request_from_aarq, response_from_aare
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.clock import CosemDateTime
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import FLAG, Frame, Kind, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION
from headend.standards.cosem import find_class
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Iterator

_LLC: Final = (b"\xe6\xe6\x00", b"\xe6\xe7\x00")
_CIPHERED: Final = frozenset({*range(0xC8, 0xD0), *range(0xD0, 0xD8), 0xDB, 0xDC, 0xDD, 0xDF, 0xE0, 0x21, 0x28})
_LOGIN: Final = frozenset({0x0A, 0x0C})
"""First octets of the logins and heartbeats that some meters send in wrapper frames."""
_KNOWN_TAGS: Final = _CIPHERED | _LOGIN | frozenset(DECODERS)
_DATE_TIME_LENGTH: Final = 12


def sniff(first: bytes) -> Sniff:
    """Could an inbound link that begins so be DLMS?"""
    if first[:1] == bytes((FLAG,)):
        try:
            header = decode_header(first.lstrip(first[:1]))
        except HeadendError:
            return Sniff.NO
        return Sniff.NEED_DATA if header is None else Sniff.MATCH
    if first[:2] != VERSION[: len(first)]:
        return Sniff.NO
    if len(first) <= HEADER_LENGTH:
        return Sniff.NEED_DATA
    source, destination, length = (int.from_bytes(first[at : at + 2], "big") for at in (2, 4, 6))
    plausible = source and destination and length and first[HEADER_LENGTH] in _KNOWN_TAGS
    return Sniff.MATCH if plausible else Sniff.NO


def explain(data: bytes) -> Layer:
    """Take a wrapper frame, HDLC frames or a bare APDU apart."""
    if data[:1] == bytes((FLAG,)):
        return _explain_hdlc(data)
    if data[:2] == VERSION and len(data) > HEADER_LENGTH:
        return _explain_wrapper(data)
    return _explain_apdu(data, 0)


def _explain_wrapper(data: bytes) -> Layer:
    source, destination, length = (int.from_bytes(data[at : at + 2], "big") for at in (2, 4, 6))
    end = HEADER_LENGTH + length
    error = "" if len(data) == end else f"the header tells {length} octets, {len(data) - HEADER_LENGTH} follow"
    return Layer(
        name="wrapper",
        offset=0,
        length=len(data),
        fields=(
            ("version", "1", 0, 2),
            ("source wPort", str(source), 2, 2),
            ("destination wPort", str(destination), 4, 2),
            ("length", str(length), 6, 2),
        ),
        layers=(_explain_apdu(data[HEADER_LENGTH:end], HEADER_LENGTH),),
        error=error,
    )


def _explain_hdlc(data: bytes) -> Layer:
    """One layer for each frame; segments of one APDU are shown as they are."""
    extractor = FrameExtractor()
    extractor.receive_data(data)
    layers: list[Layer] = []
    offset, error = 0, ""
    while True:
        try:
            frame = extractor.next_frame()
        except HeadendError as problem:
            error = str(problem)
            break
        if frame is NEED_DATA:
            break
        layer = _explain_frame(frame, data, offset)
        layers.append(layer)
        offset = layer.offset + layer.length - 1
    if not layers and not error:
        error = "the frame is cut short"
    if len(layers) == 1 and not error:
        return layers[0]
    return Layer(name="HDLC", offset=0, length=len(data), layers=layers, error=error)


def _explain_frame(frame: Frame, data: bytes, offset: int) -> Layer:
    start = data.index(FLAG, offset)
    while data[start + 1 : start + 2] == bytes((FLAG,)):
        start += 1
    length = (int.from_bytes(data[start + 1 : start + 3], "big") & 0x7FF) + 2
    size = len(frame.information)
    at = start + length - 3 - size
    shown = [
        ("destination", _address(frame.destination.upper, frame.destination.lower), start + 3, 1),
        ("source", _address(frame.source.upper, frame.source.lower), start + 3, 1),
        ("control", _control(frame), start + 3, 1),
    ]
    layers: tuple[Layer, ...] = ()
    information = frame.information
    if information[:3] in _LLC:
        shown.append(("LLC", information[:3].hex(), at, 3))
        if not frame.segmented:
            layers = (_explain_apdu(information[3:], at + 3),)
    elif information:
        shown.append(("information", information.hex(), at, size))
    name = f"HDLC {frame.kind.name}" + (" (segment)" if frame.segmented else "")
    return Layer(name=name, offset=start, length=length, fields=shown, layers=layers)


def _address(upper: int, lower: int) -> str:
    return f"{upper}/{lower}" if lower else str(upper)


def _control(frame: Frame) -> str:
    numbers = f" N(S)={frame.send_sequence} N(R)={frame.receive_sequence}" if frame.kind is Kind.I else ""
    return f"{frame.kind.name}{numbers}{' P/F' if frame.final else ''}"


def _explain_apdu(apdu: bytes, offset: int) -> Layer:
    if apdu and apdu[0] in _CIPHERED:
        return Layer(name=f"ciphered APDU {apdu[0]:02X}", offset=offset, length=len(apdu), error="the key is needed")
    try:
        decoded: Any = decode_apdu(apdu)
        layers = tuple(_contents(decoded, apdu, offset))
    except HeadendError as error:
        return Layer(name="APDU", offset=offset, length=len(apdu), error=str(error))
    shown = tuple(
        (field.name.replace("_", " "), _text(getattr(decoded, field.name)), offset, len(apdu))
        for field in fields(decoded)
        if field.repr and not isinstance(getattr(decoded, field.name), bytes)
    )
    return Layer(name=type(decoded).__name__, offset=offset, length=len(apdu), fields=shown, layers=layers)


def _contents(decoded: object, apdu: bytes, offset: int) -> Iterator[Layer]:
    """What an APDU carries: data, or the initiate APDU of an association."""
    if isinstance(decoded, Aarq) and decoded.user_information and decoded.user_information[0] not in _CIPHERED:
        yield _initiate(request_from_aarq(decoded, None).initiate, decoded.user_information, apdu, offset)
    elif isinstance(decoded, Aare) and decoded.user_information and decoded.user_information[0] not in _CIPHERED:
        yield _initiate(response_from_aare(decoded, None).initiate, decoded.user_information, apdu, offset)
    elif isinstance(decoded, GetResponseNormal) and isinstance(decoded.result, bytes):
        yield _data(decoded.result, apdu, offset)
    elif isinstance(decoded, SetRequestNormal):
        yield _data(decoded.data, apdu, offset)
    elif isinstance(decoded, DataNotification):
        yield _data(decoded.body, apdu, offset)
    elif isinstance(decoded, EventNotification):
        yield _data(decoded.value, apdu, offset)


def _initiate(initiate: Any, octets: bytes, apdu: bytes, offset: int) -> Layer:  # noqa: ANN401 - one of three APDUs
    at = offset + apdu.rindex(octets)
    shown = tuple(
        (field.name.replace("_", " "), _text(getattr(initiate, field.name)), at, len(octets))
        for field in fields(initiate)
        if field.repr
    )
    return Layer(name=type(initiate).__name__, offset=at, length=len(octets), fields=shown)


def _data(octets: bytes, apdu: bytes, offset: int) -> Layer:
    """A-XDR data: the value, each element of a list in a line of its own."""
    at = offset + len(apdu) - len(octets)
    try:
        value, end = decode_data(octets)
    except DecodeError as problem:
        return Layer(name="data", offset=at, length=len(octets), error=str(problem))
    items = enumerate(value) if isinstance(value, list) else [("value", value)]
    shown = tuple((str(name), _text(item), at, len(octets)) for name, item in items)
    error = "" if end == len(octets) else f"{len(octets) - end} octets follow the data"
    return Layer(name="data", offset=at, length=len(octets), fields=shown, error=error)


def _member(descriptor: AttributeDescriptor | MethodDescriptor) -> str:
    """What the standard calls an attribute or a method; the version of the class is not told, so the newest is taken."""
    class_id, _, index = descriptor
    known = find_class(class_id)
    if known is None:
        return ""
    if isinstance(descriptor, AttributeDescriptor):
        attribute = known.attributes.get(index)
        member = attribute.name if attribute else ""
    else:
        member = known.methods.get(index, "")
    return f" ({known.name}{': ' if member else ''}{member})"


def _text(value: object) -> str:
    """A value for people."""
    if isinstance(value, AttributeDescriptor | MethodDescriptor):
        class_id, name, index = value
        return f"{class_id}/{Obis.from_bytes(name)}/{index}{_member(value)}"
    if isinstance(value, bytes):
        if len(value) == _DATE_TIME_LENGTH and value[0] in range(0x07, 0x09):
            return str(CosemDateTime.from_bytes(value))
        return f"{value.hex()} {value.decode()!r}" if value.isascii() and value.decode().isprintable() else value.hex()
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, Enum):
        return str(value.name).lower().replace("_", " ") if value.name else str(value.value)
    return str(value)

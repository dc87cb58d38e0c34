"""What the octets are: HDLC, wrapper, LLC, gateway, M-Bus, an APDU, or data alone. Pure."""

from __future__ import annotations

from headend.drivers.base import Layer, Secrets
from headend.drivers.dlms.explaining.apdu import explain_apdu
from headend.drivers.dlms.explaining.data import node_layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.hdlc import LLC, explain_hdlc, find_frames
from headend.drivers.dlms.explaining.mbus import explain_mbus, is_mbus
from headend.drivers.dlms.explaining.readings import readings_layer
from headend.drivers.dlms.explaining.scribe import Octets
from headend.drivers.dlms.explaining.stream import Stream, payload_layer, prefix_length
from headend.drivers.dlms.explaining.tags import APDU_NAMES
from headend.drivers.dlms.nodes import first_error, read_data
from headend.protocols.hdlc.frame import FLAG
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_PORTS = {0x01: "management", 0x10: "public client", 0x66: "push destination"}


def explain(data: bytes, secrets: Secrets | None = None) -> Layer:
    """Take any octets of DLMS apart; `secrets` are those that `dialogue.KEYS` names."""
    return explain_dialogue(data, Dialogue(secrets))


def explain_dialogue(data: bytes, dialogue: Dialogue) -> Layer:
    """The same for octets of one dialogue, which may tell more about itself than its keys."""
    octets = Octets.whole(data)
    if data[:1] == bytes((FLAG,)) or find_frames(data):
        return explain_hdlc(data, dialogue)
    if data[:2] == VERSION:
        return _explain_wrapper(octets, dialogue)
    if data[:3] in LLC:
        fields = (("LLC", LLC[data[:3]], 0, 3),)
        return Layer(
            name="LLC (IEC 62056-46, 5.3)",
            offset=0,
            length=len(data),
            fields=fields,
            layers=(payload_layer(octets.part(3), dialogue),),
        )
    if prefix_length(data):
        return payload_layer(octets, dialogue)
    return explain_mbus(data, dialogue) if is_mbus(data) else _bare(octets, dialogue)


def _explain_wrapper(octets: Octets, dialogue: Dialogue) -> Layer:
    """Messages of IEC 62056-47, one after the other."""
    stream = Stream(dialogue)
    at = 0
    while at < len(octets.data):
        if octets.data[at : at + 2] != VERSION:
            left = len(octets.data) - at
            stream.problems.append(f"{left} octets follow that are no wrapper message (at octet {at}, expected 0001)")
            break
        at = _message(octets, at, stream)
    return stream.finish("wrapper (IEC 62056-47)", len(octets.data))


def _message(octets: Octets, start: int, stream: Stream) -> int:
    """One message; returns the offset after it."""
    header = octets.data[start : start + HEADER_LENGTH]
    name = "wrapper (IEC 62056-47)"
    if len(header) < HEADER_LENGTH:
        error = f"the header is cut short (at octet {start}, expected {HEADER_LENGTH} octets, got {len(header)})"
        stream.layers.append(Layer(name=name, offset=start, length=len(header), error=error))
        return len(octets.data)
    source, destination, length = (int.from_bytes(header[at : at + 2], "big") for at in (2, 4, 6))
    begin, end = start + HEADER_LENGTH, start + HEADER_LENGTH + length
    there = min(end, len(octets.data))
    fields = (
        ("version", "1", start, 2),
        ("source wPort", _port(source), start + 2, 2),
        ("destination wPort", _port(destination), start + 4, 2),
        ("length", str(length), start + 6, 2),
    )
    apdu = octets.part(begin, there)
    layers = (payload_layer(apdu, stream.dialogue),) if apdu.data else ()
    error = "" if there == end else f"the header tells {length} octets, {there - begin} follow (at octet {there})"
    if not length:
        error = f"the message is empty (at octet {start + 6})"
    stream.layers.append(
        Layer(name=name, offset=start, length=there - start, fields=fields, layers=layers, error=error)
    )
    stream.joined(apdu)
    return end


def _port(number: int) -> str:
    name = _PORTS.get(number)
    return f"{number} ({name})" if name else str(number)


def _bare(octets: Octets, dialogue: Dialogue) -> Layer:
    """An APDU without framing, or data without an APDU."""
    data = octets.data
    if not data:
        return Layer(name="DLMS", offset=0, length=0, error="no octets (at octet 0)")
    apdu = explain_apdu(octets, dialogue) if data[0] in APDU_NAMES else None
    if apdu is not None and not has_error(apdu):
        return apdu
    node = read_data(data)
    if first_error(node) is None and node.end == len(data):
        layer = node_layer(node, octets)
        readings = readings_layer(node, octets)
        if not readings:
            return layer
        return Layer(name="DLMS", offset=0, length=len(data), layers=(layer, *readings))
    if apdu is not None:
        return apdu
    if node.is_sequence and node.children and node.children[0].error is None:
        return node_layer(node, octets)
    error = f"neither an HDLC frame, a wrapper message, an APDU nor data (at octet 0, got {data[0]:02X})"
    return Layer(name="DLMS", offset=0, length=len(data), error=error)


def has_error(layer: Layer) -> bool:
    """True when anything is wrong in a layer or below it."""
    return bool(layer.error) or any(map(has_error, layer.layers))

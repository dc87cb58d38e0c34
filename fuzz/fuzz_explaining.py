"""What `headend decode` says of any octets: layers that lie inside the input, and an error where something is wrong.

The same octets are translated to XML, which anybody's parser must read. First octet: bit 7 with keys; bits 0-6 what is made of
the rest: 0 nothing, 1 a wrapper message, 2 an HDLC UI frame with right check sequences, 3 M-Bus
frames, 4 a gateway prefix before an APDU, 5 APDUs in several messages of a stream, each after its length.
"""

from __future__ import annotations

import contextlib
from xml.etree import ElementTree as ET

import harness

with harness.instrumented(
    "headend.drivers.dlms.explaining", "headend.drivers.dlms.nodes", "headend.drivers.dlms.translating"
):
    from headend.drivers.base import NO_SECRETS, Layer
    from headend.drivers.dlms.explaining import explain
    from headend.drivers.dlms.translating import translate
    from headend.errors import DecodeError
    from headend.model.meter import Secret
    from headend.protocols.hdlc import Address
    from headend.protocols.hdlc.frame import build_frame
    from headend.protocols.mbus import MAX_APDU, encode_apdu
    from headend.protocols.wrapper import wrap

TO_CLIENT = Address.client(0x10).encode() + Address.server(1).encode()
UI = 0x13
KEYS = {"ek": Secret(bytes(range(16))), "ak": Secret(bytes(range(0xD0, 0xE0)))}
MOST_LAYERS = 64
"""For each octet of the input: what one octet may at most be told of."""


def framed(choice: int, data: bytes) -> bytes:
    """The octets in the frame that is chosen."""
    if choice == 1:
        return wrap(data, 1, 16)
    if choice == 2:
        return build_frame(TO_CLIENT, UI, b"\xe6\xe7\x00" + data[:2000])
    if choice == 3:
        return encode_apdu(data[:MAX_APDU], 1, 0x67)
    if choice == 4:
        return wrap(b"\xe6\x00\x01\x05" + data, 16, 1)
    messages, at = b"", 0
    while at < len(data):
        apdu = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        messages += wrap(apdu, 1, 16) if apdu else b""
    return messages


def check(layer: Layer, start: int, end: int) -> int:
    """Every layer and field lies inside the one around it, and has a name; returns how many there are."""
    assert layer.name
    assert start <= layer.offset <= layer.offset + layer.length <= end, layer
    inside = layer.offset + layer.length
    for name, _, offset, length in layer.fields:
        assert name
        assert layer.offset <= offset <= offset + length <= inside, layer
    return 1 + len(layer.fields) + sum(check(inner, layer.offset, inside) for inner in layer.layers)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice, rest = (data[0] & 0x7F) % 6, data[1:]
    secrets = KEYS if data[0] & 0x80 else NO_SECRETS
    octets = framed(choice, rest) if choice and rest else rest
    layer = explain(octets, secrets)
    told = check(layer, 0, len(octets))
    assert told <= MOST_LAYERS * (len(octets) + 1)
    with contextlib.suppress(DecodeError):
        ET.fromstring(translate(octets, secrets))  # noqa: S314 - what we have written ourselves


if __name__ == "__main__":
    harness.fuzz("explaining", one_input)

"""Captured traffic: files of any kind, and conversations whose segments come in any order.

First octet: 0 a file as it is; 1 a pcap of TCP segments, 2 of UDP datagrams, each made of a step: an octet (bit 7 from the
server, bit 6 a SYN, bit 5 a FIN, bits 0-4 how far the segment lies from where it should), a length, and as many octets.
"""

from __future__ import annotations

import struct

import harness

with harness.instrumented("headend.drivers.captures", "headend.drivers.pasted"):
    from headend.drivers.base import Layer
    from headend.drivers.captures import explain_capture, is_capture
    from headend.drivers.dlms import driver as dlms
    from headend.drivers.modbus import driver as modbus

DRIVERS = (dlms, modbus)
CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
PORTS = (50000, 4059)
SYN, FIN, ACK = 0x02, 0x01, 0x10
MOST_LAYERS = 64


def packet(payload: bytes, *, answers: bool, kind: int, flags: int = 0, sequence: int = 0) -> bytes:
    """An IPv4 packet with a segment or a datagram in a record of the file."""
    ports = PORTS[::-1] if answers else PORTS
    if kind == 6:
        transport = struct.pack(">HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, 0, 0x50, flags, 0xFFFF, 0, 0) + payload
    else:
        transport = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    ends = (SERVER, CLIENT) if answers else (CLIENT, SERVER)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0, 64, kind, 0) + b"".join(ends)
    octets = header + transport
    return struct.pack("<IIII", 1, 2, len(octets), len(octets)) + octets


def capture(steps: bytes, kind: int) -> bytes:
    """The file of a conversation."""
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, 101)
    sent = [1000, 0xFFFFFFF0]
    at = 0
    while at + 1 < len(steps):
        step, length = steps[at], steps[at + 1]
        payload = steps[at + 2 : at + 2 + length]
        at += 2 + length
        answers = step >> 7
        away = (step & 0x1F) - (32 if step & 0x10 else 0)
        flags = ACK | (SYN if step & 0x40 else 0) | (FIN if step & 0x20 else 0)
        octets += packet(payload, answers=bool(answers), kind=kind, flags=flags, sequence=sent[answers] + away)
        sent[answers] += len(payload)
    return octets


def check(layer: Layer, end: int) -> int:
    """Every layer and field lies inside the file, and has a name; returns how many there are."""
    assert layer.name
    assert 0 <= layer.offset <= layer.offset + layer.length <= end, layer
    for name, _, offset, length in layer.fields:
        assert name
        assert 0 <= offset <= offset + length <= end, layer
    return 1 + len(layer.fields) + sum(check(inner, end) for inner in layer.layers)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice, rest = data[0] % 3, data[1:]
    octets = rest if not choice else capture(rest, 6 if choice == 1 else 17)
    if is_capture(octets):
        _, layer = explain_capture(octets, DRIVERS)
        assert check(layer, len(octets)) <= MOST_LAYERS * (len(octets) + 1)


if __name__ == "__main__":
    harness.fuzz("captures", one_input)

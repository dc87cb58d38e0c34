"""Writes capture files as their specifications have them: what the reader of the project is tested with."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

CLIENT, METER = ("192.0.2.1", 50000), ("192.0.2.7", 4059)
SYN, ACK, PUSH_ACK = 0x02, 0x10, 0x18
BEGIN = 1_773_000_000


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    src, dst = ip_address(source).packed, ip_address(destination).packed
    if len(src) == 4:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0) + src + dst + payload
    return struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64) + src + dst + payload


def tcp(
    source: tuple[str, int],
    target: tuple[str, int],
    seq: int,
    payload: bytes = b"",
    *,
    ack: int = 0,
    flags: int = PUSH_ACK,
) -> bytes:
    header = struct.pack(
        ">HHIIBBHHH", source[1], target[1], seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 8192, 0, 0
    )
    return ip(source[0], target[0], 6, header + payload)


def udp(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> bytes:
    return ip(source[0], target[0], 17, struct.pack(">HHHH", source[1], target[1], 8 + len(payload), 0) + payload)


def ethernet(packet: bytes, *, vlan: bool = False) -> bytes:
    kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    padding = bytes(max(0, 46 - len(packet)))  # the shortest frame has 60 octets
    return bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + kind + packet + padding


def pcap(packets: Iterable[bytes], link: int = 1, order: str = "<", *, nano: bool = False) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for number, packet in enumerate(packets):
        data += (
            struct.pack(order + "IIII", BEGIN + number, 500_000 * (1000 if nano else 1), len(packet), len(packet))
            + packet
        )
    return data


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def pcapng(packets: Iterable[bytes], link: int = 1, order: str = "<", resolution: int | None = None) -> bytes:
    options = b"" if resolution is None else struct.pack(order + "HHBxxxHH", 9, 1, resolution, 0, 0)
    data = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options)
    data += block(order, 5, bytes(12))  # statistics, which say nothing
    units = 10 ** (6 if resolution is None else resolution)
    for number, packet in enumerate(packets):
        at = (BEGIN + number) * units + units // 2
        head = struct.pack(order + "IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(packet), len(packet))
        data += block(order, 6, head + packet)
    return data

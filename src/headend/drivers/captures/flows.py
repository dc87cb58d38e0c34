"""Who says what to whom in a capture: link and IP headers, UDP, and TCP put in its order. Pure.

Nothing of a packet is copied: a `Chunk` says where its octets lie in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple

from headend.drivers.captures.packets import Packet

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_TCP, _UDP = 6, 17
_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
"""IPv6 headers that stand before that of TCP or UDP, counted in eight octets."""
_FRAGMENT: Final = 44
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_SYN, _ACK = 0x02, 0x10
_HALF: Final = 1 << 31
_MOST_HELD: Final = 1000
"""Segments out of order that wait for what is missing between."""

LINK_TYPES: Final = {
    0: "loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    108: "loopback",
    113: "Linux cooked",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked 2",
}


class Endpoint(NamedTuple):
    """An address and a port."""

    address: bytes
    port: int

    def __str__(self) -> str:
        address = ip_address(self.address)
        return f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets that one side says: `start` up to `end` in the file. `missing` octets before them were not captured."""

    from_client: bool
    at: int
    start: int
    end: int
    missing: int = 0


@dataclass(slots=True)
class _Side:
    """One direction of a TCP connection: the next sequence number, and what came too early."""

    following: int | None = None
    held: list[tuple[int, Chunk]] = field(default_factory=list)


@dataclass(slots=True)
class Flow:
    """A TCP connection, or the datagrams between two endpoints; its chunks are in the order in which they were said."""

    transport: str
    client: Endpoint
    server: Endpoint
    chunks: list[Chunk] = field(default_factory=list)
    _sides: dict[bool, _Side] = field(default_factory=lambda: {True: _Side(), False: _Side()})

    def tcp(self, segment: _Segment, *, from_client: bool, at: int) -> None:
        """Take a segment: deliver what is in order, hold what came too early, drop what was there."""
        side = self._sides[from_client]
        if segment.flags & _SYN:
            side.following = segment.sequence + 1 & 0xFFFFFFFF
            return
        if segment.flags & _ACK:
            self._acknowledge(not from_client, segment.acknowledged)
        if segment.start == segment.end:
            return
        if side.following is None:
            side.following = segment.sequence
        side.held.append((segment.sequence, Chunk(from_client, at, segment.start, segment.end)))
        self._deliver(side)
        if len(side.held) > _MOST_HELD:
            self._skip(side)

    def finish(self) -> None:
        """Nothing more comes: deliver what waits for something that was not captured."""
        for side in self._sides.values():
            while side.held and side.following is not None:
                self._skip(side)

    def _deliver(self, side: _Side, missing: int = 0) -> None:
        """Everything that follows now, in its order."""
        while side.following is not None and side.held:
            place, (sequence, chunk) = min(
                enumerate(side.held), key=lambda each: _distance(each[1][0], side.following or 0)
            )
            early = _distance(sequence, side.following)
            if early > 0:
                return
            del side.held[place]
            start = chunk.start - early
            if start < chunk.end:
                self.chunks.append(Chunk(chunk.from_client, chunk.at, start, chunk.end, missing))
                side.following = side.following + chunk.end - start & 0xFFFFFFFF
                missing = 0

    def _acknowledge(self, from_client: bool, number: int) -> None:  # noqa: FBT001 - the side is a value here
        """The other side has got everything before `number`: what is missing of it was not captured."""
        side = self._sides[from_client]
        if side.held and side.following is not None and _distance(number, side.following) > 0:
            self._skip(side)

    def _skip(self, side: _Side) -> None:
        following = side.following or 0
        first = min((sequence for sequence, _ in side.held), key=lambda each: _distance(each, following))
        missing = _distance(first, following)
        side.following = first
        self._deliver(side, max(0, missing))


def _distance(sequence: int, base: int) -> int:
    """How far a sequence number lies behind another one, which may be negative."""
    return (sequence - base + _HALF & 0xFFFFFFFF) - _HALF


class _Segment(NamedTuple):
    """What TCP or UDP carries, and the TCP header's numbers."""

    transport: int
    source: Endpoint
    destination: Endpoint
    start: int
    end: int
    flags: int = 0
    sequence: int = 0
    acknowledged: int = 0


def read_flows(data: bytes, packets: Iterable[Packet], ports: Iterable[int]) -> tuple[list[Flow], int]:
    """All conversations in their order, and how many packets held none. `ports` are those of servers."""
    known = frozenset(ports)
    flows: list[Flow] = []
    current: dict[tuple[int, Endpoint, Endpoint], Flow] = {}
    others = 0
    for packet in packets:
        segment = _read_packet(data, packet)
        if segment is None:
            others += 1
            continue
        ends = (segment.source, segment.destination)
        key = (segment.transport, min(ends), max(ends))
        flow = current.get(key)
        opens = segment.transport == _TCP and segment.flags & (_SYN | _ACK) == _SYN
        if flow is None or (opens and flow.chunks):
            flow = current[key] = _begin(segment, known)
            flows.append(flow)
        from_client = segment.source == flow.client
        if segment.transport == _TCP:
            flow.tcp(segment, from_client=from_client, at=packet.at)
        elif segment.end > segment.start:
            flow.chunks.append(Chunk(from_client, packet.at, segment.start, segment.end))
    for flow in flows:
        flow.finish()
    return [flow for flow in flows if flow.chunks], others


def _begin(segment: _Segment, ports: frozenset[int]) -> Flow:
    """Who opens a connection is the client; without the beginning, the server is who has a port of servers."""
    client, server = segment.source, segment.destination
    answers = segment.flags & (_SYN | _ACK) == _SYN | _ACK
    begun = segment.flags & _SYN
    if answers or (not begun and client.port in ports and server.port not in ports):
        client, server = server, client
    return Flow("TCP" if segment.transport == _TCP else "UDP", client, server)


def _read_packet(data: bytes, packet: Packet) -> _Segment | None:
    """The TCP segment or UDP datagram in a packet; None for anything else, and for fragments."""
    at, kind = _network(data, packet)
    if not at:
        return None
    if kind == _IPV4 or (kind < 0 and data[at] >> 4 == 4):
        return _read_ipv4(data, at, packet.end)
    if kind == _IPV6 or (kind < 0 and data[at] >> 4 == 6):
        return _read_ipv6(data, at, packet.end)
    return None


def _network(data: bytes, packet: Packet) -> tuple[int, int]:
    """Where the network header begins and its type, -1 when its first octet tells; offset 0 for what is not known."""
    at, end, link = packet.start, packet.end, packet.link_type
    if link in {0, 108}:
        at, kind = at + 4, -1
    elif link in _RAW:
        kind = -1
    elif link in {113, 276}:
        place = at + (14 if link == 113 else 0)
        kind = int.from_bytes(data[place : min(place + 2, end)], "big")
        at += 16 if link == 113 else 20
    elif link == 1:
        at, kind = at + 14, int.from_bytes(data[at + 12 : min(at + 14, end)], "big")
        while kind in _VLANS and at + 4 <= end:
            at, kind = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
    else:
        return 0, 0
    return (at, kind) if at < end else (0, 0)


def _read_ipv4(data: bytes, at: int, end: int) -> _Segment | None:
    header = (data[at] & 0x0F) * 4
    if header < 20 or at + header > end:
        return None
    total = int.from_bytes(data[at + 2 : at + 4], "big")
    if int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF:
        return None
    stop = min(end, at + total) if total else end  # 0: the network adapter was to fill it in
    source, destination = data[at + 12 : at + 16], data[at + 16 : at + 20]
    return _read_transport(data, data[at + 9], at + header, stop, source, destination)


def _read_ipv6(data: bytes, at: int, end: int) -> _Segment | None:
    if at + 40 > end:
        return None
    length = int.from_bytes(data[at + 4 : at + 6], "big")
    stop = min(end, at + 40 + length) if length else end
    source, destination = data[at + 8 : at + 24], data[at + 24 : at + 40]
    following, at = data[at + 6], at + 40
    while following in _EXTENSIONS and at + 8 <= stop:
        following, at = data[at], at + 8 + data[at + 1] * 8
    return None if following == _FRAGMENT else _read_transport(data, following, at, stop, source, destination)


def _read_transport(data: bytes, kind: int, at: int, end: int, source: bytes, destination: bytes) -> _Segment | None:
    if kind == _UDP and at + 8 <= end:
        source_port, destination_port, length = struct.unpack_from(">HHH", data, at)
        stop = min(end, at + length) if length >= 8 else end
        return _Segment(_UDP, Endpoint(source, source_port), Endpoint(destination, destination_port), at + 8, stop)
    if kind == _TCP and at + 20 <= end:
        source_port, destination_port, sequence, acknowledged, offset, flags = struct.unpack_from(">HHIIBB", data, at)
        start = at + (offset >> 4) * 4
        ends = Endpoint(source, source_port), Endpoint(destination, destination_port)
        return _Segment(_TCP, *ends, start, end, flags, sequence, acknowledged) if at + 20 <= start <= end else None
    return None

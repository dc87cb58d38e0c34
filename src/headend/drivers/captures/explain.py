"""Conversations of a capture in words: both directions in the order in which they were said. Pure.

A message that crosses one of the other side on the way is not torn apart: what has begun waits for its end.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from headend.drivers.base import NO_SECRETS, Driver, Layer, Secrets, Sniffed
from headend.drivers.captures.flows import LINK_TYPES, Chunk, Flow, read_flows
from headend.drivers.captures.packets import Packet, read_packets
from headend.drivers.pasted import explain_any
from headend.drivers.registrations import built_in
from headend.errors import DecodeError
from headend.protocols.registration import Registered

_PLACE: Final = re.compile(r"at octet (\d+)")
_WRAPPER: Final = b"\x00\x01"
_WRAPPER_HEADER: Final = 8
_FLAG: Final = 0x7E
_SNIFFED: Final = 64


@dataclass(slots=True)
class _Said:
    """A conversation as octets in their order, with the place of each in the file and who said it."""

    data: bytearray = field(default_factory=bytearray)
    starts: list[int] = field(default_factory=list)
    pieces: list[Chunk] = field(default_factory=list)

    def add(self, data: bytes, piece: Chunk) -> None:
        """The octets of a piece."""
        self.starts.append(len(self.data))
        self.pieces.append(piece)
        self.data += data[piece.start : piece.end]

    def piece(self, at: int) -> Chunk:
        """The piece that an octet stands in."""
        return self.pieces[max(0, bisect_right(self.starts, at) - 1)]

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """Offset and length in the file of a part of the conversation."""
        first = max(0, bisect_right(self.starts, offset) - 1)
        last = max(first, bisect_right(self.starts, max(offset, offset + length - 1)) - 1)
        begin = self.place(offset)
        if not length:
            return begin, 0
        edges = [(piece.start, piece.end) for piece in self.pieces[first : last + 1]]
        edges[0] = (begin, edges[0][1])
        edges[-1] = (edges[-1][0], self.place(offset + length - 1) + 1)
        low = min(start for start, _ in edges)
        return low, max(end for _, end in edges) - low

    def place(self, at: int) -> int:
        """Where an octet of the conversation lies in the file."""
        index = max(0, bisect_right(self.starts, at) - 1)
        return self.pieces[index].start + at - self.starts[index]


def explain_capture(
    data: bytes, drivers: Sequence[Driver], secrets: Secrets = NO_SECRETS, ports: Iterable[int] = ()
) -> tuple[str, Layer]:
    """Protocols and explanation of a capture; with `ports`, only conversations of these ports are explained."""
    wanted = frozenset(ports)
    known = wanted or frozenset(port for driver in drivers for port in driver.ports)
    packets, problem = _all_packets(data)
    flows, others = read_flows(data, packets, known)
    explained = [_explain_flow(data, flow, drivers, secrets, known, only=bool(wanted)) for flow in flows]
    links = sorted({LINK_TYPES.get(packet.link_type, f"link type {packet.link_type}") for packet in packets})
    fields = [("link", ", ".join(links) or "none", 0, 4), ("packets", str(len(packets)), 0, 4)]
    if others:
        fields.append(("other packets", f"{others} that are neither TCP nor UDP, or fragments", 0, 4))
    layers = tuple(layer for _, layer in explained)
    names = ", ".join(sorted({name for name, _ in explained if name}))
    kind = "pcapng" if data[:1] == b"\x0a" else "pcap"
    layer = Layer(name=f"capture ({kind})", offset=0, length=len(data), fields=fields, layers=layers, error=problem)
    return names, layer


def conversations(data: bytes, driver: Driver, ports: Iterable[int] = ()) -> Iterator[tuple[str, bytes]]:
    """Who speaks with whom in the protocol of a driver, and the octets of both in the order in which they were said."""
    wanted = frozenset(ports)
    known = wanted or frozenset(driver.ports)
    packets, _ = _all_packets(data)
    for flow in read_flows(data, packets, known)[0]:
        octets = bytes(_in_order(data, flow).data)
        if _fits(flow, octets, [driver], known, only=bool(wanted)):
            yield f"{flow.transport} {flow.client} → {flow.server}", octets


def _fits(flow: Flow, octets: bytes, drivers: Sequence[Driver], ports: frozenset[int], *, only: bool) -> bool:
    """True for a conversation of one of the ports, or, unless these are the only ones, one that begins like a protocol."""
    listed = bool({flow.client.port, flow.server.port} & ports)
    return listed or (not only and _is_known(octets[:_SNIFFED], drivers))


def _is_known(first: bytes, drivers: Sequence[Driver]) -> bool:
    """True for octets that begin like a frame of a protocol, or with a login or heartbeat that is described."""
    if any(isinstance(driver.sniff(first), Sniffed) for driver in drivers):
        return True
    return any(isinstance(each.match(first, opening=False), Registered) for each in built_in())


def _all_packets(data: bytes) -> tuple[list[Packet], str]:
    """The packets, and what ended reading them."""
    packets: list[Packet] = []
    try:
        for packet in read_packets(data):
            packets.append(packet)  # noqa: PERF402 - those before an error count
    except DecodeError as error:
        return packets, str(error)
    return packets, ""


def _explain_flow(
    data: bytes, flow: Flow, drivers: Sequence[Driver], secrets: Secrets, ports: frozenset[int], *, only: bool
) -> tuple[str, Layer]:
    said = _in_order(data, flow)
    octets = bytes(said.data)
    offset, length = said.span(0, len(octets))
    name = f"{flow.transport} {flow.client} → {flow.server}"
    fields = [("begun", _time(flow.chunks[0].at), offset, 0), ("octets", str(len(octets)), offset, 0)]
    lost = [
        f"{piece.missing} octets were not captured (at octet {piece.start})" for piece in flow.chunks if piece.missing
    ]
    if not _fits(flow, octets, drivers, ports, only=only):
        fields.append(("protocol", "not known here: name the port to have it explained", offset, 0))
        return "", Layer(name=name, offset=offset, length=length, fields=fields)
    protocol, layer = explain_any(octets, drivers, secrets)
    fields.append(("protocol", protocol, offset, 0))
    several = not layer.fields and layer.layers
    inner = layer.layers if several else [replace(layer, error="")]
    layers = [_with_sender(_relocate(each, said), said.piece(each.offset), flow) for each in inner]
    layers.sort(key=lambda each: each.offset)
    errors = "; ".join(filter(None, [_moved(layer.error, said), *lost]))
    return protocol, Layer(name=name, offset=offset, length=length, fields=fields, layers=layers, error=errors)


def _in_order(data: bytes, flow: Flow) -> _Said:
    """The chunks of both sides, each moved behind the end of the message that the other side has begun."""
    said = _Said()
    waiting: dict[bool, list[Chunk]] = {True: [], False: []}
    for chunk in flow.chunks:
        pieces = waiting[chunk.from_client]
        pieces.append(chunk)
        octets = b"".join(data[piece.start : piece.end] for piece in pieces)
        whole = _whole(octets) if flow.transport == "TCP" else len(octets)
        waiting[chunk.from_client] = _take(data, pieces, whole, said)
    for pieces in waiting.values():
        _take(data, pieces, sum(piece.end - piece.start for piece in pieces), said)
    return said


def _take(data: bytes, pieces: list[Chunk], count: int, said: _Said) -> list[Chunk]:
    """Say the first `count` octets of the pieces; returns the pieces that are left."""
    left: list[Chunk] = []
    for piece in pieces:
        size = min(count, piece.end - piece.start)
        count -= size
        if size:
            said.add(data, replace(piece, end=piece.start + size))
        if piece.start + size < piece.end:
            left.append(replace(piece, start=piece.start + size, missing=0))
    return left


def _whole(octets: bytes) -> int:
    """How many of them belong to messages that have ended; all when they tell no length."""
    at = 0
    while at < len(octets):
        size = _size(octets, at)
        if at + size > len(octets):
            return at
        at += size
    return at


def _size(octets: bytes, at: int) -> int:
    if octets[at : at + 2] == _WRAPPER and octets[at + 2 : at + 4] != b"\x00\x00":
        header = octets[at : at + _WRAPPER_HEADER]
        short = len(header) < _WRAPPER_HEADER
        return _WRAPPER_HEADER + (0 if short else int.from_bytes(header[6:], "big"))
    if octets[at] == _FLAG:
        head = octets[at + 1 : at + 3]
        if len(head) == 2 and head[0] >> 4 == 0xA:
            return 1 + ((head[0] & 0x07) << 8 | head[1])
        return 1
    return len(octets) - at


def _with_sender(layer: Layer, piece: Chunk, flow: Flow) -> Layer:
    """The layer with who said it, and when."""
    sender = f"{flow.client if piece.from_client else flow.server}, {_time(piece.at)}"
    return replace(layer, fields=(("said by", sender, layer.offset, 0), *layer.fields))


def _relocate(layer: Layer, said: _Said) -> Layer:
    """The layer with the places of the file."""
    offset, length = said.span(layer.offset, layer.length)
    return Layer(
        name=layer.name,
        offset=offset,
        length=length,
        fields=[(name, value, *said.span(at, size)) for name, value, at, size in layer.fields],
        layers=[_relocate(each, said) for each in layer.layers],
        error=_moved(layer.error, said),
    )


def _moved(error: str, said: _Said) -> str:
    return _PLACE.sub(lambda match: f"at octet {said.place(int(match[1]))}", error)


def _time(at: int) -> str:
    """A moment in UTC, to the microsecond."""
    if not at:
        return "no time"
    seconds, fraction = divmod(at, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{fraction // 1000:06d} UTC"

"""A client and a meter with a wire between them that can lose frames, and hexadecimal text with notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from headend.protocols.base import NEED_DATA, ApduReceived, FramingEvent, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits

CLIENT = Address.client(0x10)
SERVER = Address.server(1, 17)


def split_frames(data: bytes) -> list[bytes]:
    """Cut what one side has sent into frames, by nothing but flags and the length field."""
    frames = []
    while data:
        end = ((data[1] & 0x07) << 8 | data[2]) + 2
        assert data[0] == data[end - 1] == 0x7E
        frames.append(data[:end])
        data = data[end:]
    return frames


def all_events(connection: HdlcConnection) -> list[FramingEvent]:
    events: list[FramingEvent] = []
    while (event := connection.next_event()) is not NEED_DATA:
        events.append(event)
    return events


@dataclass
class HdlcPair:
    client: HdlcConnection
    server: HdlcConnection
    chunk: int = 0
    """octets handed over at once; 0 for whatever there is"""
    lose: Callable[[bytes], bool] = lambda _: False
    answer: Callable[[bytes], bytes] | None = None
    """what the application of the meter says to an APDU"""
    wire: list[bytes] = field(default_factory=list)
    """every frame that was sent"""

    def carry(self, sender: HdlcConnection, receiver: HdlcConnection) -> list[FramingEvent]:
        frames = split_frames(sender.data_to_send())
        self.wire += frames
        data = b"".join(frame for frame in frames if not self.lose(frame))
        events: list[FramingEvent] = []
        for start in range(0, len(data), self.chunk or len(data) or 1):
            receiver.receive_data(data[start : start + (self.chunk or len(data))])
            events += all_events(receiver)
        return events

    def run(self) -> tuple[list[FramingEvent], list[FramingEvent]]:
        """Until nobody has anything to say; the events of the client and of the meter."""
        at_client: list[FramingEvent] = []
        at_server: list[FramingEvent] = []
        sent = -1
        while len(self.wire) != sent:
            sent = len(self.wire)
            for event in self.carry(self.client, self.server):
                at_server.append(event)
                if self.answer is not None and isinstance(event, ApduReceived):
                    self.server.send_apdu(self.answer(event.apdu))
            at_client += self.carry(self.server, self.client)
        return at_client, at_server

    def open(self) -> None:
        self.client.open()
        self.run()
        assert self.client.is_open
        assert self.server.is_open


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., HdlcPair]:
    def make(
        limits: Limits | None = None, server_limits: Limits | None = None, server: Address = SERVER, chunk: int = 0
    ) -> HdlcPair:
        limits = limits or Limits()
        client = HdlcConnection(Role.CLIENT, client=CLIENT, server=server, limits=limits)
        meter = HdlcConnection(Role.SERVER, server=server, limits=server_limits or limits)
        return HdlcPair(client, meter, chunk)

    return make


@pytest.fixture(scope="session")
def octets() -> Callable[[str], bytes]:
    """Reads `7E A0 | note` line by line."""

    def read(text: str) -> bytes:
        return bytes.fromhex("".join(line.split("|")[0] for line in text.splitlines()))

    return read


@pytest.fixture(scope="session")
def fcs() -> Callable[[bytes], bytes]:
    """FCS-16 one bit at a time, straight from RFC 1662, appendix C.1: shares nothing with the code under test."""

    def compute(data: bytes) -> bytes:
        register = 0xFFFF
        for octet in data:
            register ^= octet
            for _ in range(8):
                register = register >> 1 ^ (0x8408 if register & 1 else 0)
        return (register ^ 0xFFFF).to_bytes(2, "little")

    return compute


@pytest.fixture(scope="session")
def frame_of(fcs: Callable[[bytes], bytes]) -> Callable[..., bytes]:
    """A frame by hand: addresses and control as octets, then information."""

    def build(head: str, information: bytes = b"", format_high: int = 0xA0) -> bytes:
        body = bytes.fromhex(head)
        length = len(body) + 4 + (len(information) + 2 if information else 0)
        header = bytes((format_high | length >> 8, length & 0xFF)) + body
        whole = header + fcs(header)
        if information:
            whole += information
            whole += fcs(whole)
        return b"\x7e" + whole + b"\x7e"

    return build

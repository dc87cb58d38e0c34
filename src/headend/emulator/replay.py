"""A captured meter played again: what was asked gets the answers that were captured.

A request is found in the order of the capture, from where the conversation stands; one that is asked again gets the next
answer to it, or the same one. What was masked in the capture fits anything of the same length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from headend.drivers.base import Driver
from headend.drivers.captures.flows import Flow, read_flows
from headend.drivers.captures.packets import is_capture, read_packets
from headend.errors import ConfigError, LinkError
from headend.transport.link import Link
from headend.transport.tcp import ListenLimits, TcpListener, listen_tcp

HOST: Final = "127.0.0.1"
MASK: Final = 0x2A

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What was asked in one go and all that was answered; nothing was asked where the meter spoke first."""

    request: bytes
    answer: bytes


def exchanges(data: bytes, ports: Sequence[int] = ()) -> Sequence[Exchanged]:
    """All exchanges of a capture in their order; with `ports`, only of conversations with a server at one of them.

    Raises ConfigError for what is no capture or holds no conversation, DecodeError for a damaged one.
    """
    if not is_capture(data):
        raise ConfigError("expected a capture: pcap or pcapng")
    flows, _ = read_flows(data, read_packets(data), ports)
    found = [each for flow in flows if not ports or flow.server.port in ports for each in _of(data, flow)]
    if not found:
        raise ConfigError("the capture holds no conversation", hint="name the port of the meter, if it has others")
    return found


def _of(data: bytes, flow: Flow) -> list[Exchanged]:
    found: list[Exchanged] = []
    request, answer = b"", b""
    for chunk in flow.chunks:
        octets = data[chunk.start : chunk.end]
        if chunk.from_client and answer:
            found.append(Exchanged(request, answer))
            request, answer = b"", b""
        if chunk.from_client:
            request += octets
        else:
            answer += octets
    return [*found, Exchanged(request, answer)]


class Replay:
    """A listener that plays a capture to everybody who connects, to each from the beginning."""

    def __init__(self, exchanged: Sequence[Exchanged], driver: Driver) -> None:
        self.exchanged = exchanged
        self.driver = driver
        self.unanswered = 0
        """requests that the capture does not hold"""
        self._listener: TcpListener | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; returns the port. Raises ConfigError when it is taken."""
        limits = ListenLimits(loopback=True)
        self._listener = await listen_tcp(HOST, port, self._serve, limits)
        return self._listener.port

    def _serve(self, link: Link) -> None:
        _Player(self, link)

    async def aclose(self) -> None:
        """Stop listening and drop all links."""
        if self._listener is not None:
            await self._listener.aclose()


class _Player:
    """The meter's side of one link."""

    __slots__ = ("_buffer", "_link", "_longest", "_next", "_replay")

    def __init__(self, replay: Replay, link: Link) -> None:
        self._replay = replay
        self._link = link
        self._buffer = b""
        self._next = 0
        self._longest = max(len(each.request) for each in replay.exchanged)
        if not replay.exchanged[0].request:
            self._next = 1
            link.write(replay.exchanged[0].answer)
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as what has come is a request of the capture."""
        self._buffer += data
        exchanged = self._replay.exchanged
        for step in range(len(exchanged)):
            index = (self._next + step) % len(exchanged)
            answer = answer_like(self._replay.driver, exchanged[index], self._buffer)
            if answer is not None:
                self._next = index + 1
                self._buffer = b""
                self._link.write(answer)
                return
        if len(self._buffer) >= self._longest:
            self._replay.unanswered += 1
            log.warning("the capture does not hold this request", octets=self._buffer[:64].hex(" "))
            self._buffer = b""

    def link_lost(self, error: LinkError) -> None:
        """Nothing is to be done."""


def answer_like(driver: Driver, exchanged: Exchanged, request: bytes) -> bytes | None:
    """The captured answer for a request that asks the same; None where it asks something else."""
    recorded = exchanged.request
    if len(recorded) != len(request) or not request:
        return None
    if recorded == request:
        return exchanged.answer
    if MASK in recorded:
        pairs = zip(request, recorded, strict=True)
        masked = driver.reseal(bytes(MASK if theirs == MASK else ours for ours, theirs in pairs))
        if masked == recorded:
            return exchanged.answer
    return driver.renumber(request, recorded, exchanged.answer)

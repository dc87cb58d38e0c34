"""A party line: one link, and a port on it for every session that believes it owns a link of its own.

Several meters may share a wire (unit ids behind a gateway, HDLC addresses on a bus). Drivers know nothing of it: each
session gets a Port, which is a Link. The lane gives the turn to one port at a time; only that one hears the wire.

A link that a meter has opened is kept when its last port closes: nobody but the meter can open it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from headend import telemetry
from headend.errors import LinkClosed, LinkError
from headend.transport.exchange import Exchange
from headend.transport.link import Link, Receiver, Tap

_OPEN: Final = telemetry.LANES.labels("open")


class Keeper(Protocol):
    """Who keeps a link that a meter has opened."""

    def unheard(self, data: bytes) -> None:
        """Octets came while no session listens."""

    def overheard(self) -> None:
        """Octets came while a session listens."""


class PartyLine:
    """The receiver of a link; passes on what comes to the port whose turn it is.

    The last port to close closes the link, unless somebody keeps it.
    """

    __slots__ = (
        "_link_open",
        "active",
        "given_up",
        "keeper",
        "link",
        "ports",
        "ready_at",
        "receiver",
        "seen_in",
        "seen_out",
    )

    def __init__(self, link: Link, keeper: Keeper | None = None, ready_at: float = 0.0) -> None:
        """Before `ready_at` nothing is asked: a modem that has just dialled in may not be."""
        self.link = link
        self.keeper = keeper
        self.ready_at = ready_at
        self.ports: set[Port] = set()
        self.active: Port | None = None
        self.receiver: Receiver | None = None
        """of the active port"""
        self.seen_in = 0
        """octets of the link that are accounted for already"""
        self.seen_out = 0
        self.given_up: Callable[[], None] | None = None
        """called once when the link is gone"""
        self._link_open = True
        _OPEN.inc()
        link.set_receiver(self)

    @property
    def is_open(self) -> bool:
        """True while the link is."""
        return self._link_open and self.link.is_open

    def open_port(self) -> Port:
        """A new port, whose turn it is now."""
        port = Port(self)
        self.ports.add(port)
        self.turn(port)
        return port

    def turn(self, port: Port) -> None:
        """Let a port hear the wire from now on."""
        self.active = port
        self.receiver = port.receiver

    def data_received(self, data: bytes) -> None:
        """Octets came in; what comes before anybody listens is the keeper's, or lost."""
        if self.keeper is not None:
            if self.receiver is None:
                self.keeper.unheard(data)
            else:
                self.receiver.data_received(data)
                self.keeper.overheard()
        elif self.receiver is not None:
            self.receiver.data_received(data)

    def link_lost(self, error: LinkError) -> None:
        """The link is gone: every port is."""
        if self._link_open:
            self._link_open = False
            _OPEN.dec()
            if self.given_up is not None:
                self.given_up()
            for port in tuple(self.ports):
                port.lose(error)

    def drop(self) -> None:
        """Give up the link and all its ports at once."""
        self.link.abort()
        self.link_lost(LinkClosed(f"the link to {self.link.peer} was dropped"))

    async def aclose(self) -> None:
        """Flush and close the link."""
        await self.link.aclose()
        self.drop()

    def leave(self, port: Port) -> None:
        """A port closed."""
        self.ports.discard(port)
        if self.active is port:
            self.active = self.receiver = None


class Port:
    """A Link, as far as one session can see."""

    __slots__ = (
        "_line",
        "_open",
        "exchange",
        "local",
        "octets_in",
        "octets_out",
        "peer",
        "receiver",
        "seen_requests",
        "seen_responses",
    )

    def __init__(self, line: PartyLine) -> None:
        self._line = line
        self._open = True
        self.peer = line.link.peer
        self.local = line.link.local
        self.octets_in = 0
        """not counted per port: the lane reads the counters of the link"""
        self.octets_out = 0
        self.receiver: Receiver | None = None
        self.exchange: Exchange | None = None
        """the session that listens, where it counts its requests"""
        self.seen_requests = 0
        """requests over this port that are accounted for already"""
        self.seen_responses = 0

    @property
    def is_open(self) -> bool:
        """False as soon as the port or the link is closed."""
        return self._open and self._line.is_open

    @property
    def tap(self) -> Tap | None:
        """The tap of the link."""
        return self._line.link.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._line.link.tap = tap

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """The session that listens when it is the port's turn."""
        self.receiver = receiver
        if isinstance(receiver, Exchange) and receiver is not self.exchange:
            if self.exchange is not None:  # it is not asked any more, and perhaps not counted yet
                self.seen_requests -= self.exchange.requests
                self.seen_responses -= self.exchange.responses
            self.exchange = receiver
        if self._line.active is self:
            self._line.receiver = receiver
        if buffered:
            receiver.data_received(buffered)
        if not self.is_open:
            self.receiver = None
            receiver.link_lost(LinkClosed(f"the link to {self.peer} is closed"))

    def write(self, data: bytes) -> None:
        """Send octets, unless the port is closed."""
        if self._open:
            self._line.link.write(data)

    async def set_line(self, baud: int, line: str) -> None:
        """Change the line, for all who share it."""
        await self._line.link.set_line(baud, line)

    def abort(self) -> None:
        """Close the port; the link only when no other port is open and nobody keeps it."""
        if self._open:
            self.lose(LinkClosed(f"the link to {self.peer} was closed"))
            if not self._line.ports and self._line.keeper is None:
                self._line.drop()

    async def aclose(self) -> None:
        """Close the port; flush and close the link when no other port is open and nobody keeps it."""
        if self._open:
            self.lose(LinkClosed(f"the link to {self.peer} was closed"))
            if not self._line.ports and self._line.keeper is None:
                await self._line.aclose()

    def lose(self, error: LinkError) -> None:
        """The port is gone; the session is told, once."""
        if self._open:
            self._open = False
            self._line.leave(self)
            if self.receiver is not None:
                self.receiver.link_lost(error)

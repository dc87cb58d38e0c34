"""The link: a byte stream with one owner. It knows no protocol.

A link hands what it receives to its receiver, in the event loop, without buffering: the receiver is the session (or the
virtual meter) that owns the wire. Nothing else may write to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from headend.errors import LinkError

Tap: TypeAlias = Callable[[str, bytes], None]
"""Called with ">>" (sent) or "<<" (received) and the octets, before they are handed on; for captures."""


class Receiver(Protocol):
    """The owner of a link, as the link sees it. Neither call may raise."""

    def data_received(self, data: bytes) -> None:
        """Octets came in."""

    def link_lost(self, error: LinkError) -> None:
        """The link is gone; nothing more will come. Called once, also after `abort` or `aclose` by the owner."""


class Link(Protocol):
    """A byte stream: a TCP connection, a serial port, half of a memory pair."""

    tap: Tap | None

    @property
    def peer(self) -> str:
        """Who is at the other end, for people: `192.0.2.7:4059`, `/dev/ttyUSB0`."""

    @property
    def local(self) -> str:
        """Our end of it."""

    @property
    def octets_in(self) -> int:
        """Octets received so far."""

    @property
    def octets_out(self) -> int:
        """Octets sent so far."""

    @property
    def is_open(self) -> bool:
        """False as soon as the link is lost, aborted or closing."""

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner, or a new one. `buffered` octets are delivered to it first."""

    def write(self, data: bytes) -> None:
        """Send octets; does nothing on a link that is not open (the receiver is, or was, told)."""

    async def set_line(self, baud: int, line: str) -> None:
        """Change speed and character format of a serial port, once everything has left; other links have none to change.

        Raises LinkError when the port cannot do that.
        """

    def abort(self) -> None:
        """Drop the link at once."""

    async def aclose(self) -> None:
        """Flush, close, and wait until it is closed (at most a second)."""


class PausableLink(Link, Protocol):
    """A link that need not be read from: meanwhile the peer can send no more than the network holds."""

    def hold(self) -> None:
        """Read nothing for now."""

    def resume(self) -> None:
        """Read again."""

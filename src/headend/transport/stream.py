"""The link over an asyncio transport: TCP connections and serial ports alike. No streams, no task, no queue of its own."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from headend.errors import LinkClosed, LinkError
from headend.transport.link import Receiver, Tap

WRITE_LIMIT: Final = 0x40000
"""Octets that may wait for a peer that does not read; beyond them the link is dropped."""

EARLY_LIMIT: Final = 0x10000
"""Octets kept for the first receiver of a link; beyond them the link is dropped."""

CLOSE_SECONDS: Final = 1.0


class StreamLink(asyncio.Protocol):
    """A Link and the asyncio protocol beneath it, in one object."""

    __slots__ = (
        "_closed",
        "_early",
        "_reason",
        "_receiver",
        "_transport",
        "is_open",
        "local",
        "octets_in",
        "octets_out",
        "peer",
        "tap",
    )

    def __init__(self, peer: str = "", local: str = "") -> None:
        self.peer = peer
        self.local = local
        self.octets_in = 0
        self.octets_out = 0
        self.tap: Tap | None = None
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._early = b""
        self._reason: LinkError | None = None
        self._closed: asyncio.Future[None] | None = None

    # --- the owner's side ---

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner: what came before it is delivered first, and the news that the link is lost already."""
        early, self._early = buffered + self._early, b""
        self._receiver = receiver
        if early:
            receiver.data_received(early)
        if self._transport is None and self._receiver is receiver:
            self._receiver = None
            receiver.link_lost(self._reason or LinkClosed(f"the link to {self.peer} is not open"))

    def write(self, data: bytes) -> None:
        """Send octets; does nothing on a link that is not open."""
        if self.is_open and data:
            self.octets_out += len(data)
            if self.tap is not None:
                self.tap(">>", data)
            self._transport.write(data)  # type: ignore[union-attr] # open means that there is a transport

    async def set_line(self, baud: int, line: str) -> None:
        """Nothing to change here."""

    def abort(self) -> None:
        """Drop the link at once, whatever waits to be sent."""
        self.drop(LinkClosed(f"the link to {self.peer} was dropped by this side"))

    def drop(self, reason: LinkError) -> None:
        """Drop the link at once and tell the receiver why."""
        self.is_open = False
        if self._reason is None:
            self._reason = reason
        if self._transport is not None:
            self._abort(self._transport)

    def _abort(self, transport: asyncio.Transport) -> None:
        transport.abort()

    async def aclose(self) -> None:
        """Flush, close, and wait until it is closed; after a second it is dropped."""
        if self._transport is None:
            return
        self.is_open = False
        if self._reason is None:
            self._reason = LinkClosed(f"the link to {self.peer} was closed by this side")
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        self._transport.close()
        try:
            await asyncio.wait((self._closed,), timeout=CLOSE_SECONDS)
        finally:
            if self._transport is not None:
                self._abort(self._transport)

    def hold(self) -> None:
        """Read nothing for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def transport_info(self, name: str) -> Any:  # noqa: ANN401 - what asyncio gives
        """Information about an open link: `socket`, `sockname`, `serial`."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # --- the transport's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        self._transport = cast("asyncio.Transport", transport)  # stream protocols get nothing else
        self._transport.set_write_buffer_limits(WRITE_LIMIT)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Octets came in: they are handed on at once."""
        self.octets_in += len(data)
        if self.tap is not None:
            self.tap("<<", data)
        if self._receiver is not None:
            self._receiver.data_received(data)
        elif len(self._early) + len(data) <= EARLY_LIMIT:
            self._early += data
        else:
            self.drop(LinkClosed(f"{self.peer} sent more than anybody asked for"))

    def pause_writing(self) -> None:
        """More waits to be sent than may: the peer does not read."""
        self.drop(LinkClosed(f"{self.peer} does not read what is sent to it"))

    def eof_received(self) -> None:
        """The peer has no more to say: what waits is still sent, then the transport closes."""
        self.is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self.is_open = False
        self._transport = None
        if self._reason is None:
            why = "" if exc is None else f": {getattr(exc, 'strerror', None) or exc}"
            self._reason = LinkClosed(
                f"{self.peer} closed the link{why}",
                hint="it may serve another client just now, or not know this protocol or address",
            )
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.link_lost(self._reason)

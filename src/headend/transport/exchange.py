"""Joining a link to a conversation: one request in flight, its deadline, its answer.

`Exchange` is the part that every client session shares; a session inherits it, implements `data_received`, and calls
`complete` or `fail` from there. `exchange()` is the general way for any sans-IO Connection; the fast paths of the sessions
are tested against it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from headend.errors import HeadendError, LinkClosed, LinkError, LinkTimeout, LocalProtocolError
from headend.protocols.base import NEED_DATA, Connection
from headend.transport.deadline import NEVER, sweeper
from headend.transport.link import Link


class Exchange:
    """One request in flight on one link.

    After a time-out, a lost link or `poison`, the exchange refuses further requests: a late answer must never meet a
    later question. The owner opens a new session.
    """

    __slots__ = ("_future", "_loop", "_sweeper", "asked_until", "deadline", "link", "lost", "requests", "responses")

    def __init__(self, link: Link) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweeper = sweeper()
        self._future: asyncio.Future[Any] | None = None
        self.deadline = NEVER
        self.asked_until = NEVER
        """the deadline of the last request, also when it was answered"""
        self.lost: HeadendError | None = None
        """why no further request is possible; None while the exchange is sound"""
        self.link = link
        self.requests = 0
        """that were sent; a repetition of what was lost is none"""
        self.responses = 0
        """that answered them, refusals included"""

    def start(self, buffered: bytes = b"") -> None:
        """Become the receiver of the link and be watched by the sweeper."""
        self._sweeper.add(self)
        self.link.set_receiver(self, buffered)

    def stop(self) -> None:
        """No longer be watched; a waiting request fails."""
        self._sweeper.discard(self)
        self.poison(LinkClosed(f"the session with {self.link.peer} was closed"))

    def transact(self, data: bytes, timeout: float) -> asyncio.Future[Any]:
        """Send `data` and return the Future of the answer; `timeout` in seconds.

        Raises what `lost` holds when the exchange is not sound, LocalProtocolError when a request is in flight already.
        """
        if self.lost is not None:
            raise self.lost
        if self._future is not None:
            raise LocalProtocolError(f"a request to {self.link.peer} is in flight already")
        future = self._future = self._loop.create_future()
        self.deadline = self.asked_until = self._loop.time() + timeout
        self.requests += 1
        self.link.write(data)
        return future

    @property
    def waiting(self) -> bool:
        """True while a request is in flight."""
        return self._future is not None

    def complete(self, answer: object) -> None:
        """Give the answer to the request in flight; without one it is dropped."""
        future, self._future = self._future, None
        self.deadline = NEVER
        if future is not None and not future.done():
            self.responses += 1
            future.set_result(answer)
        elif future is not None:
            self.poison(LinkTimeout(f"a request to {self.link.peer} was abandoned before its answer came"))

    def fail(self, error: HeadendError) -> None:
        """Let the request in flight fail; the exchange stays sound."""
        future, self._future = self._future, None
        self.deadline = NEVER
        if future is not None and not future.done():
            self.responses += self.lost is None
            future.set_exception(error)

    def poison(self, error: HeadendError) -> None:
        """Let the request in flight fail and refuse all further ones; the first reason stays."""
        if self.lost is None:
            self.lost = error
        self.fail(error)

    def expire(self) -> None:
        """The deadline passed."""
        self.poison(self.timed_out())

    def timed_out(self, noticed: str = "") -> LinkTimeout:
        """The error of a request that was not answered in time, with what was noticed on the way as a hint."""
        if self.link.octets_in == 0:
            hint = "it took the connection and said nothing: check protocol and addresses, or allow more time"
        else:
            hint = noticed or "it had spoken before: perhaps it is busy or slow; allow more time"
        return LinkTimeout(f"no answer from {self.link.peer} in time", hint=hint)

    def data_received(self, data: bytes) -> None:
        """Octets came in: the session decodes them here."""
        raise NotImplementedError

    def link_lost(self, error: LinkError) -> None:
        """The link is gone."""
        self._sweeper.discard(self)
        self.poison(error)


class _Conversation(Exchange):
    """An Exchange over a sans-IO Connection: the first event that comes is the answer."""

    __slots__ = ("_connection",)

    def __init__(self, link: Link, connection: Connection) -> None:
        super().__init__(link)
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        try:
            self._connection.receive_data(data)
            while self.waiting:
                event = self._connection.next_event()
                self.link.write(self._connection.data_to_send())
                if event is NEED_DATA:
                    return
                self.complete(event)
        except HeadendError as error:
            self.poison(error)


async def exchange(link: Link, connection: Connection, request: object, timeout: float) -> object:
    """Send `request` over `connection` and `link`, return the first event that comes within `timeout` seconds.

    Raises LinkTimeout, LinkClosed, RemoteProtocolError; the link should be dropped after any of them.
    """
    conversation = _Conversation(link, connection)
    connection.send(request)
    conversation.start()
    try:
        return await conversation.transact(connection.data_to_send(), timeout)
    finally:
        conversation.stop()

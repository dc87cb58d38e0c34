"""The way to one meter: a link at a time, a framing on it, APDUs over that. Knows no association."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from headend.errors import (
    HeadendError,
    LinkClosed,
    LinkError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)
from headend.protocols.base import NEED_DATA, ApduReceived, LinkReleased
from headend.protocols.dlms.acse import Rlrq
from headend.protocols.dlms.apdu.notification import NOTIFICATION_TAGS
from headend.protocols.hdlc import HdlcConnection
from headend.transport.exchange import Exchange

if TYPE_CHECKING:
    import asyncio

    from headend.drivers.dlms.parameters import Addressing
    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint
    from headend.transport.link import Link

MOST_NOISE: Final = 64
"""Damaged frames after which nobody waits for a good one."""
CLOSING: Final = 1.0
"""Seconds that a meter has for the answer to a release."""


class Talk(Exchange):
    """One framing on a link. The first APDU that answers is the answer, whoever it says it is from."""

    __slots__ = ("_attempts", "_share", "addressing", "framing", "heard", "noise", "unasked")

    def __init__(self, link: Link, addressing: Addressing) -> None:
        super().__init__(link)
        self.addressing = addressing
        self.framing = addressing.make_framing()
        self.noise = self.heard = self.unasked = 0
        self._attempts, self._share = 1, 0.0

    async def open(self, timeout: float) -> LinkReleased | None:
        """Open the framing; what the meter says when it refuses. Raises LinkError."""
        if self.framing.is_open:
            self.framing.next_event()
            return None
        if not isinstance(self.framing, HdlcConnection):
            raise LocalProtocolError("only HDLC has to be opened")
        self.framing.open()
        event = await self._send(timeout, attempts=1)
        return event if isinstance(event, LinkReleased) else None

    async def ask(self, apdu: bytes, timeout: float) -> ApduReceived:
        """Send an APDU; the one that comes then. Raises LinkError, or RemoteProtocolError for too much noise."""
        self.framing.send_apdu(apdu)
        event = await self._send(timeout, attempts=2 if isinstance(self.framing, HdlcConnection) else 1)
        if not isinstance(event, ApduReceived):
            raise LinkClosed(f"{self.link.peer} released the link")
        return event

    async def close(self, timeout: float) -> None:
        """DISC, where there is such a thing; raises LinkError when nobody answers it."""
        if isinstance(self.framing, HdlcConnection):
            self.framing.close()
            await self._send(timeout, attempts=1)

    def _send(self, timeout: float, *, attempts: int) -> asyncio.Future[Any]:
        self._attempts, self._share = attempts, timeout / attempts
        return self.transact(self.framing.data_to_send(), self._share)

    def expire(self) -> None:
        """HDLC repeats what was lost once."""
        self._attempts -= 1
        if self._attempts and isinstance(self.framing, HdlcConnection):
            with suppress(LocalProtocolError):
                self.framing.retransmit()
                self.deadline = self._loop.time() + self._share
                self.link.write(self.framing.data_to_send())
                return
        self.poison(self.timed_out(f"{self.noise} damaged frames were received" if self.noise else ""))

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        try:
            self.framing.receive_data(data)
            while (event := self._next()) is not NEED_DATA:
                if isinstance(event, ApduReceived) and event.apdu[0] in NOTIFICATION_TAGS:
                    self.unasked += 1
                    continue
                self.heard += 1
                self.complete(event)
            self.link.write(self.framing.data_to_send())
        except HeadendError as error:
            self.poison(error)

    def _next(self) -> object:
        while True:
            try:
                return self.framing.next_event()
            except RemoteProtocolError:
                self.noise += 1
                if self.noise > MOST_NOISE:
                    raise


class Wire:
    """Who asks next gets the link and the framing that stand already, as far as they fit."""

    def __init__(self, ground: Ground, endpoint: Endpoint | None = None) -> None:
        """`endpoint` where that is not the one of the ground."""
        self.ground = ground
        self.endpoint = endpoint or ground.endpoint
        self.met = False
        """somebody has answered"""
        self.answers = 0
        """to requests to associate, over the link that is open, or was last"""
        self.associated = False
        """an association stands, or one is begun"""
        self._link: Link | None = None
        self._talk: Talk | None = None

    def answered(self) -> None:
        """Somebody has answered a request to associate."""
        self.met = True
        self.answers += 1

    async def connect(self) -> None:
        """See that a link is open; raises LinkError at the beginning, and ProbeEnded when it was taken before."""
        if self._link is not None and self._link.is_open:
            return
        self._drop()
        try:
            self._link = await self.ground.link(self.endpoint)
            self.answers = 0
        except LinkError as error:
            if not self.met:
                raise
            self.ground.end(f"it takes no connection any more: {error}")

    async def reach(self, addressing: Addressing) -> Talk | LinkReleased:
        """The open framing of an addressing; what the meter says when it refuses one. Raises LinkError."""
        talk = self._talk
        if talk is not None and talk.lost is None and talk.addressing == addressing and talk.framing.is_open:
            return talk
        await self.leave()
        await self.connect()
        if self._link is None:
            raise LinkClosed("no link is open")
        talk = self._talk = Talk(self._link, addressing)
        talk.start()
        refused = await talk.open(self.ground.timeout)
        self.met |= talk.heard > 0
        if refused is not None:
            self.forget()
            return refused
        return talk

    async def release(self) -> None:
        """End an association: over the wrapper by RLRQ, in HDLC together with the link."""
        talk = self._talk
        if talk is None or talk.lost is not None:
            return
        self.associated = False
        if isinstance(talk.framing, HdlcConnection):
            await self.leave()
            return
        try:
            await talk.ask(Rlrq().encode(), min(CLOSING, self.ground.timeout))
        except (LinkError, ProtocolError) as error:
            self.associated = isinstance(error, LocalProtocolError)  # an answer is waited for still: it was not said
            await self.drop()

    async def leave(self) -> None:
        """End the association and the framing, and the link with them where that is not answered."""
        if self.associated and self._talk is not None and not isinstance(self._talk.framing, HdlcConnection):
            await self.release()
        talk = self._talk
        if talk is None:
            return
        if talk.lost is not None:
            await self.drop()
            return
        try:
            await talk.close(min(CLOSING, self.ground.timeout))
        except (LinkError, ProtocolError):
            await self.drop()
        self.forget()

    async def drop(self) -> None:
        """Close the link: what comes late must meet no question. Goodbye is said all the same, without waiting for an answer."""
        talk, link = self._talk, self._link
        if talk is not None and link is not None and link.is_open:
            if isinstance(talk.framing, HdlcConnection) and talk.framing.is_open:
                talk.framing.close()
            elif self.associated and talk.framing.is_open:
                talk.framing.send_apdu(Rlrq().encode())
            link.write(talk.framing.data_to_send())
        self._drop()
        await self.ground.close()

    def resume(self) -> None:
        """Take the link back from whoever has read in the association."""
        if self._talk is not None and self._link is not None and self._link.is_open:
            self._link.set_receiver(self._talk)

    def forget(self) -> None:
        """Let go of the framing and keep the link."""
        if self._talk is not None:
            self._talk.stop()
        self._talk = None

    def _drop(self) -> None:
        self.forget()
        self.associated = False
        self._link = None

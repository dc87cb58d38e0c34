"""One association on one link: requests out, answers in, the time-outs and repetitions of the framing.

There are two ways for an answer. The fast one takes a complete frame that answers a prepared request as common answers do,
and makes a plain value of it without an object. Everything else goes through framing and connection, which know all cases.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headend.errors import DecodeError, HeadendError, LinkClosed, LinkTimeout, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.apdu.general_block import GeneralBlock
from headend.protocols.dlms.apdu.notification import NOTIFICATION_TAGS, DataNotification, EventNotification
from headend.protocols.dlms.apdu.short import InformationReport
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.template import FALLBACK, decode_get_list_response, decode_get_response
from headend.protocols.gateway import GatewayFraming
from headend.protocols.hdlc import HdlcConnection
from headend.transport.deadline import NEVER
from headend.transport.exchange import Exchange

if TYPE_CHECKING:
    import asyncio

    from headend.drivers.dlms.parameters import ClientFraming
    from headend.protocols.base import NeedData
    from headend.protocols.dlms.acse import Rlrq
    from headend.protocols.dlms.apdu.access import AccessRequest
    from headend.protocols.dlms.apdu.short import ShortRequest
    from headend.protocols.dlms.apdu.table import Notification, Request
    from headend.protocols.dlms.events import AssociationRequest, Event, Protection
    from headend.protocols.hdlc import PreparedFrames
    from headend.transport.link import Link

MAX_NOTIFICATIONS: Final = 1000
"""Pushes kept until somebody takes them; then the oldest are dropped."""

_NO_WHOLE_ANSWER: Final = NOTIFICATION_TAGS | {GeneralBlock.TAG}
"""First octets of APDUs that the connection is to take, also on a ciphered link."""

_LIST_HEAD: Final = b"\xc4\x03"
"""GET.response-with-list"""

BUSY_ATTEMPTS: Final = 10
"""How much more often a meter is asked that says it is busy (RNR)."""

ATTEMPTS: Final = 2
"""How often HDLC sends a frame before the meter counts as silent; each has an equal share of the time-out."""


@dataclass(frozen=True, slots=True)
class PreparedGet:
    """A GET by invoke id: frames ready to be sent, their APDUs, and the first octets of these. `count` 0 is a single attribute."""

    frames: tuple[bytes | PreparedFrames, ...]
    apdus: tuple[bytes, ...]
    heads: tuple[bytes, ...]
    count: int


class Conversation(Exchange):
    """The one association on a link; see `Exchange` for what happens to a request that is not answered."""

    __slots__ = (
        "_asked",
        "_attempts",
        "_fast",
        "_framing",
        "_hdlc",
        "_keeps",
        "_protection",
        "_share",
        "_tries",
        "connection",
        "noise",
        "notifications",
    )

    def __init__(
        self, link: Link, framing: ClientFraming, protection: Protection | None = None, *, keeps: float = NEVER
    ) -> None:
        """`keeps` is for how many seconds a meter keeps a silent link in HDLC."""
        super().__init__(link)
        self._keeps = keeps
        self._framing = framing
        self._protection = protection
        self._fast: PreparedGet | None = None
        self._asked = 0
        inner = framing.inner if isinstance(framing, GatewayFraming) else framing
        self._hdlc = inner if isinstance(inner, HdlcConnection) else None
        self._tries = ATTEMPTS if self._hdlc else 1
        self._attempts = self._tries
        self._share = 0.0
        self.connection = DlmsConnection(Role.CLIENT, framing, protection=protection)
        self.notifications: list[Notification] = []
        self.noise = 0
        """damaged frames that HDLC has dropped"""

    @property
    def sound(self) -> bool:
        """False when no further request is possible; a request that its caller has abandoned is one that nobody awaits.

        A meter with HDLC that was not asked for too long has forgotten the link.
        """
        if self._hdlc and self._future is None and self._loop.time() > self.asked_until + self._keeps:
            self.poison(LinkClosed(f"{self.link.peer} was not asked for longer than it keeps the link"))
        if self.lost is None and self._future is not None and self._future.cancelled():
            self.poison(LinkTimeout(f"a request to {self.link.peer} was abandoned before its answer came"))
        return self.lost is None

    async def open(self, timeout: float) -> None:
        """Open the framing; raises LinkClosed when the meter refuses."""
        self.connection.open()
        if self._framing.is_open:
            self._framing.next_event()
            return
        await self._ask(timeout)

    def ask(
        self,
        event: Request | AccessRequest | ShortRequest | AssociationRequest | Rlrq,
        timeout: float,
        *,
        streaming: bool = False,
    ) -> asyncio.Future[Any]:
        """Send a request; the event that answers it follows. When streaming, that may be the first block."""
        self._require_sound()
        if streaming:
            self.connection.send_streaming(event)  # type: ignore[arg-type] # associations are not streamed
        else:
            self.connection.send(event)
        return self._ask(timeout)

    def ask_next_block(self, timeout: float) -> asyncio.Future[Any]:
        """The block after the one that was taken last follows, or a refusal."""
        self._require_sound()
        self.connection.ask_next_block()
        return self._ask(timeout)

    def get(self, prepared: PreparedGet, timeout: float) -> asyncio.Future[Any]:
        """Send a prepared GET; the plain value or list of values follows, or the event where the answer is not common."""
        if self._future is not None or self.lost is not None:
            self._require_sound()
        connection = self.connection
        invoke = self._asked = connection.next_invoke_id() & 0x0F
        connection.request_sent(prepared.heads[invoke])
        self._fast = prepared
        tries = self._attempts = self._tries
        share = self._share = timeout / tries
        if self._protection is None:
            octets = self._framing.request(prepared.frames[invoke])  # type: ignore[arg-type] # by an equal framing
            return self.transact(octets, share)
        self._framing.send_apdu(self._protection.protect(prepared.apdus[invoke]))
        return self.transact(self._framing.data_to_send(), share)

    def protect_by(self, protection: Protection | None) -> None:
        """The next association on this link is protected so; the one before has ended."""
        self._protection = protection
        self.connection = DlmsConnection(Role.CLIENT, self._framing, protection=protection)

    async def close(self, timeout: float) -> None:
        """End the framing; the meter may have gone already."""
        self.connection.close()
        if self._hdlc:
            await self._ask(timeout)

    def _require_sound(self) -> None:
        if not self.sound and self.lost is not None:
            raise self.lost

    def _ask(self, timeout: float) -> asyncio.Future[Any]:
        self._attempts = self._tries
        self._share = timeout / self._tries
        return self.transact(self.connection.data_to_send(), self._share)

    def expire(self) -> None:
        """The deadline passed: HDLC repeats what was lost once, general blocks are asked for again, everything else is lost."""
        self._attempts -= 1
        framing = self._hdlc
        if self._attempts and framing:
            with suppress(LocalProtocolError):  # the link may have been given up meanwhile
                framing.retransmit()
                self.deadline = self._loop.time() + self._share
                self.link.write(framing.data_to_send())
                return
        if not framing and self._attempts > -ATTEMPTS and self.connection.ask_lost_blocks():
            self.deadline = self._loop.time() + self._share
            self.link.write(self._framing.data_to_send())
            return
        hint = f"{self.noise} damaged frames were received: check baud rate and parity" if self.noise else ""
        if framing and framing.peer_is_busy:
            hint = "it says that it is busy (RNR)"
        self.poison(self.timed_out(hint))

    def data_received(self, data: bytes) -> None:
        """Octets came in: complete the waiting request, keep what the meter says unasked."""
        fast, self._fast = self._fast, None
        try:
            found = self._framing.receive_apdu(data) if fast is not None else None
            if fast is None or found is None:
                self._receive(data, fast)
                if self.waiting:
                    self._fast = fast
                return
            buffer, start, end = found
            protection = self._protection
            if protection is not None:
                if buffer[start] in _NO_WHOLE_ANSWER:
                    self._deliver(self.connection.take(ApduReceived(buffer[start:end], 0, 0)))
                    self._flush()
                    if self.waiting:
                        self._fast = fast
                    return
                buffer = protection.unprotect(buffer[start:end])
                start, end = 0, len(buffer)
            if fast.count:
                answer: object = decode_get_list_response(buffer, start, end, self._asked, fast.count)
            else:
                answer = decode_get_response(buffer, start, end, self._asked)
            if answer is FALLBACK:
                self._take_answer(buffer[start:end], fast)
                self._flush()
                return
            self.connection.request_answered()
            self.complete(answer)
        except HeadendError as error:
            self.poison(error)

    def _receive(self, data: bytes, fast: PreparedGet | None) -> None:
        """The general way."""
        framing, hdlc = self._framing, self._hdlc
        busy = hdlc is not None and hdlc.peer_is_busy
        framing.receive_data(data)
        while True:
            try:
                received = framing.next_event()
            except RemoteProtocolError:
                if not hdlc:
                    raise
                self.noise += 1
                continue
            if received is NEED_DATA:
                break
            self._take(received, fast)
        if hdlc and hdlc.peer_is_busy and not busy:
            self._attempts += BUSY_ATTEMPTS
        self._flush()

    def _flush(self) -> None:
        octets = self._framing.data_to_send()
        if octets:
            if self.waiting:
                self._attempts = self._tries
                self.deadline = self._loop.time() + self._share
            self.link.write(octets)

    def _take_answer(self, apdu: bytes, fast: PreparedGet) -> None:
        try:
            self._deliver(self.connection.take_answer(apdu))
        except DecodeError as error:
            self._pass_over(error, apdu, fast)

    def _take(self, received: ApduReceived | LinkOpened | LinkReleased, fast: PreparedGet | None) -> None:
        try:
            self._deliver(self.connection.take(received))
        except DecodeError as error:
            self._pass_over(error, received.apdu if isinstance(received, ApduReceived) else b"", fast)

    def _pass_over(self, error: DecodeError, apdu: bytes, fast: PreparedGet | None) -> None:
        """A list that nobody can read is an answer, too: who asked for it may ask one by one. All else is raised again."""
        if fast is None or not fast.count or apdu[:3] != _LIST_HEAD + fast.heads[self._asked][2:]:
            raise error
        self.connection.request_answered()
        self.complete(error)

    def _deliver(self, event: Event | NeedData) -> None:
        if event is NEED_DATA:
            return
        if isinstance(event, DataNotification | EventNotification | InformationReport):
            del self.notifications[: 1 - MAX_NOTIFICATIONS]
            self.notifications.append(event)
        elif isinstance(event, LinkReleased):
            self.poison(LinkClosed(f"{self.link.peer} released the link: {event.reason}"))
        else:
            self.complete(event)

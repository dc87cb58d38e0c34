"""`DlmsConnection`: one association over an injected framing, in either role, without I/O.

A client sends an AssociationRequest, then one request at a time, then an Rlrq, and takes one event for each of them from
`next_event`. A server does the opposite. What is longer than one APDU travels in blocks without anybody noticing: requests
and answers of GET, SET and ACTION in blocks of their service, all else in general blocks, where both sides have agreed on
them. Whoever is asked in general blocks answers in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import (
    NEED_DATA,
    ApduReceived,
    Framing,
    FramingEvent,
    LinkReleased,
    NeedData,
    Role,
)
from headend.protocols.dlms.acse import Aare, Aarq
from headend.protocols.dlms.apdu.access import AccessRequest, AccessResponse
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.general_block import GeneralBlock
from headend.protocols.dlms.apdu.get import GetResponseNormal
from headend.protocols.dlms.apdu.short import (
    ReadRequest,
    ReadResponse,
    ShortRequest,
    ShortResponse,
    acknowledged_block,
    block_of_answer,
)
from headend.protocols.dlms.apdu.table import Request, Response
from headend.protocols.dlms.association import decode_spoken, encode_spoken
from headend.protocols.dlms.channel import Channel
from headend.protocols.dlms.dialogue import (
    Answering,
    Asking,
    check_answer,
    cut_data,
    too_long,
)
from headend.protocols.dlms.events import (
    AssociationRequest,
    AssociationResponse,
    Event,
    Spoken,
    message_of,
)
from headend.protocols.dlms.initiate import NO_CONFORMANCE, Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.short_blocks import AnswerBlocks, ShortTransfer
from headend.protocols.dlms.side import Side
from headend.protocols.dlms.state import ACSE, AWAITING, SENDER, TRANSITIONS, Message, State, step
from headend.protocols.dlms.transfers import WholeRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headend.protocols.dlms.blocks import BlockSender
    from headend.protocols.dlms.events import Protection

MAX_TRANSFER: Final = 0x1000000
"""The longest answer put together from blocks, unless the caller says otherwise; longer ones are to be streamed."""

WINDOW: Final = 8
"""How many general blocks in a row we take, unless the caller says otherwise."""

_ASSOCIATED: Final = State.ASSOCIATED
_REQUESTED: Final = TRANSITIONS[State.ASSOCIATED][Message.REQUEST]
_NO_PROPOSAL: Final = InitiateRequest(conformance=NO_CONFORMANCE)
_ANSWER: Final = ApduReceived(b"", 0, 0)
_UNANSWERED: Final = frozenset({Message.NOTIFICATION, Message.UNCONFIRMED})
_READ: Final = bytes((ReadRequest.TAG,))
_TITLED: Final = {Aarq.TAG: Message.AARQ, Aare.TAG: Message.AARE_ACCEPTED}
"""What brings a system title and a counter along: refused out of turn before it is looked into."""


class DlmsConnection(Side):
    """One association; `state` is the conversation's."""

    __slots__ = (
        "_answering",
        "_asked",
        "_asking",
        "_max_transfer",
        "_proposal",
        "_protection",
        "_shorts",
        "state",
    )

    def __init__(
        self,
        role: Role,
        framing: Framing,
        *,
        protection: Protection | None = None,
        max_transfer: int = MAX_TRANSFER,
        window: int = WINDOW,
    ) -> None:
        """`framing` plays the same role; `protection` ciphers; `max_transfer` bounds what comes in blocks.

        `window` is how many general blocks in a row we take.
        """
        super().__init__(role, framing, Channel(framing, protection, window=window, limit=max_transfer))
        self.state = State.IDLE
        self._protection = protection
        self._max_transfer = max_transfer
        self._asked = b""
        self._asking: Asking | None = None
        self._answering = Answering(max_transfer)
        self._shorts: ShortTransfer | None = None  # where there are short names
        self._proposal = _NO_PROPOSAL

    def assume(self, conformance: Conformance, max_pdu: int) -> None:
        """A pre-established association: both sides have known for ever what is agreed, and nobody says it.

        `max_pdu` is the longest APDU that the other side takes, 0 when it has no limit. Raises LocalProtocolError when there is
        an association already.
        """
        if self.state is not State.IDLE:
            raise LocalProtocolError(f"an association is assumed in state {self.state.value}")
        self._agree(conformance, max_pdu)
        self.state = State.ASSOCIATED

    @property
    def _short(self) -> ShortTransfer:
        """What is under way with short names; kept by who changes it, for most associations never have any."""
        return self._shorts or ShortTransfer(self._max_transfer)

    def send(self, event: Spoken) -> None:
        """Queue an event.

        Raises LocalProtocolError when it is not ours to send, not now, or longer than the other side takes; then
        nothing was queued and nothing has changed.
        """
        message = message_of(event)
        if message is Message.NEXT:
            raise LocalProtocolError("the connection asks for blocks by itself")
        if SENDER[message] is not self.role:
            raise LocalProtocolError(f"a {self.role.value} does not send {type(event).__name__}")
        self._advance(message, LocalProtocolError)
        if isinstance(event, Request | ShortRequest) or (isinstance(event, AccessRequest) and event.confirmed):
            self._ask(event)
        elif isinstance(event, ReadResponse) and not self._channel.limits.fits(len(event.encode())):
            self.answer_read(iter((event.encode()[1:],)))
        elif isinstance(event, Response):
            self._send(self._answering.answer(event, self._channel.limits))
        else:
            self._send(event)
        if isinstance(event, AssociationRequest):
            self._proposal = event.initiate
        elif isinstance(event, AssociationResponse):
            self._negotiate(event)

    def send_streaming(self, event: Request | ReadRequest) -> None:
        """Like `send`, but an answer in blocks comes as one BlockReceived for each block and is not put together.

        After each but the last the caller goes on with `ask_next_block`, or gives up the rest by sending another request.
        An answer in general blocks is put together all the same.
        """
        self.send(event)
        self._asking = Asking(self._asked, self._max_transfer, streaming=True)
        self._shorts = short = self._short
        short.streaming = True

    def ask_next_block(self) -> None:
        """Queue the request for the block after the last one; raises LocalProtocolError when no transfer is under way."""
        if self._asking is None or self.state is not State.BLOCKS:
            raise LocalProtocolError("no block transfer is under way")
        self._send(self._short.next_request() if self._asked[:1] == _READ else self._asking.next_block())

    def ask_lost_blocks(self) -> bool:
        """Queue a repetition of the acknowledgement when general blocks are missing; False when none are."""
        return self._channel.ask_again()

    def answer_get(self, invoke_id_and_priority: int, pieces: Iterator[bytes], *, with_list: bool = False) -> None:
        """Server: answer a GET with encoded data that are made piece by piece, as far as the client asks for them.

        One APDU when they fit, otherwise blocks, or a refusal if the client takes none. With a list the data are the
        number of results and the results.
        """
        invoke = invoke_id_and_priority
        sender = cut_data(invoke, pieces, self._channel.limits)
        head = bytes((0xC4, 0x03, invoke) if with_list else (0xC4, 0x01, invoke, 0x00))
        refusal = too_long(GetResponseNormal(invoke, b""))
        self._answer_in_pieces(head, sender, lambda: self._answering.cut(invoke, sender), refusal)

    def answer_read(self, pieces: Iterator[bytes]) -> None:
        """Server: answer a READ with the encoded list of results, made piece by piece as far as the client asks for them."""
        limits = self._channel.limits
        blocks = AnswerBlocks(pieces, limits.max_pdu, limits.overhead)
        refusal = ReadResponse((DataAccessResult.OTHER_REASON,))
        self._shorts = short = self._short
        self._answer_in_pieces(b"\x0c", blocks, lambda: short.first_block(blocks), refusal)

    def send_prepared(self, apdu: bytes) -> None:
        """Like `send`, for the encoded APDU of a request."""
        state = self._advance(Message.REQUEST, LocalProtocolError)
        self._channel.forget()
        self._channel.send(apdu)
        self.state = state
        self._asked = apdu[:3]
        self._asking = None

    def request_sent(self, head: bytes) -> None:
        """Take note of a request that went to the link without this object; `head` is its APDU up to the invoke id."""
        self.state = _REQUESTED if self.state is _ASSOCIATED else self._advance(Message.REQUEST, LocalProtocolError)
        self._asked = head
        self._asking = None
        self._channel.forget()

    def request_answered(self) -> None:
        """Take note that the answer was taken from the link without this object."""
        self.state = _ASSOCIATED if self.state is _REQUESTED else self._advance(Message.RESPONSE, LocalProtocolError)

    def next_event(self) -> Event | NeedData:
        """The next event, or NEED_DATA.

        Raises RemoteProtocolError for what the standard forbids, also for an answer to something that was not asked, and from
        the protection SecurityError, or CapabilityError for what is compressed. Whatever is offending has been dropped and is
        never delivered later. A request stays open then, except that an error in a block transfer ends it.
        """
        while True:
            received = self._framing.next_event()
            if received is NEED_DATA:
                return NEED_DATA
            event = self.take(received)
            if event is not NEED_DATA:
                return event

    def take(self, received: FramingEvent) -> Event | NeedData:
        """What `next_event` makes of one event of the framing, for an owner who drives the framing himself."""
        if isinstance(received, ApduReceived):
            plain = self._channel.take(received, awaited=self._awaits_blocks)
            if plain is None:
                return NEED_DATA
            return self._receive(plain, received)
        if isinstance(received, LinkReleased):
            self.state = State.IDLE
            self._asking = None
            self._channel.forget()
            self._answering.forget()
            self._shorts = None
        return received

    def abort_blocks(self) -> None:
        """Server: give up an answer of which blocks are still to come; who asks for the next one is told that it was aborted."""
        self._answering.abort()

    def take_answer(self, apdu: bytes) -> Event | NeedData:
        """What `take` makes of an answer that was deciphered already, or of a general block on a plain link."""
        if apdu[0] == GeneralBlock.TAG:
            return self.take(ApduReceived(apdu, 0, 0))
        return self._receive(apdu, _ANSWER)

    def _send(self, event: Spoken) -> None:
        """Send what has its final form and make the step."""
        message = message_of(event)
        state = self._advance(message, LocalProtocolError)
        apdu = encode_spoken(event, self._protection)
        if message in ACSE:
            self._framing.send_apdu(apdu)
        else:
            unasked = message is Message.NOTIFICATION
            self._channel.send(apdu, confirmed=message not in _UNANSWERED, unasked=unasked)
        self.state = state

    def _ask(self, request: Request | ShortRequest | AccessRequest) -> None:
        """Client: send a request, or its first block."""
        self._channel.forget()
        limits = self._channel.limits
        apdu, asking, cuts = request.encode(), None, limits.may_cut(request.TAG)
        if isinstance(request, ShortRequest):
            short = self._short
            request = short.begin(request, limits.max_pdu - limits.overhead, blocks=cuts)
            self._shorts = short
        elif isinstance(request, WholeRequest) and cuts and not limits.fits(len(apdu)):
            asking = Asking(apdu[:3], self._max_transfer)
            request = asking.cut(request, limits)
        self._send(request)
        self._asked = apdu[: 5 if isinstance(request, AccessRequest) else 3]
        self._asking = asking

    def _answer_in_pieces(
        self,
        head: bytes,
        pieces: BlockSender[Response] | AnswerBlocks,
        first: Callable[[], Spoken],
        refusal: Response | ReadResponse,
    ) -> None:
        """Server: one APDU when the pieces fit after `head`, otherwise the first block, or a refusal."""
        state = self._advance(Message.RESPONSE, LocalProtocolError)
        limits = self._channel.limits
        in_blocks = limits.may_cut(head[0])
        longest = limits.max_pdu if in_blocks else self._channel.longest
        whole = pieces.whole(longest - limits.overhead - len(head))
        if whole is None:
            self._send(first() if in_blocks else refusal)
            return
        self._channel.send(head + whole)
        self.state = state

    @property
    def _awaits_blocks(self) -> bool:
        """True when general blocks may come: part of an answer that we wait for, or of a request."""
        if self.role is Role.CLIENT:
            return self.state is State.REQUESTED
        return self.state is not State.IDLE and self._channel.cuts_all

    def _advance(self, message: Message, error: type[LocalProtocolError | RemoteProtocolError]) -> State:
        """The state after the message; raises `error` when it may not come now."""
        state = step(self.state, message)
        if state is None:
            raise error(f"{message.value} in state {self.state.value}")
        return state

    def _receive(self, apdu: bytes, received: ApduReceived) -> Event | NeedData:
        """The event of one plain APDU, if it is one for the caller."""
        if apdu[0] in _TITLED:
            self._check_turn(_TITLED[apdu[0]])
        event = decode_spoken(apdu, self._protection)
        message = message_of(event)
        if SENDER[message] is self.role:
            self._refuse(f"a {message.value} for a {self.role.value}")
        if message is Message.NOTIFICATION:
            return event
        if received.unsolicited:
            self._refuse(f"a {message.value} from port {received.source} for {received.destination}")
        state = self._advance(message, RemoteProtocolError)
        if self.role is Role.SERVER:
            if message is Message.UNCONFIRMED:
                self._framing.pass_turn()
            return self._take_request(event, state)
        if self.state not in AWAITING:
            self._refuse(f"{message.value} that answers nothing")
        return self._take_answer(event, state)

    def _check_turn(self, message: Message) -> None:
        """Refuse what is not the other side's to say, or not now."""
        if SENDER[message] is self.role:
            self._refuse(f"a {message.value} for a {self.role.value}")
        self._advance(message, RemoteProtocolError)

    def _take_request(self, event: Spoken, state: State) -> Event | NeedData:
        """Server: note what the client wants; blocks are sent at once."""
        if isinstance(event, ShortRequest):
            short = self._short
            whole = short.take_request(event)
            self.state, self._shorts = state, short
            if isinstance(whole, ShortRequest):
                return whole
            self._send(whole)
            return NEED_DATA
        self.state = state
        if not isinstance(event, Request):
            self._answering.forget()
            if isinstance(event, AssociationRequest):
                self._proposal = event.initiate
            return event
        taken = self._answering.take(event, self._channel.limits)
        if isinstance(taken, Request):
            return taken
        self._send(taken)
        return NEED_DATA

    def _take_answer(self, event: Spoken, state: State) -> Event | NeedData:
        """Client: check that the answer belongs to the request, and say what it calls for."""
        if isinstance(event, AssociationResponse):
            self._negotiate(event)
        if isinstance(event, Response | ShortResponse | AccessResponse):
            check_answer(self._asked, event)
        if isinstance(event, ShortResponse):
            return self._take_short_answer(event, state)
        if not isinstance(event, Response):
            self.state = state
            return event
        asking, self._asking = self._asking or Asking(self._asked, self._max_transfer), None
        self.state = State.ASSOCIATED  # an error in a block transfer ends it
        taken = asking.take(event)
        self.state = state
        if state is State.BLOCKS:
            self._asking = asking
        if not isinstance(taken, Request):
            return taken
        self._send(taken)
        return NEED_DATA

    def _take_short_answer(self, response: ShortResponse, state: State) -> Event | NeedData:
        """Client: the same for the answer to a READ or WRITE, or to a block of it."""
        if block_of_answer(response) or acknowledged_block(response) is not None:
            self.state = State.ASSOCIATED  # stands when the block is wrong
        short = self._short
        taken = short.take_answer(response)
        self.state, self._shorts = state, short
        if not isinstance(taken, ShortRequest):
            return taken
        self._send(taken)
        return NEED_DATA

    def _negotiate(self, response: AssociationResponse) -> None:
        """What holds from now on: the conformance of both, and the longest APDU of the other side."""
        if response.accepted and isinstance(response.initiate, InitiateResponse):
            conformance = response.initiate.conformance & self._proposal.conformance
            limit = (response.initiate if self.role is Role.CLIENT else self._proposal).max_receive_pdu
            self._agree(conformance, limit, self._proposal.dedicated_key)
            self._proposal = _NO_PROPOSAL

    @staticmethod
    def _refuse(message: str) -> NoReturn:
        raise RemoteProtocolError(message)

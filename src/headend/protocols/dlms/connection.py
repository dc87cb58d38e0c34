"""`DlmsConnection`: one association over an injected framing, in either role, without I/O.

A client sends an AssociationRequest, then one request at a time, then an Rlrq, and takes one event for each of them from
`next_event`. A server does the opposite. Long answers to GET travel in blocks without anybody noticing: the client asks
for the next block by itself, the server cuts what does not fit the longest APDU of the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from headend.errors import LocalProtocolError, RemoteProtocolError, SecurityError
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
from headend.protocols.dlms.apdu.descriptor import CONFIRMED, HIGH_PRIORITY, INVOKE_ID, DataAccessResult
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetResponseNormal,
    GetResponseWithDatablock,
    GetResponseWithList,
    decode_results,
)
from headend.protocols.dlms.apdu.notification import NOTIFICATION_TAGS
from headend.protocols.dlms.apdu.short import (
    ReadRequest,
    ReadResponse,
    ShortResponse,
    WriteRequest,
    acknowledged_block,
    block_of_answer,
)
from headend.protocols.dlms.apdu.table import Request, Response, decode_apdu
from headend.protocols.dlms.association import (
    request_from_aarq,
    request_to_aarq,
    response_from_aare,
    response_to_aare,
)
from headend.protocols.dlms.blocks import MIN_PDU, BlockReceiver, BlockSender, room_for_raw_data
from headend.protocols.dlms.events import (
    AssociationRequest,
    AssociationResponse,
    BlockReceived,
    Event,
    Spoken,
    message_of,
)
from headend.protocols.dlms.initiate import NO_CONFORMANCE, Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.short_blocks import AnswerBlocks, ShortTransfer
from headend.protocols.dlms.state import ACSE, AWAITING, SENDER, TRANSITIONS, Message, State, step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headend.protocols.dlms.events import Protection

MAX_TRANSFER: Final = 0x1000000
"""The longest answer put together from blocks, unless the caller says otherwise; longer ones are to be streamed."""

_ASSOCIATED: Final = State.ASSOCIATED
_REQUESTED: Final = TRANSITIONS[State.ASSOCIATED][Message.REQUEST]
_NO_LIMIT: Final = 0xFFFF
_WITH_LIST: Final = 0x03
_ANSWER: Final = ApduReceived(b"", 0, 0)
_TITLED: Final = {Aarq.TAG: Message.AARQ, Aare.TAG: Message.AARE_ACCEPTED}
"""What brings a system title and a counter along: refused out of turn before it is looked into."""
_TO_RESPONSE: Final = 0x04
"""Distance from the tag of a request to that of its response."""
_TO_SHORT_RESPONSE: Final = 0x07
_READ: Final = b"\x05"
_READ_BLOCKS: Final = Conformance.BLOCK_TRANSFER_WITH_GET
_WRITE_BLOCKS: Final = Conformance.BLOCK_TRANSFER_WITH_SET
"""The conformance block has one bit for GET and READ, and one for SET and WRITE."""


class DlmsConnection:
    """One association. `state` is the conversation's, `conformance` and `max_send_pdu` what was negotiated."""

    def __init__(
        self, role: Role, framing: Framing, *, protection: Protection | None = None, max_transfer: int = MAX_TRANSFER
    ) -> None:
        """`framing` plays the same role; `protection` ciphers; `max_transfer` bounds an answer that comes in blocks."""
        self.role = role
        self.state = State.IDLE
        self.conformance: Conformance = NO_CONFORMANCE
        self.max_send_pdu = _NO_LIMIT
        self.refused = 0
        """notifications that were dropped because they are not protected as they must be: anybody may have sent them"""
        self._framing = framing
        self._protection = protection
        self._max_transfer = max_transfer
        self._invoke_id = 0
        self._asked = b""
        self._streaming = False
        self._receiver: BlockReceiver | None = None
        self._sender: BlockSender | None = None
        self._short = ShortTransfer(max_transfer)
        self._proposal = InitiateRequest(conformance=NO_CONFORMANCE)

    def open(self) -> None:
        """Client: open the framing; LinkOpened follows from `next_event`."""
        self._framing.open()

    def close(self) -> None:
        """Close the framing; LinkReleased follows from `next_event`."""
        self._framing.close()

    @property
    def max_request(self) -> int:
        """The longest request before it is ciphered."""
        return self.max_send_pdu - (self._protection.overhead if self._protection else 0)

    def next_invoke_id(self) -> int:
        """The invoke-id-and-priority octet of the next request: confirmed, high priority, another id than the last."""
        self._invoke_id = (self._invoke_id + 1) & INVOKE_ID
        return CONFIRMED | HIGH_PRIORITY | self._invoke_id

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when the bounded buffer overflows."""
        self._framing.receive_data(data)

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        return self._framing.data_to_send()

    def send(self, event: Spoken) -> None:
        """Queue an event.

        Raises LocalProtocolError when it is not ours to send, not now, or longer than the other side takes; then
        nothing was queued and nothing has changed.
        """
        if isinstance(event, GetRequestNext):
            raise LocalProtocolError("the connection asks for blocks by itself")
        if SENDER[message_of(event)] is not self.role:
            raise LocalProtocolError(f"a {self.role.value} does not send {type(event).__name__}")
        if isinstance(event, GetResponseNormal | GetResponseWithList) and not self._fits(event):
            with_list = isinstance(event, GetResponseWithList)
            data = event.encode_results() if isinstance(event, GetResponseWithList) else event.encode()[4:]
            self.answer_get(event.invoke_id_and_priority, iter((data,)), with_list=with_list)
            return
        if isinstance(event, ReadResponse) and len(event.encode()) > self.max_request:
            self.answer_read(iter((event.encode()[1:],)))
            return
        if isinstance(event, ReadRequest | WriteRequest):
            self._advance(Message.REQUEST, LocalProtocolError)
            blocks = (_READ_BLOCKS if isinstance(event, ReadRequest) else _WRITE_BLOCKS) in self.conformance
            event = self._short.begin(event, self.max_request, blocks=blocks)
        apdu = self._send(event)
        if isinstance(event, Request | ReadRequest | WriteRequest):
            self._note_request(apdu[:3])
        elif isinstance(event, AssociationRequest):
            self._proposal = event.initiate
        elif isinstance(event, AssociationResponse):
            self._negotiate(event)

    def send_streaming(self, event: Request) -> None:
        """Like `send`, but an answer in blocks comes as one BlockReceived for each block and is not put together.

        After each but the last the caller goes on with `ask_next_block`, or gives up the rest by sending another request.
        """
        self.send(event)
        self._streaming = True

    def ask_next_block(self) -> None:
        """Queue the request for the block after the last one; raises LocalProtocolError when no transfer is under way."""
        if self._asked[:1] == _READ:
            self._send(self._short.next_request())
            return
        if self._receiver is None:
            raise LocalProtocolError("no block transfer is under way")
        self._send(GetRequestNext(self._asked[2], self._receiver.number))

    def answer_get(self, invoke_id_and_priority: int, pieces: Iterator[bytes], *, with_list: bool = False) -> None:
        """Server: answer a GET with encoded data that are made piece by piece, as far as the client asks for them.

        One APDU when they fit, otherwise blocks, or a refusal if the client takes none. With a list the data are the
        number of results and the results.
        """
        state = self._advance(Message.RESPONSE, LocalProtocolError)
        overhead = self._protection.overhead if self._protection else 0
        head = bytes((0xC4, 0x03, invoke_id_and_priority) if with_list else (0xC4, 0x01, invoke_id_and_priority, 0x00))
        sender = BlockSender(invoke_id_and_priority, pieces, room_for_raw_data(self.max_send_pdu, overhead))
        whole = sender.whole(self.max_send_pdu - overhead - len(head))
        if whole is not None:
            self._transmit(head + whole)
            self.state = state
        elif Conformance.BLOCK_TRANSFER_WITH_GET in self.conformance:
            self._sender = sender
            self._send(sender.next_block(0))
        else:
            self._send(GetResponseNormal(invoke_id_and_priority, DataAccessResult.OTHER_REASON))

    def answer_read(self, pieces: Iterator[bytes]) -> None:
        """Server: answer a READ with the encoded list of results, made piece by piece as far as the client asks for them."""
        state = self._advance(Message.RESPONSE, LocalProtocolError)
        overhead = self._protection.overhead if self._protection else 0
        blocks = AnswerBlocks(pieces, self.max_send_pdu, overhead)
        whole = blocks.whole(self.max_request - 1)
        if whole is not None:
            self._transmit(b"\x0c" + whole)
            self.state = state
        elif _READ_BLOCKS in self.conformance:
            self._send(self._short.first_block(blocks))
        else:
            self._send(ReadResponse((DataAccessResult.OTHER_REASON,)))

    def send_prepared(self, apdu: bytes) -> None:
        """Like `send`, for the encoded APDU of a request."""
        state = self._advance(Message.REQUEST, LocalProtocolError)
        self._transmit(apdu)
        self.state = state
        self._note_request(apdu[:3])

    def request_sent(self, head: bytes) -> None:
        """Take note of a request that went to the link without this object; `head` is its APDU up to the invoke id."""
        self.state = _REQUESTED if self.state is _ASSOCIATED else self._advance(Message.REQUEST, LocalProtocolError)
        self._asked = head
        self._streaming = False
        self._receiver = None

    def request_answered(self) -> None:
        """Take note that the answer was taken from the link without this object."""
        self.state = _ASSOCIATED if self.state is _REQUESTED else self._advance(Message.RESPONSE, LocalProtocolError)

    def next_event(self) -> Event | NeedData:
        """The next event, or NEED_DATA.

        Raises RemoteProtocolError for what the standard forbids, also for an answer to something that was not asked,
        and SecurityError from the protection. Whatever is offending has been dropped and is never delivered later. A request
        stays open then, except that an error in a block transfer ends it.
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
            raw, protection = received.apdu, self._protection
            if protection is None or 0x60 <= raw[0] <= 0x63:
                return self._receive(raw, received)
            unasked = self.role is Role.CLIENT and (received.unsolicited or raw[0] in NOTIFICATION_TAGS)
            try:
                plain = protection.unprotect(raw)
            except (SecurityError, RemoteProtocolError):
                if not unasked:
                    raise
                self.refused += 1
                return NEED_DATA
            return self._receive(plain, received)
        if isinstance(received, LinkReleased):
            self.state = State.IDLE
            self._sender = self._receiver = None
            self._short.clear()
        return received

    def take_answer(self, apdu: bytes) -> Event | NeedData:
        """What `take` makes of an answer that was deciphered already."""
        return self._receive(apdu, _ANSWER)

    def _send(self, event: Spoken) -> bytes:
        """Send what has its final form and make the step; returns the APDU."""
        message = message_of(event)
        state = self._advance(message, LocalProtocolError)
        if isinstance(event, AssociationRequest):
            apdu = request_to_aarq(event, self._protection).encode()
        elif isinstance(event, AssociationResponse):
            apdu = response_to_aare(event, self._protection).encode()
        else:
            apdu = event.encode()
        if message in ACSE:
            self._framing.send_apdu(apdu)
        else:
            self._transmit(apdu)
        self.state = state
        return apdu

    def _note_request(self, head: bytes) -> None:
        self._asked = head
        self._streaming = False
        self._receiver = None

    def _transmit(self, apdu: bytes) -> None:
        """Protect and send one APDU, not longer than the other side takes."""
        if self._protection is not None:
            apdu = self._protection.protect(apdu)
        if len(apdu) > self.max_send_pdu:
            raise LocalProtocolError(f"an APDU of {len(apdu)} octets; the other side takes {self.max_send_pdu}")
        self._framing.send_apdu(apdu)

    def _advance(self, message: Message, error: type[LocalProtocolError | RemoteProtocolError]) -> State:
        """The state after the message; raises `error` when it may not come now."""
        state = step(self.state, message)
        if state is None:
            raise error(f"{message.value} in state {self.state.value}")
        return state

    def _fits(self, event: GetResponseNormal | GetResponseWithList) -> bool:
        overhead = self._protection.overhead if self._protection else 0
        return len(event.encode()) + overhead <= self.max_send_pdu

    def _receive(self, apdu: bytes, received: ApduReceived) -> Event | NeedData:
        """The event of one plain APDU, if it is one for the caller."""
        if apdu[0] in _TITLED:
            self._check_turn(_TITLED[apdu[0]])
        event = self._decode(apdu)
        message = message_of(event)
        if SENDER[message] is self.role:
            self._refuse(f"a {message.value} for a {self.role.value}")
        if message is Message.NOTIFICATION:
            return event
        if received.unsolicited:
            self._refuse(f"a {message.value} from port {received.source} for {received.destination}")
        state = self._advance(message, RemoteProtocolError)
        if self.role is Role.SERVER:
            return self._take_request(event, state)
        if self.state not in AWAITING:
            self._refuse(f"{message.value} that answers nothing")
        return self._take_answer(event, state)

    def _check_turn(self, message: Message) -> None:
        """Refuse what is not the other side's to say, or not now."""
        if SENDER[message] is self.role:
            self._refuse(f"a {message.value} for a {self.role.value}")
        self._advance(message, RemoteProtocolError)

    def _decode(self, plain: bytes) -> Spoken:
        apdu = decode_apdu(plain)
        if isinstance(apdu, Aarq):
            return request_from_aarq(apdu, self._protection)
        if isinstance(apdu, Aare):
            return response_from_aare(apdu, self._protection)
        return apdu

    def _take_request(self, event: Spoken, state: State) -> Event | NeedData:
        """Server: note what the client wants; blocks are sent at once."""
        if isinstance(event, ReadRequest | WriteRequest):
            taken = self._short.take_request(event)
            self.state = state
            if isinstance(taken, ReadRequest | WriteRequest):
                return taken
            self._send(taken)
            return NEED_DATA
        self.state = state
        if isinstance(event, GetRequestNext):
            self._send_next_block(event)
            return NEED_DATA
        self._sender = None
        if isinstance(event, AssociationRequest):
            self._proposal = event.initiate
        return event

    def _send_next_block(self, event: GetRequestNext) -> None:
        """Server: the next block of the answer that is under way."""
        if self._sender is None:
            reason = DataAccessResult.NO_LONG_GET_IN_PROGRESS
            block = GetResponseWithDatablock(
                event.invoke_id_and_priority, last_block=True, block_number=event.block_number, result=reason
            )
        else:
            block = self._sender.next_block(event.block_number)
        if message_of(block) is Message.RESPONSE:
            self._sender = None
        self._send(block)

    def _take_answer(self, event: Spoken, state: State) -> Event | NeedData:
        """Client: check that the answer belongs to the request."""
        if isinstance(event, ShortResponse):
            return self._take_short_answer(event, state)
        if isinstance(event, Response):
            self._check_answer(event)
            if isinstance(event, GetResponseWithDatablock):
                return self._take_block(event, state)
        elif isinstance(event, AssociationResponse):
            self._negotiate(event)
        self.state = state
        return event

    def _check_answer(self, response: Response) -> None:
        tag, _, invoke = self._asked
        got = response.invoke_id_and_priority
        if (got ^ invoke) & INVOKE_ID:
            self._refuse("an answer to another request", f"invoke id {invoke & INVOKE_ID}", str(got & INVOKE_ID))
        if tag + _TO_RESPONSE != response.TAG:
            self._refuse("an answer to another service", f"{tag + _TO_RESPONSE:02x}", f"{response.TAG:02x}")
        if isinstance(response, GetResponseWithList) and self._asked[1] != _WITH_LIST:
            self._refuse("a list of results", "one result", f"{len(response.results)}")

    def _take_block(self, block: GetResponseWithDatablock, state: State) -> Event | NeedData:
        """Client: one block of an answer. Ask for the next one, or put them together."""
        self.state = State.ASSOCIATED
        if not isinstance(block.result, bytes):
            return GetResponseNormal(block.invoke_id_and_priority, block.result)
        receiver, self._receiver = self._receiver or BlockReceiver(self._max_transfer), None
        receiver.check(block.block_number)
        if not self._streaming:
            receiver.add(block.result)
        self.state = state
        if not block.last_block:
            self._receiver = receiver
        if self._streaming:
            return BlockReceived(block.invoke_id_and_priority, block.block_number, block.result, block.last_block)
        if not block.last_block:
            self.ask_next_block()
            return NEED_DATA
        if self._asked[1] == _WITH_LIST:
            reader = Reader(receiver.data())
            results = decode_results(reader)
            reader.finish("list of results")
            return GetResponseWithList(block.invoke_id_and_priority, results)
        return GetResponseNormal(block.invoke_id_and_priority, receiver.data())

    def _take_short_answer(self, response: ShortResponse, state: State) -> Event | NeedData:
        """Client: the answer to a READ or WRITE, or to a block of it; what brings the next block is sent at once."""
        expected = self._asked[0] + _TO_SHORT_RESPONSE
        if expected != response.TAG:
            self._refuse("an answer to another service", f"{expected:02x}", f"{response.TAG:02x}")
        if block_of_answer(response) or acknowledged_block(response) is not None:
            self.state = State.ASSOCIATED  # stands when the block is wrong
        taken = self._short.take_answer(response, streaming=self._streaming)
        self.state = state
        if not isinstance(taken, ReadRequest | WriteRequest):
            return taken
        self._send(taken)
        return NEED_DATA

    def _negotiate(self, response: AssociationResponse) -> None:
        """What holds from now on: the conformance of both, and the longest APDU of the other side."""
        if response.accepted and isinstance(response.initiate, InitiateResponse):
            self.conformance = response.initiate.conformance & self._proposal.conformance
            limit = (response.initiate if self.role is Role.CLIENT else self._proposal).max_receive_pdu
            least = MIN_PDU + (self._protection.overhead if self._protection else 0)
            self.max_send_pdu = max(limit, least) if limit else _NO_LIMIT
            if self._protection is not None:
                self._protection.agreed(self.conformance, self._proposal.dedicated_key)

    @staticmethod
    def _refuse(message: str, expected: str = "", got: str = "") -> NoReturn:
        raise RemoteProtocolError(message, expected=expected, got=got)

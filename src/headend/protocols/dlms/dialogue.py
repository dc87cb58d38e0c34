"""One request and its answer, however many blocks they take: the client's side and the server's, without state or framing.

A client learns what to say next, or the answer; a server learns the whole request, or what to say next. A broken rule ends
the transfer, and what was kept of it is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.access import LONG_INVOKE_ID, AccessResponse
from headend.protocols.dlms.apdu.action import (
    ActionRequestNextPblock,
    ActionRequestNormal,
    ActionResponseNextPblock,
    ActionResponseNormal,
    ActionResponsePblock,
    ActionResponseWithList,
)
from headend.protocols.dlms.apdu.descriptor import INVOKE_ID, ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetResponseNormal,
    GetResponseWithDatablock,
    GetResponseWithList,
    decode_results,
)
from headend.protocols.dlms.apdu.set import (
    SetResponseDatablock,
    SetResponseWithList,
)
from headend.protocols.dlms.apdu.short import ShortResponse
from headend.protocols.dlms.apdu.table import Request, Response
from headend.protocols.dlms.blocks import BlockReceiver, BlockSender, room_for_raw_data
from headend.protocols.dlms.events import BlockReceived
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.transfers import (
    FirstBlock,
    FollowingBlock,
    RequestBlock,
    RequestReceiver,
    WholeRequest,
    answer_of_blocks,
    answer_to_blocks,
    cut_answer,
    cut_request,
    join_answer,
    refuse_block,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_TO_RESPONSE: Final = 0x04
"""Distance from the tag of a request to that of its response."""
_ANSWERS: Final = {0x05: 0x0C, 0x06: 0x0D, 0xC0: 0xC4, 0xC1: 0xC5, 0xC3: 0xC7, 0xD9: 0xDA}
"""Tags of requests and of their answers."""
_LISTS: Final = frozenset((b"\xc0\x03", b"\xc1\x04", b"\xc1\x05", b"\xc3\x03", b"\xc3\x05"))
"""How requests with list begin."""
_WITH_LIST: Final = GetResponseWithList | SetResponseWithList | ActionResponseWithList
_BITS: Final = {
    0x05: Conformance.BLOCK_TRANSFER_WITH_GET,
    0x06: Conformance.BLOCK_TRANSFER_WITH_SET,
    0x0C: Conformance.BLOCK_TRANSFER_WITH_GET,
    0xC0: Conformance.BLOCK_TRANSFER_WITH_GET,
    0xC1: Conformance.BLOCK_TRANSFER_WITH_SET,
    0xC3: Conformance.BLOCK_TRANSFER_WITH_ACTION,
    0xC4: Conformance.BLOCK_TRANSFER_WITH_GET,
    0xC7: Conformance.BLOCK_TRANSFER_WITH_ACTION,
}
"""What both sides must have agreed on, by the tag of what is cut; READ and WRITE share the bits of GET and SET."""


class Limits:
    """How long an APDU may be for the other side, before it is ciphered, and what was agreed on."""

    __slots__ = ("conformance", "max_pdu", "overhead")

    def __init__(self, max_pdu: int, overhead: int, conformance: Conformance) -> None:
        """`overhead` is what ciphering adds; `max_pdu` includes it."""
        self.max_pdu = max_pdu
        self.overhead = overhead
        self.conformance = conformance

    def fits(self, length: int) -> bool:
        """True for an APDU that needs no blocks."""
        return length + self.overhead <= self.max_pdu

    def may_cut(self, tag: int) -> bool:
        """True when APDUs with this tag may go in blocks of their service."""
        return tag in _BITS and _BITS[tag] in self.conformance


# --- client ---


def check_answer(asked: bytes, response: Response | ShortResponse | AccessResponse) -> None:
    """Raise RemoteProtocolError for an answer to something else. `asked` is the request up to its invoke id."""
    expected = _ANSWERS[asked[0]]
    if expected != response.TAG:
        _refuse("an answer to another service", f"{expected:02x}", f"{response.TAG:02x}")
    if isinstance(response, ShortResponse):
        return
    if isinstance(response, AccessResponse):
        invoke, got, mask = int.from_bytes(asked[1:5], "big"), response.long_invoke_id_and_priority, LONG_INVOKE_ID
    else:
        invoke, got, mask = asked[2], response.invoke_id_and_priority, INVOKE_ID
    if (got ^ invoke) & mask:
        _refuse("an answer to another request", f"invoke id {invoke & mask}", str(got & mask))
    if isinstance(response, _WITH_LIST) and asked[:2] not in _LISTS:
        _refuse("a list of results", "one result", "several")


class Asking:
    """The client's side of a request that takes more than one APDU each way."""

    __slots__ = ("_asked", "_receiver", "_sender", "_streaming")

    def __init__(self, asked: bytes, limit: int, *, streaming: bool = False) -> None:
        """`asked` is the request up to its invoke id; `limit` bounds the answer."""
        self._asked = asked
        self._receiver = BlockReceiver(limit)
        self._sender: BlockSender[RequestBlock] | None = None
        self._streaming = streaming

    def cut(self, request: WholeRequest, limits: Limits) -> RequestBlock | WholeRequest:
        """The first block of a request; the others follow as the server takes them.

        The request itself where what it asks for does not fit the first block, and general blocks carry it all the same.
        """
        try:
            self._sender = cut_request(request, limits.max_pdu, limits.overhead)
        except LocalProtocolError:
            if Conformance.GENERAL_BLOCK_TRANSFER not in limits.conformance:
                raise
            return request
        return self._sender.next_block()

    def take(self, response: Response) -> Response | BlockReceived | Request:
        """The answer, a block of it when streaming, or what is to be said next. Raises RemoteProtocolError."""
        match response:
            case GetResponseWithDatablock(invoke, last, number, raw_data):
                if not isinstance(raw_data, bytes):
                    return GetResponseNormal(invoke, raw_data)
                return self._take_block(response, last=last, number=number, raw_data=raw_data)
            case ActionResponsePblock(_, last, number, raw_data):
                self._require_all_sent(response)
                return self._take_block(response, last=last, number=number, raw_data=raw_data)
            case SetResponseDatablock(_, number) | ActionResponseNextPblock(_, number):
                return self._next_request(number)
        self._require_all_sent(response)
        self._sender = None
        return answer_of_blocks(response)

    def next_block(self) -> GetRequestNext | ActionRequestNextPblock:
        """The request for the block after the last one; raises LocalProtocolError when there was none."""
        number, invoke = self._receiver.number, self._asked[2]
        if not number:
            raise LocalProtocolError("no block transfer is under way")
        if self._asked[0] == ActionRequestNormal.TAG:
            return ActionRequestNextPblock(invoke, number)
        return GetRequestNext(invoke, number)

    def _next_request(self, taken: int) -> RequestBlock:
        sender = self._sender
        if sender is None or sender.done:
            _refuse("a block was taken that is not followed by another")
        if taken != sender.number:
            _refuse("block number", str(sender.number), str(taken))
        return sender.next_block()

    def _require_all_sent(self, response: Response) -> None:
        """A server may break off a transfer, but not call it done."""
        if self._sender is None or self._sender.done:
            return
        result = getattr(response, "result", None)
        if result in (None, DataAccessResult.SUCCESS):
            _refuse("an answer before the last block of the request")

    def _take_block(
        self, block: GetResponseWithDatablock | ActionResponsePblock, *, last: bool, number: int, raw_data: bytes
    ) -> Response | BlockReceived | Request:
        receiver, invoke = self._receiver, block.invoke_id_and_priority
        receiver.check(number, raw_data)
        if self._streaming:
            return BlockReceived(invoke, number, raw_data, last)
        receiver.add(raw_data)
        if not last:
            return self.next_block()
        with_list = self._asked[:2] in _LISTS
        if isinstance(block, ActionResponsePblock):
            return join_answer(invoke, receiver.data(), with_list=with_list)
        if not with_list:
            return GetResponseNormal(invoke, receiver.data())
        reader = Reader(receiver.data())
        results = decode_results(reader)
        reader.finish("list of results")
        return GetResponseWithList(invoke, results)


# --- server ---


class Answering:
    """The server's side of whatever is under way: a request that comes in blocks, or an answer that goes in blocks."""

    __slots__ = ("_aborted", "_acknowledge", "_invoke", "_limit", "_receiver", "_sender")

    def __init__(self, limit: int) -> None:
        """`limit` bounds a request."""
        self._aborted = False
        self._limit = limit
        self._invoke = 0
        self._acknowledge = 0
        self._receiver: RequestReceiver | None = None
        self._sender: BlockSender[Response] | None = None

    def forget(self) -> None:
        """Whatever was under way is over."""
        self._aborted = False
        self._acknowledge = 0
        self._receiver = self._sender = None

    def abort(self) -> None:
        """Give up an answer that goes in blocks; who asks for the next one is told."""
        self._aborted = self._aborted or self._sender is not None
        self._sender = None

    def take(self, request: Request, limits: Limits) -> Request | Response:
        """The request for the caller, or what is to be said now; raises RemoteProtocolError for data that cannot be read."""
        if isinstance(request, GetRequestNext | ActionRequestNextPblock):
            return self._next_block(request)
        if isinstance(request, FollowingBlock) or (isinstance(request, FirstBlock) and limits.may_cut(request.TAG)):
            return self._take_block(request)
        self.forget()
        return request

    def answer(self, response: Response, limits: Limits) -> Response:
        """What is to be sent for an answer: itself, or its first block. An answer that cannot be cut and is too long stays."""
        if self._acknowledge:
            response = answer_to_blocks(response, self._acknowledge)
            self._acknowledge = 0
        if limits.fits(len(response.encode())):
            return response
        sender: BlockSender[Response] | None = None
        invoke = response.invoke_id_and_priority
        if isinstance(response, GetResponseNormal) and isinstance(response.result, bytes):
            sender = cut_data(invoke, iter((response.result,)), limits)
        elif isinstance(response, GetResponseWithList):
            sender = cut_data(invoke, iter((response.encode_results(),)), limits)
        elif isinstance(response, ActionResponseNormal | ActionResponseWithList):
            sender = cut_answer(response, limits.max_pdu, limits.overhead)
        if sender is not None and limits.may_cut(response.TAG):
            return self.cut(invoke, sender)
        if Conformance.GENERAL_BLOCK_TRANSFER in limits.conformance:
            return response
        return too_long(response)

    def cut(self, invoke_id_and_priority: int, sender: BlockSender[Response]) -> Response:
        """The first block of an answer; the others follow as the client asks for them."""
        self._invoke = invoke_id_and_priority
        self._sender = sender
        return sender.next_block()

    def _take_block(self, block: RequestBlock) -> Request | Response:
        receiver, self._receiver, self._sender = self._receiver, None, None
        if isinstance(block, FirstBlock):
            receiver = RequestReceiver(block, self._limit)
        if receiver is None:
            return refuse_block(block, DataAccessResult.NO_LONG_SET_IN_PROGRESS)
        taken = receiver.add(block)
        if isinstance(taken, Request):
            self._acknowledge = block.block_number
        elif isinstance(taken, SetResponseDatablock | ActionResponseNextPblock):
            self._receiver = receiver
        return taken

    def _next_block(self, request: GetRequestNext | ActionRequestNextPblock) -> Response:
        sender, self._sender, self._receiver = self._sender, None, None
        aborted, self._aborted = self._aborted, False
        if aborted:
            return _no_block(request, DataAccessResult.LONG_GET_ABORTED, ActionResult.LONG_ACTION_ABORTED)
        if sender is None or (self._invoke ^ request.invoke_id_and_priority) & INVOKE_ID:
            return _no_block(request, DataAccessResult.NO_LONG_GET_IN_PROGRESS, ActionResult.NO_LONG_ACTION_IN_PROGRESS)
        if request.block_number != sender.number:
            return _no_block(request, DataAccessResult.DATA_BLOCK_NUMBER_INVALID, ActionResult.DATA_BLOCK_UNAVAILABLE)
        block = sender.next_block()
        if block.TAG != request.TAG + _TO_RESPONSE:
            return _no_block(request, DataAccessResult.NO_LONG_GET_IN_PROGRESS, ActionResult.NO_LONG_ACTION_IN_PROGRESS)
        if not sender.done:
            self._sender = sender
        return block


def cut_data(invoke_id_and_priority: int, pieces: Iterator[bytes], limits: Limits) -> BlockSender[Response]:
    """The blocks of what answers a GET, made of pieces as they are needed."""

    def make(last: bool, number: int, raw_data: bytes) -> Response:  # noqa: FBT001 - fields in their order
        return GetResponseWithDatablock(invoke_id_and_priority, last, number, raw_data)

    return BlockSender(make, pieces, room_for_raw_data(limits.max_pdu, limits.overhead))


def too_long(response: Response) -> Response:
    """What a server says instead of an answer that the client cannot take."""
    invoke = response.invoke_id_and_priority
    if isinstance(response, GetResponseNormal | GetResponseWithList):
        return GetResponseNormal(invoke, DataAccessResult.OTHER_REASON)
    if isinstance(response, ActionResponseNormal) and response.result != ActionResult.SUCCESS:
        return ActionResponseNormal(invoke, response.result)
    if isinstance(response, ActionResponseNormal | ActionResponseWithList):
        return ActionResponseNormal(invoke, ActionResult.OTHER_REASON)
    return response


def _no_block(
    request: GetRequestNext | ActionRequestNextPblock, reason: DataAccessResult, result: ActionResult
) -> Response:
    if isinstance(request, ActionRequestNextPblock):
        return ActionResponseNormal(request.invoke_id_and_priority, result)
    return GetResponseWithDatablock(request.invoke_id_and_priority, True, request.block_number, reason)  # noqa: FBT003


def _refuse(message: str, expected: str = "", got: str = "") -> NoReturn:
    raise RemoteProtocolError(message, expected=expected, got=got)

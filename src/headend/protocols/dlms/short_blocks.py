"""Block transfer of short-name services: requests and answers longer than one APDU, cut and put together by both roles.

```text
 long answer    read-request                     ─▶
                ◀─  data-block-result 1
                block-number-access 1            ─▶
                ◀─  data-block-result 2, last

 long request   read- or write-data-block 1      ─▶
                ◀─  block-number 1
                read- or write-data-block 2, last ─▶
                ◀─  the answer
```

The conversation takes each block of a request and its block-number for a request and its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import DecodeError, LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.short import (
    BlockNumber,
    BlockNumberAccess,
    DataBlock,
    ParameterizedAccess,
    ReadDataBlockAccess,
    ReadRequest,
    ReadResponse,
    ShortRequest,
    ShortResponse,
    VariableName,
    WriteDataBlockAccess,
    WriteRequest,
    WriteResponse,
    acknowledged_block,
    block_asked,
    block_of_answer,
    block_of_write,
    decode_read_request,
    decode_read_response,
    decode_write_request,
    write_block,
)
from headend.protocols.dlms.blocks import BlockReceiver, BlockSender, room_for_raw_data
from headend.protocols.dlms.events import BlockReceived
from headend.protocols.dlms.octets import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

HIGHEST_BLOCK: Final = 0xFFFF
_GET_HEAD: Final = 9
"""Octets that `room_for_raw_data` leaves for a head; those of READ and WRITE are shorter."""
_LESS_HEAD: Final = 3
_VARIABLES: Final = (VariableName, ParameterizedAccess)
"""What can be asked for; everything else are blocks."""
_WRITE_HEAD: Final = 8


class ShortTransfer:
    """The block transfers of one connection, in either role; `limit` bounds what comes in blocks."""

    __slots__ = ("_answer", "_asked", "_cutter", "_limit", "_receiver", "_request", "streaming")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.clear()

    def clear(self) -> None:
        """Nothing is under way any more."""
        self.streaming = False
        self._asked = 0
        self._cutter: _RequestCutter | None = None
        self._receiver: BlockReceiver | None = None
        self._answer: AnswerBlocks | None = None
        self._request = _RequestBlocks(self._limit)

    # --- client ---

    def begin(self, request: ShortRequest, room: int, *, blocks: bool) -> ShortRequest:
        """What to send first: the request, or its first block when it is longer than `room` and `blocks` were agreed on.

        Raises LocalProtocolError for a request without variables, and for blocks, which this class makes itself.
        """
        if not request.variables or not all(isinstance(each, _VARIABLES) for each in request.variables):
            raise LocalProtocolError("a request needs variables; its blocks are made by the connection")
        cutter = _RequestCutter(request, room) if blocks and len(request.encode()) > room else None
        self.clear()
        self._asked, self._cutter = len(request.variables), cutter
        return cutter.next_block() if cutter else request

    def take_answer(self, response: ShortResponse) -> ShortResponse | BlockReceived | ShortRequest:
        """What is in an answer, or the request that brings the rest of it; raises RemoteProtocolError."""
        number = acknowledged_block(response)
        if number is not None:
            cutter, self._cutter = self._cutter, None
            if cutter is None:
                raise RemoteProtocolError("a block number in the answer to a whole request")
            request = cutter.after(number)
            self._cutter = cutter
            return request
        block = block_of_answer(response)
        if block is not None:
            return self._take_block(block)
        under_way = self._cutter or self._receiver
        match response.results:
            case (DataAccessResult() as reason,) if under_way:
                response = type(response)((reason,) * self._asked)  # it ends the transfer, and so all that was asked
        self._check(response)
        self._cutter = self._receiver = None
        return response

    def next_request(self) -> ReadRequest:
        """The request for the block after the last one; raises LocalProtocolError when no transfer is under way."""
        if self._receiver is None:
            raise LocalProtocolError("no block transfer is under way")
        return ReadRequest((BlockNumberAccess(self._receiver.number),))

    def _take_block(self, block: DataBlock) -> ReadResponse | BlockReceived | ReadRequest:
        receiver, self._receiver = self._receiver or BlockReceiver(self._limit), None
        self._cutter = None
        receiver.check(block.block_number, block.raw_data)
        if not self.streaming:
            receiver.add(block.raw_data)
        if not block.last_block:
            self._receiver = receiver
        if self.streaming:
            return BlockReceived(0, block.block_number, block.raw_data, block.last_block)
        if not block.last_block:
            return self.next_request()
        response = _answer_of_blocks(receiver.data())
        self._check(response)
        return response

    def _check(self, response: ShortResponse) -> None:
        count = len(response.results)
        if count != self._asked:
            raise RemoteProtocolError("number of results", expected=str(self._asked), got=str(count))

    # --- server ---

    def take_request(self, request: ShortRequest) -> ShortRequest | ShortResponse:
        """The request when it is whole, otherwise the answer to a part of it; raises DecodeError for blocks of nothing."""
        number = block_asked(request)
        if number is None:
            self._answer = None
            return self._request.take(request)
        answer, self._answer = self._answer, None
        if answer is None:
            return ReadResponse((DataAccessResult.NO_LONG_GET_IN_PROGRESS,))
        response = answer.next_block(number)
        block = block_of_answer(response)
        self._answer = answer if block and not block.last_block else None
        return response

    def first_block(self, answer: AnswerBlocks) -> ReadResponse:
        """Begin to send a long answer."""
        self._answer = answer
        return answer.next_block(0)


class _RequestCutter:
    """Client: a request in blocks."""

    __slots__ = ("_number", "_size", "_waiting", "_writes")

    def __init__(self, request: ShortRequest, room: int) -> None:
        """`room` is the longest APDU; raises LocalProtocolError when that many blocks cannot be numbered."""
        self._writes = isinstance(request, WriteRequest)
        self._waiting = request.encode()[1:]
        self._size = room_for_raw_data(room + (_GET_HEAD - _WRITE_HEAD if self._writes else _LESS_HEAD), 0)
        self._number = 0
        if len(self._waiting) > self._size * HIGHEST_BLOCK:
            raise LocalProtocolError(f"a request of {len(self._waiting)} octets in blocks of {self._size}")

    def next_block(self) -> ShortRequest:
        """The next block."""
        raw_data, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        self._number += 1
        last = not self._waiting
        if self._writes:
            return write_block(WriteDataBlockAccess(last, self._number), raw_data)
        return ReadRequest((ReadDataBlockAccess(last, self._number, raw_data),))

    def after(self, acknowledged: int) -> ShortRequest:
        """The block after the one that the meter has taken; raises RemoteProtocolError when it is another or was the last."""
        if acknowledged != self._number:
            raise RemoteProtocolError("block number", expected=str(self._number), got=str(acknowledged))
        if not self._waiting:
            raise RemoteProtocolError("a block number after the last block", expected="the answer")
        return self.next_block()


class _RequestBlocks:
    """Server: a request that comes in blocks; `limit` bounds the whole."""

    __slots__ = ("_limit", "_receiver", "_writes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._receiver: BlockReceiver | None = None
        self._writes = False

    def take(self, request: ShortRequest) -> ShortRequest | ShortResponse:
        """The whole request, or the answer to a block of it; raises DecodeError for blocks that make no request."""
        block = _block_of(request)
        if block is None:
            self._receiver = None
            return request
        number, last, raw_data = block
        writes = isinstance(request, WriteRequest)
        receiver, self._receiver = self._receiver, None
        if receiver is None or writes is not self._writes or number == 1:
            receiver, self._writes = BlockReceiver(self._limit), writes
        if number != receiver.number + 1:
            return _answer(writes, DataAccessResult.DATA_BLOCK_NUMBER_INVALID)
        try:
            receiver.check(number, raw_data)
            receiver.add(raw_data)
        except RemoteProtocolError:
            return _answer(writes, DataAccessResult.LONG_SET_ABORTED)
        if last:
            return _whole(writes, receiver.data())
        self._receiver = receiver
        return _answer(writes, BlockNumber(number))


class AnswerBlocks:
    """Server: a read-response in blocks, made as far as the client asks for them."""

    __slots__ = ("_sender",)

    def __init__(self, pieces: Iterator[bytes], max_pdu: int, overhead: int) -> None:
        """`pieces` are the list of results as it is encoded."""
        self._sender = BlockSender(_data_block, pieces, room_for_raw_data(max_pdu + _LESS_HEAD, overhead))

    def whole(self, room: int) -> bytes | None:
        """All results when they are not longer than `room`; to be asked first."""
        return self._sender.whole(room)

    def next_block(self, acknowledged: int) -> ReadResponse:
        """The block after `acknowledged`, or a refusal."""
        if acknowledged >= HIGHEST_BLOCK:
            return ReadResponse((DataAccessResult.LONG_GET_ABORTED,))
        if acknowledged != self._sender.number:
            return ReadResponse((DataAccessResult.DATA_BLOCK_NUMBER_INVALID,))
        return self._sender.next_block()


def _data_block(last: bool, number: int, raw_data: bytes) -> ReadResponse:  # noqa: FBT001 - fields in their order
    return ReadResponse((DataBlock(last, number, raw_data),))


def _answer_of_blocks(raw_data: bytes) -> ReadResponse:
    """The response that came in blocks; raises DecodeError, also for blocks within blocks."""
    response = decode_read_response(Reader(raw_data))
    if any(isinstance(result, DataBlock | BlockNumber) for result in response.results):
        raise DecodeError("read-response in blocks", expected="data or reasons", got="blocks")
    return response


def _block_of(request: ShortRequest) -> tuple[int, bool, bytes] | None:
    """Number, last and raw data of a block of a request."""
    if isinstance(request, WriteRequest):
        found = block_of_write(request)
        return None if found is None else (found[0].block_number, found[0].last_block, found[1])
    match request.variables:
        case (ReadDataBlockAccess(last, number, raw_data),):
            return number, last, raw_data
    if any(isinstance(variable, ReadDataBlockAccess | BlockNumberAccess) for variable in request.variables):
        raise DecodeError("read-request", expected="variables, or one block", got="both")
    return None


def _whole(writes: bool, raw_data: bytes) -> ShortRequest:  # noqa: FBT001 - which of the two services
    reader = Reader(raw_data)
    request = decode_write_request(reader) if writes else decode_read_request(reader)
    if _block_of(request) is not None or block_asked(request) is not None:
        raise DecodeError("request in blocks", expected="variables", got="blocks")
    return request


def _answer(writes: bool, result: BlockNumber | DataAccessResult) -> ShortResponse:  # noqa: FBT001 - ditto
    return WriteResponse((result,)) if writes else ReadResponse((result,))

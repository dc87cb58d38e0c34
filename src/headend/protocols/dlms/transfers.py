"""Long SET and ACTION: requests cut by the client and put together by the server, answers the other way round.

```text
client                                    server
with-first-datablock / -pblock      ──▶
                                    ◀──   datablock / next-pblock: the block was taken
with-datablock / with-pblock, last  ──▶
                                    ◀──   last-datablock (SET), any response (ACTION)
                                    ◀──   with-pblock: a long answer of an ACTION begins
next-pblock                         ──▶
                                    ◀──   with-pblock, last
```

The raw data of a request are its data; those of a request with list are the number of values and the values. The raw data of
an answer are what the method has returned; those of an answer with list are the number of outcomes and the outcomes. The
standard does not say this of a single answer, and stacks differ: they also send the whole outcome, or Get-Data-Result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.errors import DecodeError, LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.action import (
    ActionRequestFirstPblock,
    ActionRequestNormal,
    ActionRequestPblock,
    ActionRequestWithList,
    ActionRequestWithListAndFirstPblock,
    ActionResponseNextPblock,
    ActionResponseNormal,
    ActionResponsePblock,
    ActionResponseWithList,
    decode_outcomes,
)
from headend.protocols.dlms.apdu.descriptor import (
    INVOKE_ID,
    ActionResult,
    DataAccessResult,
    check_count,
    decode_values,
    encode_values,
)
from headend.protocols.dlms.apdu.set import (
    SetRequestDatablock,
    SetRequestFirstDatablock,
    SetRequestNormal,
    SetRequestWithList,
    SetRequestWithListAndFirstDatablock,
    SetResponseDatablock,
    SetResponseLastDatablock,
    SetResponseLastDatablockWithList,
    SetResponseNormal,
    SetResponseWithList,
)
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.blocks import SHORT_HEAD, BlockReceiver, BlockSender, room_for_raw_data
from headend.protocols.dlms.octets import Reader

if TYPE_CHECKING:
    from headend.protocols.dlms.apdu.table import Response

WholeRequest: TypeAlias = SetRequestNormal | SetRequestWithList | ActionRequestNormal | ActionRequestWithList
FirstBlock: TypeAlias = (
    SetRequestFirstDatablock
    | SetRequestWithListAndFirstDatablock
    | ActionRequestFirstPblock
    | ActionRequestWithListAndFirstPblock
)
FollowingBlock: TypeAlias = SetRequestDatablock | ActionRequestPblock
RequestBlock: TypeAlias = FirstBlock | FollowingBlock
LongAnswer: TypeAlias = ActionResponseNormal | ActionResponseWithList


# --- requests, client ---


def cut_request(request: WholeRequest, max_pdu: int, overhead: int) -> BlockSender[RequestBlock]:
    """The blocks of a request; raises LocalProtocolError when the list of what is meant does not fit the first one."""
    first, data = _first_block(request)
    later: type[FollowingBlock] = SetRequestDatablock if request.TAG == SetRequestNormal.TAG else ActionRequestPblock

    def make(last: bool, number: int, raw_data: bytes) -> RequestBlock:  # noqa: FBT001 - fields in their order
        if number == 1:
            return replace(first, last_block=last, raw_data=raw_data)
        return later(request.invoke_id_and_priority, last, number, raw_data)

    head = len(first.encode()) - 1
    size = room_for_raw_data(max_pdu, overhead, head)
    if size < 1:
        raise LocalProtocolError(f"the first block needs {head + overhead + 2} octets; the other side takes {max_pdu}")
    return BlockSender(make, iter((data,)), room_for_raw_data(max_pdu, overhead, SHORT_HEAD), size)


def _first_block(request: WholeRequest) -> tuple[FirstBlock, bytes]:
    """The first block, still empty, and what is cut."""
    invoke = request.invoke_id_and_priority
    first: FirstBlock
    match request:
        case SetRequestNormal(_, attribute, data, access):
            first = SetRequestFirstDatablock(invoke, attribute, access, last_block=False, block_number=1, raw_data=b"")
        case SetRequestWithList(_, attributes, values):
            data = encode_values(values)
            first = SetRequestWithListAndFirstDatablock(
                invoke, attributes, last_block=False, block_number=1, raw_data=b""
            )
        case ActionRequestNormal(_, method, parameters):
            data = parameters or b""
            first = ActionRequestFirstPblock(invoke, method, last_block=False, block_number=1, raw_data=b"")
        case ActionRequestWithList(_, methods, values):
            data = encode_values(values)
            first = ActionRequestWithListAndFirstPblock(invoke, methods, last_block=False, block_number=1, raw_data=b"")
    return first, data


# --- requests, server ---


class RequestReceiver:
    """A request that arrives in blocks. `refusal` is what the server has to say to a block that it cannot take."""

    __slots__ = ("_first", "_receiver")

    def __init__(self, first: FirstBlock, limit: int) -> None:
        self._first = first
        self._receiver = BlockReceiver(limit)

    def add(self, block: RequestBlock) -> WholeRequest | Response:
        """The whole request after its last block, otherwise what the server answers."""
        invoke, first = block.invoke_id_and_priority, self._first
        if block.TAG != first.TAG or (invoke ^ first.invoke_id_and_priority) & INVOKE_ID:
            return refuse_block(block, DataAccessResult.NO_LONG_SET_IN_PROGRESS)
        if block.block_number != self._receiver.number + 1:
            return refuse_block(block, DataAccessResult.DATA_BLOCK_NUMBER_INVALID)
        try:
            self._receiver.check(block.block_number, block.raw_data)
            self._receiver.add(block.raw_data)
        except RemoteProtocolError:
            return refuse_block(block, DataAccessResult.LONG_SET_ABORTED)
        if block.last_block:
            return self._whole(invoke)
        if block.TAG == SetRequestNormal.TAG:
            return SetResponseDatablock(invoke, block.block_number)
        return ActionResponseNextPblock(invoke, block.block_number)

    def _whole(self, invoke: int) -> WholeRequest:
        data, first = self._receiver.data(), self._first
        match first:
            case SetRequestFirstDatablock():
                return SetRequestNormal(invoke, first.attribute, data, first.access)
            case ActionRequestFirstPblock():
                return ActionRequestNormal(invoke, first.method, data)
        reader = Reader(data)
        values = decode_values(reader)
        reader.finish("list of values")
        if isinstance(first, SetRequestWithListAndFirstDatablock):
            check_count("SET request", len(first.attributes), len(values))
            return SetRequestWithList(invoke, first.attributes, values)
        check_count("ACTION request", len(first.methods), len(values))
        return ActionRequestWithList(invoke, first.methods, values)


_ACTION_REASONS: Final = {
    DataAccessResult.NO_LONG_SET_IN_PROGRESS: ActionResult.NO_LONG_ACTION_IN_PROGRESS,
    DataAccessResult.LONG_SET_ABORTED: ActionResult.LONG_ACTION_ABORTED,
    DataAccessResult.DATA_BLOCK_NUMBER_INVALID: ActionResult.LONG_ACTION_ABORTED,
}


def refuse_block(block: RequestBlock, reason: DataAccessResult) -> SetResponseLastDatablock | ActionResponseNormal:
    """How a server ends the transfer of a request; ACTION has words of its own."""
    if block.TAG == SetRequestNormal.TAG:
        return SetResponseLastDatablock(block.invoke_id_and_priority, reason, block.block_number)
    return ActionResponseNormal(block.invoke_id_and_priority, _ACTION_REASONS[reason])


def answer_to_blocks(response: Response, block_number: int) -> Response:
    """The answer to a request that has come in blocks: a SET tells the number of the last one."""
    if isinstance(response, SetResponseNormal):
        return SetResponseLastDatablock(response.invoke_id_and_priority, response.result, block_number)
    if isinstance(response, SetResponseWithList):
        return SetResponseLastDatablockWithList(response.invoke_id_and_priority, response.results, block_number)
    return response


def answer_of_blocks(response: Response) -> Response:
    """What the caller of a client gets, who does not know of blocks."""
    if isinstance(response, SetResponseLastDatablock):
        return SetResponseNormal(response.invoke_id_and_priority, response.result)
    if isinstance(response, SetResponseLastDatablockWithList):
        return SetResponseWithList(response.invoke_id_and_priority, response.results)
    return response


# --- answers ---


def cut_answer(answer: LongAnswer, max_pdu: int, overhead: int) -> BlockSender[Response] | None:
    """The blocks of what methods have returned; None when they have returned nothing that could be cut.

    Blocks of one answer do not tell its result: what a method that has failed returns is not sent in them.
    """
    invoke = answer.invoke_id_and_priority
    if isinstance(answer, ActionResponseNormal) and answer.result != ActionResult.SUCCESS:
        return None
    data = answer.encode_outcomes() if isinstance(answer, ActionResponseWithList) else answer.return_parameters
    if not isinstance(data, bytes):
        return None

    def make(last: bool, number: int, raw_data: bytes) -> Response:  # noqa: FBT001 - fields in their order
        return ActionResponsePblock(invoke, last, number, raw_data)

    return BlockSender(make, iter((data,)), room_for_raw_data(max_pdu, overhead, SHORT_HEAD))


def join_answer(invoke_id_and_priority: int, data: bytes, *, with_list: bool) -> LongAnswer:
    """The answer that has come in blocks."""
    reader = Reader(data)
    if with_list:
        outcomes = decode_outcomes(reader)
        reader.finish("list of outcomes")
        return ActionResponseWithList(invoke_id_and_priority, outcomes)
    for head in (b"\x00\x01\x00", b"\x00", b""):  # outcome, Get-Data-Result, data
        if data.startswith(head) and _is_data(data, len(head)):
            return ActionResponseNormal(invoke_id_and_priority, ActionResult.SUCCESS, data[len(head) :])
    raise DecodeError("what the method has returned", offset=0, expected="data", got=data[:4].hex())


def _is_data(octets: bytes, offset: int) -> bool:
    try:
        return decode_data(octets, offset)[1] == len(octets)
    except DecodeError:
        return False

"""General block transfer: any APDU, plain or ciphered, in blocks that are acknowledged a window at a time.

```text
request          ──▶
                 ◀──  block 1, window of the server          the window of the client is not known yet, so one block
ack 1, window 3  ──▶
                 ◀──  block 2, streaming
                 ◀──  block 3, streaming                      lost
                 ◀──  block 4, end of the window
ack 2, window 3  ──▶                                          the last block without a gap
                 ◀──  block 3, streaming …
```

Both sides number what they send, acknowledgements too, from the beginning of the exchange. Who was asked in blocks answers in
blocks. A push wants no acknowledgements: its window is 0, and when a block of it is lost, it is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.general_block import GeneralBlock
from headend.protocols.dlms.blocks import room_for_raw_data

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = 6
"""Octets of a block before the length of its data."""
_MOST: Final = 0xFFFF
"""The greatest block number."""
_PATIENCE: Final = 3
"""How often the same block may be asked for in vain."""


class Assembly:
    """The blocks of one side, without gaps; `limit` bounds the octets. `taken` is the number of the last block."""

    __slots__ = ("_data", "_limit", "taken")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._limit = limit
        self.taken = 0

    @property
    def pending(self) -> bool:
        """True when there are blocks of an APDU that is not complete."""
        return bool(self._data)

    def add(self, block: GeneralBlock) -> bytes | None:
        """Take a block if it is the next one, or the first one of a new exchange; the whole APDU with its last one.

        Raises RemoteProtocolError beyond the limit, and has forgotten everything then.
        """
        if block.block_number == 1:
            self._data.clear()
        elif block.block_number != self.taken + 1:
            return None
        if len(self._data) + len(block.data) > self._limit:
            self._data.clear()
            self.taken = 0
            raise RemoteProtocolError("general block transfer too long", expected=f"at most {self._limit} octets")
        self._data += block.data
        self.taken = block.block_number
        if not block.last_block:
            return None
        whole = bytes(self._data)
        self._data.clear()
        return whole or None


class GeneralTransfer:
    """One exchange: an APDU each way, in blocks. What it returns to be sent are encoded blocks."""

    __slots__ = (
        "_assembly",
        "_confirmed",
        "_first",
        "_fruitless",
        "_number",
        "_outgoing",
        "_peer_window",
        "_size",
        "_told",
        "_window",
    )

    def __init__(self, window: int, limit: int) -> None:
        """`window` is how many blocks in a row we take, `limit` the longest APDU."""
        self._window = window
        self._assembly = Assembly(limit)
        self._peer_window = 1
        self._number = 0  # of what we have sent last
        self._outgoing = b""
        self._size = 1
        self._first = 1  # number of the first block of what is sent
        self._confirmed = 0
        self._told = 0  # block that we have acknowledged last
        self._fruitless = 0

    @property
    def receiving(self) -> bool:
        """True when blocks are missing."""
        return self._assembly.pending

    def send(self, apdu: bytes, max_pdu: int) -> list[bytes]:
        """The first blocks of an APDU, as many as the other side takes; raises LocalProtocolError for one that needs too many."""
        size = _room(max_pdu)
        if self._number + (len(apdu) - 1) // size >= _MOST:
            raise LocalProtocolError(f"an APDU of {len(apdu)} octets; that is too long for blocks of {size}")
        self._outgoing = apdu
        self._size = size
        self._first = self._number + 1
        self._confirmed = self._number
        self._fruitless = 0
        return self._blocks(self._first)

    def take(self, block: GeneralBlock) -> tuple[bytes | None, list[bytes]]:
        """The APDU that a block has completed, and what is to be sent now; raises RemoteProtocolError for a vain repetition."""
        self._peer_window = block.window or 1
        assembly = self._assembly
        if not block.data and not (block.last_block and assembly.pending):
            if block.block_number == assembly.taken + 1:
                assembly.taken = block.block_number
            return None, self._continue(block.acknowledged)
        if block.block_number == 1 and assembly.taken and not assembly.pending:
            self._number, self._told, self._outgoing = 0, 0, b""  # the other side begins a new exchange
        whole = assembly.add(block)
        if whole is not None or block.streaming:
            return whole, []
        self._note(assembly.taken > self._told)
        return None, [self.acknowledgement()]

    def acknowledgement(self) -> bytes:
        """Tell which block was taken last, so that the other side goes on after it."""
        self._number = min(self._number + 1, _MOST)
        self._told = taken = self._assembly.taken
        return GeneralBlock(
            last_block=True, window=self._window, block_number=self._number, acknowledged=taken
        ).encode()

    def _continue(self, acknowledged: int) -> list[bytes]:
        """The blocks after the last one that has arrived."""
        if not self._first - 1 <= acknowledged < self._last:
            return []
        self._note(acknowledged > self._confirmed)
        self._confirmed = acknowledged
        return self._blocks(acknowledged + 1)

    def _note(self, progress: bool) -> None:  # noqa: FBT001 - the one thing to note
        """Count how often nothing has come of it."""
        self._fruitless = 0 if progress else self._fruitless + 1
        if self._fruitless > _PATIENCE:
            raise RemoteProtocolError("the same block again and again", got=f"after block {self._assembly.taken}")

    @property
    def _last(self) -> int:
        """Number of the last block of what is sent."""
        return self._first + max(len(self._outgoing) - 1, 0) // self._size

    def _blocks(self, start: int) -> list[bytes]:
        last = self._last
        end = min(start + self._peer_window - 1, last)
        self._number = max(self._number, end)
        return [self._block(number, end, last) for number in range(start, end + 1)]

    def _block(self, number: int, end: int, last: int) -> bytes:
        at = (number - self._first) * self._size
        block = GeneralBlock(
            last_block=number == last,
            streaming=number != end,
            window=self._window,
            block_number=number,
            acknowledged=self._assembly.taken,
            data=self._outgoing[at : at + self._size],
        )
        return block.encode()


def longest_in_blocks(max_pdu: int) -> int:
    """The longest APDU for which there are block numbers, when the other side has used half of them for its own."""
    return _room(max_pdu) * (_MOST // 2)


def push_blocks(apdu: bytes, max_pdu: int) -> Iterator[bytes]:
    """The blocks of an APDU that nobody acknowledges."""
    size = _room(max_pdu)
    last = (len(apdu) - 1) // size
    for index in range(last + 1):
        block = GeneralBlock(
            last_block=index == last,
            streaming=index != last,
            window=0,
            block_number=index + 1,
            data=apdu[index * size : (index + 1) * size],
        )
        yield block.encode()


def _room(max_pdu: int) -> int:
    """How many octets of an APDU go into one block."""
    return max(room_for_raw_data(max_pdu, 0, _HEAD), 1)

"""Block transfer: data that are longer than one APDU, put together by the one who receives, cut by the one who sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from headend.errors import RemoteProtocolError

MIN_PDU: Final = 12
"""The shortest APDU that a side may announce; shorter announcements are taken for this one."""

GET_HEAD: Final = 9
"""Octets of a GET response with datablock before the length of its raw data."""
SHORT_HEAD: Final = 8
"""The same for blocks of SET and ACTION, but for the first one of a request."""

_PATIENCE: Final = 3
"""How many blocks in a row may be empty."""

Block = TypeVar("Block")


def room_for_raw_data(max_pdu: int, overhead: int, head: int = GET_HEAD) -> int:
    """How many octets of raw data fit into an APDU of `max_pdu` octets after `head` octets; 0 or less for none."""
    room = max_pdu - overhead - head
    if room <= 0x80:
        return room - 1
    return room - 2 if room <= 0x101 else room - 3


class BlockReceiver:
    """Puts blocks together. Block numbers must follow each other from 1; `limit` bounds the whole."""

    __slots__ = ("_data", "_empty", "_limit", "number")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._empty = 0
        self._limit = limit
        self.number = 0

    def check(self, number: int, raw_data: bytes) -> None:
        """Take note of a block; raises RemoteProtocolError unless it is the next one, or when nothing comes again and again."""
        if number != self.number + 1:
            raise RemoteProtocolError("block number", expected=str(self.number + 1), got=str(number))
        self.number = number
        self._empty = 0 if raw_data else self._empty + 1
        if self._empty > _PATIENCE:
            raise RemoteProtocolError("blocks without data", got=f"{self._empty} in a row")

    def add(self, raw_data: bytes) -> None:
        """Append the raw data of a block."""
        if len(self._data) + len(raw_data) > self._limit:
            raise RemoteProtocolError("block transfer too long", expected=f"at most {self._limit} octets")
        self._data += raw_data

    def data(self) -> bytes:
        """Everything that was added."""
        return bytes(self._data)


class BlockSender(Generic[Block]):
    """Cuts data into blocks, numbered from 1. The data come in pieces, each made when a block needs it."""

    __slots__ = ("_first", "_make", "_pieces", "_size", "_waiting", "done", "number")

    def __init__(
        self, make: Callable[[bool, int, bytes], Block], pieces: Iterator[bytes], size: int, first: int | None = None
    ) -> None:
        """`make` makes an APDU of last block, number and raw data; `first` is the size of the first block."""
        self._make = make
        self._pieces = pieces
        self._size = max(size, 1)
        self._first = self._size if first is None else first
        self._waiting = bytearray()
        self.number = 0
        self.done = False

    def whole(self, room: int) -> bytes | None:
        """All data, when they are not longer than `room`; None when they need blocks. To be asked first."""
        self._fill(room)
        return None if len(self._waiting) > room else bytes(self._waiting)

    def next_block(self) -> Block:
        """The block after the one that was made last."""
        size = self._size if self.number else self._first
        self._fill(size)
        raw_data = bytes(self._waiting[:size])
        del self._waiting[:size]
        self.number += 1
        self.done = not self._waiting
        return self._make(self.done, self.number, raw_data)

    def _fill(self, size: int) -> None:
        """Take pieces until there are more octets than `size`, so that the last block is known to be the last."""
        if len(self._waiting) > size:
            return
        for piece in self._pieces:
            self._waiting += piece
            if len(self._waiting) > size:
                return

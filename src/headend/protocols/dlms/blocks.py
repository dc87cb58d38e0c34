"""Block transfer: data that are longer than one APDU, put together by the one who receives, cut by the one who sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headend.errors import RemoteProtocolError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.get import GetResponseWithDatablock

MIN_PDU: Final = 12
"""The shortest APDU that a side may announce; shorter announcements are taken for this one."""

_HEAD: Final = 9
"""Octets of a response with datablock before the length of its raw data."""


def room_for_raw_data(max_pdu: int, overhead: int) -> int:
    """How many octets of raw data fit into a response with datablock of `max_pdu` octets."""
    room = max_pdu - overhead - _HEAD
    if room <= 0x80:
        return max(room - 1, 1)
    return room - 2 if room <= 0x101 else room - 3


class BlockReceiver:
    """Puts blocks together. Block numbers must follow each other from 1; `limit` bounds the whole."""

    __slots__ = ("_data", "_limit", "number")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._limit = limit
        self.number = 0

    def check(self, number: int) -> None:
        """Take note of the number of a block; raises RemoteProtocolError unless it is the next one."""
        if number != self.number + 1:
            raise RemoteProtocolError("block number", expected=str(self.number + 1), got=str(number))
        self.number = number

    def add(self, raw_data: bytes) -> None:
        """Append the raw data of a block."""
        if len(self._data) + len(raw_data) > self._limit:
            raise RemoteProtocolError("block transfer too long", expected=f"at most {self._limit} octets")
        self._data += raw_data

    def data(self) -> bytes:
        """Everything that was added."""
        return bytes(self._data)


class BlockSender:
    """Cuts data into blocks, numbered from 1. The data come in pieces, each made when a block needs it."""

    __slots__ = ("_invoke", "_number", "_pieces", "_size", "_waiting")

    def __init__(self, invoke_id_and_priority: int, pieces: Iterator[bytes], size: int) -> None:
        self._invoke = invoke_id_and_priority
        self._pieces = pieces
        self._size = size
        self._waiting = bytearray()
        self._number = 0

    def whole(self, room: int) -> bytes | None:
        """All data, when they are not longer than `room`; None when they need blocks. To be asked first."""
        self._fill(room)
        return None if len(self._waiting) > room else bytes(self._waiting)

    def next_block(self, acknowledged: int) -> GetResponseWithDatablock:
        """The block after `acknowledged`; the standard's refusal when another one was sent last."""
        if acknowledged != self._number:
            reason = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
            return GetResponseWithDatablock(self._invoke, last_block=True, block_number=acknowledged, result=reason)
        self._fill(self._size)
        raw_data = bytes(self._waiting[: self._size])
        del self._waiting[: self._size]
        self._number += 1
        last = not self._waiting
        return GetResponseWithDatablock(self._invoke, last_block=last, block_number=self._number, result=raw_data)

    def _fill(self, size: int) -> None:
        """Take pieces until there are more octets than `size`, so that the last block is known to be the last."""
        if len(self._waiting) > size:
            return
        for piece in self._pieces:
            self._waiting += piece
            if len(self._waiting) > size:
                return

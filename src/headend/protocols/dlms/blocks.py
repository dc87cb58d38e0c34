"""Block transfer: data that are longer than one APDU, put together by the one who receives, cut by the one who sends."""

from __future__ import annotations

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
    """Cuts data into blocks, numbered from 1."""

    __slots__ = ("_at", "_data", "_invoke", "_number", "_size")

    def __init__(self, invoke_id_and_priority: int, data: bytes, size: int) -> None:
        self._invoke = invoke_id_and_priority
        self._data = data
        self._size = size
        self._at = 0
        self._number = 0

    def next_block(self, acknowledged: int) -> GetResponseWithDatablock:
        """The block after `acknowledged`; the standard's refusal when another one was sent last."""
        if acknowledged != self._number:
            reason = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
            return GetResponseWithDatablock(self._invoke, last_block=True, block_number=acknowledged, result=reason)
        end = self._at + self._size
        raw_data = self._data[self._at : end]
        self._at = end
        self._number += 1
        last = end >= len(self._data)
        return GetResponseWithDatablock(self._invoke, last_block=last, block_number=self._number, result=raw_data)

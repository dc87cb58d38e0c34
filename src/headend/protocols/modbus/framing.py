"""Modbus framing over byte streams: MBAP (Modbus TCP) and RTU with CRC (serial lines, and RTU carried over TCP).

```text
MBAP   transaction id 2 | protocol id 0000 | length 2 = unit id + PDU | unit id 1 | PDU 1..253
RTU                                                                     unit id 1 | PDU 1..253 | CRC 2, low octet first
```

RTU marks the end of a frame by silence, which does not survive TCP, serial servers and operating systems. Here the
length follows from the function code (both directions, every public function), so no timing is needed:

- the client looks for the answer to what it asked (unit id and function code known) anywhere in the received octets and
  drops what precedes it; without an outstanding request everything is noise;
- the server drops octets until a request starts whose CRC holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, NeedData, ReceiveBuffer, Role

MAX_PDU: Final = 253
_MAX_RTU: Final = MAX_PDU + 3
_BUFFER_LIMIT: Final = 0x10000 + 0x200  # one large read of a socket, after an incomplete frame


def _crc_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        remainder = octet
        for _ in range(8):
            remainder = (remainder >> 1) ^ 0xA001 if remainder & 1 else remainder >> 1
        table.append(remainder)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc16_pure(data: bytes | bytearray) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, start 0xFFFF. A frame with its CRC appended gives 0."""
    remainder = 0xFFFF
    for octet in data:
        remainder = (remainder >> 8) ^ _CRC_TABLE[(remainder ^ octet) & 0xFF]
    return remainder


crc16: Callable[[bytes | bytearray], int] = crc16_pure
with contextlib.suppress(ImportError):
    from fastcrc.crc16 import modbus as crc16


@dataclass(frozen=True, slots=True)
class Frame:
    """A PDU with its addressing. RTU has no transaction id: it is 0 there."""

    unit_id: int
    pdu: bytes
    transaction_id: int = 0


class Framing(Protocol):
    """MBAP or RTU, injected into the connection."""

    def encode(self, frame: Frame) -> bytes:
        """The octets of a frame."""

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when the bounded buffer overflows."""

    def next_frame(self, expected: tuple[int, int] | None = None) -> Frame | NeedData:
        """The next complete frame or NEED_DATA.

        `expected` is the unit id and function code that a client waits for. Raises RemoteProtocolError for octets that
        can never be valid, after dropping them.
        """

    def clear(self) -> None:
        """Forget what was received."""

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""

    @property
    def dropped(self) -> int:
        """Octets dropped as noise since the beginning."""


def encode_mbap(frame: Frame) -> bytes:
    """One MBAP frame."""
    return b"%b\x00\x00%b%c%b" % (
        frame.transaction_id.to_bytes(2, "big"),
        (len(frame.pdu) + 1).to_bytes(2, "big"),
        frame.unit_id,
        frame.pdu,
    )


def encode_rtu(frame: Frame) -> bytes:
    """One RTU frame with its CRC."""
    body = b"%c%b" % (frame.unit_id, frame.pdu)
    return body + crc16(body).to_bytes(2, "little")


class MbapFraming:
    """MBAP over a byte stream; both roles are alike."""

    __slots__ = ("_buffer", "dropped")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer(_BUFFER_LIMIT)
        self.dropped = 0

    def encode(self, frame: Frame) -> bytes:
        """The octets of a frame."""
        return encode_mbap(frame)

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets."""
        self._buffer.append(data)

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget what was received."""
        self._buffer.clear()

    def next_frame(self, expected: tuple[int, int] | None = None) -> Frame | NeedData:  # noqa: ARG002 - shape of Framing
        """The next complete frame or NEED_DATA.

        A broken header drops everything received: MBAP has nothing to find the next frame by.
        """
        data = self._buffer.view()
        if any(data[2:4]):
            self._refuse("protocol id of MBAP", 2, "0000", data[2:4].hex())
        if len(data) < 6:
            return NEED_DATA
        length = data[4] << 8 | data[5]
        if not 2 <= length <= MAX_PDU + 1:
            self._refuse("length of MBAP", 4, f"2 to {MAX_PDU + 1}", str(length))
        if len(data) < 6 + length:
            return NEED_DATA
        octets = self._buffer.consume(6 + length)
        return Frame(octets[6], octets[7:], octets[0] << 8 | octets[1])

    def _refuse(self, what: str, offset: int, expected: str, got: str) -> None:
        self.dropped += len(self._buffer)
        self._buffer.clear()
        raise RemoteProtocolError(f"wrong {what}", offset=offset, expected=expected, got=got)


# Function code: (octets of the RTU frame without counted data, index of the byte count or 0), clause 6.
_REQUEST_LENGTHS: Final = {
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08), (8, 0)),
    **dict.fromkeys((0x07, 0x0B, 0x0C, 0x11), (4, 0)),
    **dict.fromkeys((0x0F, 0x10), (9, 6)),
    **dict.fromkeys((0x14, 0x15), (5, 2)),
    0x16: (10, 0),
    0x17: (13, 10),
    0x18: (6, 0),
    0x2B: (7, 0),
}
_RESPONSE_LENGTHS: Final = {
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x11), (5, 2)),
    **dict.fromkeys((0x05, 0x06, 0x0F, 0x10), (8, 0)),
}
_EXCEPTION_LENGTH: Final = 5


def rtu_length(data: bytes | bytearray, start: int, sender: Role) -> int:
    """Octets of the RTU frame that starts at `start`, as far as known; 0 when no frame of the sender starts so.

    When the answer exceeds the octets at hand it is a lower bound: ask again with that many.
    """
    if start + 2 > len(data):
        return 2
    function = data[start + 1]
    if sender is Role.SERVER:
        if function & 0x80:
            return _EXCEPTION_LENGTH if function & 0x7F in _REQUEST_LENGTHS else 0
        if function == 0x2B:
            return _identification_length(data, start)
    fixed, count_at = (_REQUEST_LENGTHS if sender is Role.CLIENT else _RESPONSE_LENGTHS).get(function, (0, 0))
    if not count_at:
        return fixed
    if start + count_at >= len(data):
        return count_at + 1
    count = data[start + count_at]
    length = fixed + count
    return length if count and length <= _MAX_RTU else 0


def _identification_length(data: bytes | bytearray, start: int) -> int:
    """Length of a Read Device Identification response: its objects carry their own lengths."""
    if len(data) - start < 8:
        return 8
    if data[start + 2] != 0x0E:
        return 0
    length = 8
    for _ in range(data[start + 7]):
        if start + length + 2 > len(data):
            return length + 2
        length += 2 + data[start + length + 1]
        if length + 2 > _MAX_RTU:
            return 0
    return length + 2


class RtuFraming:
    """RTU over a byte stream, found by length and CRC."""

    __slots__ = ("_buffer", "_role", "dropped")

    def __init__(self, role: Role) -> None:
        self._role = role
        self._buffer = ReceiveBuffer(_BUFFER_LIMIT)
        self.dropped = 0

    def encode(self, frame: Frame) -> bytes:
        """The octets of a frame."""
        return encode_rtu(frame)

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets."""
        self._buffer.append(data)

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget what was received."""
        self._buffer.clear()

    def next_frame(self, expected: tuple[int, int] | None = None) -> Frame | NeedData:
        """The next complete frame or NEED_DATA; whatever cannot belong to one is dropped."""
        if self._role is Role.SERVER:
            start, length = self._find_request()
        elif expected is None:
            start, length = len(self._buffer), 0
        else:
            start, length = self._find_answer(*expected)
        self._buffer.consume(start)
        self.dropped += start
        if not length:
            return NEED_DATA
        octets = self._buffer.consume(length)
        return Frame(octets[0], octets[1:-2])

    def _find_request(self) -> tuple[int, int]:
        """Noise before the next request, and the length of the request: 0 while it is incomplete."""
        data = self._buffer.view()
        for start in range(len(data)):
            length = rtu_length(data, start, Role.CLIENT)
            if start + length > len(data):
                return start, 0
            if length and crc16(data[start : start + length]) == 0:
                return start, length
        return len(data), 0

    def _find_answer(self, unit_id: int, function: int) -> tuple[int, int]:
        """Noise before the answer, and its length: 0 while there is only a possible beginning, or none.

        Noise may look like the beginning of a longer answer, so the search goes on behind an incomplete one: unit id,
        function code, length and CRC together are not met by chance.
        """
        data = self._buffer.view()
        beginning = len(data)
        start = data.find(unit_id)
        while start >= 0:
            if start + 1 == len(data):
                return min(beginning, start), 0
            length = rtu_length(data, start, Role.SERVER) if data[start + 1] & 0x7F == function else 0
            if start + length > len(data):
                beginning = min(beginning, start)
            elif length and crc16(data[start : start + length]) == 0:
                return start, length
            start = data.find(unit_id, start + 1)
        return beginning, 0

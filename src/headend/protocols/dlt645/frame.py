"""Frames and addresses of DL/T 645 (1997 and 2007 alike, clause 5 of both), and finding them in a stream.

```text
 FE … | 68 | A0 A1 A2 A3 A4 A5 | 68 | C | L | DATA, each octet + 33H | CS | 16
  └ leader, 0 to many            │    │   └ octets of DATA             └ sum modulo 256 from the first 68 to the end of DATA
                                 │    └ D7 from the meter, D6 error answer, D5 more follows, D4 to D0 function
                                 └ twelve BCD digits, least significant octet first
```

The octet 68 begins M-Bus (`68 L L 68`), 376.1 (a doubled length of two octets, then `68`) and 698.45 frames too. A frame is
DL/T 645 when everything fits: BCD digits or wildcards in the address, the second 68 seven octets after the first, the
checksum, the 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, NeedData, ReceiveBuffer

START: Final = 0x68
STOP: Final = 0x16
LEADER: Final = b"\xfe"
WILDCARD: Final = 0xAA
FROM_METER: Final = 0x80
REFUSED: Final = 0x40
MORE_FOLLOWS: Final = 0x20
FUNCTION: Final = 0x1F
"""The bits of the control code."""

MAX_DATA: Final = 200
"""Octets of DATA that we send at most (the standard's limit for an answer); up to 255 are taken."""
MAX_LEADER: Final = 16
"""Octets FE that `recognise` bears before the first 68; the standard's sender has four at most."""

_ENVELOPE: Final = 12
_LARGEST: Final = _ENVELOPE + 0xFF
_BUFFER_LIMIT: Final = 0x10000 + _LARGEST  # one large read of a socket, after an incomplete frame
_BCD: Final = bytes(high << 4 | low for high in range(10) for low in range(10))
_ADDRESS_OCTETS: Final = _BCD + bytes((WILDCARD,))
_PLUS_33: Final = bytes((octet + 0x33) & 0xFF for octet in range(256))
_MINUS_33: Final = bytes((octet - 0x33) & 0xFF for octet in range(256))
_REQUESTS: Final = frozenset((*range(0x01, 0x05), 0x08, 0x0A, 0x0C, *range(0x0F, 0x1E)))
"""Function codes of both editions, without those that nobody has given out."""

Octets: TypeAlias = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a meter: six octets as they travel, least significant first; each is two BCD digits or AA (any)."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != 6 or self.octets.translate(None, _ADDRESS_OCTETS):
            raise LocalProtocolError(
                f"{self.octets[:8].hex(' ')} is no address: expected six octets of BCD digits, or AA"
            )

    @classmethod
    def parse(cls, text: str) -> Address:
        """`000000001234` or `1234`: up to twelve digits as printed on the meter; a pair `AA` is a wildcard.

        Raises ValueError.
        """
        try:
            octets = bytes.fromhex(text.zfill(12)) if text.isalnum() else b""
        except ValueError:
            octets = b""
        if len(octets) != 6 or octets.translate(None, _ADDRESS_OCTETS):
            raise ValueError(f"{text!r} is no meter address: expected at most twelve digits, or pairs AA for any")
        return cls(octets[::-1])

    def __str__(self) -> str:
        """Twelve digits, most significant first, as printed on the meter."""
        return self.octets[::-1].hex().upper()

    @property
    def is_broadcast(self) -> bool:
        """99…99, which everybody hears and (but for 1997 reads) nobody answers."""
        return self == BROADCAST

    @property
    def has_wildcard(self) -> bool:
        """At least one octet is AA: the answer carries the meter's own address."""
        return WILDCARD in self.octets

    def matches(self, own: Address) -> bool:
        """A meter with the address `own` is meant: each octet is equal or AA, or this is the broadcast address."""
        if self.octets == own.octets or self == BROADCAST:
            return True
        return WILDCARD in self.octets and all(
            octet in (mine, WILDCARD) for octet, mine in zip(self.octets, own.octets, strict=True)
        )


_address: Final = lru_cache(maxsize=0x4000)(Address)  # the meters of a line are always the same

BROADCAST: Final = Address(b"\x99" * 6)
ANYBODY: Final = Address(bytes((WILDCARD,)) * 6)
"""Whoever is on the line: for lines with one meter."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: `data` is the content as it was before 33H was added."""

    address: Address
    control: int
    data: bytes = b""


def to_wire(data: Octets) -> bytes:
    """Octets of DATA with 33H added."""
    return bytes(data.translate(_PLUS_33))


def from_wire(data: Octets) -> bytes:
    """Octets of DATA with 33H taken off."""
    return bytes(data.translate(_MINUS_33))


def encode_frame(frame: Frame, *, leader: int = 4) -> bytes:
    """The octets of a frame behind `leader` octets FE; LocalProtocolError when DATA is longer than MAX_DATA."""
    size = len(frame.data)
    if size > MAX_DATA:
        raise LocalProtocolError(f"a DL/T 645 frame takes {MAX_DATA} octets of data, not {size}")
    body = b"\x68%b\x68%c%c%b" % (frame.address.octets, frame.control, size, frame.data.translate(_PLUS_33))
    return LEADER * leader + body + bytes((sum(body) & 0xFF, STOP))


def frame_length(data: Octets, start: int = 0) -> int:
    """Octets of the frame whose first 68 is at `start`, as far as known; 0 when no frame begins there.

    When the answer exceeds the octets at hand it is a lower bound, or the length of a frame that is not complete.
    """
    head = data[start : start + 10]
    if head[:1] != b"\x68" or head[1:7].translate(None, _ADDRESS_OCTETS) or head[7:8] not in (b"", b"\x68"):
        return 0
    if len(head) < 10:
        return _ENVELOPE
    length = _ENVELOPE + head[9]
    end = start + length
    if end <= len(data) and (data[end - 1] != STOP or sum(data[start : end - 2]) & 0xFF != data[end - 2]):
        return 0
    return length


def decode_frame(data: bytes, offset: int = 0) -> tuple[Frame, int]:
    """The frame at `offset`, behind any number of FE, and the offset behind it.

    Raises RemoteProtocolError, whose offset counts from the beginning of `data`: no frame there, a wrong checksum, or octets
    that are missing.
    """
    start = offset
    while data[start : start + 1] == LEADER:
        start += 1
    if len(data) - start < _ENVELOPE:
        raise RemoteProtocolError(
            "too short for a DL/T 645 frame", offset=start, expected="12 octets or more", got=str(len(data) - start)
        )
    for at in (start, start + 7):
        if data[at] != START:
            raise RemoteProtocolError("not a DL/T 645 frame", offset=at, expected="68", got=f"{data[at]:02X}")
    for at in range(start + 1, start + 7):
        if data[at] not in _ADDRESS_OCTETS:
            raise RemoteProtocolError("wrong address", offset=at, expected="two BCD digits", got=f"{data[at]:02X}")
    end = start + _ENVELOPE + data[start + 9]
    if len(data) < end:
        raise RemoteProtocolError(
            "length beyond the octets", offset=start + 9, expected=f"{end - start} octets", got=str(len(data) - start)
        )
    checksum = sum(data[start : end - 2]) & 0xFF
    if data[end - 2] != checksum:
        raise RemoteProtocolError(
            "wrong checksum", offset=end - 2, expected=f"{checksum:02X}", got=f"{data[end - 2]:02X}"
        )
    if data[end - 1] != STOP:
        raise RemoteProtocolError("no end of the frame", offset=end - 1, expected="16", got=f"{data[end - 1]:02X}")
    return _decode(data, start, end), end


def _decode(data: Octets, start: int, end: int) -> Frame:
    """The frame between two offsets, already verified."""
    plain = bytes(data[start + 10 : end - 2].translate(_MINUS_33))
    return Frame(_address(bytes(data[start + 1 : start + 7])), data[start + 8], plain)


class FrameExtractor:
    """Octets in, frames out; noise is dropped and counted.

    The frame that is complete first wins, wherever it begins. So what only looks like a beginning never holds up a frame
    behind it, and the pieces in which octets arrive make no difference.
    """

    __slots__ = ("_buffer", "dropped")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer(_BUFFER_LIMIT)
        self.dropped = 0
        """Octets dropped as noise since the beginning; leaders are none."""

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Add octets; RemoteProtocolError (and an empty buffer) when more than one large read waits."""
        self._buffer.append(data)

    def clear(self) -> None:
        """Forget what was received."""
        self._buffer.clear()

    def next_frame(self) -> Frame | NeedData:
        """The next frame with a right checksum, or NEED_DATA. Never raises: the rest is noise."""
        data = self._buffer.view()
        start, end = _find(data)
        if not end:
            self._drop(start)
            return NEED_DATA
        frame = _decode(data, start, end)
        if start:
            self._drop(start)
        self._buffer.consume(end - start)
        return frame

    def _drop(self, count: int) -> None:
        noise = self._buffer.consume(count)
        self.dropped += len(noise) - noise.count(LEADER)


def _find(data: bytearray) -> tuple[int, int]:
    """Beginning and end of the frame that ends first; without one, the first possible beginning and 0."""
    beginning, best_start, best_end = len(data), 0, 0
    limit = len(data)
    start = data.find(START)
    while start >= 0:
        length = frame_length(data, start)
        if length and start + length > len(data):
            beginning = min(beginning, start)
        elif length and (not best_end or start + length < best_end):
            best_start, best_end = start, start + length
            limit = best_end - _ENVELOPE  # a frame that begins here or later does not end before
        start = data.find(START, start + 1, limit)
    return (best_start, best_end) if best_end else (beginning, 0)


def recognise(first: bytes) -> bool | NeedData:
    """Whether a stream that begins with `first` speaks DL/T 645: True, False, or NEED_DATA when more octets must tell.

    True needs a whole frame of a function that the standards know, with a right checksum, behind at most MAX_LEADER octets FE
    and nothing else. A verdict is final: every continuation of the octets has the same one. A whole M-Bus or 376.1 frame that
    ends before ours does is theirs.
    """
    body = first.lstrip(LEADER)
    if len(first) - len(body) > MAX_LEADER:
        return False
    if not body:
        return NEED_DATA
    length = frame_length(body)
    if not length or not _is_known(body[8:9]) or 0 < _other_length(body) < length:
        return False
    return True if len(body) >= length else NEED_DATA


def _is_known(control: bytes) -> bool:
    """The control code, as far as it is there, belongs to a function of the standards."""
    if not control:
        return True
    code = control[0]
    return code & FUNCTION in _REQUESTS and (code & FROM_METER != 0 or not code & (REFUSED | MORE_FOLLOWS))


def _other_length(body: bytes) -> int:
    """Octets of the whole M-Bus or 376.1 frame at the beginning; 0 when there is none."""
    if body[1:2] == body[2:3] and body[3:4] == b"\x68":
        begin, size = 4, body[1]
    elif body[1:3] == body[3:5] and body[5:6] == b"\x68":
        begin, size = 6, int.from_bytes(body[1:3], "little") >> 2
    else:
        return 0
    end = begin + size
    return end + 2 if body[end + 1 : end + 2] == b"\x16" and sum(body[begin:end]) & 0xFF == body[end] else 0

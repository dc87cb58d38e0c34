"""Long frames of wired M-Bus that carry APDUs (EN 13757-2; IEC 62056-7-3 and EN 13757-3 for the transport layer).

```text
 68 | L | L | 68 | C | A | CI | STSAP | DTSAP | part of an APDU | checksum | 16
      └ octets from C to the end of the part; the checksum is their sum modulo 256
```

A frame holds 255 octets at most, so an APDU takes several. The low four bits of CI (00 to 1F) count them from 0, and bit 4
marks the last one: `00`, `01` … `11`; an APDU in one frame has `10`. STSAP and DTSAP are the service access points of sender
and receiver, as the wPorts of the wrapper are: 1 is the management logical device, 0x67 the client that pushes go to.

The length octets say L modulo 256: with `68 01 01 68` some meters (Sagemcom T210-D) begin a frame of 257 octets. A real frame
of one octet has no CI and carries no APDU, and neither has one of two: `68 00 00 68` stands for 256.

Errors. Octets that are no frame are dropped up to the next thing that looks like the beginning of one. While frames follow
each other, the first of a stretch of wrong octets raises RemoteProtocolError; a stream that starts in the middle of a frame,
and lone parts of an APDU whose beginning nobody has seen, are passed over in silence.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import (
    NEED_DATA,
    ApduReceived,
    FramingEvent,
    NeedData,
    Role,
    StandingFraming,
)

START: Final = 0x68
STOP: Final = 0x16
BROADCAST: Final = 0xFF
"""The primary address of everybody, none of whom answers: where pushes go."""

SND_UD: Final = 0x53
RSP_UD: Final = 0x08
MAX_PART: Final = 250
"""Octets of an APDU in one frame."""

MAX_APDU: Final = 16 * MAX_PART
READ_SIZE: Final = 0x40000
_HEADER: Final = 4
_OVERHEAD: Final = 5
"""C, A, CI, STSAP and DTSAP."""
_LAST: Final = 0x10
_MAX_FRAME: Final = _HEADER + 257 + 2
_WRAPPED: Final = {0: 256, 1: 257}
"""Lengths that do not fit their octet, and are too short for what they are taken at their word."""


class LongFrame(NamedTuple):
    """What stands between the second 68 and the checksum."""

    control: int
    address: int
    control_information: int
    source: int
    destination: int
    part: bytes


def encode_frame(frame: LongFrame) -> bytes:
    """The octets of one frame; raises LocalProtocolError when the part does not fit."""
    if len(frame.part) > MAX_PART:
        raise LocalProtocolError(f"an M-Bus frame takes {MAX_PART} octets, not {len(frame.part)}")
    body = bytes(frame[:5]) + frame.part
    length = len(body)
    return bytes((START, length, length, START)) + body + bytes((sum(body) & 0xFF, STOP))


def encode_apdu(
    apdu: bytes, source: int, destination: int, *, control: int = SND_UD, address: int = BROADCAST
) -> bytes:
    """The frames of one APDU; raises LocalProtocolError when sixteen do not suffice."""
    if not 0 < len(apdu) <= MAX_APDU:
        raise LocalProtocolError(f"an APDU of {len(apdu)} octets does not fit sixteen M-Bus frames")
    parts = [apdu[at : at + MAX_PART] for at in range(0, len(apdu), MAX_PART)]
    last = len(parts) - 1
    return b"".join(
        encode_frame(LongFrame(control, address, count | (_LAST if count == last else 0), source, destination, part))
        for count, part in enumerate(parts)
    )


class MbusFraming(StandingFraming):
    """A `Framing` over M-Bus long frames, for both roles; there is no link to be opened.

    What goes to the broadcast address, or to a service access point that is not ours, is `unsolicited`. A client that names
    no `server_sap` listens to everybody and cannot send.
    """

    def __init__(
        self, role: Role, *, client_sap: int = 0x67, server_sap: int | None = None, address: int = BROADCAST
    ) -> None:
        """`address` is the primary address of the meter."""
        super().__init__(READ_SIZE + _MAX_FRAME)
        self.role = role
        self._own: int | None = client_sap if role is Role.CLIENT else server_sap
        self._peer: int | None = server_sap if role is Role.CLIENT else client_sap
        self._address = address
        self._in_step = False
        self._parts = bytearray()
        self._next = 0
        self._from: tuple[int, int, int, int] | None = None

    def send_apdu(self, apdu: bytes) -> None:
        """Queue the frames of one APDU: a request of a client, an answer or a push of a meter."""
        if not self._open:
            raise LocalProtocolError("the M-Bus framing is closed")
        if self._own is None or self._peer is None:
            raise LocalProtocolError("M-Bus: the service access point of the meter is not known")
        control = RSP_UD if self.role is Role.SERVER and self._address != BROADCAST else SND_UD
        self._out += encode_apdu(apdu, self._own, self._peer, control=control, address=self._address)

    def next_event(self) -> FramingEvent | NeedData:
        """The next APDU or link event, or NEED_DATA; raises RemoteProtocolError and resynchronises."""
        if self._events:
            return self._events.pop(0)
        while (frame := self._next_frame()) is not None:
            apdu = self._add(frame)
            if apdu is not None:
                ours = frame.address == self._address != BROADCAST and {frame.source, frame.destination} == {
                    self._own,
                    self._peer,
                }
                return ApduReceived(apdu, frame.source, frame.destination, unsolicited=not ours)
        return NEED_DATA

    def _next_frame(self) -> LongFrame | None:
        """The next frame with a right checksum that has room for an APDU."""
        while True:
            view = self._buffer.view()
            start = view.find(START)
            self._skip(start if start >= 0 else len(view))
            if len(view) < _HEADER:
                return None
            length = _WRAPPED.get(view[1], view[1])
            if view[1] != view[2] or view[3] != START or length < _OVERHEAD:
                self._skip(1)
                continue
            end = _HEADER + length
            if len(view) < end + 2:
                return None
            if view[end + 1] != STOP or sum(view[_HEADER:end]) & 0xFF != view[end]:
                self._skip(1)
                continue
            self._in_step = True
            octets = self._buffer.consume(end + 2)
            control, address, information, source, destination = octets[_HEADER : _HEADER + _OVERHEAD]
            part = octets[_HEADER + _OVERHEAD : end]
            return LongFrame(control, address, information, source, destination, part)

    def _skip(self, count: int) -> None:
        """Drop octets that are no frame, and say so once when frames came before them."""
        if not count:
            return
        dropped = self._buffer.consume(count)
        self._parts.clear()
        self._from = None
        if self._in_step:
            self._in_step = False
            raise RemoteProtocolError("not an M-Bus frame", expected="68 L L 68 … checksum 16", got=dropped[:4].hex())

    def _add(self, frame: LongFrame) -> bytes | None:
        """Put an APDU together; a part out of turn drops what there is."""
        stations = frame.control, frame.address, frame.source, frame.destination
        count = frame.control_information & 0x0F
        if frame.control_information > 0x1F:
            self._from = None
            return None
        if count == 0:
            self._parts.clear()
            self._from, self._next = stations, 0
        missing = self._from != stations or count != self._next
        if missing:
            known = self._from is not None
            self._from = None
            if known:
                raise RemoteProtocolError("part of an M-Bus APDU missing", expected=str(self._next), got=str(count))
            return None
        self._parts += frame.part
        self._next += 1
        if not frame.control_information & _LAST:
            return None
        self._from = None
        return bytes(self._parts) or None

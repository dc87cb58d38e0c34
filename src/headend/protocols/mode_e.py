r"""The opening of IEC 62056-21 in mode E, by which an optical head comes to HDLC (IEC 62056-46, annex on protocol mode E).

```text
 client   / ? ADDR ! CR LF                               300 baud, 7E1: AF 3F 21 8D 0A without an address
 meter    / FLG Z \ 2 ident CR LF                         FLG the manufacturer, Z the baud rate it proposes, \2 HDLC
 client   ACK 2 Z 2 CR LF                                takes the rate, or a lower one
 both     change to that rate                            8N1, HDLC
 meter    ACK 2 Z 2 CR LF                                from meters that confirm; to HDLC it is noise before a flag
```

Nothing here knows a clock or a port: `ChangeBaud` tells the owner when to change the line. The owner writes
`data_to_send()`, waits until that has gone out, changes the line, and then begins with HDLC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, NeedData, ReceiveBuffer, Role

OPENING_BAUD: Final = 300
LINE: Final = "8N1"
"""of the opening, too, since its octets bring their parity"""
CALL: Final = 0x2F
"""The first octet of a call, without its parity."""
BAUDS: Final = {"0": 300, "1": 600, "2": 1200, "3": 2400, "4": 4800, "5": 9600, "6": 19200}
"""Baud rates by their character."""

_BUFFER_LIMIT: Final = 4096
_MAX_LINE: Final = 96
_SEVEN_BITS: Final = bytes(octet & 0x7F for octet in range(0x100))
_REQUEST: Final = re.compile(rb"/\?([0-9A-Za-z ]{0,32})!\r\n")
_IDENTIFICATION: Final = re.compile(rb"/([A-Za-z]{2}[A-Za-z])([0-6])\\2([^/!\r\n\x00-\x1f\x7f-\xff]{0,32})\r\n")
_ACKNOWLEDGE: Final = re.compile(rb"\x062([0-6])2\r\n")


@dataclass(frozen=True, slots=True)
class Requested:
    """A meter is called: by its address, or every one when it is empty."""

    device: str


@dataclass(frozen=True, slots=True)
class Identified:
    """A meter has told who it is, and the fastest rate that it takes."""

    manufacturer: str
    baud: int
    identification: str


@dataclass(frozen=True, slots=True)
class ChangeBaud:
    """The opening is over: once everything is sent, go on with `baud`, and begin with HDLC."""

    baud: int


ModeEEvent: TypeAlias = Requested | Identified | ChangeBaud


class ModeE:
    """The opening, in both roles. Octets that are no line of it, such as the echo of an optical head, are passed over."""

    def __init__(
        self, role: Role, *, device: str = "", max_baud: int = 19200, manufacturer: str = "", identification: str = ""
    ) -> None:
        """`max_baud` is our own limit. A meter has a `manufacturer` of three letters and an `identification`."""
        if not is_device_address(device):
            raise LocalProtocolError(f"no device address of IEC 62056-21: {device!r}")
        if max_baud not in BAUDS.values():
            raise LocalProtocolError(f"no baud rate of IEC 62056-21: {max_baud}")
        self._told = f"/{manufacturer}{_character(max_baud)}\\2{identification}\r\n".encode("latin-1")
        if role is Role.SERVER and _IDENTIFICATION.fullmatch(self._told) is None:
            raise LocalProtocolError(f"no identification of IEC 62056-21: {manufacturer!r} {identification!r}")
        self.role = role
        self._device = device
        self._max_baud = max_baud
        self._buffer = ReceiveBuffer(_BUFFER_LIMIT)
        self._out = bytearray()
        self._events: list[ModeEEvent] = []
        self._called = False
        self.finished = False
        """the line has been changed, or is about to be: what follows is HDLC"""

    def open(self) -> None:
        """Client: queue the request, again after a time-out; everything received before is forgotten."""
        if self.role is Role.SERVER or self.finished:
            raise LocalProtocolError("only a client opens, and only once")
        self._called = True
        self._buffer.clear()
        self._out += f"/?{self._device}!\r\n".encode("ascii")

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; RemoteProtocolError when too many come without a line."""
        self._buffer.append(data)

    def data_to_send(self) -> bytes:
        """Octets to write now: seven bits and even parity, to be sent as eight bits without parity."""
        out = bytes(octet | octet.bit_count() % 2 << 7 for octet in self._out)
        self._out.clear()
        return out

    def take_rest(self) -> bytes:
        """What has come after the opening, for HDLC."""
        return self._buffer.consume(len(self._buffer))

    def next_event(self) -> ModeEEvent | NeedData:
        """The next event, or NEED_DATA; RemoteProtocolError for an endless line and for a meter that knows no HDLC."""
        while not self._events:
            line = None if self.finished else self._next_line()
            if line is None:
                return NEED_DATA
            if self.role is Role.CLIENT:
                self._take_identification(line)
            else:
                self._take_call(line)
        return self._events.pop(0)

    def _next_line(self) -> bytes | None:
        view = self._buffer.view()
        end = view.translate(_SEVEN_BITS).find(b"\n")
        if end >= 0:
            return self._buffer.consume(end + 1).translate(_SEVEN_BITS)
        if len(view) > _MAX_LINE:
            self._buffer.clear()
            raise RemoteProtocolError("line of IEC 62056-21 without end", expected=f"at most {_MAX_LINE} octets")
        return None

    def _take_identification(self, line: bytes) -> None:
        start = line.rfind(b"/")
        if not self._called or start < 0 or line.startswith(b"/?", start):
            return  # noise, or an echo of our own request
        found = _IDENTIFICATION.fullmatch(line, start)
        if found is None:
            raise RemoteProtocolError(
                "the meter does not offer HDLC (mode E)", expected="/FLGZ\\2…", got=line[start:].hex(" ")
            )
        baud = min(BAUDS[found[2].decode()], self._max_baud)
        self.finished = True
        character = _character(baud)
        self._out += f"\x062{character}2\r\n".encode("ascii")
        self._events.append(Identified(found[1].decode(), BAUDS[found[2].decode()], found[3].decode()))
        self._events.append(ChangeBaud(baud))

    def _take_call(self, line: bytes) -> None:
        call = _REQUEST.search(line)
        if call is not None:
            device = call[1].decode()
            self._called = device in {"", self._device}
            if self._called:
                self._out += self._told
                self._events.append(Requested(device))
            return
        chosen = _ACKNOWLEDGE.search(line)
        if chosen is None or not self._called:
            return
        baud = BAUDS[chosen[1].decode()]
        if baud > self._max_baud:
            self._called = False
            raise RemoteProtocolError("baud rate beyond what was offered", expected=str(self._max_baud), got=str(baud))
        self.finished = True
        self._events.append(ChangeBaud(baud))


def is_device_address(text: str) -> bool:
    """True for what a meter can be called by; empty calls whoever is there."""
    return re.fullmatch(r"[0-9A-Za-z ]{0,32}", text) is not None


def _character(baud: int) -> str:
    return next(character for character, known in BAUDS.items() if known == baud)

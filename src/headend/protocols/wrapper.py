"""The TCP wrapper of IEC 62056-47: eight octets before each APDU.

```text
 0      2        4             6        8
 +------+--------+-------------+--------+--------- ~
 | 0001 | source | destination | length | APDU
 +------+--------+-------------+--------+--------- ~
 version  wPort      wPort       octets of APDU
```

Ports. The client sends from `client_sap` to `server_sap`. What it receives from `server_sap` for `client_sap` is an answer;
so is the same pair swapped, because some meters (Iskraemeco, Actaris) copy the ports of the request. Whatever carries other
ports, such as a push to port 0x66, is delivered with `unsolicited=True`, and no request can be answered by it.

The server answers whoever sent the last frame. It takes frames for its own `server_sap` and drops those for others, as
a meter does that has no such logical device; `server_sap=None` takes all.

Errors. A version other than 0001, an empty APDU and a length beyond the limit raise RemoteProtocolError. The framing then
looks for the next 0001 and goes on from there.

Bare APDUs. Some meters leave the header out, from the start or after the first exchange. A framing with a `Delimiter` takes
APDUs with and without header, in any mixture: no APDU begins with 00. `Header` says what is sent. Without header there are
no ports either: such an APDU is for the ports that are agreed on, or that the last frame had.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NoReturn

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import (
    NEED_DATA,
    ApduReceived,
    Delimiter,
    FramingEvent,
    NeedData,
    Role,
    StandingFraming,
)

VERSION: Final = b"\x00\x01"
HEADER_LENGTH: Final = 8
MAX_APDU: Final = 0xFFFF
READ_SIZE: Final = 0x40000
"""The most that one read of a transport hands over at once."""


class Header(enum.Enum):
    """Which APDUs are sent with a header, by a framing that takes those without."""

    ALWAYS = "always"
    NEVER = "never"
    AS_RECEIVED = "as received"
    """as the APDU that was received last"""
    FIRST = "first"
    """only the first one"""


_HEADER: Final = struct.Struct(">HHHH")


def wrap(apdu: bytes, source: int, destination: int) -> bytes:
    """The APDU with its header."""
    return _HEADER.pack(1, source, destination, len(apdu)) + apdu


class WrapperFraming(StandingFraming):
    """A `Framing` over the wrapper, for both roles. It is open from the start until `close()`."""

    __slots__ = (
        "_answer",
        "_delimiter",
        "_header",
        "_max_apdu",
        "_most",
        "_own",
        "_peer",
        "_reply_from",
        "_sends_bare",
        "role",
    )

    def __init__(
        self,
        role: Role,
        *,
        client_sap: int | None = None,
        server_sap: int | None = None,
        max_apdu: int = MAX_APDU,
        delimiter: Delimiter | None = None,
        header: Header = Header.ALWAYS,
    ) -> None:
        """A client names both ports; a server may leave them out, to be learned from what it receives.

        With a `delimiter` APDUs without header are taken, too; they are for the ports that are named, or have none (0).
        """
        if role is Role.CLIENT and (client_sap is None or server_sap is None):
            raise LocalProtocolError("a wrapper client needs its own port and the port of the meter")
        super().__init__(HEADER_LENGTH + max_apdu + READ_SIZE)
        self.role = role
        self._own = client_sap if role is Role.CLIENT else server_sap
        self._peer = server_sap if role is Role.CLIENT else client_sap
        self._reply_from = self._own
        self._max_apdu = max_apdu
        self._most = HEADER_LENGTH + max_apdu
        self._answer = _HEADER.pack(1, server_sap or 0, client_sap or 0, 0)[:6] if role is Role.CLIENT else b""
        self._delimiter = delimiter
        self._header = header
        self._sends_bare = header is Header.NEVER

    @property
    def is_idle(self) -> bool:
        """True when no octets wait, so that the next ones begin a frame, and the next APDU is sent with a header."""
        return not (self._buffer or self._events or self._sends_bare)

    def send_apdu(self, apdu: bytes) -> None:
        """Queue one frame; raises LocalProtocolError when closed, too long, or when a server has nobody to answer."""
        if not self._open:
            raise LocalProtocolError("the wrapper is closed")
        if not 0 < len(apdu) <= self._max_apdu:
            raise LocalProtocolError(f"an APDU of {len(apdu)} octets does not fit the wrapper")
        if self._reply_from is None or self._peer is None:
            raise LocalProtocolError("no client has sent anything yet")
        self._out += apdu if self._sends_bare else wrap(apdu, self._reply_from, self._peer)
        self._sends_bare |= self._header is Header.FIRST

    def prepare(self, apdu: bytes) -> bytes:
        """The frame of an APDU that will be sent again and again by `request`, by any client with our ports."""
        if self._reply_from is None or self._peer is None:
            raise LocalProtocolError("only a client knows the ports beforehand")
        return apdu if self._sends_bare else wrap(apdu, self._reply_from, self._peer)

    def request(self, prepared: bytes) -> bytes:
        """`send_apdu` and `data_to_send` in one."""
        if not self._open:
            raise LocalProtocolError("the wrapper is closed")
        return self.data_to_send() + prepared if self._out else prepared

    def receive_apdu(self, data: bytes) -> tuple[bytes, int, int] | None:
        """`receive_data` and `next_event` in one for the common case; the buffer, start and end of the APDU in it.

        The common case: `data` is exactly one frame from the meter for us. In any other case None, and nothing has happened.
        """
        length = len(data)
        if length > HEADER_LENGTH and data[:6] == self._answer and data[6] << 8 | data[7] == length - HEADER_LENGTH:
            return None if self._buffer or self._events or length > self._most else (data, HEADER_LENGTH, length)
        if self._delimiter is not None and data[:1] != VERSION[:1] and not (self._buffer or self._events):
            # What the delimiter has seen of an APDU that is not complete it need not see again in the buffer.
            return (data, 0, length) if self._delimiter.find_end(data) == length else None
        return None

    def take_rest(self) -> bytes:
        """What has come and is no frame yet, for an owner who looks for something else in it."""
        return self._buffer.consume(len(self._buffer))

    def next_event(self) -> FramingEvent | NeedData:
        """The next frame or link event, or NEED_DATA; raises RemoteProtocolError and resynchronises."""
        if self._events:
            return self._events.pop(0)
        while True:
            view = self._buffer.view()
            if self._delimiter is not None and view and view[0] != VERSION[0]:
                return self._next_bare(self._delimiter)
            if view[:2] != VERSION[: len(view)]:
                self._fail("not a wrapper frame", 0, expected="version 0001", got=view[:2].hex())
            if len(view) < HEADER_LENGTH:
                return NEED_DATA
            _, source, destination, length = _HEADER.unpack_from(view)
            if not 0 < length <= self._max_apdu:
                expected = f"1 to {self._max_apdu} octets"
                self._fail("length of a wrapper frame", 6, expected=expected, got=str(length))
            if len(view) < HEADER_LENGTH + length:
                return NEED_DATA
            apdu = self._buffer.consume(HEADER_LENGTH + length)[HEADER_LENGTH:]
            if self.role is Role.CLIENT:
                expected_ports = {source, destination} == {self._own, self._peer}
                return ApduReceived(apdu, source, destination, unsolicited=not expected_ports)
            if self._own in {None, destination}:
                self._reply_from, self._peer = destination, source
                self._sends_bare &= self._header is not Header.AS_RECEIVED
                return ApduReceived(apdu, source, destination)

    def _next_bare(self, delimiter: Delimiter) -> FramingEvent | NeedData:
        """The APDU without header that the octets begin with, for the ports that are agreed on."""
        try:
            end = delimiter.find_end(self._buffer.view())
        except RemoteProtocolError:
            self._skip(0)
            raise
        if end is None:
            return NEED_DATA
        apdu = self._buffer.consume(end)
        own, peer = self._reply_from or 0, self._peer or 0
        if self.role is Role.SERVER:
            self._sends_bare |= self._header in {Header.AS_RECEIVED, Header.FIRST}
        return ApduReceived(apdu, peer, own)

    def _fail(self, message: str, offset: int, *, expected: str, got: str) -> NoReturn:
        """Drop everything up to the next thing after `offset` that looks like a version, and raise."""
        self._skip(offset)
        raise RemoteProtocolError(message, offset=offset, expected=expected, got=got)

    def _skip(self, offset: int) -> None:
        """Drop everything up to the next thing after `offset` that looks like a version."""
        view = self._buffer.view()
        start = view.find(VERSION, offset + 1)
        if start < 0:
            start = len(view) - (view[-1:] == VERSION[:1] and len(view) > 1)
        self._buffer.consume(start)

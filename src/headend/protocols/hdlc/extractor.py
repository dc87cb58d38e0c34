"""Finds frames in a stream of octets: by length, with a shared flag, after noise, from the middle of a frame."""

from __future__ import annotations

from typing import Final

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, NeedData, ReceiveBuffer
from headend.protocols.hdlc.frame import (
    FLAG,
    MAX_HEADER,
    MAX_LENGTH,
    Frame,
    Header,
    check_end,
    decode_body,
    decode_header,
)

BUFFER_LIMIT: Final = 0x40000 + MAX_LENGTH + 2
"""Octets kept at most: one read of a transport and the longest frame."""


class FrameExtractor:
    """Octets in, frames out.

    *In step*, a flag has just passed and the next octets must be a frame: what is wrong raises. *Out of step* (the
    stream began without a flag, or an error was raised) everything is dropped silently up to a flag that begins a
    header with a right check sequence; from there on the extractor is in step again.
    """

    __slots__ = ("_buffer", "_fresh", "_header", "_in_step", "idle")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer(BUFFER_LIMIT)
        self._header: Header | None = None
        self._in_step = False
        self._fresh = True
        self.idle = False
        """in step with no octet waiting: a frame read elsewhere would leave everything as it is"""

    def receive_data(self, data: bytes) -> None:
        """Add octets; RemoteProtocolError (and a fresh start) when more wait than any peer may send."""
        self.idle = False
        if self._fresh and data:
            self._fresh = False
            self._in_step = data[0] == FLAG
        try:
            self._buffer.append(data)
        except RemoteProtocolError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give up an incomplete frame: the peer has been silent for too long, or starts again."""
        self._buffer.clear()
        self._header = None
        self._fresh = True
        self.idle = False

    def next_frame(self) -> Frame | NeedData:
        """The next frame, or NEED_DATA. RemoteProtocolError once for each stretch of wrong octets, which is then dropped."""
        if self._header is None:
            self._header = self._next_header() if self._in_step else self._hunt()
        header = self._header
        data = self._buffer.view()
        if header is None or len(data) <= header.length:
            self.idle = self._in_step and not data
            return NEED_DATA
        self._header = None
        self._in_step = False
        check_end(header, data)
        self._in_step = True
        octets = self._buffer.consume(header.length + 1)
        self.idle = not data
        return decode_body(header, octets)

    def _next_header(self) -> Header | None:
        """In step: the header must follow at once, after any number of flags."""
        data = self._buffer.view()
        self._buffer.consume(len(data) - len(data.lstrip(b"\x7e")))
        self._in_step = False
        header = decode_header(data)
        if header is None and _find_header(data)[1] is not None:
            raise RemoteProtocolError("HDLC frame cut off by the next one", offset=len(data))
        self._in_step = True
        return header

    def _hunt(self) -> Header | None:
        """Out of step: drop what is before the next good header, or before a flag that may still begin one."""
        position, header = _find_header(self._buffer.view())
        self._buffer.consume(position)
        if header is not None:
            self._buffer.consume(1)
            self._in_step = True
        return header


def _find_header(data: bytearray) -> tuple[int, Header | None]:
    """Position of the first flag with a right header behind it; else of the first with too few octets behind it to tell."""
    undecided = len(data)
    position = data.find(FLAG)
    while position >= 0:
        try:
            header = decode_header(data[position + 1 : position + 1 + MAX_HEADER])
        except RemoteProtocolError:
            pass
        else:
            if header is not None:
                return position, header
            undecided = min(undecided, position)
        position = data.find(FLAG, position + 1)
    return undecided, None

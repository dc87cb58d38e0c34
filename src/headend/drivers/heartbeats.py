"""Takes logins and heartbeats out of a stream that carries frames, too. Pure.

Both stand between frames, never in them: the filter follows wrapper, HDLC and DL/T 645 frames by the lengths in their headers,
Modbus RTU by its functions, and reads APDUs without wrapper through to their ends. Where something begins that it does not
know, all of what came at once is passed on, and what comes next is looked at anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from headend.errors import DecodeError
from headend.protocols.base import Role
from headend.protocols.dlms.delimiting import FIRST_OCTETS, Delimiter
from headend.protocols.dlt645 import frame as dlt645
from headend.protocols.frame_layout import first_octets
from headend.protocols.hdlc.frame import FLAG
from headend.protocols.modbus.framing import crc16, rtu_length
from headend.protocols.registration import Kind, Registered, Registration
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_HDLC_HEADER: Final = 3
_DLT645_HEADER: Final = 10
_LEADER: Final = 0xFE
_LINE_ENDS: Final = b"\r\n"


class Known:
    """The registrations that may come, sorted for all filters and recognisers."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self.registrations = tuple(registrations)
        self.by_first = self._by_first(opening=True)
        """those that may begin with an octet"""
        self.running = self._by_first(opening=False)
        """the same, of those that may come later, too"""
        tags: set[int] = set()
        for each in self.registrations:
            for form in each.frames:
                if form.layout.wrapped is not None:
                    part = form.layout.parts[0]
                    tags |= set(part[:1]) if isinstance(part, bytes) else set(range(0x100))
        self.tags = frozenset(tags)
        """first octets of those in a wrapper"""

    def _by_first(self, *, opening: bool) -> tuple[tuple[Registration, ...], ...]:
        firsts = {
            each.id: frozenset().union(
                *(first_octets(form.layout) for form in each.frames if opening or not form.opening)
            )
            for each in self.registrations
            if not all(form.alone for form in each.frames)
        }
        return tuple(
            tuple(each for each in self.registrations if first in firsts.get(each.id, ())) for first in range(0x100)
        )


class HeartbeatFilter:
    """Of one connection. It never raises, and holds back no more than the beginning of one frame."""

    __slots__ = ("_again", "_apdu", "_held", "_known", "_last", "_said", "_skip", "_text")

    def __init__(self, known: Known, opening: Registered | None = None) -> None:
        """`opening` is what the connection began with: a text that comes again says that the sender is still there."""
        text = opening is not None and _is_text(opening.octets)
        self._known = known
        self._held = b""
        self._skip = 0
        """octets that the frame still has"""
        self._apdu: tuple[Delimiter, bytearray] | None = None
        """what came of an APDU without wrapper that is not complete"""
        self._again = replace(opening, kind=Kind.HEARTBEAT) if opening is not None and text else None
        self._text = text
        """the last that came was a text, whose line may end now"""
        self._last = b""
        self._said: Sequence[Registered] = ()

    @property
    def pending(self) -> bool:
        """True while octets are held back: when nothing follows them for a while, `silence` tells what they are."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[bytes, Sequence[Registered]]:
        """What is to be passed on, and the logins and heartbeats between it."""
        if not (self._held or self._text or self._apdu):
            skip, length = self._skip, len(data)
            if skip:
                if length <= skip:
                    self._skip = skip - length
                    return data, ()
            elif data == self._last:
                return b"", self._said
            elif (
                length > HEADER_LENGTH
                and data[HEADER_LENGTH] not in self._known.tags
                and data[:2] == VERSION
                and data[6] << 8 | data[7] == length - HEADER_LENGTH
            ):
                return data, ()
        return self._walk(self._held + data, silent=False)

    def silence(self) -> tuple[bytes, Sequence[Registered]]:
        """The same, knowing that nothing follows for now what came: nothing is held back any more."""
        rest, registered = self._walk(self._held, silent=True)
        held, self._held, self._apdu = self._held, b"", None
        return rest + held, registered

    def _walk(self, data: bytes, *, silent: bool) -> tuple[bytes, Sequence[Registered]]:
        self._held = b""
        rest: list[bytes] = []
        registered: list[Registered] = []
        at = 0
        while at < len(data):
            end = self._frame_goes_on(data, at)
            if end == at and self._text and data[at] in _LINE_ENDS:
                at += 1
                continue
            if end == at:
                self._text = False
                found, undecided = self._match(data, at, silent=silent)
                if found is not None:
                    registered.append(found)
                    at += len(found.octets)
                    self._text = _is_text(found.octets)
                    continue
                if undecided or not self._begin(data, at):
                    self._held = data[at:]
                    break
                end = self._frame_goes_on(data, at)
            rest.append(data[at:end])
            at = end
        if len(registered) == 1 and registered[0].octets == data and not self._text:
            self._last, self._said = data, tuple(registered)
        return b"".join(rest), tuple(registered)

    def _match(self, data: bytes, at: int, *, silent: bool) -> tuple[Registered | None, bool]:
        """The login or heartbeat that begins here; and whether one may."""
        undecided = False
        again = self._again
        if again is not None:
            there = data[at : at + len(again.octets)]
            if there == again.octets:
                return again, False
            undecided = again.octets.startswith(there)
        for registration in self._known.running[data[at]]:
            found = registration.match(data, at, silent=silent, opening=False)
            if isinstance(found, Registered):
                return found, False
            undecided |= found is not None
        return None, undecided

    def _begin(self, data: bytes, at: int) -> bool:
        """A frame begins here that is no heartbeat; False while its length cannot be told."""
        if data[at] in FIRST_OCTETS and not _rtu_length(data, at):
            self._apdu = Delimiter(), bytearray()
            return True
        length = frame_length(data, at)
        if length is not None:
            self._skip = length or len(data) - at
        return length is not None

    def _frame_goes_on(self, data: bytes, at: int) -> int:
        """The offset up to which octets belong to the frame that has begun."""
        if self._apdu is None:
            end = min(at + self._skip, len(data))
            self._skip -= end - at
            return end
        delimiter, apdu = self._apdu
        before = len(apdu)
        apdu += data[at:]
        try:
            size = delimiter.find_end(apdu)
        except DecodeError:
            size = len(apdu)
        if size is None:
            return len(data)
        self._apdu = None
        return at + size - before


def _is_text(octets: bytes) -> bool:
    """True for letters, digits and signs: octets of a binary frame may all be below 80, too."""
    return octets.isascii() and octets.decode("ascii").isprintable()


def frame_length(data: bytes, at: int) -> int | None:
    """Octets of the frame that begins at an offset; None while that cannot be told, 0 for what is not known."""
    first = data[at]
    if first == VERSION[0]:
        header = data[at : at + HEADER_LENGTH]
        if header[:2] != VERSION[: len(header)]:
            return 0
        return HEADER_LENGTH + int.from_bytes(header[6:8], "big") if len(header) == HEADER_LENGTH else None
    if first == FLAG:
        header = data[at : at + _HDLC_HEADER]
        if len(header) > 1 and header[1] >> 4 != 0xA:
            return 1
        return 2 + ((header[1] & 0x07) << 8 | header[2]) if len(header) == _HDLC_HEADER else None
    if first == dlt645.START:
        length = dlt645.frame_length(data, at)
        return length if not length or len(data) >= at + _DLT645_HEADER else None
    if first == _LEADER:
        return 1
    return _rtu_length(data, at)


def _rtu_length(data: bytes, at: int) -> int:
    """Octets of the answer of a Modbus meter, which must be whole; 0 for what is none."""
    end = at + rtu_length(data, at, Role.SERVER)
    return end - at if at < end <= len(data) and crc16(data[at:end]) == 0 else 0

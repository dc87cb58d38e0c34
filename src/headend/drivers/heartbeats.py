"""Takes logins and heartbeats out of a stream that carries frames, too. Pure.

Both stand between frames, never in them: the filter follows the frames by the lengths in their headers. Where something
begins that it does not know, all of what came at once is passed on, and what comes next is looked at anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headend.protocols.hdlc.frame import FLAG
from headend.protocols.registration import Registered, Registration, first_octets
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_HDLC_HEADER: Final = 3


class Known:
    """The registrations that may come, sorted for all filters and recognisers."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self.registrations = tuple(registrations)
        firsts = [
            (frozenset().union(*(first_octets(form.layout) for form in each.frames)), each)
            for each in self.registrations
        ]
        self.by_first = tuple(tuple(each for octets, each in firsts if first in octets) for first in range(0x100))
        """those that may begin with an octet"""
        tags: set[int] = set()
        for each in self.registrations:
            for form in each.frames:
                if form.layout.wrapped is not None:
                    part = form.layout.parts[0]
                    tags |= set(part[:1]) if isinstance(part, bytes) else set(range(0x100))
        self.tags = frozenset(tags)
        """first octets of those in a wrapper"""


class HeartbeatFilter:
    """Of one connection. It never raises, and holds back no more than the beginning of one frame."""

    __slots__ = ("_held", "_known", "_last", "_said", "_skip")

    def __init__(self, known: Known) -> None:
        self._known = known
        self._held = b""
        self._skip = 0
        """octets that the frame still has"""
        self._last = b""
        self._said: Sequence[Registered] = ()

    @property
    def pending(self) -> bool:
        """True while octets are held back: when nothing follows them for a while, `silence` tells what they are."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[bytes, Sequence[Registered]]:
        """What is to be passed on, and the logins and heartbeats between it."""
        if not self._held:
            skip, length = self._skip, len(data)
            if skip:
                if length <= skip:
                    self._skip = skip - length
                    return data, ()
            elif data == self._last:
                return b"", self._said
            elif (
                length > HEADER_LENGTH
                and data[8] not in self._known.tags
                and data[:2] == VERSION
                and data[6] << 8 | data[7] == length - HEADER_LENGTH
            ):
                return data, ()
        return self._walk(self._held + data, silent=False)

    def silence(self) -> tuple[bytes, Sequence[Registered]]:
        """The same, knowing that nothing follows for now what came: nothing is held back any more."""
        rest, registered = self._walk(self._held, silent=True)
        held, self._held = self._held, b""
        return rest + held, registered

    def _walk(self, data: bytes, *, silent: bool) -> tuple[bytes, Sequence[Registered]]:
        rest: list[bytes] = []
        registered: list[Registered] = []
        at = min(self._skip, len(data))
        self._skip -= at
        rest.append(data[:at])
        self._held = b""
        while at < len(data):
            found, undecided = self._match(data, at, silent=silent)
            if found is not None:
                registered.append(found)
                at += len(found.octets)
                continue
            length = frame_length(data, at)
            if undecided or length is None:
                self._held = data[at:]
                break
            end = min(at + length, len(data)) if length else len(data)
            self._skip = at + length - end if length else 0
            rest.append(data[at:end])
            at = end
        if len(registered) == 1 and registered[0].octets == data:
            self._last, self._said = data, tuple(registered)
        return b"".join(rest), tuple(registered)

    def _match(self, data: bytes, at: int, *, silent: bool) -> tuple[Registered | None, bool]:
        """The login or heartbeat that begins here; and whether one may."""
        undecided = False
        for registration in self._known.by_first[data[at]]:
            found = registration.match(data, at, silent=silent)
            if isinstance(found, Registered):
                return found, False
            undecided |= found is not None
        return None, undecided


def frame_length(data: bytes, at: int) -> int | None:
    """Octets of the frame that begins at an offset; None while that cannot be told, 0 for what is not known."""
    if data[at] == VERSION[0]:
        header = data[at : at + HEADER_LENGTH]
        if header[:2] != VERSION[: len(header)]:
            return 0
        return HEADER_LENGTH + int.from_bytes(header[6:8], "big") if len(header) == HEADER_LENGTH else None
    if data[at] == FLAG:
        header = data[at : at + _HDLC_HEADER]
        if len(header) > 1 and header[1] >> 4 != 0xA:
            return 1
        return 2 + ((header[1] & 0x07) << 8 | header[2]) if len(header) == _HDLC_HEADER else None
    return 0

"""Long answers, part by part: putting them together (head-end) and handing them out (meter).

2007 numbers the parts: the first has none, what follows counts from 1, and asking for a number again repeats it. 1997 asks for
"what follows" and, when an answer was lost, for "the last one again"; when that is the part which is here already, nobody can
tell whether the request or the answer was lost, and the read begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headend.errors import RemoteProtocolError
from headend.protocols.dlt645.frame import Address
from headend.protocols.dlt645.requests import Read, ReadFollowing, ReRead
from headend.protocols.dlt645.responses import Data
from headend.standards.dlt645 import Version

MAX_PARTS: Final = 256
"""Frames of one answer: the first, and one for each sequence number."""


class Assembly:
    """A long answer on its way in."""

    __slots__ = ("_parts", "_read", "_version")

    def __init__(self, read: Read, version: Version) -> None:
        self._read = read
        self._version = version
        self._parts: list[bytes] = []

    def repeated(self, said: Read | ReadFollowing | ReRead) -> Read | ReadFollowing | ReRead:
        """What to ask when the answer to `said` does not come."""
        return ReRead(self._read.di) if self._parts and self._version is Version.V1997 else said

    def add(self, part: Data, said: Read | ReadFollowing | ReRead) -> Data | Read | ReadFollowing:
        """The whole answer, or what to ask next; RemoteProtocolError for a wrong sequence number or too many parts."""
        if isinstance(said, ReadFollowing) and part.sequence != said.sequence:
            raise RemoteProtocolError(
                "another part of the answer", expected=f"sequence number {said.sequence}", got=str(part.sequence)
            )
        if isinstance(said, ReRead) and part.data == self._parts[-1]:
            self._parts.clear()
            return self._read
        if len(self._parts) == MAX_PARTS:
            raise RemoteProtocolError("an answer without an end", expected=f"at most {MAX_PARTS} parts")
        self._parts.append(part.data)
        if not part.more:
            return Data(part.di, b"".join(self._parts))
        return ReadFollowing(part.di, len(self._parts) & 0xFF if self._version is Version.V2007 else None)


@dataclass(slots=True)
class Handout:
    """An answer that the head-end may ask for part by part; `last` is the index of the part that it got last."""

    address: Address
    di: int
    parts: Sequence[bytes]
    last: int = 0

    @classmethod
    def split(cls, address: Address, answer: Data, room: int) -> Handout:
        """The answer in parts of `room` octets; an empty answer is one part."""
        data = answer.data
        if len(data) <= room:
            return cls(address, answer.di, (data,))
        return cls(address, answer.di, [data[at : at + room] for at in range(0, len(data), room)])

    @property
    def first(self) -> Data:
        """The part that answers the read itself."""
        return Data(self.di, self.parts[0], len(self.parts) > 1)

    def answer(self, asked: Address, request: ReadFollowing | ReRead) -> Data | None:
        """The part that is asked for; None when this is another answer, or has no such part."""
        if request.di != self.di or not asked.matches(self.address):
            return None
        if isinstance(request, ReRead):
            sequence, index = None, self.last
        else:
            sequence = request.sequence
            index = self.last + 1 if sequence is None else sequence
        if index >= len(self.parts):
            return None
        self.last = index
        return Data(self.di, self.parts[index], index + 1 < len(self.parts), sequence)

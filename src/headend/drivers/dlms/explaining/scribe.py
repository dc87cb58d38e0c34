"""Reads octets in order and writes down what they are: the fields and layers of one `Layer`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.errors import RemoteProtocolError
from headend.protocols.dlms.octets import Reader

Field: TypeAlias = tuple[str, str, int, int]
Show: TypeAlias = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Octets:
    """Octets, the place of each in the input, and the place behind them: those of an APDU may come from several frames."""

    data: bytes
    places: Sequence[int]
    after: int

    @classmethod
    def whole(cls, data: bytes) -> Octets:
        """The input itself."""
        return cls(data, range(len(data)), len(data))

    @classmethod
    def join(cls, parts: Iterable[Octets]) -> Octets:
        """Parts of one APDU, put together."""
        parts = list(parts)
        places = [place for part in parts for place in part.places]
        return cls(b"".join(part.data for part in parts), places, parts[-1].after if parts else 0)

    @classmethod
    def like(cls, data: bytes, octets: Octets) -> Octets:
        """What `octets` deciphered to: each one stands where the ciphered one does."""
        return cls(data, octets.places, octets.after)

    def part(self, start: int, end: int | None = None) -> Octets:
        """From `start` up to `end`."""
        end = len(self.data) if end is None else min(end, len(self.data))
        return Octets(self.data[start:end], self.places[start:end], self.place(end))

    def place(self, at: int) -> int:
        """Where octet `at` lies in the input."""
        return self.places[at] if 0 <= at < len(self.places) else self.after

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Offset and length in the input of what lies from `start` up to `end`."""
        first = self.place(start)
        return first, (self.place(end - 1) + 1 - first if end > start else 0)

    def say(self, error: RemoteProtocolError) -> str:
        """An error in words, with the octet of the input that it is about."""
        if error.offset is None:
            return str(error)
        return str(error).replace(f"at octet {error.offset}", f"at octet {self.place(error.offset)}", 1)


Explain: TypeAlias = Callable[[Octets], Layer]


class Scribe:
    """Each method reads on and writes down a field; what cannot be read raises DecodeError, as `Reader` does."""

    __slots__ = ("dialogue", "explain", "fields", "layers", "octets", "reader")

    def __init__(self, octets: Octets, explain: Explain | None = None, dialogue: Dialogue | None = None) -> None:
        """`explain` explains an APDU that lies in this one, `dialogue` is the one that it belongs to."""
        self.octets = octets
        self.dialogue = dialogue or Dialogue()
        self.reader = Reader(octets.data)
        self.explain = explain or _as_octets
        self.fields: list[Field] = []
        self.layers: list[Layer] = []

    def note(self, name: str, value: str, start: int, end: int | None = None) -> None:
        """Write down what the octets from `start` up to `end` (or to where reading is) say."""
        self.fields.append((name, value, *self.octets.span(start, self.reader.offset if end is None else end)))

    def number(self, name: str, size: int = 1, show: Show = str) -> int:
        """An unsigned number, most significant octet first."""
        start = self.reader.offset
        value = int.from_bytes(self.reader.octets(size, name), "big")
        self.note(name, show(value), start)
        return value

    def flag(self, name: str, yes: str = "yes", no: str = "no") -> bool:
        """A BOOLEAN, or the presence octet of an OPTIONAL."""
        return bool(self.number(name, 1, lambda value: yes if value else no))

    def string(self, name: str, show: Callable[[bytes], str] = bytes.hex) -> bytes:
        """A length and as many octets."""
        start = self.reader.offset
        value = self.reader.string(name)
        self.note(name, show(value) if value else "none", start)
        return value

    def take(self, count: int, name: str, show: Callable[[bytes], str] = bytes.hex) -> bytes:
        """A number of octets."""
        start = self.reader.offset
        value = self.reader.octets(count, name)
        self.note(name, show(value), start)
        return value

    def rest(self) -> Octets:
        """All octets that are left, without a field."""
        start, self.reader.offset = self.reader.offset, self.reader.end
        return self.octets.part(start, self.reader.end)

    def layer(self, name: str, error: str = "", *, end: int | None = None) -> Layer:
        """Everything that was written down, as a layer over all octets or those up to `end`."""
        offset, length = self.octets.span(0, len(self.octets.data) if end is None else end)
        return Layer(
            name=name, offset=offset, length=length, fields=tuple(self.fields), layers=tuple(self.layers), error=error
        )


def _as_octets(octets: Octets) -> Layer:
    """Octets without meaning."""
    offset, length = octets.span(0, len(octets.data))
    return Layer(name=f"{len(octets.data)} octets", offset=offset, length=length)


def words(name: str) -> str:
    """The name of an enumeration's member as the standard writes it."""
    return name.lower().replace("_", "-")

"""What data mean: BCD numbers, digits, times, text, bits, and their sequences (DL/T 645-2007 clause 6 and appendix A).

Everything travels least significant octet first, text too. A format is written as in the standard's tables:

| Written | Value |
| --- | --- |
| `XXXXXX.XX`, `XX.XXXX`, `NN`, `XXXX` | BCD number of that many digits (a 0 goes before an odd one): int, or `raw / 10**decimals` |
| `YYMMDDhhmmss`, `MMDDhhmm`, `hhmmNN`, `YYMMDDWW`, … | `Moment`; NN is a number beside the time (a day table, a tariff) |
| `DIGITS12` | str of twelve digits: addresses and other numbers whose leading zeros count |
| `ASCII6` | str |
| `BITS16` | int of so many bits: status words, characteristic words; no pattern means "absent" |
| `OCTETS5`, `OCTETS` | bytes in the order of the wire, for what is not taken apart: five, or all there are |

A signed number has its sign in the most significant bit; the rest is BCD. All octets FF mean that the meter has no such value
(an absent phase, an event that never happened): None. Any other octet that is not BCD raises DecodeError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlt645.moment import FIELDS, Moment

Value: TypeAlias = int | float | str | bytes | Moment | None
"""A decoded value; None is the meter's own "absent"."""

BLOCK_END: Final = 0xAA
"""Octet that some meters send behind the last item of a block."""

_POWERS: Final[tuple[int, ...]] = tuple(10**exponent for exponent in range(32))
_NUMBER: Final = re.compile(r"([XN]+)(?:\.([XN]+))?")
_COUNTED: Final = re.compile(r"(DIGITS|ASCII|BITS|OCTETS)([1-9][0-9]{0,2})|OCTETS")


class Format(Protocol):
    """How one value stands in octets."""

    @property
    def size(self) -> int:
        """Octets of the value; 0 for all there are."""

    def decode(self, data: bytes, offset: int = 0) -> Value:
        """The value at `offset`; DecodeError for octets that are missing or wrong."""

    def encode(self, value: Value) -> bytes:
        """The octets of a value; LocalProtocolError when it does not fit."""


def _taken(data: bytes, offset: int, size: int, what: object) -> bytes:
    octets = data[offset : offset + size]
    if len(octets) != size:
        raise DecodeError(f"{what} is cut off", offset=offset, expected=f"{size} octets", got=str(len(octets)))
    return octets


def _check_digits(octets: bytes, offset: int, what: object) -> None:
    """Raise for the first octet that is not two BCD digits."""
    for at, octet in enumerate(octets, offset):
        if octet >> 4 > 9 or octet & 15 > 9:
            raise DecodeError(f"{what}: not BCD", offset=at, expected="two decimal digits", got=f"{octet:02X}")


def _refuse(value: Value, what: object) -> LocalProtocolError:
    return LocalProtocolError(f"{value!r} does not fit into {what}")


@dataclass(frozen=True, slots=True)
class Number:
    """BCD number of `size` octets, worth raw x 10**exponent; ValueError for more than 31 decimals or zeros."""

    size: int
    exponent: int = 0
    signed: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or abs(self.exponent) >= len(_POWERS):
            raise ValueError(f"no number of {self.size} octets and 10**{self.exponent}")

    def __str__(self) -> str:
        digits = "X" * (2 * self.size)
        if 0 < -self.exponent < len(digits):
            return f"{digits[: self.exponent]}.{digits[self.exponent :]}"
        return f"{digits}e{self.exponent}" if self.exponent else digits

    def scaled(self, power: int) -> Number:
        """The same octets in a unit that is 10**power times smaller: `XXXXXX.XX` kWh `.scaled(3)` is an int of Wh."""
        return replace(self, exponent=self.exponent + power)

    def decode(self, data: bytes, offset: int = 0) -> int | float | None:
        """An int when the exponent is not negative, else the quotient, correctly rounded; None for FF…FF."""
        octets = data[offset : offset + self.size]
        try:
            raw = int(octets[::-1].hex())
        except ValueError:
            raw = -1
        if raw < 0 or len(octets) < self.size or (self.signed and octets[-1] > 0x7F):
            found = self._unusual(data, offset)
            if found is None:
                return None
            raw = found
        exponent = self.exponent
        return raw / _POWERS[-exponent] if exponent < 0 else raw * _POWERS[exponent]

    def _unusual(self, data: bytes, offset: int) -> int | None:
        """What is absent, negative or wrong."""
        octets = _taken(data, offset, self.size, self)
        if octets == b"\xff" * self.size:
            return None
        if not self.signed:
            _check_digits(octets, offset, self)
        magnitude = octets[:-1] + bytes((octets[-1] & 0x7F,))
        _check_digits(magnitude, offset, self)
        return -int(magnitude[::-1].hex())

    def encode(self, value: Value) -> bytes:
        """The nearest number that can be sent, FF…FF for None; LocalProtocolError when it is too large or no number."""
        if value is None:
            return b"\xff" * self.size
        if not isinstance(value, (int, float)) or value - value != 0:  # text, infinity, not a number
            raise _refuse(value, self)
        raw = round(value * _POWERS[-self.exponent] if self.exponent < 0 else value / _POWERS[self.exponent])
        digits = str(abs(raw)).zfill(2 * self.size)
        if len(digits) > 2 * self.size or (raw < 0 and not self.signed) or (self.signed and digits[0] > "7"):
            raise _refuse(value, self)
        octets = bytearray.fromhex(digits)
        octets[0] |= 0x80 if raw < 0 else 0
        octets.reverse()
        return bytes(octets)


@dataclass(frozen=True, slots=True)
class Digits:
    """Decimal digits, two in an octet, whose leading zeros count."""

    size: int

    def __str__(self) -> str:
        return f"DIGITS{2 * self.size}"

    def decode(self, data: bytes, offset: int = 0) -> str | None:
        """All digits, most significant first; None for FF…FF."""
        octets = _taken(data, offset, self.size, self)
        if octets == b"\xff" * self.size:
            return None
        _check_digits(octets, offset, self)
        return octets[::-1].hex()

    def encode(self, value: Value) -> bytes:
        """Digits as text (padded with zeros in front) or a number; FF…FF for None."""
        if value is None:
            return b"\xff" * self.size
        digits = str(value).zfill(2 * self.size)
        if len(digits) > 2 * self.size or not (digits.isascii() and digits.isdecimal()):
            raise _refuse(value, self)
        return bytes.fromhex(digits)[::-1]


@dataclass(frozen=True, slots=True)
class Text:
    """ASCII text, last character first."""

    size: int

    def __str__(self) -> str:
        return f"ASCII{self.size}"

    def decode(self, data: bytes, offset: int = 0) -> str | None:
        """The text without NUL, FF and blanks around it; None when nothing is left. Any octet has a character (Latin-1)."""
        octets = _taken(data, offset, self.size, self)
        return octets[::-1].strip(b"\0\xff ").decode("latin-1") or None

    def encode(self, value: Value) -> bytes:
        """Padded with NUL at its end."""
        try:
            text = ("" if value is None else str(value)).encode("latin-1")
        except UnicodeEncodeError:
            text = bytes(self.size + 1)
        if len(text) > self.size:
            raise _refuse(value, self)
        return text.ljust(self.size, b"\0")[::-1]


@dataclass(frozen=True, slots=True)
class Bits:
    """A word of bits; bit 0 is the least significant bit of the first octet."""

    size: int

    def __str__(self) -> str:
        return f"BITS{8 * self.size}"

    def decode(self, data: bytes, offset: int = 0) -> int:
        """The word as a number."""
        return int.from_bytes(_taken(data, offset, self.size, self), "little")

    def encode(self, value: Value) -> bytes:
        """The word as octets."""
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * self.size:
            raise _refuse(value, self)
        return value.to_bytes(self.size, "little")


@dataclass(frozen=True, slots=True)
class Octets:
    """Octets as they are, in the order of the wire; size 0 takes all there are."""

    size: int

    def __str__(self) -> str:
        return f"OCTETS{self.size or ''}"

    def decode(self, data: bytes, offset: int = 0) -> bytes:
        """The octets."""
        return bytes(_taken(data, offset, self.size or max(len(data) - offset, 0), self))

    def encode(self, value: Value) -> bytes:
        """The octets."""
        if not isinstance(value, bytes) or len(value) != (self.size or len(value)):
            raise _refuse(value, self)
        return value


@dataclass(frozen=True, slots=True)
class Time:
    """A date, a time of day or both; `fields` are pairs of letters, most significant first: `("YY", "MM", "DD")`."""

    fields: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(self.fields)

    @property
    def size(self) -> int:
        """One octet for each field."""
        return len(self.fields)

    def decode(self, data: bytes, offset: int = 0) -> Moment | None:
        """The moment, with None for fields that are 99 (every one); None for FF…FF.

        DecodeError when a field cannot be (a 13th month); zeros can: nothing has happened yet.
        """
        octets = _taken(data, offset, self.size, self)
        if octets == b"\xff" * self.size:
            return None
        _check_digits(octets, offset, self)
        values: dict[str, int | None] = {}
        for index, letters in enumerate(reversed(self.fields)):
            field, number = FIELDS[letters], int(octets[index : index + 1].hex())
            if not field.takes(number):
                raise DecodeError(
                    f"{self}: {field.name} out of range", offset=offset + index, expected=field.range, got=str(number)
                )
            values[field.name] = field.from_wire(number)
        return Moment(**values)

    def encode(self, value: Value) -> bytes:
        """Fields of the format that the moment lacks are 99 (a year cannot lack); FF…FF for None."""
        if value is None:
            return b"\xff" * self.size
        if not isinstance(value, Moment):
            raise _refuse(value, self)
        numbers = [FIELDS[letters].to_wire(getattr(value, FIELDS[letters].name)) for letters in self.fields]
        if None in numbers:
            raise _refuse(value, self)
        return bytes.fromhex("".join(f"{number:02}" for number in reversed(numbers)))


def _counted(kind: str, count: int) -> Format:
    """`count` digits, characters, bits or octets; raises ValueError for a part of an octet."""
    to_an_octet = {"DIGITS": 2, "BITS": 8}.get(kind, 1)
    size, part = divmod(count, to_an_octet)
    if part:
        raise ValueError(f"{kind}{count} is no data format: {to_an_octet} fill an octet")
    match kind:
        case "DIGITS":
            return Digits(size)
        case "ASCII":
            return Text(size)
        case "BITS":
            return Bits(size)
    return Octets(size)


def parse_format(text: str, *, signed: bool = False) -> Format:
    """The format that is written so (see above); `signed` matters for numbers alone. Raises ValueError."""
    if found := _NUMBER.fullmatch(text):
        decimals = len(found[2] or "")
        return Number((len(found[1]) + decimals + 1) // 2, -decimals, signed)
    if found := _COUNTED.fullmatch(text):
        return _counted(found[1] or text, int(found[2] or 0))
    letters = tuple(text[at : at + 2] for at in range(0, len(text), 2))
    if letters and len(set(letters)) == len(letters) and all(pair in FIELDS for pair in letters):
        return Time(letters)
    raise ValueError(f"unknown data format {text!r}: expected digits X or N, a time, DIGITSn, ASCIIn, BITSn or OCTETSn")


class Layout:
    """The values of one data item or block, one behind the other: `parts` once, `items` times, or as often as there are octets.

    A demand and its time are two parts; the energies of all tariffs are one part and no fixed number of items.
    """

    __slots__ = ("_parts", "_unit", "items", "parts")

    def __init__(self, parts: Sequence[Format], items: int | None = 1) -> None:
        """`items` None: the meter decides how many (as many as its tariffs). Raises ValueError for no parts or no items."""
        self.parts = tuple(parts)
        self.items = items
        if not self.parts or (items is not None and items < 1):
            raise ValueError("a layout has parts, and one item at least")
        if any(not part.size for part in self.parts) and (len(self.parts), items) != (1, 1):
            raise ValueError("what takes all octets stands alone")
        ends = [0]
        for part in self.parts:
            ends.append(ends[-1] + part.size)
        self._parts = tuple(zip(ends, self.parts, strict=False))
        self._unit = ends[-1]

    @classmethod
    def parse(cls, text: str, *, signed: bool = False, items: int | None = 1) -> Layout:
        """`XX.XXXX,YYMMDDhhmm` and the like: parts with commas between them, in the order of the wire. Raises ValueError."""
        return cls([parse_format(part.strip(), signed=signed) for part in text.split(",")], items)

    def decode(self, data: bytes, offset: int = 0) -> tuple[Value, ...]:
        """All values from `offset` to the end of `data`, in the order of the wire.

        DecodeError when octets are missing, wrong, or left over; one octet AA behind the last item is passed over.
        """
        size = len(data) - offset
        items = size // self._unit if self.items is None else self.items
        left = size - items * self._unit if self._unit else 0
        if left and (left != 1 or data[-1] != BLOCK_END):
            expected = f"{items * self._unit} octets" if self.items else f"a multiple of {self._unit} octets"
            raise DecodeError("wrong size of the data", offset=offset, expected=expected, got=str(size))
        if items == 1:
            return tuple([part.decode(data, offset + at) for at, part in self._parts])
        starts = range(offset, offset + items * self._unit, self._unit)
        return tuple([part.decode(data, start + at) for start in starts for at, part in self._parts])

    def encode(self, values: Sequence[Value]) -> bytes:
        """The octets of values; LocalProtocolError when one does not fit, or their number is wrong."""
        items, rest = divmod(len(values), len(self.parts))
        if rest or (self.items is not None and items != self.items):
            raise LocalProtocolError(f"{len(values)} values do not fit the layout")
        parts = self.parts * items
        return b"".join([part.encode(value) for part, value in zip(parts, values, strict=True)])

"""What registers mean: numbers of 16, 32 and 64 bits in either word order, floats, text, and prepared reads of blocks.

A register is two octets, high octet first, always. Values of several registers come high word first (`big`, the rule of
most meters) or low word first (`little`); the octets inside a word never change places.
"""

from __future__ import annotations

import enum
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from headend.errors import DecodeError, LocalProtocolError

Value: TypeAlias = int | float | str | bool | None
"""A decoded value; None stands for the device's own "not available"."""

_CODES: Final = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
_TEXT: Final = re.compile(r"text([1-9][0-9]{0,2})")


class WordOrder(enum.Enum):
    """Order of the 16-bit words of a longer value."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True, slots=True)
class RegisterType:
    """Type of a value in registers. `kind` is u16, i16, u32, i32, u64, i64, f32, f64 or text."""

    kind: str
    registers: int
    word_order: WordOrder = WordOrder.BIG

    @classmethod
    def parse(cls, text: str) -> RegisterType:
        """`f32`, `u64`, `i32-little` (low word first), `text7` (seven registers); raises ValueError."""
        kind, dash, order = text.partition("-")
        found = _TEXT.fullmatch(kind)
        if found and not dash and int(found[1]) <= 125:
            return cls("text", int(found[1]))
        if kind not in _CODES or (dash and (order != "little" or kind.endswith("16"))):
            raise ValueError(f"unknown register type {text!r}: expected one of {', '.join(_CODES)}, text1 to text125")
        return cls(kind, struct.calcsize(_CODES[kind]) // 2, WordOrder.LITTLE if dash else WordOrder.BIG)

    def __str__(self) -> str:
        if self.kind == "text":
            return f"text{self.registers}"
        return self.kind if self.word_order is WordOrder.BIG else f"{self.kind}-little"

    @property
    def _raw(self) -> bool:
        """The octets need more than struct: text, and words out of order."""
        return self.kind == "text" or self.word_order is WordOrder.LITTLE

    @property
    def struct_code(self) -> str:
        """How `struct` takes the value (or its octets) out of big-endian data."""
        return f"{self.registers * 2}s" if self._raw else _CODES[self.kind]

    @property
    def not_available(self) -> int | None:
        """What many meters send for "no value": all ones, or the greatest signed number. None for the rest."""
        if self.kind[0] not in "ui":
            return None
        bits = self.registers * 16
        return (1 << bits) - 1 if self.kind[0] == "u" else (1 << bits - 1) - 1

    def decode(self, data: bytes, offset: int = 0) -> Value:
        """The value at `offset`; a float that is no number is None. Raises DecodeError when octets are missing."""
        try:
            (value,) = struct.unpack_from(f">{self.struct_code}", data, offset)
        except struct.error:
            size = self.registers * 2
            raise DecodeError(f"{self} needs {size} octets", offset=offset, got=str(len(data) - offset)) from None
        return self._finish(value)

    def encode(self, value: float | str | None) -> bytes:
        """Octets of a value, the not-available pattern for None; raises LocalProtocolError when it does not fit."""
        if self.kind == "text":
            octets = ("" if value is None else str(value)).encode("ascii", "replace")
            return octets[: self.registers * 2].ljust(self.registers * 2, b"\0")
        try:
            number = self._number(value)
            octets = struct.pack(f">{_CODES[self.kind]}", number)
        except (struct.error, OverflowError, ValueError) as error:
            raise LocalProtocolError(f"{value!r} does not fit into {self}") from error
        return octets if self.word_order is WordOrder.BIG else swap_words(octets)

    def _number(self, value: float | str | None) -> float:
        if self.kind[0] == "f":
            return math.nan if value is None else float(value)
        if value is None:
            return self.not_available or 0
        if isinstance(value, float) and not value.is_integer():
            raise ValueError("a fraction")
        return int(value)

    def _finish(self, value: float | bytes) -> Value:
        if isinstance(value, bytes):
            if self.kind == "text":
                return value.rstrip(b"\0\xff ").lstrip().decode("latin-1") or None
            return self._finish(struct.unpack(f">{_CODES[self.kind]}", swap_words(value))[0])
        if not math.isfinite(value):
            return None
        return to_decimal(value) if self.kind == "f32" else value

    def _finish_or_absent(self, value: Any) -> Value:  # noqa: ANN401 - what struct gives
        finished = self._finish(value)
        return None if finished == self.not_available else finished

    def finisher(self, *, patterns: bool) -> Callable[[Any], Value] | None:
        """What must be done after `struct_code`, apart from floats that are no numbers; None when nothing.

        With `patterns` the not-available pattern becomes None.
        """
        if patterns and self.not_available is not None:
            return self._finish_or_absent
        return self._finish if self._raw else None

    def to_struct(self, value: float | str | None) -> float | bytes:
        """What `struct_code` packs for a value; raises LocalProtocolError when the value does not fit."""
        if self._raw:
            return self.encode(value)
        try:
            return self._number(value)
        except (OverflowError, ValueError) as error:
            raise LocalProtocolError(f"{value!r} does not fit into {self}") from error


def swap_words(octets: bytes) -> bytes:
    """The 16-bit words in reverse order."""
    swapped = bytearray(len(octets))
    swapped[0::2] = octets[-2::-2]
    swapped[1::2] = octets[-1::-2]
    return bytes(swapped)


def decode_bits(data: bytes, count: int, offset: int = 0) -> tuple[bool, ...]:
    """`count` packed coils or discrete inputs, the first in bit 0; raises DecodeError when octets are missing."""
    if len(data) - offset < (count + 7) // 8:
        raise DecodeError(f"{count} bits need {(count + 7) // 8} octets", offset=offset, got=str(len(data) - offset))
    return tuple(bool(data[offset + (index >> 3)] >> (index & 7) & 1) for index in range(count))


def encode_bits(bits: Sequence[bool]) -> bytes:
    """Packed coils or discrete inputs."""
    number = sum(1 << index for index, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


class BitLayout:
    """Which of the packed bits of an answer are wanted: ascending positions out of `count`."""

    __slots__ = ("_count", "_positions")

    def __init__(self, positions: Sequence[int], count: int) -> None:
        self._positions = tuple(positions)
        self._count = count

    def decode(self, data: bytes, offset: int = 0) -> tuple[Value, ...]:
        """The wanted bits; raises DecodeError when octets are missing."""
        bits = decode_bits(data, self._count, offset)
        return tuple(bits[position] for position in self._positions)

    def encode(self, values: Sequence[Value]) -> bytes:
        """The packed bits of an answer; those in between are off."""
        bits = [False] * self._count
        for position, value in zip(self._positions, values, strict=True):
            bits[position] = bool(value)
        return encode_bits(bits)


# by the binary exponent of a single-precision number: the decimals that always tell it from its neighbours, and half the
# distance to them (IEC 60559: 24 binary digits, the least exponent is -149)
_DECIMALS: Final = {
    exponent: (math.ceil(-math.log10(2.0 ** max(exponent - 24, -149))), 2.0 ** max(exponent - 25, -150))
    for exponent in range(-148, 129)
}


@lru_cache(maxsize=1 << 16)
def to_decimal(value: float) -> float:
    """The short decimal that a finite single-precision number stands for: 230.10000610351562 is 230.1.

    Packed again it gives the same 32 bits.
    """
    decimals, half = _DECIMALS[math.frexp(value)[1]]
    shorter = round(value, decimals - 1)
    return shorter if -half < shorter - value < half else round(value, decimals)


class RegisterLayout:
    """Where values stand in the data of one answer: one precompiled struct takes all of them out of the buffer.

    `fields` are (registers from the start of the block, type), ascending, without overlap.
    """

    __slots__ = ("_finishers", "_floats", "_kinds", "_singles", "_struct", "size")

    def __init__(self, fields: Sequence[tuple[int, RegisterType]], registers: int, *, patterns: bool = False) -> None:
        """`registers` is the length of the block; with `patterns` integers of the not-available pattern are None."""
        code = [">"]
        position = 0
        for start, kind in fields:
            if start < position or start + kind.registers > registers:
                raise ValueError(f"{kind} at register {start} overlaps its neighbour or the end of the block")
            code.append(f"{(start - position) * 2}x{kind.struct_code}")
            position = start + kind.registers
        code.append(f"{(registers - position) * 2}x")
        self._struct = struct.Struct("".join(code))
        self.size = registers * 2
        self._kinds = tuple(kind for _, kind in fields)
        finishers = ((index, kind.finisher(patterns=patterns)) for index, (_, kind) in enumerate(fields))
        self._finishers = tuple((index, finish) for index, finish in finishers if finish)
        self._floats = tuple(index for index, (_, kind) in enumerate(fields) if kind.struct_code in "fd")
        self._singles = tuple(index for index, (_, kind) in enumerate(fields) if kind.struct_code == "f")

    def decode(self, data: bytes, offset: int = 0) -> tuple[Value, ...]:
        """The values in the order of the fields; raises DecodeError when octets are missing."""
        try:
            values: tuple[Any, ...] = self._struct.unpack_from(data, offset)
        except struct.error:
            got = str(len(data) - offset)
            raise DecodeError("registers are missing", expected=f"{self.size} octets", got=got) from None
        if not self._finishers and (not self._floats or math.isfinite(sum(values))):
            if not self._singles:
                return values
            if len(self._singles) == len(values):
                return tuple(map(to_decimal, values))
        return self._finished(list(values))

    def encode(self, values: Sequence[float | str | None]) -> bytes:
        """The data of the block; gaps are zero. Raises LocalProtocolError for a value that does not fit."""
        try:
            return self._struct.pack(*values)
        except (struct.error, OverflowError):
            taken = [kind.to_struct(value) for kind, value in zip(self._kinds, values, strict=True)]
        try:
            return self._struct.pack(*taken)
        except (struct.error, OverflowError) as error:
            raise LocalProtocolError(f"a value does not fit into its registers: {error}") from error

    def _finished(self, values: list[Any]) -> tuple[Value, ...]:
        for index, finish in self._finishers:
            values[index] = finish(values[index])
        for index in self._floats:
            if not math.isfinite(values[index]):
                values[index] = None
        for index in self._singles:
            if values[index] is not None:
                values[index] = to_decimal(values[index])
        return tuple(values)

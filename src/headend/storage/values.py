"""How a value and its note lie in the database; pure.

SQLite keeps 64-bit integers, doubles and text as they are. A double takes 8 octets whatever it is, so the usual ones (up to
three decimals, exactly) are kept as an integer of thousandths, and the few values that SQLite lacks are cast; the note says so:

```text
value                        stored as
230.4                        230400, MILLI                  / 1000 gives the very same double
True, False                  1, 0, CAST
int beyond 64 bits           hexadecimal text, CAST
nan                          NULL, CAST
text with lone surrogates    octets, CAST
```

The note, from the lowest bit: source (3 bits), MILLI, CAST, quality (6), and above them the age of the reading at its receipt
in milliseconds. A reading that is older than INLINE_AGE, or from the future, has the negative number of its receipt there.
An integer that was polled, just measured and good has note 0, which takes no room at all.
"""

from __future__ import annotations

from typing import cast

from headend.model.reading import Value

QUARTER_MS = 21_600_000
"""Six hours."""
EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00Z, where quarters are counted from, so that they take two octets until 2042."""
POINT_SHIFT = 25
POINT_MASK = (1 << POINT_SHIFT) - 1
SOURCE_MASK = 0x07
MILLI = 0x08
CAST = 0x10
QUALITY_SHIFT = 5
QUALITY_MAX = 0x3F
ESTIMATED = 0x20
"""Quality.ESTIMATED where the note has it."""
AGE_SHIFT = 11
INLINE_AGE = 1 << 20
"""Ages below this (17 minutes) make a note of at most 4 octets."""
INT64 = 1 << 63
_MILLI_MAX = 1e11
"""Thousandths up to this take at most 6 octets."""

Stored = int | float | str | bytes | None


def encode_value(value: Value) -> tuple[Stored, int]:
    """A value as the database holds it, and the bits of its note; raises TypeError for what is no Value."""
    if isinstance(value, float):
        if -_MILLI_MAX < value < _MILLI_MAX:
            milli = round(value * 1000.0)
            if milli / 1000.0 == value and (milli or str(value)[0] != "-"):
                return milli, MILLI
        return (None, CAST) if value != value else (float(value), 0)  # noqa: PLR0124 # only nan differs from itself
    if isinstance(value, bool):
        return int(value), CAST
    if isinstance(value, int):
        return (int(value), 0) if -INT64 <= value < INT64 else (f"{value:x}", CAST)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass"), CAST
        return str(value), 0
    raise TypeError(f"a reading holds int, float, str or bool, not {type(value).__name__}")


def decode_value(stored: Stored, note: int) -> Value:
    """The value that was encoded."""
    if note & MILLI:
        return cast("int", stored) / 1000.0
    if not note & CAST:
        return cast("Value", stored)
    if isinstance(stored, int):
        return bool(stored)
    if isinstance(stored, str):
        return int(stored, 16)
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else float("nan")


def encode_marks(source: int, quality: int, form: int) -> int:
    """The note without an age; raises ValueError for quality flags that have no room."""
    if quality & ~QUALITY_MAX:
        raise ValueError(f"quality 0x{quality:02X} does not fit the note of a reading")
    return quality << QUALITY_SHIFT | form | source


def decode_quality(note: int) -> int:
    """The quality in a note."""
    return note >> QUALITY_SHIFT & QUALITY_MAX

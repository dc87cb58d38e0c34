"""How a value and its note lie in the database; pure.

SQLite keeps 64-bit integers, doubles and text as they are. The few values it lacks are cast, and the note says so:

```text
value         stored as
True, False   1, 0
int beyond 64 bits   hexadecimal text
nan           NULL
text with lone surrogates   octets
```

The note, from the lowest bit: source (3 bits), cast (1), quality (6), and above them the age of the reading at its receipt
in milliseconds. A reading that is older than INLINE_AGE, or from the future, has the negative number of its receipt there.
A good, just measured, polled reading has note 0, which takes no room at all.
"""

from __future__ import annotations

from typing import cast

from headend.model.reading import Value

DAY_MS = 86_400_000
POINT_SHIFT = 27
POINT_MASK = (1 << POINT_SHIFT) - 1
SOURCE_MASK = 0x07
CAST = 0x08
QUALITY_SHIFT = 4
QUALITY_MAX = 0x3F
ESTIMATED = 0x10
"""Quality.ESTIMATED where the note has it."""
AGE_SHIFT = 10
INLINE_AGE = 1 << 21
"""Ages below this (35 minutes) make a note of at most 4 octets."""
INT64 = 1 << 63

Stored = int | float | str | bytes | None


def encode_value(value: Value) -> tuple[Stored, int]:
    """A value as the database holds it, and CAST where it is not itself; raises TypeError for what is no Value."""
    if isinstance(value, bool):
        return int(value), CAST
    if isinstance(value, int):
        return (int(value), 0) if -INT64 <= value < INT64 else (f"{value:x}", CAST)
    if isinstance(value, float):
        return (None, CAST) if value != value else (float(value), 0)  # noqa: PLR0124 # only nan differs from itself
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass"), CAST
        return str(value), 0
    raise TypeError(f"a reading holds int, float, str or bool, not {type(value).__name__}")


def decode_value(stored: Stored, note: int) -> Value:
    """The value that was encoded."""
    if not note & CAST:
        return cast("Value", stored)
    if isinstance(stored, int):
        return bool(stored)
    if isinstance(stored, str):
        return int(stored, 16)
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else float("nan")


def encode_marks(source: int, quality: int, cast_bit: int) -> int:
    """The note without an age; raises ValueError for quality flags that have no room."""
    if quality & ~QUALITY_MAX:
        raise ValueError(f"quality 0x{quality:02X} does not fit the note of a reading")
    return quality << QUALITY_SHIFT | cast_bit | source


def decode_quality(note: int) -> int:
    """The quality in a note."""
    return note >> QUALITY_SHIFT & QUALITY_MAX

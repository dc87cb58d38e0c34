"""How a value and its note lie in the database; pure.

In SQLite (`encode_value`)
--------------------------

It keeps 64-bit integers, doubles and text as they are. A double takes 8 octets whatever it is, so the usual ones (up to
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

In PostgreSQL (`encode_number`)
-------------------------------

Every column has one type: a double, which is the value for whoever looks at the table, and a text for what no double can
hold. The note is the same, with WHOLE in the place of MILLI:

```text
value                             double          text            form
230.4, inf, nan                   as it is        NULL
int up to 2**53                   the same        NULL            WHOLE
True, False                       1, 0            NULL            CAST
int beyond                        the nearest     hexadecimal     WORDS (both)
text                              nan             as it is        WORDS
text with NUL or lone surrogates  inf             its octets in hexadecimal, WORDS
```

The age stands in the note where it is below INLINE_AGE; the time of receipt of others has a column of its own.
"""

from __future__ import annotations

import math
import sys
from typing import Final, cast

from headend.model.reading import Value

DAY_MS = 86_400_000
DAYS: Final = range(10_957, 47_482)
"""2000 to 2099: what lies before or after them is of wrong clocks, for which nothing is made."""
QUARTER_MS = 21_600_000
"""Six hours."""
EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00Z, where quarters are counted from, so that they take two octets until 2042."""
POINT_SHIFT = 25
POINT_MASK = (1 << POINT_SHIFT) - 1
SOURCE_MASK = 0x07
MILLI = 0x08
WHOLE = 0x08
CAST = 0x10
WORDS = WHOLE | CAST
QUALITY_SHIFT = 5
QUALITY_MAX = 0x3F
ESTIMATED = 0x20
"""Quality.ESTIMATED where the note has it."""
AGE_SHIFT = 11
INLINE_AGE = 1 << 20
"""Ages below this (17 minutes) make a note of at most 4 octets."""
INT64 = 1 << 63
EXACT = 1 << 53
"""Every integer up to this is a double."""
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


def encode_number(value: Value) -> tuple[float, str | None, int]:
    """A value as double and text, and the bits of its note; raises TypeError for what is no Value."""
    if isinstance(value, float):
        return float(value), None, 0
    if isinstance(value, bool):
        return float(value), None, CAST
    if isinstance(value, int):
        if -EXACT <= value <= EXACT:
            return float(value), None, WHOLE
        most = sys.float_info.max
        return float(min(max(value, -int(most)), int(most))), f"{value:x}", WORDS
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return math.inf, value.encode("utf-8", "surrogatepass").hex(), WORDS
        return (math.inf, value.encode().hex(), WORDS) if "\0" in value else (math.nan, str(value), WORDS)
    raise TypeError(f"a reading holds int, float, str or bool, not {type(value).__name__}")


def decode_number(number: float, words: str | None, note: int) -> Value:
    """The value that was encoded; `words` may be left out where the note has not all of WORDS."""
    form = note & WORDS
    if form == WHOLE:
        return int(number)
    if not form:
        return number
    if form == CAST:
        return bool(number)
    text = words or ""
    if math.isinf(number):
        return bytes.fromhex(text).decode("utf-8", "surrogatepass")
    return text if math.isnan(number) else int(text, 16)


def encode_marks(source: int, quality: int, form: int) -> int:
    """The note without an age; raises ValueError for quality flags that have no room."""
    if quality & ~QUALITY_MAX:
        raise ValueError(f"quality 0x{quality:02X} does not fit the note of a reading")
    return quality << QUALITY_SHIFT | form | source


def decode_quality(note: int) -> int:
    """The quality in a note."""
    return note >> QUALITY_SHIFT & QUALITY_MAX

"""Where an APDU ends in a stream that does not say it: what is sent without wrapper or HDLC (IEC 62056-5-3, 8 and 9.5).

```text
60 to 63               AARQ … RLRE            length of BER
21 … D7, DB to DF      ciphered, signed       the lengths of the strings in them
E0                     general block          the length of its raw data
05 … DA                plain services         read through by their A-XDR, down to the last value
E6, E7                 gateway prefix         the APDU after it
```

Nothing is decoded: values are passed over by tag and length. A `Delimiter` goes on where it stopped, so an APDU that comes octet
by octet is read through once. It says that more is needed only while the octets are a valid beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.axdr_plain import DELTA_FORMATS, FIXED, MAX_DEPTH, Tag

Octets: TypeAlias = bytes | bytearray
Entry: TypeAlias = "tuple[Step, int, int]"
"""A step, how many times it is to be made, and how deep in arrays and structures."""
Step: TypeAlias = int | Callable[[Octets, int, int, list[Entry]], int]
"""So many octets to pass over; or a function of octets, offset, depth and a list for what follows first, to the offset after it.

It raises IndexError while the octets that it looks at have not come.
"""

MAX_APDU: Final = 0xFFFF
_SHORT: Final = 0x80
_LONGEST_LENGTH: Final = 4


class Delimiter:
    """Finds the ends of APDUs that follow one another."""

    __slots__ = ("_at", "_firsts", "_limit", "_todo")

    def __init__(self, limit: int = MAX_APDU, *, firsts: frozenset[int] | None = None) -> None:
        """An APDU longer than `limit` is refused, and one that begins otherwise than with `firsts`, where they are given."""
        self._limit = limit
        self._firsts = firsts
        self._at = 0
        self._todo: list[Entry] = [_WHOLE]

    def find_end(self, octets: Octets) -> int | None:
        """The offset after the APDU that `octets` begin with, None while it is not complete.

        After None the next call is for the same octets and more. Raises DecodeError for what no APDU begins with; then, and
        after an end, the next call is for another APDU.
        """
        if self._firsts is not None and octets and octets[0] not in self._firsts:
            self._restart()
            raise DecodeError("APDU", offset=0, expected="one that is expected here", got=f"{octets[0]:02x}")
        at, todo = self._at, self._todo
        more: list[Entry] = []
        try:
            while todo:
                step, times, depth = todo[-1]
                at = at + step * times if isinstance(step, int) else step(octets, at, depth, more)
                if at > self._limit:
                    self._refuse()
                todo.pop()
                if times > 1 and not isinstance(step, int):
                    todo.append((step, times - 1, depth))
                if more:
                    more.reverse()
                    todo += more
                    more = []
        except IndexError:
            self._at = at
            return None
        except DecodeError:
            self._restart()
            raise
        if at > len(octets):
            self._at = at
            return None
        self._restart()
        return at

    def _refuse(self) -> NoReturn:
        raise DecodeError("APDU", offset=0, expected=f"at most {self._limit} octets", got="more")

    def _restart(self) -> None:
        self._at = 0
        self._todo = [_WHOLE]


def _length(octets: Octets, at: int) -> tuple[int, int]:
    """A length or count, and the offset after it."""
    first = octets[at]
    if first < _SHORT:
        return first, at + 1
    size = first - _SHORT
    if not 0 < size <= _LONGEST_LENGTH:
        raise DecodeError("length", offset=at, expected="below 80, or 81 to 84", got=f"{first:02X}")
    octets[at + size]
    return int.from_bytes(octets[at + 1 : at + 1 + size], "big"), at + 1 + size


def _string(octets: Octets, at: int, _depth: int, _more: list[Entry]) -> int:
    """Length and as many octets."""
    length, after = _length(octets, at)
    return after + length


def _bits(octets: Octets, at: int, _depth: int, _more: list[Entry]) -> int:
    """Length in bits, and the octets of them."""
    length, after = _length(octets, at)
    return after + (length + 7) // 8


def _data(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
    """One value of the type Data."""
    tag = octets[at]
    size = _SIZES[tag]
    if size:
        return at + size
    if tag in (Tag.ARRAY, Tag.STRUCTURE):
        return _elements(_data, octets, at, depth, more)
    if tag == Tag.COMPACT_ARRAY:
        more += [(_type, 1, depth + 1), (_string, 1, depth)]
        return at + 1
    if tag == Tag.BIT_STRING:
        return _bits(octets, at + 1, depth, more)
    if tag in (Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING):
        return _string(octets, at + 1, depth, more)
    raise DecodeError("Data", offset=at, expected="a tag of the Data type", got=f"{tag:02X}")


def _elements(step: Step, octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
    """The count after the tag at `at`; as many elements follow."""
    if depth >= MAX_DEPTH:
        raise DecodeError("nesting", offset=at, expected=f"at most {MAX_DEPTH} levels", got="more")
    count, after = _length(octets, at + 1)
    if count > MAX_APDU:
        raise DecodeError("count", offset=at + 1, expected=f"at most {MAX_APDU}", got=str(count))
    if count:
        more.append((step, count, depth + 1))
    return after


def _type(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
    """The type description of a compact-array: tags without values; an array has a count of two octets."""
    tag = octets[at]
    if tag == Tag.STRUCTURE:
        return _elements(_type, octets, at, depth, more)
    if tag == Tag.ARRAY:
        if depth >= MAX_DEPTH:
            raise DecodeError("nesting", offset=at, expected=f"at most {MAX_DEPTH} levels", got="more")
        more.append((_type, 1, depth + 1))
        return at + 3
    if tag == Tag.COMPACT_ARRAY or not (_SIZES[tag] or tag in _STRINGS):
        raise DecodeError("type description", offset=at, expected="a tag of the Data type", got=f"{tag:02X}")
    return at + 1


def _date_time(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
    """The date-time of a push, before which some meters write the tag of an octet-string."""
    tagged = octets[at] == Tag.OCTET_STRING
    end = _string(octets, at + tagged, depth, more)
    if end - at - tagged not in {1, 13}:
        raise DecodeError("date-time", offset=at, expected="0 or 12 octets", got=str(end - at - tagged - 1))
    return end


def _choice(what: str, choices: dict[int, tuple[Step, ...]]) -> Step:
    """An octet says what follows."""

    def step(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
        steps = choices.get(octets[at])
        if steps is None:
            raise DecodeError(what, offset=at, expected="a known choice", got=f"{octets[at]:02x}")
        more += [(each, 1, depth) for each in steps]
        return at + 1

    return step


def _optional(*steps: Step) -> Step:
    """What follows unless the octet before it is 00."""

    def step(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
        if octets[at]:
            more += [(each, 1, depth) for each in steps]
        return at + 1

    return step


def _several(*steps: Step) -> Step:
    """A count, and as many times what follows."""

    def one(_octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
        more += [(each, 1, depth) for each in steps]
        return at

    def step(octets: Octets, at: int, depth: int, more: list[Entry]) -> int:
        return _elements(one, octets, at - 1, depth - 1, more)

    return step


_STRINGS: Final = frozenset({Tag.BIT_STRING, Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING})
_SIZES: Final = [fixed[1] if fixed else 0 for fixed in FIXED]
"""Octets of a value with its tag, by tag; 0 where the tag does not say it."""
_SIZES[Tag.NULL] = _SIZES[Tag.DONT_CARE] = 1
for _tag, _code in DELTA_FORMATS.items():
    _SIZES[_tag] = 1 + {"b": 1, "h": 2, "i": 4}[_code.lower()]

_INVOKE = 1
_DESCRIPTOR = 9
_SELECTION = _optional(1, _data)
_RESULT = _choice("data or reason", {0x00: (_data,), 0x01: (1,)})
_VALUES = _several(_data)
_BLOCK: Final = (1, 4, _string)
_SHORT_BLOCK: Final = (1, 2, _string)
_ATTRIBUTES = _several(_DESCRIPTOR, _SELECTION)
_METHODS = _several(_DESCRIPTOR)
_VARIABLES = _several(
    _choice(
        "variable-access-specification", {0x02: (2,), 0x04: (3, _data), 0x05: (2,), 0x06: _SHORT_BLOCK, 0x07: (1, 2)}
    )
)
_ASKED = _several(
    _choice(
        "what is asked",
        {kind: (_DESCRIPTOR, 1, _data) if kind > 0x03 else (_DESCRIPTOR,) for kind in range(0x01, 0x06)},
    )
)
_HEADER: Final = (_string, _string, _string, _string, _string)
_KEY = _optional(_choice("key information", {0x00: (1,), 0x01: (1, _string), 0x02: (_string, _string)}))


def _service(what: str, *kinds: tuple[Step, ...]) -> tuple[Step, ...]:
    """A service by logical names: what follows the invoke id, by type from 01 on."""
    return (_choice(what, {kind: (_INVOKE, *steps) for kind, steps in enumerate(kinds, 1)}),)


_APDUS: Final[dict[int, tuple[Step, ...]]] = {
    0x05: (_VARIABLES,),
    0x06: (_VARIABLES, _VALUES),
    0x0C: (_several(_choice("result of a read", {0: (_data,), 1: (1,), 2: _SHORT_BLOCK, 3: (2,)})),),
    0x0D: (_several(_choice("result of a write", {0: (), 1: (1,), 2: (2,)})),),
    0x0E: (3,),
    0x0F: (4, _date_time, _data),
    0x16: (_VARIABLES, _VALUES),
    0x18: (_optional(_string), _VARIABLES, _VALUES),
    **dict.fromkeys((0x60, 0x61, 0x62, 0x63), (_string,)),
    **dict.fromkeys(
        # Each service with the global, and with the dedicated key.
        (tag + key for key in (0x20, 0x40) for tag in (0x01, 0x05, 0x06, 0x08, 0x0C, 0x0D, 0x0E, 0x16, 0x18)),
        (_string,),
    ),
    **dict.fromkeys((tag + key for key in (0xC8, 0xD0) for tag in (0, 1, 2, 3, 4, 5, 7)), (_string,)),
    0xC0: _service("GET request", (_DESCRIPTOR, _SELECTION), (4,), (_ATTRIBUTES,)),
    0xC1: _service(
        "SET request",
        (_DESCRIPTOR, _SELECTION, _data),
        (_DESCRIPTOR, _SELECTION, *_BLOCK),
        _BLOCK,
        (_ATTRIBUTES, _VALUES),
        (_ATTRIBUTES, *_BLOCK),
    ),
    0xC2: (_optional(_string), _DESCRIPTOR, _data),
    0xC3: _service(
        "ACTION request",
        (_DESCRIPTOR, _optional(_data)),
        (4,),
        (_METHODS, _VALUES),
        (_DESCRIPTOR, *_BLOCK),
        (_METHODS, *_BLOCK),
        _BLOCK,
    ),
    0xC4: _service(
        "GET response",
        (_RESULT,),
        (1, 4, _choice("block or reason", {0x00: (_string,), 0x01: (1,)})),
        (_several(_RESULT),),
    ),
    0xC5: _service("SET response", (1,), (4,), (1, 4), (_string, 4), (_string,)),
    0xC7: _service("ACTION response", (1, _optional(_RESULT)), _BLOCK, (_several(1, _optional(_RESULT)),), (4,)),
    0xD8: (1, _choice("service error", {error: (4,) if error == 0x06 else () for error in range(0x100)})),
    0xD9: (4, _string, _ASKED, _VALUES),
    0xDA: (4, _string, _optional(_ASKED), _VALUES, _several(2)),
    0xDB: (_string, _string),
    0xDC: (_string, _string),
    0xDD: (*_HEADER, _KEY, _string),
    0xDF: (*_HEADER, _string, _string),
    0xE0: (1, 2, 2, _string),
}
"""What follows the tag of an APDU."""
_APDU = _choice("APDU", _APDUS)
_WHOLE: Final[Entry] = (_choice("APDU", _APDUS | dict.fromkeys((0xE6, 0xE7), (1, _string, _APDU))), 1, 0)

FIRST_OCTETS: Final = frozenset(_APDUS) | {0xE6, 0xE7}
"""What an APDU in a stream may begin with; none of them begins a wrapper or an HDLC frame."""

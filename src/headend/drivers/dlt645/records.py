"""Load records of 2007 (annex B): rows of six groups of values, both ways. Pure.

```text
A0 A0 | n | mm hh DD MM YY | voltages, currents, frequency AA | powers AA | power factors AA | energies AA | …
        └ octets behind it, up to the last AA               … | reactive energies of the quadrants AA | demands AA | sum | E5
```

A group that a meter does not keep is its AA alone, a phase that it does not have is FF. The sum is that of all octets before
it, modulo 256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headend.drivers.dlt645.values import meaning
from headend.errors import DecodeError
from headend.protocols.dlt645.formats import Number, Time
from headend.protocols.dlt645.moment import Moment
from headend.standards.dlt645 import Version

GROUPS: Final[tuple[tuple[int, ...], ...]] = (
    (0x02010100, 0x02010200, 0x02010300, 0x02020100, 0x02020200, 0x02020300, 0x02800002),
    (
        *(0x02030000, 0x02030100, 0x02030200, 0x02030300),
        *(0x02040000, 0x02040100, 0x02040200, 0x02040300),
    ),
    (0x02060000, 0x02060100, 0x02060200, 0x02060300),
    (0x00010000, 0x00020000, 0x00030000, 0x00040000),
    (0x00050000, 0x00060000, 0x00070000, 0x00080000),
    (0x02800004, 0x02800005),
)
"""What the groups hold, in their order."""

_HEAD: Final = b"\xa0\xa0"
_GROUP_END: Final = b"\xaa"
_END: Final = 0xE5
_TIME: Final = Time(("YY", "MM", "DD", "hh", "mm"))
_TAIL: Final = 2


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One row: when, and what by its identifier; what the row does not have is not there."""

    time: Moment | None
    values: Mapping[int, float | None]
    offset: int
    length: int
    """where it stands among the octets"""


def group_of(class_number: int) -> tuple[int, ...]:
    """The identifiers of load records of a class; of all of them for class 0."""
    return sum(GROUPS, ()) if class_number == 0 else GROUPS[class_number - 1]


def number_format(di: int) -> Number:
    """How a value stands in a record: as it does when it is read alone."""
    parts = meaning(di, Version.V2007).parts
    assert parts is not None  # noqa: S101 - all of them are in the tables
    assert isinstance(parts[0], Number)  # noqa: S101 - and are numbers
    return parts[0]


def encode_record(time: Moment, values: Mapping[int, int]) -> bytes:
    """The octets of one row."""
    body = bytearray(_TIME.encode(time))
    for group in GROUPS:
        if any(di in values for di in group):
            body += b"".join(number_format(di).encode(values.get(di)) for di in group)
        body += _GROUP_END
    head = _HEAD + bytes((len(body),)) + body
    return head + bytes((sum(head) & 0xFF, _END))


def decode_records(octets: bytes) -> Sequence[LoadRecord]:
    """All rows; raises DecodeError for what is none, or cut off."""
    found = []
    at = 0
    while at < len(octets):
        if octets[at : at + 2] != _HEAD or len(octets) < at + 3:
            raise DecodeError("no load record", offset=at, expected="A0 A0", got=octets[at : at + 2].hex(" "))
        start, end = at + 3, at + 3 + octets[at + 2]
        if len(octets) < end + _TAIL or octets[end + 1] != _END:
            raise DecodeError("a load record without its end", offset=at, expected="E5")
        if sum(octets[at:end]) & 0xFF != octets[end]:
            raise DecodeError("a load record with a wrong sum", offset=end)
        time, values = _decode(octets[:end], start)
        found.append(LoadRecord(time, values, at, end + _TAIL - at))
        at = end + _TAIL
    return found


def _decode(octets: bytes, at: int) -> tuple[Moment | None, dict[int, float | None]]:
    time = _TIME.decode(octets, at)
    at += _TIME.size
    values: dict[int, float | None] = {}
    for group in GROUPS:
        if octets[at : at + 1] == _GROUP_END:  # no BCD digits: nothing of the group
            at += 1
            continue
        end = at + sum(number_format(di).size for di in group)
        if octets[end : end + 1] != _GROUP_END:
            raise DecodeError("a group of a load record without its end", offset=end, expected="AA")
        for di in group:
            form = number_format(di)
            values[di] = form.decode(octets, at)
            at += form.size
        at += 1
    return time, values

"""Load records of a virtual meter: the rows of the load profile of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.meter.image import Face, Refused
from headend.drivers.dlt645.meter.memory import local, millis
from headend.drivers.dlt645.records import GROUPS, encode_record, group_of, number_format
from headend.drivers.dlt645.refs import data_ref
from headend.drivers.dlt645.values import meaning, rolled
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.responses import ErrorBit
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headend.model.profile import LoadProfile
    from headend.protocols.dlt645.requests import Read

_EARLIEST: Final = 0
_LATEST: Final = 2
_FAR: Final = 4_102_444_800_000
"""2100-01-01"""


def load_records(face: Face, read: Read) -> bytes:
    """The rows that a request asks for: of a class of values or of all, from the oldest, a time, or the newest; or Refused."""
    class_number, where = read.di >> 16 & 0xFF, read.di & 0xFF
    profile = next((each for each in face.model.profile.load_profiles), None)
    known = class_number <= len(GROUPS) and where <= _LATEST and not read.di >> 8 & 0xFF
    if profile is None or not known:
        raise Refused(ErrorBit.NO_SUCH_DATA)
    wanted = frozenset(group_of(class_number))
    rows = [_row(face, profile, entry, wanted) for entry in _entries(face, profile, where, read)]
    if not rows:
        raise Refused(ErrorBit.NO_SUCH_DATA)
    return b"".join(rows)


def _entries(face: Face, profile: LoadProfile, where: int, read: Read) -> Iterable[int]:
    count = 1 if read.count is None else read.count
    held = face.model.entries_in_use(profile, face.at)
    if where == _EARLIEST:
        return range(1, min(count, held) + 1)
    if where == _LATEST:
        return range(max(1, held - count + 1), held + 1)
    since = read.since.to_datetime() if read.since else None
    if since is None:
        raise Refused(ErrorBit.OTHER)
    first, last = face.model.entry_range(profile, millis(since, face.zone), _FAR, face.at)
    return range(first, min(last, first + count - 1) + 1)


def _row(face: Face, profile: LoadProfile, entry: int, wanted: frozenset[int]) -> bytes:
    at, values = face.model.row(profile, entry, face.at)
    found: dict[int, int] = {}
    for ref, value in zip(profile.columns, values, strict=True):
        di = data_ref(ref.address).di
        if di in wanted and isinstance(value, int | float):
            found[di] = rolled(number_format(di), value, meaning(di, Version.V2007).exponent)
    return encode_record(Moment.from_datetime(local(at, face.zone)), found)

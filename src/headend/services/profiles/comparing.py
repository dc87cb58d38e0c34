"""What differs between two profiles, and which one of many is nearest. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headend.drivers.meter_text import document_of, object_table
from headend.model.profile import MeterProfile


class Difference(enum.Enum):
    """What became of something from the one to the other."""

    ADDED = "added"
    GONE = "gone"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """One difference: in which table of the meter file, of what, and for a change which key was what and is what."""

    kind: Difference
    table: str
    what: str
    key: str = ""
    before: str = ""
    after: str = ""


_IDENTITIES = {
    "load_profile": "ref",
    "function": "ref",
    "command": "kind",
    "client": "sap",
    "logical_device": "sap",
    "detect": "fact",
    "quirk": "name",
    "test": "name",
}
"""by which key one of a list of tables is the same as another"""


def difference(a: MeterProfile, b: MeterProfile) -> tuple[ProfileChange, ...]:
    """What is to be done to `a` so that it becomes `b`: objects first, then everything else."""
    first, second = document_of(a), document_of(b)
    changes = [
        *_rows("object", _by_ref(a), _by_ref(b)),
        *_keys("meter", "", _without_revision(first["meter"]), _without_revision(second["meter"])),
    ]
    for table in ("link", "association", "alarm"):
        changes += _keys(table, "", first.get(table, {}), second.get(table, {}))
    for table, identity in _IDENTITIES.items():
        before = {str(row.get(identity)): row for row in first.get(table, ())}
        after = {str(row.get(identity)): row for row in second.get(table, ())}
        changes += _rows(table, before, after)
    if first.get("push") != second.get("push"):
        changes += _keys("push", "", {"objects": first.get("push", [])}, {"objects": second.get("push", [])})
    return tuple(changes)


def nearest(profile: MeterProfile, others: Iterable[MeterProfile]) -> MeterProfile | None:
    """The one of the same protocol that shares most objects with it; None where none shares any."""
    refs = {entry.ref for entry in profile.objects}

    def alike(other: MeterProfile) -> float:
        theirs = {entry.ref for entry in other.objects}
        return len(refs & theirs) / (len(refs | theirs) or 1)

    known = [each for each in others if each.protocol == profile.protocol and each.id != profile.id]
    best = max(known, key=alike, default=None)
    return best if best is not None and alike(best) > 0 else None


def _by_ref(profile: MeterProfile) -> Mapping[str, Mapping[str, Any]]:
    return {str(entry.ref): object_table(entry) for entry in profile.objects}


def _without_revision(meter: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in meter.items() if key != "revision"}


def _rows(
    table: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[ProfileChange]:
    for name in (name for name in before if name not in after):
        yield ProfileChange(kind=Difference.GONE, table=table, what=name)
    for name, row in after.items():
        if name not in before:
            yield ProfileChange(kind=Difference.ADDED, table=table, what=name, after=str(row.get("quantity", "")))
        else:
            yield from _keys(table, name, before[name], row)


def _keys(table: str, what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ProfileChange]:
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            yield ProfileChange(
                kind=Difference.CHANGED,
                table=table,
                what=what,
                key=key,
                before=_shown(before.get(key)),
                after=_shown(after.get(key)),
            )


def _shown(value: object) -> str:
    return "" if value is None else str(value)

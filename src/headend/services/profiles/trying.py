"""Trying a profile on a meter: what answers, what is plausible, how long it takes. It only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from headend.drivers.base import Session
from headend.drivers.mapping import scale
from headend.errors import HeadendError, LinkError, ProtocolError, SecurityError
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.model.profile import MeterProfile
from headend.model.quantity import base_unit, find_quantity
from headend.model.reading import Value

AT_ONCE: Final = 32
"""objects of one plan, beside those that are polled"""
_SHOWN: Final = 64
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "V": (0, 1_000_000),
    "A": (-100_000, 100_000),
    "Hz": (10, 500),
    "W": (-1e10, 1e10),
    "var": (-1e10, 1e10),
    "VA": (0, 1e10),
    "Wh": (-1e14, 1e14),
    "varh": (-1e14, 1e14),
    "VAh": (0, 1e14),
    "%": (0, 1000),
    "°C": (-80, 150),
    "deg": (-360, 360),
}
"""what a value of a base unit is between, generously: what is outside has another scaler, type or place"""
_WORTH_COMPARING: Final = 100.0
"""VA: below that a meter rounds too much"""
_TOO_MUCH: Final = 1.3
_NARROW: Final[Mapping[str, tuple[float, float]]] = {
    "frequency": (15, 65),
    "power_factor": (-1.0001, 1.0001),
    "tariff_active": (0, 255),
}
"""likewise of quantities, by the beginning of their keys"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTrial:
    """What became of one object: `value` in the base unit `unit`, or the code of the error; `remark` says what is odd."""

    ref: str
    quantity: str = ""
    value: Value | None = None
    unit: str = ""
    error: str = ""
    remark: str = ""

    @property
    def well(self) -> bool:
        """It answered, and nothing is odd."""
        return not self.error and not self.remark


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTrial:
    """One read: how many objects, how many seconds it took."""

    name: str
    objects: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTrial:
    """How a profile did; `stopped` says why it ended early. The objects are in the order of the file."""

    profile_id: str
    revision: int
    objects: tuple[ObjectTrial, ...]
    plans: tuple[PlanTrial, ...]
    stopped: str = ""

    @property
    def answered(self) -> int:
        """Objects that gave a value."""
        return sum(not each.error for each in self.objects)

    @property
    def well(self) -> bool:
        """Every object answered, with values that may be."""
        return not self.stopped and all(each.well for each in self.objects)


async def try_profile(profile: MeterProfile, session: Session, time: Callable[[], float]) -> ProfileTrial:
    """Read every object of a profile; `time` in seconds. An error that costs the session ends it, and is told."""
    found: dict[str, ObjectTrial] = {}
    plans: list[PlanTrial] = []
    stopped = ""
    for name, entries in _parts(profile):
        began = time()
        try:
            result = await session.read(ReadPlan(entries=entries))
        except (LinkError, ProtocolError, SecurityError) as error:
            stopped = f"{name}: {error}"
            break
        except HeadendError as error:
            found |= {str(entry.ref): _failed(entry, error) for entry in entries}
        else:
            found |= {str(entry.ref): trial for entry, trial in zip(entries, _judged(entries, result), strict=True)}
        plans.append(PlanTrial(name=name, objects=len(entries), seconds=round(time() - began, 6)))
    tried = [
        found.get(str(entry.ref)) or ObjectTrial(ref=str(entry.ref), quantity=entry.quantity, error="not-asked")
        for entry in profile.objects
    ]
    remarks = _contradictions(tried)
    if remarks and not stopped:  # the load may have changed between two requests
        remarks = await _still(remarks, session, [entry for entry in profile.objects if entry.poll and entry.quantity])
    return ProfileTrial(
        profile_id=profile.id,
        revision=profile.revision,
        objects=tuple(
            replace(each, remark=remarks[each.quantity]) if each.quantity in remarks and each.well else each
            for each in tried
        ),
        plans=tuple(plans),
        stopped=stopped,
    )


def odd(entry: ObjectEntry, value: Value | None, unit: str) -> str:
    """What is odd about a value; empty when nothing is. `unit` is the base unit that the meter tells, if it does."""
    quantity = find_quantity(entry.quantity) if entry.quantity else None
    wanted = quantity.unit if quantity else base_unit(entry.unit)[0]
    if value is None:
        return "no value" if quantity else ""
    if unit and wanted and unit != wanted:
        return f"the meter says {unit}, not {wanted}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if not quantity or not quantity.unit else f"a text, not an amount of {quantity.unit}"
    ranges = [limits for name, limits in _NARROW.items() if entry.quantity.startswith(name)]
    low, high = ranges[0] if ranges else _RANGES.get(wanted, (value, value))
    return "" if low <= value <= high else f"not between {low:g} and {high:g} {wanted}".rstrip()


async def _still(remarks: Mapping[str, str], session: Session, entries: Sequence[ObjectEntry]) -> Mapping[str, str]:
    """Those of the contradictions that are there when it is all read again."""
    with suppress(HeadendError):
        again = _contradictions(_judged(entries, await session.read(ReadPlan(entries=tuple(entries)))))
        return {name: remark for name, remark in remarks.items() if name in again}
    return remarks


def _contradictions(tried: Iterable[ObjectTrial]) -> Mapping[str, str]:
    """Which quantities do not fit the others: one that has another scaler than its profile says, most likely."""
    values = {each.quantity: each.value for each in tried if each.quantity and not each.error}
    found = {}
    for phase in ("l1", "l2", "l3"):
        volts, amperes, watts, apparent = (
            _number(values.get(f"{name}_{phase}")) for name in ("voltage", "current", "active_power", "apparent_power")
        )
        if volts is None or amperes is None or abs(volts * amperes) < _WORTH_COMPARING:
            continue
        most = abs(volts * amperes)
        if watts is not None and abs(watts) > _TOO_MUCH * most:
            found[f"active_power_{phase}"] = f"more than voltage times current, {most:.0f} VA"
        if apparent is not None and not most / 2 < abs(apparent) < most * 2:
            found[f"apparent_power_{phase}"] = f"not voltage times current, {most:.0f} VA"
    return found


def _number(value: Value | None) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _parts(profile: MeterProfile) -> Iterator[tuple[str, tuple[ObjectEntry, ...]]]:
    """The plan of a poll as it is, and the others in pieces."""
    polled = tuple(entry for entry in profile.objects if entry.poll and entry.quantity)
    others = tuple(entry for entry in profile.objects if not (entry.poll and entry.quantity))
    if polled:
        yield "poll", polled
    for number, start in enumerate(range(0, len(others), AT_ONCE), 1):
        yield f"others {number}", others[start : start + AT_ONCE]


def _judged(entries: Sequence[ObjectEntry], result: ReadResult) -> Iterator[ObjectTrial]:
    for index, entry in enumerate(entries):
        error = result.errors.get(index)
        if error is not None:
            yield _failed(entry, error)
            continue
        raw = result.values[index]
        exponent = result.exponents[index] if result.exponents else entry.exponent
        value = f"{len(raw)} elements" if isinstance(raw, list) else scale(raw, exponent)
        told = result.units[index] if result.units else ""
        remark = odd(entry, value, told if entry.scaler is None else "")
        unit = told or base_unit(entry.unit)[0]
        yield ObjectTrial(ref=str(entry.ref), quantity=entry.quantity, value=_shown(value), unit=unit, remark=remark)


def _failed(entry: ObjectEntry, error: HeadendError) -> ObjectTrial:
    return ObjectTrial(ref=str(entry.ref), quantity=entry.quantity, error=error.code, remark=error.message)


def _shown(value: Value | None) -> Value | None:
    return value[:_SHOWN] if isinstance(value, str) else value

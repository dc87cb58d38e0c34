"""What tells Modbus meters apart, out of the meter files: identification registers, and registers that hold what can be true.

Pure. It is worked out once for a set of meter files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from headend.drivers.modbus.refs import RegisterRef, Table, register_ref
from headend.errors import ConfigError
from headend.model.fingerprint import FACTS
from headend.model.objects import ObjectEntry
from headend.model.profile import MeterProfile
from headend.protocols.modbus.pdu import ReadRequest

_PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "voltage_l1": (45.0, 500.0),
    "voltage_l2": (45.0, 500.0),
    "frequency": (45.0, 66.0),
}
"""Quantities that meters under voltage have, and between which values (in base units) they lie: 57.7 V behind transformers."""
_FIRST: Final = "voltage_l1"
_ROOM: Final = 50
"""Registers that the meters with the least room give in one answer."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A register of meter files that holds a measured quantity there, with a power of ten."""

    quantity: str
    ref: RegisterRef
    exponent: int

    @property
    def text(self) -> str:
        """As the fact `plausible` names it."""
        return f"{self.quantity}={self.ref}" + (f"e{self.exponent}" if self.exponent else "")

    def is_true(self, value: object) -> bool:
        """Can the register hold this quantity?"""
        if not isinstance(value, int | float):
            return False
        low, high = _PLAUSIBLE[self.quantity]
        return low <= value * 10.0**self.exponent <= high


@dataclass(frozen=True, slots=True)
class Span:
    """Registers that are read at once, and the references in them."""

    table: Table
    address: int
    end: int
    refs: tuple[RegisterRef, ...]

    @property
    def request(self) -> ReadRequest:
        """The read of it."""
        return ReadRequest(self.table.value, self.address, self.end - self.address)

    def parts(self) -> tuple[Span, ...]:
        """The same for a meter that refuses it as a whole; it alone when there is nothing to divide."""
        return tuple(spans(self.refs, touching=False))


@dataclass(frozen=True, slots=True)
class Signs:
    """What is read of a meter that nobody knows yet."""

    identifying: tuple[Span, ...]
    voltages: Mapping[Sign, tuple[Sign, ...]]
    """where meter files have the voltage, and where those have other quantities"""
    profiles: tuple[MeterProfile, ...]
    """those that have rules about registers"""

    def recognised(self, ref: RegisterRef, value: str) -> bool:
        """A rule knows the value: it is of the model. Others may be measured by a meter that has something else there."""
        rules = (rule for profile in self.profiles for rule in profile.detect)
        return any(rule_ref(rule.fact) == ref and rule.fits(value) for rule in rules)


@lru_cache(maxsize=16)
def signs_of(profiles: tuple[MeterProfile, ...]) -> Signs:
    """The signs of meter files; those of other protocols have none."""
    wanted: dict[RegisterRef, None] = {}
    voltages: dict[Sign, tuple[Sign, ...]] = {}
    ruled = []
    for profile in profiles:
        if profile.protocol != "modbus":
            continue
        refs = [ref for rule in profile.detect if (ref := rule_ref(rule.fact)) is not None]
        wanted.update(dict.fromkeys(refs))
        ruled += [profile] if refs else []
        measured = tuple(_measured(profile.objects))
        for sign in measured:
            if sign.quantity == _FIRST:
                others = tuple(other for other in measured if other != sign)
                voltages[sign] = tuple(dict.fromkeys(voltages.get(sign, ()) + others))
    return Signs(identifying=tuple(spans(wanted)), voltages=voltages, profiles=tuple(ruled))


@lru_cache(maxsize=1024)
def rule_ref(fact: str) -> RegisterRef | None:
    """The register that a fact of a meter file names; None where it names something else."""
    if fact in FACTS or "/" not in fact:
        return None
    try:
        ref = register_ref(fact)
    except ConfigError:
        return None
    return ref if ref.type else None


@cache
def built_in() -> tuple[MeterProfile, ...]:
    """The Modbus meters of the package."""
    from headend.drivers.library import Library  # noqa: PLC0415 - the library loads the drivers

    return tuple(profile for profile in Library() if profile.protocol == "modbus")


def _measured(entries: Iterable[ObjectEntry]) -> Iterator[Sign]:
    for entry in entries:
        if entry.quantity in _PLAUSIBLE:
            ref = register_ref(entry.ref.address)
            if ref.type is not None and ref.type.kind != "text":
                yield Sign(entry.quantity, ref, entry.exponent)


def spans(refs: Iterable[RegisterRef], *, touching: bool = True) -> Iterator[Span]:
    """The reads that bring all references; those that overlap or touch are one, unless only the same registers shall be."""
    group: list[RegisterRef] = []
    end = 0
    for ref in sorted(refs, key=lambda ref: (ref.table.value, ref.address, ref.end)):
        first = group[0] if group else ref
        same = (first.table, first.address, first.end) == (ref.table, ref.address, ref.end)
        near = touching and first.table is ref.table and ref.address <= end and ref.end - first.address <= _ROOM
        if group and not same and not near:
            yield _span(group, end)
            group, end = [], 0
        group.append(ref)
        end = max(end, ref.end)
    if group:
        yield _span(group, end)


def _span(refs: Sequence[RegisterRef], end: int) -> Span:
    return Span(refs[0].table, refs[0].address, end, tuple(refs))

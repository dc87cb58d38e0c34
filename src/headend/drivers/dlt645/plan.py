"""From the entries of a read plan to as few requests as the meter allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from headend.drivers.dlt645.refs import DataRef, data_ref, speak
from headend.drivers.dlt645.values import Meaning, block_of, entry_exponent, entry_meaning, meaning
from headend.errors import ObjectUndefined
from headend.model.objects import RawValue, ReadPlan
from headend.standards.dlt645 import Version

_WORTH_A_BLOCK: Final = 2
"""Values from which on their block is read instead of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of a plan: its place there, and what it wants of the data that come."""

    index: int
    ref: DataRef
    meaning: Meaning
    position: int | None = None
    """its place in the block that is read"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the entries that its answer serves."""

    di: int
    version: Version
    wanted: tuple[Wanted, ...]
    block: Meaning | None = None
    """what comes, where it is a block of things that could be asked for singly"""

    def value(self, wanted: Wanted, octets: bytes) -> RawValue:
        """What an entry wants of the data; raises DecodeError, ObjectUndefined, ConfigError."""
        return (self.block or wanted.meaning).pick(wanted.ref, octets, wanted.position)

    def singles(self, indexes: Iterable[int] | None = None) -> list[Ask]:
        """The same (or some of it) without the block."""
        chosen = set(indexes) if indexes is not None else {each.index for each in self.wanted}
        return _asks([Wanted(each.index, each.ref, each.meaning) for each in self.wanted if each.index in chosen])


@lru_cache(maxsize=256)
def plan_asks(
    plan: ReadPlan, *, blocks: bool, version: Version, without: frozenset[int] = frozenset()
) -> tuple[Ask, ...]:
    """The requests of a plan, worked out once, in the identifiers of the meter; what has none there is left out.

    `without` are the blocks that the meter does not have.
    """
    wanted = []
    for index, entry in enumerate(plan.entries):
        ref = speak(data_ref(entry.ref.address), version)
        if ref is not None:
            wanted.append(Wanted(index, ref, entry_meaning(entry, ref)))
    return tuple(_with_blocks(_asks(wanted), without) if blocks else _asks(wanted))


@lru_cache(maxsize=256)
def plan_unspoken(plan: ReadPlan, *, version: Version) -> Mapping[int, ObjectUndefined]:
    """What of a plan cannot be said to a meter of a version."""
    return MappingProxyType(
        {
            index: ObjectUndefined(
                f"{entry.ref} has no name in DL/T 645-{version.value}", hint="version=1997, or auto, which finds out"
            )
            for index, entry in enumerate(plan.entries)
            if speak(data_ref(entry.ref.address), version) is None
        }
    )


@lru_cache(maxsize=256)
def plan_scales(plan: ReadPlan, *, version: Version) -> tuple[Sequence[int] | None, Sequence[str] | None]:
    """Powers of ten and base units of the values of a plan; None where the entries tell them as they are."""
    exponents, units = [], []
    for entry in plan.entries:
        ref = data_ref(entry.ref.address)
        spoken = speak(ref, version) or ref
        known = entry_meaning(entry, spoken)
        exponents.append(entry_exponent(entry, ref) if spoken == ref or ref.part else known.exponent)
        units.append("" if ref.part else known.unit)
    same = exponents == [entry.exponent for entry in plan.entries]
    told = all(entry.scaler is not None for entry in plan.entries)
    return None if same else exponents, None if told else units


def _asks(wanted: Iterable[Wanted]) -> list[Ask]:
    """One request for each identifier, in the order in which they are wanted first."""
    found: dict[tuple[Version, int], list[Wanted]] = {}
    for each in wanted:
        found.setdefault((each.ref.version, each.ref.di), []).append(each)
    return [Ask(di, version, tuple(group)) for (version, di), group in found.items()]


def _with_blocks(asks: Sequence[Ask], without: frozenset[int]) -> list[Ask]:
    """The requests of one block are one request where there are several."""
    together: dict[tuple[Version, int], list[Ask]] = {}
    for ask in asks:
        block = _block(ask)
        if block is not None and block[0] not in without:
            together.setdefault((ask.version, block[0]), []).append(ask)
    merged: list[Ask] = []
    done: set[tuple[Version, int]] = set()
    for ask in asks:
        block = _block(ask)
        key = (ask.version, block[0] if block else ask.di)
        group = together.get(key, [])
        if block is None or len(group) < _WORTH_A_BLOCK:
            merged.append(ask)
        elif key not in done:
            done.add(key)
            merged.append(_merged(key, group))
    return merged


def _block(ask: Ask) -> tuple[int, int] | None:
    """The block of what is asked, unless the meter file knows another format than the tables."""
    usual = meaning(ask.di, ask.version)
    return block_of(ask.di, ask.version) if all(each.meaning == usual for each in ask.wanted) else None


def _merged(key: tuple[Version, int], group: Sequence[Ask]) -> Ask:
    version, di = key
    wanted = []
    for ask in group:
        found = block_of(ask.di, version)
        position = found[1] if found else 0
        wanted += [Wanted(each.index, each.ref, each.meaning, position) for each in ask.wanted]
    return Ask(di, version, tuple(wanted), meaning(di, version))

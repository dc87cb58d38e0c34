"""From the entries of a read plan to as few block reads as the meter allows. Pure.

Values of one table are read together when the registers between them do not exceed `gap` (unmapped addresses make some
meters refuse the whole read), when there is no hole between them that this meter is known to refuse, and when the whole
does not exceed `max_registers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from headend.drivers.modbus.refs import RegisterRef, Table, register_ref
from headend.errors import ConfigError
from headend.model.objects import ReadPlan
from headend.model.reading import Value
from headend.protocols.modbus.connection import PreparedRead
from headend.protocols.modbus.pdu import MAX_READ_REGISTERS, ReadRequest
from headend.protocols.modbus.values import BitLayout, RegisterLayout

NOT_AVAILABLE_QUIRK: Final = "not-available-patterns"
"""All ones (unsigned) and the greatest number (signed) mean that the meter has no value."""

NO_IDENTIFICATION_QUIRK: Final = "no-device-identification"
"""Functions 17 and 43/14 are not there."""


HOPEFUL_GAP: Final = 16
"""How many unmapped registers are read over where the meter file does not say it, and what the meter refuses is remembered."""


class Span(NamedTuple):
    """Addresses of a table, from the first up to the last, which is not among them. An empty one is a border between two."""

    table: Table
    first: int
    end: int

    def __str__(self) -> str:
        return f"{self.table.name.lower()}/0x{self.first:04X}-0x{self.end:04X}"


@dataclass(frozen=True, slots=True)
class ReadRules:
    """How a meter wants to be read."""

    max_registers: int = MAX_READ_REGISTERS
    gap: int = 0
    patterns: bool = False
    holes: frozenset[Span] = frozenset()
    """that no read may run over"""
    dead: frozenset[Span] = frozenset()
    """values that the meter refuses"""


_RANGES: Final = {"unit": (0, 255), "max_registers": (1, MAX_READ_REGISTERS), "gap": (0, MAX_READ_REGISTERS)}


def number(params: Mapping[str, Value], name: str, default: int) -> int:
    """A parameter of a profile (a number) or of a meter (text); raises ConfigError that names it."""
    value = params.get(name, default)
    low, high = _RANGES[name]
    try:
        found = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        found = -1
    if not low <= found <= high:
        raise ConfigError(f"parameter {name!r} of Modbus: expected {low} to {high}, got {value!r}")
    return found


def check_params(params: Mapping[str, Value]) -> None:
    """Refuse unknown parameters and values out of range; raises ConfigError."""
    for name in params:
        if name not in _RANGES:
            known = ", ".join(_RANGES)
            raise ConfigError(f"unknown parameter {name!r} of Modbus", hint=f"one of {known}")
        number(params, name, 0)


def read_rules(params: Mapping[str, Value], quirks: frozenset[str], *, gap: int = 0) -> ReadRules:
    """The rules that parameters and quirks of a profile make; `gap` where they do not say it."""
    return ReadRules(
        number(params, "max_registers", MAX_READ_REGISTERS), number(params, "gap", gap), NOT_AVAILABLE_QUIRK in quirks
    )


def span_of(ref: RegisterRef) -> Span:
    """The addresses of a value."""
    return Span(ref.table, ref.address, ref.end)


class Block:
    """One read: which request, how its data is laid out, and the places of its values in the plan."""

    __slots__ = ("_patterns", "_prepared", "indexes", "layout", "refs", "request")

    def __init__(self, items: Sequence[tuple[RegisterRef, int]], *, patterns: bool) -> None:
        """`items` are references and their places in the plan, ascending by address, in one table, without overlap."""
        first, table = items[0][0].address, items[0][0].table
        count = items[-1][0].end - first
        self.request = ReadRequest(table.value, first, count)
        self.indexes = tuple(index for _, index in items)
        self.layout: BitLayout | RegisterLayout
        if table.is_bits:
            self.layout = BitLayout([ref.address - first for ref, _ in items], count)
        else:
            fields = [(ref.address - first, ref.type) for ref, _ in items if ref.type]
            self.layout = RegisterLayout(fields, count, patterns=patterns)
        self.refs = tuple(ref for ref, _ in items)
        self._patterns = patterns
        self._prepared: dict[tuple[int, bool], PreparedRead] = {}

    def prepared(self, unit_id: int, *, rtu: bool) -> PreparedRead:
        """The read of one unit, made once and shared by all sessions."""
        key = (unit_id, rtu)
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = PreparedRead(unit_id, self.request, self.layout, rtu=rtu)
        return found

    def halves(self) -> tuple[Block, Block]:
        """Two smaller reads, for a meter that refuses this one; there must be two values at least."""
        items = list(zip(self.refs, self.indexes, strict=True))
        middle = len(items) // 2
        return Block(items[:middle], patterns=self._patterns), Block(items[middle:], patterns=self._patterns)

    def joined(self, other: Block) -> Block:
        """The last value of this read and the first of another one that follows it, in one read."""
        last, first = (self.refs[-1], self.indexes[-1]), (other.refs[0], other.indexes[0])
        return Block((last, first), patterns=self._patterns)


def blocks(refs: Sequence[RegisterRef], rules: ReadRules) -> tuple[Block, ...]:
    """The reads that bring all references but the dead ones, in the order of tables and addresses."""
    items = sorted(
        ((ref, index) for index, ref in enumerate(refs) if span_of(ref) not in rules.dead),
        key=lambda item: (item[0].table.value, item[0].address),
    )
    return tuple(Block(group, patterns=rules.patterns) for group in _groups(items, rules))


def _groups(items: Sequence[tuple[RegisterRef, int]], rules: ReadRules) -> Iterator[list[tuple[RegisterRef, int]]]:
    group: list[tuple[RegisterRef, int]] = []
    for ref, index in items:
        if group:
            first, last = group[0][0], group[-1][0]
            limit = rules.max_registers * 16 if ref.table.is_bits else rules.max_registers
            fits = 0 <= ref.address - last.end <= rules.gap and ref.end - first.address <= limit
            if ref.table is not first.table or not fits or _has_hole(rules, Span(ref.table, last.end, ref.address)):
                yield group
                group = []
        group.append((ref, index))
    if group:
        yield group


def _has_hole(rules: ReadRules, between: Span) -> bool:
    return any(
        hole.table is between.table and between.first <= hole.first and hole.end <= between.end
        for closed in (rules.holes, rules.dead)
        for hole in closed
    )


@lru_cache(maxsize=1024)
def plan_dead(plan: ReadPlan, rules: ReadRules) -> Mapping[int, Span]:
    """The entries of a plan that are not asked for, by their places."""
    if not rules.dead:
        return {}
    spans = enumerate(span_of(register_ref(entry.ref.address)) for entry in plan.entries)
    return {index: span for index, span in spans if span in rules.dead}


@lru_cache(maxsize=1024)
def plan_blocks(plan: ReadPlan, rules: ReadRules) -> tuple[Block, ...]:
    """The reads of a plan, worked out once."""
    return blocks([register_ref(entry.ref.address) for entry in plan.entries], rules)

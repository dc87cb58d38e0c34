"""What one unit takes, learned from what it refuses: holes between values, the length of a read, values that it has not.

A read that is refused is taken apart until the reason is found (`explore`). A finding counts when it was made in two reads,
and in none in which the meter refused everything: then the meter is to blame, and not the addresses. After a while
everything is forgotten and tried again, later each time that it was so again.

What a meter is silent on, or answers with nonsense, is tried once in short reads without gaps. Only when these succeed, and the
long ones fail again, are short reads what the unit gets from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from headend.drivers.knowledge import CONFIRMED, Knowledge
from headend.drivers.modbus.plan import Block, ReadRules, Span, span_of
from headend.drivers.modbus.refs import Table
from headend.errors import HeadendError, MeterError, ObjectUndefined, ServiceRefused
from headend.protocols.modbus.values import Value

AGAIN_SECONDS: Final = 6 * 3600.0
"""after which what was learned is tried again, first"""
AGAIN_CAP_SECONDS: Final = 7 * 86400.0
FULL_EVERY: Final = 10
"""of a meter that refuses everything, one read in so many asks for everything"""
MAX_SPANS: Final = 64
"""holes and dead values each; a meter with more is read value by value, or teaches nonsense"""
_CLOSE_ENOUGH: Final = 8
"""registers between a length that fits and one that does not, below which it is not worth looking for the best one"""
_SHORT: Final = 4
"""registers; shorter reads are not tried: it is not the length that a unit is silent for"""
SILENCES: Final = 4
"""in a row that are believed: links lose what they carry"""

Ask: TypeAlias = Callable[[Block], Awaitable[Sequence[Value | None]]]
Length: TypeAlias = tuple[int, int]
"""of a read that fits, and of one that is refused for its length"""


def is_about_addresses(error: HeadendError) -> bool:
    """The meter refused addresses or their number: smaller reads may succeed."""
    return isinstance(error, ObjectUndefined) or (
        isinstance(error, ServiceRefused) and error.reason == "illegal data value"
    )


@dataclass(slots=True)
class Findings:
    """What came of a read: values and errors by their places in the plan, and why reads were refused."""

    values: dict[int, Value | None] = field(default_factory=dict)
    errors: dict[int, HeadendError] = field(default_factory=dict)
    holes: list[Span] = field(default_factory=list)
    dead: dict[Span, HeadendError] = field(default_factory=dict)
    lengths: list[Length] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.holes or self.dead or self.lengths)

    async def attempt(self, ask: Ask, block: Block) -> HeadendError | None:
        """Read a block; why it was refused, if it was."""
        try:
            got = await ask(block)
        except MeterError as error:
            return error
        self.values.update(zip(block.indexes, got, strict=True))
        return None

    async def explore(self, ask: Ask, block: Block, error: HeadendError) -> None:
        """Take a block apart that was refused with an error, until what can be read of it is read."""
        if not is_about_addresses(error):
            self.errors.update(dict.fromkeys(block.indexes, error))
        elif len(block.indexes) == 1:
            self.errors[block.indexes[0]] = error
            self.dead[span_of(block.refs[0])] = error
        else:
            left, right = block.halves()
            refusals = [(half, await self.attempt(ask, half)) for half in (left, right)]
            for half, refusal in refusals:
                if refusal is not None:
                    await self.explore(ask, half, refusal)
            if not any(refusal for _, refusal in refusals):
                await self._reason(ask, block, left, right)

    async def _reason(self, ask: Ask, block: Block, left: Block, right: Block) -> None:
        """Both halves of a block can be read, and it cannot: for what lies between them, or for its length."""
        pair = left.joined(right)
        between = Span(pair.refs[0].table, pair.refs[0].end, pair.refs[1].address)
        refused = None if len(block.indexes) == 2 else await self.attempt(ask, pair)
        if len(block.indexes) == 2 or (refused is not None and is_about_addresses(refused)):
            self.holes.append(between)
        elif refused is None and not between.table.is_bits:
            self.lengths.append((max(left.request.count, right.request.count), block.request.count))


class Learner:
    """How one unit is read: the rules of its meter file, and what was learned. Times are seconds of a monotonic clock."""

    __slots__ = (
        "_dead",
        "_doubt",
        "_failed",
        "_given",
        "_holes",
        "_knowledge",
        "_length",
        "_no_gaps",
        "_patience",
        "_short",
        "_suspects",
        "again_at",
        "rules",
    )

    def __init__(self, given: ReadRules, knowledge: Knowledge, now: float) -> None:
        self._given = given
        self._knowledge = knowledge
        self._holes: frozenset[Span] = frozenset()
        self._dead: dict[Span, HeadendError] = {}
        self._length: Length | None = None
        self._no_gaps = False
        self._failed = 0
        """registers of the read that the unit did not answer as it should; 0 without one"""
        self._doubt = 0
        """registers of the reads that are tried instead"""
        self._short = 0
        """registers of those that were answered the last time"""
        self._suspects: set[Span | int] = set()
        """what was seen once: spans that may be holes or dead, lengths that may be too much"""
        self._patience = AGAIN_SECONDS
        self.again_at = float("inf")
        """when all is tried again"""
        self.rules = given
        self._recall(now)

    def begin(self, given: ReadRules) -> None:
        """A session begins, with rules of the meter file that may have changed."""
        self._given = given
        self._set_rules()

    def refused(self, span: Span) -> HeadendError:
        """Why a value is not asked for."""
        return self._dead[span]

    @property
    def curious(self) -> bool:
        """A read that goes well would tell something."""
        return self._doubt > 0 or self._length is not None or bool(self._suspects)

    def learn(self, found: Findings, now: float) -> None:
        """What a read has brought in which something was refused, and something was not."""
        holes = {hole for hole in found.holes if self._confirmed(hole)}
        dead = {span: error for span, error in found.dead.items() if self._confirmed(span)}
        lengths = [length for length in found.lengths if self._confirmed(length[1])]
        if not (holes or dead or lengths):
            return
        self._dead.update(dead)
        self._holes |= holes
        for fits, fails in lengths:
            known = self._length or (fits, fails)
            narrowed = max(fits, known[0]), min(fails, known[1])
            self._length = narrowed if narrowed[0] < narrowed[1] else (fits, fails)
        if len(self._dead) > MAX_SPANS or len(self._holes) > MAX_SPANS:
            self.forget()
        else:
            self._changed(now)

    def succeeded(self, blocks: Sequence[Block], now: float) -> None:
        """A read went well while there was something to be curious about."""
        longest = max((block.request.count for block in blocks if not block.refs[0].table.is_bits), default=0)
        for suspect in [each for each in self._suspects if _acquits(blocks, longest, each)]:
            self._suspects.discard(suspect)
            self._knowledge.refuted(suspect)
        if self._doubt:
            failed, self._short = self._failed, self._doubt
            self._failed = self._doubt = 0
            if 0 < longest < failed and self._confirmed(failed, SILENCES):
                self._length = (longest, min(failed, longest + _CLOSE_ENOUGH))
                self._no_gaps = True
                self._changed(now)
            self._set_rules()
        elif self._length is not None and longest > self._length[0]:
            fits, fails = longest, self._length[1]
            self._length = (fits, fails) if fits < fails else None
            self._changed(now)

    def broken(self, block: Block) -> None:
        """A block was not answered, or with nonsense: the next read is shorter, until it would be very short."""
        if self._doubt:
            self._doubt = self._doubt // 2
        elif len(block.indexes) > 1:
            self._failed = block.request.count
            self._doubt = min(self._failed // 2, self._short or self._failed)
        if self._doubt < _SHORT:
            self._failed = self._doubt = 0
        self._set_rules()

    def try_again(self) -> None:
        """It is time to see whether what was learned is still so; if it is, the next time is later."""
        patience = min(AGAIN_CAP_SECONDS, 2 * self._patience)
        self.forget()
        self._patience = patience

    def forget(self) -> None:
        """Nothing is known."""
        self._holes, self._dead, self._length, self._no_gaps = frozenset(), {}, None, False
        self._failed = self._doubt = self._short = 0
        self._suspects.clear()
        self._patience, self.again_at = AGAIN_SECONDS, float("inf")
        self._knowledge.forget()
        self._knowledge.kept = self
        self._set_rules()

    def _confirmed(self, suspect: Span | int, times: int = CONFIRMED) -> bool:
        if self._knowledge.confirmed(suspect, times):
            self._suspects.discard(suspect)
            return True
        self._suspects.add(suspect)
        return False

    def _changed(self, now: float) -> None:
        self._set_rules()
        self.again_at = now + self._patience
        tell = self._knowledge.tell
        tell("holes", sorted(map(str, self._holes)) or None)
        tell("refused", {str(span): str(self._dead[span]) for span in sorted(self._dead, key=str)} or None)
        tell("length", list(self._length) if self._length else None)
        tell("no_gaps", self._no_gaps or None)

    def _set_rules(self) -> None:
        limit, gap = self._given.max_registers, 0 if self._no_gaps else self._given.gap
        if self._length is not None:
            fits, fails = self._length
            limit = min(limit, fits if fails - fits <= _CLOSE_ENOUGH else (fits + fails) // 2)
        if self._doubt:
            limit, gap = min(limit, self._doubt), 0
        self.rules = replace(self._given, max_registers=limit, gap=gap, holes=self._holes, dead=frozenset(self._dead))

    def _recall(self, now: float) -> None:
        """Take over what was kept over a restart; what nobody can read is learned anew."""
        facts = self._knowledge.facts
        holes, refused, length = facts.get("holes"), facts.get("refused"), facts.get("length")
        try:
            self._holes = frozenset(map(_span, holes if isinstance(holes, list) else ()))
            dead = refused.items() if isinstance(refused, Mapping) else ()
            self._dead = {_span(span): ObjectUndefined(str(reason)) for span, reason in dead}
            if isinstance(length, list):
                fits, fails = map(int, length)
                self._length = (fits, fails) if 0 < fits < fails else None
            self._no_gaps = facts.get("no_gaps") is True
        except (ValueError, KeyError, TypeError):
            self.forget()
            return
        if facts:
            self.again_at = now + self._patience
        self._set_rules()


def _acquits(blocks: Sequence[Block], longest: int, suspect: Span | int) -> bool:
    """Was something read that could not have been, were the suspicion true?"""
    if isinstance(suspect, int):
        return longest >= suspect
    return any(
        block.refs[0].table is suspect.table
        and block.refs[0].address <= suspect.first
        and suspect.end <= block.refs[-1].end
        for block in blocks
    )


def learner_of(knowledge: Knowledge, given: ReadRules, now: float) -> Learner:
    """What is known of a unit, for a session that begins."""
    learner = knowledge.kept
    if not isinstance(learner, Learner):
        learner = knowledge.kept = Learner(given, knowledge, now)
    learner.begin(given)
    return learner


def _span(text: object) -> Span:
    table, _, addresses = str(text).partition("/")
    first, _, end = addresses.partition("-")
    return Span(Table[table.upper()], int(first, 16), int(end, 16))

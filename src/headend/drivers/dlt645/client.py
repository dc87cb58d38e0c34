"""The head-end's side: the session with one meter."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.base import Capability, Notification, PushList
from headend.drivers.dlt645.commands import Commander
from headend.drivers.dlt645.history import Histories
from headend.drivers.dlt645.plan import Ask, plan_asks, plan_scales, plan_unspoken
from headend.drivers.dlt645.refs import data_ref
from headend.drivers.dlt645.values import entries_of, meaning
from headend.drivers.knowledge import Knowledge
from headend.errors import (
    CapabilityError,
    ConfigError,
    DecodeError,
    HeadendError,
    LinkError,
    LinkTimeout,
    MeterError,
    ObjectUndefined,
    ProtocolError,
    SecurityError,
)
from headend.model.job import CommandKind
from headend.model.meter import MeterIdentity
from headend.model.objects import ObjectInfo, RawValue, ReadPlan, ReadResult
from headend.protocols.dlt645.requests import Read, ReadAddress
from headend.protocols.dlt645.responses import Data, MeterAddress, Refusal
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from headend.drivers.dlt645.parameters import Parameters
    from headend.drivers.dlt645.wire import Wire
    from headend.model.job import Command, Outcome
    from headend.model.objects import HistoryBlock, HistoryRequest
    from headend.model.profile import MeterProfile
    from headend.protocols.dlt645.fields import Password

_CLOSE_SECONDS: Final = 2.0
_MAX_PLANS: Final = 64
_HEX: Final = re.compile("[0-9A-F]{1,8}")
AGAIN_EVERY: Final = 1000
"""reads of a plan after which everything is asked for again that the meter did not have"""
_IDENTITY: Final = {
    0x04000402: "serial",
    0x0400040B: "model",
    0x04800001: "firmware",
    0x04800003: "manufacturer",
}
"""Identifiers by what they say of a meter."""
_IDENTITY_1997: Final = {0xC032: "serial"}
_TOTAL: Final = {Version.V2007: 0x00010000, Version.V1997: 0x9010}
"""What every meter has: who answers with it speaks the version."""

_NEEDED: Final = {
    CommandKind.DISCONNECT: Capability.RELAY,
    CommandKind.ALLOW_RECONNECT: Capability.RELAY,
    CommandKind.RECONNECT: Capability.RELAY,
    CommandKind.SET_CLOCK: Capability.CLOCK,
    CommandKind.FREEZE: Capability.FREEZE,
    CommandKind.RESET_DEMAND: Capability.RESET,
    CommandKind.CLEAR_METER: Capability.RESET,
    CommandKind.CLEAR_EVENTS: Capability.RESET,
    CommandKind.CHANGE_SECRET: Capability.SECRETS,
    CommandKind.WRITE: Capability.WRITE,
    CommandKind.INVOKE: Capability.WRITE,
}


class _PlanState:
    """What this meter made of a plan: its requests, which may have been split, entries refused; powers of ten, base units."""

    __slots__ = ("asks", "exponents", "reads", "refused", "units")

    def __init__(self, plan: ReadPlan, *, blocks: bool, version: Version, without: frozenset[int]) -> None:
        self.reads = 0
        self.asks = list(plan_asks(plan, blocks=blocks, version=version, without=without))
        self.exponents, self.units = plan_scales(plan, version=version)
        self.refused: dict[int, HeadendError] = {**plan_unspoken(plan, version=version)}


class Dlt645Session:
    """A session with one meter; see `headend.drivers.base.Session`."""

    __slots__ = (
        "_blocks",
        "_commander",
        "_histories",
        "_knowledge",
        "_plans",
        "_profile",
        "_sound",
        "_version",
        "_wire",
        "capabilities",
    )

    def __init__(
        self,
        wire: Wire,
        parameters: Parameters,
        password: Password | None,
        profile: MeterProfile | None,
        *,
        knowledge: Knowledge,
    ) -> None:
        self._wire = wire
        self._knowledge = knowledge
        self._profile = profile
        self._version = parameters.version
        self._blocks = parameters.blocks
        self._plans: dict[ReadPlan, _PlanState] = {}
        self._sound = True
        self._commander = Commander(wire, parameters, password, entries_of(profile))
        self._histories = Histories(self._rows, parameters.zone, profile)
        self.capabilities = capabilities_of(profile, parameters.version)

    @property
    def sound(self) -> bool:
        """False when the session must not be used again."""
        return self._sound and self._wire.lost is None

    # --- reading ---

    async def read(self, plan: ReadPlan) -> ReadResult:
        """Read all entries of a plan, those of a block together.

        A block that the meter does not have is asked for piece by piece from then on, and what it refuses alone no more,
        for many reads.
        """
        state = self._plans.get(plan) or await self._new_plan(plan)
        state.reads += 1
        if state.reads > AGAIN_EVERY:
            self.forget()
            state = await self._new_plan(plan)
        values: list[RawValue] = [None] * len(plan.entries)
        errors: dict[int, HeadendError] = {}
        position = 0
        while position < len(state.asks):
            ask = state.asks[position]
            self._knowledge.requests += 1
            try:
                octets = await self._read(ask.di, ask.version)
            except MeterError as error:
                if ask.block:
                    if isinstance(error, ObjectUndefined) and self._knowledge.confirmed(ask.di):
                        self._learn(ask.di)
                    state.asks[position : position + 1] = ask.singles()
                    continue
                for wanted in ask.wanted:
                    errors[wanted.index] = error
                if isinstance(error, ObjectUndefined):
                    state.refused.update(dict.fromkeys((wanted.index for wanted in ask.wanted), error))
                    del state.asks[position]
                    continue
            else:
                short = self._take(ask, octets, values, errors)
                if short and ask.block:
                    state.asks[position : position + 1] = _split(ask, short)
                    errors = {index: error for index, error in errors.items() if index not in short}
            position += 1
        self._knowledge.singles += len(values) - len(state.refused)
        return ReadResult(values=values, errors=errors | state.refused, exponents=state.exponents, units=state.units)

    def _take(self, ask: Ask, octets: bytes, values: list[RawValue], errors: dict[int, HeadendError]) -> set[int]:
        """Put the values of an answer in their places; what a block was too short for is returned."""
        short: set[int] = set()
        for wanted in ask.wanted:
            try:
                values[wanted.index] = ask.value(wanted, octets)
            except ObjectUndefined as error:
                errors[wanted.index] = error
                short.add(wanted.index)
            except (DecodeError, ConfigError) as error:
                errors[wanted.index] = error
        return short

    async def _new_plan(self, plan: ReadPlan) -> _PlanState:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        version = await self._spoken()
        without = self._missing_blocks()
        made = self._plans[plan] = _PlanState(plan, blocks=self._blocks, version=version, without=without)
        return made

    def _missing_blocks(self) -> frozenset[int]:
        """The blocks that the meter is known not to have."""
        kept = self._knowledge.kept
        if not isinstance(kept, frozenset):
            told = self._knowledge.facts.get("no_blocks")
            texts = [each for each in told if _HEX.fullmatch(str(each))] if isinstance(told, list) else []
            kept = self._knowledge.kept = frozenset(int(each, 16) for each in texts)
        return kept

    def _learn(self, di: int) -> None:
        """A meter does not have a block, as it said in two sessions."""
        missing = self._missing_blocks() | {di}
        self._knowledge.kept = missing
        self._knowledge.tell("no_blocks", sorted(f"{each:X}" for each in missing))

    async def _read(self, di: int, version: Version) -> bytes:
        return await self._rows(Read(di), version)

    async def _rows(self, request: Read, version: Version) -> bytes:
        try:
            return await self._wire.read_rows(request, version)
        except (LinkError, ProtocolError):
            self._sound = False
            raise

    async def _spoken(self) -> Version:
        """The version that the meter speaks, found out once: who knows the total of 2007 speaks that."""
        if self._version is None:
            self._version = await self._find_version()
        return self._version

    async def _find_version(self) -> Version:
        heard = []
        for version in (Version.V2007, Version.V1997):
            answer = await self._wire.answers(Read(_TOTAL[version]), version)
            if isinstance(answer, Data):
                return version
            heard += [version] if isinstance(answer, Refusal) else []
        if heard:
            return heard[0]
        self._sound = False
        raise LinkTimeout(f"{self._wire.link.peer}: no meter answers, neither as 2007 nor as 1997 has it")

    # --- what it is ---

    async def identify(self) -> MeterIdentity:
        """Ask the meter who it is: its address, number, model, firmware and maker, as far as it says so."""
        version = await self._spoken()
        if version is Version.V2007 and self._wire.address.has_wildcard:
            await self._ask_address()
        found: dict[str, str] = {}
        for di, field in (_IDENTITY if version is Version.V2007 else _IDENTITY_1997).items():
            try:
                octets = await self._read(di, version)
                value = meaning(di, version).pick(data_ref(f"{di:08X}" if di > 0xFFFF else f"{di:04X}"), octets)
            except (MeterError, SecurityError, DecodeError):
                continue
            found[field] = str(value or "")
        return MeterIdentity(**found, meter_address=str(self._wire.address))

    async def _ask_address(self) -> None:
        """The address of the only meter on the line; it need not say it so."""
        answer = await self._wire.answers(ReadAddress(), Version.V2007)
        if isinstance(answer, MeterAddress):
            self._wire.address = answer.address

    async def objects(self) -> Sequence[ObjectInfo]:
        """The objects of the profile: DL/T 645 has no object list."""
        if self._profile is None:
            raise CapabilityError("DL/T 645 has no object list", hint="name a profile: ?profile=ID")
        listed = [
            ObjectInfo(
                ref=entry.ref,
                name=entry.name,
                quantity=entry.quantity,
                unit=entry.unit,
                attributes={0: "rw" if entry.writable else "r"},
            )
            for entry in self._profile.objects
        ]
        return listed + [ObjectInfo(ref=each.ref, name=each.name, history=True) for each in self._profile.load_profiles]

    def forget(self) -> None:
        """Ask again for blocks and values that the meter has refused."""
        self._plans.clear()
        self._knowledge.forget()

    def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """The load records of a meter of 2007, some rows at a time, or its event records."""
        if Capability.HISTORY not in self.capabilities:
            raise CapabilityError("this meter keeps no load records")
        return self._histories.read(request)

    # --- commands ---

    async def execute(self, command: Command) -> Outcome:
        """Carry out a command once, and verify it by reading back."""
        self._require(command)
        version = await self._spoken()
        outcome = await self._commander.execute(command, version)
        self._sound = self._sound and self._wire.lost is None
        return outcome

    async def verify(self, command: Command, since: int) -> Outcome:
        """See by reading alone whether a command that was sent at `since` has taken effect."""
        self._require(command)
        return await self._commander.verify(command, await self._spoken(), since)

    def _require(self, command: Command) -> None:
        if _NEEDED[command.kind] not in self.capabilities:
            raise CapabilityError(f"this meter has no command {command.kind.value}")

    def notifications(self) -> Sequence[Notification]:
        """Meters of DL/T 645 say nothing unasked."""
        return ()

    async def clock(self) -> int:
        """What the meter's clock shows."""
        return await self._commander.clock(await self._spoken())

    async def push_lists(self) -> Sequence[PushList]:
        """They push nothing."""
        return ()

    async def aclose(self) -> None:
        """Close the link."""
        self._sound = False
        self._wire.stop()
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._wire.link.aclose()


def _split(ask: Ask, short: set[int]) -> list[Ask]:
    """A block, and alone what it was too short for."""
    whole = tuple(wanted for wanted in ask.wanted if wanted.index not in short)
    return ([Ask(ask.di, ask.version, whole, ask.block)] if whole else []) + ask.singles(short)


@lru_cache(maxsize=256)
def capabilities_of(profile: MeterProfile | None, version: Version | None) -> frozenset[Capability]:
    """What can be asked of a meter: of one that no file describes, everything that its version knows."""
    old = version is Version.V1997
    found = {Capability.READ, Capability.CLOCK, Capability.RESET, Capability.SECRETS, Capability.WRITE}
    if not old:
        found.add(Capability.FREEZE)
    if profile is None:
        return frozenset(found if old else found | {Capability.RELAY, Capability.HISTORY})
    found.add(Capability.OBJECTS)
    if profile.load_profiles and not old:
        found.add(Capability.HISTORY)
    if any(entry.quantity == "relay_closed" for entry in profile.objects):
        found.add(Capability.RELAY)
    return frozenset(found)

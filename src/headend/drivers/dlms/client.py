"""The head-end's session with one meter; see `headend.drivers.base.Session`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.base import Capability, Notification, PushList, Secrets
from headend.drivers.dlms.access import PLAIN, Access, Errors
from headend.drivers.dlms.answers import Scale, Static
from headend.drivers.dlms.clocks import CLOCK, clock_text, date_time_of, epoch_reader
from headend.drivers.dlms.commands import RELAY, Commander
from headend.drivers.dlms.history import Histories
from headend.drivers.dlms.identity import IDENTITY_REFS, identity_of
from headend.drivers.dlms.listing import ask_objects
from headend.drivers.dlms.notifications import to_notification
from headend.drivers.dlms.opening import open_mode_e
from headend.drivers.dlms.parameters import Parameters, parameters_of
from headend.drivers.dlms.plans import PreparedPlan, prepare_plan, scaler_ref
from headend.drivers.dlms.push_lists import ask_push_lists
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.dlms.security import Counters, begin_counter, make_security
from headend.drivers.dlms.security_setup import SecuritySetup
from headend.drivers.dlms.short_conversation import make_conversation
from headend.drivers.dlms.upkeep import Upkeep
from headend.errors import CapabilityError, HeadendError
from headend.model.job import Command, CommandKind, Outcome
from headend.model.objects import ReadResult
from headend.model.profile import entries_of
from headend.model.quantity import base_unit
from headend.protocols.dlms.acse import Rlrq
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from headend.drivers.knowledge import Knowledge
    from headend.model.meter import Meter, MeterIdentity
    from headend.model.objects import (
        HistoryBlock,
        HistoryRequest,
        ObjectEntry,
        ObjectInfo,
        ObjectRef,
        RawValue,
        ReadPlan,
    )
    from headend.model.profile import MeterProfile
    from headend.transport.link import Link

_CLOSE_SECONDS: Final = 2.0
_MAX_PLANS: Final = 64
_NEEDED: Final = {
    CommandKind.DISCONNECT: Capability.RELAY,
    CommandKind.RECONNECT: Capability.RELAY,
    CommandKind.ALLOW_RECONNECT: Capability.RELAY,
    CommandKind.FREEZE: Capability.FREEZE,
    CommandKind.RESET_DEMAND: Capability.RESET,
    CommandKind.CLEAR_METER: Capability.RESET,
    CommandKind.CLEAR_EVENTS: Capability.RESET,
    CommandKind.CHANGE_SECRET: Capability.SECRETS,
    CommandKind.SET_CLOCK: Capability.CLOCK,
    CommandKind.WRITE: Capability.WRITE,
    CommandKind.INVOKE: Capability.WRITE,
}


class _Told(NamedTuple):
    """Exponents and units of a plan as the meter tells them; `unknown` are the entries whose scaler it does not tell."""

    exponents: tuple[int, ...]
    units: tuple[str, ...]
    unknown: Mapping[int, HeadendError]
    scales: int
    """of those that the meter has to tell"""


class _Ready(NamedTuple):
    """A plan, ready to be read again and again."""

    prepared: PreparedPlan
    told: _Told | None
    most: int
    static: Static


async def attach(
    link: Link,
    meter: Meter,
    profile: MeterProfile | None,
    secrets: Secrets,
    *,
    counters: Counters,
    buffered: bytes,
    timeout: float,
    knowledge: Knowledge | None = None,
) -> DlmsSession:
    """Open the framing, associate, and return the session."""
    parameters = parameters_of(meter, profile)
    security = make_security(parameters, secrets, counters, meter.id)
    if security is not None:
        buffered = await begin_counter(security, link, parameters, buffered=buffered, timeout=timeout)
        await security.prepare()
    protection = security.protection if security is not None else None
    conversation = make_conversation(link, parameters, protection)
    access = Access(
        *(conversation, parameters, secrets, timeout, security),
        make_security=lambda others: make_security(parameters, others, counters, meter.id),
        knowledge=knowledge,
    )
    if parameters.opening is not None:
        await open_mode_e(link, parameters.opening, timeout)
    conversation.start(buffered)
    try:
        await conversation.open(timeout)
        await access.associate()
    except BaseException:
        conversation.stop()
        raise
    return DlmsSession(access, parameters, profile)


class DlmsSession:
    """A session with one meter."""

    def __init__(self, access: Access, parameters: Parameters, profile: MeterProfile | None) -> None:
        entries = entries_of(profile)
        self._entries = entries
        self._access = access
        self._conversation = access.conversation
        self._parameters = parameters
        self._histories = Histories(access, parameters.zone, entries)
        upkeep = Upkeep(access, parameters.zone, profile, self._histories)
        self._commander = Commander(access, parameters.zone, profile, upkeep)
        self._reader = epoch_reader(parameters.zone)
        self._plans: dict[ReadPlan, _Ready] = {}
        self._closed = False
        self.capabilities = _capabilities(entries, upkeep, profile)

    @property
    def sound(self) -> bool:
        """False when the session must not be used again."""
        return not self._closed and self._conversation.sound

    @property
    def access(self) -> Access:
        """The association, for what goes beyond the services of all drivers."""
        return self._access

    async def identify(self) -> MeterIdentity:
        """Ask the meter who it is."""
        values = await self._access.read_refs(*IDENTITY_REFS)
        return identity_of(values, self._access.system_title, self._parameters.addressing)

    async def read(self, plan: ReadPlan) -> ReadResult:
        """Read all entries of a plan, several in one request where the meter takes lists."""
        access = self._access
        ready = self._plans.get(plan)
        if ready is None or ready.most != access.most or ready.static is not access.static:
            ready = await self._prepare(plan)
        elif ready.told is not None:
            access.knowledge.scales_used += ready.told.scales
        prepared, told, _, _ = ready
        get, timeout = self._conversation.get, access.timeout
        values: list[RawValue] = []
        errors: Errors = {}
        knowledge = access.knowledge
        knowledge.requests += len(prepared.steps)
        knowledge.singles += len(prepared.refs)
        for step in prepared.steps:
            answer = await get(step[0], timeout)
            if step[0].count:
                if type(answer) is list and DataAccessResult not in map(type, answer):
                    values += answer
                    continue
            elif type(answer) in PLAIN:
                values.append(answer)
                continue
            rest, errors = await access.read(prepared.refs, prepared.steps[prepared.steps.index(step) :], answer)
            values += rest
            break
        for index in prepared.clocks:
            values[index] = clock_text(values[index])
        if told is None:
            return ReadResult(values=values, errors=errors)
        for index, error in told.unknown.items():
            values[index] = None
            errors.setdefault(index, error)
        return ReadResult(values=values, errors=errors, exponents=told.exponents, units=told.units)

    async def _prepare(self, plan: ReadPlan) -> _Ready:
        """The requests of a plan, and the scalers that it leaves to the meter."""
        access = self._access
        pdu = self._conversation.connection.max_request
        told = None
        left = [index for index, entry in enumerate(plan.entries) if entry.scaler is None]
        if left:
            refs = [cosem_ref(plan.entries[index].ref.address) for index in left]
            count = sum(scaler_ref(ref) is not None for ref in refs)
            told = _merge(plan.entries, dict(zip(left, await access.scales(refs), strict=True)), count)
        prepared = prepare_plan(plan, access.addressing, pdu, most=access.most)
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        ready = self._plans[plan] = _Ready(prepared, told, access.most, access.static)
        return ready

    def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """Read a load profile block by block."""
        return self._histories.read(request)

    async def objects(self) -> Sequence[ObjectInfo]:
        """The object list of the association, asked once."""
        static = self._access.static
        if static.objects is None:
            static.objects = await ask_objects(self._access)
        return static.objects

    async def clock(self) -> int:
        """What the clock object shows."""
        shown = date_time_of(await self._access.get(CLOCK))
        millis = None if shown is None else self._reader.read(shown.to_bytes())
        if millis is None:
            raise CapabilityError(f"{CLOCK} shows no time")
        return millis

    def forget(self) -> None:
        """Ask anew for scalers, capture objects and the object list when they are needed next."""
        self._access.forget()

    async def execute(self, command: Command) -> Outcome:
        """Carry out a command and verify it by reading back."""
        if _NEEDED.get(command.kind) not in self.capabilities:
            raise CapabilityError(f"this meter has no command {command.kind.value}")
        return await self._commander.execute(command)

    async def verify(self, command: Command, since: int) -> Outcome:
        """See by reading alone whether a command has taken effect."""
        return await self._commander.verify(command, since)

    def notifications(self) -> Sequence[Notification]:
        """Take what the meter said unasked since the last call."""
        kept, refused = self._conversation.notifications, self._conversation.connection.take_refused()
        if not kept and not refused:
            return []
        taken = [to_notification(apdu, self._reader, self._entries, names=self._access.names) for apdu in kept]
        kept.clear()
        if refused:
            body = f"{refused} not protected as the security policy demands: dropped"
            taken.append(Notification(kind="refused", body=body))
        return taken

    async def push_lists(self) -> Sequence[PushList]:
        """The push object lists of the Push Setup objects."""
        return await ask_push_lists(self._access)

    @property
    def security_setup(self) -> SecuritySetup:
        """Keys, policy and certificates of the meter, which nothing changes but a call of its methods."""
        return SecuritySetup(self._access)

    async def aclose(self) -> None:
        """Release the association and close the link, within two seconds whatever the meter does."""
        if self._closed:
            return
        self._closed = True
        conversation = self._conversation
        with suppress(HeadendError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS / 2):
                open_ = conversation.connection.state in {State.ASSOCIATED, State.BLOCKS}
                if conversation.sound and open_ and self._parameters.preset is None:
                    await conversation.ask(Rlrq(), _CLOSE_SECONDS / 4)
        with suppress(HeadendError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS / 4):
                if conversation.sound:
                    await conversation.close(_CLOSE_SECONDS / 8)
        conversation.stop()
        await conversation.link.aclose()


def _capabilities(
    entries: Mapping[ObjectRef, ObjectEntry], upkeep: Upkeep, profile: MeterProfile | None
) -> frozenset[Capability]:
    """Everything but what the meter file or the association speaks against: one that lists objects but no relay has none."""
    switched = profile is not None and any(setup.kind is CommandKind.DISCONNECT for setup in profile.commands)
    relay = not entries or switched or any(ref.address.startswith(f"{RELAY.class_id}/") for ref in entries)
    return _all_but(relay, upkeep.can_freeze(), upkeep.can_reset(), upkeep.can_change_secrets())


@lru_cache
def _all_but(relay: bool, freeze: bool, reset: bool, secrets: bool) -> frozenset[Capability]:  # noqa: FBT001 - each names itself
    """The same set for all sessions of which the same is true."""
    has = {
        Capability.RELAY: relay,
        Capability.FREEZE: freeze,
        Capability.RESET: reset,
        Capability.SECRETS: secrets,
    }
    return frozenset(each for each in Capability if has.get(each, True))


def _merge(entries: Sequence[ObjectEntry], scales: Mapping[int, Scale | HeadendError], count: int) -> _Told:
    exponents, units, unknown = [], [], {}
    for index, entry in enumerate(entries):
        scale = scales.get(index)
        if isinstance(scale, HeadendError):
            unknown[index] = scale
        if isinstance(scale, Scale):
            exponents.append(scale.exponent)
            units.append(scale.unit)
        else:
            exponents.append(entry.exponent)
            units.append(base_unit(entry.unit)[0])
    return _Told(tuple(exponents), tuple(units), unknown, count)

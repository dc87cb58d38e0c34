"""The head-end's side: the session with one unit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from headend.drivers.base import Capability, Notification, PushList
from headend.drivers.knowledge import Knowledge
from headend.drivers.modbus.identity import identity_from_objects, identity_from_server_id, identity_plan
from headend.drivers.modbus.learning import FULL_EVERY, Findings, Learner, learner_of
from headend.drivers.modbus.plan import Block, ReadRules, plan_blocks, plan_dead
from headend.drivers.modbus.refs import RegisterRef, Table, register_ref
from headend.drivers.modbus.wire import Wire
from headend.errors import (
    CapabilityError,
    ConfigError,
    HeadendError,
    LinkError,
    LocalProtocolError,
    MeterError,
    ObjectUndefined,
    ProtocolError,
    RemoteProtocolError,
    ServiceRefused,
)
from headend.model.job import Command, CommandKind, Outcome, Verdict
from headend.model.meter import MeterIdentity
from headend.model.objects import (
    HistoryBlock,
    HistoryRequest,
    ObjectEntry,
    ObjectInfo,
    ObjectRef,
    RawValue,
    ReadPlan,
    ReadResult,
)
from headend.model.profile import CommandSetup, MeterProfile, entries_of
from headend.model.reading import Value
from headend.protocols.modbus.pdu import (
    DeviceIdentificationResponse,
    Function,
    ReadDeviceIdentification,
    ReportServerId,
    Request,
    Response,
    ServerIdResponse,
    WriteMultiple,
    WriteSingle,
)
from headend.transport.deadline import NEVER

_CLOSE_SECONDS: Final = 2.0
_MAX_PLANS: Final = 64
_NEEDED: Final = {
    CommandKind.DISCONNECT: Capability.RELAY,
    CommandKind.RECONNECT: Capability.RELAY,
    CommandKind.FREEZE: Capability.FREEZE,
    CommandKind.RESET_DEMAND: Capability.RESET,
    CommandKind.CLEAR_METER: Capability.RESET,
    CommandKind.CLEAR_EVENTS: Capability.RESET,
}
"""what a meter has that its file gives such a command"""


class _PlanState:
    """What this meter made of a plan: blocks with their prepared reads, and what it is not asked for, by some rules."""

    __slots__ = ("blocks", "deaf", "reads", "refused", "rules")

    def __init__(self, plan: ReadPlan, learner: Learner, unit_id: int, *, rtu: bool) -> None:
        self.rules = learner.rules
        self.blocks = plan_blocks(plan, self.rules)
        self.reads = [(block, block.prepared(unit_id, rtu=rtu)) for block in self.blocks]
        self.deaf = 0
        """reads in a row in which everything was refused"""
        dead = plan_dead(plan, self.rules)
        self.refused = {index: learner.refused(span) for index, span in dead.items()}


class ModbusSession:
    """A session with one unit; see `headend.drivers.base.Session`."""

    __slots__ = (
        "_entries",
        "_knowledge",
        "_learner",
        "_plans",
        "_profile",
        "_setups",
        "_sound",
        "_timeout",
        "_unit_id",
        "_wire",
        "capabilities",
    )

    def __init__(
        self,
        wire: Wire,
        unit_id: int,
        profile: MeterProfile | None,
        rules: ReadRules,
        timeout: float,
        *,
        knowledge: Knowledge,
    ) -> None:
        self._wire = wire
        self._unit_id = unit_id
        self._profile = profile
        self._knowledge = knowledge
        self._learner = learner_of(knowledge, rules, wire.time())
        self._timeout = timeout
        self._setups = profile.commands if profile else ()
        self._entries = entries_of(profile)
        self._plans: dict[ReadPlan, _PlanState] = {}
        self._sound = True
        self.capabilities = frozenset(_capabilities(profile))

    @property
    def sound(self) -> bool:
        """False when the session must not be used again."""
        return self._sound and self._wire.lost is None

    async def read(self, plan: ReadPlan) -> ReadResult:
        """Read all entries of a plan in as few block reads as the profile and what was learned of the meter allow.

        A block that the meter refuses is taken apart until each value is read, or refused alone; see `learning`.
        """
        learner = self._learner
        if learner.again_at < NEVER and self._wire.time() >= learner.again_at:
            learner.try_again()
        state = self._plans.get(plan)
        if state is None or state.rules is not learner.rules:
            state = self._new_plan(plan)
        values: list[RawValue] = [None] * len(plan.entries)
        refused: list[tuple[Block, HeadendError]] = []
        knowledge = self._knowledge
        knowledge.singles += len(values) - len(state.refused)
        knowledge.requests += len(state.reads)
        for block, read in state.reads:
            try:
                got = await self._wire.read(read, self._timeout)
            except MeterError as error:
                refused.append((block, error))
                if state.deaf % FULL_EVERY and block is state.blocks[0]:
                    break  # it refused everything before: the first answer tells enough
            except (LinkError, ProtocolError):
                self._sound = False
                learner.broken(block)
                raise
            else:
                for index, value in zip(block.indexes, got, strict=True):
                    values[index] = value
        if refused:
            return await self._explore(plan, state, values, refused)
        state.deaf = 0
        if learner.curious:
            learner.succeeded(state.blocks, self._wire.time())
        return ReadResult(values=values, errors=state.refused)

    def _new_plan(self, plan: ReadPlan) -> _PlanState:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        made = self._plans[plan] = _PlanState(plan, self._learner, self._unit_id, rtu=self._wire.connection.rtu)
        return made

    async def _explore(
        self,
        plan: ReadPlan,
        state: _PlanState,
        values: list[RawValue],
        refused: Sequence[tuple[Block, HeadendError]],
    ) -> ReadResult:
        """Find out why blocks were refused, and read what can be read of them."""
        found, learner = Findings(), self._learner
        if state.deaf % FULL_EVERY and not any(value is not None for value in values):
            state.deaf += 1
            (_, error) = refused[0]
            return ReadResult(values=values, errors=dict.fromkeys(range(len(plan.entries)), error))
        for block, error in refused:
            await found.explore(self._attempt, block, error)
        for index, value in found.values.items():
            values[index] = value
        if any(value is not None for value in values):
            state.deaf = 0
            learner.learn(found, self._wire.time())
        elif found.dead:
            state.deaf += 1
        return ReadResult(values=values, errors={**found.errors, **state.refused})

    async def _attempt(self, block: Block) -> Sequence[Value | None]:
        self._knowledge.requests += 1
        try:
            return await self._wire.read(block.prepared(self._unit_id, rtu=self._wire.connection.rtu), self._timeout)
        except (LinkError, ProtocolError):
            self._sound = False
            raise

    async def _ask(self, request: Request) -> Response:
        try:
            return await self._wire.ask(self._unit_id, request, self._timeout)
        except (LinkError, ProtocolError):
            self._sound = False
            raise

    async def identify(self) -> MeterIdentity:
        """Ask the meter who it is: the identity registers of its profile, else function 43/14, else function 17."""
        address = str(self._unit_id)
        plan = identity_plan(self._profile) if self._profile else None
        if plan is not None:
            result = await self.read(plan)
            return identity_from_objects(plan, result, address)
        try:
            found = await self._device_identification()
            return MeterIdentity(
                manufacturer=found.get(0, ""), model=found.get(1, ""), firmware=found.get(2, ""), meter_address=address
            )
        except (ServiceRefused, ObjectUndefined):
            pass
        try:
            response = await self._ask(ReportServerId())
        except (ServiceRefused, ObjectUndefined):
            return MeterIdentity(meter_address=address)
        assert isinstance(response, ServerIdResponse)  # noqa: S101 - the connection compares the functions
        return identity_from_server_id(response.data, address)

    async def _device_identification(self) -> dict[int, str]:
        found: dict[int, str] = {}
        next_id, more = 0, True
        while more:
            response = await self._ask(ReadDeviceIdentification(1, next_id))
            assert isinstance(response, DeviceIdentificationResponse)  # noqa: S101 - ditto
            found.update((object_id, text.decode("latin-1").strip("\0 ")) for object_id, text in response.objects)
            more = response.more_follows and response.next_object_id > next_id
            next_id = response.next_object_id
        return found

    def forget(self) -> None:
        """Learn anew how the meter is read."""
        self._learner.forget()

    async def objects(self) -> Sequence[ObjectInfo]:
        """The objects of the profile: Modbus has no object list."""
        if self._profile is None:
            raise CapabilityError("Modbus has no object list", hint="name a profile: ?profile=ID")
        return [
            ObjectInfo(
                ref=entry.ref,
                name=entry.name,
                quantity=entry.quantity,
                unit=entry.unit,
                attributes={0: "rw" if entry.writable else "r"},
            )
            for entry in self._profile.objects
        ]

    def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """Modbus meters have no load profiles that we could read."""
        raise CapabilityError(f"{request.ref.protocol} meters keep no load profile")

    async def execute(self, command: Command) -> Outcome:
        """Write a register or coil and read it back. `value` is in the base unit of the profile's entry, else raw.

        Other commands are what the meter file says, in `[[command]]`: a write that only the meter acknowledges.
        """
        setup = next((each for each in self._setups if each.kind is command.kind), None)
        if setup is not None:
            return await self._as_set_up(setup)
        if command.kind is not CommandKind.WRITE or Capability.WRITE not in self.capabilities:
            raise CapabilityError(f"this meter has no command {command.kind.value}")
        ref, octets, request = self._write_request(command)
        try:
            await self._ask(request)
        except MeterError as error:
            return Outcome(verdict=Verdict.REFUSED, detail=str(error))
        except (LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=str(error))
        found = await self._compare(ref, octets)
        if found.verdict is not Verdict.REFUSED:
            return found
        detail = "the meter acknowledged, but reads otherwise"
        return Outcome(verdict=Verdict.UNKNOWN, detail=detail, observed=found.observed)

    async def verify(self, command: Command, since: int) -> Outcome:  # noqa: ARG002 - registers do not tell when
        """See by reading alone whether a write, or a coil that the meter file names, is as the command leaves it."""
        setup = next((each for each in self._setups if each.kind is command.kind), None)
        if setup is not None and register_ref(setup.ref.address).type is None:
            return await self._compare(ObjectEntry(ref=setup.ref), b"\1" if setup.value else b"\0", lost=True)
        if setup is not None or command.kind is not CommandKind.WRITE:
            return Outcome(verdict=Verdict.UNKNOWN, detail="reading does not tell whether it was done")
        ref, octets, _ = self._write_request(command)
        return await self._compare(ref, octets, lost=True)

    async def _as_set_up(self, setup: CommandSetup) -> Outcome:
        """Write what the meter file says; always by the function for several registers, which such meters want."""
        address = register_ref(setup.ref.address)
        if address.type is None:
            request: Request = WriteSingle(Function.WRITE_SINGLE_COIL, address.address, 0xFF00 if setup.value else 0)
        else:
            octets = _encode(address, ObjectEntry(ref=setup.ref), setup.value)
            request = WriteMultiple(Function.WRITE_MULTIPLE_REGISTERS, address.address, address.size, octets)
        try:
            await self._ask(request)
        except MeterError as error:
            return Outcome(verdict=Verdict.REFUSED, detail=str(error))
        except (LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=str(error))
        return Outcome(verdict=Verdict.CONFIRMED, detail="the meter has acknowledged")

    def _write_request(self, command: Command) -> tuple[ObjectEntry, bytes, Request]:
        text, value = command.params.get("ref"), command.params.get("value")
        if not isinstance(text, str) or value is None:
            raise ConfigError("a write needs the parameters ref and value")
        address = register_ref(text.removeprefix("modbus:"))
        if address.table not in (Table.COIL, Table.HOLDING):
            raise CapabilityError(f"{address} cannot be written: only coils and holding registers can")
        ref = ObjectRef("modbus", str(address))
        entry = self._entries.get(ref, ObjectEntry(ref=ref, writable=self._profile is None))
        if not entry.writable:
            raise CapabilityError(f"the profile does not let {address} be written")
        if address.type is None:
            octets = b"\1" if value else b"\0"
            return entry, octets, WriteSingle(Function.WRITE_SINGLE_COIL, address.address, 0xFF00 if value else 0)
        octets = _encode(address, entry, value)
        if address.size == 1:
            return (
                entry,
                octets,
                WriteSingle(Function.WRITE_SINGLE_REGISTER, address.address, int.from_bytes(octets, "big")),
            )
        request = WriteMultiple(Function.WRITE_MULTIPLE_REGISTERS, address.address, address.size, octets)
        return entry, octets, request

    async def _compare(self, entry: ObjectEntry, octets: bytes, *, lost: bool = False) -> Outcome:
        """What a register holds beside what it should hold; raises LinkError only where the answer was `lost` already."""
        plan = ReadPlan(entries=(entry,))
        try:
            result = await self.read(plan)
        except (LinkError, RemoteProtocolError) as error:
            if lost:
                raise
            return Outcome(verdict=Verdict.UNKNOWN, detail=f"not read back: {error}")
        finally:
            self._plans.pop(plan, None)
        if result.errors:
            return Outcome(verdict=Verdict.UNKNOWN, detail=f"not read back: {result.errors[0]}")
        observed = result.values[0]
        kind = register_ref(entry.ref.address).type
        wanted: RawValue = octets == b"\1" if kind is None else kind.decode(octets)
        shown = observed if isinstance(observed, int | float | str) else None
        if observed == wanted:
            return Outcome(verdict=Verdict.CONFIRMED, observed=shown)
        return Outcome(verdict=Verdict.REFUSED, detail="the meter is not as it should be then", observed=shown)

    def notifications(self) -> Sequence[Notification]:
        """Modbus meters say nothing unasked."""
        return ()

    async def clock(self) -> int:
        """Registers have no clock that all meters share."""
        raise CapabilityError("a Modbus meter has no clock that is known")

    async def push_lists(self) -> Sequence[PushList]:
        """Modbus meters push nothing."""
        return ()

    async def aclose(self) -> None:
        """Close the link."""
        self._sound = False
        self._wire.stop()
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._wire.link.aclose()


def _capabilities(profile: MeterProfile | None) -> set[Capability]:
    if profile is None:
        return {Capability.READ, Capability.WRITE}
    found = {Capability.READ, Capability.OBJECTS}
    found |= {_NEEDED[setup.kind] for setup in profile.commands if setup.kind in _NEEDED}
    return found | {Capability.WRITE} if any(entry.writable for entry in profile.objects) else found


def _encode(address: RegisterRef, entry: ObjectEntry, value: Value) -> bytes:
    """Octets of a value in base units; raises ConfigError when the registers cannot hold it."""
    assert address.type is not None  # noqa: S101 - bits do not come here
    raw: Value = value
    if isinstance(value, int | float) and entry.exponent:
        raw = value / 10**entry.exponent if entry.exponent > 0 else value * 10**-entry.exponent
    try:
        return address.type.encode(raw)
    except LocalProtocolError as error:
        raise ConfigError(f"{value!r} does not fit into {address}") from error

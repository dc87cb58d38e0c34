"""Commands: relay, clock, writing an attribute, invoking a method. Each is sent once and verified by reading back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.clocks import CLOCK, DATE_TIME_LENGTH, as_meter_writes, clock_text, date_time_of, epoch_reader
from headend.drivers.dlms.refs import SECRET_CLASSES, CosemRef, cosem_ref
from headend.drivers.dlms.upkeep import acknowledged
from headend.drivers.mapping import octets_to_text
from headend.errors import CapabilityError, ConfigError, LinkError, LocalProtocolError, MeterError, RemoteProtocolError
from headend.model.job import Command, CommandKind, Outcome, Verdict
from headend.model.profile import entries_of
from headend.model.reading import from_millis, to_millis
from headend.protocols.dlms.axdr import Data, Tag, decode_typed, encode_data, int8, octet_string, uint16
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import tzinfo

    from headend.drivers.dlms.access import Access
    from headend.drivers.dlms.upkeep import Upkeep
    from headend.model.objects import RawValue
    from headend.model.profile import CommandSetup, MeterProfile
    from headend.model.reading import Value

RELAY: Final = CosemRef(70, Obis(0, 0, 96, 3, 10, 255), 2)
"""disconnect_control: output_state; its methods are remote_disconnect (1) and remote_reconnect (2)."""
CLOCK_TOLERANCE: Final = 10_000
"""Milliseconds that a clock may differ from what it was set to when it is read back."""

_DISCONNECT: Final = 1
_RECONNECT: Final = 2
_CONTROL_STATE, _CONTROL_MODE = 3, 4
_CONNECTED, _READY = 1, 2
_BY_HAND: Final = frozenset({1, 3, 5, 6})
"""control modes in which a remote_reconnect only lets the relay be closed by hand"""
_LEFT_TO_HANDS: Final = (
    "it is open, and ready for somebody at the meter to close it: its control mode allows no more from afar"
)
_SCRIPT_TABLE: Final = 9


class Commander:
    """Carries out the commands of one session."""

    def __init__(self, access: Access, zone: tzinfo, profile: MeterProfile | None, upkeep: Upkeep) -> None:
        self._access = access
        self._zone = zone
        self._entries = entries_of(profile)
        self._setups = {setup.kind: setup for setup in profile.commands} if profile else {}
        self._upkeep = upkeep

    async def execute(self, command: Command) -> Outcome:
        """Carry out one command; raises ConfigError when its parameters make no sense."""
        if command.kind in self._setups:
            return await self._as_set_up(self._setups[command.kind])
        match command.kind:
            case CommandKind.DISCONNECT:
                return await self._relay(_DISCONNECT, closed=False)
            case CommandKind.RECONNECT:
                return await self._left_to_hands(await self._relay(_RECONNECT, closed=True))
            case CommandKind.ALLOW_RECONNECT:
                return await self._allow_reconnect()
            case CommandKind.FREEZE:
                return await self._upkeep.freeze(command.params)
            case CommandKind.RESET_DEMAND | CommandKind.CLEAR_METER:
                return await self._upkeep.run_script(command.kind, command.params)
            case CommandKind.CLEAR_EVENTS:
                return await self._upkeep.clear_events(command.params)
            case CommandKind.CHANGE_SECRET:
                return await self._upkeep.change_secret(command.params, command.secret)
            case CommandKind.SET_CLOCK:
                return await self._set_clock(command.params.get("at"))
            case CommandKind.WRITE:
                return await self._write(command.params)
            case CommandKind.INVOKE:
                return await self._invoke(command.params)
            case _:
                raise CapabilityError(f"this meter has no command {command.kind.value}")

    async def verify(self, command: Command, since: int) -> Outcome:
        """See by reading alone whether a command that was sent at `since` has taken effect."""
        match command.kind:
            case CommandKind.DISCONNECT | CommandKind.RECONNECT:
                closed = command.kind is CommandKind.RECONNECT
                seen = await self._access.get(self._switch())
                as_wanted = seen is closed
            case CommandKind.ALLOW_RECONNECT:
                seen = await self._access.get(self._switch().other(_CONTROL_STATE))
                as_wanted = seen in (_CONNECTED, _READY)
            case CommandKind.FREEZE if CommandKind.FREEZE not in self._setups:
                now = to_millis(datetime.now(UTC))
                return await self._upkeep.frozen_since(command.params, await self._upkeep.meter_time(since, now))
            case CommandKind.CLEAR_EVENTS if CommandKind.CLEAR_EVENTS not in self._setups:
                return await self._upkeep.cleared(command.params)
            case CommandKind.SET_CLOCK:
                seen = await self._access.get(CLOCK)
                passed = to_millis(datetime.now(UTC)) - since
                off = self._off(seen, _moment(command.params.get("at"), since) + passed)
                if off is None:
                    return Outcome(verdict=Verdict.UNKNOWN, detail=f"{CLOCK} holds no time")
                as_wanted = abs(off) <= CLOCK_TOLERANCE
            case CommandKind.WRITE:
                ref, value = _ref(command.params), _value(command.params)
                held, _ = decode_typed(await self._access.get_encoded(ref))
                seen = held.plain()
                as_wanted = seen == _typed(held, self._raw(ref, value), ref).plain()
            case _:
                return Outcome(verdict=Verdict.UNKNOWN, detail="reading does not tell whether it was done")
        if as_wanted:
            return Outcome(verdict=Verdict.CONFIRMED, observed=_shown(seen))
        refused = Outcome(
            verdict=Verdict.REFUSED, detail="the meter is not as it should be then", observed=_shown(seen)
        )
        return await self._left_to_hands(refused) if command.kind is CommandKind.RECONNECT else refused

    def _switch(self) -> CosemRef:
        """The output state of the load relay."""
        relay = next((cosem_ref(ref.address) for ref in self._entries if ref.address.startswith("70/")), RELAY)
        return relay.other(2)

    async def _relay(self, method: int, *, closed: bool) -> Outcome:
        switch = self._switch()
        act = self._access.invoke(switch.other(method), encode_data(int8(0)))
        return await self._verified(act, switch, lambda seen: seen is closed)

    async def _left_to_hands(self, outcome: Outcome) -> Outcome:
        """What came of closing the relay: refused, where it is open and the meter leaves the rest to somebody at it."""
        if outcome.observed is not False:
            return outcome
        try:
            state = await self._access.get(self._switch().other(_CONTROL_STATE))
        except (MeterError, LinkError, RemoteProtocolError):
            return outcome
        return replace(outcome, verdict=Verdict.REFUSED, detail=_LEFT_TO_HANDS) if state == _READY else outcome

    async def _allow_reconnect(self) -> Outcome:
        """Let the customer close the relay; raises CapabilityError where the relay would close at once."""
        switch = self._switch()
        mode = await self._access.get(switch.other(_CONTROL_MODE))
        if mode not in _BY_HAND:
            raise CapabilityError(
                f"in control mode {mode!r} the relay is closed from afar, not by hand", hint="reconnect"
            )
        act = self._access.invoke(switch.other(_RECONNECT), encode_data(int8(0)))
        return await self._verified(act, switch.other(_CONTROL_STATE), lambda seen: seen in (_CONNECTED, _READY))

    async def _as_set_up(self, setup: CommandSetup) -> Outcome:
        """As the meter file says. A relay is looked at where the file has one, other effects cannot be seen."""
        ref = cosem_ref(setup.ref.address)
        if setup.kind in (CommandKind.DISCONNECT, CommandKind.RECONNECT) and self._has_switch():
            closed = setup.kind is CommandKind.RECONNECT
            return await self._verified(self._act(ref, setup), self._switch(), lambda seen: seen is closed)
        return await acknowledged(self._act(ref, setup))

    async def _act(self, ref: CosemRef, setup: CommandSetup) -> None:
        if setup.method:
            make = uint16 if ref.class_id == _SCRIPT_TABLE else int8
            await self._access.invoke(ref, encode_data(make(int(setup.value))))
        else:
            held, _ = decode_typed(await self._access.get_encoded(ref))
            await self._access.set(ref, encode_data(_typed(held, setup.value, ref)))

    def _has_switch(self) -> bool:
        return any(ref.address.startswith(f"{RELAY.class_id}/") for ref in self._entries)

    async def _set_clock(self, at: Value | None) -> Outcome:
        """Set the clock to `at` (milliseconds), now without it. The date-time has the form that the meter's own has."""
        moment = from_millis(_moment(at, to_millis(datetime.now(UTC))))
        shown = date_time_of(await self._access.get(CLOCK))
        if shown is None:
            raise CapabilityError(f"{CLOCK} holds no date-time")
        octets = encode_data(octet_string(as_meter_writes(moment, shown, self._zone)))
        wanted = to_millis(moment)

        def near(seen: RawValue) -> bool:
            off = self._off(seen, wanted)
            return off is not None and -1000 <= off <= CLOCK_TOLERANCE

        return await self._verified(self._access.set(CLOCK, octets), CLOCK, near)

    def _off(self, seen: RawValue, wanted: int) -> int | None:
        """How many milliseconds a clock is ahead of what it should show; None where it shows no time."""
        if not isinstance(seen, bytes) or len(seen) != DATE_TIME_LENGTH:
            return None
        millis = epoch_reader(self._zone).read(seen)
        return None if millis is None else millis - wanted

    async def _write(self, params: Mapping[str, Value]) -> Outcome:
        """Write an attribute in the type that it has now; the value of an object with a scaler is in base units."""
        ref, value = _ref(params), _value(params)
        if ref.class_id in SECRET_CLASSES:
            raise ConfigError(f"{ref} holds a secret, which a write would show", hint="change-secret")
        now, _ = decode_typed(await self._access.get_encoded(ref))
        data = _typed(now, self._raw(ref, value), ref)
        return await self._verified(self._access.set(ref, encode_data(data)), ref, lambda seen: seen == data.plain())

    async def _invoke(self, params: Mapping[str, Value]) -> Outcome:
        """Invoke a method; its parameter is an int8, 0 unless `value` says otherwise. There is nothing to read back."""
        ref = _ref(params)
        value = params.get("value", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not -0x80 <= value <= 0x7F:
            raise ConfigError(f"a method takes a number of -128 to 127, got {value!r}")
        return await acknowledged(self._access.invoke(ref, encode_data(int8(value))))

    async def _verified(self, act: Awaitable[object], ref: CosemRef, as_wanted: Callable[[RawValue], bool]) -> Outcome:
        """Do it, read back, compare."""
        try:
            await act
        except MeterError as error:
            return Outcome(verdict=Verdict.REFUSED, detail=str(error))
        except (LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=str(error))
        try:
            seen = await self._access.get(ref)
        except (MeterError, LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=f"done, not read back: {error}")
        if as_wanted(seen):
            return Outcome(verdict=Verdict.CONFIRMED, observed=_shown(seen))
        detail = "the meter acknowledged, but reads otherwise"
        return Outcome(verdict=Verdict.UNKNOWN, detail=detail, observed=_shown(seen))

    def _raw(self, ref: CosemRef, value: Value) -> Value:
        entry = self._entries.get(ref.object_ref)
        if entry is None or not entry.exponent or not isinstance(value, int | float):
            return value
        raw: float = value / 10**entry.exponent if entry.exponent > 0 else value * 10**-entry.exponent
        return round(raw)


def _ref(params: Mapping[str, Value]) -> CosemRef:
    ref = params.get("ref")
    if not isinstance(ref, str):
        raise ConfigError("the command needs the parameter ref")
    return cosem_ref(ref.removeprefix("dlms:"))


def _value(params: Mapping[str, Value]) -> Value:
    value = params.get("value")
    if value is None:
        raise ConfigError("a write needs the parameters ref and value")
    return value


def _moment(at: Value | None, now: int) -> int:
    if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
        raise ConfigError(f"set-clock: expected 'at' in milliseconds, got {at!r}")
    return now if at is None else at


def _shown(seen: RawValue) -> Value | None:
    """What a read-back saw, for people."""
    observed = clock_text(seen)
    shown = octets_to_text(observed) if isinstance(observed, bytes) else observed
    return shown if isinstance(shown, int | float | str) else None


def _typed(now: Data, value: Value, ref: CosemRef) -> Data:
    """The value in the type that the attribute has now."""
    wanted: Value | bytes = value
    if now.tag is Tag.OCTET_STRING and isinstance(value, str):
        wanted = value.encode()
    elif now.tag is Tag.BOOLEAN:
        wanted = bool(value)
    data = Data(now.tag, wanted)
    try:
        encode_data(data)
    except (LocalProtocolError, TypeError, ValueError) as error:
        raise ConfigError(f"{value!r} does not fit into {ref}, which holds {now.tag.name.lower()}") from error
    return data

"""Commands: relay, clock, freeze, clearing, password, writing. Each is sent once, and verified by reading back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.dlt645.parameters import ClockWay, read_password, require
from headend.drivers.dlt645.refs import METHODS, PROTOCOL, DataRef, data_ref, speak
from headend.drivers.dlt645.values import encode_value, entry_exponent, entry_meaning
from headend.errors import (
    CapabilityError,
    ConfigError,
    LinkError,
    MeterError,
    ObjectUndefined,
    RemoteProtocolError,
    SecurityError,
)
from headend.model.job import Command, CommandKind, Outcome, Verdict
from headend.model.objects import ObjectEntry
from headend.model.reading import Value, from_millis, to_millis
from headend.protocols.dlt645.fields import ControlCommand
from headend.protocols.dlt645.formats import parse_format
from headend.protocols.dlt645.frame import BROADCAST
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.requests import (
    ChangeBaudRate,
    ChangePassword,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Control,
    Freeze,
    Request,
    SetOutput,
    SetTime,
    Write,
)
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from headend.drivers.dlt645.parameters import Parameters
    from headend.drivers.dlt645.wire import Wire
    from headend.model.objects import ObjectRef
    from headend.protocols.dlt645.fields import Password

CLOCK_TOLERANCE: Final = 10_000
"""Milliseconds that a clock may differ from what it was set to when it is read back."""

_STATUS_3: Final = 0x04000503
_RELAY_OPEN: Final = 1 << 4
_RELAY_COMMANDED: Final = 1 << 6
_BIT_OF: Final = {"alarm": 1 << 7, "keep-power": 1 << 12}
"""In status word 3; that of keep-power belongs to a supplement."""
_CONTROLS: Final = {
    CommandKind.DISCONNECT: ControlCommand.TRIP,
    CommandKind.ALLOW_RECONNECT: ControlCommand.PERMIT_CLOSE,
    CommandKind.RECONNECT: ControlCommand.CLOSE,
}
_INVOKED: Final = {
    "alarm": (ControlCommand.END_ALARM, ControlCommand.ALARM),
    "keep-power": (ControlCommand.END_KEEP_POWER, ControlCommand.KEEP_POWER),
}
_CLOCK: Final = 0x0400010C
_DATE: Final = 0x04000101
_TIME: Final = 0x04000102
_FREEZE_TIME: Final = 0x05010001
_RECORDS: Final = {
    CommandKind.CLEAR_METER: 0x03300101,
    CommandKind.RESET_DEMAND: 0x03300201,
    CommandKind.CLEAR_EVENTS: 0x03300301,
}
"""What a meter notes of what was cleared: it begins with the time."""
_PASSWORDS: Final = 0x04000C01
_SECOND: Final = parse_format("YYMMDDhhmmss")
_MINUTE: Final = parse_format("YYMMDDhhmm")
_VALID: Final = timedelta(hours=1)
"""How long a meter may still obey a command to its relay."""
_MINUTES: Final = 120_000
"""Milliseconds by which times of whole minutes may be off."""
_UNREADABLE: Final = "reading does not tell whether it was done"
_ACKNOWLEDGED: Final = "the meter has acknowledged"
_OTHERWISE: Final = "the meter is not as it should be then"


class Seen(NamedTuple):
    """What a look at the meter shows: as it should be, not so, or (None) that this cannot be seen."""

    as_wanted: bool | None
    observed: Value | None = None


_Look = Callable[[], Awaitable[Seen]]


class Deed(NamedTuple):
    """What to send, and how to see whether it was done."""

    requests: tuple[Request, ...]
    look: _Look


class Commander:
    """Carries out the commands of one session."""

    __slots__ = ("_entries", "_parameters", "_password", "_wire", "_zone")

    def __init__(
        self,
        wire: Wire,
        parameters: Parameters,
        password: Password | None,
        entries: Mapping[ObjectRef, ObjectEntry],
    ) -> None:
        self._wire = wire
        self._parameters = parameters
        self._password = password
        self._entries = entries
        self._zone = parameters.zone

    async def execute(self, command: Command, version: Version) -> Outcome:
        """Carry out one command; raises ConfigError when its parameters make no sense, KeyMissing without a password."""
        deed = self._deed(command, version, _now())
        if self._wire.lost is not None:
            raise self._wire.lost
        try:
            await self._send(deed.requests, version)
        except (MeterError, SecurityError) as error:
            return Outcome(verdict=Verdict.REFUSED, detail=str(error))
        except (LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=str(error))
        if command.kind is CommandKind.CHANGE_SECRET:
            self._password = self._new_password(command)
        try:
            seen = await deed.look()
        except (MeterError, LinkError, RemoteProtocolError) as error:
            return Outcome(verdict=Verdict.UNKNOWN, detail=f"done, not read back: {error}")
        if seen.as_wanted is None:
            return Outcome(verdict=Verdict.CONFIRMED, detail=_ACKNOWLEDGED, observed=seen.observed)
        if seen.as_wanted:
            return Outcome(verdict=Verdict.CONFIRMED, observed=seen.observed)
        detail = f"{_ACKNOWLEDGED}, but reads otherwise"
        return Outcome(verdict=Verdict.UNKNOWN, detail=detail, observed=seen.observed)

    async def verify(self, command: Command, version: Version, since: int) -> Outcome:
        """See by reading alone whether a command that was sent at `since` has taken effect."""
        seen = await self._deed(command, version, since).look()
        if seen.as_wanted is None:
            return Outcome(verdict=Verdict.UNKNOWN, detail=_UNREADABLE, observed=seen.observed)
        if seen.as_wanted:
            return Outcome(verdict=Verdict.CONFIRMED, observed=seen.observed)
        return Outcome(verdict=Verdict.REFUSED, detail=_OTHERWISE, observed=seen.observed)

    async def _send(self, requests: tuple[Request, ...], version: Version) -> None:
        for request in requests:
            if isinstance(request, SetTime):
                self._wire.announce(request, BROADCAST, version)
            else:
                await self._wire.ask(request, version)
            if isinstance(request, ChangeBaudRate):
                await self._wire.change_speed(request.baud_rate)

    def _deed(self, command: Command, version: Version, since: int) -> Deed:
        """What a command asks for, sent at `since`."""
        params, kind = command.params, command.kind
        if version is Version.V1997 and kind not in _OF_1997:
            raise CapabilityError(f"meters of DL/T 645-1997 have no command {kind.value}")
        operator = self._parameters.operator
        match kind:
            case CommandKind.DISCONNECT | CommandKind.ALLOW_RECONNECT | CommandKind.RECONNECT:
                return Deed((self._control(_CONTROLS[kind]),), lambda: self._see_relay(kind))
            case CommandKind.SET_CLOCK:
                return self._set_clock(params.get("at"), version, since)
            case CommandKind.FREEZE:
                return self._freeze(params, since)
            case CommandKind.RESET_DEMAND:
                password = require(self._password) if version is Version.V2007 else None
                return Deed((ClearDemand(password, operator),), lambda: self._see_record(kind, version, since))
            case CommandKind.CLEAR_METER:
                clear = ClearMeter(require(self._password), operator)
                return Deed((clear,), lambda: self._see_record(kind, version, since))
            case CommandKind.CLEAR_EVENTS:
                events = ClearEvents(require(self._password), operator, _events_of(params))
                return Deed((events,), lambda: self._see_record(kind, version, since))
            case CommandKind.CHANGE_SECRET:
                new = self._new_password(command)
                di = _PASSWORDS + new.level if version is Version.V2007 else None
                return Deed((ChangePassword(require(self._password), new, di),), _cannot_see)
            case CommandKind.WRITE:
                return self._write(params, version)
            case CommandKind.INVOKE:
                return self._invoke(params)
        raise CapabilityError(f"this meter has no command {kind.value}")

    # --- what is sent ---

    def _control(self, command: ControlCommand) -> Control:
        until = Moment.from_datetime((datetime.now(UTC) + _VALID).astimezone(self._zone))
        return Control(require(self._password), command, until, self._parameters.operator)

    def _writing(self, di: int, octets: bytes, version: Version) -> Write:
        if version is Version.V2007:
            return Write(di, octets, require(self._password), self._parameters.operator)
        return Write(di, octets, self._password)

    def _set_clock(self, at: Value | None, version: Version, since: int) -> Deed:
        if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
            raise ConfigError(f"set-clock: expected 'at' in milliseconds, got {at!r}")
        wanted = since if at is None else at
        moment = Moment.from_datetime(from_millis(wanted).astimezone(self._zone))
        way, whole = self._parameters.clock, DataRef(_CLOCK, Version.V2007).object_ref in self._entries
        requests: tuple[Request, ...]
        if way is ClockWay.BROADCAST:
            requests = (SetTime(moment),)
        elif version is Version.V2007 and (way is ClockWay.WHOLE or (way is ClockWay.USUAL and whole)):
            requests = (self._writing(_CLOCK, parse_format("YYMMDDWWhhmmss").encode(moment), version),)
        else:
            pairs = ((_DATE, "YYMMDDWW"), (_TIME, "hhmmss"))
            requests = tuple(
                self._writing(_spoken(di, version), parse_format(form).encode(moment), version) for di, form in pairs
            )
        return Deed(requests, lambda: self._see_clock(version, wanted, since))

    def _freeze(self, params: Mapping[str, Value], since: int) -> Deed:
        """Now; or at a time that comes again, where `value` has eight digits: month, day, hour, minute, 99 for every one."""
        value = params.get("value")
        if value is None:
            return Deed((Freeze(),), lambda: self._see_freeze(since))
        text = str(value)
        if len(text) != 8 or not (text.isascii() and text.isdigit()):
            raise ConfigError(f"freeze: expected MMDDhhmm with 99 for every one, got {value!r}")
        when = parse_format("MMDDhhmm").decode(bytes.fromhex(text)[::-1])
        return Deed((Freeze(when if isinstance(when, Moment) else Moment()),), _cannot_see)

    def _new_password(self, command: Command) -> Password:
        if command.params.get("name", "secret") != "secret" or command.secret is None:
            raise ConfigError("a meter of DL/T 645 has one secret to change: secret", hint="the new one has six digits")
        return read_password(command.secret.reveal(), self._parameters.level)

    def _write(self, params: Mapping[str, Value], version: Version) -> Deed:
        """Write a value, in base units where the table (or the meter file) knows its scale; octets as `hex:…`."""
        text, value = params.get("ref"), params.get("value")
        if not isinstance(text, str) or value is None:
            raise ConfigError("a write needs the parameters ref and value")
        ref = data_ref(text.removeprefix(f"{PROTOCOL}:"))
        entry = self._entries.get(
            ref.object_ref, ObjectEntry(ref=ref.object_ref, scaler=None, writable=not self._entries)
        )
        if not entry.writable or ref.item is not None or ref.part:
            raise CapabilityError(f"the profile does not let {ref} be written")
        spoken = speak(ref, version)
        if spoken is None:
            raise CapabilityError(f"{ref} has no name in DL/T 645-{version.value}")
        if spoken != ref:  # its format is another one
            entry = ObjectEntry(ref=spoken.object_ref, scaler=None)
        octets = _octets(spoken, entry, value)
        return Deed((self._writing(spoken.di, octets, version),), lambda: self._see_octets(spoken, entry, octets))

    def _invoke(self, params: Mapping[str, Value]) -> Deed:
        name, value = str(params.get("ref", "")).removeprefix(f"{PROTOCOL}:"), params.get("value", 1)
        if name not in METHODS or not isinstance(value, int):
            raise ConfigError(f"expected one of {', '.join(METHODS)} and a number, got {name!r} and {value!r}")
        if name in _INVOKED:
            bit = _BIT_OF[name]
            return Deed((self._control(_INVOKED[name][bool(value)]),), lambda: self._see_bit(bit, wanted=bool(value)))
        if name == "output":
            return Deed((SetOutput(value),), _cannot_see)
        return Deed((ChangeBaudRate(value),), self._see_that_it_answers)

    # --- looks ---

    async def _read(self, di: int, version: Version) -> bytes:
        return await self._wire.read(_spoken(di, version), version)

    async def _see_relay(self, kind: CommandKind) -> Seen:
        word = int.from_bytes(await self._read(_STATUS_3, Version.V2007), "little")
        is_open, commanded_open = bool(word & _RELAY_OPEN), bool(word & _RELAY_COMMANDED)
        if kind is CommandKind.DISCONNECT:
            as_wanted = is_open
        else:
            as_wanted = not is_open or (kind is CommandKind.ALLOW_RECONNECT and not commanded_open)
        return Seen(as_wanted, "open" if is_open else "closed")

    async def _see_bit(self, bit: int, *, wanted: bool) -> Seen:
        """Only a bit that shows it says something: meters without the supplement leave it alone."""
        word = int.from_bytes(await self._read(_STATUS_3, Version.V2007), "little")
        return Seen(True if bool(word & bit) == wanted else None, bool(word & bit))

    async def _see_clock(self, version: Version, wanted: int, since: int) -> Seen:
        shown = await self._clock(version)
        off = None if shown is None else shown - wanted - (_now() - since)
        text = "" if shown is None else from_millis(shown).isoformat().replace("+00:00", "Z")
        return Seen(off is not None and abs(off) <= CLOCK_TOLERANCE, text)

    async def clock(self, version: Version) -> int:
        """What the meter's clock shows, in milliseconds."""
        shown = await self._clock(version)
        if shown is None:
            raise CapabilityError("the meter's clock shows no time")
        return shown

    async def _clock(self, version: Version) -> int | None:
        """What the meter's clock shows, in milliseconds."""
        date = await self._read(_DATE, version)
        return self._millis(parse_format("YYMMDDWWhhmmss").decode(await self._read(_TIME, version) + date))

    def _millis(self, shown: object) -> int | None:
        local = shown.to_datetime() if isinstance(shown, Moment) else None
        return None if local is None else to_millis(local.replace(tzinfo=self._zone))

    async def _see_freeze(self, since: int) -> Seen:
        try:
            octets = await self._read(_FREEZE_TIME, Version.V2007)
        except ObjectUndefined:
            return Seen(None)
        return await self._see_recent(self._millis(_MINUTE.decode(octets)), Version.V2007, since)

    async def _see_record(self, kind: CommandKind, version: Version, since: int) -> Seen:
        """By the record that the meter keeps of it, where it keeps one."""
        if version is Version.V1997:
            return Seen(None)
        try:
            octets = await self._read(_RECORDS[kind], version)
        except ObjectUndefined:
            return Seen(None)
        return await self._see_recent(self._millis(_SECOND.decode(octets)), version, since)

    async def _see_recent(self, at: int | None, version: Version, since: int) -> Seen:
        """What happened at `at` by the meter's clock happened since then."""
        if at is None:
            return Seen(as_wanted=False)
        shown = await self._clock(version)
        text = from_millis(at).isoformat().replace("+00:00", "Z")
        if shown is None:
            return Seen(None, text)
        return Seen(shown - at <= _now() - since + _MINUTES, text)

    async def _see_octets(self, ref: DataRef, entry: ObjectEntry, octets: bytes) -> Seen:
        seen = await self._wire.read(ref.di, ref.version)
        raw = entry_meaning(entry, ref).pick(ref, seen)
        return Seen(seen == octets, raw if isinstance(raw, int | float | str) else seen.hex())

    async def _see_that_it_answers(self) -> Seen:
        await self._clock(Version.V2007)
        return Seen(None)


_OF_1997: Final = frozenset(
    {CommandKind.SET_CLOCK, CommandKind.RESET_DEMAND, CommandKind.CHANGE_SECRET, CommandKind.WRITE}
)


async def _cannot_see() -> Seen:
    return Seen(None)


def _now() -> int:
    return to_millis(datetime.now(UTC))


def _spoken(di: int, version: Version) -> int:
    """The identifier as meters of a version call it."""
    found = speak(DataRef(di, Version.V2007 if di > 0xFFFF else Version.V1997), version)
    if found is None:
        raise CapabilityError(f"{di:X} has no name in DL/T 645-{version.value}")
    return found.di


def _events_of(params: Mapping[str, Value]) -> int:
    """Which records to clear: all, or the kind that `ref` names."""
    ref = params.get("ref")
    if ref is None:
        return 0xFFFFFFFF
    return data_ref(str(ref).removeprefix(f"{PROTOCOL}:")).di | 0xFF


def _octets(ref: DataRef, entry: ObjectEntry, value: Value) -> bytes:
    """What is written."""
    if isinstance(value, str) and value.startswith("hex:"):
        try:
            return bytes.fromhex(value[4:])
        except ValueError:
            raise ConfigError("a write of octets takes hexadecimal digits behind hex:") from None
    known = entry_meaning(entry, ref)
    if known.parts is None or len(known.parts) > 1 or known.block:
        raise ConfigError(f"{ref} has several values", hint="write its octets: hex:…")
    return encode_value(known.parts[0], value, entry_exponent(entry, ref), ref)

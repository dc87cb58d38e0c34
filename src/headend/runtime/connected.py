"""A meter at hand: its values by name, its history row by row, its commands. What `headend.connect` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from headend.drivers.base import Session
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.errors import ConfigError, HeadendError, NotFound
from headend.model.job import Command, CommandKind, Outcome
from headend.model.meter import Meter, MeterIdentity, Secret
from headend.model.objects import HistoryColumn, HistoryRequest, ObjectEntry, ObjectInfo, ObjectRef, RawValue, ReadPlan
from headend.model.profile import MeterProfile, entries_of, event_log
from headend.model.quantity import base_unit
from headend.model.reading import Quality, Value, from_millis, to_millis

Plain: TypeAlias = Value | list["Plain"] | None
"""A value for people: amounts in base units, octets as text or hexadecimal, structures as lists, null as None."""
_MAX_PLANS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One value as a meter has it now; `error` says why there is none. `unit` is the base unit: Wh, W, V."""

    ref: ObjectRef
    quantity: str
    name: str
    value: Plain
    unit: str
    error: HeadendError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a load profile: aware UTC time, None where the meter gave none; values and units by column.

    A column is named by its quantity, by its address where it has none, or where another column has that quantity. An event
    log whose codes are known has one more, `event`, which says in words what happened.
    """

    time: datetime | None
    values: Mapping[str, Plain]
    units: Mapping[str, str] = field(repr=False)
    quality: Quality = Quality.GOOD


class Connected:
    """A session with one meter, with the meter and its profile at hand. One call at a time.

    Objects are named by address (`3/1-0:1.8.0.255/2`), by a part of it that the meter's object list has (`1-0:1.8.0.255`), or by
    quantity (`active_energy_import_total`).
    """

    def __init__(self, meter: Meter, profile: MeterProfile | None, session: Session) -> None:
        self.meter = meter
        self.profile = profile
        self.session = session
        self._known = entries_of(profile)
        self._plans: dict[tuple[str, ...], ReadPlan] = {}

    async def read(self, name: str) -> Measured:
        """One value; raises the error of the meter where it gives none."""
        (found,) = await self.read_all(name)
        if found.error is not None:
            raise found.error
        return found

    async def read_all(self, *names: str) -> list[Measured]:
        """Several values with as few requests as the meter allows; without a name all that profile or object list tell.

        What the meter refuses is there with its error.
        """
        plan = self._plans.get(names)
        if plan is None:
            plan = ReadPlan(entries=tuple(await self._entries(names)))
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[names] = plan
        result = await self.session.read(plan)
        exponents = result.exponents or [entry.exponent for entry in plan.entries]
        units = result.units or [base_unit(entry.unit)[0] for entry in plan.entries]
        return [
            Measured(
                ref=entry.ref,
                quantity=entry.quantity,
                name=entry.name,
                value=None if error else plain(value, exponent),
                unit=unit,
                error=error,
            )
            for index, (entry, value, exponent, unit) in enumerate(
                zip(plan.entries, result.values, exponents, units, strict=True)
            )
            for error in [result.errors.get(index)]
        ]

    async def history(
        self,
        name: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> AsyncIterator[Row]:
        """The rows of a load profile as they arrive, from `start` until before `end` (aware times), or by entry (1 is the oldest).

        Never more than what the meter sends at a time is kept, and the next part is asked for when the rows of this one
        are taken. Raises ConfigError for times and entries together.
        """
        if (start or end) and (first or last):
            raise ConfigError(
                "a load profile is read by time or by entry, not by both", hint="give start and end, or first and last"
            )
        request = HistoryRequest(
            ref=await self.ref(name),
            start=_millis(start, "start"),
            end=_millis(end, "end"),
            first_entry=first,
            last_entry=last,
        )
        log = event_log(self.profile, request.ref)
        async for block in self.session.read_history(request):
            columns = block.columns
            keys = _keys(columns)
            units = {key: column.unit for key, column in zip(keys, columns, strict=True)}
            if log is not None:
                units["event"] = ""
            for at, row, quality in zip(block.times, block.rows, block.quality, strict=True):
                plain_row = (plain(value, column.exponent) for value, column in zip(row, columns, strict=True))
                values = dict(zip(keys, plain_row, strict=True))
                if log is not None:
                    values["event"] = log.told_by(row)
                yield Row(
                    time=None if at is None else from_millis(at),
                    values=values,
                    units=units,
                    quality=Quality(quality),
                )

    async def write(self, name: str, value: Value) -> Outcome:
        """Write a value and read it back; amounts of objects with a scaler are in base units. Never repeated."""
        return await self._command(CommandKind.WRITE, ref=str(await self.ref(name)), value=value)

    async def invoke(self, name: str, value: int = 0) -> Outcome:
        """Invoke a method, named by its address: `9/0-0:10.0.100.255/1`. Never repeated."""
        return await self._command(CommandKind.INVOKE, ref=str(await self.ref(name)), value=value)

    async def disconnect(self) -> Outcome:
        """Switch the load off, and look whether it is."""
        return await self._command(CommandKind.DISCONNECT)

    async def allow_reconnect(self) -> Outcome:
        """Let the customer switch the load on by hand, and look whether that is allowed."""
        return await self._command(CommandKind.ALLOW_RECONNECT)

    async def reconnect(self) -> Outcome:
        """Switch the load on, or arm the switch, and look whether it is."""
        return await self._command(CommandKind.RECONNECT)

    async def set_clock(self, at: datetime | None = None) -> Outcome:
        """Set the clock to a time, now without one, and look whether it is."""
        millis = _millis(at, "at")
        return await self._command(CommandKind.SET_CLOCK, **({} if millis is None else {"at": millis}))

    async def freeze(self, name: str | None = None) -> Outcome:
        """Keep the present registers as a record, of the object named where the meter has several."""
        return await self._command(CommandKind.FREEZE, **({} if name is None else {"ref": str(await self.ref(name))}))

    async def reset_demand(self) -> Outcome:
        """End the demand or billing period. Never repeated."""
        return await self._command(CommandKind.RESET_DEMAND)

    async def clear_events(self, name: str) -> Outcome:
        """Clear an event log, and look whether it is empty."""
        return await self._command(CommandKind.CLEAR_EVENTS, ref=str(await self.ref(name)))

    async def change_secret(self, name: str, secret: Secret) -> Outcome:
        """Change a password or key, named as in a meter URL; the session goes on under it."""
        params: dict[str, Value] = {"name": name}
        return await self.session.execute(Command(kind=CommandKind.CHANGE_SECRET, params=params, secret=secret))

    async def verify(self, command: Command, since: datetime) -> Outcome:
        """Whether a command that was sent at a time has taken effect, by reading alone: its answer was lost."""
        return await self.session.verify(command, to_millis(since))

    async def objects(self) -> Sequence[ObjectInfo]:
        """What the meter has; asked once."""
        return await self.session.objects()

    async def identify(self) -> MeterIdentity:
        """Who the meter says it is."""
        return await self.session.identify()

    def forget(self) -> None:
        """Ask anew for what a meter does not change by itself (scalers, columns, object list): its configuration was changed."""
        self._plans.clear()
        self.session.forget()

    async def ref(self, name: str) -> ObjectRef:
        """The object that a name means; raises NotFound."""
        return (await self._entry(name)).ref

    async def _command(self, kind: CommandKind, **params: Value) -> Outcome:
        return await self.session.execute(Command(kind=kind, params=params))

    async def _entries(self, names: Sequence[str]) -> list[ObjectEntry]:
        if names:
            return [await self._entry(name) for name in names]
        if self._known:
            return list(self._known.values())
        return [_entry(info) for info in await self.objects() if not info.history and _is_readable(info)]

    async def _entry(self, name: str) -> ObjectEntry:
        protocol = self.meter.protocol
        for entry in self._known.values():
            if entry.quantity == name:
                return entry
        try:
            ref = driver(protocol).parse_ref(name.removeprefix(f"{protocol}:"))
        except ConfigError:
            info = _find(name, await self.objects())
            return self._known.get(info.ref) or _entry(info)
        return self._known.get(ref) or ObjectEntry(ref=ref, scaler=None)


def plain(raw: RawValue, exponent: int) -> Plain:
    """A raw value for people and JSON."""
    if isinstance(raw, list):
        return [plain(item, 0) for item in raw]
    return scale(raw, exponent)


def _keys(columns: Sequence[HistoryColumn]) -> list[str]:
    """A name of its own for each column."""
    quantities = [column.quantity for column in columns]
    keys: list[str] = []
    for column in columns:
        quantity = column.quantity
        key = quantity if quantity and quantities.count(quantity) == 1 else column.ref.address
        keys.append(f"{key}#{keys.count(key) + 1}" if key in keys else key)
    return keys


def _millis(at: datetime | None, name: str) -> int | None:
    if at is None:
        return None
    try:
        return to_millis(at)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", hint="datetime(…, tzinfo=UTC)") from None


def _entry(info: ObjectInfo) -> ObjectEntry:
    return ObjectEntry(
        ref=info.ref, quantity=info.quantity, name=info.name or info.class_name, unit=info.unit, scaler=None
    )


def _is_readable(info: ObjectInfo) -> bool:
    return not info.attributes or "r" in info.attributes.get(2, "r")


def _find(name: str, listed: Sequence[ObjectInfo]) -> ObjectInfo:
    """An object by its quantity, or by a part of its address, such as an OBIS code alone."""
    for info in listed:
        if name and (name == info.quantity or name in info.ref.address):
            return info
    raise NotFound(f"the meter has no object {name!r}", hint="headend objects URL lists what it has")

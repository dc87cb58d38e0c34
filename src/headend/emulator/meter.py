"""The virtual meter: some hundred octets, no task, no timer. All it shows is a function of its number, a seed and the time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from headend.drivers.base import Outgoing, Trouble
from headend.emulator.faults.kinds import TROUBLES, FaultKind
from headend.emulator.outside import Outside
from headend.emulator.shape import channel, mix
from headend.emulator.values import Evaluator, evaluator
from headend.emulator.waveform import NO_INSTANT, POWER, Instant, LoadCurve, Parts, voltage
from headend.errors import AccessDenied, CapabilityError, ConfigError, NotFound
from headend.model.meter import NO_PARAMS, MeterIdentity, Secret
from headend.model.objects import ObjectEntry
from headend.model.profile import LoadProfile, MeterProfile
from headend.model.quantity import Kind, find_quantity
from headend.model.reading import Value

_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?::0?(\d+))?\}")
_COUNTING: Final = frozenset({Kind.CUMULATIVE, Kind.COUNTER})
NO_TROUBLES: Final[frozenset[Trouble]] = frozenset()
_NO_SECRETS: Final[Mapping[str, Secret]] = {}


class _Count(NamedTuple):
    """A counter was set, at a time of the world, and shows since then so much more than it has counted."""

    since: int
    more: float


class _Ills(NamedTuple):
    """What is wrong with a meter, and by how much its clock is for that."""

    kinds: frozenset[FaultKind]
    jump: int


_WELL: Final = _Ills(frozenset(), 0)


class MeterKind:
    """What the meters of one meter file in one fleet have in common: how each of its objects is made, the clock, the load."""

    __slots__ = (
        "clock",
        "columns",
        "drift",
        "evaluators",
        "firmware",
        "history_from",
        "load",
        "mean_watts",
        "names",
        "nominal_frequency",
        "nominal_voltage",
        "outside",
        "phases",
        "profile",
        "started_at",
    )

    def __init__(
        self,
        profile: MeterProfile,
        clock: Callable[[], int],
        *,
        load: str = "household",
        mean_watts: float = 500.0,
        nominal_voltage: float = 230.0,
        nominal_frequency: float = 50.0,
        history_days: float = 90.0,
        drift: int = 0,
    ) -> None:
        """`clock` tells milliseconds since the epoch; `drift` is the greatest error of a meter's clock in parts per million.

        Raises ConfigError for an object that nobody can make, or a load-profile column that is no object.
        """
        self.profile = profile
        self.clock = clock
        self.outside: Outside | None = None  # while the fleet runs
        self.load = load
        channel(load, "active_import")  # refuses a shape that does not exist
        self.mean_watts = mean_watts
        self.nominal_voltage: float = nominal_voltage
        self.nominal_frequency: float = nominal_frequency
        self.drift = drift
        self.started_at = clock()
        self.history_from = self.started_at - round(history_days * 86_400_000)
        count = 3 if any(entry.quantity.endswith(("_l2", "_l3")) for entry in profile.objects) else 1
        self.phases = {"total": range(count)} | {
            name: range(phase, min(phase + 1, count)) for phase, name in enumerate(("l1", "l2", "l3"))
        }
        self.evaluators = tuple(evaluator(entry, load) for entry in profile.objects)
        self.columns = {table.ref: self._columns(table) for table in profile.load_profiles}
        self.firmware: str = _said(profile, "firmware_version", profile.firmware or "1.0.0")
        flag = profile.flag or re.sub(r"[^A-Z]", "", profile.vendor.upper())[:3].ljust(3, "X")
        self.names = {
            "serial": _said(profile, "serial_number", "{number:08}"),
            "logical_device_name": _said(profile, "logical_device_name", flag + "{number:013}"),
        }

    def _columns(self, table: LoadProfile) -> tuple[tuple[Evaluator, int], ...]:
        """What makes the columns of a load profile, without its clock, and which objects they are."""
        indexes = {entry.ref: index for index, entry in enumerate(self.profile.objects)}
        made = []
        for ref in table.columns:
            if ref not in indexes:
                raise ConfigError(f"{self.profile.id}: column {ref} of {table.ref} is none of its objects")
            if self.profile.objects[indexes[ref]].quantity != "meter_time":
                made.append((self.evaluators[indexes[ref]], indexes[ref]))
        return tuple(made)


def fill(text: str, known: Mapping[str, object]) -> str:
    """Put what is known into the places `{name}` of a text; `{name:08}` is filled up with zeros to eight characters."""
    return _PLACEHOLDER.sub(
        lambda found: str(known.get(found[1], found[0])).rjust(int(found[2] or 0), "0"),
        text,
    )


def _said(profile: MeterProfile, quantity: str, otherwise: str) -> str:
    """What the meter file says an identifier is."""
    for entry in profile.objects:
        if entry.quantity == quantity and "value" in entry.emulate:
            return str(entry.emulate["value"])
    return otherwise


class VirtualMeter:
    """One meter, as the drivers' meter roles see it (`drivers.base.MeterModel`).

    Its load runs on the time of the world; its own clock may be set wrong and may drift. While the relay is open nothing
    flows and nothing is counted.
    """

    __slots__ = (
        "_booted_at", "_curve", "_moment", "_offset", "_set_at", "_written", "gaps", "ills", "instant", "keyring", "kind", "memory",
        "number", "params", "secrets", "seed", "shows_no_rows", "troubles", "voltages",
    )  # fmt: skip

    def __init__(
        self,
        kind: MeterKind,
        number: int,
        seed: int = 0,
        params: Mapping[str, str] = NO_PARAMS,
        secrets: Mapping[str, Secret] = _NO_SECRETS,
    ) -> None:
        """`number` and `seed` together decide everything about the meter, in every process."""
        self.kind: MeterKind = kind
        self.number = number
        self.params = params
        self.secrets = secrets
        self.keyring: object = None  # the driver's: changed keys, counters
        self.troubles: frozenset[Trouble] = NO_TROUBLES
        self.shows_no_rows = False
        self.ills: _Ills | None = None
        self.memory: object = None  # the driver's: attributes that were written, images, what is due
        self.seed = mix(seed, number)
        self._curve = LoadCurve(kind.load, self.seed, len(kind.phases["total"]), kind.mean_watts)
        self._moment: int | None = None
        self._booted_at = 0
        self._offset = 0
        self._set_at = kind.started_at
        self.gaps: tuple[int, ...] = ()  # times at which the relay opened, closed, opened …
        self._written: dict[int, Value | _Count] | None = None
        self.instant: Instant = NO_INSTANT  # the load of the second that was asked for last
        self.voltages: tuple[float, ...] = NO_INSTANT  # its time, then L1, L2, L3 and their mean

    # --- who it is ---

    @property
    def profile(self) -> MeterProfile:
        """The meter file."""
        return self.kind.profile

    @property
    def serial(self) -> str:
        """The serial number."""
        return self.fill(self.kind.names["serial"])

    @property
    def logical_device_name(self) -> str:
        """Sixteen characters: the manufacturer's three letters and what tells its meters apart."""
        return self.fill(self.kind.names["logical_device_name"])

    @property
    def identity(self) -> MeterIdentity:
        """Who the meter says it is."""
        name = self.logical_device_name
        return MeterIdentity(
            serial=self.serial,
            manufacturer=name[:3],
            model=self.kind.profile.model,
            firmware=self.kind.firmware,
            logical_device_name=name,
            system_title=(name[:3].encode("latin-1", "replace") + self.number.to_bytes(5, "big")).hex().upper(),
            meter_address=f"{self.number:012}",
        )

    def fill(self, text: str) -> str:
        """Put numbers and names into a text with `{number:08}`, `{serial}`, `{vendor}`, `{model}`."""
        known = {"number": self.number, "vendor": self.profile.vendor, "model": self.profile.model}
        if "{serial" in text:
            known["serial"] = fill(self.kind.names["serial"], known)
        return fill(text, known)

    # --- what it shows ---

    def now(self) -> int:
        """The meter's own clock."""
        return self.shown_time(self.kind.clock()) if self._moment is None else self._moment

    def turn_back(self, at: int | None) -> None:
        """Let the clock show a time that has gone by; None: the present again."""
        self._moment = at

    @property
    def began_at(self) -> int:
        """When the fleet began, by this meter's clock."""
        return self.shown_time(self.kind.started_at)

    def shown_time(self, at: int) -> int:
        """What the meter's clock shows at a time of the world."""
        since = at - self._set_at
        return at + self._offset + since * self._drift() // 1_000_000

    def _world_time(self, at: int) -> int:
        """The time of the world when the meter's clock shows `at`."""
        if not self._offset and not self.kind.drift:
            return at
        shown = at - self._offset - self._set_at
        return self._set_at + shown * 1_000_000 // (1_000_000 + self._drift())

    def _drift(self) -> int:
        most = self.kind.drift
        return mix(self.seed, 3) % (2 * most + 1) - most if most else 0

    def set_clock(self, at: int) -> None:
        """Set the meter's clock."""
        now = self.kind.clock()
        if self._moment is not None:  # what it was set to then, it has gone on from
            at += self.shown_time(now) - self._moment
        self._offset = at - now
        self._set_at = now

    def wake_at(self, at: int, call: Callable[[], None]) -> None:
        """Call at a time of the meter's clock."""
        if self.kind.outside is not None:
            self.kind.outside.wake(self.number, self._world_time(at), call)

    def post(self, outgoing: Outgoing) -> None:
        """Send something, unless its time has gone by; raises CapabilityError outside of a fleet."""
        if self.kind.outside is None:
            raise CapabilityError("this virtual meter has nobody to send to")
        if self.shown_time(self.kind.clock()) <= outgoing.not_after:
            self.kind.outside.send(self.number, outgoing, self._world_time(outgoing.not_before))

    def value(self, index: int, at: int) -> Value:
        """The value of an object at a time of the meter's clock. Values change once a second, at whole seconds."""
        if self._offset or self.kind.drift:
            at = self._world_time(at)
        at -= at % 1000
        if self._written is not None and index in self._written:
            return self._kept(index, at)
        return self.kind.evaluators[index](self, at)

    def current_value(self, index: int) -> Value:
        """The value of an object now."""
        kind = self.kind
        if self._moment is not None:
            return self.value(index, self._moment)
        at = kind.clock()
        if self._written is not None and index in self._written:
            return self._kept(index, at - at % 1000)
        return kind.evaluators[index](self, at - at % 1000)

    def write(self, index: int, value: Value) -> None:
        """Set a writable object; raises AccessDenied. What counts goes on counting from there."""
        entry: ObjectEntry = self.profile.objects[index]
        if not entry.writable:
            raise AccessDenied(f"{entry.ref} cannot be written")
        self.show(index, value)

    def show(self, index: int, value: Value) -> None:
        """Let an object have a value, whoever may write it. What counts goes on counting from there."""
        entry: ObjectEntry = self.profile.objects[index]
        if self._written is None:
            self._written = {}
        quantity = find_quantity(entry.quantity)
        if quantity is not None and quantity.kind in _COUNTING and isinstance(value, int | float):
            at = self._world_time(self.now())
            at -= at % 1000
            counted = self.kind.evaluators[index](self, at)
            if isinstance(counted, int | float):
                self._written[index] = _Count(at, value - counted)
                return
        self._written[index] = value

    def suffer(self, kinds: Collection[FaultKind], jump: int) -> None:
        """From now on these are wrong with it, and nothing else; its clock goes wrong by so many milliseconds."""
        before, now = self.ills or _WELL, frozenset(kinds)
        self.troubles = frozenset(TROUBLES[kind] for kind in now if kind in TROUBLES)
        self.shows_no_rows = FaultKind.EMPTY_PROFILE in now
        if FaultKind.COUNTER_RESET in now - before.kinds:
            self.set_back()
        elif FaultKind.COUNTER_RESET in before.kinds - now:
            self.set_forth()
        if jump != before.jump:
            self.set_clock(self.now() + jump - before.jump)
        self.ills = _Ills(now, jump) if now else None

    def set_back(self) -> None:
        """Let all that counts begin at nothing again, as a meter does that has lost its memory."""
        at = self._world_time(self.now())
        at -= at % 1000
        self._written = self._written or {}
        for index, entry in enumerate(self.profile.objects):
            quantity = find_quantity(entry.quantity)
            if quantity is not None and quantity.kind in _COUNTING:
                counted = self.kind.evaluators[index](self, at)
                if isinstance(counted, int | float):
                    self._written[index] = _Count(at, -counted)

    def set_forth(self) -> None:
        """Let all that counts show again what it has counted since the beginning."""
        self._written = {
            index: kept for index, kept in (self._written or {}).items() if not isinstance(kept, _Count)
        } or None

    def _kept(self, index: int, at: int) -> Value:
        """What was written, at a time of the world; before that a counter showed what it had counted."""
        kept = self._written[index] if self._written is not None else 0
        if not isinstance(kept, _Count):
            return kept
        counted = self.kind.evaluators[index](self, at)
        return counted + kept.more if at >= kept.since and isinstance(counted, int | float) else counted

    # --- the load behind it ---

    @property
    def started_at(self) -> int:
        """When the registers were at zero."""
        return self._curve.started_at

    def enter(self, at: int) -> Instant:
        """Work out the load of a moment and remember it: all that is asked for in this second follows from it."""
        now = self._curve.instant(at)
        if self.gaps and not self.supplied(at):
            now = (*now[:POWER], 0, 0, 0, 0, *now[POWER + 4 :])
        self.instant = now
        return now

    def swing(self, at: int) -> tuple[float, ...]:
        """Work out the voltages of a moment, on the side of the net, and remember them."""
        nominal, seed, phases = self.kind.nominal_voltage, self.seed, self.kind.phases["total"]
        volts = [voltage(seed, phase, at, nominal) for phase in phases]
        self.voltages = now = (at, *volts, *(0.0,) * (3 - len(volts)), sum(volts) / len(volts))
        return now

    @property
    def booted_at(self) -> int:
        """When it was switched on last, by the time of the world."""
        return self._booted_at or self._curve.started_at

    def reboot(self) -> None:
        """Begin anew; registers, the clock and what was written are kept."""
        self._booted_at = self.kind.clock()

    def slot_at(self, at: int) -> int:
        """The slot of the load that a time is in."""
        return self._curve.slot_at(at)

    def missed(self, parts: Parts, phase: int, tariff: int, at: int) -> int:
        """Energy that did not flow until a time because the relay was open, in units of `waveform.WATT_HOUR`."""
        phases = range(phase, phase + 1)
        return sum(
            sign * (self._curve.energy(name, phases, tariff, until) - self._curve.energy(name, phases, tariff, since))
            for since, until in self._openings(at)
            for name, sign in parts
        )

    def peak(self, name: str, tariff: int, start: int, end: int) -> int:
        """The greatest mean of a slot between two times, in units of `waveform.WATT`; of what flowed all the slot long."""
        if not self.gaps:
            return self._curve.peak(name, tariff, start, end)
        best, since = 0, start
        for opened, closed in self._openings(end):
            best = max(best, self._curve.peak(name, tariff, since, max(opened, since)))
            since = max(closed, since)
        return max(best, self._curve.peak(name, tariff, since, end))

    # --- the relay ---

    def supplied(self, at: int) -> bool:
        """True when the relay was closed at a time of the world."""
        return sum(1 for switched in self.gaps if switched <= at) % 2 == 0

    def _openings(self, end: int) -> Sequence[tuple[int, int]]:
        """When the relay was open, until `end`."""
        if not self.gaps:
            return ()
        gaps = [min(switched, end) for switched in self.gaps]
        return list(zip(gaps[::2], [*gaps[1::2], end], strict=False))

    def relay_closed(self) -> bool:
        """True while the load is supplied."""
        return len(self.gaps) % 2 == 0

    def switch_relay(self, *, closed: bool) -> None:
        """Open or close the load relay."""
        if closed != self.relay_closed():
            at = self.kind.clock() if self._moment is None else self._world_time(self._moment)
            self.gaps = (*self.gaps, at - at % 1000)
            self.instant = NO_INSTANT

    # --- load profiles ---

    def entries_in_use(self, load_profile: LoadProfile, at: int) -> int:
        """How many rows the load profile holds: one for each whole period since its beginning, until it is full."""
        if self.shows_no_rows:
            return 0
        first, last = self._captured(load_profile, at)
        return min(max(0, last - first + 1), load_profile.capacity)

    def _captured(self, load_profile: LoadProfile, at: int) -> tuple[int, int]:
        """Numbers (time by period) of the first row ever and of the last one until `at`."""
        period = load_profile.period_seconds * 1000
        if period <= 0:
            return 1, 0
        return -(-self.kind.history_from // period), at // period

    def row(self, load_profile: LoadProfile, entry: int, at: int) -> tuple[int, Sequence[Value]]:
        """Row `entry` (1 = oldest held at time `at`): its time and its values without the clock column; raises NotFound."""
        held = self.entries_in_use(load_profile, at)
        if not 1 <= entry <= held:
            raise NotFound(f"{load_profile.ref} holds {held} rows, there is no row {entry}")
        period = load_profile.period_seconds * 1000
        time = (at // period - held + entry) * period
        world = self._world_time(time)
        world -= world % 1000
        columns, written = self.kind.columns[load_profile.ref], self._written
        if written is None:
            return time, [made(self, world) for made, _ in columns]
        return time, [self._kept(index, world) if index in written else made(self, world) for made, index in columns]

    def entry_range(self, load_profile: LoadProfile, start: int, end: int, at: int) -> tuple[int, int]:
        """First and last entry whose time t holds start <= t <= end; (1, 0) when there is none."""
        held = self.entries_in_use(load_profile, at)
        if not held:
            return 1, 0
        period = load_profile.period_seconds * 1000
        before = at // period - held  # the row before the oldest
        first = max(1, -(-start // period) - before)
        last = min(held, end // period - before)
        return (first, last) if first <= last else (1, 0)

"""A group of virtual meters in its place: numbers, addresses, what is wrong with whom, and the meters met so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from typing import Final
from weakref import WeakSet

from headend.drivers.base import Driver
from headend.drivers.calling import Dialogue
from headend.drivers.registry import driver
from headend.emulator.dialling import Dial, Dialler, Line
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.faults.seats import Entry, Seats
from headend.emulator.faults.wire import FaultyLink
from headend.emulator.meter import MeterKind, VirtualMeter, fill
from headend.emulator.outside import Surroundings
from headend.emulator.shape import mix
from headend.errors import ConfigError, LocalProtocolError
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter, Secret
from headend.model.profile import MeterProfile
from headend.model.url import SCHEMES, format_url
from headend.transport.link import Link

_NO_SECRETS: Final[Mapping[str, Secret]] = {}
_NOBODY_KNOWS: Final = Secret(b"\x00nobody knows this\x00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Meters of one kind at consecutive addresses, `units` of them behind each address where the protocol has units.

    `params` and `secrets` are those that a head-end needs. Port 0 takes any free one. `kind` are the arguments of MeterKind.
    With `dial` the meters call the head-end, those behind one address with one connection; `number` is what they log in as, or
    what the head-end knows a meter by that does not log in. Without it that is the serial number, or the logical device name.
    """

    profile: MeterProfile
    in_library: bool = True
    """a head-end may know its profile by its id"""
    label: str = ""
    """what the group is called; without one, its profile"""
    count: int = 1
    framing: str = ""
    first_address: str = "127.0.0.1"
    port: int = 0
    units: Sequence[int] = ()
    name: str = "{profile}-{number:05}"
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: _NO_SECRETS, repr=False)
    faults: Sequence[Fault] = ()
    kind: Mapping[str, float | str] = field(default_factory=dict)
    dial: Dial | None = None
    number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMeter:
    """A line of the roster: how a head-end reaches a virtual meter."""

    url: str
    profile: str
    name: str
    secrets: Mapping[str, Secret] = field(repr=False)


class Placed:
    """A group in its place."""

    __slots__ = (
        "_changed",
        "_driver",
        "_kind",
        "_lines",
        "_meters",
        "_seed",
        "_spoil",
        "_unit_param",
        "_wires",
        "first",
        "framing",
        "group",
        "high",
        "label",
        "low",
        "port",
        "seats",
    )

    def __init__(self, group: Group, first: int, seed: int, clock: Callable[[], int]) -> None:
        self.group = group
        self.first = first
        self.label = group.label or group.profile.id
        self.port = group.port
        self.seats = Seats()
        self._seed = seed
        self._driver: Driver = driver(group.profile.protocol)
        self._kind = MeterKind(group.profile, clock, **group.kind)  # type: ignore[arg-type] # checked by the file reader
        self._meters: dict[int, VirtualMeter] = {}
        self._changed: dict[int, tuple[Fault, ...]] = {}
        self._wires: WeakSet[FaultyLink] = WeakSet()
        self._spoil = self._driver.spoil
        self._lines: dict[int, Line] = {}
        self.framing, self._unit_param = _framing(group)
        if group.units and not self._unit_param:
            raise ConfigError(f"{group.profile.id}: {group.profile.protocol} has no units behind one address")
        self._driver.check_params(group.params)
        for fault in group.faults:
            self.check(fault)
        try:
            self.low = int(IPv4Address(group.first_address))
        except ValueError:
            raise ConfigError(f"{group.first_address!r} is no address", hint="give one in 127.0.0.0/8") from None
        self.high = self.low + (group.count - 1) // self.width
        if group.dial is not None and group.dial.dialogue is not None:
            for number in (first, first + group.count - 1):
                self._check_login(group.dial.dialogue, number)
        if group.count < 1 or not (self.low >> 24 == self.high >> 24 == 127):
            raise ConfigError(f"{group.profile.id}: {group.count} meters from {group.first_address} leave 127.0.0.0/8")

    @property
    def width(self) -> int:
        """How many meters are behind one address."""
        return max(1, len(self.group.units))

    @property
    def numbers(self) -> range:
        """The numbers of its meters."""
        return range(self.first, self.first + self.group.count)

    def begin(self, outside: Surroundings | None) -> None:
        """Let the meters be woken and send; those of a file that says so begin with that before anybody has met them."""
        self._kind.outside = outside
        if outside is None or not self.group.profile.functions:
            return
        woken = len(outside)
        for number in self.numbers:
            self._driver.begin(self.meter(number))
            if len(outside) == woken:  # as the first one, so the others
                return

    def _check_login(self, dialogue: Dialogue, number: int) -> None:
        says = self.says(number)
        try:
            dialogue.login(says)
            dialogue.heartbeat(says)
        except LocalProtocolError as error:
            message = f"{self.group.profile.id}: no login of {dialogue.registration.id} for {says!r}: {error.message}"
            raise ConfigError(message, hint="give the group another number, such as {number:012}") from None

    def keep_time(self, clock: Callable[[], int]) -> None:
        """Go by another clock."""
        self._kind.clock = clock

    # --- who is where ---

    def name(self, number: int) -> str:
        """What a meter is called."""
        return fill(self.group.name, {"number": number, "profile": self.group.profile.id})

    def says(self, number: int) -> str:
        """What a meter that dials in is known by."""
        names = self._kind.names
        known: dict[str, object] = {"number": number}
        known |= {name: fill(text, known) for name, text in names.items()}
        dial, pattern = self.group.dial, self.group.number
        if not pattern and dial is not None and dial.dialogue is not None:
            pattern = "{serial}"
        named = any(entry.quantity == "logical_device_name" for entry in self.group.profile.objects)
        return fill(pattern or ("{logical_device_name}" if named else "{number:012}"), known)

    def address(self, number: int) -> int:
        """Where a meter is."""
        return self.low + (number - self.first) // self.width

    def _first_at(self, address: int) -> int:
        """The number of the first meter behind an address."""
        return self.first + (address - self.low) * self.width

    def at(self, address: int) -> list[VirtualMeter]:
        """The meters behind an address."""
        start = self._first_at(address)
        return [self.meter(number) for number in range(start, min(start + self.width, self.numbers.stop))]

    def meter(self, number: int) -> VirtualMeter:
        """The meter of a number, made when first asked for."""
        found = self._meters.get(number)
        if found is None:
            found = self._meters[number] = VirtualMeter(
                self._kind, number, self._seed, self._params(number), self.group.secrets
            )
            self._tell(found, self.faults(number))
        return found

    def _params(self, number: int) -> Mapping[str, str]:
        units = self.group.units
        if not units:
            return self.group.params
        return {**self.group.params, self._unit_param: str(units[(number - self.first) % len(units)])}

    def url(self, number: int) -> str:
        """How a head-end reaches a meter."""
        group = self.group
        meter = Meter(
            id=self.name(number),
            protocol=group.profile.protocol,
            framing=self.framing,
            endpoint=self._endpoint(number),
            params=self._params(number),
            profile_id=group.profile.id if group.in_library else "",
        )
        return format_url(meter)

    def roster(self) -> Iterator[FleetMeter]:
        """How to reach each meter."""
        group = self.group
        for number in self.numbers:
            yield FleetMeter(
                url=self.url(number), profile=group.profile.id, name=self.name(number), secrets=group.secrets
            )

    def _endpoint(self, number: int) -> Endpoint:
        """Where a head-end reaches a meter: at its address, or over the call of the first meter of its line."""
        if self.group.dial is None:
            host = str(IPv4Address(self.address(number)))
            return Endpoint(kind=EndpointKind.TCP, host=host, port=self.port)
        return Endpoint(kind=EndpointKind.INBOUND, host=self.says(number - (number - self.first) % self.width))

    # --- what is wrong ---

    def check(self, fault: Fault) -> None:
        """Raise ConfigError for a fault that these meters cannot have."""
        if fault.kind is FaultKind.REJECT:
            self._driver.check_params({"auth": "lls"})

    def faults(self, number: int) -> tuple[Fault, ...]:
        """What is wrong with a meter: as was said while it ran, else the first of the group's faults that strikes it."""
        changed = self._changed.get(number)
        if changed is not None:
            return changed
        for index, fault in enumerate(self.group.faults):
            if fault.strikes(self._seed + index, number):
                return (fault,)
        return ()

    def afflict(self, changes: Mapping[int, tuple[Fault, ...]]) -> None:
        """From now on these meters have these faults and no others, on open links too."""
        self._changed.update(changes)
        addresses = {self.address(number) for number in changes}
        for number, faults in changes.items():
            if number in self._meters:
                self._tell(self._meters[number], faults)
        for address in addresses:
            self.seats.stand(address)
        for wire in list(self._wires):
            if wire.address in addresses and wire.is_open:
                faults = self.faults(self._first_at(wire.address))
                if self.seats.enter(wire.address, wire, faults) is Entry.DROPPED:
                    wire.abort()
                wire.afflict(faults)

    def _tell(self, meter: VirtualMeter, faults: Collection[Fault]) -> None:
        """Let a meter know what is wrong with it."""
        params, secrets = self._params(meter.number), self.group.secrets
        kinds = {fault.kind for fault in faults}
        jump = round(1000 * sum(fault.seconds for fault in faults if fault.kind is FaultKind.CLOCK_JUMP))
        if kinds or meter.ills:
            meter.suffer(kinds, jump)
        if FaultKind.REJECT in kinds:
            params, secrets = {**params, "auth": "lls"}, {**secrets, "secret": _NOBODY_KNOWS}
        if params != meter.params or secrets != meter.secrets:
            meter.params, meter.secrets, meter.keyring = params, secrets, None

    def reboot(self, address: int, seconds: float) -> None:
        """The meters behind an address drop their links and are away for a time."""
        self.seats.reboot(address, seconds)
        for meter in self.at(address):
            meter.reboot()
        self._hang_up({address})

    def switch(self, numbers: Collection[int], *, on: bool) -> None:
        """Switch the power of all that is at the addresses of these meters."""
        addresses = {self.address(number) for number in numbers}
        if on:
            self.seats.off -= addresses
        else:
            self.seats.off |= addresses
            self._hang_up(addresses)
        for address in addresses & self._lines.keys():
            self._lines[address].switch(on=on)

    def is_on(self, number: int) -> bool:
        """False for a meter that was stopped."""
        return self.address(number) not in self.seats.off

    def _hang_up(self, addresses: Collection[int]) -> None:
        for wire in list(self._wires):
            if wire.address in addresses:
                wire.abort()

    # --- on the wire ---

    def serve(self, link: Link, address: int) -> None:
        """Let the meters behind an address answer on a link."""
        wire = self._wire(link, address)
        match self.seats.enter(address, wire, self.faults(self._first_at(address))):
            case Entry.DROPPED:
                link.abort()
            case Entry.UNHEARD:
                self._wires.add(wire)
                wire.deafen()
            case Entry.SERVED:
                self._wires.add(wire)
                self.answer(address, wire)

    def _wire(self, link: Link, address: int) -> FaultyLink:
        """A link that may be spoilt, for the meters behind an address."""
        number = self._first_at(address)
        wire = FaultyLink(link, None, self.meter(number).seed, self._spoil, home=self, address=address)
        wire.afflict(self.faults(number))
        return wire

    def answer(self, address: int, link: Link) -> None:
        """The same, on a link that is spoilt already if it is to be."""
        for meter in self.at(address):
            self._driver.serve(link, meter)

    def dial(self, dialler: Dialler, outside: Surroundings, clock: Callable[[], int]) -> None:
        """Let the meters call, if they are of those."""
        group = self.group
        if group.dial is None:
            return
        lines = self.numbers[:: self.width]
        for index, number in enumerate(lines):
            address = self.address(number)
            line = Line(
                group.dial,
                number,
                self.says(number),
                str(IPv4Address(address)),
                seed=mix(self._seed, number),
                spoil=partial(self._called, address),
                serve=partial(self.answer, address),
                around=(dialler, outside, clock),
            )
            self._lines[address] = line
            dialler.lines.append(line)
            outside.lines |= dict.fromkeys(range(number, min(number + self.width, self.numbers.stop)), line)
            if address not in self.seats.off:
                line.start(index / len(lines))

    def _called(self, address: int, link: Link) -> Link:
        """The link of a call, spoilt as its meters are."""
        wire = self._wire(link, address)
        self._wires.add(wire)
        return wire


def _framing(group: Group) -> tuple[str, str]:
    """The framing of a group, the usual one unless it says, and the parameter that tells its units apart."""
    known = {
        framing: path_param
        for protocol, framing, kind, _, path_param in SCHEMES.values()
        if protocol == group.profile.protocol and kind is EndpointKind.TCP
    }
    framing = group.framing or next(iter(known), "")
    if framing not in known:
        raise ConfigError(
            f"{group.profile.protocol} has no framing {framing!r} over TCP", hint="one of " + ", ".join(known)
        )
    return framing, known[framing]

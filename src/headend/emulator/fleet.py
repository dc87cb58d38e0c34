"""Fleets of virtual meters on loopback addresses: one wildcard listener per port, no task and no timer per meter.

The meters of a group that dials in are not listened for: each calls the head-end from its own address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from headend.drivers.base import Driver
from headend.drivers.calling import Dialogue
from headend.drivers.registry import driver
from headend.emulator.dialling import Dial, Dialler, Line
from headend.emulator.faults import Fault, FaultKind, FaultyLink
from headend.emulator.meter import MeterKind, VirtualMeter, fill
from headend.emulator.outside import Surroundings
from headend.emulator.shape import mix
from headend.errors import ConfigError, LocalProtocolError
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter, Secret
from headend.model.profile import MeterProfile
from headend.model.url import SCHEMES, format_url
from headend.transport.link import Link
from headend.transport.tcp import AcceptedLink, ListenLimits, TcpListener, listen_tcp

_WILDCARD: Final = "0.0.0.0"  # noqa: S104 - the limits keep it to loopback
_NO_SECRETS: Final[Mapping[str, Secret]] = {}
_NOBODY_KNOWS: Final = Secret(b"\x00nobody knows this\x00")


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Meters of one kind at consecutive addresses, `units` of them behind each address where the protocol has units.

    `params` and `secrets` are those that a head-end needs. Port 0 takes any free one. `kind` are the arguments of MeterKind.
    With `dial` the meters call the head-end, those behind one address with one connection; `number` is what they log in as, or
    what the head-end knows a meter by that does not log in. Without it that is the serial number, or the logical device name.
    """

    profile: MeterProfile
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


class Fleet:
    """Virtual meters and the listeners that answer for them. Meters come into being when somebody connects to them."""

    def __init__(self, groups: Sequence[Group], *, seed: int = 0, clock: Callable[[], int] = wall_clock) -> None:
        """Raises ConfigError for groups that cannot be: unknown framings, addresses that are taken twice …."""
        self._groups: list[_Placed] = []
        first = 1
        for group in groups:
            self._groups.append(_Placed(group, first, seed, clock))
            first += group.count
        self._listeners: list[TcpListener] = []
        self._clock = clock
        self._outside: Surroundings | None = None
        self._dialler: Dialler | None = None
        self._refuse_overlaps()

    def __len__(self) -> int:
        return sum(placed.group.count for placed in self._groups)

    def _refuse_overlaps(self) -> None:
        listening = [placed for placed in self._groups if placed.group.dial is None]
        for index, one in enumerate(listening):
            for other in listening[index + 1 :]:
                if one.group.port == other.group.port != 0 and one.low <= other.high and other.low <= one.high:
                    raise ConfigError(
                        f"two groups have meters at {IPv4Address(max(one.low, other.low))}:{one.group.port}",
                        hint="give the second group another first_address or port",
                    )

    async def start(self) -> None:
        """Listen, once for each port and on loopback only, and let the others dial. Raises ConfigError when a port is taken."""
        ports: dict[int, list[_Placed]] = {}
        try:
            for placed in self._groups:
                if placed.group.dial is not None:
                    continue
                if placed.group.port:
                    ports.setdefault(placed.group.port, []).append(placed)
                else:
                    await self._listen([placed], 0)
            for port, groups in ports.items():
                await self._listen(groups, port)
        except BaseException:
            await self.aclose()
            raise
        self._outside = Surroundings(self._clock)
        self._dialler = Dialler()
        for placed in self._groups:
            placed.begin(self._outside)
        for placed in self._groups:
            placed.dial(self._dialler, self._outside, self._clock)

    async def _listen(self, groups: list[_Placed], port: int) -> None:
        limits = ListenLimits(loopback=True)
        listener = await listen_tcp(_WILDCARD, port, partial(_answer, groups), limits)
        self._listeners.append(listener)
        for placed in groups:
            placed.port = listener.port

    async def aclose(self) -> None:
        """Stop listening and drop all links; the meters keep what was done to them."""
        outside, self._outside = self._outside, None
        dialler, self._dialler = self._dialler, None
        if dialler is not None:
            await dialler.aclose()
        if outside is not None:
            await outside.aclose()
        for placed in self._groups:
            placed.begin(None)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.aclose()

    @property
    def links(self) -> int:
        """How many links are open."""
        dialled = self._dialler.connected if self._dialler is not None else 0
        return dialled + sum(len(listener.links) for listener in self._listeners)

    def meter(self, number: int) -> VirtualMeter:
        """The meter of a number, from 1; the same one as on the wire."""
        for placed in self._groups:
            if placed.first <= number < placed.first + placed.group.count:
                return placed.meter(number)
        raise ConfigError(f"the fleet has no meter {number}", hint=f"it has {len(self)}")

    def roster(self) -> Iterator[FleetMeter]:
        """How to reach each meter, in the order of their numbers; ports are known once the fleet has started."""
        for placed in self._groups:
            yield from placed.roster()


class _Placed:
    """A group in its place: numbers, addresses, and the meters that somebody has met so far."""

    __slots__ = (
        "_driver",
        "_kind",
        "_meters",
        "_seed",
        "_unit_param",
        "first",
        "framing",
        "group",
        "high",
        "low",
        "port",
    )

    def __init__(self, group: Group, first: int, seed: int, clock: Callable[[], int]) -> None:
        self.group = group
        self.first = first
        self.port = group.port
        self._seed = seed
        self._driver: Driver = driver(group.profile.protocol)
        self._kind = MeterKind(group.profile, clock, **group.kind)  # type: ignore[arg-type] # checked by the file reader
        self._meters: dict[int, VirtualMeter] = {}
        self.framing, self._unit_param = _framing(group)
        if group.units and not self._unit_param:
            raise ConfigError(f"{group.profile.id}: {group.profile.protocol} has no units behind one address")
        self._driver.check_params(group.params)
        if any(fault.kind is FaultKind.REJECT for fault in group.faults):
            self._driver.check_params({"auth": "lls"})
        try:
            self.low = int(IPv4Address(group.first_address))
        except ValueError:
            raise ConfigError(f"{group.first_address!r} is no address", hint="give one in 127.0.0.0/8") from None
        self.high = self.low + (group.count - 1) // max(1, len(group.units))
        if group.dial is not None and group.dial.dialogue is not None:
            for number in (first, first + group.count - 1):
                self._check_login(group.dial.dialogue, number)
        if group.count < 1 or not (self.low >> 24 == self.high >> 24 == 127):
            raise ConfigError(f"{group.profile.id}: {group.count} meters from {group.first_address} leave 127.0.0.0/8")

    def begin(self, outside: Surroundings | None) -> None:
        """Let the meters be woken and send; those of a file that says so begin with that before anybody has met them."""
        self._kind.outside = outside
        if outside is None or not self.group.profile.functions:
            return
        woken = len(outside)
        for number in range(self.first, self.first + self.group.count):
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

    def dial(self, dialler: Dialler, outside: Surroundings, clock: Callable[[], int]) -> None:
        """Let the meters call, if they are of those."""
        group, width = self.group, max(1, len(self.group.units))
        if group.dial is None:
            return
        lines = range(self.first, self.first + group.count, width)
        for index, number in enumerate(lines):
            address = self.low + index
            line = Line(
                group.dial,
                number,
                self.says(number),
                str(IPv4Address(address)),
                seed=mix(self._seed, number),
                fault=self.fault(number),
                serve=partial(self.answer, address),
                around=(dialler, outside, clock),
            )
            dialler.lines.append(line)
            outside.lines |= dict.fromkeys(range(number, min(number + width, self.first + group.count)), line)
            line.start(index / len(lines))

    def at(self, address: int) -> list[VirtualMeter]:
        """The meters behind an address."""
        width = max(1, len(self.group.units))
        start = self.first + (address - self.low) * width
        return [self.meter(number) for number in range(start, min(start + width, self.first + self.group.count))]

    def meter(self, number: int) -> VirtualMeter:
        """The meter of a number, made when first asked for."""
        found = self._meters.get(number)
        if found is None:
            params, secrets = self._params(number), self.group.secrets
            fault = self.fault(number)
            if fault is not None and fault.kind is FaultKind.REJECT:
                params, secrets = {**params, "auth": "lls"}, {**secrets, "secret": _NOBODY_KNOWS}
            found = self._meters[number] = VirtualMeter(self._kind, number, self._seed, params, secrets)
        return found

    def fault(self, number: int) -> Fault | None:
        """What is wrong with a meter."""
        for fault in self.group.faults:
            if fault.strikes(self._seed + self.group.faults.index(fault), number):
                return fault
        return None

    def _params(self, number: int) -> Mapping[str, str]:
        units = self.group.units
        if not units:
            return self.group.params
        return {**self.group.params, self._unit_param: str(units[(number - self.first) % len(units)])}

    def serve(self, link: Link, address: int) -> None:
        """Let the meters behind an address answer on a link."""
        meters = self.at(address)
        fault = self.fault(meters[0].number)
        if fault is not None:
            link = FaultyLink(link, fault, meters[0].seed)
        self.answer(address, link)

    def answer(self, address: int, link: Link) -> None:
        """The same, on a link that is spoilt already if it is to be."""
        for meter in self.at(address):
            self._driver.serve(link, meter)

    def roster(self) -> Iterator[FleetMeter]:
        """How to reach each meter."""
        group, width = self.group, max(1, len(self.group.units))
        for number in range(self.first, self.first + group.count):
            host = str(IPv4Address(self.low + (number - self.first) // width))
            name = fill(group.name, {"number": number, "profile": group.profile.id})
            meter = Meter(
                id=name,
                protocol=group.profile.protocol,
                framing=self.framing,
                endpoint=self._endpoint(number, host),
                params=self._params(number),
                profile_id=group.profile.id,
            )
            yield FleetMeter(url=format_url(meter), profile=group.profile.id, name=name, secrets=group.secrets)

    def _endpoint(self, number: int, host: str) -> Endpoint:
        """Where a head-end reaches a meter: at its address, or over the call of the first meter of its line."""
        group = self.group
        if group.dial is None:
            return Endpoint(kind=EndpointKind.TCP, host=host, port=self.port)
        first = number - (number - self.first) % max(1, len(group.units))
        return Endpoint(kind=EndpointKind.INBOUND, host=self.says(first))


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


def _answer(groups: list[_Placed], link: AcceptedLink) -> None:
    """Give an accepted link to the meters at the address that it was made to."""
    address = int(IPv4Address(link.local.rpartition(":")[0]))
    for placed in groups:
        if placed.low <= address <= placed.high:
            placed.serve(link, address)
            return
    link.abort()

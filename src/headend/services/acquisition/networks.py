"""Networks: meters that share something narrow (a cell, a modem pool, an operator's core), and how much it bears at once.

A meter belongs to the networks that its address or one of its tags names. What a network allows is asked in the lane: a place
among the sessions at work before a job begins, a place among the links and a moment to connect before one is opened. A pattern of
tags that ends in `*` makes a network of each tag that fits it: `cell=*` limits every cell by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from headend import telemetry
from headend.errors import Busy, ConfigError, LinkTimeout
from headend.model.meter import NO_PARAMS, Meter
from headend.model.reading import Value
from headend.model.recovery import DEFAULT
from headend.services.acquisition.party import PartyLine
from headend.services.acquisition.turns import Priority
from headend.transport.deadline import Sweeper

MAX_WAITING: Final = 10_000
"""jobs that may wait for one network"""
_IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Pace:
    """Lets `rate` things a second happen, a tenth of a second's worth of them at once. Pure."""

    __slots__ = ("_interval", "_next")

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._next = 0.0

    def reserve(self, now: float) -> float:
        """Take the next place; returns how many seconds to wait for it."""
        self._next = max(self._next + self._interval, now - 0.1)
        return max(0.0, self._next - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network as the settings name it; a limit of 0 is none."""

    name: str
    cidrs: tuple[_IpNetwork, ...] = ()
    tags: tuple[str, ...] = ()
    at_once: int = 0
    connects_per_second: float = 0.0
    links: int = 0
    recovery: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)

    @classmethod
    def named(cls, name: str, cidrs: Iterable[str], tags: Iterable[str], **limits: object) -> Network:
        """A network from texts; raises ConfigError."""
        try:
            parsed = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
        except ValueError as error:
            raise ConfigError(f"networks.{name}: {error}") from None
        made = cls(name=name, cidrs=parsed, tags=tuple(tags), **limits)  # type: ignore[arg-type] # of the settings
        if not (made.cidrs or made.tags):
            raise ConfigError(f"networks.{name}: no meter belongs to it", hint="say cidr, tags or both")
        try:
            DEFAULT.changed(made.recovery)
        except ConfigError as error:
            raise ConfigError(f"networks.{name}.recovery.{error}") from None
        return made


class _Waiting:
    """A job that waits for a place; the sweeper expires it."""

    __slots__ = ("deadline", "granted", "name")

    def __init__(self, name: str, deadline: float) -> None:
        self.name = name
        self.deadline = deadline
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        if not self.granted.done():
            self.granted.set_exception(LinkTimeout(f"the network {self.name} was busy until the deadline"))


class Places:
    """So many at once: the most urgent first, then in the order of arrival; in a bounded queue, until their deadlines."""

    __slots__ = ("_gauge", "_name", "_order", "_queue", "_sweeper", "_waits", "limit", "taken")

    def __init__(self, name: str, what: str, limit: int, sweeper: Sweeper) -> None:
        self.limit = limit
        self.taken = 0
        self._name = name
        self._sweeper = sweeper
        self._queue: list[tuple[int, int, _Waiting]] = []
        self._order = 0
        self._gauge = telemetry.NETWORK_PLACES.labels(name, what)
        self._waits = telemetry.NETWORK_WAITS.labels(name, what)

    @property
    def free(self) -> int:
        """How many more may be taken at once."""
        return self.limit - self.taken if self.limit else 1

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    async def take(self, priority: Priority, deadline: float) -> None:
        """Take a place; raises Busy when too many wait for one, LinkTimeout when none came free in time."""
        if not self.limit or self.taken < self.limit:
            self._taken(1)
            return
        if len(self._queue) >= MAX_WAITING:
            raise Busy(f"{len(self._queue)} jobs wait for the network {self._name} already", hint="try again later")
        self._waits.inc()
        wait = _Waiting(self._name, deadline)
        self._order += 1
        heappush(self._queue, (priority, self._order, wait))
        self._sweeper.add(wait)
        try:
            await wait.granted
        except BaseException:
            granted = wait.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.give_back()
            else:
                self._queue = [each for each in self._queue if each[2] is not wait]
                heapify(self._queue)
            raise
        finally:
            self._sweeper.discard(wait)

    def give_back(self) -> None:
        """Leave a place to the most urgent of those that wait."""
        while self._queue:
            _, _, wait = heappop(self._queue)
            if not wait.granted.done():
                wait.granted.set_result(None)
                return
        self._taken(-1)

    def _taken(self, change: int) -> None:
        self.taken += change
        self._gauge.inc(change)


class Gate:
    """One network, or one cell of it, with what it bears."""

    __slots__ = ("__weakref__", "_idle", "_parked", "links", "name", "pace", "recovery", "sessions")

    def __init__(self, network: Network, sweeper: Sweeper) -> None:
        self.name = network.name
        self.recovery = network.recovery
        self.sessions = Places(network.name, "sessions", network.at_once, sweeper)
        self.links = Places(network.name, "links", network.links, sweeper)
        self.pace = Pace(network.connects_per_second) if network.connects_per_second else None
        self._parked: deque[Callable[[], bool]] = deque()
        self._idle: dict[Callable[[], None], None] = {}

    def leave(self) -> None:
        """A job has ended: the next may begin, also one that is parked."""
        self.sessions.give_back()
        self.unpark()

    def park(self, resume: Callable[[], bool]) -> None:
        """Call `resume` when there is a place; it returns False when nobody wants it any more."""
        self._parked.append(resume)

    def unpark(self) -> None:
        """Resume as many as there are places."""
        room = self.sessions.free
        while self._parked and room > 0:
            if self._parked.popleft()():
                room -= 1

    async def take_link(self, priority: Priority, deadline: float) -> None:
        """Take a place for a link; who has kept an idle one for longest is asked to close it."""
        if self.links.limit and self.links.taken >= self.links.limit:
            self._hang_up_one()
        await self.links.take(priority, deadline)

    def idle(self, hang_up: Callable[[], None]) -> None:
        """A lane with a link has nothing to do; where others wait for a link, it hangs up."""
        if self.links.limit:
            self._idle[hang_up] = None
            if self.links.waiting:
                self._hang_up_one()

    def busy(self, hang_up: Callable[[], None]) -> None:
        """It has something to do, or no link any more."""
        self._idle.pop(hang_up, None)

    def _hang_up_one(self) -> None:
        if self._idle:
            hang_up = next(iter(self._idle))
            del self._idle[hang_up]
            hang_up()


async def enter(gates: Sequence[Gate], entered: list[Gate], priority: Priority, deadline: float) -> None:
    """Take a place among the sessions of each, and note it; all do so in the same order, so that nobody waits for ever."""
    for gate in gates:
        await gate.sessions.take(priority, deadline)
        entered.append(gate)


def leave(entered: list[Gate]) -> None:
    """Give all of them back."""
    while entered:
        entered.pop().leave()


async def take_links(gates: Sequence[Gate], priority: Priority, deadline: float) -> None:
    """Take a place for a link in each, or in none."""
    taken: list[Gate] = []
    try:
        for gate in gates:
            await gate.take_link(priority, deadline)
            taken.append(gate)
    except BaseException:
        give_back_links(taken)
        raise


def give_back_links(gates: Sequence[Gate]) -> None:
    """Let others have a link."""
    for gate in gates:
        gate.links.give_back()


class Berth:
    """The places that the link of a lane has in networks; `hang_up` is asked for it while the lane is idle."""

    __slots__ = ("_hang_up", "gates")

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self.gates: Sequence[Gate] = ()
        """in which it has places"""
        self._hang_up = hang_up

    def take(self, gates: Sequence[Gate], line: PartyLine) -> None:
        """The link is open, and has its places until it is gone."""
        if gates:
            self.gates, line.given_up = gates, self._free

    def busy(self) -> None:
        """The lane has something to do."""
        for gate in self.gates:
            gate.busy(self._hang_up)

    def idle(self) -> None:
        """It has not."""
        for gate in self.gates:
            gate.idle(self._hang_up)

    def _free(self) -> None:
        self.busy()
        gates, self.gates = self.gates, ()
        give_back_links(gates)


class Networks:
    """Finds the gates of a meter, by index: its tags, its address, and what they begin with."""

    def __init__(self, networks: Iterable[Network], sweeper: Sweeper) -> None:
        """Raises ConfigError when two have the same name."""
        self._sweeper = sweeper
        self._order: dict[str, int] = {}
        self._by_tag: dict[str, list[Network]] = {}
        self._by_start: dict[str, list[Network]] = {}
        self._by_prefix: dict[tuple[int, int], dict[int, list[Network]]] = {}
        self._gates: WeakValueDictionary[tuple[str, str], Gate] = WeakValueDictionary()
        for network in networks:
            if network.name in self._order:
                raise ConfigError(f"networks: two are called {network.name!r}")
            self._order[network.name] = len(self._order)
            for tag in network.tags:
                index = self._by_start if tag.endswith("*") else self._by_tag
                index.setdefault(tag.removesuffix("*"), []).append(network)
            for cidr in network.cidrs:
                level = self._by_prefix.setdefault((cidr.version, cidr.prefixlen), {})
                level.setdefault(int(cidr.network_address), []).append(network)

    def of(self, meter: Meter) -> tuple[Gate, ...]:
        """The gates of a meter, in the order in which all take their places."""
        if not self._order:
            return ()
        found: dict[tuple[str, str], Network] = {}
        for tag in meter.tags:
            for network in self._by_tag.get(tag, ()):
                found[network.name, ""] = network
            for start, networks in self._by_start.items():
                if tag.startswith(start):
                    found |= {(network.name, tag): network for network in networks}
        for network in self._of_address(meter.endpoint.host):
            found[network.name, ""] = network
        return tuple(self._gate(key, found[key]) for key in sorted(found, key=lambda key: (self._order[key[0]], key)))

    def unpark(self) -> None:
        """Let nobody be forgotten who could begin; called every second."""
        for gate in tuple(self._gates.values()):
            gate.unpark()

    def _of_address(self, host: str) -> Iterable[Network]:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        for (version, length), level in self._by_prefix.items():
            if version == address.version:
                free = address.max_prefixlen - length
                yield from level.get(int(address) >> free << free, ())

    def _gate(self, key: tuple[str, str], network: Network) -> Gate:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(network, self._sweeper)
        return gate

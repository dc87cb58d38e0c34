"""Fleets of virtual meters on loopback addresses: one wildcard listener per port, no task and no timer per meter.

The meters of a group that dials in are not listened for: each calls the head-end from its own address.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from headend.emulator.clock import FleetClock, wall_clock
from headend.emulator.control import Control
from headend.emulator.dialling import Dialler
from headend.emulator.meter import VirtualMeter
from headend.emulator.outside import Surroundings
from headend.emulator.placed import FleetMeter, Group, Placed
from headend.errors import ConfigError
from headend.transport.tcp import AcceptedLink, ListenLimits, TcpListener, listen_tcp

__all__ = ["Fleet", "FleetMeter", "Group", "wall_clock"]

_WILDCARD: Final = "0.0.0.0"  # noqa: S104 - the limits keep it to loopback


class Fleet:
    """Virtual meters and the listeners that answer for them. Meters come into being when somebody connects to them."""

    def __init__(self, groups: Sequence[Group], *, seed: int = 0, clock: Callable[[], int] = wall_clock) -> None:
        """Raises ConfigError for groups that cannot be: unknown framings, addresses that are taken twice …."""
        self.clock = clock if isinstance(clock, FleetClock) else FleetClock(wall=clock)
        self.clock.on_change = self._clock_changed
        self.groups: list[Placed] = []
        self.seed = seed
        self._next = 1
        self._listeners: list[TcpListener] = []
        self._ports: dict[int, list[Placed]] = {}
        """who answers on a listener, by its port"""
        self._outside: Surroundings | None = None
        self._dialler: Dialler | None = None
        for group in groups:
            self._place(group)

    def __len__(self) -> int:
        return sum(placed.group.count for placed in self.groups)

    @property
    def control(self) -> Control:
        """What can be done to the fleet while it runs."""
        return Control(self)

    def _place(self, group: Group) -> Placed:
        """Give a group its numbers; raises ConfigError for one that cannot be."""
        placed = Placed(group, self._next, self.seed, self.clock.reader)
        for other in self.groups:
            _refuse_overlap(placed, other)
        taken = {other.label for other in self.groups}
        labels = (f"{placed.label}-{count}" if count > 1 else placed.label for count in itertools.count(1))
        placed.label = next(label for label in labels if label not in taken)
        self.groups.append(placed)
        self._next += group.count
        return placed

    async def start(self) -> None:
        """Listen, once for each port and on loopback only, and let the others dial. Raises ConfigError when a port is taken."""
        try:
            for placed in self.groups:
                await self._listen(placed)
        except BaseException:
            await self.aclose()
            raise
        self._outside = Surroundings(self.clock)
        self._dialler = Dialler()
        for placed in self.groups:
            placed.begin(self._outside)
        for placed in self.groups:
            placed.dial(self._dialler, self._outside, self.clock)

    async def add(self, group: Group) -> Placed:
        """A group more, while the fleet runs; raises ConfigError for one that cannot be, or whose port is taken."""
        placed = self._place(group)
        try:
            await self._listen(placed)
        except BaseException:
            self.groups.remove(placed)
            raise
        if self._outside is not None and self._dialler is not None:
            placed.begin(self._outside)
            placed.dial(self._dialler, self._outside, self.clock)
        return placed

    def remove(self, placed: Placed) -> None:
        """Let the meters of a group be no more. Its listener stays for those that use the port next."""
        placed.switch(placed.numbers, on=False)
        placed.begin(None)
        self.groups.remove(placed)
        if placed in self._ports.get(placed.port, ()):
            self._ports[placed.port].remove(placed)

    async def _listen(self, placed: Placed) -> None:
        """Answer for a group, with the listener of its port or a new one."""
        if placed.group.dial is not None:
            return
        found = self._ports.get(placed.group.port) if placed.group.port else None
        if found is None:
            found = []
            listener = await listen_tcp(
                _WILDCARD, placed.group.port, partial(_answer, found), ListenLimits(loopback=True)
            )
            self._listeners.append(listener)
            placed.port = listener.port
            self._ports[listener.port] = found
        found.append(placed)

    async def aclose(self) -> None:
        """Stop listening and drop all links; the meters keep what was done to them."""
        outside, self._outside = self._outside, None
        dialler, self._dialler = self._dialler, None
        if dialler is not None:
            await dialler.aclose()
        if outside is not None:
            await outside.aclose()
        for placed in self.groups:
            placed.begin(None)
        listeners, self._listeners = self._listeners, []
        self._ports.clear()
        for listener in listeners:
            await listener.aclose()

    @property
    def links(self) -> int:
        """How many links are open."""
        dialled = self._dialler.connected if self._dialler is not None else 0
        return dialled + sum(len(listener.links) for listener in self._listeners)

    def _clock_changed(self) -> None:
        for placed in self.groups:
            placed.keep_time(self.clock.reader)
        if self._outside is not None:
            self._outside.run_due()

    def meter(self, number: int) -> VirtualMeter:
        """The meter of a number, from 1; the same one as on the wire."""
        for placed in self.groups:
            if number in placed.numbers:
                return placed.meter(number)
        raise ConfigError(f"the fleet has no meter {number}", hint=f"it has {len(self)}")

    def roster(self) -> Iterator[FleetMeter]:
        """How to reach each meter, in the order of their numbers; ports are known once the fleet has started."""
        for placed in self.groups:
            yield from placed.roster()


def _refuse_overlap(one: Placed, other: Placed) -> None:
    """Two groups that listen at the same place."""
    if one.group.dial is not None or other.group.dial is not None or not one.group.port:
        return
    same_port = one.group.port in (other.group.port, other.port)
    if same_port and one.low <= other.high and other.low <= one.high:
        raise ConfigError(
            f"two groups have meters at {IPv4Address(max(one.low, other.low))}:{one.group.port}",
            hint="give the second group another first_address or port",
        )


def _answer(groups: list[Placed], link: AcceptedLink) -> None:
    """Give an accepted link to the meters at the address that it was made to."""
    address = int(IPv4Address(link.local.rpartition(":")[0]))
    for placed in groups:
        if placed.low <= address <= placed.high:
            placed.serve(link, address)
            return
    link.abort()

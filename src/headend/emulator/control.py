"""What can be done to a fleet while it runs: list, start, stop, add, break, mend, reboot, and set its clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from headend.emulator.faults.kinds import Fault, FaultKind
from headend.errors import NotFound

if TYPE_CHECKING:
    from headend.emulator.fleet import Fleet
    from headend.emulator.placed import Group, Placed

_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which meters: all of a group, those whose name has a pattern (`house-*`), those of some numbers; what is empty is any."""

    group: str = ""
    name: str = ""
    numbers: Collection[int] = ()


EVERYBODY: Final = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A group of a fleet as it is now."""

    group: str
    profile: str
    meters: int
    first_number: int
    first_url: str
    stopped: int
    faulty: int
    """meters with which something is wrong on purpose"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """A virtual meter as it is now."""

    number: int
    name: str
    url: str
    group: str
    profile: str
    running: bool
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """A fleet as it is now; `at` is what its clock shows, in milliseconds."""

    meters: int
    links: int
    at: int
    speed: float


class Control:
    """The hands on a fleet. Whatever it does, it does at once, on open links too."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    # --- what there is ---

    def state(self) -> FleetState:
        """The fleet as a whole."""
        fleet = self._fleet
        return FleetState(meters=len(fleet), links=fleet.links, at=fleet.clock(), speed=fleet.clock.speed)

    def groups(self) -> Sequence[GroupState]:
        """The groups, in the order of their numbers."""
        return [_group_state(placed) for placed in self._fleet.groups]

    def meters(self, selection: Selection = EVERYBODY, *, offset: int = 0, limit: int = _PAGE) -> Sequence[MeterState]:
        """The meters of a selection, a page of them."""
        found: list[MeterState] = []
        for placed, numbers in self._selected(selection):
            rest = max(0, limit - len(found))
            found += [_meter_state(placed, number) for number in numbers[offset : offset + rest]]
            offset = max(0, offset - len(numbers))
        return found

    def count(self, selection: Selection = EVERYBODY) -> int:
        """How many meters a selection has."""
        return sum(len(numbers) for _, numbers in self._selected(selection))

    # --- what becomes of them ---

    def break_(self, fault: Fault, selection: Selection = EVERYBODY) -> int:
        """Let the share `fault.meters` of these meters have a fault, beside those that they have; says how many.

        Which ones follows from the seed. Those behind one address share the faults of their wire: the first one's.
        Raises ConfigError for meters that cannot have it.
        """

        def changed(placed: Placed, number: int) -> tuple[Fault, ...] | None:
            if not fault.strikes(self._fleet.seed, number):
                return None
            return (*(each for each in placed.faults(number) if each.kind is not fault.kind), fault)

        for placed, numbers in self._selected(selection):
            if numbers:
                placed.check(fault)
        return self._change(selection, changed)

    def mend(self, selection: Selection = EVERYBODY, kinds: Collection[FaultKind] = ()) -> int:
        """Take faults away from meters, all of them unless kinds are given; says how many had any of these."""

        def changed(placed: Placed, number: int) -> tuple[Fault, ...] | None:
            before = placed.faults(number)
            after = tuple(fault for fault in before if kinds and fault.kind not in kinds)
            return None if after == before else after

        return self._change(selection, changed)

    def _change(self, selection: Selection, changed: Callable[[Placed, int], tuple[Fault, ...] | None]) -> int:
        count = 0
        for placed, numbers in self._selected(selection):
            changes = {number: now for number in numbers if (now := changed(placed, number)) is not None}
            placed.afflict(changes)
            count += len(changes)
        return count

    def stop(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters off: they drop their links and take no others. Those behind one address go together."""
        return self._switch(selection, on=False)

    def start(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters on again; says how many were off."""
        return self._switch(selection, on=True)

    def _switch(self, selection: Selection, *, on: bool) -> int:
        count = 0
        for placed, numbers in self._selected(selection):
            before = [number for number in numbers if placed.is_on(number) is not on]
            placed.switch(before, on=on)
            count += len(before)
        return count

    def reboot(self, selection: Selection = EVERYBODY, seconds: float = 10.0) -> int:
        """Reboot meters: they drop their links and say nothing on new ones for so many seconds."""
        count = 0
        for placed, numbers in self._selected(selection):
            for address in {placed.address(number) for number in numbers}:
                placed.reboot(address, seconds)
            count += len(numbers)
        return count

    def set_clock(self, *, at: int | None = None, speed: float | None = None) -> FleetState:
        """Let the fleet's clock show another time, or run at another speed. Raises ConfigError for a speed that cannot be."""
        self._fleet.clock.set(at=at, speed=speed)
        return self.state()

    async def add(self, group: Group) -> GroupState:
        """Let there be more meters. Raises ConfigError for a group that cannot be."""
        return _group_state(await self._fleet.add(group))

    def remove(self, group: str) -> int:
        """Let the meters of a group be no more; says how many there were. Raises NotFound."""
        found = [placed for placed in self._fleet.groups if placed.label == group]
        if not found:
            raise NotFound(f"the fleet has no group {group!r}")
        for placed in found:
            self._fleet.remove(placed)
        return sum(placed.group.count for placed in found)

    def _selected(self, selection: Selection) -> Iterator[tuple[Placed, Sequence[int]]]:
        """The meters of a selection, by group. Raises NotFound for a group that there is not."""
        groups = [placed for placed in self._fleet.groups if selection.group in ("", placed.label)]
        if selection.group and not groups:
            raise NotFound(
                f"the fleet has no group {selection.group!r}",
                hint="one of " + ", ".join(placed.label for placed in self._fleet.groups),
            )
        matches = re.compile(translate(selection.name)).match if selection.name else None
        wanted = frozenset(selection.numbers)
        for placed in groups:
            numbers: Sequence[int] = placed.numbers
            if wanted:
                numbers = [number for number in numbers if number in wanted]
            if matches is not None:
                numbers = [number for number in numbers if matches(placed.name(number))]
            yield placed, numbers


def _group_state(placed: Placed) -> GroupState:
    return GroupState(
        group=placed.label,
        profile=placed.group.profile.id,
        meters=placed.group.count,
        first_number=placed.first,
        first_url=placed.url(placed.first),
        stopped=sum(not placed.is_on(number) for number in placed.numbers),
        faulty=sum(bool(placed.faults(number)) for number in placed.numbers),
    )


def _meter_state(placed: Placed, number: int) -> MeterState:
    return MeterState(
        number=number,
        name=placed.name(number),
        url=placed.url(number),
        group=placed.label,
        profile=placed.group.profile.id,
        running=placed.is_on(number),
        faults=placed.faults(number),
    )

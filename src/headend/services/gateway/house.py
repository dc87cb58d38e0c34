"""What the gateway works with: the other parts of the head-end, and how callers are recognised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headend.drivers.base import Driver
from headend.drivers.recognition import Known, Recognised, Recogniser, Registered
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.intake import Intake
from headend.services.roster import Clock, Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The parts of the head-end that the gateway works with. `dialled_in` is told of each meter that comes, and when to ask it."""

    roster: Roster
    lanes: Lanes
    intake: Intake
    bus: Bus
    driver: Callable[[str], Driver]
    millis: Clock
    dialled_in: Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """How callers are recognised. `strict`: a login with wrong check octets says nothing of who it is."""

    known: Known
    drivers: Sequence[Driver]
    strict: bool = False

    def begin(self, limit: int) -> Recogniser:
        """For one more caller."""
        return Recogniser(self.known, self.drivers, limit=limit)

    def greeting(self, data: bytes) -> Recognised | None:
        """What says with its first octets no more and no less than a login with right check octets.

        That needs no search: of ten thousand meters that come back at once, nearly all begin so.
        """
        for registration in self.known.by_first[data[0]]:
            found = registration.match(data)
            if isinstance(found, Registered) and found.check_ok and len(found.octets) == len(data):
                return Recognised(
                    label=found.registration, protocol=found.protocol, framing=found.framing, registered=(found,)
                )
        return None

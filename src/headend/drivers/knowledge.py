"""What is known of one meter beyond a session: what its driver has learned of it, and how much it had to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONFIRMED: Final = 2
"""times that something must be seen before it is learned: a meter that answers wrongly once teaches nothing"""
MAX_STRIKES: Final = 256


class Knowledge:
    """Belongs to whoever opens sessions with the meter; each session gets the same one, and a new firmware a clean one.

    `facts` are the driver's own words, plain enough for JSON, so that they can be kept over a restart; `kept` is what the
    driver has made of them. They are bounded, and no fact may cost a value: whoever learns that something cannot be
    asked asks it again, rarely.
    """

    __slots__ = (
        "_strikes",
        "facts",
        "firmware",
        "kept",
        "requests",
        "revision",
        "scales_asked",
        "scales_used",
        "singles",
    )

    def __init__(self, facts: Mapping[str, object] | None = None, firmware: str = "") -> None:
        self.facts: dict[str, object] = dict(facts or {})
        self.firmware = firmware
        self.kept: object = None
        self.requests = 0
        """that were sent for the values of plans"""
        self.singles = 0
        """that it would have taken to ask for the same one by one"""
        self.scales_used = 0
        """scalers and units that values needed and that the meter has to tell"""
        self.scales_asked = 0
        """of them, those that it was asked for; the others were remembered"""
        self.revision = 0
        """grows with each change of the facts"""
        self._strikes: dict[object, int] = {}

    def meet(self, firmware: str) -> Knowledge:
        """The same, without what was learned of another firmware."""
        if firmware and firmware != self.firmware:
            if self.firmware:
                self.forget()
            self.firmware = firmware
            self.revision += 1
        return self

    def tell(self, name: str, fact: object) -> None:
        """Something was learned; None for what does not hold any more."""
        if self.facts.get(name) != fact:
            self.revision += 1
            self.facts[name] = fact
            if fact is None:
                del self.facts[name]

    def confirmed(self, suspicion: object, times: int = CONFIRMED) -> bool:
        """True when this was seen so often that it is to be believed."""
        if len(self._strikes) >= MAX_STRIKES:
            self._strikes.clear()
        seen = self._strikes[suspicion] = self._strikes.get(suspicion, 0) + 1
        return seen >= times

    def refuted(self, suspicion: object) -> None:
        """It was seen not to be so."""
        self._strikes.pop(suspicion, None)

    def forget(self) -> None:
        """Learn everything anew."""
        self.revision += bool(self.facts)
        self.facts.clear()
        self._strikes.clear()
        self.kept = None

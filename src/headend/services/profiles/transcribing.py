"""Exchanges with a real meter, as tests of its meter file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headend.drivers.base import Session
from headend.drivers.mapping import scale
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.profile import MeterProfile, ProfileTest
from headend.services.profiles.trying import odd
from headend.transport.link import Link, Tap

MOST: Final = 12
"""exchanges that are kept of one meter"""
_RECEIVED: Final = "<<"


class Tape:
    """What goes over a link, as a tap of it; what was there before goes on hearing it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self._before: Tap | None = None

    def __call__(self, direction: str, data: bytes) -> None:
        """Keep a piece."""
        if self._before is not None:
            self._before(direction, data)
        kept = self.received if direction == _RECEIVED else self.sent
        kept += data

    def clear(self) -> None:
        """Begin anew."""
        self.sent.clear()
        self.received.clear()

    def join(self, link: Link) -> None:
        """Hear a link."""
        self._before = link.tap
        link.tap = self

    def leave(self, link: Link) -> None:
        """Hear it no more."""
        if link.tap is self:
            link.tap = self._before


async def transcribe(
    profile: MeterProfile, session: Session, tape: Tape, framing: str, day: str
) -> Sequence[ProfileTest]:
    """Read what is polled, each object alone, and keep question, answer and reading of those that answer well."""
    found = []
    for entry in _worth(profile.objects):
        plan = ReadPlan(entries=(entry,))
        await session.read(plan)  # asks for scalers, too, where the meter tells them
        tape.clear()
        result = await session.read(plan)
        if result.errors:
            continue
        value = scale(result.values[0], result.exponents[0] if result.exponents else entry.exponent)
        told = result.units[0] if result.units and entry.scaler is None else ""
        if value is None or odd(entry, value, told) or not (tape.sent and tape.received):
            continue
        found.append(
            ProfileTest(
                name=f"{entry.quantity}, read from a meter on {day}",
                framing=framing,
                request=bytes(tape.sent),
                response=bytes(tape.received),
                readings={entry.quantity: value},
            )
        )
        if len(found) == MOST:
            break
    return found


def _worth(entries: Sequence[ObjectEntry]) -> Sequence[ObjectEntry]:
    """Amounts that are polled: nothing of them tells which meter it was."""
    return [entry for entry in entries if entry.poll and entry.quantity and entry.quantity != "meter_time"]

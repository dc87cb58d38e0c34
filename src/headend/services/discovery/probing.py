"""Probing: which objects of a long list a meter answers, asked one by one, politely.

A probe only reads. It keeps to a rate, opens a session anew after a number of requests, and ends at the first sign that the
meter defends itself: a refused association or secret, or several objects in a row that cost the session. What was found is
noted after every request, so that a probe goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from headend.drivers.base import Session
from headend.drivers.mapping import scale
from headend.errors import (
    AssociationRejected,
    CapabilityError,
    HeadendError,
    LinkError,
    MeterError,
    ProtocolError,
    SecurityError,
)
from headend.model.objects import ObjectEntry, RawValue, ReadPlan
from headend.model.reading import Value

SHOWN: Final = 64
"""octets or elements of a value that are noted"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLimits:
    """How politely: requests a second, requests of one session, seconds between sessions, lost sessions that end it."""

    rate: float = 5.0
    per_session: int = 200
    pause: float = 2.0
    lost_sessions: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one object answered: its value, or the code of the error."""

    ref: str
    value: Value | None = None
    unit: str = ""
    error: str = ""


@dataclass(slots=True, kw_only=True)
class ProbeReport:
    """How a probe ended; `stopped` says why before its end."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: int = 0
    sessions: int = 0
    stopped: str = ""

    @property
    def found(self) -> Sequence[Answer]:
        """Those that hold a value."""
        return [answer for answer in self.answers.values() if not answer.error]


class Probe:
    """One probe of one meter. `session` opens one, or raises what keeps it from being opened."""

    def __init__(
        self,
        session: Callable[[], AbstractAsyncContextManager[Session]],
        *,
        sleep: Callable[[float], Awaitable[None]],
        note: Callable[[Answer], None],
        limits: ProbeLimits | None = None,
        known: Mapping[str, Answer] | None = None,
    ) -> None:
        """`known` are answers of an earlier run: they are not asked for again."""
        self._open = session
        self._sleep = sleep
        self._note = note
        self.limits = limits or ProbeLimits()
        self.report = ProbeReport(answers=dict(known or {}))
        self._session: Session | None = None
        self._opened = AsyncExitStack()
        self._left = 0
        self._lost = 0

    async def run(self, candidates: Iterable[ObjectEntry]) -> ProbeReport:
        """Ask for all candidates that are not known yet, until the end or a sign of distress."""
        try:
            for entry in candidates:
                if str(entry.ref) not in self.report.answers and not await self._ask(entry):
                    break
        finally:
            await self._close()
        return self.report

    async def _ask(self, entry: ObjectEntry) -> bool:
        """Ask for one object; False when the probe is to end."""
        try:
            session = await self._ready()
        except HeadendError as error:
            return self._stop(f"no session could be opened: {error}")
        await self._sleep(1.0 / self.limits.rate)
        self._left -= 1
        self.report.asked += 1
        try:
            result = await session.read(ReadPlan(entries=(entry,)))
            failure = result.errors.get(0)
            unit = result.units[0] if result.units else ""
            exponent = result.exponents[0] if result.exponents else entry.exponent
            answer = Answer(ref=str(entry.ref), value=shown(result.values[0], exponent), unit=unit or entry.unit)
        except HeadendError as error:
            failure = error
        if failure is not None:
            answer = Answer(ref=str(entry.ref), error=failure.code)
            if isinstance(failure, SecurityError | AssociationRejected):
                return self._stop(f"the meter defends itself: {failure}")
            if not isinstance(failure, MeterError | CapabilityError):
                await self._close()
                if not self._may_go_on(failure):
                    return False
        if failure is None or isinstance(failure, MeterError):
            self._lost = 0
        self.report.answers[answer.ref] = answer
        self._note(answer)
        return True

    def _may_go_on(self, failure: HeadendError) -> bool:
        """An object may cost a session once in a while, as broken meters do; several in a row are a sign."""
        if not isinstance(failure, LinkError | ProtocolError):
            return self._stop(str(failure))
        self._lost += 1
        if self._lost >= self.limits.lost_sessions:
            return self._stop(f"{self._lost} objects in a row cost the session: {failure}")
        return True

    def _stop(self, reason: str) -> bool:
        self.report.stopped = reason
        return False

    async def _ready(self) -> Session:
        """The session, opened anew where it has served its time or is not sound."""
        if self._session is not None and (self._left <= 0 or not self._session.sound):
            await self._close()
        if self._session is None:
            if self.report.sessions:
                await self._sleep(self.limits.pause)
            self._session = await self._opened.enter_async_context(self._open())
            self.report.sessions += 1
            self._left = self.limits.per_session
        return self._session

    async def _close(self) -> None:
        self._session = None
        await self._opened.aclose()


def shown(raw: RawValue, exponent: int) -> Value | None:
    """A value short enough to be noted: octets in hexadecimal, of structures how many elements they have."""
    if isinstance(raw, bytes):
        return raw[:SHOWN].hex()
    if isinstance(raw, list):
        return f"{len(raw)} elements"
    value = scale(raw, exponent)
    return value[:SHOWN] if isinstance(value, str) else value

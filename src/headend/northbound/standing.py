"""How a sink is doing: figures for people and metrics, and the events that say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from headend import telemetry
from headend.model.delivery import SinkState
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Extent
from headend.model.reading import Value
from headend.services.roster import Clock

BETWEEN_MS: Final = 60_000
"""between two events that say the same thing; in between it is counted"""
LOSSES_MS: Final = 3_600_000
"""between two events that tell of losses: where they begin, they go on"""

log = structlog.get_logger(__name__)


class _Counted:
    """Says something at once, and then only from time to time, with how often it came to pass."""

    def __init__(self, clock: Clock, between_ms: int = BETWEEN_MS) -> None:
        self._clock = clock
        self._between = between_ms
        self._told: int | None = None
        self._count = 0

    def add(self, count: int) -> int:
        """How many are to be told of now; 0: not yet."""
        self._count += count
        now = self._clock()
        if not self._count or (self._told is not None and now - self._told < self._between):
            return 0
        self._told, told, self._count = now, self._count, 0
        return told


class Losses:
    """What went before a sink had it: counted, and told."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        publish: Callable[[Event], None],
        *,
        between_ms: int = LOSSES_MS,
        severity: Severity = Severity.CRITICAL,
    ) -> None:
        self.count = 0
        self.first: int | None = None
        """when the first of them was stored"""
        self.last: int | None = None
        """when the last of them was stored"""
        self._name = name
        self._clock = clock
        self._publish = publish
        self._severity = severity
        self._untold = _Counted(clock, between_ms)
        self._untold_first: int | None = None
        self._metric = telemetry.SINK_MESSAGES.labels(name, "lost")

    def add(self, lost: Extent) -> None:
        """So much more is gone; with nothing more, what was not told yet may be due."""
        if lost.entries:
            self.count += lost.entries
            self.first = lost.first if self.first is None else self.first
            self._untold_first = lost.first if self._untold_first is None else self._untold_first
            self.last = lost.last
            self._metric.inc(lost.entries)
        if told := self._untold.add(lost.entries):
            first, self._untold_first = self._untold_first, None
            log.error("entries are gone before a sink had them", sink=self._name, count=told)
            data: dict[str, Value] = {"sink": self._name, "count": told}
            if first is not None and self.last is not None:
                data |= {"first": first, "last": self.last}
            self._publish(
                Event(type=EventType.DELIVERY_LOST, severity=self._severity, occurred_at=self._clock(), data=data)
            )


class Standing:
    """Counts for one sink."""

    def __init__(self, name: str, kind: str, clock: Clock, publish: Callable[[Event], None]) -> None:
        self.name = name
        self.kind = kind
        self.backlog = 0
        """entries that wait in the journal"""
        self.flying = 0
        """entries of the live group that is under way"""
        self.live_since: int | None = None
        """when the oldest live entry was stored"""
        self.late_since: int | None = None
        """when the oldest entry of the backlog was stored"""
        self.delivered = 0
        self.moves = 0
        """how often something got on: entries were taken, or refused, or a channel that paces itself sent a part of them"""
        self.mute = False
        """it is there, and let the time pass without an answer; nothing got on since"""
        self.counts = dict.fromkeys(("refused", "failed"), 0)
        self.connections = 0
        self._clock = clock
        self._publish = publish
        self._since: int | None = None
        self._error = ""
        self._error_at: int | None = None
        self._away_since: int | None = None
        self._away_told: int | None = None
        self._told_away = False
        self._refusals, self._stuck = _Counted(clock), _Counted(clock)
        self.losses = Losses(name, clock, publish)
        self._minute: deque[int] = deque([0], maxlen=61)
        results = ("delivered", "refused", "failed")
        self._metrics = {result: telemetry.SINK_MESSAGES.labels(name, result) for result in results}
        self._connected = telemetry.SINK_CONNECTED.labels(name)
        self._connected.set(0)
        self._opened = telemetry.SINK_CONNECTIONS.labels(name)
        self._gauges = telemetry.SINK_BACKLOG.labels(name), telemetry.SINK_LAG.labels(name)

    def here(self) -> None:
        """The connection stands."""
        now = self._clock()
        self._since = now
        self.connections += 1
        self._opened.inc()
        self._connected.set(1)
        log.info("sink connected", sink=self.name, backlog=self.backlog)
        if self._away_since is not None:
            seconds, self._away_since = (now - self._away_since) // 1000, None
            if self._told_away:
                self._told_away = False
                self._tell(EventType.SINK_BACK, Severity.INFO, seconds=seconds, entries=self.backlog)

    def gone(self) -> None:
        """The connection stands no longer."""
        self._since = None
        self.live_since = None
        self._connected.set(0)

    def away(self, reason: str) -> None:
        """It cannot be reached, or went; said once, and not each time where it comes and goes."""
        now = self._clock()
        self._error, self._error_at = reason, now
        if self._away_since is not None:
            return
        self._away_since = now
        log.warning("sink away", sink=self.name, reason=reason)
        if self._away_told is None or now - self._away_told >= BETWEEN_MS:
            self._away_told, self._told_away = now, True
            self._tell(EventType.SINK_AWAY, Severity.WARNING, reason=reason)

    def confirmed(self, count: int) -> None:
        """It has so many more entries."""
        self.delivered += count
        self.moved()
        self._metrics["delivered"].inc(count)

    def moved(self) -> None:
        """Something got on."""
        self.moves += 1
        self.mute = False

    def failed(self, count: int) -> None:
        """Nobody knows whether it has them: they come again."""
        self._count("failed", count)

    def refused(self, entry_id: str, reason: str) -> None:
        """An entry was set aside."""
        self.moved()
        self._count("refused", 1)
        self._error, self._error_at = f"refused: {reason}", self._clock()
        if told := self._refusals.add(1):
            log.warning("sink refuses what it is given", sink=self.name, entry=entry_id, reason=reason, count=told)
            self._tell(EventType.SINK_REFUSED, Severity.WARNING, entry=entry_id, reason=reason, count=told)

    def stuck(self, seconds: float, entries: int) -> None:
        """It did not confirm what it was given."""
        self.mute = True
        if self._stuck.add(1):
            self._tell(EventType.SINK_STUCK, Severity.WARNING, seconds=seconds, entries=entries)

    def tick(self) -> None:
        """A second has passed."""
        self._minute.append(self.delivered)
        backlog, lag = self._gauges
        backlog.set(self.backlog)
        lag.set(self.lag_seconds)
        self.losses.add(Extent())

    @property
    def oldest(self) -> int | None:
        """When the oldest entry was stored that it does not have."""
        return min((each for each in (self.live_since, self.late_since) if each is not None), default=None)

    @property
    def lag_seconds(self) -> float:
        """How long that is ago; 0 where it has everything."""
        oldest = self.oldest
        return 0.0 if oldest is None else max(0, self._clock() - oldest) / 1000

    def state(self) -> SinkState:
        """All of it."""
        return SinkState(
            name=self.name,
            kind=self.kind,
            enabled=True,
            connected_since=self._since,
            last_error=self._error,
            last_error_at=self._error_at,
            delivered=self.delivered,
            **self.counts,
            lost=self.losses.count,
            lost_from=self.losses.first,
            lost_until=self.losses.last,
            backlog=self.backlog + self.flying,
            oldest=self.oldest,
            lag_seconds=self.lag_seconds,
            per_minute=self.delivered - self._minute[0],
            connections=self.connections,
        )

    def _count(self, result: str, count: int) -> None:
        self.counts[result] += count
        self._metrics[result].inc(count)

    def _tell(self, kind: EventType, severity: Severity, **data: Value) -> None:
        self._publish(Event(type=kind, severity=severity, occurred_at=self._clock(), data={"sink": self.name, **data}))

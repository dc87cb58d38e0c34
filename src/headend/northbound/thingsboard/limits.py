"""The limits of the platform: read from its answer, and kept.

It counts with token buckets, written `N:SECONDS,N:SECONDS`: each holds N, and refills evenly within its seconds. We keep to a
share of them (80 %, as the platform's own client does), so that messages which the network delays and delivers together do not
break a limit that we kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from headend.errors import ConfigError

MAX_PAYLOAD: Final = 65_536
"""octets that the platform takes when it is not told otherwise"""
INFLIGHT: Final = 100
SHARE: Final = 0.8
MOMENT: Final = 1e-6
"""seconds that are not worth waiting"""
PUBLIC: Final = frozenset({"thingsboard.cloud", "eu.thingsboard.cloud", "demo.thingsboard.io"})
"""Public installations, of which it is known how little they take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How much of each kind is taken: pairs of a number and the seconds that it is for; none: as much as you like."""

    messages: tuple[tuple[int, float], ...] = ()
    telemetry: tuple[tuple[int, float], ...] = ()
    points: tuple[tuple[int, float], ...] = ()


PUBLIC_RATES: Final = Rates(
    messages=((10, 1.0), (60, 60.0)), telemetry=((10, 1.0), (60, 60.0)), points=((10, 1.0), (300, 60.0))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may do: `own` counts what the device says for itself, `gateway` what it says for others."""

    max_payload: int = MAX_PAYLOAD
    inflight: int = INFLIGHT
    own: Rates = field(default_factory=Rates)
    gateway: Rates = field(default_factory=Rates)


def parse_rate(text: str) -> tuple[tuple[int, float], ...]:
    """`10:1,60:60`; an empty text, and zeros, are no limit. Raises ConfigError."""
    pairs = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        number, _, seconds = part.partition(":")
        try:
            pair = int(number), float(seconds)
        except ValueError:
            raise ConfigError(f"expected limits like 10:1,300:60, got {text!r}") from None
        if min(pair) < 0:
            raise ConfigError(f"expected limits above zero, got {text!r}")
        if min(pair) > 0:
            pairs.append(pair)
    return tuple(pairs)


def parse_limits(answer: object, fallback: Limits) -> Limits:
    """What the platform answered to `getSessionLimits`; what it does not say, or says oddly, is as in `fallback`."""
    if not isinstance(answer, Mapping) or not ({"rateLimits", "maxPayloadSize", "gatewayRateLimits"} & set(answer)):
        return fallback
    own = _rates(answer.get("rateLimits"), fallback.own)
    return Limits(
        max_payload=_whole(answer.get("maxPayloadSize"), fallback.max_payload),
        inflight=_whole(answer.get("maxInflightMessages"), fallback.inflight),
        own=own,
        gateway=_rates(answer.get("gatewayRateLimits"), own if "rateLimits" in answer else fallback.gateway),
    )


def _rates(said: object, fallback: Rates) -> Rates:
    if not isinstance(said, Mapping):
        return fallback
    return Rates(
        messages=_rate(said, "messages", fallback.messages),
        telemetry=_rate(said, "telemetryMessages", fallback.telemetry),
        points=_rate(said, "telemetryDataPoints", fallback.points),
    )


def _rate(said: Mapping[str, Any], name: str, fallback: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    value = said.get(name)
    try:
        return parse_rate(value) if isinstance(value, str) else () if name in said else fallback
    except ConfigError:
        return fallback


def _whole(value: object, fallback: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else fallback


class Bucket:
    """So many in so many seconds, from a bucket that refills evenly; times are seconds of any clock."""

    def __init__(self, size: float, seconds: float) -> None:
        self.size = max(size, 1.0)
        self._rate = self.size / seconds
        self._level = self.size
        self._at: float | None = None

    def pause(self, now: float, wanted: float) -> float:
        """Seconds until there are that many, or the bucket is full."""
        if self._at is not None:
            self._level = min(self.size, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        pause = (min(wanted, self.size) - self._level) / self._rate
        return pause if pause > MOMENT else 0.0

    def take(self, wanted: float) -> None:
        """Take them; `pause` said that they are there."""
        self._level -= wanted

    def drain(self) -> None:
        """The other side says that there are none left."""
        self._level = min(self._level, 0.0)


class Limiter:
    """Lets messages go as the limits allow, live ones ahead of late ones. Outlives connections, as the platform's count does."""

    def __init__(
        self,
        share: float = SHARE,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._share = share
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._sleep = sleep
        self._rates = Rates()
        self._messages: Sequence[Bucket] = ()
        self._telemetry: Sequence[Bucket] = ()
        self._points: Sequence[Bucket] = ()
        self._turn = asyncio.Lock()
        self._live = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.waited = 0.0
        """seconds, altogether"""

    def keep(self, rates: Rates) -> None:
        """Keep to these from now on; the count goes on where they are the same as before."""
        if rates != self._rates:
            self._rates = rates
            self._messages, self._telemetry, self._points = (
                [Bucket(number * self._share, seconds) for number, seconds in pairs]
                for pairs in (rates.messages, rates.telemetry, rates.points)
            )

    @property
    def points_at_once(self) -> int:
        """Data points that one message may have."""
        return max(1, int(min((bucket.size for bucket in self._points), default=1_000_000)))

    async def pass_message(self, *, late: bool = False) -> None:
        """Wait until a message may go that is no telemetry."""
        if self._messages:
            await self._pass([(bucket, 1) for bucket in self._messages], late=late)

    async def pass_telemetry(self, points: int, *, late: bool = False) -> None:
        """Wait until a message with so many data points may go."""
        if self._telemetry or self._points:
            one = [(bucket, 1) for bucket in self._telemetry]
            await self._pass(one + [(bucket, points) for bucket in self._points], late=late)

    def exhausted(self) -> None:
        """The platform says that there was too much."""
        for bucket in (*self._messages, *self._telemetry, *self._points):
            bucket.drain()

    async def _pass(self, wanted: Sequence[tuple[Bucket, int]], *, late: bool) -> None:
        while late and self._live:
            await self._quiet.wait()
        if not late:
            self._live += 1
            self._quiet.clear()
        try:
            async with self._turn:
                while (pause := max(bucket.pause(self._clock(), number) for bucket, number in wanted)) > 0:
                    self.waited += pause
                    await self._sleep(pause)
                for bucket, number in wanted:
                    bucket.take(number)
        finally:
            if not late:
                self._live -= 1
                if not self._live:
                    self._quiet.set()

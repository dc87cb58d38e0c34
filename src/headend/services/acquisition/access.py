"""What lanes have in common: how meters are reached, who is told, and what went over all wires."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from headend.drivers.base import Driver, Notification, Secrets
from headend.errors import HeadendError
from headend.model.meter import Endpoint, Meter
from headend.model.profile import MeterProfile
from headend.model.recovery import Recovery
from headend.services.acquisition.mending import Teller
from headend.services.roster import MeterState, Roster
from headend.transport.deadline import Sweeper
from headend.transport.link import Link


@dataclass(slots=True)
class Octets:
    """What went over all lanes since somebody asked."""

    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that a lane needs to reach meters."""

    open_link: Callable[[Endpoint, float], Awaitable[Link]]
    """open a link within a number of seconds; raises LinkError"""
    driver: Callable[[str], Driver]
    profile: Callable[[Meter], MeterProfile | None]
    """raises NotFound or ConfigError where the meter names a profile that is not there"""
    secrets: Callable[[Meter], Awaitable[Secrets]]
    roster: Roster
    sweeper: Sweeper
    time: Callable[[], float]
    """the event loop's"""
    reserve: Callable[[float], float]
    """take a place among the links to open; returns how many seconds to wait for it"""
    trying: Callable[[Meter, Secrets], AbstractAsyncContextManager[None]]
    """what a session is opened in; raises AuthenticationFailed for secrets that the meter has refused before"""
    refused: Callable[[Meter, HeadendError], Awaitable[None]]
    """told what a session has ended in"""
    connect_timeout: float
    request_timeout: float
    heard: Callable[[MeterState, Sequence[Notification]], None]
    """told what a meter said unasked"""
    spawn: Callable[[Coroutine[Any, Any, None], str], None]
    """run something in the background, under a name"""
    recovery: Recovery
    """what is done about failures of a wire"""
    teller: Teller
    octets: Octets = field(default_factory=Octets)
    opened: list[Callable[[str, Link], None]] = field(default_factory=list)
    """told the wire and the link of each that is opened"""

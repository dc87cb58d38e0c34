"""The sink: how one northbound system is given what is stored. What every sink implements, and what it is given to do so.

A sink only speaks: it opens a connection and delivers groups of entries over it. All that makes delivery durable is the
courier's (`headend.northbound.courier`): the cursor, live entries ahead of the backlog, back-off, poison, order, filters, metrics.

A kind of sink is found by the entry point group `headend.sinks`, whose objects are of type SinkKind. Its options are a frozen
dataclass with a `description` in the metadata of each field; they are the table `[sinks.NAME]` of the settings, beside what the
courier itself understands (`kind`, `enabled`, `meters`, `quantities`, `role`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from headend.model.access import Role
from headend.model.journal import Entry
from headend.model.meter import Meter, Secret
from headend.model.profile import MeterProfile
from headend.northbound.topics import Request
from headend.services.roster import Clock, Roster

GROUP: Final = 500
"""entries that are delivered at once, at most"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that the peer will never take, and why: it is set aside, and delivery goes on."""

    number: int
    reason: str


class Channel(Protocol):
    """An open connection of a sink."""

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Bring entries to the peer; returns when it has acknowledged them all, but for those it refuses for good.

        `late` entries have waited: what a screen would take for the present is not told of them. Two calls may run at the same
        time, one with late entries and one without; within each, groups come in the order of their numbers, one after another.

        Raises SinkError when the peer is away: the whole group comes again, later or over another connection. Raises SinkRefused
        when the peer refuses the group and does not say which entry of it: the courier narrows it down.
        """
        ...

    async def attend(self) -> None:
        """Serve what the peer asks, for as long as the connection stands; raises SinkError when it is lost."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A channel to a peer that takes only so much in a second: it may take its time to deliver, as long as it gets on."""

    @property
    def progress(self) -> int:
        """How many messages the peer has acknowledged so far."""
        ...


class Sink(Protocol):
    """One northbound system."""

    def session(self) -> AbstractAsyncContextManager[Channel]:
        """Connect, and disconnect politely at the end; entering raises SinkError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a sink may use of the head-end."""

    name: str
    """of the sink, in the settings"""
    version: str
    """of the head-end"""
    roster: Roster
    profile: Callable[[Meter], MeterProfile | None]
    """the meter file of a meter; None where there is none that can be used"""
    answer: Callable[[Request], Awaitable[object]]
    """does what a request from this sink asks, with the rights of its `role`; raises errors of the tree"""
    clock: Clock
    """milliseconds since the epoch"""
    secret: Callable[[str], Secret]
    """what stands at `env:NAME` or `file:PATH`; raises ConfigError"""
    role: Role | None = None
    """of requests from this sink; without one they are refused, and a sink offers nothing that would make any"""
    meters: Callable[[Meter], bool] = lambda _meter: True
    """whether the settings let this sink know of a meter"""
    quantities: Callable[[str], bool] = lambda _quantity: True
    """whether they let it know of a quantity"""
    live_seconds: Callable[[Meter, str], float] = lambda meter, _quantity: 3 * meter.poll_seconds or 3600.0
    """for how long a value of a quantity of a meter is one of the present"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """A kind of sink: the name in `kind`, its options, and how one is made (raises ConfigError for options that do not fit)."""

    name: str
    options: type[Any]
    make: Callable[[Any, Surroundings], Sink]

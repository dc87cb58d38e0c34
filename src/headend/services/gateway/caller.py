"""A caller: one connection that somebody has opened, from its first octet to its last.

```text
          octets are recognised        says who it is, and is known
  NEW ------------------------> NAMELESS ------------------------> KNOWN     the lane of the meter owns what it says
                                    |                               ^
                                    +---------> UNKNOWN ------------+        adopted; until then it waits in quarantine
```

It owns the accepted link as long as that lives, and is the Link that the lane sees. Logins and heartbeats are taken out of the
stream, and acknowledged, whatever else goes on; the rest goes to the session that listens, or to an ear for what the meter says
unasked. There may be ten thousand: it is one object, without a task or timer of its own; `deadline` is the sweeper's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from headend.drivers.base import Ear, Push
from headend.drivers.recognition import UNKNOWN, HeartbeatFilter, Recognised, Recogniser, Registered
from headend.errors import LinkError, RemoteProtocolError
from headend.services.gateway.limits import Limits, left_of
from headend.transport.around import LinkAround
from headend.transport.deadline import NEVER

if TYPE_CHECKING:
    from headend.model.meter import MeterIdentity
    from headend.services.acquisition.lane import Lane
    from headend.services.roster import MeterState
    from headend.transport.link import PausableLink, Receiver

SHOWN_OCTETS: Final = 28
"""Of the first octets, for people: a whole login, and too few to come to a password."""
CHUNK_COST: Final = 100
"""What a delivery costs of the allowance beyond its octets."""
PUSHES_WAITING: Final = 16
"""Pushes of one caller that may wait to be understood; until then no more is read."""
QUIET_SECONDS: Final = 5.0
"""After such a silence what came is taken to be whole."""

_FLOODING: Final = 0x01
_WAITING: Final = 0x02


class Stage(enum.Enum):
    """How far a caller has come; GONE is one whose connection is lost, and that may come back."""

    NEW = "new"
    NAMELESS = "nameless"
    UNKNOWN = "unknown"
    KNOWN = "known"
    GONE = "gone"


class _Deaf:
    """The ear of a protocol whose meters say nothing unasked."""

    named = True

    def receive(self, data: bytes) -> Sequence[Push | RemoteProtocolError]:  # noqa: ARG002 - the shape of an Ear
        return ()

    def boundary(self) -> None:
        return


DEAF: Final[Ear] = _Deaf()


class Desk(Protocol):
    """Who decides what becomes of a caller."""

    limits: Limits
    time: Callable[[], float]
    millis: Callable[[], int]
    beats: int
    """heartbeats that were acknowledged since somebody counted"""

    def recogniser(self) -> Recogniser:
        """For a caller that cannot be recognised at once."""

    def greeting(self, data: bytes) -> Recognised | None:
        """What a caller is that begins with a whole login."""

    def recognised(self, caller: Caller, found: Recognised) -> None:
        """The protocol is known."""

    def unrecognised(self, caller: Caller, reason: str) -> None:
        """What it says makes no sense."""

    def registered(self, caller: Caller, each: Registered) -> bool:
        """It sent a login or a heartbeat; False when it is not to be acknowledged."""

    def make_ear(self, caller: Caller) -> Ear:
        """What hears pushes of its protocol; DEAF where there are none."""

    def pushed(self, caller: Caller, said: Push | RemoteProtocolError) -> None:
        """It said something unasked."""

    def noisy(self, caller: Caller) -> None:
        """It has said too much that makes no sense."""

    def overdue(self, caller: Caller) -> None:
        """Its deadline has passed."""

    def lost(self, caller: Caller, error: LinkError) -> None:
        """Its connection is gone."""


class Caller(LinkAround["PausableLink"]):
    """See above. `number` is that of the connection; times are the event loop's."""

    __slots__ = (
        "_ack", "_beat", "_charged_at", "_desk", "_ear", "_filter", "_held", "_left", "_noise", "_receiver", "_recogniser",
        "_waiting", "beat_at",
        "deadline", "entry_id", "first", "framing", "heard_at", "host", "identity", "label", "lane", "number",
        "patience", "protocol", "registration", "said", "since", "stage", "states", "trusted", "turnover",
    )  # fmt: skip

    def __init__(self, desk: Desk, link: PausableLink, host: str, number: int) -> None:
        self._desk = desk
        super().__init__(link)
        self.host = host
        self.number = number
        now = desk.time()
        self.since = now
        self.heard_at = NEVER
        """when it said something last; NEVER: not yet"""
        self.beat_at = NEVER
        """when a login or heartbeat came last, likewise"""
        self.deadline = now + desk.limits.first_octet
        self.patience = desk.limits.idle
        self.stage = Stage.NEW
        self.label = self.protocol = self.framing = self.registration = self.said = ""
        """`said` is the number in its login"""
        self.trusted = True
        self.first = b""
        self.identity: MeterIdentity | None = None
        self.entry_id = ""
        """in the quarantine"""
        self.states: Sequence[MeterState] = ()
        """the meter that it is, or those behind it"""
        self.lane: Lane | None = None
        self.turnover = 0.0
        """how often the connections of its meter have replaced each other lately"""
        self._recogniser: Recogniser | None = None
        self._filter: HeartbeatFilter | None = None
        self._receiver: Receiver | None = None
        self._ear: Ear | None = None
        self._beat: Sequence[Registered] = ()
        """the heartbeat that came last"""
        self._ack = b""
        self._left = desk.limits.burst
        self._charged_at = now
        self._noise = 0
        self._held = 0
        self._waiting = 0

    # --- what it says ---

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        desk, heartbeats = self._desk, self._filter
        self.heard_at = now = desk.time()
        if heartbeats is None:
            self._begin(data, now)
            return
        self.deadline = now + self.patience
        rest, registered = heartbeats.feed(data)
        if registered:
            self.beat_at = now
            if registered is self._beat:
                self.link.write(self._ack)
                desk.beats += 1
                for state in self.states:
                    state.last_seen = desk.millis()
                self._charge(len(data), now)
                return
            self._register(registered)
        if rest:
            self.hear(rest)
        elif heartbeats.pending:
            self.deadline = now + QUIET_SECONDS
        if self.lane is None or not self.lane.busy:
            self._charge(len(data), now)

    def _begin(self, data: bytes, now: float) -> None:
        """Nobody knows yet what it speaks."""
        desk = self._desk
        greeting = None if self.first else desk.greeting(data)
        if len(self.first) < SHOWN_OCTETS:
            self.first = (self.first + data)[:SHOWN_OCTETS]
        if greeting is not None:
            self._found(greeting)
            return
        self.deadline = min(self.since + desk.limits.recognise, now + QUIET_SECONDS)
        if self._recogniser is None:
            if not self.link.is_open:
                return
            self._recogniser = desk.recogniser()
        found = self._recogniser.feed(data)
        if found is not None:
            self._found(found)

    def _found(self, found: Recognised) -> None:
        self._recogniser = None
        if found.label == UNKNOWN:
            self._desk.unrecognised(self, found.reason)
        else:
            self.deadline = self._desk.time() + self.patience
            self._desk.recognised(self, found)

    def speak(self, found: Recognised, heartbeats: HeartbeatFilter) -> None:
        """Go on with what it says, now that its protocol is known."""
        self.stage = Stage.NAMELESS
        self.label, self.protocol, self.framing = found.label, found.protocol, found.framing
        self._filter = heartbeats
        if found.registered:
            self.beat_at = self.heard_at
            self._register(found.registered)
        if found.rest and self.link.is_open:
            rest, registered = heartbeats.feed(found.rest)
            self._register(registered)
            if rest:
                self.hear(rest)

    def _register(self, registered: Sequence[Registered]) -> None:
        for each in registered:
            if not self._desk.registered(self, each):
                return
            self.link.write(each.acknowledgement)
        if len(registered) == 1:
            self._beat, self._ack = registered, registered[0].acknowledgement

    def _quiet(self) -> bool:
        """Nothing followed for a while: what came may be whole. True when that was to be tried."""
        recogniser, heartbeats = self._recogniser, self._filter
        if recogniser is not None and self.first:
            self._found(recogniser.silence())
            return True
        if heartbeats is None or not heartbeats.pending:
            return False
        self.deadline = self._desk.time() + self.patience
        rest, registered = heartbeats.silence()
        self._register(registered)
        if rest:
            self.hear(rest)
        return True

    def hear(self, data: bytes) -> None:
        """Octets that are no registration: for the session that listens, else for the ear."""
        if self._receiver is not None:
            self._receiver.data_received(data)
        else:
            self.unheard(data)

    def unheard(self, data: bytes) -> None:
        """Octets that no session waits for: the meter may say something of its own accord."""
        if self._ear is None:
            self._ear = self._desk.make_ear(self)
        self._ear.named = len(self.states) == 1
        sense = False
        for each in self._ear.receive(data):
            sense |= isinstance(each, Push)
            self._desk.pushed(self, each)
        self._noise = 0 if sense else self._noise + len(data)
        if self._noise > self._desk.limits.noise:
            self._desk.noisy(self)

    def overheard(self) -> None:
        """Octets that went to a session, which may not have waited for them."""
        if self.lane is not None:
            self.lane.overhear()

    # --- holding it back ---

    def _charge(self, octets: int, now: float) -> None:
        """Count what came unasked; who says too much is not read for a while."""
        limits = self._desk.limits
        left = self._left = left_of(self._left, now - self._charged_at, octets + CHUNK_COST, limits)
        self._charged_at = now
        if left < 0.0 and not self._held & _FLOODING:
            self._hold(_FLOODING)
            self.deadline = now - left / limits.rate

    def push_waits(self) -> None:
        """One more push of this caller waits to be understood."""
        self._waiting += 1
        if self._waiting >= PUSHES_WAITING:
            self._hold(_WAITING)

    def push_done(self) -> None:
        """One push less waits."""
        self._waiting -= 1
        if not self._waiting:
            self._release(_WAITING)

    @property
    def held(self) -> bool:
        """True while nothing is read from it."""
        return bool(self._held)

    def _hold(self, why: int) -> None:
        if not self._held:
            self.link.hold()
        self._held |= why

    def _release(self, why: int) -> None:
        if self._held & why:
            self._held &= ~why
            if not self._held:
                self.link.resume()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._held & _FLOODING:
            self.deadline = self._desk.time() + self.patience
            self._release(_FLOODING)
        elif not self._quiet():
            self._desk.overdue(self)

    # --- its end ---

    def link_lost(self, error: LinkError) -> None:
        """The connection is gone."""
        receiver, self._receiver = self._receiver, None
        self._ear = None
        self._desk.lost(self, error)
        if receiver is not None:
            receiver.link_lost(error)

    # --- the Link that a lane sees ---

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give what it says to an owner, from now on."""
        self._receiver = receiver
        if buffered:
            receiver.data_received(buffered)

"""The gateway: who dials in, and what becomes of it.

```text
take -> Recogniser -> login, heartbeat or push says who it is -> Roster.dialled_in -> the lane of the meter owns the link
                                                                 +-> quarantine
```

Nobody is trusted for dialling in, and nobody is silently dropped: what is no meter of the head-end waits in quarantine, what
breaks a limit is counted, and told as an event (one a minute for each address and reason). A second connection of a meter
replaces the first: meters do not always notice that theirs is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from headend import telemetry
from headend.drivers.base import Driver, Ear, Push
from headend.drivers.recognition import HeartbeatFilter, Kind, Recognised, Recogniser, Registered
from headend.errors import CapabilityError, ConfigError, LinkError, NotConnected, NotFound, RemoteProtocolError
from headend.model.caller import UnknownCaller
from headend.model.event import EventType, Severity
from headend.model.meter import EndpointKind, MeterIdentity
from headend.services.acquisition.schedule import fraction
from headend.services.gateway.asking import Asker
from headend.services.gateway.books import Books
from headend.services.gateway.caller import DEAF, Caller, Stage
from headend.services.gateway.house import House, Recognition
from headend.services.gateway.limits import Addresses, Limits
from headend.services.gateway.quarantine import NOBODY, Quarantine, by_address, key_of
from headend.services.intake import Intake
from headend.services.listener import host_of
from headend.services.roster import MeterState
from headend.transport.deadline import sweeper
from headend.transport.link import PausableLink

TURNOVER_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 5.0
"""After that a caller is asked, where it may be."""
SILENT: Final = "silent"


class Gateway:
    """Takes connections, and is the Desk of each Caller. Belongs to the event loop."""

    def __init__(
        self,
        house: House,
        recognition: Recognition,
        limits: Limits | None = None,
        ask: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`ask` are protocols and framings in which callers may be asked who they are."""
        self.limits = limits or Limits()
        self.time: Callable[[], float] = asyncio.get_running_loop().time
        self.millis = house.millis
        self.beats = 0
        self.callers: dict[int, Caller] = {}
        """open connections by number"""
        self.quarantine = Quarantine(self.limits.remembered, self.limits.kept)
        self.addresses = Addresses(self.limits)
        self._house = house
        self._recognition = recognition
        self._books = Books(house.bus, self.time, house.millis)
        self._numbers = 0
        self._meters: dict[str, Caller] = {}
        """the last caller of each meter, also while it is gone for a short time"""
        self._sweeper = sweeper()
        self._closing = False
        self._asker = Asker(house, ask, self._answered)
        house.roster.follow(self._changed)

    # --- connections ---

    def take(self, link: PausableLink) -> None:
        """Somebody has opened a connection."""
        host = host_of(link.peer)
        if self._closing:
            link.abort()
            return
        blocked = self.quarantine.is_blocked(by_address(host))
        refusal = "blocked" if blocked else self.addresses.admit(host, self.time())
        self._books.count("taken", refusal or "accepted")
        if refusal:
            link.abort()
            self._books.refused(host, refusal)
            return
        self._numbers += 1
        caller = Caller(self, link, host, self._numbers)
        self.callers[caller.number] = caller
        if self._asker.wants_silence:
            caller.deadline = self.time() + SILENT_SECONDS
        self._sweeper.add(caller)
        link.set_receiver(caller)

    @property
    def intake(self) -> Intake:
        """What works on the pushes."""
        return self._house.intake

    def caller_of(self, meter_id: str) -> Caller | None:
        """The open connection of a meter."""
        caller = self._meters.get(meter_id)
        return caller if caller is not None and caller.stage is Stage.KNOWN else None

    def close(self, number: int) -> bool:
        """Close a connection; False when there is none with that number."""
        caller = self.callers.get(number)
        if caller is not None:
            self._drop(caller, "closed")
        return caller is not None

    def block(self, entry_id: str) -> UnknownCaller:
        """Close whoever this is, now and whenever it comes again; raises NotFound."""
        entry = self.quarantine.block(entry_id)
        self._send_off(entry_id, "blocked")
        return entry

    def forget(self, entry_id: str) -> UnknownCaller:
        """Close whoever this is, and forget it; raises NotFound."""
        entry = self.quarantine.remove(entry_id)
        self._send_off(entry_id, "closed")
        return entry

    def adopted(self, entry_id: str) -> None:
        """An entry has become a meter."""
        with suppress(NotFound):
            self.quarantine.remove(entry_id)

    def stop(self) -> None:
        """Take no more connections."""
        self._closing = True
        self._asker.stop()

    def abort(self) -> None:
        """Close all connections; no meter is said to be gone for that."""
        self.stop()
        for caller in [*self.callers.values(), *self._meters.values()]:
            self._sweeper.discard(caller)
            caller.link.abort()
        self._meters.clear()

    def report(self) -> None:
        """Put what was counted into the metrics; called once a second."""
        self._books.count("registrations", "acknowledged", self.beats)
        self.beats = 0
        self._books.report(self.callers)

    # --- what callers say ---

    def recogniser(self) -> Recogniser:
        """For a caller that cannot be recognised at once."""
        return self._recognition.begin(self.limits.recognise_octets)

    def greeting(self, data: bytes) -> Recognised | None:
        """What a caller is that begins with a whole login."""
        return self._recognition.greeting(data)

    def recognised(self, caller: Caller, found: Recognised) -> None:
        """The protocol is known."""
        self._books.count("recognised", found.label)
        caller.patience = self.limits.first_octet
        opening = found.registered[0] if found.registered else None
        caller.speak(found, HeartbeatFilter(self._recognition.known, opening))
        if caller.stage is Stage.NAMELESS and found.address and caller.link.is_open:
            self._identify(caller, MeterIdentity(serial=found.address, meter_address=found.address))

    def unrecognised(self, caller: Caller, reason: str) -> None:
        """What it says makes no sense."""
        self._books.count("recognised", "unknown")
        self._note(caller, reason)
        self.addresses.strike(caller.host, self.time())
        self._drop(caller, "unrecognised", tell=True)

    def registered(self, caller: Caller, each: Registered) -> bool:
        """It sent a login or a heartbeat; False when it is not to be acknowledged."""
        trusted = each.check_ok is not False
        self._books.count("registrations", each.kind.value if trusted else "wrong-check")
        caller.registration, caller.trusted = each.registration, trusted
        if caller.said and each.number and caller.said != each.number:
            self._drop(caller, "another-number", tell=True)
            return False
        caller.said = each.number or caller.said
        if self._is_nameless(caller):
            self._name_by(caller, each)
        for state in caller.states:
            state.last_seen = self.millis()
            if each.kind is Kind.LAST_GASP:
                data = {"kind": "last-gasp", "object": "", "body": each.number}
                self._books.tell(EventType.NOTIFIED, state.meter.id, data, Severity.WARNING)
        return caller.link.is_open

    def make_ear(self, caller: Caller) -> Ear:
        """What hears pushes of its protocol."""
        try:
            return self._driver_of(caller).listen(self.limits.max_push)
        except (CapabilityError, ConfigError):
            return DEAF

    def pushed(self, caller: Caller, said: Push | RemoteProtocolError) -> None:
        """It said something unasked."""
        if isinstance(said, Push) and self._is_nameless(caller):
            self._identify(caller, said.identity)
        if caller.states:
            caller.push_waits()
            meter_id = caller.states[0].meter.id if len(caller.states) == 1 else ""
            driver = self._driver_of(caller)
            self._house.intake.say(caller.host, said, driver, meter_id=meter_id, done=caller.push_done)
        elif isinstance(said, Push):
            telemetry.PUSHES.labels("unknown").inc()

    def noisy(self, caller: Caller) -> None:
        """It has said too much that makes no sense."""
        self.addresses.strike(caller.host, self.time())
        self._drop(caller, "noise", tell=True)

    def overdue(self, caller: Caller) -> None:
        """Its deadline has passed."""
        if caller.stage is Stage.GONE:
            self._sweeper.discard(caller)
            self._gone(caller)
        elif caller.stage is Stage.NEW:
            # It says nothing at all; what it says and makes no sense is `unrecognised`.
            caller.patience = self.limits.first_octet
            caller.speak(Recognised(label=SILENT), HeartbeatFilter(self._recognition.known))
            self._identify(caller, NOBODY)
        elif caller.stage is Stage.NAMELESS:
            self._identify(caller, NOBODY)
        else:
            self._drop(caller, "idle")
        if caller.link.is_open:
            caller.deadline = self.time() + caller.patience

    def lost(self, caller: Caller, error: LinkError) -> None:
        """Its connection is gone."""
        self.callers.pop(caller.number, None)
        self.addresses.closed(caller.host)
        self.quarantine.leave(caller)
        caller.lane = None
        known, caller.stage = caller.stage is Stage.KNOWN, Stage.GONE
        if not known or not caller.states or self._closing:
            self._sweeper.discard(caller)
            return
        caller.deadline = self.time() + self.limits.grace
        for state in caller.states:
            self._books.disconnected(state.meter.id, caller, error)

    # --- who it is ---

    def _is_nameless(self, caller: Caller) -> bool:
        """True while nothing but its address is known of it."""
        waits = caller.stage in {Stage.NAMELESS, Stage.UNKNOWN}
        return waits and key_of(caller) == by_address(caller.host)

    def _name_by(self, caller: Caller, each: Registered) -> None:
        """Find the meter by its login; a number that nobody has set says no more than the address."""
        number = each.identity or caller.host
        if self._recognition.strict and each.check_ok is False:
            self._put_away(caller, "the check octets of its login are wrong")
        else:
            self._identify(caller, MeterIdentity(serial=number))

    def _identify(self, caller: Caller, identity: MeterIdentity) -> None:
        """Find the meter by what is said."""
        caller.identity = identity
        states = self._house.roster.dialled_in(identity, caller.host)
        if states:
            self._adopt(caller, states)
        elif identity != NOBODY or not self._asker.ask(caller, self.time()):
            self._put_away(caller)

    def _answered(self, caller: Caller, identity: MeterIdentity) -> None:
        """It was asked who it is."""
        if self._is_nameless(caller):
            self._identify(caller, identity)

    def _adopt(self, caller: Caller, states: Sequence[MeterState]) -> None:
        """The caller is this meter, or these are behind it."""
        earlier = {self._meters[state.meter.id] for state in states if state.meter.id in self._meters} - {caller}
        replaced = max((before.number for before in earlier if before.stage is Stage.KNOWN), default=0)
        for before in earlier:
            passed = (self.time() - before.since) / TURNOVER_SECONDS * self.limits.per_meter
            caller.turnover = max(0.0, before.turnover - passed) + 1.0
            if caller.turnover > self.limits.per_meter:
                self._drop(caller, "per-meter", tell=True)
                return
        if caller.entry_id:
            self.adopted(caller.entry_id)
        self.quarantine.leave(caller)
        caller.stage, caller.states, caller.patience = Stage.KNOWN, tuple(states), self._patience(caller)
        for before in earlier:
            self._supersede(before)
        for state in states:
            self._settle(caller, state, replaced=replaced)

    def _settle(self, caller: Caller, state: MeterState, *, replaced: int) -> None:
        """One meter has dialled in."""
        meter = state.meter
        self._meters[meter.id] = caller
        delay = self.limits.settle * (0.5 + fraction(meter.id))
        if meter.endpoint.kind is EndpointKind.INBOUND and caller.lane is None:
            caller.lane = self._house.lanes.adopt(meter.id, caller, caller, delay=delay)
        self._house.roster.connected(state)
        self._books.connected(meter.id, caller, replaced)
        self._house.dialled_in(meter.id, delay)

    def _supersede(self, before: Caller) -> None:
        """Another connection takes the place of this one."""
        self._sweeper.discard(before)
        for state in before.states:
            self._meters.pop(state.meter.id, None)
        before.states = ()
        if before.stage is Stage.KNOWN:
            self._drop(before, "replaced")

    def _patience(self, caller: Caller) -> float:
        """How long it may say nothing."""
        for each in self._recognition.known.registrations:
            if each.id == caller.registration and each.period:
                return float(self.limits.missed * each.period)
        return self.limits.idle

    def _gone(self, caller: Caller) -> None:
        """A meter has not come back in time."""
        for state in caller.states:
            if self._meters.get(state.meter.id) is caller:
                del self._meters[state.meter.id]
                error = NotConnected(f"{state.meter.id} has not dialled in again for {self.limits.grace:.0f} s")
                self._house.roster.failed(state, error)

    def _changed(self, meter_id: str, state: MeterState | None) -> None:
        """A meter was added, changed or removed: who is connected as it stays so while it is reached as before."""
        caller = self._meters.get(meter_id)
        if caller is None:
            if state is not None:
                self._call_in(state)
            return
        old = next(each for each in caller.states if each.meter.id == meter_id)
        if state is None or old.meter.endpoint.wire != state.meter.endpoint.wire:
            del self._meters[meter_id]
            caller.states = tuple(each for each in caller.states if each is not old)
            if not caller.states and caller.stage is Stage.KNOWN:
                self._drop(caller, "changed")
            return
        state.online, state.last_seen = old.online, old.last_seen
        caller.states = tuple(state if each is old else each for each in caller.states)
        if caller.lane is not None:
            self._house.lanes.unit(meter_id)

    def _call_in(self, state: MeterState) -> None:
        """A new meter: somebody may be waiting for it, in quarantine or as the connection of a gateway before it."""
        meter = state.meter
        for caller in tuple(self.quarantine.waits_for(meter.identity, meter.endpoint.host)):
            self._identify(caller, caller.identity or NOBODY)
        if meter.endpoint.kind is not EndpointKind.INBOUND or meter.id in self._meters:
            return
        for other in self._house.roster.dialled_in(MeterIdentity(serial=meter.endpoint.host), ""):
            found = self.caller_of(other.meter.id)
            if found is not None and other.meter.endpoint.wire == meter.endpoint.wire:
                found.states = (*found.states, state)
                self._settle(found, state, replaced=0)
                return

    # --- quarantine ---

    def _put_away(self, caller: Caller, reason: str = "") -> None:
        """The caller waits until somebody says what it is, or blocks it; one that says nothing is not waited with."""
        named = key_of(caller) != by_address(caller.host)
        reason = reason or ("no meter is known by what it says" if named else "it does not say who it is")
        self.quarantine.leave(caller)
        entry = self._note(caller, reason)
        if entry.blocked:
            self._drop(caller, "blocked")
        elif caller.label == SILENT and not named:
            self._drop(caller, "first-octet")
        elif self.quarantine.keep(caller, entry):
            caller.stage, caller.patience = Stage.UNKNOWN, self._patience(caller)
        else:
            self._drop(caller, "quarantine-full")

    def _note(self, caller: Caller, reason: str) -> UnknownCaller:
        """Enter it in the quarantine; told as an event once a minute."""
        entry = self.quarantine.note(caller, reason, self.millis())
        self._books.unknown(entry)
        return entry

    def _send_off(self, entry_id: str, why: str) -> None:
        for caller in self.quarantine.waiting(entry_id):
            self._drop(caller, why)

    def _drop(self, caller: Caller, why: str, *, tell: bool = False) -> None:
        """Close a connection, and count why."""
        self._books.count("closed", why)
        if tell:
            self._books.refused(caller.host, why)
        caller.link.abort()

    def _driver_of(self, caller: Caller) -> Driver:
        return self._house.driver(caller.protocol or (caller.states[0].meter.protocol if caller.states else ""))

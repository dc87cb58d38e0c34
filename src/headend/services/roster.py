"""The roster: every meter and what is known of it right now, in memory.

The store is the truth about meters: whoever changes one writes it there first and tells the roster afterwards. The
roster says it on the bus, and tells the parts that keep something per meter (lanes, poller) at once, by `follow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import structlog

from headend.drivers.knowledge import Knowledge
from headend.errors import Conflict, HeadendError, LinkError, MeterError, NotFound, RemoteProtocolError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import EndpointKind, Meter, MeterIdentity
from headend.model.reading import Value
from headend.model.statistics import Figures
from headend.services.acquisition.circuit import Circuit
from headend.services.bus import Bus

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since the epoch."""
Follower: TypeAlias = Callable[[str, "MeterState | None"], None]
"""Told the id and the new state of a meter that was added or changed, None for one that was removed."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class MeterState:
    """A meter and what is known of it since the start; times are milliseconds. Replaced when the meter is changed."""

    meter: Meter
    circuit: Circuit
    online: bool | None = None
    """None until it was tried"""
    last_seen: int | None = None
    last_error_code: str = ""
    last_error_text: str = ""
    last_error_at: int | None = None
    reads_ok: int = 0
    reads_failed: int = 0
    knowledge: Knowledge = field(default_factory=Knowledge, repr=False)
    """what its driver has learned of it; goes with the state"""
    octets_in: int = 0
    octets_out: int = 0
    sessions: int = 0
    """that were opened"""
    requests: int = 0
    """that were sent, also to open sessions"""
    responses: int = 0
    """that answered them, refusals included"""
    readings: int = 0
    """that polls brought"""
    messages: int = 0
    """that sinks have confirmed"""
    messages_late: int = 0
    """of them, those that had to wait in the journal"""
    figures: Figures = field(default_factory=Figures, repr=False)
    """what of all that the statistics have taken over; its times of reads are those that they have not"""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """under which `Roster.resolve` finds it"""

    @property
    def scales_used(self) -> int:
        """Scalers that its values needed and that it has to tell."""
        return self.knowledge.scales_used

    @property
    def scales_asked(self) -> int:
        """Of them, those that it was asked for."""
        return self.knowledge.scales_asked

    @property
    def reconnections(self) -> int:
        """Sessions that were opened after the first."""
        return max(0, self.sessions - 1)


class Roster:
    """All meters by id. Belongs to the event loop; nothing here waits."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._states: dict[str, MeterState] = {}
        self._by_key: dict[str, set[str]] = {}
        self._followers: list[Follower] = []

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[MeterState]:
        return iter(self._states.values())

    def __contains__(self, meter_id: str) -> bool:
        return meter_id in self._states

    def state(self, meter_id: str) -> MeterState:
        """What is known of a meter; raises NotFound."""
        found = self._states.get(meter_id)
        if found is None:
            raise NotFound(f"no meter {meter_id!r}")
        return found

    def find(self, meter_id: str) -> MeterState | None:
        """What is known of a meter; None where there is none."""
        return self._states.get(meter_id)

    def follow(self, follower: Follower) -> None:
        """Be told of every meter that there is, and of every one added, changed or removed from now on."""
        self._followers.append(follower)
        for meter_id, state in self._states.items():
            follower(meter_id, state)

    def load(self, meters: Iterable[Meter]) -> None:
        """Take over the meters of the store, at the start; nothing is published."""
        for meter in meters:
            self._keep(meter)

    def add(self, meter: Meter) -> None:
        """A meter was added to the store; raises Conflict when its id is known already."""
        if meter.id in self._states:
            raise Conflict(f"there is a meter {meter.id!r} already")
        self._keep(meter)
        self.tell(EventType.METER_ADDED, meter.id, {"name": meter.name})

    def update(self, meter: Meter) -> None:
        """A meter, or a secret of it, was changed in the store: it starts anew with clean circuit; raises NotFound."""
        self._forget(meter.id)
        self._keep(meter)
        self.tell(EventType.METER_CHANGED, meter.id, {"name": meter.name})

    def identified(self, meter_id: str, identity: MeterIdentity) -> None:
        """A meter said who it is, and the store knows. Its session goes on; raises NotFound."""
        state = self.state(meter_id)
        self._forget_keys(state)
        state.meter = replace(state.meter, identity=identity)
        self._keep_keys(state)

    def remove(self, meter_id: str) -> None:
        """A meter was removed from the store; raises NotFound."""
        self._forget(meter_id)
        for follower in self._followers:
            follower(meter_id, None)
        self.tell(EventType.METER_REMOVED, meter_id, {})

    def resolve(self, identity: MeterIdentity) -> Meter | None:
        """The one meter that says this about itself, by the most telling field; None when there is none, or several."""
        for key in (*_keys(identity), *_dialled(identity)):
            if (meter := self._only(key)) is not None:
                return meter
        return None

    def resolve_source(self, address: str, identity: MeterIdentity) -> Meter | None:
        """The one meter that is entered with this address or port, unless it is known by another name than it says now."""
        meter = self._only(f"source {address}")
        if meter is None:
            return None
        known = meter.identity
        pairs = (
            (known.system_title, identity.system_title),
            (known.logical_device_name, identity.logical_device_name),
        )
        return None if any(one and other and one != other for one, other in pairs) else meter

    def heard(self, state: MeterState) -> None:
        """The meter said something unasked. That it answers, too, is not known by that."""
        state.last_seen = self._clock()
        if state.online is None:
            self._comes(state)

    def dialled_in(self, identity: MeterIdentity, address: str) -> Sequence[MeterState]:
        """The meter that says this about itself, or else is entered with this address and nothing contradicts it.

        With it come all that share its connection; or those that share the connection of a gateway with such a name.
        """
        meter = self.resolve(identity)
        if meter is None and not any(_keys(identity)):
            meter = self.resolve_source(address, identity)
            names: Sequence[str] = (address,)
        else:
            names = [key.removeprefix("inbound ") for key in _dialled(identity)]
        if meter is not None and meter.endpoint.kind is not EndpointKind.INBOUND:
            return (self.state(meter.id),)
        for name in names if meter is None else (meter.endpoint.host,):
            found = [self._states[each] for each in self._by_key.get(f"inbound {name}".casefold(), ())]
            if found:
                return found
        return ()

    def connected(self, state: MeterState) -> None:
        """The meter has dialled in."""
        state.last_seen = self._clock()
        if not state.online:
            self._comes(state)

    def _only(self, key: str) -> Meter | None:
        """The only meter with a key."""
        found = self._by_key.get(key.casefold())
        return self._states[next(iter(found))].meter if found is not None and len(found) == 1 else None

    def succeeded(self, state: MeterState) -> None:
        """The meter did what was asked."""
        state.last_seen = self._clock()
        if not state.online:
            self._comes(state)

    def failed(self, state: MeterState, error: HeadendError) -> None:
        """The meter did not do what was asked: remember why; it is offline when it could not be reached."""
        state.last_error_code = error.code
        state.last_error_text = str(error)
        state.last_error_at = self._clock()
        if isinstance(error, MeterError):
            self.succeeded(state)
        elif isinstance(error, LinkError | RemoteProtocolError) and state.online is not False:
            state.online = False
            log.warning("meter offline", meter=state.meter.id, code=error.code, reason=str(error))
            data: dict[str, Value] = {"code": error.code, "reason": str(error)}
            self.tell(EventType.METER_OFFLINE, state.meter.id, data, Severity.WARNING)

    def _comes(self, state: MeterState) -> None:
        if state.online is False:
            log.info("meter online again", meter=state.meter.id)
        state.online = True
        self.tell(EventType.METER_ONLINE, state.meter.id, {})

    def _keep(self, meter: Meter) -> None:
        state = MeterState(meter=meter, circuit=Circuit(meter.id))
        self._states[meter.id] = state
        self._keep_keys(state)
        for follower in self._followers:
            follower(meter.id, state)

    def _forget(self, meter_id: str) -> None:
        self._forget_keys(self.state(meter_id))
        del self._states[meter_id]

    def _keep_keys(self, state: MeterState) -> None:
        meter = state.meter
        where = meter.endpoint
        keys = [*_keys(meter.identity), f"source {where.path or where.host}"]
        if where.kind is EndpointKind.INBOUND:
            keys.append(f"inbound {where.host}")
        state.keys = tuple(key.casefold() for key in keys)
        for key in state.keys:
            self._by_key.setdefault(key, set()).add(meter.id)

    def _forget_keys(self, state: MeterState) -> None:
        for key in state.keys:
            ids = self._by_key[key]
            ids.discard(state.meter.id)
            if not ids:
                del self._by_key[key]

    def tell(
        self, kind: EventType, meter_id: str, data: Mapping[str, Value], severity: Severity = Severity.INFO
    ) -> None:
        """Publish an event of a meter, or of the head-end itself (no id), as of now."""
        self._bus.publish(Event(type=kind, severity=severity, occurred_at=self._clock(), meter_id=meter_id, data=data))


def _keys(identity: MeterIdentity) -> Iterator[str]:
    """What names a meter, the most telling first; a serial number is unique only together with its manufacturer."""
    if identity.system_title:
        yield f"system title {identity.system_title}"
    if identity.logical_device_name:
        yield f"logical device {identity.logical_device_name}"
    if identity.serial:
        yield f"serial {identity.manufacturer}/{identity.serial}"
    if identity.meter_address:
        yield f"address {identity.meter_address}"


def _dialled(identity: MeterIdentity) -> Iterator[str]:
    """By which `inbound://` address a meter that says this about itself may have been entered."""
    for name in (identity.system_title, identity.logical_device_name, identity.serial, identity.meter_address):
        if name:
            yield f"inbound {name}"

"""The voice of the head-end: messages for what is delivered, in the words of each layout that is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from headend.model.event import Event, EventType
from headend.model.journal import Entry
from headend.northbound.layouts import Layout, Stats
from headend.northbound.message import Message
from headend.northbound.topics import Stamp
from headend.services.roster import Roster

MAX_PAYLOAD: Final = 1 << 18
"""longer ones would make a broker hang up, each time anew"""

Address = Callable[[str], str]
"""Where a meter can be reached, or calls from; empty where that is not known."""


def _nowhere(_meter_id: str) -> str:
    return ""


class Voice:
    """Makes messages. States are those of the present: whatever waited, only what the roster says now is said of a meter."""

    def __init__(
        self,
        layouts: Sequence[Layout],
        *,
        version: str,
        roster: Roster,
        address: Address = _nowhere,
        qos: int = 1,
        retain: bool = False,
    ) -> None:
        """The last will can be left to one topic only: to that of the first layout. `retain` keeps the newest readings."""
        self.layouts = layouts
        self.published: Counter[str] = Counter()
        """messages so far: telemetry, status, events"""
        self._version = version
        self._roster = roster
        self._address = address
        self._qos = qos
        self._retain = retain
        self._since: dict[str, tuple[bool, int]] = {}
        """since when a meter is as it is, by its id"""

    def messages(self, entry: Entry, at: int, *, late: bool = False) -> list[Message]:
        """What is to be published for an entry at a time (milliseconds)."""
        item, stamp = entry.item, Stamp(entry.id, at)
        said: list[Message] = []
        if isinstance(item, Event):
            for layout in self.layouts:
                topics, payload = layout.topics, layout.event(item, stamp)
                topic = topics.meter(item.meter_id, "events") if item.meter_id else topics.gateway_events
                said += [] if payload is None else [Message(topic, payload, qos=self._qos)]
            self.published["events"] += len(said)
            return said + self._status(item)
        for layout in self.layouts:
            topic = layout.topics.meter(item.meter_id, "telemetry")
            retain = self._retain and not late
            said += [Message(topic, payload, retain, qos=self._qos) for payload in layout.telemetry(item, stamp)]
        self.published["telemetry"] += len(said)
        return said

    def _status(self, event: Event) -> list[Message]:
        """The state that an event tells of, if it is that of the present."""
        meter_id = event.meter_id
        state = self._roster.find(meter_id)
        if event.type is EventType.METER_REMOVED and state is None:
            self._since.pop(meter_id, None)
            said = [Message(each.topics.meter(meter_id, "status"), b"", retain=True) for each in self.layouts]
        elif event.type in (EventType.METER_ONLINE, EventType.METER_OFFLINE) and state is not None:
            online = event.type is EventType.METER_ONLINE
            if state.online is not online:
                return []
            self._since[meter_id] = (online, event.occurred_at)
            said = self._statuses_of(meter_id, event.occurred_at, online=online)
        else:
            return []
        self.published["status"] += len(said)
        return said

    def _statuses_of(self, meter_id: str, at: int, *, online: bool) -> list[Message]:
        address = self._address(meter_id) if online else ""
        return [
            Message(
                each.topics.meter(meter_id, "status"),
                each.status(meter_id, at, online=online, address=address),
                retain=True,
            )
            for each in self.layouts
        ]

    def statuses(self) -> list[Message]:
        """The states of all meters, for a broker that has come back."""
        said: list[Message] = []
        for state in self._roster:
            if state.online is None:
                continue
            known, since = self._since.get(state.meter.id, (None, 0))
            if known is not state.online:
                since = (state.last_seen if state.online else state.last_error_at) or 0
            said += self._statuses_of(state.meter.id, since, online=state.online)
        return said

    def gateway(self, at: int, *, online: bool, uptime: int = 0) -> list[Message]:
        """Hello or goodbye, the will first."""
        return [
            Message(
                each.topics.gateway_status,
                each.gateway(at, online=online, version=self._version, uptime=uptime),
                retain=True,
            )
            for each in self.layouts
        ]

    def stats(self, stats: Stats) -> list[Message]:
        """How the head-end is doing."""
        return [Message(each.topics.gateway_stats, each.stats(stats)) for each in self.layouts]

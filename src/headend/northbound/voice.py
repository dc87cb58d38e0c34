"""The voice of the head-end: messages for what passes over the bus, in the words of each layout that is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from headend.model.event import Event, EventType
from headend.model.reading import ReadingBatch
from headend.northbound.layouts import Layout, Stats
from headend.northbound.message import Message

MAX_PAYLOAD: Final = 1 << 18

log = structlog.get_logger(__name__)

Address = Callable[[str], str]
"""Where a meter can be reached, or calls from; empty where that is not known."""


def _nowhere(_meter_id: str) -> str:
    return ""


class Voice:
    """Makes messages, and remembers the last state of each meter: a broker that comes back may have forgotten it."""

    def __init__(self, layouts: Sequence[Layout], *, version: str, address: Address = _nowhere) -> None:
        """The last will can be left to one topic only: to that of the first layout."""
        self.layouts = layouts
        self.published: Counter[str] = Counter()
        """messages so far: telemetry, status, events"""
        self._version = version
        self._address = address
        self._statuses: dict[str, Message] = {}

    def messages(self, item: ReadingBatch | Event) -> list[Message]:
        """What is to be published for an item."""
        said: list[Message] = []
        for layout in self.layouts:
            if isinstance(item, Event):
                said += self._of_event(layout, item)
            elif len(item):
                topic = layout.topics.meter(item.meter_id, "telemetry")
                said += [Message(topic, payload) for payload in layout.telemetry(item)]
        for message in said:
            if len(message.payload) > MAX_PAYLOAD:
                # A broker would hang up, and would do so again each time it is sent.
                log.warning("too long for MQTT", topic=message.topic, octets=len(message.payload))
        said = [message for message in said if len(message.payload) <= MAX_PAYLOAD]
        if not isinstance(item, Event):
            self.published["telemetry"] += len(said)
        return said

    def _of_event(self, layout: Layout, event: Event) -> list[Message]:
        topics, payload = layout.topics, layout.event(event)
        topic = topics.meter(event.meter_id, "events") if event.meter_id else topics.gateway_events
        said = [] if payload is None else [Message(topic, payload)]
        self.published["events"] += len(said)
        status = topics.meter(event.meter_id, "status")
        if event.type in (EventType.METER_ONLINE, EventType.METER_OFFLINE):
            online = event.type is EventType.METER_ONLINE
            address = self._address(event.meter_id) if online else ""
            body = layout.status(event.meter_id, event.occurred_at, online=online, address=address)
            self._statuses[status] = Message(status, body, retain=True)
        elif event.type is EventType.METER_REMOVED:
            self._statuses[status] = Message(status, b"", retain=True)
        else:
            return said
        self.published["status"] += 1
        return [*said, self._statuses[status]]

    def statuses(self) -> list[Message]:
        """The states of all meters, for a broker that has come back."""
        said = list(self._statuses.values())
        self._statuses = {each.topic: each for each in said if each.payload}
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

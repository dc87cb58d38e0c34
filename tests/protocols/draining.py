"""Everything that a side has to say."""

from __future__ import annotations

from typing import Protocol

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA


class Side(Protocol):
    """What has events."""

    def next_event(self) -> object:
        """The next one."""


def drain(side: Side) -> list[object]:
    """All events, and the errors between them."""
    events: list[object] = []
    while True:
        try:
            event = side.next_event()
        except RemoteProtocolError as error:
            events.append(error)
            continue
        if event is NEED_DATA:
            return events
        events.append(event)

"""What a group of entries says of each meter: rows for its telemetry, and what became of the meter itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from headend.errors import SinkRefused
from headend.model.event import Event, EventType
from headend.model.journal import Entry
from headend.northbound.sink import Refusal
from headend.northbound.thingsboard.telemetry import Piece, Room, merge, pieces
from headend.northbound.thingsboard.values import Keys, plain

ONLINE: Final = frozenset({EventType.METER_ONLINE})
GONE: Final = frozenset({EventType.METER_OFFLINE, EventType.METER_REMOVED})


@dataclass(slots=True, kw_only=True)
class News:
    """What entries say of one meter."""

    meter_id: str
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    """those with rows"""
    received_at: int = 0
    """when the last of the readings was received"""
    online: bool | None = None
    """what the last event says of it"""
    is_changed: bool = False


def news_of(entries: Iterable[Entry], keys: Keys, *, events: bool) -> Sequence[News]:
    """News of each meter, in the order in which they come up; `events` are telemetry, too, where that is wanted."""
    found: dict[str, News] = {}
    for entry in entries:
        item = entry.item
        if not item.meter_id:
            continue
        news = found.get(item.meter_id)
        if news is None:
            news = found[item.meter_id] = News(meter_id=item.meter_id)
        if isinstance(item, Event):
            _take_event(news, item)
            rows = _event_rows(item, keys.prefix) if events else {}
        else:
            rows = keys.rows(item)
            news.received_at = max(news.received_at, item.received_at)
        if rows:
            news.entries.append(entry)
            if news.rows:
                merge(news.rows, rows)
            else:
                news.rows = rows
    return list(found.values())


def pieces_of(
    news: News,
    keys: Keys,
    room: Room,
    refusals: list[Refusal],
    *,
    device: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Sequence[Piece]:
    """The messages for the rows of a meter. An entry with a value that no message holds goes into `refusals` instead."""
    try:
        return list(pieces(news.rows, room, device, metadata))
    except SinkRefused as error:
        if len(news.entries) == 1:
            refusals.append(Refusal(news.entries[0].number, str(error)))
            return []
    single = [each for entry in news.entries for each in news_of([entry], keys, events=True)]
    return [each for one in single for each in pieces_of(one, keys, room, refusals, device=device, metadata=metadata)]


def _take_event(news: News, event: Event) -> None:
    if event.type in ONLINE:
        news.online = True
    elif event.type in GONE:
        news.online = False
    elif event.type is EventType.METER_CHANGED:
        news.is_changed = True


def _event_rows(event: Event, prefix: str) -> dict[int, dict[str, Any]]:
    data = {name: plain(value, prefix) for name, value in event.data.items()}
    return {event.occurred_at: {f"event_{event.type.value}": {"severity": event.severity.value, **data}}}

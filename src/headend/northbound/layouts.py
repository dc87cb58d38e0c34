"""Layouts: under which topics and in which words things are published. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headend.errors import HeadendError
from headend.model.event import Event
from headend.model.jsontext import dumps
from headend.model.reading import ReadingBatch, Value
from headend.northbound.topics import (
    Request,
    Stamp,
    Topics,
    event_payload,
    response_payload,
    status_payload,
    telemetry_payloads,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How the head-end is doing: figures since its start, and of now."""

    at: int
    uptime: int
    """seconds"""
    meters: int
    online: int
    offline: int
    poll_seconds: float
    """the usual time between polls"""
    polled_at: int | None
    """when a meter answered last"""
    clients: int | None
    """of the embedded broker"""
    connections: int
    """of meters that dial in"""
    messages: Mapping[str, int]
    """by what became of what was to be delivered: sent, failed, refused, dropped, waiting"""
    published: Mapping[str, int]
    """telemetry, status, events"""
    requests: int


class Layout(Protocol):
    """Makes the payloads of one family of topics."""

    @property
    def topics(self) -> Topics:
        """Where they go."""
        ...

    def telemetry(self, batch: ReadingBatch, stamp: Stamp) -> Sequence[bytes]:
        """The messages for a batch with readings."""
        ...

    def event(self, event: Event, stamp: Stamp) -> bytes | None:
        """An event; None where the layout does not know it."""
        ...

    def status(self, meter_id: str, at: int, *, online: bool, address: str) -> bytes:
        """The state of a meter; `address` is empty where it is not known."""
        ...

    def gateway(self, at: int, *, online: bool, version: str = "", uptime: int = 0) -> bytes:
        """The state of the head-end."""
        ...

    def stats(self, stats: Stats) -> bytes:
        """How the head-end is doing."""
        ...

    def response(self, request: Request, at: int, result: object) -> bytes:
        """The answer to a request."""
        ...

    def refusal(self, request_id: str, at: int, error: HeadendError) -> bytes:
        """The answer to a request that came to nothing."""
        ...


@dataclass(frozen=True, slots=True)
class HeadendLayout:
    """Our own: quantities by key in base units, errors by code."""

    topics: Topics

    def telemetry(self, batch: ReadingBatch, stamp: Stamp) -> Sequence[bytes]:
        """One message: an object, or an array where there are several measuring times; more where it is long."""
        return telemetry_payloads(batch, stamp)

    def event(self, event: Event, stamp: Stamp) -> bytes | None:
        """Every event."""
        return event_payload(event, stamp)

    def status(self, _meter_id: str, at: int, *, online: bool, address: str) -> bytes:
        """Online or not."""
        return status_payload(at, online=online, **({"address": address} if address and online else {}))

    def gateway(self, at: int, *, online: bool, version: str = "", uptime: int = 0) -> bytes:
        """Online or not, and which version."""
        more: dict[str, Value] = {"version": version, "uptime": uptime} if online else {}
        return status_payload(at, online=online, **more)

    def stats(self, stats: Stats) -> bytes:
        """All figures."""
        body: dict[str, Any] = {
            "ts": stats.at,
            "uptime": stats.uptime,
            "meters": {"total": stats.meters, "online": stats.online, "offline": stats.offline},
            "connections": stats.connections,
            "messages": dict(stats.messages),
            "published": dict(stats.published),
            "requests": stats.requests,
            "polled_at": stats.polled_at,
        }
        if stats.clients is not None:
            body["clients"] = stats.clients
        return dumps(body)

    def response(self, request: Request, at: int, result: object) -> bytes:
        """The result as it is."""
        return response_payload(request.id, at, result=result)

    def refusal(self, request_id: str, at: int, error: HeadendError) -> bytes:
        """The code of the error, and its words."""
        return response_payload(request_id, at, error=error.code, detail=str(error))

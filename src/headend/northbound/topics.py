"""MQTT topics and payloads: what is published where, and what a request looks like. Pure.

```text
headend/v1/gateway/status                      retained, last will     {"online": true, "ts": …, "version": …}
headend/v1/gateway/stats                                               {"ts": …, "meters": {"total": 3, "online": 2}, …}
headend/v1/meters/ID/status                    retained                {"online": true, "ts": …}
headend/v1/meters/ID/telemetry                                         {"ts": …, "id": …, "values": {"voltage_l1": 230.1}, …}
headend/v1/meters/ID/events                                            {"ts": …, "event": "METER_OFFLINE", "severity": …, …}
headend/v1/meters/ID/command/request           to the head-end         {"id": "42", "method": "read", "params": {…}}
headend/v1/meters/ID/command/request/USER      the same, where the broker lets nobody but USER publish there
headend/v1/meters/ID/command/response                                  {"id": "42", "success": true, "result": …}
```

`id` is the same however often something is published; `ts` is the time of measurement, `received_at` of receipt,
`published_at` of publication. Times are milliseconds since 1970 (UTC), amounts are in the base unit of their quantity.
A batch with several measuring times (history) is published as arrays of telemetry objects, oldest first. Ids of meters are
percent-encoded where MQTT needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import orjson

from headend.errors import ConfigError
from headend.model.event import Event
from headend.model.jsontext import dumps
from headend.model.reading import ReadingBatch, Value

MAX_REQUEST = 65536
MAX_ID = 128
VALUES_AT_ONCE = 500
"""readings in one message, roughly: some platforms take no more than 64 KiB"""


class UnknownMethod(ConfigError):
    """A request asks for what nobody knows how to do."""


class UnknownRegister(ConfigError):
    """A request names a register that the meter's file, or its protocol, does not have."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics under a prefix."""

    prefix: str

    def __post_init__(self) -> None:
        if (
            not self.prefix
            or self.prefix.startswith(("/", "$"))
            or self.prefix.endswith("/")
            or set("+#") & set(self.prefix)
        ):
            raise ConfigError(f"expected a topic prefix like headend/v1, got {self.prefix!r}")

    @property
    def gateway_status(self) -> str:
        """Where the head-end says that it is there."""
        return f"{self.prefix}/gateway/status"

    @property
    def gateway_events(self) -> str:
        """Where it says what happened to itself."""
        return f"{self.prefix}/gateway/events"

    @property
    def gateway_stats(self) -> str:
        """Where it says how it is doing."""
        return f"{self.prefix}/gateway/stats"

    @property
    def requests(self) -> str:
        """The filter for requests to all meters; one level more names who asks, where the broker vouches for it."""
        return f"{self.prefix}/meters/+/command/request"

    def meter(self, meter_id: str, tail: str) -> str:
        """A topic of one meter: `telemetry`, `status`, `events`, `command/response`."""
        return f"{self.prefix}/meters/{quote(meter_id, safe=' :@,;=')}/{tail}"

    def is_request(self, topic: str) -> bool:
        """True for a topic on which somebody asks."""
        return topic.startswith(f"{self.prefix}/meters/")

    def requested(self, topic: str) -> tuple[str, str]:
        """The meter that a request topic names, and the user; empty where the topic names none."""
        meter_id, _, _, *user = topic[len(self.prefix) + len("/meters/") :].split("/")
        return unquote(meter_id), unquote(user[0]) if user else ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is said of each publication: the id of the entry, which stays the same, and the time, which does not."""

    id: str
    published_at: int


def telemetry_payloads(batch: ReadingBatch, stamp: Stamp) -> list[bytes]:
    """The readings of a batch: one object, or arrays where they were measured at several times, oldest first.

    Each object of an array has an id of its own: that of the entry, a dot, and which it is.
    """
    rows: dict[int, dict[str, Any]] = {}
    source = batch.source.name.lower()
    common = {"id": stamp.id, "received_at": batch.received_at, "published_at": stamp.published_at}
    for quantity, value, at, quality in zip(
        batch.quantities, batch.values, batch.measured_at, batch.quality, strict=True
    ):
        row = rows.get(at)
        if row is None:
            row = rows[at] = {"ts": at, "source": source, "values": {}, **common}
        row["values"][quantity] = value
        if quality:
            row.setdefault("quality", {})[quantity] = quality
    if len(rows) == 1:
        return [dumps(next(iter(rows.values())))]
    ordered = [rows[at] | {"id": f"{stamp.id}.{index}"} for index, at in enumerate(sorted(rows))]
    step = max(1, VALUES_AT_ONCE * len(rows) // max(1, len(batch)))
    return [dumps(ordered[first : first + step]) for first in range(0, len(ordered), step)]


def event_payload(event: Event, stamp: Stamp) -> bytes:
    """An event."""
    return dumps(
        {
            "ts": event.occurred_at,
            "event": event.type.value,
            "severity": event.severity.value,
            "data": dict(event.data),
            "id": stamp.id,
            "published_at": stamp.published_at,
        }
    )


def status_payload(at: int, *, online: bool, **more: Value) -> bytes:
    """The state of a meter or of the head-end."""
    return dumps({"online": online, "ts": at, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to one meter; `user` is empty where the broker does not say who asks. `deadline` in seconds."""

    meter_id: str
    id: str
    method: str
    params: Mapping[str, Any]
    user: str = ""
    deadline: float | None = None


def parse_request(meter_id: str, payload: bytes, user: str = "") -> Request:
    """Read a request; raises ConfigError that says what was expected."""
    if len(payload) > MAX_REQUEST:
        raise ConfigError(f"expected a request of at most {MAX_REQUEST} octets, got {len(payload)}")
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ConfigError('expected a request as JSON: {"id": "1", "method": "read", "params": {}}') from None
    if not isinstance(document, dict) or not isinstance(document.get("method"), str):
        raise ConfigError('expected an object with a "method", for example {"id": "1", "method": "read"}')
    params = document.get("params", {})
    if not isinstance(params, dict):
        raise ConfigError('expected "params" to be an object')
    return Request(
        meter_id=meter_id, id=str(document.get("id", "")), method=document["method"], params=params, user=user
    )


def response_payload(request_id: str, at: int, *, result: object = None, error: str = "", detail: str = "") -> bytes:
    """The answer to a request: a result, or an error code with its words."""
    body: dict[str, object] = {"ts": at, "id": request_id, "success": not error}
    body.update({"error": error, "detail": detail} if error else {"result": result})
    return dumps(body)

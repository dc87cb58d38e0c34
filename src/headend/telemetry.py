"""Logs and metrics: structlog set-up, redaction of secrets, and every metric declared once.

Labels are drivers, states and error codes, never meters: a process serves thousands of them.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import accumulate
from typing import Any

import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from headend.model.url import SECRET_PARAMS

REDACTED = "[redacted]"
SECRET_WORDS = ("password", "passwd", "secret", "token", "authorization", "cookie", "api_key", *SECRET_PARAMS)
"""A log field whose name is, or ends in an underscore and, one of these words is never written."""


class Timing:
    """The times of one label. Observed from one thread, without a lock."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds


class Timings(Collector):
    """A histogram for what happens up to a hundred thousand times a second: an observation costs a fifth of the usual one."""

    def __init__(self, name: str, text: str, label: str, *, buckets: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._bounds = tuple(buckets)
        self._timings: dict[str, Timing] = {}
        REGISTRY.register(self)

    def labels(self, value: str) -> Timing:
        """The times of one label; keep it where it is used often."""
        return self._timings.setdefault(value, Timing(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at each scrape."""
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        limits = [*map(str, map(float, self._bounds)), "+Inf"]
        for value, timing in self._timings.items():
            buckets = list(zip(limits, accumulate(timing.counts), strict=True))
            family.add_metric([value], buckets, timing.total)
        yield family


READS = Counter(
    "headend_reads_total", "Reads of meters, by driver and result (ok or an error code)", ["driver", "result"]
)
READ_SECONDS = Timings(
    "headend_read_seconds",
    "Time of one read of a meter, from request to decoded values",
    "driver",
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30),
)
READINGS_STORED = Counter("headend_readings_stored_total", "Readings acknowledged by the database")
BATCHES_REFUSED = Counter("headend_batches_refused_total", "Batches that the database can never take: dropped")
WRITER_QUEUE = Gauge("headend_writer_queue_readings", "Readings waiting for the database")
LANES = Gauge("headend_lanes", "Wires with an open session or waiting work", ["state"])
LINK_OCTETS = Counter("headend_link_octets_total", "Octets over links to meters", ["direction"])
SINK_MESSAGES = Counter(
    "headend_sink_messages_total",
    "Messages to northbound peers, by sink and result (sent, failed, stored, dropped, refused)",
    ["sink", "result"],
)
ALARMS_ACTIVE = Gauge("headend_alarms_active", "Alarms that are raised and not over, by severity", ["severity"])
OUTBOX_MESSAGES = Gauge("headend_outbox_messages", "Messages on disk that wait for the broker")
EVENTS = Counter("headend_events_total", "Events, by type", ["type"])
PUSHES = Counter(
    "headend_pushes_total",
    "Pushes that the listener heard, by result (ok, unknown, dropped or an error code)",
    ["result"],
)
CONNECTIONS = Gauge("headend_connections", "Open connections of callers, by what is known of them", ["stage"])
CONNECTIONS_TAKEN = Counter(
    "headend_connections_taken_total", "Connections to the gateway: accepted, or the limit that forbade it", ["result"]
)
CONNECTIONS_CLOSED = Counter(
    "headend_connections_closed_total", "Connections that the gateway has closed, by reason", ["reason"]
)
RECOGNISED = Counter("headend_callers_recognised_total", "What callers were recognised as", ["label"])
REGISTRATIONS = Counter(
    "headend_registrations_total", "Logins and heartbeats of callers, by kind, or wrong-check", ["kind"]
)
BUS_DROPPED = Counter("headend_bus_dropped_total", "Items dropped because a subscriber fell behind", ["subscriber"])
LIVE_CLIENTS = Gauge("headend_live_clients", "Browsers and programs that follow live values")

_EventDict = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: _EventDict) -> _EventDict:
    """Replace the values of fields that are named like secrets (a structlog processor)."""
    for key in event:
        word = key.lower()
        if any(word == secret or word.endswith("_" + secret) for secret in SECRET_WORDS):
            event[key] = REDACTED
    return event


def configure_logging(*, level: str = "info", json: bool = False) -> None:
    """Send structured logs to standard error: coloured text for people, or one JSON object a line."""
    renderer = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )

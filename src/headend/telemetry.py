"""Logs and metrics: structlog set-up, redaction of secrets, and every metric declared once.

Labels are drivers, states and error codes, never meters: a process serves thousands of them.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left, bisect_right
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

    def observe_all(self, durations: list[float]) -> None:
        """Count many at once, which costs a fifth of counting them one by one. They are sorted, and taken out of the list."""
        durations.sort()
        counted = 0
        for index, bound in enumerate(self._bounds):
            within = bisect_right(durations, bound, counted)
            self.counts[index] += within - counted
            counted = within
        self.counts[-1] += len(durations) - counted
        self.total += sum(durations)
        durations.clear()


class Timings(Collector):
    """A histogram for what happens up to a hundred thousand times a second: an observation costs a fifth of the usual one."""

    def __init__(self, name: str, text: str, label: str, *, buckets: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._bounds = tuple(buckets)
        self._timings: dict[str, Timing] = {}
        REGISTRY.register(self)

    def describe(self) -> Iterator[Metric]:
        """What it is, without its times."""
        yield HistogramMetricFamily(self._name, self._text, labels=[self._label])

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


INFO = Gauge("headend_info", "1, with the version of the head-end", ["version"])
READS = Counter(
    "headend_reads_total", "Reads of meters, by driver and result (ok or an error code)", ["driver", "result"]
)
READ_SECONDS = Timings(
    "headend_read_seconds",
    "Time of one read of a meter, from request to decoded values",
    "driver",
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30),
)
REQUESTS = Counter("headend_requests_total", "Requests that polls sent to meters", ["driver"])
VALUES = Counter("headend_values_total", "Values that polls brought", ["driver"])
READ_LATENESS = Timings(
    "headend_read_lateness_seconds",
    "Time from when a meter was due to when it was read",
    "driver",
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
READINGS_STORED = Counter("headend_readings_stored_total", "Readings acknowledged by the database")
READINGS_SUMMARISED = Counter(
    "headend_readings_summarised_total", "Readings of days that are over, made into summaries"
)
SUMMARIES_DUE = Gauge(
    "headend_summaries_due", "Days of series to be summarised again, because readings of them came late"
)
BATCHES_REFUSED = Counter("headend_batches_refused_total", "Batches that the database can never take: dropped")
WRITER_QUEUE = Gauge("headend_writer_queue_readings", "Readings waiting for the database")
METERS = Gauge("headend_meters", "Meters, by state (online, offline, untried)", ["state"])
LAST_READ = Gauge("headend_last_read_timestamp_seconds", "When a meter answered last, whichever it was; 0: none has")
LANES = Gauge("headend_lanes", "Wires with an open session or waiting work", ["state"])
CIRCUITS = Gauge(
    "headend_circuits", "Circuits of meters and wires that are not closed, by scope and state", ["scope", "state"]
)
RECOVERIES = Counter(
    "headend_recoveries_total",
    "Attempts to recover, by level (retry, reopen, renew, circuit) and result (ok, failed)",
    ["level", "result"],
)
NETWORK_PLACES = Gauge(
    "headend_network_places",
    "Places that are taken in networks of the settings (sessions at work, links)",
    ["network", "what"],
)
NETWORK_WAITS = Counter(
    "headend_network_waits_total", "Jobs and links that had to wait for a place in a network", ["network", "what"]
)
LOOP_LAG = Gauge("headend_loop_lag_seconds", "How late the event loop was when the supervisor last looked")
SUPERVISED = Counter(
    "headend_supervisor_acts_total", "What the supervisor did something about: parts by name, or meter", ["what"]
)
LINK_OCTETS = Counter("headend_link_octets_total", "Octets over links to meters", ["direction"])
SINK_MESSAGES = Counter(
    "headend_sink_messages_total",
    "What is delivered to northbound systems, by sink and result (delivered, failed and come again, refused, lost)",
    ["sink", "result"],
)
SINK_BACKLOG = Gauge("headend_sink_backlog_entries", "Stored entries that a sink does not have yet", ["sink"])
SINK_LAG = Gauge("headend_sink_lag_seconds", "Age of the oldest stored entry that a sink does not have yet", ["sink"])
SINK_CONNECTED = Gauge("headend_sink_connected", "1 while the connection of a sink stands", ["sink"])
SINK_CONNECTIONS = Counter("headend_sink_connections_total", "Connections that a sink has opened", ["sink"])
ALARMS_ACTIVE = Gauge("headend_alarms_active", "Alarms that are raised and not over, by severity", ["severity"])
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
HISTORY_ROWS = Counter("headend_history_rows_total", "Rows of load profiles that were lacking and were read")
HISTORY_FAILURES = Counter(
    "headend_history_failures_total", "Load profiles that could not be read, by error code", ["code"]
)
COMPLETENESS = Gauge(
    "headend_completeness_ratio", "Share of the intervals of all meters that are there (UTC days)", ["day"]
)
GAPS = Gauge(
    "headend_gaps", "Intervals of the last seven days that are not there: missing, or why they never arrive", ["reason"]
)
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

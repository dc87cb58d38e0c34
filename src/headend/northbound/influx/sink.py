"""The InfluxDB sink: readings as points, over `/api/v2/write` (token), or `/write` of version 1.

Writing a point again changes nothing, since measurement, tags and time are its key. 400, 413 and 422 refuse what is written: the
courier finds out which entry it was, unless the server names lines. Anything else leaves all waiting.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlencode

import orjson

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.event import Event
from headend.model.journal import Entry
from headend.model.mbmd import amount, names
from headend.model.meter import Meter
from headend.model.reading import ReadingBatch, Value
from headend.northbound.http import Answer, Connection, Http, HttpOptions
from headend.northbound.influx.lines import field_value, line
from headend.northbound.sink import Channel, Refusal, SinkKind, Surroundings

REFUSED: Final = (400, 413, 422)
HUGE: Final = 10**300
SMALL: Final = 1024
"""octets that are not worth packing"""
_TICKS = {"ns": 1_000_000, "us": 1000, "ms": 1}
_PRECISION_V1 = {"ns": "n", "us": "u", "ms": "ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxOptions(HttpOptions):
    """Options of an InfluxDB sink. `url` is that of the server, without the path of the API."""

    version: Literal["2", "1"] = field(
        default="2", metadata={"description": "of the API: 2 (/api/v2/write, also of version 3), or 1 (/write)"}
    )
    bucket: str = field(default="", metadata={"description": "of version 2"})
    org: str = field(default="", metadata={"description": "of version 2; version 3 needs none"})
    token: str = field(default="", metadata={"description": "place of the token of version 2"})
    database: str = field(default="", metadata={"description": "of version 1"})
    retention_policy: str = field(default="", metadata={"description": "of version 1; empty: its default"})
    username: str = field(default="", metadata={"description": "of version 1"})
    password: str = field(default="", metadata={"description": "place of the password of version 1"})
    layout: Literal["meter", "mbmd"] = field(
        default="meter",
        metadata={
            "description": "meter: a point with all quantities of a moment as fields, tag `meter`; mbmd: measurement `data`,"
            " tags `device` and `type`, field `value`"
        },
    )
    measurement: str = field(default="", metadata={"description": "name of it; empty: `meter`, or `data` with mbmd"})
    tags: dict[str, str] = field(default_factory=dict, metadata={"description": "more tags of every point"})
    integers: bool = field(
        default=False,
        metadata={"description": "write whole numbers as integers; only where all meters give a quantity as such"},
    )
    precision: Literal["ms", "us", "ns"] = field(default="ms", metadata={"description": "of times"})
    pack: bool = field(default=True, metadata={"description": "send larger bodies gzipped"})


class InfluxSink:
    """A database as the options name it."""

    def __init__(self, options: InfluxOptions, surroundings: Surroundings) -> None:
        """Raises ConfigError."""
        place = f"sinks.{surroundings.name}"
        wanted = "bucket" if options.version == "2" else "database"
        if not getattr(options, wanted):
            raise ConfigError(f"{place}.{wanted}: version {options.version} needs it")
        self._options = options
        self._find = surroundings.roster.find
        self._profile = surroundings.profile
        self._http = Http(options, surroundings)
        self.url = options.url.rstrip("/") + _path(options)
        self._secret = (
            surroundings.secret(options.token or options.password) if options.token or options.password else None
        )
        self._agent = f"headend/{surroundings.version}"

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        """A connection."""
        headers = {"user-agent": self._agent, "content-type": "text/plain; charset=utf-8"} | self._authorization()
        async with self._http.connect(headers) as connection:
            yield _InfluxChannel(self, connection)

    def _authorization(self) -> dict[str, str]:
        if self._secret is None:
            return {}
        if self._options.version == "2":
            return {"authorization": f"Token {self._secret.reveal().decode()}"}
        pair = self._options.username.encode() + b":" + self._secret.reveal()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def lines(self, entries: Sequence[Entry]) -> Iterator[tuple[int, str]]:
        """The points of readings, each with the number of its entry; events are none."""
        for entry in entries:
            if not isinstance(entry.item, Event):
                for point in self._points(entry.item):
                    yield entry.number, point

    def _points(self, batch: ReadingBatch) -> Iterator[str]:
        state = self._find(batch.meter_id)
        if self._options.layout == "meter":
            return points(batch, state.meter if state else None, self._options)
        profile = self._profile(state.meter) if state else None
        there = (
            {each.quantity for each in profile.objects} if profile else set()
        )  # a name depends on what else there is
        return mbmd_points(batch, names(there | set(batch.quantities)), self._options)

    def body(self, lines: Sequence[str]) -> tuple[bytes, dict[str, str]]:
        """What is sent, and its headers."""
        octets = "\n".join(lines).encode()
        if self._options.pack and len(octets) > SMALL:
            return gzip.compress(octets, 5, mtime=0), {"content-encoding": "gzip"}
        return octets, {}


def _path(options: InfluxOptions) -> str:
    if options.version == "2":
        said = {"org": options.org, "bucket": options.bucket, "precision": options.precision}
        return "/api/v2/write?" + urlencode({name: value for name, value in said.items() if value})
    said = {"db": options.database, "rp": options.retention_policy, "precision": _PRECISION_V1[options.precision]}
    return "/write?" + urlencode({name: value for name, value in said.items() if value})


def points(batch: ReadingBatch, meter: Meter | None, options: InfluxOptions) -> Iterator[str]:
    """The lines of a batch."""
    ticks = _TICKS[options.precision]
    tags = {**options.tags, "meter": batch.meter_id}
    if meter is not None and meter.name:
        tags["name"] = meter.name
    moments: dict[int, dict[str, str]] = defaultdict(dict)
    for key, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
        if (said := field_value(_number(value, options))) is not None:
            moments[at][key] = said
    for at, fields in moments.items():
        yield line(options.measurement or "meter", tags, fields, at * ticks)


def _number(value: Value, options: InfluxOptions) -> Value:
    """A value as it is written: one field holds one type for ever, and not all meters give whole numbers."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and not options.integers and abs(value) < HUGE else value  # type: ignore[arg-type] # a whole number


def mbmd_points(batch: ReadingBatch, known: Mapping[str, str], options: InfluxOptions) -> Iterator[str]:
    """The lines of a batch as mbmd writes them; `known` are the measurements of quantities."""
    ticks = _TICKS[options.precision]
    tags = {**options.tags, "device": batch.meter_id}
    for key, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
        number = amount(known[key], value) if key in known else None
        said = field_value(number) if number is not None else None
        if said is not None:
            yield line(options.measurement or "data", {**tags, "type": known[key]}, {"value": said}, at * ticks)


class _InfluxChannel:
    """Writes over one connection."""

    def __init__(self, sink: InfluxSink, connection: Connection) -> None:
        self._sink = sink
        self._connection = connection

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """One request for all; points have their time, so it is no matter whether they are late."""
        del late
        lines = list(self._sink.lines(entries))
        if not lines:
            return ()
        body, headers = await asyncio.to_thread(self._sink.body, [text for _, text in lines])
        answer = await self._connection.send(body, headers, url=self._sink.url)
        if answer.ok:
            return ()
        if answer.status not in REFUSED:
            raise SinkError(str(answer))
        refused = _refused(answer, [number for number, _ in lines])
        if not refused:
            raise SinkRefused(str(answer))
        return refused

    async def attend(self) -> None:
        """A database asks nothing."""
        await asyncio.Event().wait()


def _refused(answer: Answer, numbers: Sequence[int]) -> list[Refusal]:
    """What a server that wrote the rest says of single lines (version 3); nothing where it does not."""
    try:
        said = orjson.loads(answer.text)["data"]
        rows = {numbers[row["line_number"] - 1]: str(row["error_message"]) for row in said if row["line_number"] > 0}
    except (ValueError, KeyError, TypeError, IndexError):
        return []
    return [Refusal(number, reason) for number, reason in rows.items()]


kind: Final = SinkKind(name="influxdb", options=InfluxOptions, make=InfluxSink)

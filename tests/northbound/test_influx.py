"""InfluxDB against a receiver that reads line protocol by its published grammar."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry, Item
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch, Source
from headend.northbound.influx import kind
from headend.northbound.influx.lines import field_value, line
from headend.northbound.influx.sink import InfluxOptions, InfluxSink
from headend.northbound.sink import Surroundings
from headend.services.bus import Bus
from headend.services.roster import Roster
from tests.northbound.exports.world import meter

from .contract import Seen, check
from .http_server import Asked, HttpServer, Said

NOW = 1_763_727_430_000


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Any]
    at: int


class _Text:
    """A line, read octet by octet as the grammar has it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, expected: str) -> None:
        assert self.peek() == expected, f"expected {expected!r} at {self.at} of {self.text!r}"
        self.at += 1

    def bare(self, ends: str) -> str:
        """Up to one of `ends` that is not escaped; a backslash escapes only those, else it stands for itself."""
        found = ""
        while (char := self.peek()) and char not in ends:
            assert char not in "\r\n\0"
            self.at += 1
            if char == "\\" and self.peek() and self.peek() in ",= ":
                char = self.peek()
                self.at += 1
            found += char
        assert found
        return found

    def quoted(self) -> str:
        self.take('"')
        found = ""
        while self.peek() != '"':
            assert self.peek(), "an open string"
            char = self.peek()
            self.at += 1
            if char == "\\" and self.peek() and self.peek() in '"\\':
                char = self.peek()
                self.at += 1
            found += char
        self.take('"')
        return found

    def value(self) -> Any:
        if self.peek() == '"':
            return self.quoted()
        word = self.bare(", ")
        if word in ("true", "false"):
            return word == "true"
        if word.endswith("i"):
            number = int(word[:-1])
            assert -(1 << 63) <= number < 1 << 63
            return number
        assert word not in ("nan", "inf", "-inf")
        return float(word)


def parse(text: str) -> Point:
    rest = _Text(text)
    measurement = rest.bare(", ")
    assert measurement[0] not in "_#"
    tags: dict[str, str] = {}
    while rest.peek() == ",":
        rest.take(",")
        key = rest.bare("=")
        rest.take("=")
        assert key not in tags
        tags[key] = rest.bare(", ")
    rest.take(" ")
    fields: dict[str, Any] = {}
    while True:
        key = rest.bare("=")
        rest.take("=")
        assert key not in fields
        fields[key] = rest.value()
        if rest.peek() != ",":
            break
        rest.take(",")
    rest.take(" ")
    return Point(measurement, tags, fields, int(rest.text[rest.at :]))


class Database(HttpServer):
    """Stores points by measurement, tags and time; a field has one type for ever, as in the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[Point] = []
        self.types: dict[tuple[str, str], type] = {}
        self.next: list[Said] = []
        self.poison: set[float] = set()

    def answer(self, asked: Asked) -> Said:
        if self.next:
            return self.next.pop(0)
        body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
        assert asked.headers["content-type"] == "text/plain; charset=utf-8"
        refused = []
        for point in map(parse, _lines(body.decode())):
            wrong = [
                name
                for name, value in point.fields.items()
                if self.types.setdefault((point.measurement, name), type(value)) is not type(value)
                or value in self.poison
            ]
            if wrong:
                refused.append(wrong[0])
            else:
                self.points.append(point)
        if refused:
            return Said(400, body=json.dumps({"code": "invalid", "message": f"partial write: {refused[0]}"}).encode())
        return Said(204)

    def seen(self) -> Sequence[Seen]:
        return [Seen(each.tags["meter"], value) for each in self.points for value in each.fields.values()]

    def refuse(self, value: float) -> bool:
        self.poison.add(value)
        return True


def _lines(text: str) -> list[str]:
    """Lines, but for line ends in strings."""
    found, start, quoted, escaped = [], 0, False, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "\n" and not quoted:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    made = Database()
    async with made:
        yield made


def make(database: Database | None, /, **options: Any) -> InfluxSink:
    bus = Bus()
    roster = Roster(bus, lambda: NOW)
    roster.load([meter("m1")])

    async def answer(_request: object) -> object:
        raise AssertionError

    around = Surroundings(
        name="influx",
        version="1.2.3",
        roster=roster,
        profile=lambda _meter: None,
        answer=answer,
        clock=lambda: NOW,
        secret=lambda place: Secret(place.encode()),
    )
    if not options.keys() & {"bucket", "database"}:
        options["bucket"] = "meters"
    options.setdefault("url", database.url if database else "http://host")
    sink = kind.make(InfluxOptions(**options), around)
    assert isinstance(sink, InfluxSink)
    return sink


def batch(values: dict[str, Any], name: str = "m1", at: int = NOW) -> ReadingBatch:
    return ReadingBatch(
        meter_id=name,
        source=Source.POLL,
        received_at=at + 250,
        quantities=tuple(values),
        values=list(values.values()),
        measured_at=[at] * len(values),
        quality=[0] * len(values),
    )


def entries(*items: Item) -> list[Entry]:
    return [Entry(1000 + number, item) for number, item in enumerate(items)]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1).filter(
    lambda text: not text.endswith("\\") and text[0] not in "_#"
)
VALUES = st.one_of(
    st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False)
)


def _plain(text: str) -> bool:
    """Text in which no backslash stands before what is escaped: there the protocol itself is ambiguous."""
    return not any(f"\\{each}" in text for each in ",= ")


@given(
    measurement=NAMES.filter(_plain).filter(lambda text: "=" not in text),
    tags=st.dictionaries(NAMES.filter(_plain), NAMES.filter(_plain), max_size=3),
    fields=st.dictionaries(
        NAMES.filter(_plain),
        VALUES | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        min_size=1,
        max_size=3,
    ),
)
def test_a_line_is_read_back_as_it_was_meant(measurement: str, tags: dict[str, str], fields: dict[str, Any]) -> None:
    said = {name: text for name, value in fields.items() if (text := field_value(value)) is not None}
    assert parse(line(measurement, tags, said, NOW)) == Point(measurement, tags, fields, NOW)


def test_what_the_protocol_cannot_say_is_left_out() -> None:
    assert [field_value(each) for each in (float("nan"), float("inf"), 1 << 63, 10**400)] == [
        None,
        None,
        repr(2.0**63),
        None,
    ]
    said = line("m\nx", {"a": "", "b": "ends\\"}, {"f": "1i"}, 5)
    assert parse(said) == Point("m x", {"b": "ends"}, {"f": 1}, 5)


async def test_a_moment_of_a_meter_is_a_point(database: Database) -> None:
    item = batch(
        {"voltage_l1": 230.5, "active_energy_import_total": 1234, "relay_closed": True, "serial_number": 'A "1"\\'}
    )
    later = batch({"voltage_l1": 231}, at=NOW + 60_000)
    event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=NOW, meter_id="m1")
    async with make(database, token="env:TOKEN", org="home", tags={"site": "a b"}).session() as channel:
        assert not await channel.deliver(entries(item, event, later), late=False)
    assert database.points == [
        Point(
            "meter",
            {"meter": "m1", "site": "a b"},
            {
                "voltage_l1": 230.5,
                "active_energy_import_total": 1234.0,
                "relay_closed": True,
                "serial_number": 'A "1"\\',
            },
            NOW,
        ),
        Point("meter", {"meter": "m1", "site": "a b"}, {"voltage_l1": 231.0}, NOW + 60_000),
    ]
    (asked,) = database.asked
    assert asked.path == "/api/v2/write"
    assert parse_qs(asked.query) == {"org": ["home"], "bucket": ["meters"], "precision": ["ms"]}
    assert asked.headers["authorization"] == "Token env:TOKEN"


async def test_version_1_integers_and_nanoseconds(database: Database) -> None:
    options = {
        "version": "1",
        "database": "db",
        "username": "u",
        "password": "env:P",
        "precision": "ns",
        "integers": True,
    }
    async with make(database, **options).session() as channel:
        await channel.deliver(entries(batch({"active_energy_import_total": 1234})), late=False)
    assert database.points == [Point("meter", {"meter": "m1"}, {"active_energy_import_total": 1234}, NOW * 1_000_000)]
    assert isinstance(database.points[0].fields["active_energy_import_total"], int)
    (asked,) = database.asked
    assert (asked.path, parse_qs(asked.query)) == ("/write", {"db": ["db"], "precision": ["n"]})
    assert asked.headers["authorization"] == "Basic dTplbnY6UA=="


async def test_the_layout_of_mbmd(database: Database) -> None:
    values = {"voltage_l1": 230.5, "voltage_l2": 231.5, "active_energy_import_total": 1500, "serial_number": "1"}
    async with make(database, layout="mbmd").session() as channel:
        await channel.deliver(entries(batch(values)), late=False)
    assert [(each.measurement, each.tags, each.fields) for each in database.points] == [
        ("data", {"device": "m1", "type": "VoltageL1"}, {"value": 230.5}),
        ("data", {"device": "m1", "type": "VoltageL2"}, {"value": 231.5}),
        ("data", {"device": "m1", "type": "Import"}, {"value": 1.5}),
    ]


async def test_large_bodies_are_packed(database: Database) -> None:
    items = [batch({"voltage_l1": float(n)}, at=NOW + n) for n in range(200)]
    for pack in (True, False):
        async with make(database, pack=pack).session() as channel:
            await channel.deliver(entries(*items), late=False)
    assert [each.headers.get("content-encoding") for each in database.asked] == ["gzip", None]
    assert len(database.asked[0].body) * 4 < len(database.asked[1].body)
    assert len(database.points) == 400


async def test_a_type_conflict_is_refused(database: Database) -> None:
    async with make(database).session() as channel:
        await channel.deliver(entries(batch({"voltage_l1": 230})), late=False)
        with pytest.raises(SinkRefused, match="partial write"):
            await channel.deliver(entries(batch({"voltage_l1": "text"})), late=False)


async def test_lines_that_version_3_names_are_refused_alone(database: Database) -> None:
    said = {"error": "partial write of line protocol occurred", "data": [{"error_message": "bad", "line_number": 2}]}
    database.next = [Said(400, body=json.dumps(said).encode())]
    async with make(database).session() as channel:
        items = [batch({"voltage_l1": 1.0}), batch({"voltage_l1": 2.0}, at=NOW + 1)]
        assert [each.number for each in await channel.deliver(entries(*items), late=False)] == [1001]


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_what_is_no_fault_of_a_point_leaves_all_waiting(database: Database, status: int) -> None:
    database.next = [Said(status)]
    async with make(database).session() as channel:
        with pytest.raises(SinkError) as raised:
            await channel.deliver(entries(batch({"voltage_l1": 1.0})), late=False)
    assert not isinstance(raised.value, SinkRefused)


async def test_the_contract_of_all_sinks(database: Database, tmp_path: Path) -> None:
    await check(tmp_path, lambda: make(database), database, meters=3, rounds=8)


@pytest.mark.parametrize("options", [{"bucket": ""}, {"version": "1", "bucket": "b"}, {"url": "influx://x"}])
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(None, **{"bucket": "b", **options})

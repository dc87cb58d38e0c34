"""IEC 61968-9 and Green Button: held against the published order, names and codes of elements, and read back to the same intervals.

The order of the elements is that of MeterReadings.xsd and Message.xsd (IEC 61968-9:2013, IEC 61968-100) and of espi.xsd (NAESB
REQ.21), written here as a grammar: `?` once at most, `*` any number, otherwise exactly once.
"""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from headend.model.interval import Channel, form_of
from headend.model.meter import MeterIdentity
from headend.model.quantity import quantity
from headend.model.reading import Quality
from headend.northbound.exports.dst import local_time
from headend.northbound.exports.reading_type import reading_type
from headend.storage.store import Store
from tests.northbound.exports.world import (
    DAY,
    EXPORT,
    HOUR,
    IMPORT,
    MINUTE,
    QUARTER,
    exports,
    made,
    meter,
    put,
    register,
    utc,
)

START = utc(2026, 3, 1)

Grammar = Mapping[str, str]
CIM: Grammar = MappingProxyType(
    {
        "EventMessage": "Header Payload?",
        "Header": "Verb Noun Revision? ReplayDetection? Context? Timestamp? Source? AsyncReplyFlag? ReplyAddress? AckRequired?"
        " User? MessageID? CorrelationID? Comment? Property*",
        "Payload": "MeterReadings",
        "MeterReadings": "EndDeviceEventType* MeterReading* ReadingQualityType* ReadingType*",
        "MeterReading": "isCoincidentTrigger? EndDeviceEvents* IntervalBlocks* Meter? Readings* UsagePoint? valuesInterval?",
        "IntervalBlocks": "IntervalReadings* PendingCalculation? ReadingType",
        "IntervalReadings": "reportedDateTime? source? timeStamp? value? ReadingQualities* timePeriod?",
        "Readings": "reason? reportedDateTime? source? timeStamp? value? ReadingQualities* ReadingType timePeriod?",
        "ReadingQualities": "comment? source? timeStamp? ReadingQualityType",
        "timePeriod": "end? start?",
        "Meter": "mRID? Names* status?",
        "Names": "name NameType?",
        "NameType": "description? name NameTypeAuthority?",
        "NameTypeAuthority": "description? name",
    }
)
ESPI: Grammar = MappingProxyType(
    {
        "feed": "id title updated link* entry*",
        "entry": "id link* title content published updated",
        "content": "UsagePoint? LocalTimeParameters? MeterReading? ReadingType? IntervalBlock?",
        "UsagePoint": "batchItemInfo? roleFlags? ServiceCategory status?",
        "ServiceCategory": "kind",
        "LocalTimeParameters": "dstEndRule dstOffset dstStartRule tzOffset",
        "MeterReading": "",
        "ReadingType": "accumulationBehaviour? commodity? consumptionTier? currency? dataQualifier? defaultQuality? flowDirection?"
        " intervalLength? kind? phase? powerOfTenMultiplier? timeAttribute? tou? uom? cpp? interharmonic? measuringPeriod?"
        " argument?",
        "IntervalBlock": "interval IntervalReading*",
        "interval": "duration? start?",
        "IntervalReading": "cost? ReadingQuality* timePeriod? value? consumptionTier? tou? cpp?",
        "ReadingQuality": "quality",
        "timePeriod": "duration? start?",
    }
)


def name_of(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def check(node: ET.Element, grammar: Grammar) -> None:
    """Each element has the children that the grammar says, in its order; what has none holds text or nothing."""
    said = grammar.get(name_of(node))
    if said is None:
        assert len(node) == 0, f"{name_of(node)} holds elements"
        return
    pattern = "".join(f"(?:{word.rstrip('?*')} ){word[-1] if word[-1] in '?*' else ''}" for word in said.split())
    children = "".join(f"{name_of(child)} " for child in node)
    assert re.fullmatch(pattern, children), f"{name_of(node)} holds {children}"
    for child in node:
        check(child, grammar)


def time_of(text: str) -> int:
    assert text.endswith("Z")
    return utc(*datetime.fromisoformat(text).timetuple()[:6])


def under(node: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in node.iter() if name_of(each) == name]


def value(node: ET.Element, name: str) -> str:
    (found,) = [each for each in node if name_of(each) == name]
    return found.text or ""


def cim(octets: bytes) -> dict[tuple[str, str], list[tuple[int, int, Decimal, tuple[str, ...]]]]:
    """Intervals by meter and reading type."""
    root = ET.fromstring(octets)  # noqa: S314 # our own
    check(root, CIM)
    assert root.tag == "{http://iec.ch/TC57/2011/schema/message}EventMessage"
    assert value(root[0], "Verb") == "created"
    assert value(root[0], "Noun") == "MeterReadings"
    found = {}
    for reading in under(root, "MeterReading"):
        assert reading.tag.startswith("{http://iec.ch/TC57/2011/MeterReadings#}")
        (who,) = [value(each, "mRID") for each in under(reading, "Meter")]
        for block in under(reading, "IntervalBlocks"):
            kind = block[-1].attrib["ref"]
            assert re.fullmatch(r"\d+(\.\d+){17}", kind)
            rows = []
            for each in under(block, "IntervalReadings"):
                (period,) = under(each, "timePeriod")
                start, end = time_of(value(period, "start")), time_of(value(period, "end"))
                assert time_of(value(each, "timeStamp")) == end
                codes = tuple(code.attrib["ref"] for code in under(each, "ReadingQualityType"))
                assert all(re.fullmatch(r"\d\.\d+\.\d+", code) for code in codes)
                rows.append((start, end, Decimal(value(each, "value")), codes))
            assert rows, "no empty blocks"
            found[who, kind] = rows
    return found


def espi(octets: bytes) -> dict[str, list[tuple[int, int, int, int | None]]]:
    """Intervals by the link of their MeterReading, which has a ReadingType."""
    root = ET.fromstring(octets)  # noqa: S314 # our own
    check(root, ESPI)
    assert root.tag == "{http://www.w3.org/2005/Atom}feed"
    entries = under(root, "entry")
    assert len({value(each, "id") for each in entries}) == len(entries)
    links = [{each.attrib["rel"]: each.attrib["href"] for each in under(entry, "link")} for entry in entries]
    related = {
        link["self"]: {each.attrib["href"] for each in under(entry, "link") if each.attrib["rel"] == "related"}
        for entry, link in zip(entries, links, strict=True)
    }
    there = {link["self"] for link in links} | {link["up"] for link in links}
    assert all(each in there for all_related in related.values() for each in all_related), "no dangling links"
    found: dict[str, list[tuple[int, int, int, int | None]]] = {}
    for entry, link in zip(entries, links, strict=True):
        for payload in (each for content in under(entry, "content") for each in content):
            assert payload.tag.startswith("{http://naesb.org/espi}")
            if name_of(payload) != "IntervalBlock":
                continue
            rows = found.setdefault(link["up"].removesuffix("/IntervalBlock"), [])
            (whole,) = under(payload, "interval")
            before = len(rows)
            for each in under(payload, "IntervalReading"):
                (period,) = under(each, "timePeriod")
                start = int(value(period, "start"))
                quality = [int(value(one, "quality")) for one in under(each, "ReadingQuality")]
                assert set(quality) <= {0, *range(7, 20)}
                rows.append(
                    (start, start + int(value(period, "duration")), int(value(each, "value")), *(quality or [None]))
                )
            assert int(value(whole, "start")) == rows[before][0]
            assert int(value(whole, "start")) + int(value(whole, "duration")) == rows[-1][1]
    return found


def truth(points: list[tuple[int, object]]) -> list[tuple[int, int, Decimal]]:
    return [
        (at, end, Decimal(str(after)) - Decimal(str(before)))
        for (at, before), (end, after) in itertools.pairwise(points)
        if end - at == QUARTER
    ]


@pytest.mark.parametrize("seed", range(4))
def test_every_format_tells_the_same_intervals(store: Store, seed: int) -> None:
    """With gaps, estimates and a roll-over, over the night in which clocks are put back."""
    chance = random.Random(seed)
    start = utc(2026, 10, 24, 22)
    points = register(start, start + 2 * DAY, first=99_990_000, seed=seed)
    kept = [(at, value % 100_000_000) for at, value in points if chance.random() > 0.2]  # type: ignore[operator] # ints
    sure = {at for at, _ in kept if chance.random() > 0.3}
    put(store, "m 1", IMPORT, [each for each in kept if each[0] in sure])
    put(store, "m 1", IMPORT, [each for each in kept if each[0] not in sure], quality=Quality.ESTIMATED)
    found = exports(store, meter("m 1"))

    there = {at for at, _ in kept}
    expected = [
        (at, end, Decimal(after) - Decimal(before), at in sure and end in sure)  # type: ignore[arg-type] # ints
        for (at, before), (end, after) in itertools.pairwise(points)
        if at in there and end in there
    ]
    assert any(after[1] < before[1] for before, after in itertools.pairwise(kept)), "it rolls over"  # type: ignore[operator] # ints
    (rows,) = cim(made(found, "iec61968-9", start, start + 2 * DAY)).values()
    assert [(*row[:3], not row[3]) for row in rows] == expected
    assert {row[3] for row in rows} == {(), ("2.8.0",)}
    (blocks,) = espi(made(found, "espi", start, start + 2 * DAY, zone="Europe/Berlin")).values()
    assert [(at * 1000, end * 1000, amount, quality is None) for at, end, amount, quality in blocks] == expected


def test_blocks_are_local_days_whether_they_have_23_24_or_25_hours(store: Store) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for month, day, hours in ((3, 29, 23), (6, 1, 24), (10, 25, 25)):
        midnight = datetime(2026, month, day, tzinfo=berlin)
        start = round(midnight.timestamp() * 1000)
        end = round((midnight + timedelta(days=1)).timestamp() * 1000)
        put(store, "m1", IMPORT, register(start - DAY, end + DAY))
        octets = made(exports(store, meter("m1")), "espi", start - HOUR, end + HOUR, zone="Europe/Berlin")
        blocks = list(under(ET.fromstring(octets), "IntervalBlock"))  # noqa: S314 # our own
        assert [len(under(block, "IntervalReading")) for block in blocks] == [4, 4 * hours, 4]
        assert int(value(under(blocks[1], "interval")[0], "duration")) == hours * 3600


@pytest.mark.parametrize(
    ("zone", "offset", "dst", "start", "end"),
    [
        # as the Green Button Alliance publishes them for North America
        pytest.param("America/New_York", -18000, 3600, "360E2000", "B40E2000", id="second Sunday of March"),
        pytest.param("Europe/Berlin", 3600, 3600, "3E0E2000", "AE0E3000", id="last Sundays"),
        pytest.param("Australia/Sydney", 36000, 3600, "A40E2000", "440E3000", id="the other way round"),
        pytest.param("Asia/Kolkata", 19800, 0, "00000000", "00000000", id="none"),
        pytest.param("UTC", 0, 0, "00000000", "00000000", id="UTC"),
    ],
)
def test_rules_of_daylight_saving(zone: str, offset: int, dst: int, start: str, end: str) -> None:
    said = local_time(ZoneInfo(zone), 2026)
    assert (said.offset, said.dst_offset) == (offset, dst)
    assert (f"{said.start_rule:08X}", f"{said.end_rule:08X}") == (start, end)


def channel(key: str, minutes: int = 15) -> Channel:
    form = form_of(quantity(key))
    assert form is not None
    return Channel(meter=meter("m"), quantity=quantity(key), form=form, period=minutes * MINUTE)


@pytest.mark.parametrize(
    ("key", "minutes", "code"),
    [
        # 0.0.2.4.1.1.12.…3.72.0 is the published example of a quarter-hourly forward delta in kWh; here in Wh
        ("active_energy_import_total", 15, "0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.0.72.0"),
        ("active_energy_export_total", 60, "0.0.7.4.19.1.12.0.0.0.0.0.0.0.0.0.72.0"),
        ("active_energy_import_t2", 30, "0.0.5.4.1.1.12.0.0.0.0.2.0.0.0.0.72.0"),
        ("reactive_energy_q1_total", 5, "0.0.6.4.15.1.12.0.0.0.0.0.0.0.0.0.73.0"),
        ("active_energy_import_l1", 1, "0.0.3.4.1.1.12.0.0.0.0.0.0.0.128.0.72.0"),
        ("voltage_l2", 0, "0.0.0.12.0.1.54.0.0.0.0.0.0.0.64.0.29.0"),
        ("frequency", 0, "0.0.0.12.0.1.15.0.0.0.0.0.0.0.0.0.33.0"),
        ("power_factor_total", 0, "0.0.0.12.0.1.38.0.0.0.0.0.0.0.0.0.65.0"),
        ("active_demand_max_import_total", 0, "0.8.0.6.1.1.8.0.0.0.0.0.0.0.0.0.38.0"),
        ("voltage_thd_l1", 0, ""),
    ],
)
def test_the_code_of_a_reading_type(key: str, minutes: int, code: str) -> None:
    assert reading_type(channel(key, minutes)) == code


def test_moments_are_readings_behind_their_meter(store: Store) -> None:
    put(store, "m1", "voltage_l1", [(START, 230.4)])
    put(store, "m1", IMPORT, register(START, START + HOUR))
    octets = made(exports(store, meter("m1")), "iec61968-9", START, START + DAY, quantities=["voltage_l1", IMPORT])
    (rows,) = cim(octets).values()
    assert len(rows) == 4
    (reading,) = under(ET.fromstring(octets), "Readings")  # noqa: S314 # our own
    assert value(reading, "value") == "230.4"
    assert time_of(value(reading, "timeStamp")) == START


def test_interpolated_values_say_so(store: Store) -> None:
    put(store, "m1", IMPORT, [(START + n * MINUTE + 20_000, 1000 + n) for n in range(60)])
    found = exports(store, meter("m1"))
    (rows,) = cim(made(found, "iec61968-9", START, START + DAY)).values()
    assert {row[3] for row in rows} == {("2.11.0",)}
    (blocks,) = espi(made(found, "espi", START, START + DAY)).values()
    assert {row[3] for row in blocks} == {9}


def test_texts_of_meters_cannot_break_the_document(store: Store) -> None:
    odd = replace(meter("m1", identity=MeterIdentity(serial="</Meter>\x1b")), name="<b>&\"'\x00]]>")
    for key in (IMPORT, EXPORT):
        put(store, "m1", key, register(START, START + HOUR))
    found = exports(store, odd)
    assert len(cim(made(found, "iec61968-9", START, START + DAY, sender="<x>"))) == 2
    octets = made(found, "espi", START, START + DAY)
    assert len(espi(octets)) == 2
    assert "<b>&\"'\ufffd]]>" in [each.text for each in under(ET.fromstring(octets), "title")]  # noqa: S314 # our own

"""NEM12, held against the rules of the specification, and read back by nemreader in a process of its own."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headend.errors import ConfigError
from headend.model.interval import Interval
from headend.model.meter import MeterIdentity
from headend.model.reading import Quality, Source
from headend.northbound.exports.nem12 import flag_of
from headend.storage.store import Store
from tests.northbound.exports.world import (
    DAY,
    EXPORT,
    HOUR,
    IMPORT,
    MINUTE,
    PROFILED,
    QUARTER,
    exports,
    made,
    meter,
    pieces,
    put,
    register,
    utc,
)

PEER = Path(__file__).parents[2] / "interop" / "peers" / "nemreader_read.py"
NMI = "NEM1201009"
START = utc(2026, 3, 1) - 10 * HOUR
"""midnight of the market"""
AEST = timedelta(hours=10)


def check(octets: bytes) -> list[list[str]]:
    """The records of a file that keeps the rules for records 100, 200, 300, 400 and 900."""
    text = octets.decode("ascii")
    assert text.endswith("\r\n")
    records = [line.split(",") for line in text.removesuffix("\r\n").split("\r\n")]
    assert records[0][:2] == ["100", "NEM12"]
    assert re.fullmatch(r"\d{12}", records[0][2])
    assert all(len(each) <= 10 for each in records[0][3:5])
    assert records[-1] == ["900"]
    count, covered, seen = 0, 0, ""
    varies = False
    for record in records[1:-1]:
        if record[0] != "400":
            assert covered == (count if varies else 0), "records 400 cover the day"
        if record[0] == "200":
            _, nmi, configuration, register_id, suffix, stream, serial, unit, minutes, next_read = record
            assert re.fullmatch("[A-Z0-9]{10}", nmi)
            assert suffix in re.findall("[A-Z][0-9]", configuration)
            assert len(register_id) <= 10
            assert len(serial) <= 12
            assert (stream, next_read) == ("", "")
            assert unit in ("kWh", "kVArh")
            assert minutes in ("5", "15", "30")
            count, seen, varies, covered = 1440 // int(minutes), "", False, 0
        elif record[0] == "300":
            assert len(record) == count + 7
            assert record[1] > seen, "days come in their order"
            seen = record[1]
            assert all(re.fullmatch(r"\d+(\.\d{1,3})?", value) for value in record[2 : count + 2])
            quality, code, reason, updated, loaded = record[count + 2 :]
            varies, covered = quality == "V", 0
            check_flag(quality, code, reason)
            assert re.fullmatch(r"\d{14}", updated)
            assert loaded == ""
        else:
            assert record[0] == "400"
            assert varies
            start, end, quality, code, reason = record[1:]
            assert int(start) == covered + 1
            assert int(end) >= int(start)
            covered = int(end)
            assert quality != "V"
            check_flag(quality, code, reason)
    assert covered == (count if varies else 0)
    return records


def check_flag(quality: str, code: str, reason: str) -> None:
    assert re.fullmatch(r"A|V|N|[SFE]\d\d", quality)
    assert not (quality == "V" and code)
    assert not (quality[0] in "SF" and not code), "substitutes have a reason"
    assert bool(reason) or code != "0"


def peer(python: str, octets: bytes, folder: Path) -> dict[str, Any]:
    file = folder / "nem12.csv"
    file.write_bytes(octets)
    done = subprocess.run([python, str(PEER), str(file)], capture_output=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def local(at: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(milliseconds=at) + AEST).isoformat()  # noqa: DTZ001 # NEM12 has no zones


@pytest.mark.peers
def test_another_program_reads_the_same_intervals(store: Store, peers_python: str, tmp_path: Path) -> None:
    points = register(START, START + 3 * DAY)
    put(store, "m1", IMPORT, points)
    put(store, "m1", EXPORT, [(at, value) for at, value in register(START, START + 3 * DAY, seed=9)])
    octets = made(exports(store, meter("m1", tags=(f"nmi:{NMI}",))), "nem12", START, START + 3 * DAY, sender="MDP1")
    check(octets)

    found = peer(peers_python, octets, tmp_path)
    assert (found["version"], found["from"]) == ("NEM12", "MDP1")
    assert {nmi: sorted(channels) for nmi, channels in found["readings"].items()} == {NMI: ["B1", "E1"]}
    rows = found["readings"][NMI]["E1"]
    assert [(start, end, Decimal(str(value))) for start, end, value, *_ in rows] == [
        (local(at), local(at + QUARTER), Decimal(int(after) - int(before)).scaleb(-3))
        for (at, before), (_, after) in itertools.pairwise(points)
    ]
    assert {(unit, quality) for *_, unit, quality in rows} == {("kWh", "A")}


@pytest.mark.peers
def test_gaps_estimates_and_a_meter_exchange_are_told_apart(store: Store, peers_python: str, tmp_path: Path) -> None:
    points = register(START, START + DAY)
    old, new = points[:40], [(at, int(value) - 900_000) for at, value in points[40:]]
    new = [point for n, point in enumerate(new) if n not in (10, 11)]
    put(store, "m1", IMPORT, old)
    put(store, "m1", IMPORT, new[:20])
    put(store, "m1", IMPORT, new[20:], quality=Quality.ESTIMATED)
    octets = made(exports(store, meter("m1", tags=(f"nmi:{NMI}",))), "nem12", START, START + DAY)
    check(octets)

    rows = peer(peers_python, octets, tmp_path)["readings"][NMI]["E1"]
    qualities = [quality for *_, quality in rows]
    assert qualities == ["A"] * 39 + ["N"] + ["A"] * 9 + ["N"] * 3 + ["A"] * 9 + ["S12"] * 35
    values = [Decimal(str(row[2])) for row in rows]
    assert all(value == 0 for value, quality in zip(values, qualities, strict=True) if quality == "N")
    truth = [Decimal(int(b) - int(a)).scaleb(-3) for (_, a), (_, b) in itertools.pairwise(points)]
    assert all(v == t for v, t, q in zip(values, truth, qualities, strict=True) if q != "N")


def test_days_are_those_of_standard_time_in_summer_too(store: Store) -> None:
    """Sydney puts its clocks forward on 4 October 2026; the market does not."""
    start = utc(2026, 10, 2, 14)
    put(store, "m1", IMPORT, register(start, start + 3 * DAY, period=2 * QUARTER))
    found = exports(store, meter("m1", tags=(f"nmi:{NMI}",)), profile=PROFILED)
    by_custom = check(made(found, "nem12", start, start + 3 * DAY))
    by_name = check(made(found, "nem12", start, start + 3 * DAY, zone="Australia/Sydney"))
    assert by_custom == by_name
    assert [record[1] for record in by_custom if record[0] == "300"] == ["20261003", "20261004", "20261005"]


def test_what_the_meter_measured_by_intervals_itself_goes_first(store: Store) -> None:
    put(store, NMI, IMPORT, register(START, START + DAY))
    put(store, NMI, "active_energy_interval_import_total", [(START + n * QUARTER, 100) for n in range(1, 97)])
    records = check(made(exports(store, meter(NMI)), "nem12", START, START + DAY))
    assert [record[2:98] for record in records if record[0] == "300"] == [["0.100"] * 96]
    assert [record[1:5] for record in records if record[0] == "200"] == [[NMI, "E1", "E1", "E1"]]


def test_registers_finer_than_a_watt_hour_add_up_all_the_same(store: Store) -> None:
    put(store, "m1", IMPORT, [(START + n * QUARTER, 1000 + n * 0.4) for n in range(97)])
    records = check(made(exports(store, meter("m1", tags=(f"nmi:{NMI}",))), "nem12", START, START + DAY))
    (day,) = [record for record in records if record[0] == "300"]
    assert sum(Decimal(value) for value in day[2:98]) == Decimal("0.038")


@pytest.mark.parametrize(
    ("quality", "flag"),
    [
        (Quality.GOOD, ("A", "", "")),
        (Quality.PRECISION, ("A", "", "")),
        (Quality.ESTIMATED, ("S12", "0", "estimated by the meter or the head-end")),
        (Quality.CLOCK_INVALID | Quality.MANUAL, ("A", "0", "clock of the meter invalid read by hand")),
    ],
)
def test_what_quality_says_to_the_market(quality: Quality, flag: tuple[str, str, str]) -> None:
    assert flag_of(Interval(0, 1, 1, quality, int(quality), 0, Source.POLL)) == flag
    check_flag(*flag)


def test_an_interpolated_value_is_a_substitute(store: Store) -> None:
    put(store, "m1", IMPORT, [(START + n * MINUTE + 30_000, 10 * n) for n in range(60)])
    records = check(made(exports(store, meter("m1", tags=(f"nmi:{NMI}",))), "nem12", START, START + DAY))
    assert [record[1:] for record in records if record[0] == "400"] == [
        ["1", "1", "N", "", ""],
        ["2", "3", "S17", "0", "interpolated between readings"],
        ["4", "96", "N", "", ""],
    ]


def test_an_hourly_meter_or_one_without_nmi_is_refused(store: Store) -> None:
    put(store, "m1", IMPORT, register(START, START + DAY))
    with pytest.raises(ConfigError, match="no NMI"):
        pieces(exports(store, meter("m1")), "nem12", START, START + DAY)
    with pytest.raises(ConfigError, match="5, 15 or 30"):
        pieces(exports(store, meter(NMI)), "nem12", START, START + DAY, period_minutes=60)
    put(store, NMI, IMPORT, register(START, START + DAY))
    with pytest.raises(ConfigError, match="begin"):
        made(exports(store, meter(NMI)), "nem12", START, START + DAY, zone="+05:45", period_minutes=30)
    with pytest.raises(ConfigError, match="suffix"):
        pieces(exports(store, meter(NMI)), "nem12", START, START + DAY, quantities=["voltage_l1"])
    with pytest.raises(ConfigError, match="sender"):
        pieces(exports(store, meter(NMI)), "nem12", START, START + DAY, sender="a,b")


def test_nothing_of_a_meter_breaks_a_record(store: Store) -> None:
    put(store, NMI, IMPORT, register(START, START + DAY))
    odd = meter(NMI, identity=MeterIdentity(serial='12,34"\r\n900'))
    records = check(made(exports(store, odd), "nem12", START, START + DAY))
    assert [record[6] for record in records if record[0] == "200"] == ["1234900"]

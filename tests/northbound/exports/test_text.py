"""CSV, read back by the csv module of Python."""

from __future__ import annotations

import csv
import io
import tracemalloc

import pytest

from headend.errors import ConfigError, NotFound
from headend.model.reading import Quality, Source
from headend.storage.store import Store
from tests.northbound.exports.world import (
    DAY,
    EXPORT,
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

START = utc(2026, 3, 1)


def lines(octets: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(octets.decode(), newline="")))


def test_a_line_says_all_of_an_interval(store: Store) -> None:
    put(store, "m1", IMPORT, [(START, 1_000_000), (START + QUARTER, 1_000_250)], received_at=START + QUARTER + 1234)
    text = made(exports(store, meter("m1")), "csv", START, START + DAY).decode()
    assert text == (
        "meter_id,obis,interval_start_utc,interval_end_utc,value,unit,quality,status_hex,read_at_utc,source\r\n"
        "m1,1-0:1.8.0.255,2026-03-01T00:00:00Z,2026-03-01T00:15:00Z,250,Wh,good,0000,2026-03-01T00:15:01.234Z,history\r\n"
    )


def test_flags_of_quality_and_derivation_are_said(store: Store) -> None:
    put(store, "m1", IMPORT, [(START - 7 * MINUTE, 0.5), (START + 7 * MINUTE, 1.5)], source=Source.POLL)
    put(store, "m1", IMPORT, [(START + QUARTER, 3.5)], quality=Quality.CLOCK_INVALID, source=Source.POLL)
    (line,) = lines(made(exports(store, meter("m1")), "csv", START, START + DAY))
    assert (line["value"], line["quality"]) == ("2.5", "estimated|clock_invalid")
    assert (line["status_hex"], line["source"]) == ("0103", "poll")


def test_each_meter_and_quantity_follows_the_other(store: Store) -> None:
    for name in ("m1", "m2"):
        for key in (IMPORT, EXPORT):
            put(store, name, key, register(START, START + DAY))
        put(store, name, "voltage_l1", [(START, 230.4)])
        put(store, name, "serial_number", [(START, "123")])
    found = lines(made(exports(store, meter("m1"), meter("m2"), meter("m3")), "csv", START, START + DAY))
    assert len(found) == 4 * 96
    assert list(dict.fromkeys((line["meter_id"], line["obis"]) for line in found)) == [
        ("m1", "1-0:2.8.0.255"),
        ("m1", "1-0:1.8.0.255"),
        ("m2", "1-0:2.8.0.255"),
        ("m2", "1-0:1.8.0.255"),
    ]


def test_moments_are_exported_where_they_are_asked_for(store: Store) -> None:
    put(store, "m1", "voltage_l1", [(START, 230.4), (START + MINUTE, 229)])
    put(store, "m1", "reactive_power_total", [(START, -7)])
    asked = ["voltage_l1", "reactive_power_total"]
    found = lines(made(exports(store, meter("m1")), "csv", START, START + DAY, quantities=asked))
    assert [(line["obis"], line["interval_start_utc"], line["value"]) for line in found] == [
        ("reactive_power_total", "2026-03-01T00:00:00Z", "-7"),
        ("1-0:32.7.0.255", "2026-03-01T00:00:00Z", "230.4"),
        ("1-0:32.7.0.255", "2026-03-01T00:01:00Z", "229"),
    ]
    assert all(line["interval_start_utc"] == line["interval_end_utc"] for line in found)


def test_the_load_profile_of_the_meter_says_how_long_intervals_are(store: Store) -> None:
    put(store, "m1", IMPORT, register(START, START + DAY, period=2 * QUARTER))
    found = exports(store, meter("m1"), profile=PROFILED)
    assert len(lines(made(found, "csv", START, START + DAY))) == 48
    assert len(lines(made(found, "csv", START, START + DAY, period_minutes=60))) == 24


def test_an_hour_that_comes_twice_or_never_is_as_any_other_in_utc(store: Store) -> None:
    """29 March and 25 October 2026 in Europe; 4 October 2026 in Sydney."""
    for start in (utc(2026, 3, 29), utc(2026, 10, 25), utc(2026, 10, 3)):
        put(store, "m1", IMPORT, register(start, start + DAY))
        assert len(lines(made(exports(store, meter("m1")), "csv", start, start + DAY))) == 96


@pytest.mark.parametrize(
    "asked",
    [
        {"quantities": ["serial_number"]},
        {"quantities": ["nonsense"]},
        {"period_minutes": 7},
        {"limit_kw": 0},
        {"zone": "Nowhere/City"},
        {"zone": "+99:00"},
        {"zone": "../../etc/passwd"},
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_written(store: Store, asked: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        pieces(exports(store, meter("m1")), "csv", START, START + DAY, **asked)


def test_an_unknown_meter_format_or_time_is_an_error(store: Store) -> None:
    found = exports(store, meter("m1"))
    with pytest.raises(NotFound):
        pieces(found, "csv", START, START + DAY, meters=["m9"])
    with pytest.raises(ConfigError, match="no export format"):
        pieces(found, "docx", START, START + DAY)
    with pytest.raises(ConfigError, match="end"):
        pieces(found, "csv", START, START)


def test_memory_is_bounded_however_long_the_export(store: Store) -> None:
    for day in range(16):
        put(store, "m1", IMPORT, register(START + day * DAY, START + (day + 1) * DAY, period=MINUTE, seed=day))
    found = exports(store, meter("m1"))

    def peak(days: int) -> int:
        tracemalloc.start()
        try:
            octets = sum(len(piece) for piece in pieces(found, "csv", START, START + days * DAY, period_minutes=1))
            assert octets > days * 100_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(16) < 1.1 * peak(4)

"""Whatever rules for dates and times somebody writes: the meter goes on, and says what it has."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from headend.drivers.dlms.meter.forms import BITS, DATE, DATE_TIME, TIME
from headend.drivers.dlms.meter_file import meter_file
from headend.drivers.dlms.meter_objects import Refused
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import HeadendError
from headend.protocols.dlms.axdr import (
    Data,
    array,
    bit_string,
    boolean,
    encode_data,
    int8,
    int16,
    octet_string,
    structure,
    uint8,
    uint16,
    uint32,
)
from headend.standards.obis import Obis

PROFILE = Library().get("generic-dlms-functions")
NOW = 1_763_727_430_000
SCRIPTS = octet_string(Obis(0, 0, 10, 0, 100).to_bytes())
YEARS = st.sampled_from([2025, 2026, 0, 1, 1899, 9998, 9999, 0xFFFE, 0xFFFF]).map(lambda year: year.to_bytes(2, "big"))
octet = st.sampled_from([0, 1, 2, 12, 13, 23, 24, 28, 29, 30, 31, 32, 59, 60, 0xFC, 0xFD, 0xFE, 0xFF]).map(
    lambda number: bytes((number,))
)
dates = st.tuples(YEARS, octet, octet, octet).map(b"".join).map(octet_string)
times = st.tuples(octet, octet, octet, octet).map(b"".join).map(octet_string)
date_times = st.tuples(YEARS, *[octet] * 10).map(b"".join).map(octet_string)
bits = st.text("01", max_size=9).map(bit_string)

WRITES = st.one_of(
    st.tuples(st.just("22/0-0:15.0.0"), st.just(4), st.lists(st.tuples(times, dates), max_size=3)).map(
        lambda write: (*write[:2], array(*(structure(*row) for row in write[2])))
    ),
    st.tuples(
        st.just("10/0-0:12.0.0"),
        st.just(2),
        st.tuples(times, bits, bits, dates, dates).map(
            lambda found: array(
                structure(
                    *(uint16(1), boolean(True), SCRIPTS, uint16(1)),  # noqa: FBT003 - enabled
                    *(found[0], uint16(1), *found[1:]),
                )
            )
        ),
    ),
    st.tuples(st.just("11/0-0:11.0.0"), st.just(2), dates.map(lambda day: array(structure(uint16(1), day, uint8(1))))),
    st.tuples(
        st.just("20/0-0:13.0.0"),
        st.just(3),
        st.lists(date_times, max_size=3).map(
            lambda starts: array(*(structure(octet_string(b"s"), at, octet_string(b"week")) for at in starts))
        ),
    ),
    st.tuples(
        st.just("20/0-0:13.0.0"),
        st.just(5),
        times.map(lambda time: array(structure(uint8(1), array(structure(time, SCRIPTS, uint16(2)))))),
    ),
    st.tuples(st.just("20/0-0:13.0.0"), st.just(10), date_times),
    st.tuples(
        st.just("71/0-0:17.0.0"), st.just(8), date_times.map(lambda at: structure(uint16(1), at, uint32(0xFFFFFFFF)))
    ),
    st.tuples(st.just("40/0-0:25.9.0"), st.just(4), date_times.map(lambda at: array(structure(at, at)))),
    st.tuples(st.just("8/0-0:1.0.0"), st.sampled_from([2, 5, 6]), date_times),
    st.tuples(st.just("8/0-0:1.0.0"), st.just(3), st.integers(-0x8000, 0x7FFF).map(int16)),
    st.tuples(st.just("8/0-0:1.0.0"), st.just(7), st.integers(-0x80, 0x7F).map(int8)),
    st.tuples(st.just("8/0-0:1.0.0"), st.just(8), st.just(boolean(True))),  # noqa: FBT003 - the attribute
)


@settings(max_examples=40, deadline=None)
@given(st.lists(WRITES, max_size=6))
def test_any_rules(writes: list[tuple[str, int, Data]]) -> None:
    at = [NOW]
    kind = MeterKind(PROFILE, lambda: NOW)
    kind.clock = lambda: at[0]
    meter = VirtualMeter(kind, 3)
    plant = meter_file(PROFILE).plant
    for ref, attribute_id, data in writes:
        number, _, name = ref.partition("/")
        made = plant.find(int(number), Obis.parse(name).to_bytes())
        with suppress(Refused, HeadendError):
            made.writes[attribute_id](plant.inside(meter), data)
    for _ in range(2):
        at[0] += 30 * 3_600_000
        for (class_id, name), made in plant.objects.items():
            for attribute_id in made.reads.keys() - ({2} if class_id == 7 else set()):  # no long buffers
                with suppress(Refused, HeadendError):
                    assert plant.read(meter, class_id, name, attribute_id)


def test_the_forms_of_the_rules_take_them() -> None:
    assert DATE.fits(octet_string(bytes(5)))
    assert TIME.fits(octet_string(bytes(4)))
    assert DATE_TIME.fits(octet_string(bytes(12)))
    assert BITS.fits(bit_string("101"))
    assert encode_data(DATE.make("2026-02-last/sun")) == bytes.fromhex("090507ea02fe07")

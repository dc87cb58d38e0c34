"""Load records: one written by hand after annex B of the standard, laws, and what is malformed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.dlt645.records import GROUPS, decode_records, encode_record, group_of
from headend.errors import DecodeError
from headend.protocols.dlt645.moment import Moment

BODY = bytes.fromhex(
    "30 12 21 11 25"  # 12:30, 21st November 2025
    "05 23 FF FF FF FF"  # 230.5 V, no phases B and C
    "50 04 80 FF FF FF FF FF FF"  # -0.450 A
    "98 49 AA"  # 49.98 Hz
    "AA AA"  # neither powers nor power factors
    "78 56 34 12 00 00 00 00 00 00 00 00 00 00 00 00 AA"  # 123456.78 kWh
    "AA AA"
)
HEAD = b"\xa0\xa0" + bytes((len(BODY),)) + BODY
RECORD = HEAD + bytes((sum(HEAD) & 0xFF, 0xE5))
WHEN = Moment(2025, 11, 21, None, 12, 30)
VALUES = {0x02010100: 2305, 0x02020100: -450, 0x02800002: 4998, 0x00010000: 12345678}


def test_a_record_written_by_hand() -> None:
    (record,) = decode_records(RECORD)
    assert record.time == WHEN
    told = {di: value for di, value in record.values.items() if value}
    assert told == VALUES
    assert record.values[0x02010200] is None
    assert 0x02030000 not in record.values
    assert (record.offset, record.length) == (0, len(RECORD))


def test_the_same_record_made() -> None:
    zeros = dict.fromkeys(GROUPS[3], 0)
    assert encode_record(WHEN, zeros | VALUES) == RECORD


def test_one_behind_the_other() -> None:
    assert [record.offset for record in decode_records(RECORD * 3)] == [0, len(RECORD), 2 * len(RECORD)]
    assert decode_records(b"") == []


@pytest.mark.parametrize(
    "octets",
    [
        b"\x00",
        b"\xa0",
        b"\xa0\xa0",
        RECORD[:-1],
        RECORD[:-2] + b"\0\xe5",
        RECORD[:-1] + b"\xe4",
        RECORD + b"\xa0\xa0\x10",
        RECORD[1:],
    ],
)
def test_what_is_no_record(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_records(octets)


@given(st.binary(max_size=120))
def test_any_octets_are_records_or_an_error(octets: bytes) -> None:
    for data in (octets, _sealed(octets)):
        with suppress(DecodeError):
            decode_records(data)


@given(
    st.dictionaries(st.sampled_from(sorted(group_of(0))), st.integers(0, 7999)),
    st.tuples(st.integers(2000, 2098), st.integers(1, 12), st.integers(1, 28), st.integers(0, 23), st.integers(0, 59)),
)
def test_what_is_made_is_read(values: dict[int, int], when: tuple[int, int, int, int, int]) -> None:
    year, month, day, hour, minute = when
    moment = Moment(year, month, day, None, hour, minute)
    (record,) = decode_records(encode_record(moment, values))
    assert record.time == moment
    assert {di: value for di, value in record.values.items() if value is not None} == values


def _sealed(body: bytes) -> bytes:
    head = b"\xa0\xa0" + bytes((len(body),)) + body
    return head + bytes((sum(head) & 0xFF, 0xE5))

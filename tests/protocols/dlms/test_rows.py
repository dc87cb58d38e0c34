"""Profile buffers: the fast way equals the generic decoder, whole and in pieces; times and values get their meaning."""

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import (
    NULL,
    Data,
    Delta,
    Plain,
    Tag,
    TypeDescription,
    array,
    bit_string,
    boolean,
    compact_array,
    decode_data,
    delta,
    encode_data,
    encode_length,
    enum,
    float64,
    int16,
    octet_string,
    structure,
    uint8,
    uint16,
    uint32,
    utf8_string,
    visible_string,
)
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.protocols.dlms.rows import MAX_ROW, Row, RowStream, decode_rows, fill, times

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # nested values take long to make
START = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def at(index: int) -> bytes:
    return CosemDateTime.from_utc(START + index * QUARTER).to_bytes()


def row(index: int) -> Data:
    return structure(octet_string(at(index)), *(uint32(1000 * k + index) for k in range(5)))


def generic(octets: bytes) -> list[Row]:
    """The rows as the generic decoder sees them."""
    plain, end = decode_data(octets)
    assert end == len(octets)
    return [tuple(element) for element in plain]  # type: ignore[union-attr,arg-type] # a list of lists


PROFILE = encode_data(array(*map(row, range(300))))
COMPACT = encode_data(
    compact_array(
        TypeDescription(Tag.STRUCTURE, (TypeDescription(Tag.OCTET_STRING), *[TypeDescription(Tag.UINT32)] * 5)),
        [row(index).plain() for index in range(300)],
    )
)
# Rows of every kind, and long runs of like ones between them.
KINDS = [
    structure(octet_string(bytes(12)), uint32(1)),
    structure(NULL, uint32(1)),
    structure(NULL, NULL),
    structure(),
    structure(octet_string(bytes(200)), int16(-1), boolean(True)),  # noqa: FBT003
    structure(visible_string("on°"), utf8_string("°C"), Data(Tag.UTF8_STRING, b"\xff"), bit_string("1010101011")),
    structure(delta(Tag.DELTA_UINT8, 3), delta(Tag.DELTA_INT16, -3), float64(0.5)),
    structure(structure(uint8(1), enum(30)), uint16(5)),
    array(uint16(7), uint16(8)),
]
ROWS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 12)), max_size=8).map(
    lambda runs: [kind for kind, count in runs for _ in range(count)]
)


def test_a_profile_of_like_rows() -> None:
    rows, end = decode_rows(PROFILE)
    assert end == len(PROFILE)
    assert rows == generic(PROFILE)
    assert rows[-1] == (at(299), 299, 1299, 2299, 3299, 4299)
    assert decode_rows(COMPACT) == (rows, len(COMPACT))


def test_inside_other_octets() -> None:
    framed = b"\xc4\x01\xc1\x00" + PROFILE + b"\x00\x00"
    assert decode_rows(framed, 4) == (generic(PROFILE), 4 + len(PROFILE))
    assert decode_rows(framed, 4, 4 + len(PROFILE)) == (generic(PROFILE), 4 + len(PROFILE))
    with pytest.raises(DecodeError):
        decode_rows(framed, 4, 3 + len(PROFILE))


@pytest.mark.parametrize("octets", ["00", "0100", "130202060600", "13020111 00"])
def test_no_rows(octets: str) -> None:
    wire = bytes.fromhex(octets)
    assert decode_rows(wire) == ([], len(wire))
    stream = RowStream()
    assert stream.feed(wire) == []
    assert stream.done


@SLOW
@given(ROWS)
def test_rows_of_all_kinds_equal_the_generic_decoder(rows: list[Data]) -> None:
    octets = encode_data(array(*rows))
    decoded, end = decode_rows(octets)
    assert (decoded, end) == (generic(octets), len(octets))
    assert [list(map(type, each)) for each in decoded] == [list(map(type, each)) for each in generic(octets)]


ELEMENTS = {
    Tag.UINT32: st.integers(0, 9),
    Tag.OCTET_STRING: st.sampled_from([b"", b"a", bytes(12), bytes(130)]),
    Tag.VISIBLE_STRING: st.sampled_from(["", "on", "off"]),
    Tag.BIT_STRING: st.sampled_from(["", "1", "10101010", "101010101"]),
    Tag.DELTA_INT8: st.integers(-9, 9),
}


@SLOW
@given(st.lists(st.sampled_from([*ELEMENTS, Tag.ARRAY]), min_size=1, max_size=4), st.data())
def test_compact_rows_equal_the_generic_decoder(tags: list[Tag], draw: st.DataObject) -> None:
    pair = TypeDescription(Tag.ARRAY, (TypeDescription(Tag.UINT8),), 2)
    description = TypeDescription(
        Tag.STRUCTURE, tuple(pair if tag is Tag.ARRAY else TypeDescription(tag) for tag in tags)
    )
    values = st.tuples(*(ELEMENTS.get(tag, st.just([1, 2])) for tag in tags)).map(list)
    runs = draw.draw(st.lists(st.tuples(values, st.integers(1, 12)), max_size=5))
    octets = encode_data(compact_array(description, [value for value, count in runs for _ in range(count)]))
    assert decode_rows(octets) == (generic(octets), len(octets))
    assert in_pieces(octets, 7) == generic(octets)


def in_pieces(octets: bytes, size: int) -> list[Row]:
    stream = RowStream()
    rows = [row for start in range(0, len(octets), size) for row in stream.feed(octets[start : start + size])]
    assert stream.done
    return rows


@pytest.mark.parametrize("size", [1, 7, 48, 1000])
@pytest.mark.parametrize("octets", [PROFILE, COMPACT], ids=["array", "compact-array"])
def test_a_profile_in_blocks(octets: bytes, size: int) -> None:
    assert in_pieces(octets, size) == generic(octets)


@SLOW
@given(ROWS, st.integers(1, 300))
def test_rows_of_all_kinds_in_blocks(rows: list[Data], size: int) -> None:
    octets = encode_data(array(*rows))
    assert in_pieces(octets, size) == generic(octets)


def test_rows_come_as_soon_as_they_are_complete() -> None:
    stream = RowStream()
    head = len(PROFILE) - 300 * 41
    assert stream.feed(PROFILE[: head + 40]) == []
    assert stream.feed(PROFILE[head + 40 : head + 41]) == generic(PROFILE)[:1]
    assert not stream.done


@pytest.mark.parametrize("octets", [PROFILE[:230], COMPACT[:230]], ids=["array", "compact-array"])
def test_cut_short_at_every_octet(octets: bytes) -> None:
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_rows(octets[:size])


@pytest.mark.parametrize(
    "octets",
    [
        "0905 0102030405",  # no array
        "0101 0600000001",  # a row that is no structure
        "0102 0201 1101 0201 07",  # unknown tag
        "0101 0280",  # malformed length
        "1311 02 0102",  # no structures
        "130201 12 03 000100",  # one and a half rows
        "130201 12 03 000100 0000",
        "130202 1209 04 0001 05 00 00000000",  # a string goes beyond the contents
        "1300 01 00",
        "1307 01 00",
    ],
)
def test_what_can_never_be_rows(octets: str) -> None:
    wire = bytes.fromhex(octets)
    with pytest.raises(DecodeError):
        decode_rows(wire)
    with pytest.raises(DecodeError):
        RowStream().feed(wire)


def test_a_false_count_is_not_believed() -> None:
    with pytest.raises(DecodeError):
        decode_rows(b"\x01\x84\xff\xff\xff\xff" + encode_data(row(0)) * 3)
    with pytest.raises(DecodeError):
        decode_rows(b"\x13\x02\x01\x11\x84\xff\xff\xff\xff" + bytes(50))


@SLOW
@given(ROWS, st.data())
def test_one_octet_changed_gives_rows_or_a_decode_error(rows: list[Data], draw: st.DataObject) -> None:
    octets = bytearray(encode_data(array(*rows)))
    octets[draw.draw(st.integers(0, len(octets) - 1))] = draw.draw(st.integers(0, 255))
    wire = bytes(octets)
    try:
        plain, end = decode_data(wire)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_rows(wire)
        return
    try:
        decoded = decode_rows(wire)
    except DecodeError:
        assert wire[0] != Tag.ARRAY or not all(isinstance(each, list) for each in plain)  # type: ignore[union-attr]
    else:
        assert repr(decoded) == repr(([tuple(each) for each in plain or []], end))  # type: ignore[arg-type,union-attr]


def test_octets_after_the_last_row_are_refused() -> None:
    stream = RowStream()
    with pytest.raises(DecodeError, match="no more octets"):
        stream.feed(PROFILE + b"\x00")


def test_a_row_without_end_is_refused() -> None:
    stream = RowStream()
    stream.feed(b"\x01\x01\x02\x01\x09\x84\xff\xff\xff\xff" + bytes(MAX_ROW - 8))
    with pytest.raises(DecodeError):
        stream.feed(b"\x00")


def test_a_year_in_blocks_of_mixed_rows() -> None:
    octets = b"\x01" + encode_length(35_040)
    octets += b"".join(encode_data(row(index) if index % 97 else structure(NULL, NULL)) for index in range(35_040))
    rows = in_pieces(octets, 4096)
    assert len(rows) == 35_040
    assert rows[0] == (None, None)
    assert rows[-1][1:3] == (35_039, 36_039)


def milliseconds(index: int) -> int:
    return int((START + index * QUARTER).timestamp()) * 1000


def test_times_of_a_column() -> None:
    reader = EpochReader()
    column = [each[0] for each in decode_rows(PROFILE)[0]]
    assert times(column, reader) == [milliseconds(index) for index in range(300)]
    assert times([], reader) == []


def test_null_data_stands_for_the_next_period() -> None:
    reader = EpochReader()
    column: list[Plain] = [None, at(0), None, None, at(10), None, 5, None, bytes(12), None, b"short"]
    first, later = milliseconds(0), milliseconds(10)
    assert times(column, reader, period=900_000) == [
        None,
        first,
        first + 900_000,
        first + 1_800_000,
        later,
        later + 900_000,
        None,
        None,
        None,
        None,
        None,
    ]
    assert times(column[:3], reader) == [None, first, None]
    assert times([None, None], reader, period=900_000, previous=first) == [first + 900_000, first + 1_800_000]
    assert times([b"12 octets no", b"eleven octe"], reader) == [None, None]


def test_null_data_stands_for_the_value_before_and_a_delta_is_added_to_it() -> None:
    rows: list[Row] = [(None, Delta(1)), (5, 100), (None, Delta(5)), (Delta(-2), None), (7, 8), (None, None, None)]
    assert fill(rows) == [(None, 1), (5, 100), (5, 105), (3, 105), (7, 8), (7, 8, None)]
    assert fill(rows[:1], (4, 9)) == [(4, 10)]
    assert fill([(Delta(1),)], ("text",)) == [(1,)]


def test_the_shape_of_the_fixture_is_the_one_of_the_standard() -> None:
    """Row 1 written by hand: structure of 6, octet-string of 12, five double-long-unsigned."""
    date_time = struct.pack(">HBBBBBBBhB", 2024, 1, 1, 1, 0, 15, 0, 0, 0, 0)
    numbers = b"".join(b"\x06" + struct.pack(">I", 1000 * k + 1) for k in range(5))
    assert PROFILE[4 + 41 : 4 + 82] == b"\x02\x06\x09\x0c" + date_time + numbers


@pytest.mark.parametrize("levels", [30, 31, 32])
@pytest.mark.parametrize("inner", ["0100", "130F020101"])
def test_rows_nest_as_deep_as_any_data(levels: int, inner: str) -> None:
    octets = bytes.fromhex("0101" * levels + inner)
    try:
        expected = decode_data(octets)
    except DecodeError:
        with pytest.raises(DecodeError, match="nesting"):
            decode_rows(octets)
    else:
        rows, end = decode_rows(octets)
        assert ([list(row) for row in rows], end) == expected

"""Values in registers: IEEE 754 and two's complement vectors, both word orders, layouts against single values."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.modbus.values import (
    BitLayout,
    RegisterLayout,
    RegisterType,
    decode_bits,
    encode_bits,
    swap_words,
    to_decimal,
)


@pytest.mark.parametrize(
    ("kind", "octets", "value"),
    [
        ("f32", "43663334", 230.20001),  # SDM630 manual: 230.2 V
        ("f32-little", "33344366", 230.20001),
        ("f64", "400921FB54442D18", math.pi),
        ("f64-little", "2D18 5444 21FB 4009", math.pi),
        ("u16", "FFFE", 65534),
        ("i16", "FFFE", -2),
        ("u32", "00010000", 65536),
        ("u32-little", "00000001", 65536),
        ("i32", "FFFFFFFF", -1),
        ("i32-little", "FFFEFFFF", -2),  # low word first, as Carlo Gavazzi sends it
        ("u64", "0000000000000100", 256),
        ("u64-little", "0100000000000000", 256),
        ("i64", "FFFFFFFFFFFFFF00", -256),
        ("text3", "42323320 2000", "B23"),  # ABB type designation "B23 "
    ],
)
def test_values(kind: str, octets: str, value: Any) -> None:
    parsed = RegisterType.parse(kind)
    data = bytes.fromhex(octets)
    assert str(parsed) == kind
    assert parsed.decode(b"\xee" + data + b"\xee", 1) == value
    assert RegisterLayout([(0, parsed)], parsed.registers).decode(data) == (value,)
    if kind != "text3":
        assert parsed.encode(value) == data


@pytest.mark.parametrize(
    "text", ["", "f16", "u16-little", "f32-big", "f32-", "text", "text0", "text126", "text2-little"]
)
def test_types_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match="register type"):
        RegisterType.parse(text)


@pytest.mark.parametrize(
    ("kind", "octets"),
    [("u16", "FFFF"), ("i16", "7FFF"), ("u32", "FFFFFFFF"), ("i64", "7FFFFFFFFFFFFFFF")],
)
def test_not_available_patterns(kind: str, octets: str) -> None:
    parsed = RegisterType.parse(kind)
    assert parsed.decode(bytes.fromhex(octets)) == parsed.not_available
    assert parsed.encode(None) == bytes.fromhex(octets)


def test_floats_that_are_no_numbers_are_missing() -> None:
    kind = RegisterType.parse("f32")
    for octets in ("7FC00000", "7F800000", "FF800000"):
        assert kind.decode(bytes.fromhex(octets)) is None
        layout = RegisterLayout([(0, RegisterType.parse("u16")), (1, kind), (3, kind)], 5)
        assert layout.decode(bytes.fromhex("0007" + octets + "3F800000")) == (7, None, 1.0)
    assert kind.encode(None) == bytes.fromhex("7FC00000")
    assert kind.not_available is None


def test_text() -> None:
    kind = RegisterType.parse("text4")
    assert kind.encode("SDM") == b"SDM\0\0\0\0\0"
    assert kind.encode(None) == bytes(8)
    assert kind.encode("far too long for it") == b"far too "
    assert kind.decode(b"\xff" * 8) is None
    assert kind.not_available is None


@pytest.mark.parametrize(
    ("kind", "value"), [("u16", 65536), ("u16", -1), ("i32", 1.5), ("f32", 1e300), ("u32", "x"), ("i16", math.inf)]
)
def test_values_that_do_not_fit(kind: str, value: Any) -> None:
    with pytest.raises(LocalProtocolError):
        RegisterType.parse(kind).encode(value)


def test_whole_floats_are_integers_too() -> None:
    assert RegisterType.parse("u16").encode(3.0) == b"\0\3"


def test_missing_octets() -> None:
    kind = RegisterType.parse("f32")
    with pytest.raises(DecodeError):
        kind.decode(b"abc")
    with pytest.raises(DecodeError):
        RegisterLayout([(0, kind)], 2).decode(b"abc")
    with pytest.raises(DecodeError):
        decode_bits(b"\1", 9)


def test_patterns_are_none_where_they_mean_not_available() -> None:
    fields = [(0, "u16"), (1, "i32-little"), (3, "text1"), (4, "f32"), (6, "u16")]
    typed = [(start, RegisterType.parse(kind)) for start, kind in fields]
    data = bytes.fromhex("FFFF FFFF7FFF 4142 3F800000 0001")
    assert RegisterLayout(typed, 7).decode(data) == (65535, 0x7FFFFFFF, "AB", 1.0, 1)
    assert RegisterLayout(typed, 7, patterns=True).decode(data) == (None, None, "AB", 1.0, 1)
    assert RegisterLayout(typed, 7).encode([None, None, "AB", 1.0, 1]) == data


@pytest.mark.parametrize("value", [65536, "x", 1.5])
def test_layouts_refuse_values_that_do_not_fit(value: Any) -> None:
    with pytest.raises(LocalProtocolError):
        RegisterLayout([(0, RegisterType.parse("u16"))], 1).encode([value])


def test_bit_layouts() -> None:
    layout = BitLayout([0, 2, 9], 10)
    assert layout.decode(b"?\x05\x00", 1) == (True, True, False)
    assert layout.encode([True, False, True]) == b"\x01\x02"


def test_layouts_skip_gaps_and_mix_types() -> None:
    fields = [(1, "u16"), (2, "i32-little"), (6, "text2"), (8, "f32")]
    layout = RegisterLayout([(start, RegisterType.parse(kind)) for start, kind in fields], 12)
    data = bytes.fromhex("EEEE 0005 FFFEFFFF EEEEEEEE 41420000 40200000 EEEEEEEE")
    assert layout.decode(b"??" + data, 2) == (5, -2, "AB", 2.5)
    assert layout.size == 24


@pytest.mark.parametrize("fields", [[(0, "f32"), (1, "u16")], [(3, "f32")]])
def test_layouts_refuse_overlap(fields: list[tuple[int, str]]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        RegisterLayout([(start, RegisterType.parse(kind)) for start, kind in fields], 4)


def test_bits_of_the_specification() -> None:
    # MODBUS Application Protocol 6.1: outputs 27 to 20 are CD = 1100 1101
    assert decode_bits(b"\xcd\x6b\x05", 19)[:8] == (True, False, True, True, False, False, True, True)
    assert encode_bits(decode_bits(b"??\xcd\x6b\x05", 19, 2)) == b"\xcd\x6b\x05"


@given(st.binary(max_size=16).map(lambda octets: octets * 2))
def test_swapping_twice_changes_nothing(octets: bytes) -> None:
    assert swap_words(swap_words(octets)) == octets


KINDS = ["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "u32-little", "i64-little", "f32-little", "text2"]


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 4)), min_size=1, max_size=10),
    st.binary(min_size=200, max_size=200),
)
def test_a_layout_agrees_with_its_values(spec: list[tuple[str, int]], data: bytes) -> None:
    fields, position = [], 0
    for name, gap in spec:
        kind = RegisterType.parse(name)
        fields.append((position + gap, kind))
        position += gap + kind.registers
    expected = tuple(kind.decode(data, start * 2) for start, kind in fields)
    assert RegisterLayout(fields, position).decode(data) == expected


@given(st.sampled_from(KINDS[:-1]), st.binary(min_size=8, max_size=8))
def test_numbers_come_back(name: str, octets: bytes) -> None:
    kind = RegisterType.parse(name)
    value = kind.decode(octets)
    if value is not None:
        assert kind.decode(kind.encode(value)) == value
        assert struct.calcsize(f">{kind.struct_code}") == kind.registers * 2


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_decimal_of_a_single_precision_number_is_that_number(value: float) -> None:
    decimal = to_decimal(value)
    assert struct.pack(">f", decimal) == struct.pack(">f", value) or value == 0
    assert len(repr(decimal)) <= len(repr(value))


@given(st.integers(-999_999, 999_999), st.integers(0, 5))
def test_what_a_meter_shows_with_six_digits_is_what_comes_out(digits: int, decimals: int) -> None:
    shown = digits / 10**decimals
    (single,) = struct.unpack(">f", struct.pack(">f", shown))
    assert to_decimal(single) == shown
    layout = RegisterLayout([(0, RegisterType.parse("f32")), (2, RegisterType.parse("f32-little"))], 4)
    big = struct.pack(">f", shown)
    assert layout.decode(big + big[2:] + big[:2]) == (shown, shown)

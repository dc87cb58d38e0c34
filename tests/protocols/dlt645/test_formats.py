"""Data formats: examples of real meters and of the standard, limits, wrong octets, and round trips."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlt645.formats import Format, Layout, Number, Value, parse_format
from headend.protocols.dlt645.moment import Moment
from headend.standards.dlt645 import Version, registers

NOON = Moment(2024, 2, 29, None, 12, 0, 0)

GOOD: list[tuple[str, bool, str, Value]] = [
    ("XXXXXX.XX", False, "26010000", 1.26),  # real meter: 1.26 kWh
    ("XXXXXX.XX", False, "99999999", 999999.99),
    ("XXXXXX.XX", True, "26010080", -1.26),  # sign in the most significant bit
    ("XXXXXX.XX", True, "99999979", 799999.99),
    ("XXXXXX.XX", True, "00000080", 0.0),
    ("XXXXXX.XX", True, "99999989", -99999.99),
    ("XXXXXX.XX", False, "FFFFFFFF", None),
    ("XXXXXX.XX", True, "FFFFFFFF", None),
    ("XXX.X", False, "7123", 237.1),  # real meter: 237.1 V
    ("XXX.X", False, "FFFF", None),  # real meter: the phase is absent
    ("XX.XXXX", False, "122500", 0.2512),
    ("XXX.XXX", True, "994900", 4.999),
    ("X.XXX", True, "0185", -0.501),
    ("XXX", False, "2002", 220),  # three digits in two octets (1997)
    ("NN", False, "99", 99),
    ("DIGITS12", False, "610100000000", "000000000161"),
    ("DIGITS12", False, "FFFFFFFFFFFF", None),
    ("ASCII6", False, "000056303232", "220V"),  # real meter: last character first
    ("ASCII4", False, "FFFFFFFF", None),
    ("ASCII4", False, "00000000", None),
    ("BITS16", False, "1000", 16),
    ("BITS16", False, "FFFF", 0xFFFF),
    ("OCTETS3", False, "0A0B0C", b"\x0a\x0b\x0c"),
    ("OCTETS", False, "0A0B0C", b"\x0a\x0b\x0c"),
    ("YYMMDDWW", False, "06060719", Moment(year=2019, month=7, day=6, weekday=6)),  # real meter
    ("hhmmss", False, "042222", Moment(hour=22, minute=22, second=4)),  # real meter
    ("YYMMDDhhmmss", False, "512210050617", Moment(2017, 6, 5, None, 10, 22, 51)),  # real broadcast
    ("YYMMDDhhmmss", False, "000000301299", Moment(2099, 12, 30, None, 0, 0, 0)),  # real limit of a command
    ("YYMMDDWWhhmmss", False, "51221001050617", Moment(2017, 6, 5, 1, 10, 22, 51)),
    ("MMDDhhmm", False, "99999999", Moment()),  # freeze now
    ("MMDDhhmm", False, "00009999", Moment(hour=0, minute=0)),  # freeze every midnight
    ("hhmmNN", False, "020024", Moment(hour=24, minute=0, number=2)),  # tariff 2 up to 24:00
    ("YYMMDDhhmm", False, "0000000000", Moment(2000, 0, 0, None, 0, 0)),  # it has not happened yet
    ("YYMMDDhhmm", False, "FFFFFFFFFF", None),
    ("DDhh", False, "0001", Moment(day=1, hour=0)),
]


@pytest.mark.parametrize(("written", "signed", "octets", "value"), GOOD)
def test_values(written: str, signed: bool, octets: str, value: Value) -> None:
    data = bytes.fromhex(octets)
    form = parse_format(written, signed=signed)
    assert form.size == (len(data) if written != "OCTETS" else 0)
    for decoded in (form.decode(data), form.decode(b"\x68" + data + b"\x16"[: form.size], 1)):
        assert (decoded, type(decoded)) == (value, type(value))
    if octets not in ("00000080", "00000000", "FFFFFFFF"):  # minus zero and two kinds of empty text
        assert form.encode(value) == data
    assert "XXX" in written or str(form).replace("X", "N") == written.replace("X", "N")


BAD = [
    ("bcd-nibble", "XXXXXX.XX", False, "00000E00", "XXXXXX.XX: not BCD .*octet 2, expected two decimal digits, got 0E"),
    ("bcd-sign-where-unsigned", "XX.XX", False, "00A0", "not BCD .*octet 1"),
    ("bcd-under-the-sign", "XX.XX", True, "00EA", "not BCD .*octet 1, .*got 6A"),
    ("number-cut-off", "XXX.X", False, "71", "cut off .*expected 2 octets, got 1"),
    ("signed-number-of-nothing", "XXX.X", True, "", "cut off .*got 0"),
    ("half-absent", "XXX.X", False, "FF00", "not BCD .*octet 0"),
    ("digits-not-bcd", "DIGITS4", False, "120B", "not BCD .*octet 1"),
    ("text-cut-off", "ASCII4", False, "313233", "cut off"),
    ("bits-cut-off", "BITS16", False, "00", "cut off"),
    ("octets-cut-off", "OCTETS2", False, "00", "cut off"),
    ("thirteenth-month", "YYMMDD", False, "011324", "month out of range .*octet 1, expected 0 to 12 or 99, got 13"),
    ("sixtieth-minute", "hhmm", False, "6010", "minute out of range .*octet 0"),
    ("time-not-bcd", "hhmm", False, "001A", "not BCD .*octet 1"),
    ("time-cut-off", "hhmm", False, "00", "cut off"),
]


@pytest.mark.parametrize(("defect", "written", "signed", "octets", "message"), BAD)
def test_defects(defect: str, written: str, signed: bool, octets: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_format(written, signed=signed).decode(bytes.fromhex(octets))
    assert defect


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("XX.XX", 100.0),
        ("XX.XX", -0.01),
        ("XX.XX", nan),
        ("XX.XX", inf),
        ("XX.XX", "1"),
        ("DIGITS4", "12345"),
        ("DIGITS4", "1A"),
        ("DIGITS4", "-1"),
        ("ASCII2", "abc"),
        ("ASCII2", "€"),
        ("BITS8", 256),
        ("BITS8", -1),
        ("BITS8", None),
        ("OCTETS1", b""),
        ("OCTETS1", None),
        ("hhmm", "12:00"),
        ("YYMM", Moment(1999, 1)),
        ("YYMM", Moment(2000, 13)),
        ("YYMM", Moment(month=1)),
    ],
)
def test_what_does_not_fit_is_refused(written: str, value: Value) -> None:
    with pytest.raises(LocalProtocolError, match="does not fit"):
        parse_format(written).encode(value)


def test_a_signed_number_has_a_bit_less() -> None:
    form = parse_format("XX.XX", signed=True)
    assert form.encode(79.99) == bytes.fromhex("9979")
    assert form.encode(-79.99) == bytes.fromhex("99F9")
    with pytest.raises(LocalProtocolError):
        form.encode(80.0)


@pytest.mark.parametrize(
    "written", ["", "X.", ".X", "YY.MM", "hh1", "hhhh", "ASCII0", "ASCII", "DIGITS3", "BITS7", "PP", "XXhh"]
)
def test_formats_that_nobody_writes(written: str) -> None:
    with pytest.raises(ValueError, match=r"unknown data format|fill an octet"):
        parse_format(written)


def test_numbers_that_nobody_has() -> None:
    for size, exponent in ((0, 0), (1, 32), (1, -32)):
        with pytest.raises(ValueError, match="no number"):
            Number(size, exponent)


@given(st.integers(1, 8), st.integers(-8, 3), st.booleans(), st.data())
def test_numbers_are_rounded_correctly_and_come_back(
    size: int, exponent: int, signed: bool, data: st.DataObject
) -> None:
    greatest = 10 ** min(2 * size, 15) // (10 if signed else 1) - 1
    raw = data.draw(st.integers(-greatest if signed else 0, greatest))
    form = Number(size, exponent, signed)
    digits = f"{abs(raw):0{2 * size}}"
    octets = bytes(int(pair, 16) for pair in (digits[at : at + 2] for at in range(0, len(digits), 2)))[::-1]
    octets = octets[:-1] + bytes((octets[-1] | (0x80 if raw < 0 else 0),))
    value = form.decode(octets)
    exact = Decimal(raw).scaleb(exponent)
    assert value == (float(exact) if exponent < 0 else int(exact))
    assert form.encode(value) == octets


def test_a_unit_that_is_smaller() -> None:
    energy = Number(4, -2)
    assert energy.scaled(3).decode(bytes.fromhex("78563412")) == 123456780
    assert isinstance(energy.scaled(3).decode(bytes.fromhex("78563412")), int)
    assert [str(energy.scaled(power)) for power in (0, 2, 3, -8)] == [
        "XXXXXX.XX",
        "XXXXXXXX",
        "XXXXXXXXe1",
        "XXXXXXXXe-10",
    ]


FORMATS: list[Format] = [parse_format(written, signed=signed) for written, signed, _, _ in GOOD]


@given(st.sampled_from(FORMATS), st.binary(max_size=8))
def test_octets_are_a_value_or_a_decode_error(form: Format, octets: bytes) -> None:
    try:
        value = form.decode(octets)
    except DecodeError:
        return
    assert form.decode(form.encode(value)) == value


def test_a_demand_and_its_time() -> None:
    layout = Layout.parse("XX.XXXX, YYMMDDhhmm")
    octets = bytes.fromhex("563412 5923290224")
    values = (12.3456, Moment(2024, 2, 29, None, 23, 59))
    assert layout.decode(octets) == values
    assert layout.decode(b"\0\0" + octets, 2) == values
    assert layout.encode(values) == octets


def test_blocks() -> None:
    octets = bytes.fromhex("78560000 00000000 01000000")
    values = (56.78, 0.0, 0.01)
    for items in (3, None):
        layout = Layout.parse("XXXXXX.XX", items=items)
        assert layout.decode(octets) == layout.decode(octets + b"\xaa") == values
        assert layout.encode(values) == octets
        with pytest.raises(
            DecodeError, match=r"wrong size of the data .*octet 1, expected (a multiple of 4|12) octets"
        ):
            layout.decode(octets, 1)
        with pytest.raises(DecodeError, match="wrong size"):
            layout.decode(octets + b"\xab")
    assert Layout.parse("XXXXXX.XX", items=None).decode(b"") == ()
    with pytest.raises(DecodeError, match="expected 16 octets, got 12"):
        Layout.parse("XXXXXX.XX", items=4).decode(octets)
    with pytest.raises(DecodeError, match=r"expected 8 octets, got 12"):
        Layout.parse("XXXXXX.XX", items=2).decode(octets)
    with pytest.raises(LocalProtocolError, match="3 values"):
        Layout.parse("XXXXXX.XX", items=2).encode(values)
    with pytest.raises(LocalProtocolError, match="3 values"):
        Layout.parse("XX,XX", items=None).encode(values)
    assert Layout.parse("OCTETS").decode(octets, 8) == (octets[8:],)
    assert Layout.parse("OCTETS").encode((octets,)) == octets
    for written, items in (("OCTETS", None), ("OCTETS", 2), ("NN,OCTETS", 1)):
        with pytest.raises(ValueError, match="stands alone"):
            Layout.parse(written, items=items)
    for arguments in (([], 1), ([Number(1)], 0)):
        with pytest.raises(ValueError, match="has parts"):
            Layout(*arguments)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001 - a meter knows no zone
def test_moments_are_times(when: datetime) -> None:
    when = when.replace(microsecond=0)
    moment = Moment.from_datetime(when)
    form = parse_format("YYMMDDWWhhmmss")
    assert form.decode(form.encode(moment)) == moment
    assert moment.to_datetime() == when


def test_moments_that_are_no_times() -> None:
    assert NOON.to_datetime() == datetime(2024, 2, 29, 12)  # noqa: DTZ001 - a meter knows no zone
    assert Moment(2024, 12, 31, hour=24, minute=0).to_datetime() == datetime(2025, 1, 1)  # noqa: DTZ001
    assert Moment(2024, 2, 29).to_datetime() == datetime(2024, 2, 29)  # noqa: DTZ001
    for moment in (Moment(), Moment(2023, 2, 29), Moment(2000, 0, 0), Moment(2024, 1), Moment(2024, 1, 1, minute=5)):
        assert moment.to_datetime() is None
    assert str(NOON) == "2024-02-29 12:00:00"
    assert str(Moment(hour=0, minute=0)) == "*-*-* 00:00:*"
    assert Moment.from_datetime(datetime(2024, 3, 3)).weekday == 0  # noqa: DTZ001 - a Sunday


@pytest.mark.parametrize("version", Version)
def test_all_formats_of_the_tables_are_known(version: Version) -> None:
    for text, length in {(register.format, register.item_length) for register in registers(version)}:
        assert sum(part.size for part in Layout.parse(text).parts) == length, text

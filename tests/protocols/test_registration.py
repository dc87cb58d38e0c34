"""Descriptions of logins and heartbeats at work, in both roles."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA
from headend.protocols.frame_layout import Algorithm, Check, Field, Form, Layout, Length, Wrapped, first_octets
from headend.protocols.registration import FrameForm, Kind, Policy, Registered, Registration

# "210600402941" logs in: LONGi 4G module firmware, LongiWrapper.h
LOGIN = bytes.fromhex("0001000100010012 0A020C323130363030343032393431005A4C")
ACKNOWLEDGED = bytes.fromhex("0001000100010012 AA030C323130363030343032393431007004")
NUMBER = Field(name="number", form=Form.DIGITS, least=1, most=32, ranges=True)
DEVICE = Field(name="device", form=Form.HEX, least=1, most=1, values={1: "gateway", 2: "meter", 3: "head-end"})
OPTION = Field(name="option", form=Form.HEX, least=1, most=1)
CHECK = Check(algorithm=Algorithm.X25, first=1)
LAYOUT = Layout(
    parts=(b"\x0a", DEVICE, Length(), NUMBER, OPTION, CHECK),
    wrapped=Wrapped(source=frozenset({1}), destination=frozenset({1})),
)
ANSWER = Layout(parts=(b"\xaa", DEVICE, Length(), NUMBER, OPTION, CHECK), wrapped=Wrapped())
FAMILY = Registration(
    id="family",
    name="a family",
    frames=(FrameForm(kind=Kind.LOGIN, layout=LAYOUT, acknowledgement=ANSWER, given={"device": b"\x03"}),),
)


def bare(*parts: Field | bytes | Length | Check) -> Registration:
    return Registration(id="bare", name="bare", frames=(FrameForm(kind=Kind.LOGIN, layout=Layout(parts=parts)),))


def number(registration: Registration, octets: bytes, *, silent: bool = True) -> str | None:
    said = registration.match(octets, silent=silent)
    return said.number if isinstance(said, Registered) else None


def test_a_login_and_its_acknowledgement() -> None:
    said = FAMILY.match(b"noise" + LOGIN + b"more", 5)
    assert isinstance(said, Registered)
    assert (said.kind, said.number, said.identity) == (Kind.LOGIN, "210600402941", "210600402941")
    assert (said.device, said.option, said.check_ok, said.blank) == ("meter", 0, True, False)
    assert (said.octets, said.acknowledgement, said.answer) == (LOGIN, ACKNOWLEDGED, ACKNOWLEDGED)


@pytest.mark.parametrize(
    ("policy", "right", "wrong"),
    [
        (Policy.WHEN_RIGHT, ACKNOWLEDGED, b""),
        (Policy.ALWAYS, ACKNOWLEDGED, ACKNOWLEDGED),
        (Policy.NEVER, b"", b""),
    ],
)
def test_when_it_is_acknowledged(policy: Policy, right: bytes, wrong: bytes) -> None:
    family = replace(FAMILY, policy=policy)
    for octets, expected in ((LOGIN, right), (LOGIN[:-1] + b"\x00", wrong)):
        said = family.match(octets)
        assert isinstance(said, Registered)
        assert (said.acknowledgement, said.answer) == (expected, ACKNOWLEDGED)


@given(st.integers(0, 10**12 - 1), st.integers(0, 255), st.sampled_from(["gateway", "meter"]), st.integers(1, 12))
def test_what_a_meter_says_is_understood(value: int, option: int, device: str, digits: int) -> None:
    text = str(value)[-digits:].zfill(digits)
    octets = FAMILY.encode(Kind.LOGIN, {"number": text, "device": device, "option": option})
    said = FAMILY.match(octets)
    assert isinstance(said, Registered)
    assert (said.number, said.device, said.option, said.check_ok) == (text, device, option, True)
    assert said.blank == (not int(text))
    assert FAMILY.is_acknowledgement(octets, said.answer)
    assert not FAMILY.is_acknowledgement(octets, octets)
    assert all(FAMILY.match(octets[:size]) is NEED_DATA for size in range(len(octets)))


@given(st.binary(max_size=60), st.integers(0, 30))
def test_any_octets(data: bytes, at: int) -> None:
    at = min(at, len(data))
    for registration in (FAMILY, bare(b"\x7e", NUMBER), bare(NUMBER, b",", OPTION)):
        said = registration.match(data, at)
        assert said is None or said is NEED_DATA or data[at:].startswith(said.octets)
        if said is None:
            assert registration.match(data + b"0", at) is None


@pytest.mark.parametrize(
    "octets",
    [
        "0001000100010011 0A020C32313036303034303239343100 5A4C",  # the wrapper is shorter than the frame
        "0001000100010013 0A020C323130363030343032393431005A4C 00",  # longer
        "0001000100010012 0A020B323130363030343032393431005A4C",  # another length of the number
        "0001000100010012 0A0200323130363030343032393431005A4C",
        "0001000100010012 0A0221323130363030343032393431005A4C",
        "0001000100010012 0A090C323130363030343032393431005A4C",  # an unknown device
        "0001000100010012 0A020C3231303630303430323934FF005A4C",  # no digit
        "0001000200010012 0A020C323130363030343032393431005A4C",  # another port
        "0001000100020012 0A020C323130363030343032393431005A4C",
        "0002",
        "0001000100010012 0B",
        "0001000100010001 0A",  # the wrapper ends behind the control code
    ],
)
def test_what_is_no_login(octets: str) -> None:
    assert FAMILY.match(bytes.fromhex(octets)) is None


def test_fields_that_end_where_their_form_does() -> None:
    text = bare(b"ID=", NUMBER)
    assert text.match(b"ID=12") is NEED_DATA
    assert number(text, b"ID=12") == "12"
    assert number(text, b"ID=12\r\n", silent=False) == "12"
    assert number(text, b"ID=12h\x01", silent=False) == "12"  # DL/T 645 follows
    assert text.match(b"ID=12,3") is None
    assert text.match(b"ID=" + b"1" * 33) is None
    assert text.match(b"ID=\r") is None
    between = bare(NUMBER, b",", OPTION)
    assert number(between, b"12,\x00", silent=False) == "12"
    assert between.match(b"12;\x00") is None


def test_padding_strays_and_orders() -> None:
    padded = Field(name="number", form=Form.DIGITS, least=6, most=6, pad=0, strays=1)
    assert number(bare(padded), b"\x00\x001234") == "1234"
    assert number(bare(padded), b"\x00\x0012;4") == "1204"
    assert bare(padded).match(b"\x00\x001:;4") is None
    assert bare(padded).encode(Kind.LOGIN, {"number": "12"}) == b"\x00\x00\x00\x0012"
    said = bare(padded).match(bytes(6))
    assert isinstance(said, Registered)
    assert said.blank
    digits = Field(name="number", form=Form.BCD, least=3, most=3, reverse=True)
    assert number(bare(digits), bytes.fromhex("563412")) == "123456"
    assert bare(digits).match(bytes.fromhex("5634A2")) is None
    assert bare(digits).encode(Kind.LOGIN, {"number": "123456"}) == bytes.fromhex("563412")


def test_a_number_of_zeros_may_be_one() -> None:
    octets = FAMILY.encode(Kind.LOGIN, {"number": "000", "device": "meter", "option": 0})
    for zero_is_blank, identity in ((True, ""), (False, "000")):
        said = replace(FAMILY, zero_is_blank=zero_is_blank).match(octets)
        assert isinstance(said, Registered)
        assert (said.number, said.identity) == ("000", identity)


def test_a_sum_and_an_order() -> None:
    summed = bare(b"\x01", NUMBER, b"\x0d", Check(algorithm=Algorithm.SUM, first=0))
    octets = summed.encode(Kind.LOGIN, {"number": "12"})
    assert octets == bytes.fromhex("0131320D71")
    said = summed.match(octets)
    assert isinstance(said, Registered)
    assert said.check_ok
    big = bare(b"\x01", NUMBER, b"\x0d", Check(algorithm=Algorithm.X25, first=1, order="big"))
    assert big.encode(Kind.LOGIN, {"number": "123456789"})[-2:] != octets[-2:]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"number": "12"}, "device: it is missing"),
        ({"number": "12x", "device": "meter", "option": 0}, "number: expected 1 to 32 octets of digits"),
        ({"number": "", "device": "meter", "option": 0}, "number: expected"),
        ({"number": "1", "device": "spoon", "option": 0}, "device: expected"),
        ({"number": "ä", "device": "meter", "option": 0}, "number: expected"),
        ({"number": "1", "device": "meter", "option": "x"}, "option: expected hex"),
        ({"number": "1", "device": "meter", "option": 256}, "option: expected 1 to 1 octets of hex"),
    ],
)
def test_what_cannot_be_said(values: dict[str, str | int | bytes], said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        FAMILY.encode(Kind.LOGIN, values)


def test_a_kind_that_a_family_has_not() -> None:
    with pytest.raises(LocalProtocolError, match="family has no heartbeat"):
        FAMILY.encode(Kind.HEARTBEAT, {})


def test_first_octets() -> None:
    assert first_octets(LAYOUT) == {0x00}
    assert first_octets(Layout(parts=(b"AB",))) == {0x41}
    assert first_octets(Layout(parts=(DEVICE,))) == {1, 2, 3}
    assert first_octets(Layout(parts=(replace(NUMBER, pad=0),))) == {0, *range(0x30, 0x3A)}
    assert len(first_octets(Layout(parts=(Length(),)))) == 256

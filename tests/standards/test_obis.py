"""OBIS codes: the written forms of IEC 62056-6-1 and of the field, and patterns over the six groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, DecodeError
from headend.standards.obis import Obis, parse_pattern

CODES = st.builds(Obis, *[st.integers(0, 255)] * 6)


@pytest.mark.parametrize(
    "text", ["1-0:1.8.0*255", "1-0:1.8.0.255", "1.0.1.8.0.255", "1-0:1.8.0", " 1-0:1.8.0&255 ", "1.0.1.8.0"]
)
def test_every_written_form_is_the_same_code(text: str) -> None:
    assert Obis.parse(text) == Obis(1, 0, 1, 8, 0, 255)
    assert str(Obis.parse(text)) == "1-0:1.8.0.255"


@pytest.mark.parametrize("text", ["", "1-0", "1-0:1.8", "1-0:256.8.0", "1-0:x.8.0", "1-0:1.8.0*255.1", "a.b.c.d.e.f"])
def test_what_is_not_a_code_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Obis.parse(text)


@given(CODES)
def test_text_and_octets_round_trip(code: Obis) -> None:
    assert Obis.parse(str(code)) == code
    assert Obis.from_bytes(code.to_bytes()) == code
    assert code.match(str(code))
    assert code.match("x-x:x.x.x.x")


@pytest.mark.parametrize("size", [0, 5, 7])
def test_a_logical_name_has_six_octets(size: int) -> None:
    with pytest.raises(DecodeError):
        Obis.from_bytes(bytes(size))


def test_a_group_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError):
        Obis(1, 0, 1, 8, 0, 256)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("1-0:1.8.0.255", True),
        ("1-0:1.8.0", True),
        ("1-*:1.8.*.*", True),
        ("1-0:x.8.0*255", True),
        ("1-0:1.8.[0-4].255", True),
        ("[0,1]-0:[1,2,21-23].8.0", True),
        ("1-0:1.8.[1-4].255", False),
        ("0-x:1.8.0.255", False),
        ("1-1:1.8.0.255", False),
        ("1-0:2.8.0.255", False),
        ("1-0:1.7.0.255", False),
        ("1-0:1.8.0.[0-12]", False),
    ],
)
def test_pattern(pattern: str, matches: bool) -> None:
    assert Obis(1, 0, 1, 8, 0, 255).match(pattern) is matches


@pytest.mark.parametrize("pattern", ["", "1-0:1.8", "1-0:[4-1].8.0", "1-0:[0-256].8.0", "1-0:1.8.0.300", "1-0:[].8.0"])
def test_malformed_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError):
        parse_pattern(pattern)


def test_codes_are_ordered_by_group() -> None:
    assert min(Obis(1, 0, 2, 8, 0), Obis(0, 0, 96, 1, 0), Obis(1, 0, 1, 8, 0)) == Obis(0, 0, 96, 1, 0)

"""What dials in, from its first octets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.recognition import LIMIT, UNKNOWN, Kind, Known, Recognised, Recogniser
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver, driver_names

KNOWN = Known(built_in())
DRIVERS = tuple(driver(name) for name in driver_names())

STREAMS = {
    "login": ("longi", "0001000100010012 0A020C323130363030343032393431005A4C"),
    "heartbeat": ("longi", "0001000100010011 0C010C3231313230303530343337374002"),
    "last gasp": ("longi", "0001000100010011 0F020C3331313530313131343037302FF2"),
    "login, check wrong": ("longi", "0001000100010012 0A020C33313135303131313430373000 7F28"),
    "login and push": (
        "longi",
        "0001000100010012 0A020C323130363030343032393431005A4C 0001000100660010C200000701000060010000FF02090101",
    ),
    "event notification": ("dlms-wrapper", "0001000100660010C200000701000060010000FF02090101"),
    "data notification": ("dlms-wrapper", "000100010066000D 0F00000001 00 0204 1100 1100"),
    "AARE": ("dlms-wrapper", "000100010010002B 6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F"),
    "AARE without wrapper": ("dlms-apdu", "6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F"),
    "HDLC": ("dlms-hdlc", "7ea0070321930f017e"),
    "HDLC after flags": ("dlms-hdlc", "7e7e7ea0070321930f017e"),
    "RTU": ("modbus-rtu", "01 04 04 43663334 1B38"),
    "RTU exception": ("modbus-rtu", "01 83 02 C0F1"),
    "Modbus TCP": ("modbus-tcp", "0001 0000 0006 01 04 0000 0002"),
}


def begin() -> Recogniser:
    return Recogniser(KNOWN, DRIVERS)


def label(parts: list[bytes]) -> str | None:
    recogniser = begin()
    for part in parts:
        said = recogniser.feed(part)
        if said is not None:
            return said.label
    return None


def octets(name: str) -> bytes:
    return bytes.fromhex(STREAMS[name][1])


@pytest.mark.parametrize("name", STREAMS)
def test_whole_and_in_two(name: str) -> None:
    expected, data = STREAMS[name][0], octets(name)
    assert label([data]) == expected
    for cut in range(len(data)):
        assert label([data[:cut]]) in {None, expected}
        assert label([data[:cut], data[cut:]]) == expected
    assert label([bytes((octet,)) for octet in data]) == expected


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("noise", [b"\xfe\xfe\xfe\xfe", b"\r\n", b"\x00\xff\x55", b"\x68\x00" * 40, b"\x01\x03"])
def test_noise_in_front(name: str, noise: bytes) -> None:
    expected, data = STREAMS[name][0], octets(name)
    said = begin().feed(noise + data)
    if name != "login, check wrong":
        assert said is not None
        assert (said.label, said.noise) == (expected, noise)


@given(st.binary(max_size=30), st.sampled_from(sorted(STREAMS)))
def test_noise_never_makes_another_protocol_of_it(noise: bytes, name: str) -> None:
    assert label([noise + octets(name)]) in {STREAMS[name][0], UNKNOWN, None}


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]
    assert label([data]) == label(parts)


def test_a_login_and_what_follows() -> None:
    said = begin().feed(b"\r\n" + octets("login and push"))
    assert isinstance(said, Recognised)
    assert (said.label, said.protocol, said.framing, said.noise) == ("longi", "dlms", "wrapper", b"\r\n")
    (login,) = said.registered
    assert (login.kind, login.identity, login.check_ok, login.option) == (Kind.LOGIN, "210600402941", True, 0)
    assert said.rest == octets("event notification")


def test_no_more_than_the_limit_is_looked_at() -> None:
    recogniser = begin()
    assert recogniser.feed(bytes(LIMIT - 1)) is None
    said = recogniser.feed(b"\x00" + octets("HDLC"))
    assert said is not None
    assert (said.label, said.protocol) == (UNKNOWN, "")
    assert str(LIMIT) in said.reason


def test_silence() -> None:
    assert begin().silence().reason == "it says nothing"
    recogniser = begin()
    assert recogniser.feed(b"hello") is None
    said = recogniser.silence()
    assert (said.label, said.rest, said.reason) == (UNKNOWN, b"hello", "5 octets that are no frame of a known protocol")

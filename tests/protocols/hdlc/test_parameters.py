from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.hdlc.parameters import DEFAULT_LIMITS, Limits, decode_limits, encode_limits

LIMITS = st.builds(
    Limits,
    max_information_transmit=st.integers(1, 2048),
    max_information_receive=st.integers(1, 2048),
    window_transmit=st.integers(1, 7),
    window_receive=st.integers(1, 7),
)


@pytest.mark.parametrize(
    ("wire", "limits"),
    [
        ("", DEFAULT_LIMITS),
        ("81 80 00", DEFAULT_LIMITS),
        ("81 80 12 05 01 80 06 01 80 07 04 00 00 00 01 08 04 00 00 00 01", DEFAULT_LIMITS),
        # one to four octets for every value
        (
            "81 80 12 05 02 04 00 06 03 00 02 00 07 01 03 08 04 00 00 00 05",
            Limits(max_information_transmit=1024, max_information_receive=512, window_transmit=3, window_receive=5),
        ),
        ("81 80 03 06 01 40", Limits(max_information_receive=64)),  # the others have their defaults
        ("81 80 06 09 01 FF 07 01 02", Limits(window_transmit=2)),  # an identifier that nobody knows
        ("81 F0 02 AB CD 80 03 07 01 02", Limits(window_transmit=2)),  # a group of the user's own
        (
            "81 80 0A 05 04 FF FF FF FF 08 02 01 00",
            Limits(max_information_transmit=2048, window_receive=7),  # more than HDLC can do
        ),
    ],
)
def test_information_fields(wire: str, limits: Limits) -> None:
    assert decode_limits(bytes.fromhex(wire)) == limits


@given(LIMITS)
def test_round_trip(limits: Limits) -> None:
    assert decode_limits(encode_limits(limits)) == limits


def test_the_form_that_meters_know() -> None:
    assert encode_limits(DEFAULT_LIMITS).hex() == "818012050180060180070400000001080400000001"
    wide = Limits(max_information_transmit=2030, max_information_receive=256, window_transmit=7, window_receive=2)
    assert encode_limits(wide).hex() == "818014050207ee06020100070400000007080400000002"


@pytest.mark.parametrize(
    ("wire", "message", "offset"),
    [
        ("80 80 00", "unknown format", 0),
        ("81 80", "cut off", 1),
        ("81 80 04 05 01 80", "cut off", 1),
        ("81 80 03 05 02 80", "cut off", 3),
        ("81 80 01 05", "cut off", 3),
        ("81 80 02 05 00", "05 impossible", 5),
        ("81 80 07 05 05 00 00 00 00 80", "05 impossible", 5),
        ("81 80 03 05 01 80 80 03 08 01 00", "08 impossible", 10),
    ],
)
def test_bad_information_fields(wire: str, message: str, offset: int) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        decode_limits(bytes.fromhex(wire))
    assert caught.value.offset == offset


@given(st.binary(max_size=30))
def test_anything_is_limits_or_a_remote_protocol_error(information: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_limits(b"\x81" + information)


@given(LIMITS, LIMITS)
def test_both_sides_come_to_the_same_and_never_above_their_own(client: Limits, server: Limits) -> None:
    at_server = server.negotiate(client)
    at_client = client.negotiate(at_server)
    assert at_client.max_information_transmit == at_server.max_information_receive
    assert at_client.max_information_receive == at_server.max_information_transmit
    assert (at_client.window_transmit, at_client.window_receive) == (
        at_server.window_receive,
        at_server.window_transmit,
    )
    assert at_client.window_transmit == min(client.window_transmit, server.window_receive)
    assert at_client.max_information_receive == min(client.max_information_receive, server.max_information_transmit)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_information_transmit": 0},
        {"max_information_receive": 2049},
        {"window_transmit": 0},
        {"window_receive": 8},
    ],
)
def test_impossible_limits_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError, match="out of range"):
        Limits(**fields)

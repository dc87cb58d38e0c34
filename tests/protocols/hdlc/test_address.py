from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.hdlc.address import Address, decode_address

ADDRESSES = st.one_of(
    st.builds(Address, st.integers(0, 0x7F)),
    st.builds(Address, st.integers(0, 0x7F), st.integers(0, 0x7F), st.just(2)),
    st.builds(Address, st.integers(0, 0x3FFF), st.integers(0, 0x3FFF), st.just(4)),
)


@pytest.mark.parametrize(
    ("wire", "address"),
    [
        ("21", Address.client(0x10)),  # public client
        ("03", Address.server(1)),  # the whole of "logical 1" in one octet
        ("02 23", Address.server(1, 17)),  # IEC 62056-46: management logical device, physical device 17
        ("00 02 2C 29", Address.server(1, (0x2C >> 1) << 7 | 0x29 >> 1)),  # seen: serial number mod 10000
        ("00 02 FE FF", Address.server(1, 0x3FFF)),  # all stations
        ("FE FF", Address.server(0x7F, 0x7F)),
        ("CE FF", Address(0x67, 0x7F, 2)),  # destination of the pushes of the Landis+Gyr E450
    ],
)
def test_the_octets_of_an_address(wire: str, address: Address) -> None:
    octets = bytes.fromhex(wire)
    assert address.encode() == octets
    assert decode_address(b"\xa0" + octets + b"\x93", 1) == (address, 1 + len(octets))


@given(ADDRESSES)
def test_round_trip(address: Address) -> None:
    assert decode_address(address.encode(), 0) == (address, address.size)


@pytest.mark.parametrize("wire", ["", "02", "02 04", "02 04 07", "02 04 06 08", "02 04 06 08 09"])
def test_an_address_without_end_is_refused(wire: str) -> None:
    with pytest.raises(RemoteProtocolError, match="address without end") as caught:
        decode_address(b"\xa0" + bytes.fromhex(wire), 1)
    assert caught.value.offset == 1


@pytest.mark.parametrize("fields", [(128,), (-1,), (1, 1), (1, 128, 2), (1, -1, 2), (0x4000, 0, 4), (0, 0x4000, 4)])
def test_an_address_that_does_not_fit_is_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="does not fit"):
        Address(*fields)  # type: ignore[arg-type] # the sizes are among the cases


def test_the_shortest_form_is_chosen() -> None:
    assert Address.server(1).size == 1
    assert Address.server(1, 17).size == 2
    assert Address.server(1, 200).size == 4
    assert Address.server(200).size == 4
    assert Address.server(1, 17, 4).encode() == bytes.fromhex("00 02 00 23")


def test_packed_and_kinship() -> None:
    assert Address.server(1, 17).packed == 1 << 14 | 17
    assert Address.server(1, 17).matches(Address.server(1, 17, 4))
    assert not Address.server(1, 17).matches(Address.server(1, 18))
    assert not Address.server(2, 17).matches(Address.server(1, 17))


@pytest.mark.parametrize(
    ("destination", "called"),
    [
        (Address.server(1, 17), True),
        (Address.server(1, 18), False),
        (Address.server(2, 17), False),
        (Address.server(0x7F, 17), True),
        (Address.server(1, 0x7F), True),
        (Address(0x3FFF, 0x3FFF, 4), True),
        (Address(1, 0x7F, 4), False),
        (Address(0x7F), True),
        (Address(0), False),
    ],
)
def test_whom_a_destination_calls(destination: Address, called: bool) -> None:
    assert destination.calls(Address.server(1, 17)) is called

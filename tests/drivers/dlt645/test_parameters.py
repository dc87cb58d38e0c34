"""Parameters, references and passwords: what is taken, what is refused and by which name."""

from __future__ import annotations

import pytest

from headend.drivers.dlt645 import driver
from headend.drivers.dlt645.parameters import ClockWay, read_params, read_password
from headend.drivers.dlt645.values import quantity_of
from headend.errors import ConfigError
from headend.model.quantity import find_quantity
from headend.standards.dlt645 import Version, find_register, registers


def test_what_is_not_said() -> None:
    said = read_params({})
    assert (str(said.address), said.version, said.level, said.leader) == ("AAAAAAAAAAAA", Version.V2007, 2, 4)
    assert (said.operator, said.clock, said.blocks) == (bytes(4), ClockWay.USUAL, True)
    assert str(read_params({"version": "1997"}).address) == "999999999999"
    assert read_params({"version": "auto"}).version is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address", "1234567890123"), ("address", "12x4"), ("version", "2010"), ("level", "100"), ("level", "-1"),
        ("operator", "123"), ("leader", "17"), ("clock", "never"), ("blocks", "maybe"), ("zone", "Asia/Atlantis"),
        ("unit", "1"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'"):
        driver.check_params({name: value})


def test_passwords_in_all_their_forms() -> None:
    expected = bytes.fromhex("02 56 34 12")
    for octets in (b"123456", b"02123456", bytes.fromhex("123456"), bytes.fromhex("02123456")):
        assert read_password(octets, 2).to_octets() == expected
    assert read_password(b"98123456", 2).level == 0x98
    assert "123456" not in repr(read_password(b"123456", 2))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0001ff00", "0001FF00"), ("9010", "9010"), (" 02010100 ", "02010100"), ("01010000/TIME", "01010000/time"),
        ("05060101/02", "05060101/2"), ("04000503/bit04", "04000503/bit4"), ("05060101/1/time", "05060101/1/time"),
        ("alarm", "alarm"),
    ],
)  # fmt: skip
def test_references(text: str, canonical: str) -> None:
    ref = driver.parse_ref(text)
    assert (ref.protocol, ref.address) == ("dlt645", canonical)
    assert driver.parse_ref(ref.address) == ref


@pytest.mark.parametrize("text", ["", "00010", "0001FF0G", "00010000/x", "00010000/100", "1-0:1.8.0.255", "siren"])
def test_references_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError):
        driver.parse_ref(text)


@pytest.mark.parametrize(
    ("di", "key"),
    [
        (0x00010000, "active_energy_import_total"),
        (0x00000000, "active_energy_net_total"),
        (0x00030000, "reactive_energy_import_total"),
        (0x02030000, "active_power_total"),
        (0x02010200, "voltage_l2"),
        (0x020C0100, "voltage_l1l2"),
        (0x02800001, "current_neutral"),
        (0x02800007, "temperature_internal"),
        (0x0400010C, "meter_time"),
        (0x00900200, "credit_balance"),
        (0x04000401, "serial_number"),
        (0x0001FF00, None),
        (0x00010001, None),
        (0x02800003, None),
    ],
)
def test_what_a_reading_of_an_identifier_is_a_reading_of(di: int, key: str | None) -> None:
    register = find_register(di)
    assert register is not None
    found = quantity_of(register)
    assert (found.key if found else None) == key


def test_every_quantity_has_the_unit_of_the_catalogue() -> None:
    for version in Version:
        for register in registers(version):
            quantity = quantity_of(register)
            assert quantity is None or find_quantity(quantity.key) is quantity

"""How values are encoded, by the type that a meter file gives or leaves out."""

from __future__ import annotations

from datetime import UTC

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.meter_types import wire_type
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.model.reading import Value
from headend.protocols.dlms.axdr import decode_typed


def entry(ref: str = "1/0-0:96.50.0.255", **fields: object) -> ObjectEntry:
    return ObjectEntry(ref=driver.parse_ref(ref), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "exponent", "value", "octets"),
    [
        ("int8", 0, -1, "0fff"),
        ("int16", 0, -2, "10fffe"),
        ("int32", 3, 4_000_000, "0500000fa0"),
        ("int64", -2, -0.125, "14fffffffffffffff4"),
        ("uint8", 0, 255, "11ff"),
        ("uint8", 0, 256, "00"),
        ("uint16", -1, 230.15, "1208fe"),
        ("uint32", 1, 2**32 * 10, "00"),
        ("uint64", 0, 2**63, "158000000000000000"),
        ("enum", 0, 3, "1603"),
        ("bcd", 0, 0x42, "0d42"),
        ("float32", 3, 1500, "173fc00000"),
        ("float64", -1, 0.15, "183ff8000000000000"),
        ("float64", 0, "text", "00"),
        ("octet_string", 0, "größe", "09076772c3b6c39f65"),
        ("octet_string", 2, 42, "09023432"),
        ("visible_string", 0, "größe", "0a056772f6df65"),
        ("utf8_string", 0, "größe", "0c076772c3b6c39f65"),
        ("octet_string", 0, "x" * 130, "098182" + "78" * 130),
        ("boolean", 0, True, "0301"),
        ("boolean", 0, 0, "0300"),
        ("bit_string", 0, "110", "0403c0"),
        ("bit_string", 0, 5, "00"),
        ("date_time", 0, 1_704_063_600_120, "090c07e70c1f071700000c000000"),
        ("date_time", 0, "never", "00"),
        ("uint32", 2, "12", "00"),
        ("uint32", -2, "12", "00"),
    ],
)
def test_types(kind: str, exponent: int, value: Value, octets: str) -> None:
    wire = wire_type(entry(type=kind, exponent=exponent), UTC)
    encoded = wire.encode(value)
    assert encoded.hex() == octets
    data, _ = decode_typed(encoded)
    if octets != "00" and kind not in ("date_time", "boolean", "octet_string"):
        assert wire.decode(data) == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (entry("3/1-0:1.8.0.255", quantity="active_energy_import_total"), "uint32"),
        (entry("3/1-0:1.7.0.255", quantity="active_power_import_total"), "int32"),
        (entry(quantity="voltage_sag_count_l1"), "uint32"),
        (entry(quantity="serial_number"), "octet_string"),
        (entry(quantity="relay_closed"), "boolean"),
        (entry(quantity="meter_time"), "date_time"),
        (entry(quantity="tariff_active"), "uint8"),
        (entry(emulate={"value": "text"}), "octet_string"),
        (entry(emulate={"choice": "a|b", "every": 60}), "octet_string"),
        (entry(emulate={"value": True}), "boolean"),
        (entry(emulate={"value": 7}), "uint32"),
        (entry(), "uint32"),
        (entry("4/1-0:1.6.0.255/5"), "date_time"),  # what the class says
        (entry("5/1-0:1.4.0.255/8"), "uint32"),
        (entry("9999/1-0:1.4.0.255/8"), "uint32"),
    ],
)
def test_types_that_the_meter_file_leaves_out(made: ObjectEntry, kind: str) -> None:
    assert wire_type(made, UTC).name == kind


def test_an_unknown_type() -> None:
    with pytest.raises(ConfigError, match="uint33"):
        wire_type(entry(type="uint33"), UTC)

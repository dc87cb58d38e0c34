from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Notification
from headend.drivers.mapping import history_batch, octets_to_text, push_batch, scale, to_batch
from headend.errors import AccessDenied
from headend.model.objects import HistoryBlock, HistoryColumn, ObjectEntry, ObjectRef, ReadPlan, ReadResult
from headend.model.reading import Quality, Source


def entry(quantity: str, exponent: int = 0) -> ObjectEntry:
    return ObjectEntry(ref=ObjectRef("test", quantity or "x"), quantity=quantity, exponent=exponent)


@given(raw=st.integers(-(10**15) + 1, 10**15 - 1), exponent=st.integers(-9, -1))
def test_a_scaled_value_prints_as_the_exact_decimal(raw: int, exponent: int) -> None:
    """Up to 15 digits, dividing once gives the float whose shortest text is the decimal that the meter meant."""
    value = scale(raw, exponent)
    assert isinstance(value, float)
    assert Decimal(repr(value)) == Decimal(raw).scaleb(exponent)


@given(raw=st.integers(-(2**63), 2**64), exponent=st.integers(0, 9))
def test_a_whole_value_stays_whole(raw: int, exponent: int) -> None:
    value = scale(raw, exponent)
    assert type(value) is int
    assert value == raw * 10**exponent


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"KFM1200200234804", "KFM1200200234804"),
        (b"LGZ\x00\x00", "LGZ"),
        (bytes.fromhex("4b414d4501349083"), "4b414d4501349083"),
        ("Wien", "Wien"),
        (True, True),
        (None, None),
        ([1, 2], None),
        (12.5, 12.5),
    ],
)
def test_values_that_are_no_amounts(raw: object, expected: object) -> None:
    assert scale(raw, 0) == expected  # type: ignore[arg-type]
    assert octets_to_text(b"\xff\x00") == "ff00"


def test_a_read_becomes_a_batch_of_columns() -> None:
    plan = ReadPlan(entries=(entry("active_energy_import_total", 3), entry("voltage_l1", -1)))
    batch = to_batch("m1", plan, ReadResult(values=[1234, 2302]), 1_700_000_000_000, Source.POLL)
    assert list(batch.quantities) == ["active_energy_import_total", "voltage_l1"]
    assert list(batch.values) == [1234000, 230.2]
    assert list(batch.measured_at) == [1_700_000_000_000] * 2
    assert list(batch.quality) == [0, 0]
    assert batch.missing == ()


def test_what_does_not_come_is_missing_with_its_reason() -> None:
    plan = ReadPlan(entries=(entry("voltage_l1", -1), entry("voltage_l2", -1), entry("", 0), entry("voltage_l3", -1)))
    result = ReadResult(values=[2301, None, 7, None], errors={1: AccessDenied("read-write-denied")}, measured_at=5)
    batch = to_batch("m1", plan, result, 9, Source.POLL)
    assert list(zip(batch.quantities, batch.values, batch.measured_at, strict=True)) == [("voltage_l1", 230.1, 5)]
    assert [(gap.quantity, gap.code) for gap in batch.missing] == [
        ("voltage_l2", "access-denied"),
        ("voltage_l3", "null"),
    ]


def test_the_meters_own_exponents_win() -> None:
    plan = ReadPlan(entries=(entry("voltage_l1", 0),))
    assert to_batch("m", plan, ReadResult(values=[2301], exponents=[-1]), 0, Source.POLL).values == [230.1]


def test_more_digits_than_a_float_holds_are_marked() -> None:
    plan = ReadPlan(entries=(entry("active_energy_import_total", -3),))
    batch = to_batch("m", plan, ReadResult(values=[10**15 + 1]), 0, Source.POLL)
    assert list(batch.quality) == [Quality.PRECISION]


def test_history_rows_become_readings_column_by_column() -> None:
    ref = ObjectRef("test", "x")
    block = HistoryBlock(
        columns=(HistoryColumn(ref=ref), HistoryColumn(ref=ref, quantity="voltage_l1", exponent=-1)),
        times=[900_000, 1_800_000, None],
        rows=[(b"t", 2300), (b"t", None), (b"t", 2302)],
        quality=[0, 0, 0],
    )
    batch = history_batch("m", block, 5)
    assert batch.source is Source.HISTORY
    assert list(zip(batch.quantities, batch.values, batch.measured_at, strict=True)) == [("voltage_l1", 230.0, 900_000)]


@pytest.mark.parametrize("exponent", [-131, -37, 37, 134])
@pytest.mark.parametrize("raw", [5, 2.5])
def test_an_absurd_scaler_costs_one_value(raw: float, exponent: int) -> None:
    """A scaler is an octet with a sign: a meter may claim 10**127."""
    plan = ReadPlan(entries=(entry("voltage_l1", -1), entry("voltage_l2", exponent)))
    batch = to_batch("m1", plan, ReadResult(values=[2302, raw]), 0, Source.POLL)
    assert list(batch.quantities) == ["voltage_l1"]
    assert list(batch.values) == [230.2]
    assert [missing.quantity for missing in batch.missing] == ["voltage_l2"]
    assert scale(raw, exponent) is None


@pytest.mark.parametrize("exponent", [-36, -21, -19, 19, 21, 36])
def test_great_scalers_scale(exponent: int) -> None:
    """Scaler 18 of a unit with the prefix kilo makes 21."""
    plan = ReadPlan(entries=(entry("voltage_l1", exponent),))
    batch = to_batch("m1", plan, ReadResult(values=[5]), 0, Source.POLL)
    assert batch.values[0] == (5 * 10**exponent if exponent > 0 else float(f"5e{exponent}")) == scale(5, exponent)


def test_a_push_becomes_readings_of_the_objects_that_the_profile_knows() -> None:
    energy, text, unknown = ObjectRef("test", "energy"), ObjectRef("test", "name"), ObjectRef("test", "other")
    asks = ObjectRef("test", "asks")
    entries = [
        ObjectEntry(ref=energy, quantity="active_energy_import_total", exponent=3),
        ObjectEntry(ref=text, quantity="serial_number", scaler=None),
        ObjectEntry(ref=asks, quantity="active_power_total", scaler=None),
        ObjectEntry(ref=ObjectRef("test", "unsaid"), quantity="frequency"),
    ]
    said = Notification(kind="push", body=None, measured_at=7, values={energy: 5, text: b"A1", asks: 230, unknown: 9})
    batch = push_batch("m1", entries, said, 1000)
    assert batch is not None
    assert (batch.meter_id, batch.source, batch.received_at) == ("m1", Source.PUSH, 1000)
    assert dict(zip(batch.quantities, batch.values, strict=True)) == {
        "active_energy_import_total": 5000,
        "serial_number": "A1",
    }
    assert list(batch.measured_at) == [7, 7]
    assert [(gap.quantity, gap.code) for gap in batch.missing] == [("active_power_total", "capability")]


def test_a_push_without_known_objects_is_no_reading() -> None:
    said = Notification(kind="push", body=[1, 2], values={ObjectRef("test", "other"): 9})
    assert push_batch("m1", [entry("frequency")], said, 0) is None


def test_a_text_that_no_identifier_has_is_no_reading() -> None:
    plan = ReadPlan(entries=(entry("serial_number"), entry("firmware_version")))
    batch = to_batch("m", plan, ReadResult(values=["x" * 513, "y" * 512]), 0, Source.POLL)
    assert list(batch.quantities) == ["firmware_version"]
    assert [gap.quantity for gap in batch.missing] == ["serial_number"]

"""What every Modbus meter file must hold, and the annotated exchanges in it."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import pytest

from headend.drivers.library import Library
from headend.drivers.mapping import to_batch
from headend.drivers.modbus.plan import plan_blocks, read_rules
from headend.drivers.modbus.refs import register_ref
from headend.model.objects import RawValue, ReadPlan, ReadResult
from headend.model.profile import MeterProfile, ProfileTest
from headend.model.quantity import base_unit, find_quantity
from headend.model.reading import Source, Value
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus.connection import ModbusConnection, RequestAdu, ResponseAdu
from headend.protocols.modbus.pdu import ReadRequest, ReadResponse

LIBRARY = Library()
PROFILES = [profile for profile in LIBRARY if profile.protocol == "modbus"]
EXCHANGES = [(profile, test) for profile in PROFILES for test in profile.tests]


@pytest.mark.parametrize(
    ("profile", "exchange"), EXCHANGES, ids=[f"{profile.id}: {test.name}" for profile, test in EXCHANGES]
)
def test_annotated_exchanges_give_their_readings(profile: MeterProfile, exchange: ProfileTest) -> None:
    wanted = {
        name: value if isinstance(value, str) else pytest.approx(value, rel=1e-6)
        for name, value in exchange.readings.items()
    }
    assert readings_of(profile, exchange) == wanted


def readings_of(profile: MeterProfile, exchange: ProfileTest) -> dict[str, Value]:
    rtu = exchange.framing == "rtu"
    meter, client = ModbusConnection(Role.SERVER, rtu=rtu), ModbusConnection(Role.CLIENT, rtu=rtu)
    meter.receive_data(exchange.request)
    asked = meter.next_event()
    assert isinstance(asked, RequestAdu)
    assert isinstance(asked.request, ReadRequest)
    client.send(asked)
    assert client.data_to_send() == exchange.request
    client.receive_data(exchange.response)
    answered = client.next_event()
    assert isinstance(answered, ResponseAdu)
    assert isinstance(answered.response, ReadResponse)
    assert client.next_event() is NEED_DATA
    start, end = asked.request.address, asked.request.address + asked.request.count
    inside = tuple(
        entry
        for entry in profile.objects
        if (ref := register_ref(entry.ref.address)).table.value == asked.request.function
        and start <= ref.address
        and ref.end <= end
    )
    plan = ReadPlan(entries=inside)
    rules = read_rules(profile.link, profile.quirks)
    data = answered.response.data
    result: list[RawValue] = [None] * len(inside)
    for block in plan_blocks(plan, rules):
        values = block.layout.decode(data, (block.request.address - start) * 2)
        for index, value in zip(block.indexes, values, strict=True):
            result[index] = value
    batch = to_batch("m", plan, ReadResult(values=result), 0, Source.POLL)
    return dict(zip(batch.quantities, batch.values, strict=True))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_a_profile_is_complete(profile: MeterProfile) -> None:
    assert profile.source
    assert "max_registers" in profile.link
    counted = Counter(entry.quantity for entry in profile.objects if entry.quantity)
    assert [name for name, times in counted.items() if times > 1] == []
    assert any(entry.poll and entry.quantity for entry in profile.objects)
    for entry in profile.objects:
        assert entry.name or entry.quantity, entry.ref
        assert entry.quantity or not entry.poll, entry.ref
        if entry.quantity:
            known = find_quantity(entry.quantity)
            assert known is not None
            assert base_unit(entry.unit)[0] == known.unit or (not entry.unit and known.unit in ("", "1")), entry.ref


@pytest.mark.parametrize(
    "profile_id",
    [
        "eastron-sdm630",
        "eastron-sdm120",
        "abb-b23",
        "schneider-iem3000",
        "carlogavazzi-em24",
        "carlogavazzi-em24-e1",
        "carlogavazzi-em340",
    ],
)
def test_common_meters_have_annotated_exchanges(profile_id: str) -> None:
    assert LIBRARY.get(profile_id).tests


def test_the_sdm630_has_all_its_registers() -> None:
    tables = Counter(register_ref(entry.ref.address).table.name for entry in LIBRARY.get("eastron-sdm630").objects)
    assert tables == {"INPUT": 90, "HOLDING": 25}


@pytest.mark.corpus
def test_agrees_with_the_collected_registers(corpus: Path) -> None:
    """Every collected register stands in one of our files: same table, address, size and factor to the base unit."""
    known = {
        (ref.table.value, ref.address, ref.size, entry.exponent if entry.quantity else None)
        for profile in PROFILES
        for entry in profile.objects
        for ref in [register_ref(entry.ref.address)]
    }
    rows = 0
    with (corpus / "modbus_registers.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            size = 1 if row["data_type"].endswith("int16") else int(row["registers"])
            place = (int(row["function"]), int(row["address"]), size)
            prefix = 3 if row["unit"].startswith("k") else 0
            exponent = prefix + round(math.log10(float(row["scale"])))
            assert (*place, exponent) in known or (*place, None) in known, row
            rows += 1
    assert rows > 1000

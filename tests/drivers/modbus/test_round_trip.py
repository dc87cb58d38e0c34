"""Every Modbus meter file, read by the session from the meter role of the same file."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.library import Library
from headend.drivers.mapping import to_batch
from headend.drivers.modbus.refs import register_ref
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.quantity import Kind, quantity
from headend.model.reading import Source, Value

LIBRARY = Library()
IDS = [profile.id for profile in LIBRARY if profile.protocol == "modbus"]


def value_of(index: int, entry: ObjectEntry) -> Value:
    """A value that the registers of the entry can hold exactly, in base units."""
    kind = register_ref(entry.ref.address).type
    assert kind is not None
    if kind.kind == "text":
        return f"T{index}"[: kind.registers * 2]
    raw = 1000 + 3 * index
    if entry.quantity and quantity(entry.quantity).kind is Kind.STATUS:
        return raw
    return raw * 10**entry.exponent if entry.exponent >= 0 else raw / 10**-entry.exponent


@pytest.mark.parametrize("profile_id", IDS)
@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_a_profile_reads_what_it_emulates(bench: Any, fixed_meter: Any, profile_id: str, framing: str) -> None:
    profile = LIBRARY.get(profile_id)
    values = [value_of(index, entry) for index, entry in enumerate(profile.objects)]
    session = await bench.session(fixed_meter(profile, values), framing)
    plan = ReadPlan(entries=profile.objects)
    result = await session.read(plan)
    assert result.errors == {}
    batch = to_batch("m", plan, result, 0, Source.POLL)
    assert not batch.missing
    wanted = {
        entry.quantity: value if isinstance(value, str) else pytest.approx(value, rel=1e-12)
        for entry, value in zip(profile.objects, values, strict=True)
        if entry.quantity
    }
    assert dict(zip(batch.quantities, batch.values, strict=True)) == wanted


@pytest.mark.parametrize("profile_id", IDS)
async def test_the_emulator_can_play_every_profile(bench: Any, profile_id: str) -> None:
    """Every value of a virtual meter fits into its registers and comes back as exactly as they can hold it."""
    profile = LIBRARY.get(profile_id)
    meter = VirtualMeter(MeterKind(profile, lambda: 1_700_000_000_000), 4711)
    session = await bench.session(meter)
    plan = ReadPlan(entries=profile.objects)
    result = await session.read(plan)
    assert result.errors == {}
    batch = to_batch("m", plan, result, 0, Source.POLL)
    found = dict(zip(batch.quantities, batch.values, strict=True))
    for index, entry in enumerate(profile.objects):
        value = meter.value(index, meter.now())
        if entry.quantity and not isinstance(value, str):
            kind = register_ref(entry.ref.address).type
            step = 0.0 if kind is None or kind.kind[0] == "f" else 0.51 * 10**entry.exponent
            close = pytest.approx(value, rel=1e-6, abs=step)
            assert found[entry.quantity] == close, entry.ref
    assert (await session.identify()).meter_address == "1"

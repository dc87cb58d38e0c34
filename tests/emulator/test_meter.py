from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from headend.drivers.base import MeterModel
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.emulator.values import of_quantity
from headend.emulator.waveform import WATT, WATT_HOUR
from headend.errors import AccessDenied, ConfigError, NotFound
from headend.model.objects import ObjectRef
from headend.model.profile import LoadProfile

Maker = Callable[..., VirtualMeter]
HOUR = 3_600_000


def shown(meter: VirtualMeter, at: int | None = None) -> dict[str, Any]:
    when = meter.now() if at is None else at
    return {entry.quantity or entry.ref.address: meter.value(i, when) for i, entry in enumerate(meter.profile.objects)}


def test_it_is_a_meter_model(three_phase: Maker) -> None:
    model: MeterModel = three_phase("voltage_l1")
    assert model.profile.id == "test-meter"


def test_identity_follows_from_the_number(three_phase: Maker) -> None:
    identity = three_phase("serial_number", "logical_device_name", number=42).identity
    assert identity.serial == "00000042"
    assert identity.logical_device_name == "ACM0000000000042"
    assert (identity.manufacturer, identity.model) == ("ACM", "M1")
    assert bytes.fromhex(identity.system_title) == b"ACM" + (42).to_bytes(5, "big")
    assert identity.meter_address == "000000000042"


def test_the_meter_file_may_say_what_identifiers_look_like(make_entry: Any, make_profile: Any, clock: Any) -> None:
    entries = (
        make_entry("serial_number", value="SN-{number:06}"),
        make_entry("logical_device_name", value="KFM{number:013}"),
        make_entry("firmware_version", value="2.7"),
        make_entry("meter_name", value="{vendor} {model} {serial} {unknown}"),
    )
    meter = VirtualMeter(MeterKind(make_profile(*entries), clock), 9)
    assert shown(meter) == {
        "serial_number": "SN-000009",
        "logical_device_name": "KFM0000000000009",
        "firmware_version": "2.7",
        "meter_name": "Acme Meters M1 SN-000009 {unknown}",
    }
    assert (meter.identity.serial, meter.identity.firmware) == ("SN-000009", "2.7")


def test_it_takes_little_memory_before_anybody_comes(three_phase: Maker) -> None:
    meter = three_phase("voltage_l1")
    curve = meter._curve
    parts = (meter, curve, curve._means, *curve._means, curve._seed, meter.number)
    assert sum(map(sys.getsizeof, parts)) <= 500


def test_what_is_measured_agrees(three_phase: Maker) -> None:
    names = [f"{name}_{phase}" for name in ("voltage", "current", "power_factor") for phase in ("l1", "l2", "l3")]
    names += [f"active_power_import_{which}" for which in ("total", "l1", "l2", "l3")]
    names += ["active_power_total", "apparent_power_total", "reactive_power_total", "current_sum", "power_factor_total"]
    values = shown(three_phase(*names))
    powers = [values[f"voltage_{p}"] * values[f"current_{p}"] * values[f"power_factor_{p}"] for p in ("l1", "l2", "l3")]
    assert powers == pytest.approx([values[f"active_power_import_{p}"] for p in ("l1", "l2", "l3")])
    assert sum(powers) == pytest.approx(values["active_power_import_total"])
    assert values["active_power_total"] == values["active_power_import_total"]
    assert values["apparent_power_total"] ** 2 == pytest.approx(
        values["active_power_total"] ** 2 + values["reactive_power_total"] ** 2, rel=0.01
    )
    assert values["current_sum"] == pytest.approx(sum(values[f"current_{p}"] for p in ("l1", "l2", "l3")))


def test_line_voltages_are_those_of_a_star(three_phase: Maker) -> None:
    values = shown(three_phase("voltage_l1", "voltage_l2", "voltage_l1l2", "voltage_line_avg", "voltage_phase_avg"))
    assert values["voltage_l1l2"] == pytest.approx(3**0.5 * 230, rel=0.02)
    assert values["voltage_line_avg"] == pytest.approx(3**0.5 * values["voltage_phase_avg"], rel=0.001)


def test_a_single_phase_meter_has_one(make_entry: Any, make_profile: Any, clock: Any) -> None:
    entries = [make_entry(name) for name in ("active_power_total", "active_power_import_l1", "current_l1")]
    meter = VirtualMeter(MeterKind(make_profile(*entries), clock), 1)
    values = shown(meter)
    assert values["active_power_total"] == values["active_power_import_l1"] > 0
    for absent in ("voltage_l2", "current_l2", "active_power_l2", "active_energy_import_l2"):
        assert of_quantity(absent, "household")(meter, clock.at) == 0


@pytest.mark.parametrize("load", ["household", "solar", "workshop", "steady"])
def test_demands_follow_from_energies(three_phase: Maker, load: str) -> None:
    meter = three_phase(
        "active_energy_import_total", "active_demand_last_import_total", "active_demand_present_import_total",
        "active_demand_max_import_total", "active_energy_billing_import_total", "active_energy_interval_import_total",
        load=load,
    )  # fmt: skip
    at = round(datetime(2025, 11, 21, 12, 10, tzinfo=UTC).timestamp() * 1000)
    month = round(datetime(2025, 11, 1, tzinfo=UTC).timestamp() * 1000)
    energy = {when: meter.value(0, when) for when in (at, at - 600_000, at - 1_500_000, month)}
    last, present, highest, billing, interval = (meter.value(index, at) for index in range(1, 6))
    assert last == pytest.approx((energy[at - 600_000] - energy[at - 1_500_000]) * 4)
    assert present == pytest.approx((energy[at] - energy[at - 600_000]) * 6)
    assert billing == pytest.approx(energy[at] - energy[month])
    assert interval == pytest.approx(energy[at] - energy[at - 600_000])
    slots = range(month, at - 900_000 + 1, 900_000)
    assert highest == pytest.approx(max(meter.value(0, s + 900_000) - meter.value(0, s) for s in slots) * 4)


def test_values_change_at_whole_seconds(three_phase: Maker, clock: Any) -> None:
    names = ("voltage_l1", "active_energy_import_total", "meter_time")
    meter = three_phase(*names)
    first = shown(meter, clock.at)
    assert shown(meter, clock.at + 999) == first
    later = shown(meter, clock.at + 1000)
    assert all(later[name] != first[name] for name in names)


def test_what_is_remembered_of_a_second_is_never_shown_in_another(three_phase: Maker, clock: Any) -> None:
    names = ("active_power_import_total", "active_energy_import_t2", "current_l2", "power_factor_total", "voltage_l2")
    meters = [three_phase(*names, number=number) for number in range(12)]
    times = [clock.at + step * 431_000 for step in range(-20, 20)]
    expected = {(number, at): shown(three_phase(*names, number=number), at) for number in range(12) for at in times}
    for at in [*times, *reversed(times)]:
        for number, meter in enumerate(meters):
            assert shown(meter, at) == expected[number, at]
    curve = meters[3]._curve
    for at in times:
        values = shown(meters[3], at)
        assert values["active_power_import_total"] == curve.power("active_import", curve.phases, at) / WATT
        assert values["active_energy_import_t2"] == curve.energy("active_import", curve.phases, 2, at) / WATT_HOUR


def test_the_current_value_is_that_of_the_clock(three_phase: Maker, clock: Any) -> None:
    meter = three_phase("active_energy_import_total", "current_l1", drift=50)
    for _ in range(5):
        clock.at += 12_345
        whole = clock.at // 1000 * 1000
        for index in range(2):
            assert meter.current_value(index) == meter.kind.evaluators[index](meter, whole)


# --- relay ---


def test_an_open_relay_stops_power_current_and_energy(three_phase: Maker, clock: Any) -> None:
    names = ("active_power_import_total", "current_l1", "active_energy_import_total", "voltage_l1", "relay_closed")
    meter, always_on = three_phase(*names), three_phase(*names)
    before = shown(meter)
    assert before["relay_closed"] is True
    meter.switch_relay(closed=False)
    meter.switch_relay(closed=False)
    assert not meter.relay_closed()
    clock.at += HOUR
    off = shown(meter)
    assert (off["active_power_import_total"], off["current_l1"], off["relay_closed"]) == (0, 0, False)
    assert off["active_energy_import_total"] == before["active_energy_import_total"]
    assert off["voltage_l1"] > 200
    missed = shown(always_on)["active_energy_import_total"] - before["active_energy_import_total"]
    assert missed > 0
    meter.switch_relay(closed=True)
    clock.at += HOUR
    on = shown(meter)
    assert on["active_power_import_total"] == shown(always_on)["active_power_import_total"] > 0
    assert on["active_energy_import_total"] == pytest.approx(shown(always_on)["active_energy_import_total"] - missed)
    past = shown(meter, clock.at - 90 * 60_000)
    assert past["active_power_import_total"] == 0
    assert past["active_energy_import_total"] == off["active_energy_import_total"]


def test_the_highest_demand_leaves_out_what_did_not_flow(three_phase: Maker, clock: Any) -> None:
    meter = three_phase("active_demand_max_import_total", load="workshop")
    clock.at = round(datetime(2025, 11, 1, tzinfo=UTC).timestamp() * 1000)
    meter.switch_relay(closed=False)
    clock.at += 20 * 24 * HOUR
    assert shown(meter)["active_demand_max_import_total"] == 0
    meter.switch_relay(closed=True)
    clock.at += 24 * HOUR
    assert shown(meter)["active_demand_max_import_total"] > 0


# --- clock and writing ---


def test_its_clock_can_be_set_and_its_registers_do_not_jump(three_phase: Maker, clock: Any) -> None:
    meter = three_phase("active_energy_import_total", "meter_time")
    before = shown(meter)
    meter.set_clock(clock.at - 5 * HOUR)
    assert meter.now() == clock.at - 5 * HOUR
    assert shown(meter) == {**before, "meter_time": clock.at - 5 * HOUR}
    clock.at += 1000
    assert meter.now() == clock.at - 5 * HOUR
    assert shown(meter)["active_energy_import_total"] > before["active_energy_import_total"]


def test_clocks_drift_apart_as_far_as_they_may(three_phase: Maker, clock: Any) -> None:
    meters = [three_phase("meter_time", "active_energy_import_total", number=number, drift=50) for number in range(40)]
    clock.at += 24 * HOUR
    errors = [meter.now() - clock.at for meter in meters]
    assert len(set(errors)) > 20
    assert all(abs(error) <= 24 * HOUR * 50 // 1_000_000 for error in errors)
    for meter in meters:
        assert abs(meter._world_time(meter.now()) - clock.at) <= 1
        meter.set_clock(clock.at)
        assert meter.now() == clock.at


def test_only_writable_objects_are_written(make_entry: Any, make_profile: Any, clock: Any) -> None:
    entries = (make_entry(name="limit", writable=True, value=60), make_entry("voltage_l1"))
    kind = MeterKind(make_profile(*entries), clock)
    meter, other = VirtualMeter(kind, 1), VirtualMeter(kind, 2)
    meter.write(0, 15)
    assert (meter.value(0, clock.at), other.value(0, clock.at)) == (15, 60)
    with pytest.raises(AccessDenied, match="voltage_l1"):
        meter.write(1, 0)


# --- load profiles ---


@pytest.fixture
def profiled(make_entry: Any, make_profile: Any, clock: Any) -> Callable[..., tuple[VirtualMeter, LoadProfile]]:
    def make(**kind: Any) -> tuple[VirtualMeter, LoadProfile]:
        entries = [make_entry(name) for name in ("meter_time", "active_energy_import_total", "voltage_l1")]
        table = LoadProfile(
            ref=ObjectRef("test", "profile"), period_seconds=900, capacity=96, columns=tuple(e.ref for e in entries)
        )
        meter = VirtualMeter(MeterKind(make_profile(*entries, load_profiles=(table,)), clock, **kind), 1)
        return meter, table

    return make


def test_rows_are_what_the_registers_showed(profiled: Any, clock: Any) -> None:
    meter, table = profiled(history_days=0.5)
    assert meter.entries_in_use(table, clock.at) == 49
    for entry in (1, 2, 48, 49):
        at, values = meter.row(table, entry, clock.at)
        assert at == clock.at - (49 - entry) * 900_000
        assert values == [meter.value(1, at), meter.value(2, at)]
    for outside in (0, 50, -1):
        with pytest.raises(NotFound):
            meter.row(table, outside, clock.at)


def test_the_profile_fills_and_then_forgets_the_oldest(profiled: Any, clock: Any) -> None:
    meter, table = profiled(history_days=0)
    assert meter.entries_in_use(table, clock.at) == 1
    assert meter.entries_in_use(table, clock.at + 900_000 - 1) == 1
    assert meter.entries_in_use(table, clock.at + 900_000) == 2
    later = clock.at + 200 * 900_000 + 5000
    assert meter.entries_in_use(table, later) == 96
    assert meter.row(table, 96, later)[0] == clock.at + 200 * 900_000
    assert meter.row(table, 1, later)[0] == clock.at + 105 * 900_000
    assert meter.entries_in_use(table, clock.at - HOUR) == 0


def test_ranges_of_time_find_their_entries(profiled: Any, clock: Any) -> None:
    meter, table = profiled(history_days=0.5)
    times = [meter.row(table, entry, clock.at)[0] for entry in range(1, 50)]
    for start, end in [
        (times[3], times[7]), (times[3] + 1, times[7] - 1), (0, times[0]), (times[48], clock.at * 2),
        (times[5] + 1, times[5] + 2), (clock.at + 1, clock.at * 2), (0, times[0] - 1), (times[7], times[3]),
    ]:  # fmt: skip
        inside = [number for number, time in enumerate(times, 1) if start <= time <= end]
        expected = (inside[0], inside[-1]) if inside else (1, 0)
        assert meter.entry_range(table, start, end, clock.at) == expected
    assert meter.entry_range(table, 0, clock.at, clock.at - 24 * HOUR) == (1, 0)


def test_a_profile_without_a_period_stays_empty(profiled: Any, clock: Any) -> None:
    meter, _ = profiled()
    events = LoadProfile(ref=ObjectRef("test", "events"), period_seconds=0, capacity=10, columns=())
    assert meter.entries_in_use(events, clock.at) == 0
    assert meter.entry_range(events, 0, clock.at, clock.at) == (1, 0)


def test_a_column_that_is_no_object_is_refused(make_entry: Any, make_profile: Any, clock: Any) -> None:
    table = LoadProfile(
        ref=ObjectRef("test", "profile"), period_seconds=900, capacity=9, columns=(ObjectRef("test", "nothing"),)
    )
    with pytest.raises(ConfigError, match="nothing"):
        MeterKind(make_profile(make_entry("voltage_l1"), load_profiles=(table,)), clock)


def test_a_counter_that_was_set_goes_on_from_there_and_the_past_stays() -> None:
    text = """
[meter]
vendor = "Acme"
model = "A5"
protocol = "dlms"
source = "test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
writable = true
[[object]]
ref = "3/1-0:1.7.0.255/2"
quantity = "active_power_import_total"
unit = "W"
writable = true
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 10
columns = ["3/1-0:1.8.0.255/2"]
"""
    times = [1_763_727_430_000]
    kind = MeterKind(load_profile(text, "acme-a5", "test"), lambda: times[0])
    meter, twin = VirtualMeter(kind, 7), VirtualMeter(kind, 7)
    before = twin.current_value(0)
    meter.write(0, 0)
    assert meter.current_value(0) == pytest.approx(0, abs=1e-6)
    times[0] += 3_600_000
    used = float(twin.current_value(0)) - float(before)
    assert used > 0
    assert meter.current_value(0) == pytest.approx(used)
    assert meter.value(0, times[0]) == meter.current_value(0)
    assert meter.value(0, times[0] - 7_200_000) == twin.value(0, times[0] - 7_200_000)
    table = kind.profile.load_profiles[0]
    at, (shown,) = meter.row(table, 10, times[0])
    assert shown == meter.value(0, at) < twin.value(0, at)
    assert meter.row(table, 5, times[0]) == twin.row(table, 5, times[0])  # of before
    meter.write(0, 1000.0)
    assert meter.current_value(0) == pytest.approx(1000)
    meter.write(1, 5)  # what does not count stays as it was written
    times[0] += 60_000
    assert meter.current_value(1) == 5

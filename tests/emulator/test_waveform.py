from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.emulator.shape import CHANNELS, SHAPES, SLOT_MS, STEP_MS, WEEK_MS, channel, mix
from headend.emulator.waveform import START_MS, WATT, WATT_HOUR, LoadCurve, frequency, tariff_at, voltage
from headend.errors import ConfigError

NOW = 1_763_726_400_000
moments = st.integers(NOW - 400 * 86_400_000, NOW + 400 * 86_400_000)
spans = st.integers(0, 3 * 86_400_000)
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(sorted(SHAPES))
channels = st.sampled_from(sorted(CHANNELS))
tariffs = st.integers(0, 4)


def integral(curve: LoadCurve, name: str, phases: range, tariff: int, start: int, end: int) -> int:
    """Power times time, step by step."""
    total, at = 0, start
    while at < end:
        until = min(end, (at // STEP_MS + 1) * STEP_MS)
        if tariff in (0, tariff_at(at)):
            total += curve.power(name, phases, at) * (until - at)
        at = until
    return total


@settings(deadline=None)  # tables are made when first asked for
@given(kinds, seeds, channels, tariffs, moments, spans)
def test_energy_is_the_integral_of_power_exactly(
    kind: str, seed: int, name: str, tariff: int, start: int, span: int
) -> None:
    curve = LoadCurve(kind, seed, 3, 500)
    end = start + min(span, 6 * 3_600_000)
    for phases in (curve.phases, range(1, 2)):
        grown = curve.energy(name, phases, tariff, end) - curve.energy(name, phases, tariff, start)
        assert grown == integral(curve, name, phases, tariff, start, end)


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_energy_is_what_sampled_power_adds_up_to(kind: str) -> None:
    """Independent of the steps: power sampled every 1.1 s over six hours, by the rule of rectangles."""
    curve = LoadCurve(kind, 5, 3, 500)
    start, samples, width = NOW - 21_600_000, 21_600_000 // 1100, 1100
    for name in ("active_import", "reactive_import", "apparent_import"):
        watts = [curve.power(name, curve.phases, start + n * width + width // 2) / WATT for n in range(samples)]
        end = start + samples * width
        grown = (curve.energy(name, curve.phases, 0, end) - curve.energy(name, curve.phases, 0, start)) / WATT_HOUR
        assert sum(watts) * width / 3_600_000 == pytest.approx(grown, rel=0.001)


@settings(deadline=None)  # tables are made when first asked for
@given(kinds, seeds, channels, moments, spans)
def test_energy_never_falls_and_phases_and_tariffs_add_up(
    kind: str, seed: int, name: str, start: int, span: int
) -> None:
    curve = LoadCurve(kind, seed, 3, 500)
    before, after = (curve.energy(name, curve.phases, 0, at) for at in (start, start + span))
    assert 0 <= before <= after
    assert after == sum(curve.energy(name, range(phase, phase + 1), 0, start + span) for phase in range(3))
    assert after == sum(curve.energy(name, curve.phases, tariff, start + span) for tariff in (1, 2, 3, 4))


@settings(deadline=None)  # tables are made when first asked for
@given(kinds, seeds, moments)
def test_channels_agree_with_each_other(kind: str, seed: int, at: int) -> None:
    curve = LoadCurve(kind, seed, 3, 500)
    power = {name: curve.power(name, curve.phases, at) for name in CHANNELS}
    assert not power["active_import"] or not power["active_export"]
    assert power["active_import"] == power["active_q1"] + power["active_q4"]
    assert power["active_export"] == power["active_q2"] + power["active_q3"]
    assert power["reactive_import"] == power["reactive_q1"] + power["reactive_q2"]
    assert power["reactive_export"] == power["reactive_q3"] + power["reactive_q4"]
    active = power["active_import"] - power["active_export"]
    reactive = power["reactive_import"] - power["reactive_export"]
    apparent = power["apparent_import"] + power["apparent_export"]
    assert apparent <= (active**2 + reactive**2) ** 0.5 * (1 + 1e-9)
    assert apparent == pytest.approx((active**2 + reactive**2) ** 0.5, rel=0.1)  # integer square root of small numbers


@settings(deadline=None)  # tables are made when first asked for
@given(kinds, seeds, tariffs, moments, st.integers(0, 20 * 86_400_000))
def test_the_peak_is_the_highest_mean_of_a_slot(kind: str, seed: int, tariff: int, start: int, span: int) -> None:
    curve = LoadCurve(kind, seed, 3, 500)
    first, beyond = -(-(start - START_MS) // SLOT_MS), (start + span - START_MS) // SLOT_MS
    edges = [START_MS + slot * SLOT_MS for slot in range(first, max(first, beyond) + 1)]
    energies = [curve.energy("active_import", curve.phases, tariff, edge) for edge in edges]
    means = [(later - sooner) // SLOT_MS for sooner, later in pairwise(energies)]
    assert curve.peak("active_import", tariff, start, start + span) == max(means, default=0)


def test_weeks_and_meters_differ_and_seasons_show() -> None:
    curve = LoadCurve("household", 3, 3, 500)
    january, july = 1_736_726_400_000, 1_752_451_200_000  # Mondays 2025-01-13 and 2025-07-14
    winter, summer = (
        curve.energy("active_import", curve.phases, 0, at + WEEK_MS)
        - curve.energy("active_import", curve.phases, 0, at)
        for at in (january, july)
    )
    assert winter > 1.2 * summer
    days = {
        curve.energy("active_import", curve.phases, 0, july + day * 86_400_000)
        - curve.energy("active_import", curve.phases, 0, july + (day - 1) * 86_400_000)
        for day in range(1, 8)
    }
    assert len(days) == 7
    powers = {LoadCurve("household", mix(1, n), 3, 500).power("active_import", range(3), NOW) for n in range(1000)}
    assert len(powers) > 900


def test_the_mean_is_about_what_was_asked_for() -> None:
    year = 52 * WEEK_MS
    means = []
    for number in range(200):
        curve = LoadCurve("household", mix(1, number), 1, 500)
        grown = curve.energy("active_import", curve.phases, 0, NOW) - curve.energy(
            "active_import", curve.phases, 0, NOW - year
        )
        means.append(grown / WATT / year)
    assert sum(means) / len(means) == pytest.approx(500, rel=0.1)
    assert all(240 < mean < 760 for mean in means)


def test_before_its_time_there_is_nothing() -> None:
    curve = LoadCurve("household", 3, 3, 500)
    assert curve.power("active_import", curve.phases, curve.started_at - 1) == 0
    assert curve.energy("active_import", curve.phases, 0, curve.started_at - 1) == 0
    assert curve.energy("active_import", curve.phases, 0, curve.started_at) == 0
    assert curve.peak("active_import", 0, START_MS - WEEK_MS, curve.started_at) == 0
    assert curve.energy("active_import", curve.phases, 0, curve.started_at + STEP_MS) > 0


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="no load shape 'factory'"):
        channel("factory", "active_import")


@settings(deadline=None)  # tables are made when first asked for
@given(seeds, st.integers(0, 2), moments)
def test_voltage_and_frequency_stay_in_their_bounds(seed: int, phase: int, at: int) -> None:
    assert 230 * 0.98 < voltage(seed, phase, at, 230.0) < 230 * 1.02
    assert 49.97 < frequency(at) < 50.03
    assert frequency(at, 60.0) == pytest.approx(1.2 * frequency(at))


def test_voltages_change_every_second_and_differ_by_phase() -> None:
    assert len({voltage(1, phase, NOW + second * 1000, 230.0) for phase in range(3) for second in range(60)}) == 180


def test_every_process_sees_the_same() -> None:
    code = (
        "from headend.emulator.waveform import *\n"
        f"c = LoadCurve('solar', 12345, 3, 500); t = {NOW}\n"
        "print([c.energy(n, c.phases, 2, t) for n in ('active_import', 'active_export', 'reactive_q1')], "
        "voltage(9, 1, t, 230.0), frequency(t))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, **_path()},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}

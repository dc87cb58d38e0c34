from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.emulator.values import of_quantity
from headend.errors import ConfigError
from headend.model.quantity import Kind, quantities

DAY = 86_400_000


@pytest.fixture
def meter(three_phase: Callable[..., VirtualMeter]) -> VirtualMeter:
    return three_phase()


def test_every_quantity_of_the_catalogue_has_a_rule(meter: VirtualMeter, clock: Any) -> None:
    for key, quantity in quantities().items():
        value = of_quantity(key, "household")(meter, clock.at)
        if quantity.kind is Kind.STATUS and not quantity.unit:
            assert isinstance(value, int | str), key
        else:
            assert isinstance(value, int | float), key
            assert math.isfinite(value), key


def test_counters_and_totals_never_fall(meter: VirtualMeter, clock: Any) -> None:
    growing = [
        key for key, quantity in quantities().items()
        if quantity.kind in (Kind.CUMULATIVE, Kind.COUNTER) and not any(w in key for w in ("billing", "reset", "_net_"))
    ]  # fmt: skip
    for key in growing:
        values = [of_quantity(key, "household")(meter, clock.at + step * 7_000_000) for step in range(20)]
        assert values == sorted(values), key
        assert values[0] >= 0, key


def test_currents_stay_below_the_highest_current(meter: VirtualMeter, clock: Any) -> None:
    highest, current = (of_quantity(key, "household") for key in ("current_max_l1", "current_l1"))
    for step in range(500):
        at = clock.at + step * 1_234_567
        assert current(meter, at) <= highest(meter, at)


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ConfigError, match="no rule for warp_factor"):
        of_quantity("warp_factor", "household")


def one_object(make_profile: Any, clock: Any, entry: Any, number: int = 1) -> Callable[[int], Any]:
    meter = VirtualMeter(MeterKind(make_profile(entry), clock), number)
    return lambda at: meter.value(0, at)


def test_what_meter_files_say(make_entry: Any, make_profile: Any, clock: Any) -> None:
    def value(at: int = 0, quantity: str = "", **emulate: Any) -> Any:
        return one_object(make_profile, clock, make_entry(quantity, name="x", **emulate))(at or clock.at)

    assert value() == 0
    assert value(value=5) == 5
    assert value(value="text") == "text"
    assert value(value=True) is True
    assert value(quantity="voltage_l1", value=57.7) == 57.7
    assert value(as_="frequency") == value(quantity="frequency") == pytest.approx(50, rel=0.01)
    assert {value(clock.at + n * 3_600_000, choice="1|2|idle", every=3600) for n in range(100)} == {1, 2, "idle"}
    assert value(clock.at + 3 * DAY, counter=10, every=86400) == value(counter=10, every=86400) + 3


@pytest.mark.parametrize(
    "emulate",
    [
        {"valu": 1},
        {"value": 1, "every": 3},
        {"choice": "a|b"},
        {"choice": "a|b", "every": 0},
        {"counter": 1, "every": "day"},
        {"counter": "one", "every": 60},
        {"as_": "warp_factor"},
    ],
)
def test_what_cannot_be_made_is_refused_by_name(make_entry: Any, make_profile: Any, clock: Any, emulate: Any) -> None:
    with pytest.raises(ConfigError, match=r"test:x|warp_factor"):
        MeterKind(make_profile(make_entry(name="x", **emulate)), clock)


def test_every_profile_of_the_library_can_be_emulated(clock: Any) -> None:
    for profile in Library():
        meter = VirtualMeter(MeterKind(profile, clock), 1)
        for index in range(len(profile.objects)):
            meter.value(index, clock.at)

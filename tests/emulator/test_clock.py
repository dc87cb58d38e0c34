from __future__ import annotations

import pytest

from headend.drivers.library import Library
from headend.emulator.clock import FleetClock
from headend.emulator.fleet import Fleet, Group
from headend.errors import ConfigError


class Wall:
    at = 1_000_000

    def __call__(self) -> int:
        return self.at


def test_a_clock_shows_the_time_of_day_until_it_is_told_otherwise() -> None:
    wall = Wall()
    clock = FleetClock(wall=wall)
    assert clock.reader is wall
    wall.at += 5000
    assert clock() == 1_005_000
    clock.set(speed=60)
    assert clock.reader is clock
    wall.at += 1000
    assert clock() == 1_065_000
    clock.set(at=42_000_000)
    wall.at += 500
    assert clock() == 42_030_000
    clock.set(speed=0)
    wall.at += 10_000
    assert clock() == 42_030_000
    assert clock.seconds_until(42_030_001) == float("inf")


def test_what_is_due_comes_sooner_by_a_fast_clock() -> None:
    clock = FleetClock(start=0, speed=60, wall=Wall())
    assert clock.seconds_until(3_600_000) == 60
    assert clock.seconds_until(-1) == 0


@pytest.mark.parametrize("speed", [-1, float("nan"), 1e7])
def test_speeds_that_cannot_be_are_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        FleetClock(speed=speed)


def test_meters_go_by_the_clock_of_their_fleet() -> None:
    wall = Wall()
    fleet = Fleet(
        [Group(profile=Library().get("eastron-sdm120"))], clock=FleetClock(start=1_700_000_000_000, wall=wall)
    )
    meter = fleet.meter(1)
    assert meter.now() == 1_700_000_000_000
    assert fleet.control.set_clock(speed=60).speed == 60
    wall.at += 60_000
    assert meter.now() == 1_700_003_600_000
    assert fleet.control.set_clock(at=1_800_000_000_000).at == 1_800_000_000_000
    assert meter.now() == 1_800_000_000_000

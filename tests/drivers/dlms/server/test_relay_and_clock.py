"""The relay by the state table of the standard, and the clock by its methods."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms.meter.relay import Cause, Relay
from headend.drivers.dlms.meter_file import meter_file
from headend.drivers.dlms.meter_objects import Refused
from headend.errors import ConfigError
from headend.protocols.dlms.axdr import Data, boolean, enum, int8, int16, octet_string, structure

DISCONNECTED, CONNECTED, READY = 0, 1, 2
RELAY = "70/0-0:96.3.10.255"
CLOCK = "8/0-0:1.0.0.255"

# IEC 62056-6-2, disconnect control: the transitions, and which of them each control mode enables
TRANSITIONS = {
    "a": (Cause.REMOTE, True, DISCONNECTED, CONNECTED),
    "b": (Cause.REMOTE, False, CONNECTED, DISCONNECTED),
    "c": (Cause.REMOTE, False, READY, DISCONNECTED),
    "d": (Cause.REMOTE, True, DISCONNECTED, READY),
    "e": (Cause.MANUAL, True, READY, CONNECTED),
    "f": (Cause.MANUAL, False, CONNECTED, READY),
    "g": (Cause.LOCAL, False, CONNECTED, READY),
    "h": (Cause.LOCAL, True, READY, CONNECTED),
}
ENABLED = {0: "", 1: "bcfgde", 2: "bcfgae", 3: "bcgde", 4: "bcgae", 5: "bcfgdeh", 6: "bcgdeh"}
CASES = [
    (mode, cause, close, state)
    for mode in ENABLED
    for cause in Cause
    for close in (False, True)
    for state in (DISCONNECTED, CONNECTED, READY)
    if mode or state == CONNECTED
]


def expected(mode: int, cause: Cause, close: bool, state: int) -> int:
    for letter in ENABLED[mode]:
        who, what, before, after = TRANSITIONS[letter]
        if (who, what, before) == (cause, close, state):
            return after
    return state


def relay_of(world: Any) -> Relay:
    relay = meter_file(world.meter.profile).plant.functions[70, bytes.fromhex("0000600 30aff".replace(" ", ""))]
    assert isinstance(relay, Relay)
    return relay


@pytest.mark.parametrize(("mode", "cause", "close", "state"), CASES)
async def test_every_control_mode(make_world: Any, mode: int, cause: Cause, close: bool, state: int) -> None:
    world = await make_world("")
    relay, meter = relay_of(world), world.meter
    assert await world.set(f"{RELAY}/4", enum(1)) == 0  # allows all states
    if state == READY:
        relay.disconnect(meter, Cause.LOCAL)
    elif state == DISCONNECTED:
        relay.disconnect(meter, Cause.REMOTE)
    assert await world.set(f"{RELAY}/4", enum(mode)) == 0
    assert await world.get(f"{RELAY}/3") == state
    if cause is Cause.REMOTE:
        assert await world.act(f"{RELAY}/{2 if close else 1}") == (0 if mode else 250)
    else:
        try:
            (relay.reconnect if close else relay.disconnect)(meter, cause)
        except Refused:
            assert expected(mode, cause, close, state) == state
    after = expected(mode, cause, close, state)
    assert await world.get(f"{RELAY}/3") == after
    assert await world.get(f"{RELAY}/2") is (after == CONNECTED)


async def test_a_load_is_always_connected_in_mode_0(make_world: Any) -> None:
    world = await make_world('[[function]]\nref = "70/0-0:96.3.10.255"\ncontrol_mode = 2\n')
    assert await world.get(f"{RELAY}/4") == 2
    assert await world.act(f"{RELAY}/1") == 0
    assert await world.get(f"{RELAY}/3") == DISCONNECTED
    assert await world.set(f"{RELAY}/4", enum(0)) == 0
    assert await world.get(f"{RELAY}/3") == CONNECTED
    assert await world.set(f"{RELAY}/4", enum(7)) == 12
    assert await world.get(f"{RELAY}/4") == 0


def time_of(text: str, *, deviation: str = "8000", status: str = "ff") -> Data:
    year, month, day, hour, minute, second = map(int, text.replace("-", " ").replace(":", " ").split())
    octets = year.to_bytes(2, "big") + bytes((month, day, 0xFF, hour, minute, second, 0xFF))
    return octet_string(octets + bytes.fromhex(deviation + status))


def shown(octets: bytes) -> str:
    """Local time, deviation and status."""
    hour, minute, second = octets[5:8]
    return f"{hour:02}:{minute:02}:{second:02} {int.from_bytes(octets[9:11], 'big', signed=True)} {octets[11]:02x}"


async def test_a_clock_keeps_what_it_was_set_to(make_world: Any) -> None:
    world = await make_world("")
    assert await world.set(f"{CLOCK}/2", time_of("2025-11-21 13:00:00", deviation="ffc4")) == 0
    world.later(seconds=70)
    assert shown(await world.get(f"{CLOCK}/2")) == "12:01:10 0 00"


@pytest.mark.parametrize(
    ("method", "before", "after"),
    [
        (1, "12:07:29", "12:00:00"),
        (1, "12:07:30", "12:15:00"),
        (2, "12:29:59", "12:00:00"),
        (2, "12:30:00", "13:00:00"),
        (3, "12:07:29", "12:07:00"),
        (3, "12:07:31", "12:08:00"),
    ],
)
async def test_adjusting(make_world: Any, method: int, before: str, after: str) -> None:
    text = """
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 3600
capacity = 10
columns = []
"""
    world = await make_world(text)
    assert await world.set(f"{CLOCK}/2", time_of(f"2025-11-21 {before}", deviation="0000")) == 0
    assert await world.act(f"{CLOCK}/{method}") == 0
    assert shown(await world.get(f"{CLOCK}/2")) == f"{after} 0 00"


async def test_a_preset_time_holds_in_its_interval_once(make_world: Any) -> None:
    world = await make_world("")
    preset = [time_of(f"2025-11-21 {time}", deviation="0000") for time in ("18:00:00", "12:20:00", "12:30:00")]
    assert await world.act(f"{CLOCK}/4") == 250
    assert await world.act(f"{CLOCK}/5", structure(*preset[:2])) == 12
    assert await world.act(f"{CLOCK}/5", structure(*preset)) == 0
    assert await world.act(f"{CLOCK}/4") == 250  # it is 12:17:10
    world.later(minutes=10)
    assert await world.act(f"{CLOCK}/4") == 0
    assert shown(await world.get(f"{CLOCK}/2")) == "18:00:00 0 00"
    assert await world.act(f"{CLOCK}/4") == 250


async def test_rules_of_local_time_that_were_written(make_world: Any) -> None:
    world = await make_world("", zone="Europe/Berlin")
    assert shown(await world.get(f"{CLOCK}/2")) == "13:17:10 -60 00"
    assert await world.get(f"{CLOCK}/3") == -60
    assert await world.set(f"{CLOCK}/3", int16(-180)) == 0
    assert shown(await world.get(f"{CLOCK}/2")) == "15:17:10 -180 00"
    # the second half of the year is summer: from the last Sunday in September to the first one in April
    assert await world.set(f"{CLOCK}/5", octet_string(bytes.fromhex("ffff09fe0702000000800000"))) == 0
    assert await world.set(f"{CLOCK}/6", octet_string(bytes.fromhex("ffff04010703000000800000"))) == 0
    assert await world.set(f"{CLOCK}/7", int8(30)) == 0
    assert await world.set(f"{CLOCK}/8", boolean(True)) == 0  # noqa: FBT003 - the attribute
    assert shown(await world.get(f"{CLOCK}/2")) == "15:47:10 -210 80"
    assert await world.get(f"{CLOCK}/4") == 0x80
    assert await world.set(f"{CLOCK}/2", time_of("2026-04-05 02:59:50")) == 0  # no deviation: local time
    assert shown(await world.get(f"{CLOCK}/2")) == "02:59:50 -210 80"
    world.later(seconds=20)
    assert shown(await world.get(f"{CLOCK}/2")) == "02:30:10 -180 00"
    assert await world.set(f"{CLOCK}/8", boolean(False)) == 0  # noqa: FBT003 - ditto
    assert await world.set(f"{CLOCK}/2", time_of("2025-12-05 12:00:00")) == 0
    assert shown(await world.get(f"{CLOCK}/2")) == "12:00:00 -180 00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ref = "70/0-0:96.3.10.255"\ncontrol_mode = 7', "control_mode: expected one of 0, 1, 2, 3, 4, 5, 6, got 7"),
        ('ref = "70/0-0:96.3.10.255"\nmode = 7', "no 'mode'"),
        ('ref = "99/0-0:96.3.10.255"', "none that a virtual meter has"),
        ('ref = "relay"', "none that a virtual meter has"),
        ('ref = "8/0-0:1.0.0.255"\ntime_zone = 70000', "expected a number that fits int16"),
        ('ref = "8/0-0:1.0.0.255"\ndaylight_savings_begin = "2026"', "expected a date"),
        ('ref = "8/0-0:1.0.0.255"\ndaylight_savings_enabled = 1', "expected true or false"),
    ],
)
async def test_a_function_that_cannot_be(make_world: Any, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await make_world(f"[[function]]\n{text}\n")


async def test_the_rules_of_a_meter_file(make_world: Any) -> None:
    text = """
[[function]]
ref = "8/0-0:1.0.0.255"
time_zone = -60
daylight_savings_begin = "*-03-last/sun 02:00:00"
daylight_savings_end = "*-10-last/sun 03:00:00"
daylight_savings_deviation = 60
daylight_savings_enabled = true
"""
    world = await make_world(text)
    assert shown(await world.get(f"{CLOCK}/2")) == "13:17:10 -60 00"
    assert (await world.get(f"{CLOCK}/5")).hex() == "ffff03fe0702000000800 0ff".replace(" ", "")
    world.later(days=180)
    assert shown(await world.get(f"{CLOCK}/2")) == "14:17:10 -120 80"

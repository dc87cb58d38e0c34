"""What happens by the clock, noted by the meter itself: each script writes its number and captures it with the time."""

from __future__ import annotations

from typing import Any

import pytest

from headend.protocols.dlms.axdr import (
    Data,
    array,
    bit_string,
    boolean,
    enum,
    int8,
    octet_string,
    structure,
    uint8,
    uint16,
    uint32,
)
from headend.protocols.dlms.clock import CosemDateTime

# It is Friday 2025-11-21 12:17:10 when the meter begins.
SCRIPTS, JOURNAL, SINGLE, SCHEDULE, SPECIAL, CALENDAR = (
    f"{class_id}/0-0:{name}.255"
    for class_id, name in (
        (9, "10.0.100"),
        (7, "98.1.0"),
        (22, "15.0.0"),
        (10, "12.0.0"),
        (11, "11.0.0"),
        (20, "13.0.0"),
    )
)
NOTE = "1/0-0:96.50.0.255/2"


def script(number: int) -> str:
    return f'[{number}, [[1, 1, "0-0:96.50.0.255", 2, {1000 + number}], [2, 7, "0-0:98.1.0.255", 2, 0]]]'


TABLE = f"""
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "1/0-0:96.50.0.255/2"
name = "Which script ran last"
type = "int32"
writable = true
[[load_profile]]
ref = "7/0-0:98.1.0.255/2"
period_seconds = 0
capacity = 60
columns = ["8/0-0:1.0.0.255/2"]
[[function]]
ref = "9/0-0:10.0.100.255"
scripts = [{", ".join(map(script, range(1, 6)))}, [9, [[2, 9, "0-0:10.0.100.255", 1, 9]]]]
"""
NAME = bytes.fromhex("00000a0064ff")


async def journal(world: Any) -> list[str]:
    rows = await world.get(f"{JOURNAL}/2")
    return [str(CosemDateTime.from_bytes(row[0]))[5:16] for row in rows]


def name_of(table: str = "00000a0064ff") -> Data:
    return octet_string(bytes.fromhex(table))


def capture(class_id: int, name: str) -> Data:
    return structure(uint16(class_id), name_of(name), int8(2), uint16(0))


def date(text: str) -> Data:
    return octet_string(bytes.fromhex(text))


ANY_DATE = date("ffffffffff")


async def test_a_script_does_what_it_says(make_world: Any) -> None:
    world = await make_world(TABLE)
    assert await world.act(f"{SCRIPTS}/1", uint16(3)) == 0
    assert await world.get(NOTE) == 1003
    assert await journal(world) == ["11-21 12:17"]
    assert await world.act(f"{SCRIPTS}/1", uint16(8)) == 250
    assert await world.act(f"{SCRIPTS}/1", int8(1)) == 12
    assert await world.act(f"{SCRIPTS}/1", uint16(9)) != 0  # it would run itself, and with a parameter of another type
    assert len(await journal(world)) == 1


async def test_a_script_goes_on_after_a_part_that_is_refused(make_world: Any) -> None:
    world = await make_world(TABLE)
    action = [
        structure(enum(2), uint16(70), name_of("0000600309ff"), int8(1), int8(0)),
        structure(enum(1), uint16(1), name_of("0000603200ff"), int8(2), Data(5, 42)),  # type: ignore[arg-type]
    ]
    assert await world.set(f"{SCRIPTS}/2", array(structure(uint16(1), array(*action)))) == 0
    assert await world.act(f"{SCRIPTS}/1", uint16(1)) == 4
    assert await world.get(NOTE) == 42
    assert await world.set(f"{SCRIPTS}/2", array(structure(uint16(1), array(structure(enum(3)))))) == 12


# rules of execution times (time, date), and when they hold first after 2025-11-21 12:17:10, worked out by hand
RULES = [
    ("*-*-* 12:17:11", ["11-21 12:17", "11-22 12:17", "11-23 12:17"]),
    ("*-*-* 12:17:10", ["11-22 12:17", "11-23 12:17", "11-24 12:17"]),
    ("*-*-01 00:00:00", ["12-01 00:00", "01-01 00:00", "02-01 00:00"]),
    ("*-*-last 23:59:00", ["11-30 23:59", "12-31 23:59", "01-31 23:59"]),
    ("*-02-last 06:00:00", ["02-28 06:00", "02-28 06:00", "02-29 06:00"]),
    ("*-*-second-last 06:00:00", ["11-29 06:00", "12-30 06:00", "01-30 06:00"]),
    ("*-*-*/sun 01:30:00", ["11-23 01:30", "11-30 01:30", "12-07 01:30"]),
    ("*-*-01/mon 08:00:00", ["12-01 08:00", "01-05 08:00", "02-02 08:00"]),
    ("*-03-last/sun 02:00:00", ["03-29 02:00", "03-28 02:00", "03-26 02:00"]),
    ("2026-01-15 10:00:00", ["01-15 10:00"]),
    ("2024-01-15 10:00:00", []),
    ("*-11-21 *:30:00", ["11-21 12:30", "11-21 13:30", "11-21 14:30"]),
    ("*-11-21 23:*:00", ["11-21 23:00", "11-21 23:01", "11-21 23:02"]),
    ("*-02-30 00:00:00", []),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
async def test_execution_times(make_world: Any, rule: str, expected: list[str]) -> None:
    day, time = rule.split(" ")
    text = f"""
[[function]]
ref = "22/0-0:15.0.0.255"
executed_script = ["0-0:10.0.100.255", 2]
execution_time = [["{time}", "{day}"]]
"""
    world = await make_world(TABLE + text)
    while len(await journal(world)) < len(expected) and world.at < 1_900_000_000_000:
        world.later(days=20)
    found = await journal(world)
    assert found[: len(expected)] == expected
    assert expected or not found


async def test_very_much_that_is_overdue_happens_bit_by_bit(make_world: Any) -> None:
    text = """
[[function]]
ref = "22/0-0:15.0.0.255"
executed_script = ["0-0:10.0.100.255", 2]
execution_time = [["*:*:00", "*-*-*"]]
"""
    world = await make_world(TABLE + text)
    world.later(days=4)
    assert (await journal(world))[-1] < "11-24 08:00"
    assert (await journal(world))[-1] == "11-25 12:17"


async def test_what_is_overdue_happens_in_its_order(make_world: Any) -> None:
    single = '[[function]]\nref = "22/0-0:15.0.{0}.255"\nexecuted_script = ["0-0:10.0.100.255", {0}]\n'
    single += 'execution_time = [["{1}", "*-*-*"]]\n'
    times = [(1, "15:00:00"), (2, "14:00:00"), (3, "16:00:00"), (4, "14:00:00")]
    world = await make_world(TABLE + "".join(single.format(number, time) for number, time in times))
    assert await world.set(f"{JOURNAL}/3", array(capture(8, "0000010000ff"), capture(1, "0000603200ff"))) == 0
    world.later(hours=2)
    assert await world.get(NOTE) == 1004  # the last one of 14:00 in the order of the file
    world.later(hours=1)
    assert await world.get(NOTE) == 1001
    world.later(days=1)
    assert await world.get(NOTE) == 1001
    world.later(hours=1)
    assert await world.get(NOTE) == 1003


async def test_a_schedule_that_was_written_opens_the_relay_at_its_time(make_world: Any) -> None:
    text = """
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[function]]
ref = "9/0-0:10.0.106.255"
scripts = [[1, [[2, 70, "0-0:96.3.10.255", 1, 0]]], [2, [[2, 70, "0-0:96.3.10.255", 2, 0]]]]
[[function]]
ref = "22/0-0:15.0.1.255"
executed_script = ["0-0:10.0.106.255", 1]
[[function]]
ref = "22/0-0:15.0.2.255"
executed_script = ["0-0:10.0.106.255", 2]
execution_time = [["18:00:00", "*-*-*"]]
"""
    world = await make_world(text)
    twin = await make_world(text)  # of the same number: the same load
    two_o_clock = array(structure(octet_string(bytes.fromhex("0e000000")), ANY_DATE))
    assert await world.set("22/0-0:15.0.1.255/4", two_o_clock) == 0
    assert await world.set("22/0-0:15.0.1.255/4", array(structure(ANY_DATE, ANY_DATE))) == 12
    twin.later(minutes=102, seconds=50)  # it is 14:00:00
    until = await twin.get("3/1-0:1.8.0.255/2")
    world.later(hours=4)
    assert await world.get("70/0-0:96.3.10.255/2") is False
    assert await world.get("3/1-0:1.8.0.255/2") == until
    world.later(hours=4)
    assert await world.get("70/0-0:96.3.10.255/3") == 1
    twin.later(hours=4)  # 18:00:00
    gap = await twin.get("3/1-0:1.8.0.255/2") - until
    twin.at = world.at
    assert await twin.get("3/1-0:1.8.0.255/2") - await world.get("3/1-0:1.8.0.255/2") in (gap - 1, gap, gap + 1)


async def test_nothing_happens_in_time_that_the_clock_skips(make_world: Any) -> None:
    text = """
[[function]]
ref = "22/0-0:15.0.0.255"
executed_script = ["0-0:10.0.100.255", 2]
execution_time = [["12:30:00", "*-*-*"]]
"""
    world = await make_world(TABLE + text)
    assert await world.act("8/0-0:1.0.0.255/6", Data(0x10, 900)) == 0  # type: ignore[arg-type] # a long
    assert await journal(world) == []
    world.later(hours=24)
    assert await journal(world) == ["11-22 12:30"]


def entry(
    index: int,
    time: str,
    number: int,
    *,
    weekdays: str = "1111111",
    special: str = "0",
    enabled: bool = True,
    begin: str = "ffffffffff",
    end: str = "ffffffffff",
) -> Data:
    switched = uint16(index), boolean(enabled), name_of(), uint16(number), octet_string(bytes.fromhex(time)), uint16(1)
    return structure(*switched, bit_string(weekdays), bit_string(special), date(begin), date(end))


async def test_a_schedule_by_weekdays_special_days_and_dates(make_world: Any) -> None:
    text = '[[function]]\nref = "10/0-0:12.0.0.255"\n[[function]]\nref = "11/0-0:11.0.0.255"\n'
    world = await make_world(TABLE + text)
    for made in (
        entry(3, "08000000", 1, weekdays="1000000"),  # Mondays
        entry(1, "09000000", 2, weekdays="0000011", special="01"),  # weekends, and days of kind 1
        entry(2, "0a000000", 3, begin="07e90b19ff", end="07e90b1aff"),  # the 25th and 26th
        entry(4, "0b000000", 4, enabled=False),
    ):
        assert await world.act(f"{SCHEDULE}/2", made) == 0
    assert [row[0] for row in await world.get(f"{SCHEDULE}/2")] == [1, 2, 3, 4]
    special = structure(uint16(1), date("07e90b19ff"), uint8(1))  # the 25th, a Tuesday
    assert await world.act(f"{SPECIAL}/1", special) == 0
    world.later(days=7)
    assert await journal(world) == ["11-22 09:00", "11-23 09:00", "11-24 08:00", "11-25 09:00", "11-26 10:00"]
    # disable 1 to 3, enable 4; then take 4 away, and what is not there
    assert await world.act(f"{SCHEDULE}/1", structure(uint16(1), uint16(3), uint16(4), uint16(4))) == 0
    assert [row[1] for row in await world.get(f"{SCHEDULE}/2")] == [False, False, False, True]
    world.later(days=2)
    assert (await journal(world))[5:] == ["11-29 11:00", "11-30 11:00"]
    assert await world.act(f"{SCHEDULE}/3", structure(uint16(4), uint16(9))) == 0
    assert await world.act(f"{SCHEDULE}/3", structure(uint16(4), uint16(9))) == 11
    assert await world.act(f"{SPECIAL}/2", uint16(1)) == 0
    assert await world.get(f"{SPECIAL}/2") == []
    assert await world.act(f"{SPECIAL}/2", uint16(1)) == 11


CALENDAR_FILE = """
[[function]]
ref = "11/0-0:11.0.0.255"
entries = [[1, "*-12-25", 3]]
[[function]]
ref = "20/0-0:13.0.0.255"
calendar_name_active = "one"
season_profile_active = [["winter", "*-10-01 00:00:00", "cold"], ["summer", "*-04-01 00:00:00", "warm"]]
week_profile_table_active = [["cold", 1, 1, 1, 1, 1, 2, 2], ["warm", 2, 2, 2, 2, 2, 2, 2]]
day_profile_table_active = [
    [1, [["06:00:00", "0-0:10.0.100.255", 1], ["22:00:00", "0-0:10.0.100.255", 2]]],
    [2, [["00:00:00", "0-0:10.0.100.255", 3]]],
    [3, []],
]
calendar_name_passive = "two"
season_profile_passive = [["all", "*-01-01 00:00:00", "week"]]
week_profile_table_passive = [["week", 1, 1, 1, 1, 1, 1, 1]]
day_profile_table_passive = [[1, [["12:00:00", "0-0:10.0.100.255", 5]]]]
"""


async def test_a_calendar_by_season_week_and_kind_of_day(make_world: Any) -> None:
    world = await make_world(TABLE + CALENDAR_FILE)
    world.later(days=4)
    friday, weekend = ["11-21 22:00"], ["11-22 00:00", "11-23 00:00"]
    monday = ["11-24 06:00", "11-24 22:00"]
    assert await journal(world) == [*friday, *weekend, *monday, "11-25 06:00"]
    assert await world.get(NOTE) == 1001
    world.later(days=30, hours=12)  # 2025-12-26 00:17, after a day of kind 3
    assert (await journal(world))[-2:] == ["12-24 06:00", "12-24 22:00"]
    world.later(days=120)  # in April
    assert (await journal(world))[-2:] == ["04-24 00:00", "04-25 00:00"]


async def test_the_passive_calendar_is_activated_by_hand_and_by_time(make_world: Any) -> None:
    world = await make_world(TABLE + CALENDAR_FILE)
    at = octet_string(bytes.fromhex("07e90b17ff0800000080 00ff".replace(" ", "")))  # 2025-11-23 08:00
    assert await world.set(f"{CALENDAR}/10", at) == 0
    world.later(days=3)
    assert await world.get(f"{CALENDAR}/2") == b"two"
    assert await journal(world) == ["11-21 22:00", "11-22 00:00", "11-23 00:00", "11-23 12:00", "11-24 12:00"]
    other = await make_world(TABLE + CALENDAR_FILE)
    assert await other.act(f"{CALENDAR}/1") == 0
    other.later(days=1)
    assert await other.get(f"{CALENDAR}/5") == await other.get(f"{CALENDAR}/9")
    assert await journal(other) == ["11-22 12:00"]


MONITOR = """
[[object]]
ref = "1/0-0:96.50.1.255/2"
name = "What is watched"
type = "uint32"
writable = true
[[function]]
ref = "21/0-0:16.0.0.255"
thresholds = [100, 200]
monitored_value = [1, "0-0:96.50.1.255", 2]
actions = [
    [["0-0:10.0.100.255", 1], ["0-0:10.0.100.255", 2]],
    [["0-0:10.0.100.255", 3], ["0-0:10.0.100.255", 4]],
]
"""


async def test_a_register_monitor(make_world: Any) -> None:
    world = await make_world(TABLE + MONITOR)
    ran = []
    for value in (50, 99, 100, 150, 99, 250, 199, 200, 0):
        assert await world.set("1/0-0:96.50.1.255/2", uint32(value)) == 0
        before = len(await journal(world))
        world.later(minutes=2)
        after = len(await journal(world))
        ran.append((value, after - before, await world.get(NOTE) - 1000 if after > before else None))
    # nothing at first; up at 100, down below 100, both up to 250; down below 200, up again, both down
    assert ran == [
        *[(50, 0, None), (99, 0, None), (100, 1, 1), (150, 0, None), (99, 1, 2)],
        *[(250, 2, 3), (199, 1, 4), (200, 1, 3), (0, 2, 4)],
    ]


LIMITER = """
[[object]]
ref = "1/0-0:96.50.1.255/2"
name = "What is watched"
type = "uint32"
writable = true
[[function]]
ref = "70/0-0:96.3.10.255"
control_mode = 6
[[function]]
ref = "9/0-0:10.0.106.255"
scripts = [[1, [[2, 70, "0-0:96.3.10.255", 1, 0]]], [2, [[2, 70, "0-0:96.3.10.255", 2, 0]]]]
[[function]]
ref = "71/0-0:17.0.0.255"
monitored_value = [1, "0-0:96.50.1.255", 2]
threshold_normal = 100
threshold_emergency = 10
min_over_threshold_duration = 180
min_under_threshold_duration = 60
emergency_profile_group_id_list = [7]
actions = [["0-0:10.0.106.255", 1], ["0-0:10.0.106.255", 2]]
"""


async def test_a_limiter_disconnects_and_reconnects_locally(make_world: Any) -> None:
    world = await make_world(LIMITER)

    async def after(value: int | None, minutes: int) -> int:
        if value is not None:
            assert await world.set("1/0-0:96.50.1.255/2", uint32(value)) == 0
        world.later(minutes=minutes)
        state: int = await world.get("70/0-0:96.3.10.255/3")
        return state

    assert [await after(90, 10), await after(101, 3), await after(None, 2), await after(100, 1)] == [1, 1, 2, 2]
    assert await after(None, 2) == 1
    assert await world.get("71/0-0:17.0.0.255/3") == 100
    begin = octet_string(bytes.fromhex("07e90b15ff0d00000080 00ff".replace(" ", "")))  # 13:00
    assert await world.set("71/0-0:17.0.0.255/8", structure(uint16(7), begin, uint32(3600))) == 0
    assert await world.get("71/0-0:17.0.0.255/10") is False
    assert await after(None, 30) == 2  # 13:05 and 100 is more than 10
    assert await world.get("71/0-0:17.0.0.255/3") == 10
    assert await world.get("71/0-0:17.0.0.255/10") is True
    assert await after(None, 60) == 1
    assert await world.get("71/0-0:17.0.0.255/10") is False

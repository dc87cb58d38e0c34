"""Load profiles that a client changes: reset, capture, another period, other columns, another order."""

from __future__ import annotations

from typing import Any

import pytest

from headend.protocols.dlms.axdr import Data, array, encode_data, enum, int8, octet_string, structure, uint16, uint32
from headend.protocols.dlms.clock import CosemDateTime

PROFILE = "7/1-0:99.1.0.255"
OBJECTS = """
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[object]]
ref = "1/0-0:96.50.0.255/2"
name = "One of several"
type = "uint8"
emulate = { choice = "1|2|3|4|5|6|7|8|9", every = 60 }
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 8
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2"]
"""


def column(class_id: int, name: str, attribute_id: int = 2, index: int = 0) -> Data:
    return structure(uint16(class_id), octet_string(bytes.fromhex(name)), int8(attribute_id), uint16(index))


CLOCK, ENERGY, CHOICE = column(8, "0000010000ff"), column(3, "0100010800ff"), column(1, "0000603200ff")


@pytest.fixture
async def world(make_world: Any) -> Any:
    return await make_world(OBJECTS)  # it is 12:17:10


async def times(world: Any) -> list[str]:
    rows = await world.get(f"{PROFILE}/2")
    assert await world.get(f"{PROFILE}/7") == len(rows)
    return [str(CosemDateTime.from_bytes(row[0]))[11:19] for row in rows]


async def test_reset_leaves_an_empty_buffer_that_fills_again(world: Any) -> None:
    assert (await times(world))[-3:] == ["11:45:00", "12:00:00", "12:15:00"]
    assert await world.act(f"{PROFILE}/1") == 0
    assert await times(world) == []
    world.later(minutes=12)
    assert await times(world) == []
    world.later(minutes=30)
    assert await times(world) == ["12:30:00", "12:45:00"]
    world.later(hours=24)
    assert len(await times(world)) == 8


async def test_capture_adds_a_row_of_now(world: Any) -> None:
    assert await world.act(f"{PROFILE}/1") == 0
    world.later(seconds=20)
    assert await world.act(f"{PROFILE}/2") == 0
    energy = await world.get("3/1-0:1.8.0.255/2")
    world.later(hours=1)
    rows = await world.get(f"{PROFILE}/2")
    assert [str(CosemDateTime.from_bytes(row[0]))[11:19] for row in rows][:2] == ["12:17:30", "12:30:00"]
    assert rows[0][1] == energy < await world.get("3/1-0:1.8.0.255/2")


async def test_a_profile_that_captures_only_when_told(make_world: Any) -> None:
    world = await make_world(OBJECTS.replace("period_seconds = 900", "period_seconds = 0"))
    assert await times(world) == []
    world.later(days=1)
    assert await times(world) == []
    for _ in range(10):
        world.later(seconds=1)
        assert await world.act(f"{PROFILE}/2") == 0
    assert await times(world) == [f"12:17:{second}" for second in range(13, 21)]


async def test_another_period_goes_on_from_now(world: Any) -> None:
    assert await world.set(f"{PROFILE}/4", uint32(300)) == 0
    assert await world.get(f"{PROFILE}/4") == 300
    assert (await times(world))[-2:] == ["12:00:00", "12:15:00"]
    world.later(minutes=10)
    assert (await times(world))[-4:] == ["12:00:00", "12:15:00", "12:20:00", "12:25:00"]
    assert await world.set(f"{PROFILE}/4", uint32(0)) == 0
    world.later(hours=1)
    assert (await times(world))[-2:] == ["12:20:00", "12:25:00"]
    assert await world.set(f"{PROFILE}/4", uint16(900)) == 12


async def test_other_columns_and_another_size_begin_anew(world: Any) -> None:
    assert await world.set(f"{PROFILE}/3", array(CLOCK, CHOICE, ENERGY)) == 0
    assert await times(world) == []
    world.later(minutes=30)
    rows = await world.get(f"{PROFILE}/2")
    assert [len(row) for row in rows] == [3, 3]
    assert rows[0][2] <= rows[1][2]
    assert await world.set(f"{PROFILE}/8", uint32(1)) == 0
    assert await times(world) == []
    world.later(minutes=30)
    assert await times(world) == ["13:15:00"]
    assert await world.set(f"{PROFILE}/8", uint32(0)) == 250
    assert await world.set(f"{PROFILE}/3", array(column(3, "0100010803ff"))) == 11
    assert await world.set(f"{PROFILE}/3", array(column(1, "0000603200ff", index=1))) == 11
    assert await world.get(f"{PROFILE}/8") == 1


async def test_selective_access_to_a_buffer_that_was_touched(world: Any) -> None:
    assert await world.act(f"{PROFILE}/1") == 0
    world.later(hours=1)  # rows at 12:30, 12:45, 13:00, 13:15

    async def hours(selector: str, data: Data) -> list[str]:
        request = "c001c1000701006301 00ff0201".replace(" ", "") + selector + encode_data(data).hex()
        answer = bytes.fromhex(await world.head_end.ask(request))
        size = 2 + 14 + 5
        return [f"{answer[at + 9]}:{answer[at + 10]:02}" for at in range(6, len(answer), size)]

    def moment(hour: int, minute: int) -> Data:
        return octet_string(bytes((7, 0xE9, 11, 21, 0xFF, hour, minute, 0, 0, 0x80, 0, 0xFF)))

    entries = structure(uint32(2), uint32(3), uint16(1), uint16(0))
    assert await hours("02", entries) == ["12:45", "13:00"]
    between = structure(CLOCK, moment(12, 40), moment(13, 0), array())
    assert await hours("01", between) == ["12:45", "13:00"]


# IEC 62056-6-2, profile generic: where rows stand after a sort_method
ORDERS = {
    1: lambda rows: rows,
    2: lambda rows: rows[::-1],
    3: lambda rows: sorted(rows, key=lambda row: row[1], reverse=True),
    4: lambda rows: sorted(rows, key=lambda row: row[1]),
    5: lambda rows: sorted(rows, key=lambda row: abs(row[1])),
    6: lambda rows: sorted(rows, key=lambda row: abs(row[1]), reverse=True),
}


@pytest.mark.parametrize("method", ORDERS)
async def test_sorting(world: Any, method: int) -> None:
    assert await world.set(f"{PROFILE}/3", array(CLOCK, CHOICE)) == 0
    world.later(hours=2)
    rows = await world.get(f"{PROFILE}/2")
    assert len({row[1] for row in rows}) > 2
    assert await world.set(f"{PROFILE}/6", CHOICE) == 0
    assert await world.set(f"{PROFILE}/5", enum(method)) == 0
    assert await world.get(f"{PROFILE}/2") == ORDERS[method](rows)


async def test_a_full_buffer_keeps_the_largest(world: Any) -> None:
    assert await world.set(f"{PROFILE}/3", array(CLOCK, CHOICE)) == 0
    assert await world.set(f"{PROFILE}/8", uint32(100)) == 0
    world.later(hours=10)
    values = sorted((row[1] for row in await world.get(f"{PROFILE}/2")), reverse=True)
    assert len(values) == 40
    world.at -= 10 * 3_600_000
    assert await world.set(f"{PROFILE}/8", uint32(3)) == 0
    assert await world.set(f"{PROFILE}/6", CHOICE) == 0
    assert await world.set(f"{PROFILE}/5", enum(3)) == 0
    world.later(hours=10)
    assert [row[1] for row in await world.get(f"{PROFILE}/2")] == values[:3]
    assert await world.set(f"{PROFILE}/5", enum(7)) == 12

"""What a virtual meter writes into its event logs, in the numbers of IDIS: its relay was switched, its clock was set."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms.meter.relay import Cause, Relay
from headend.drivers.dlms.meter_file import meter_file
from headend.protocols.dlms.axdr import array, decode_data, int8, int16, octet_string, structure, uint16, uint32

RELAY = "70/0-0:96.3.10.255"
CLOCK = "8/0-0:1.0.0.255"
STANDARD, FRAUD, DISCONNECTOR = (f"7/0-0:99.98.{group}.255" for group in (0, 1, 2))
LOG = """
[[object]]
ref = "1/0-0:96.11.{group}.255/2"
name = "Last event"
type = "uint8"
emulate = {{ value = 0 }}
[[load_profile]]
ref = "7/0-0:99.98.{group}.255/2"
period_seconds = 0
capacity = 4
columns = ["8/0-0:1.0.0.255/2", "1/0-0:96.11.{group}.255/2", "1/0-0:96.1.0.255/2"]
event_table = "idis"
"""
FILE = """
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "1/0-0:96.1.0.255/2"
quantity = "serial_number"
emulate = { value = "77" }
[[function]]
ref = "70/0-0:96.3.10.255"
control_mode = 5
""" + "".join(LOG.format(group=group) for group in (0, 1, 2))

REFUSED = 250


async def logged(world: Any, log: str) -> list[tuple[str, int]]:
    """Time of day and code of each entry, in the order of the log."""
    rows = await world.get(f"{log}/2")
    assert await world.get(f"{log}/7") == len(rows)
    assert {row[2] for row in rows} <= {b"77"}
    assert {row[0][:5].hex() for row in rows} <= {"07e90b1505"}  # Friday 2025-11-21
    return [("{:02}:{:02}:{:02}".format(*row[0][5:8]), row[1]) for row in rows]


def relay_of(world: Any) -> Relay:
    relay = meter_file(world.meter.profile).plant.functions[70, bytes((0, 0, 96, 3, 10, 255))]
    assert isinstance(relay, Relay)
    return relay


async def test_who_switched_the_relay_and_when(make_world: Any) -> None:
    world = await make_world(FILE)
    relay, meter = relay_of(world), world.meter
    assert await logged(world, DISCONNECTOR) == []
    assert await world.act(f"{RELAY}/1") == 0
    world.later(seconds=1)
    assert await world.act(f"{RELAY}/1") == 0  # it is open already
    assert await world.act(f"{RELAY}/2") == 0  # in this mode it is closed by hand after that
    world.later(minutes=1)
    relay.reconnect(meter, Cause.MANUAL)
    world.later(minutes=1)
    relay.disconnect(meter, Cause.LOCAL)
    world.later(minutes=1)
    relay.reconnect(meter, Cause.LOCAL)
    expected = [("12:17:10", 62), ("12:18:11", 61), ("12:19:11", 64), ("12:20:11", 69)]
    assert await logged(world, DISCONNECTOR) == expected
    assert await world.get("1/0-0:96.11.2.255/2") == 69
    world.later(minutes=1)
    relay.disconnect(meter, Cause.MANUAL)
    assert await logged(world, DISCONNECTOR) == [*expected[1:], ("12:21:11", 60)], "it holds four"
    assert await logged(world, STANDARD) == await logged(world, FRAUD) == []


async def test_a_clock_that_is_set_is_in_the_log_under_both_times(make_world: Any) -> None:
    world = await make_world(FILE)
    assert await world.act(f"{CLOCK}/6", int16(-60)) == 0
    world.later(seconds=10)
    assert await world.act(f"{CLOCK}/6", int16(120)) == 0
    at = [("12:17:10", 4), ("12:16:10", 5), ("12:16:20", 4), ("12:18:20", 5)]
    assert await logged(world, STANDARD) == at
    assert await logged(world, DISCONNECTOR) == []
    assert await world.get("1/0-0:96.11.0.255/2") == 5


CLOCK_COLUMN = "020412000809060000010000ff0f02120000"
FROM, TO = (f"090c07e90b1505{time}00800000" for time in ("0c100f", "0c1200"))


@pytest.mark.parametrize(
    ("selection", "codes"),
    [
        # from 12:16:15 to 12:18: at 12:17:10, before it was set back, and at 12:16:20, before it was set on
        (f"010204{CLOCK_COLUMN}{FROM}{TO}0100", [4, 4]),
        ("020204" + "0600000002" + "0600000003" + "120001" + "120000", [5, 4]),
        ("020204" + "0600000003" + "0600000000" + "120001" + "120000", [4, 5]),
    ],
)
async def test_a_part_of_a_log(make_world: Any, selection: str, codes: list[int]) -> None:
    world = await make_world(FILE)
    await world.act(f"{CLOCK}/6", int16(-60))
    world.later(seconds=10)
    await world.act(f"{CLOCK}/6", int16(120))
    answer = bytes.fromhex(await world.head_end.ask(f"c001c100070000636200ff0201{selection}"))
    assert answer[:4].hex() == "c401c100"
    rows, _ = decode_data(answer, 4)
    assert [row[1] for row in rows] == codes


async def test_what_a_log_refuses(make_world: Any) -> None:
    world = await make_world(FILE)
    await world.act(f"{RELAY}/1")
    assert await world.set(f"{DISCONNECTOR}/4", uint32(900)) == REFUSED
    assert await world.act(f"{DISCONNECTOR}/2") == REFUSED
    assert len(await logged(world, DISCONNECTOR)) == 1
    assert await world.act(f"{DISCONNECTOR}/1") == 0  # reset
    assert await logged(world, DISCONNECTOR) == []


async def test_columns_that_somebody_chose(make_world: Any) -> None:
    world = await make_world(FILE)
    columns = [(1, "0000600100ff"), (8, "0000010000ff"), (1, "0000600b02ff")]
    chosen = array(
        *(
            structure(uint16(class_id), octet_string(bytes.fromhex(name)), int8(2), uint16(0))
            for class_id, name in columns
        )
    )
    assert await world.set(f"{DISCONNECTOR}/3", chosen) == 0
    await world.act(f"{RELAY}/1")
    ((serial, time, code),) = await world.get(f"{DISCONNECTOR}/2")
    assert (serial, time[5:8], code) == (b"77", bytes((12, 17, 10)), 62)

"""What a push setup sends, when, where to, and how protected."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.base import Outgoing
from headend.drivers.dlms import driver
from headend.model.meter import EndpointKind
from headend.protocols.dlms.axdr import (
    Data,
    array,
    decode_data,
    enum,
    int8,
    octet_string,
    structure,
    uint8,
    uint16,
    uint32,
)

SETUP = "40/0-0:25.9.0.255"
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
name = "Anything"
type = "uint32"
writable = true
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 8
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2"]
[[function]]
ref = "40/0-0:25.9.0.255"
push_object_list = [
    [40, "0-0:25.9.0.255", 2, 0],
    [1, "0-0:42.0.0.255", 2, 0],
    [3, "1-0:1.8.0.255", 2, 0],
    [3, "1-0:1.8.0.255", 3, 2],
    [3, "1-0:9.9.9.255", 2, 0],
]
send_destination_and_method = [0, "127.0.0.1:4060", 0]
"""


class Recorder:
    """An Outside that sends nothing, and wakes when it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[Outgoing, int]] = []
        self.woken: dict[int, tuple[int, Any]] = {}

    def wake(self, number: int, at: int, call: Any) -> None:
        self.woken[number] = at, call

    def send(self, _number: int, outgoing: Outgoing, not_before: int) -> None:
        self.sent.append((outgoing, not_before))


async def make(make_world: Any, text: str = OBJECTS, **more: Any) -> tuple[Any, Recorder]:
    world = await make_world(text, **more)
    outside = Recorder()
    world.kind.outside = outside
    return world, outside


def body_of(octets: bytes) -> Any:
    """What stands after the wrapper and the head of a data-notification with a date-time."""
    assert octets[:2] == b"\x00\x01"
    assert octets[4:6] == b"\x00\x01"
    assert int.from_bytes(octets[6:8], "big") == len(octets) - 8
    assert octets[8] == 0x0F
    assert octets[13] == 12
    value, end = decode_data(octets, 26)
    assert end == len(octets)
    return value


async def test_a_push_holds_the_values_of_its_objects(make_world: Any) -> None:
    world, outside = await make(make_world)
    assert await world.act(f"{SETUP}/1") == 0
    ((outgoing, not_before),) = outside.sent
    assert (outgoing.kind, outgoing.host, outgoing.port) == (EndpointKind.TCP, "127.0.0.1", 4060)
    assert (not_before, outgoing.retries) == (world.at, 0)
    listed, name, energy, unit, nothing = body_of(outgoing.octets)
    assert listed == await world.get(f"{SETUP}/2")
    assert name.decode() == world.meter.logical_device_name
    assert energy == await world.get("3/1-0:1.8.0.255/2") > 0
    assert (unit, nothing) == (30, None)
    assert outgoing.octets[14:26] == await world.get("8/0-0:1.0.0.255/2")
    assert await world.act(f"{SETUP}/1") == 0
    assert outside.sent[1][0].octets[9:13] == bytes.fromhex("00000002")


async def test_the_last_rows_of_a_profile_are_pushed(make_world: Any) -> None:
    world, outside = await make(make_world)
    rows = structure(uint16(7), octet_string(bytes.fromhex("0100630100ff")), int8(2), uint16(2))
    assert await world.set(f"{SETUP}/2", array(rows)) == 0
    assert await world.act(f"{SETUP}/1") == 0
    assert body_of(outside.sent[0][0].octets) == [(await world.get("7/1-0:99.1.0.255/2"))[-2:]]


@pytest.mark.parametrize(
    ("destination", "result", "pushed"),
    [
        (structure(enum(1), octet_string(b"[::1]:4059"), enum(0)), 0, (EndpointKind.UDP, "::1", 4059)),
        (structure(enum(5), octet_string(b"localhost:1"), enum(0)), 0, (EndpointKind.TCP, "localhost", 1)),
        (structure(enum(0), octet_string(b""), enum(0)), 0, None),
        (structure(enum(0), octet_string(b"somewhere"), enum(0)), 0, None),
        (structure(enum(0), octet_string(b"a:99999"), enum(0)), 0, None),
        (structure(enum(4), octet_string(b"+49123"), enum(0)), 12, (EndpointKind.TCP, "127.0.0.1", 4060)),
        (structure(enum(0), octet_string(b"a:1"), enum(1)), 12, (EndpointKind.TCP, "127.0.0.1", 4060)),
    ],
)
async def test_destinations(make_world: Any, destination: Data, result: int, pushed: Any) -> None:
    world, outside = await make(make_world)
    assert await world.set(f"{SETUP}/3", destination) == result
    assert await world.act(f"{SETUP}/1") == (0 if pushed else 250)
    found = [(outgoing.kind, outgoing.host, outgoing.port) for outgoing, _ in outside.sent]
    assert found == ([pushed] if pushed else [])


async def test_a_push_in_hdlc_is_heard(make_world: Any) -> None:
    world, outside = await make(make_world)
    assert await world.set(f"{SETUP}/3", structure(enum(5), octet_string(b"127.0.0.1:1"), enum(0))) == 0
    assert await world.act(f"{SETUP}/1") == 0
    octets = outside.sent[0][0].octets
    assert octets[0] == octets[-1] == 0x7E
    (push,) = driver.listen(10_000).receive(octets)
    assert push.identity.logical_device_name == world.meter.logical_device_name


async def test_a_meter_without_an_outside_refuses_to_push(make_world: Any) -> None:
    world = await make_world(OBJECTS)
    assert await world.act(f"{SETUP}/1") == 250


async def test_communication_windows_randomness_and_retries(make_world: Any) -> None:
    world, outside = await make(make_world)  # it is 12:17:10
    window = structure(
        octet_string(bytes.fromhex("ffffffffff0e00000080 00ff".replace(" ", ""))),
        octet_string(bytes.fromhex("ffffffffff0f00000080 00ff".replace(" ", ""))),
    )
    assert await world.set(f"{SETUP}/4", array(window)) == 0
    assert await world.act(f"{SETUP}/1") == 0
    world.later(hours=2)  # 14:17:10, the window is open
    assert await world.act(f"{SETUP}/1") == 0
    assert [not_before - world.at for _, not_before in outside.sent] == [-1_030_000, 0]
    assert await world.set(f"{SETUP}/5", uint16(600)) == 0
    assert await world.set(f"{SETUP}/6", uint8(3)) == 0
    assert await world.set(f"{SETUP}/7", uint16(20)) == 0
    for _ in range(20):
        world.later(seconds=1)
        assert await world.act(f"{SETUP}/1") == 0
    delays = [not_before - 0 for _, not_before in outside.sent[2:]]
    assert len({delay // 10_000 for delay in delays}) > 5
    assert all(0 <= delay - world.at + 20_000 <= 620_000 for delay in delays)
    last = outside.sent[-1][0]
    assert (last.retries, last.delay, last.not_after - last.not_before) == (3, 20, 120_000)


SCHEDULED = (
    OBJECTS
    + """
[[function]]
ref = "9/0-0:10.0.108.255"
scripts = [[1, [[2, 40, "0-0:25.9.0.255", 1, 0]]]]
[[function]]
ref = "22/0-0:15.0.4.255"
executed_script = ["0-0:10.0.108.255", 1]
execution_time = [["*:30:00", "*-*-*"]]
"""
)


async def test_a_schedule_pushes_when_nobody_asks(make_world: Any) -> None:
    world, outside = await make(make_world, SCHEDULED)
    driver.begin(world.meter)
    at, call = outside.woken[7]
    assert at == 1_763_728_200_000  # 12:30
    world.at = at
    call()
    assert outside.woken[7][0] == at + 3_600_000
    assert outside.sent[0][1] == at
    assert outside.sent[0][0].octets[14:26].hex() == "07e90b15050c1e0000000000"


async def test_pushes_that_are_long_overdue_are_not_sent(make_world: Any) -> None:
    world, outside = await make(make_world, SCHEDULED)
    world.later(hours=5, minutes=13)  # 17:30:10
    await world.get("3/1-0:1.8.0.255/2")
    assert [not_before for _, not_before in outside.sent] == [1_763_746_200_000]  # that of 17:30


async def test_a_meter_whose_pushes_go_nowhere_is_not_woken(make_world: Any) -> None:
    world, outside = await make(make_world, SCHEDULED.replace("127.0.0.1:4060", ""))
    driver.begin(world.meter)
    assert not outside.woken
    destination = structure(enum(0), octet_string(b"127.0.0.1:4060"), enum(0))
    assert await world.set(f"{SETUP}/3", destination) == 0
    assert outside.woken[7][0] == 1_763_728_200_000


async def test_an_alarm_pushes(make_world: Any) -> None:
    text = """
[[function]]
ref = "9/0-0:10.0.108.255"
scripts = [[1, [[2, 40, "0-0:25.9.0.255", 1, 0]]]]
[[function]]
ref = "21/0-0:16.1.0.255"
thresholds = [100]
monitored_value = [1, "0-0:96.50.0.255", 2]
actions = [[["0-0:10.0.108.255", 1], ["0-0:0.0.0.0", 0]]]
"""
    world, outside = await make(make_world, OBJECTS + text)
    world.later(minutes=5)
    assert await world.set("1/0-0:96.50.0.255/2", uint32(100)) == 0
    at, call = outside.woken[7]
    assert at == world.at // 60_000 * 60_000 + 60_000
    world.at = at
    call()
    assert len(outside.sent) == 1
    world.later(minutes=1)
    outside.woken[7][1]()
    assert len(outside.sent) == 1

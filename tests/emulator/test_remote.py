from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.emulator.control import Selection
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_groups
from headend.emulator.remote import ControlServer, RemoteControl
from headend.errors import ConfigError, ConnectRefused, LinkClosed, NotFound, PermissionDenied
from headend.model.meter import Secret

LIBRARY = Library()
TOKEN = "a token of the test"


def read_groups(text: str) -> Sequence[Group]:
    return load_groups(text, LIBRARY, lambda place, _: Secret(place.encode()))


class Bench:
    def __init__(self, fleet: Fleet, port: int) -> None:
        self.fleet, self.port = fleet, port
        self.remote = RemoteControl("127.0.0.1", port, TOKEN)

    async def say(self, *lines: bytes) -> list[Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.writelines(line + b"\n" for line in lines)
        writer.write_eof()
        said = [json.loads(line) for line in (await reader.read()).splitlines()]
        writer.close()
        await writer.wait_closed()
        return said


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    groups = [
        Group(profile=LIBRARY.get("eastron-sdm120"), count=4, name="flat {number}", label="flats"),
        Group(profile=LIBRARY.get("generic-dlms-1p"), count=6, first_address="127.1.0.1", name="house {number}"),
    ]
    fleet = Fleet(groups, seed=1)
    await fleet.start()
    server = ControlServer(fleet.control, read_groups, TOKEN)
    port = await server.start("127.0.0.1", 0)
    yield Bench(fleet, port)
    await server.aclose()
    await server.aclose()
    await fleet.aclose()


async def test_all_that_can_be_done_here_can_be_done_from_there(bench: Bench) -> None:
    remote, local = bench.remote, bench.fleet.control
    assert await remote.groups() == local.groups()
    houses = Selection(name="house *")
    assert await remote.count(houses) == 6
    assert await remote.break_(Fault(kind=FaultKind.SILENT, chance=0.5), houses) == 6
    assert await remote.break_(Fault(kind=FaultKind.LATENCY, seconds=1), Selection(numbers=[5])) == 1
    assert await remote.meters(offset=3, limit=3) == local.meters(offset=3, limit=3)
    assert [fault.kind for fault in (await remote.meters(houses))[0].faults] == [FaultKind.SILENT, FaultKind.LATENCY]
    assert await remote.mend(kinds=[FaultKind.SILENT]) == 6
    assert await remote.mend() == 1
    assert await remote.stop(Selection(group="flats")) == 4
    assert [group.stopped for group in await remote.groups()] == [4, 0]
    assert await remote.start() == 4
    assert await remote.reboot(houses, seconds=1) == 6
    assert (await remote.set_clock(at=42_000_000_000, speed=0)).at == 42_000_000_000
    assert (await remote.state()).meters == 10
    text = '[[group]]\nprofile = "eastron-sdm120"\ncount = 3\nlabel = "more"\nfirst_address = "127.2.0.1"\n'
    (more,) = await remote.add(text)
    assert (more.group, more.meters, more.first_number) == ("more", 3, 11)
    assert await remote.remove("more") == 3


async def test_what_is_wrong_is_told_as_it_is_here(bench: Bench) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await bench.remote.count(Selection(group="nobody"))
    with pytest.raises(ConfigError, match="group"):
        await bench.remote.add("[fleet]")
    with pytest.raises(ConfigError, match="speed"):
        await bench.remote.set_clock(speed=-1)
    with pytest.raises(PermissionDenied):
        await RemoteControl("127.0.0.1", bench.port, "another").state()
    with pytest.raises(ConnectRefused):
        await RemoteControl("127.255.0.1", bench.port, TOKEN).state()


@pytest.mark.parametrize(
    "wrong",
    [
        {"do": "dance"},
        {"do": "break"},
        {"do": "break", "fault": {"kind": "tired"}},
        {"do": "break", "fault": {"kind": "silent", "meters": "all"}},
        {"do": "break", "fault": {"kind": "silent", "colour": 1}},
        {"do": "mend", "kinds": ["tired"]},
        {"do": "mend", "selection": {"numbers": "all"}},
        {"do": "mend", "selection": ["all"]},
        {"do": "meters", "limit": "many"},
        {"do": "clock", "at": []},
        {"do": "add"},
    ],
)
async def test_nonsense_is_refused_and_the_next_request_is_heard(bench: Bench, wrong: dict[str, Any]) -> None:
    good = json.dumps({"token": TOKEN, "do": "count"}).encode()
    refused, done = await bench.say(json.dumps({"token": TOKEN, **wrong}).encode(), good)
    assert (refused["ok"], refused["code"]) == (False, "config")
    assert done == {"ok": True, "result": 10}


async def test_who_does_not_say_the_token_is_told_nothing(bench: Bench) -> None:
    said = await bench.say(b'{"do": "groups"}', b'{"do": "groups", "token": 5}', b"[]", b"{", b"[" * 100_000)
    assert [(each["ok"], each["code"]) for each in said] == [
        *[(False, "permission-denied")] * 2,
        *[(False, "config")] * 3,
    ]


async def test_a_fleet_is_controlled_from_this_machine_only(bench: Bench) -> None:
    server = ControlServer(bench.fleet.control, read_groups, TOKEN)
    with pytest.raises(ConfigError, match="this machine"):
        await server.start("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="cannot listen"):
        await server.start("127.0.0.1", bench.port)
    await server.aclose()


async def test_a_fleet_that_ends_in_the_middle_is_told() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LinkClosed):
        await RemoteControl("127.0.0.1", port, TOKEN).state()
    server.close()
    await server.wait_closed()

"""Captures of wires in memory: what is taken, for how long, and that secrets are not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from headend.drivers.captures.flows import read_flows
from headend.drivers.captures.packets import read_packets
from headend.errors import Conflict, NotFound
from headend.model.meter import Secret
from headend.services.captures import CaptureLimits, Captures

from .support import Site, World, clock, meter, virtual

LOGIN = {"secret": Secret(b"open-sesame")}


def a_world(folder: Path, **limits: int) -> tuple[World, Captures]:
    world = World({"one": Site({"1": 230, "2": 231}), "other": Site()})
    world.secrets["m1"] = LOGIN
    world.roster.load([meter("m1", "one"), meter("m2", "one", "2"), meter("m3", "other")])
    captures = Captures(
        folder,
        world.roster,
        world.lanes,
        driver=lambda _name: world.driver,
        secrets=world._secrets,
        clock=clock,
        limits=CaptureLimits(**limits),
    )
    return world, captures


def said(captures: Captures, capture_id: str) -> list[list[tuple[bool, bytes]]]:
    """What each connection of a capture holds, by who said it."""
    data = b"".join(path.read_bytes() for path in captures.files(capture_id))
    flows, _ = read_flows(data, read_packets(data), ())
    return [[(chunk.from_client, data[chunk.start : chunk.end]) for chunk in flow.chunks] for flow in flows]


def test_a_capture_holds_what_was_said_with_the_password_masked(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path)
        info = captures.start(await captures.target("m1"))
        await world.read("m1")
        await world.read("m2")
        await world.read("m3")
        (conversation,) = said(captures, info.id)
        assert conversation == [
            (True, b"LOGIN 1 ***********\n"),
            (False, b"1 OK\n"),
            (True, b"READ 1 u\n"),
            (False, b"1 230\n"),
            (True, b"READ 2 u\n"),
            (False, b"2 231\n"),
        ]
        assert world.sites["one"].log[0] == "LOGIN 1 open-sesame"
        assert captures.get(info.id).packets == 6
        captures.close()
        await world.lanes.aclose()

    scenario()


def test_a_link_that_is_open_already_is_captured_from_now_on(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path)
        await world.read("m2")
        info = captures.start(await captures.target("m2"))
        await world.read("m2")
        captures.stop(info.id)
        await world.read("m2")
        assert said(captures, info.id) == [[(True, b"READ 2 u\n"), (False, b"2 231\n")]]
        assert world.lanes.link("tcp://one:7").tap is None  # type: ignore[union-attr] # it is open
        await world.lanes.aclose()

    scenario()


def test_a_capture_ends_by_itself_and_is_known_afterwards(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path, seconds=600)
        info = captures.start(await captures.target("m1"), seconds=30)
        longest = captures.start(await captures.target("m1"), seconds=6000)
        assert captures.get(info.id).running
        await asyncio.sleep(31)
        assert not captures.get(info.id).running
        await asyncio.sleep(570)
        assert not captures.get(longest.id).running
        with pytest.raises(NotFound):
            captures.stop(info.id)
        again = a_world(tmp_path)[1]
        assert {each.id for each in again.known()} == {info.id, longest.id}
        again.remove(info.id)
        assert [each.id for each in again.known()] == [longest.id]
        captures.close()
        await world.lanes.aclose()

    scenario()


def test_a_new_connection_begins_a_new_conversation(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path)
        info = captures.start(await captures.target("m3"))
        await world.read("m3")
        world.sites["other"].moods["1"] = "closes-once"
        await world.read("m3")
        asked, answered = (True, b"READ 1 u\n"), (False, b"1 230\n")
        assert said(captures, info.id) == [[asked, answered, asked], [asked, answered]]
        captures.close()
        await world.lanes.aclose()

    scenario()


def test_who_watches_sees_it_live_and_the_oldest_make_room(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path)
        watch = captures.watch(await captures.target("m1"))
        assert captures.watchers == 1
        assert await watch.next(5.0) == ()
        await world.read("m1")
        pieces = [piece.octets for piece, _ in await watch.next(5.0)]
        assert pieces == [b"LOGIN 1 ***********\n", b"1 OK\n", b"READ 1 u\n", b"1 230\n"]
        for _ in range(300):
            await world.read("m1")
        assert len(await watch.next(5.0)) == 500
        assert watch.lost == 100
        captures.unwatch(watch)
        assert captures.watchers == 0
        await world.lanes.aclose()

    scenario()


def test_captures_are_bounded(tmp_path: Path) -> None:
    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path, at_once=2, octets=3 << 20, file_octets=1 << 20)
        with pytest.raises(NotFound):
            captures.start(await captures.target("nobody"))
        first = captures.start(await captures.target("m1"), octets=1 << 20)
        await asyncio.sleep(0.01)
        second = captures.start(await captures.target("m2"), octets=1 << 20)
        with pytest.raises(Conflict, match="2 captures run"):
            captures.start(await captures.target("m3"))
        captures.stop(first.id)
        captures.stop(second.id)
        for path in captures.files(first.id):
            path.write_bytes(bytes(2 << 20))
        await asyncio.sleep(0.01)
        third = captures.start(await captures.target("m3"), octets=2 << 20)
        assert {each.id for each in captures.known()} == {second.id, third.id}
        captures.close()
        await world.lanes.aclose()

    scenario()


def test_a_disk_that_is_full_ends_all_captures_of_a_wire_and_not_its_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")

    @virtual
    async def scenario() -> None:
        world, captures = a_world(tmp_path)
        really = os.open

        def full(path: Path, flags: int, mode: int = 0o777) -> int:
            return really("/dev/full", os.O_WRONLY) if str(path).endswith(".pcapng") else really(path, flags, mode)

        monkeypatch.setattr(os, "open", full)
        for _ in range(3):
            captures.start(await captures.target("m2"), octets=256)
        for _ in range(20):
            assert await world.read("m2") == 231
        assert not any(each.running for each in captures.known())
        captures.close()
        await world.lanes.aclose()

    scenario()

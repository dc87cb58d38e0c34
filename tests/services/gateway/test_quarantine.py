"""Callers that nobody knows: they wait, bounded, until somebody says what they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from headend.errors import NotFound
from headend.model.event import Event, EventType
from headend.services.gateway.limits import Limits
from headend.services.gateway.quarantine import Quarantine, id_of
from services.support import Site, clock, virtual

from .support import LOGIN, LOGIN_ACK, NUMBER, Dialled, heartbeat, inbound, login


@virtual
async def test_an_unknown_caller_is_acknowledged_kept_and_told_once_a_minute() -> None:
    head_end = Dialled()
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    assert modem.heard == LOGIN_ACK, "it would hang up otherwise"
    assert modem.link.is_open
    (entry,) = head_end.gateway.quarantine.all()
    assert (entry.key, entry.address, entry.label, entry.number) == (f"name {NUMBER}", "192.0.2.7", "longi", NUMBER)
    assert (entry.protocol, entry.framing, entry.count, entry.octets) == ("dlms", "wrapper", 1, LOGIN.hex())
    assert entry.first_seen == clock() - 100
    modem.link.abort()
    head_end.dial(LOGIN, peer="192.0.2.8:1")
    await asyncio.sleep(0.1)
    (entry,) = head_end.gateway.quarantine.all()
    assert (entry.count, entry.address, entry.first_seen) == (2, "192.0.2.8", clock() - 200)
    (told,) = (item for item in head_end.world.published() if isinstance(item, Event))
    assert told.type is EventType.CALLER_UNKNOWN
    assert told.data["caller"] == entry.id == id_of(f"name {NUMBER}")
    await head_end.aclose()


@virtual
async def test_a_meter_that_is_added_gets_the_connection_that_is_open() -> None:
    head_end = Dialled()
    modem = head_end.dial(LOGIN, site=Site({"1": 7}))
    await asyncio.sleep(60)
    modem.link.write(heartbeat(NUMBER))
    await asyncio.sleep(1)
    head_end.roster.add(inbound("m1", NUMBER))
    assert await head_end.world.read("m1") == 7
    assert len(head_end.gateway.quarantine) == 0
    assert head_end.roster.state("m1").online
    await head_end.aclose()


@virtual
async def test_who_is_blocked_is_closed_now_and_whenever_it_comes() -> None:
    head_end = Dialled()
    first, other = head_end.dial(LOGIN), head_end.dial(login("77"))
    await asyncio.sleep(0.1)
    head_end.gateway.block(id_of(f"name {NUMBER}"))
    await asyncio.sleep(0.1)
    assert (first.link.is_open, other.link.is_open) == (False, True)
    again = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    assert (again.link.is_open, again.heard) == (False, b"")
    assert head_end.gateway.quarantine.find(id_of(f"name {NUMBER}")).count == 2
    assert head_end.gateway.forget(id_of(f"name {NUMBER}")).blocked
    again = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    assert again.link.is_open
    await head_end.aclose()


@virtual
async def test_an_address_is_blocked_before_it_says_anything() -> None:
    head_end = Dialled()
    head_end.dial(login("0000"))
    await asyncio.sleep(0.1)
    (entry,) = head_end.gateway.quarantine.all()
    assert entry.key == "address 192.0.2.7"
    head_end.gateway.block(entry.id)
    head_end.dial(LOGIN)
    assert not head_end.gateway.callers or all(not each.is_open for each in head_end.gateway.callers.values())
    assert len(head_end.gateway.quarantine) == 1
    await head_end.aclose()


@virtual
async def test_only_so_many_unknown_callers_stay_connected_and_all_are_seen() -> None:
    head_end = Dialled(limits=Limits(kept=3, remembered=5))
    modems = []
    for number in range(1, 11):
        modems.append(head_end.dial(login(f"{number:04}")))
        await asyncio.sleep(0.1)
    assert [modem.link.is_open for modem in modems] == [True] * 3 + [False] * 7
    keys = [entry.key for entry in head_end.gateway.quarantine.all()]
    assert keys == [f"name {number:04}" for number in range(10, 5, -1)], "the newest"
    modems[0].link.abort()
    await asyncio.sleep(0.1)
    late = head_end.dial(login("0011"))
    await asyncio.sleep(0.1)
    assert late.link.is_open
    await head_end.aclose()


@virtual
async def test_a_caller_that_says_its_number_late_is_known_by_it_then() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    modem = head_end.dial(login("000000000000"))
    await asyncio.sleep(1)
    assert [entry.key for entry in head_end.gateway.quarantine.all()] == ["address 192.0.2.7"]
    modem.link.write(LOGIN)
    await asyncio.sleep(1)
    assert not modem.link.is_open, "two numbers on one connection"
    await head_end.aclose()


@virtual
async def test_wrong_check_octets_are_flagged_or_where_settings_say_so_not_believed() -> None:
    wrong = LOGIN[:-1] + b"\x00"
    for strict in (False, True):
        head_end = Dialled(inbound("m1", NUMBER), strict=strict)
        modem = head_end.dial(wrong)
        await asyncio.sleep(0.1)
        assert modem.heard == b"", "not acknowledged"
        assert modem.link.is_open
        caller = head_end.gateway.caller_of("m1")
        assert (caller is None) is strict
        assert caller is None or not caller.trusted
        await head_end.aclose()


def test_what_made_no_sense_makes_room_first_and_what_is_blocked_stays() -> None:
    from headend.model.caller import UnknownCaller  # noqa: PLC0415 - only here

    quarantine = Quarantine(3, 10)
    blank = UnknownCaller(id="", key="", address="a", first_seen=1, last_seen=1)
    quarantine.load([replace(blank, id="noise"), replace(blank, id="b", label="x", blocked=True)])
    quarantine.load([replace(blank, id=name, label="x") for name in ("s1", "s2")])
    assert quarantine.take_changes() == ([], [])
    quarantine.load([replace(blank, id="s3", label="x")])
    quarantine._shrink()
    assert {entry.id for entry in quarantine.all()} == {"b", "s1", "s2", "s3"}
    assert quarantine.take_changes() == ([], ["noise"])
    quarantine.block("s2")
    assert [entry.id for entry in quarantine.take_changes()[0]] == ["s2"]
    with pytest.raises(NotFound):
        quarantine.find("noise")

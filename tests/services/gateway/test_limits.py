"""What nobody who connects may do to the head-end, or to other meters."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from headend.drivers.dlms import driver as dlms
from headend.drivers.modbus.driver import ModbusDriver
from headend.model.event import Event, EventType
from headend.services.gateway.limits import ADDRESSES, Addresses, Limits, left_of
from services.support import Site, virtual

from .support import LOGIN, NUMBER, Dialled, heartbeat, inbound, login

DRIVERS = {"dlms": dlms, "modbus": ModbusDriver()}


def refusals(head_end: Dialled) -> list[object]:
    return [
        item.data["reason"]
        for item in head_end.world.published()
        if isinstance(item, Event) and item.type is EventType.CALLER_REFUSED
    ]


@virtual
async def test_a_hundred_megabytes_of_noise_cost_nothing_and_cool_the_address_down() -> None:
    head_end = Dialled(drivers=DRIVERS)
    noise = bytes(range(256)) * 256
    tracemalloc.start()
    modem = head_end.dial()
    for _ in range(1600):
        modem.link.write(noise)
        await asyncio.sleep(0)
        tracemalloc.reset_peak() if not modem.link.is_open else None
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert not modem.link.is_open
    assert modem.link.octets_out <= 3 * len(noise), "cut off early"
    again = head_end.dial(LOGIN)
    await asyncio.sleep(0.5)
    assert not again.link.is_open, "its address is cooled down for a second"
    other = head_end.dial(LOGIN, peer="192.0.2.8:1")
    await asyncio.sleep(1)
    assert other.link.is_open
    assert head_end.dial(LOGIN).link.is_open
    assert refusals(head_end) == ["unrecognised", "cooling"]
    (entry,) = (each for each in head_end.gateway.quarantine.all() if not each.label)
    assert (entry.key, entry.octets) == ("address 192.0.2.7", noise[:28].hex())
    await head_end.aclose()


@virtual
async def test_a_meter_that_sends_noise_is_held_back_and_then_cut_off() -> None:
    head_end = Dialled(inbound("m1", NUMBER), drivers=DRIVERS, limits=Limits(rate=1000.0, burst=16_000.0, noise=50_000))
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    for _ in range(1000):
        modem.link.write(b"\xa5" * 1000)
    await asyncio.sleep(10)
    (caller,) = head_end.gateway.callers.values()
    assert caller.held
    assert caller.octets_in < 30_000
    await asyncio.sleep(60)
    assert not modem.link.is_open
    assert "noise" in refusals(head_end)
    await head_end.aclose()


@virtual
async def test_a_meter_that_floods_is_held_back_without_loss_and_without_harm_to_others() -> None:
    head_end = Dialled(inbound("m1", NUMBER), inbound("m2", "77"), limits=Limits(rate=1000.0, burst=2000.0))
    flooding, other = head_end.dial(LOGIN), head_end.dial(login("77"), site=Site({"1": 5}), peer="192.0.2.8:1")
    await asyncio.sleep(0.1)
    for _ in range(200):
        flooding.link.write(heartbeat(NUMBER))
        await asyncio.sleep(0)
    assert await head_end.world.read("m2") == 5
    assert flooding.link.octets_in < 100 * len(heartbeat(NUMBER))
    await asyncio.sleep(30)
    assert flooding.link.octets_in == 26 + 200 * len(heartbeat(NUMBER)), "each is answered in the end"
    assert other.link.is_open
    await head_end.aclose()


@virtual
async def test_what_a_meter_answers_is_no_flood() -> None:
    head_end = Dialled(inbound("m1", NUMBER), limits=Limits(rate=100.0, burst=1000.0))
    head_end.dial(LOGIN, site=Site({"1": 5}))
    await asyncio.sleep(0.1)
    for _ in range(100):
        assert await head_end.world.read("m1") == 5
    (caller,) = head_end.gateway.callers.values()
    assert not caller.held
    await head_end.aclose()


@virtual
async def test_who_says_nothing_is_not_waited_for() -> None:
    head_end = Dialled(limits=Limits(first_octet=30.0))
    modem = head_end.dial()
    await asyncio.sleep(29)
    assert modem.link.is_open
    await asyncio.sleep(1.5)
    assert not modem.link.is_open
    (entry,) = head_end.gateway.quarantine.all()
    assert (entry.key, entry.reason) == ("address 192.0.2.7", "it does not say who it is")
    await head_end.aclose()


@pytest.mark.parametrize("pause", [0.5, 4.5])
def test_who_says_it_octet_by_octet_has_a_minute_in_all(pause: float) -> None:
    @virtual
    async def run() -> None:
        head_end = Dialled(drivers=DRIVERS)
        modem = head_end.dial()
        sent = 0
        for octet in b"\x00\x01" * 1000:
            if not modem.link.is_open:
                break
            modem.link.write(bytes((octet,)))
            sent += 1
            await asyncio.sleep(pause)
        assert asyncio.get_running_loop().time() < 66
        assert sent < 130
        await head_end.aclose()

    run()


@virtual
async def test_a_silent_meter_is_known_by_its_address_where_it_is_entered_with_that() -> None:
    head_end = Dialled(inbound("m1", "192.0.2.7"), limits=Limits(first_octet=10.0))
    head_end.dial(site=Site({"1": 9}))
    await asyncio.sleep(11)
    assert await head_end.world.read("m1") == 9
    await head_end.aclose()


@virtual
async def test_too_many_connections_from_one_address() -> None:
    head_end = Dialled(limits=Limits(per_address=3))
    modems = [head_end.dial(login(f"{number:04}")) for number in range(1, 6)]
    modems.append(head_end.dial(login("0006"), peer="192.0.2.8:1"))
    await asyncio.sleep(0.1)
    assert [modem.link.is_open for modem in modems] == [True, True, True, False, False, True]
    assert refusals(head_end) == ["per-address"]
    modems[0].link.abort()
    await asyncio.sleep(0.1)
    late = head_end.dial(login("0001"))
    await asyncio.sleep(0.1)
    assert late.link.is_open
    await head_end.aclose()


@virtual
async def test_too_many_connections_a_second_from_one_address() -> None:
    head_end = Dialled(limits=Limits(per_second=2.0))
    modems = [head_end.dial() for _ in range(12)]
    await asyncio.sleep(0.1)
    assert [modem.link.is_open for modem in modems] == [True] * 10 + [False] * 2
    await asyncio.sleep(1)
    late = head_end.dial()
    await asyncio.sleep(0.1)
    assert late.link.is_open
    await head_end.aclose()


def test_addresses_are_remembered_only_while_it_matters() -> None:
    addresses = Addresses(Limits())
    for number in range(ADDRESSES + 100):
        assert addresses.admit(f"h{number}", 0.0) == ""
        addresses.closed(f"h{number}")
    assert len(addresses) == ADDRESSES
    for at in (0.0, 1.5, 4.0):
        assert addresses.admit("h9999", at) == ""
        addresses.strike("h9999", at)
        addresses.closed("h9999")
    assert addresses.admit("h9999", 7.9) == "cooling", "twice as long each time"
    assert addresses.admit("h9999", 8.0) == ""
    addresses.strike("h9999", 700.0)
    assert addresses.admit("h9999", 701.5) == "", "forgiven"
    addresses.strike("nobody", 0.0)


def test_an_allowance_comes_back_with_time_and_no_further_than_a_burst() -> None:
    limits = Limits(rate=10.0, burst=100.0)
    assert left_of(100.0, 0.0, 60, limits) == 40.0
    assert left_of(40.0, 3.0, 100, limits) == -30.0
    assert left_of(0.0, 1e9, 0, limits) == 100.0

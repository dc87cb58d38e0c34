from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from headend.drivers.ground import Budget, Ground, Probe
from headend.drivers.registry import driver, driver_names
from headend.errors import LinkTimeout
from headend.model.discovery import Intrusion, Sighting
from headend.services.discovery.identifying import GRACE_SECONDS, identify, ordered, said_by
from tests.services.support import virtual

from .support import Findable, Net, site_at


@virtual
async def test_several_units_behind_one_wire_are_several_sightings() -> None:
    net = Net({"192.0.2.1": site_at({"1": 230, "3": 231})})
    found = await identify(net.ground("192.0.2.1"), [net.driver])
    assert [each.sighting.params["unit"] for each in found.found] == ["1", "3"]
    assert [each.examination.values["u"] for each in found.found] == ["230", "231"]
    assert (found.nothing, found.stopped) == ("", "")
    assert found.evidence[0].sent == b"READ 1 u\nREAD 2 u\nREAD 3 u\n"
    assert net.sites["192.0.2.1"].open_links == 0


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("silent", "nobody speaks a known protocol"),
        ("garbage", "nobody speaks a known protocol"),
        ("flood", "nobody speaks a known protocol"),
        ("closes", "nobody speaks a known protocol"),
    ],
)
def test_who_answers_nonsense_or_nothing_is_nobody(mood: str, why: str) -> None:
    @virtual
    async def run() -> None:
        net = Net({"192.0.2.1": site_at({"1": 1, "2": 1, "3": 1}, **dict.fromkeys("123", mood))})
        found = await identify(net.ground("192.0.2.1"), [net.driver])
        assert (found.found, found.nothing) == ([], why)
        assert net.sites["192.0.2.1"].open_links == 0

    run()


@virtual
async def test_nobody_there_is_said_with_its_reason() -> None:
    net = Net({})
    found = await identify(net.ground("192.0.2.9"), [net.driver, Findable(("4",)), Findable(("5",))])
    assert found.nothing == "connect-refused: nobody listens at tcp://192.0.2.9:7"
    assert net.opened == ["192.0.2.9"] * 2


@virtual
async def test_what_is_said_unasked_is_listened_to_first_and_is_a_fact() -> None:
    net = Net({"192.0.2.1": site_at()})
    net.banners["192.0.2.1"] = b"SSH-2.0-dropbear\r\n"
    found = await identify(net.ground("192.0.2.1"), [net.driver], listen=0.2)
    assert found.nothing == "SSH is spoken there"
    assert [each.sent for each in found.evidence] == [b""]
    del net.banners["192.0.2.1"]
    found = await identify(net.ground("192.0.2.1"), [net.driver], banner=b"hello\r\n")
    (one,) = found.found
    (fact,) = (fact for fact in one.examination.facts if fact.name == "banner")
    assert (fact.value, one.examination.evidence[fact.evidence[0]].received) == (b"hello\r\n".hex(), b"hello\r\n")
    found = await identify(net.ground("192.0.2.1"), [net.driver], listen=0.2)
    assert all(fact.name != "banner" for fact in found.examinations[0].facts)


@pytest.mark.parametrize("where", ["probe", "examination"])
def test_a_bug_at_one_place_is_told_and_ends_nothing_else(where: str) -> None:
    @virtual
    async def run() -> None:
        net = Net({"192.0.2.1": site_at()})
        net.driver.stumbles = where
        found = await identify(net.ground("192.0.2.1"), [net.driver])
        if where == "probe":
            assert found.nothing == "internal error: KeyError"
        else:
            assert found.examinations[0].stopped == "it was not examined to the end"
        assert net.sites["192.0.2.1"].open_links == 0

    run()


@virtual
async def test_a_spent_budget_ends_it_and_who_was_sighted_stays_found() -> None:
    net = Net({"192.0.2.1": site_at({"1": 1, "2": 1})})
    found = await identify(net.ground("192.0.2.1", Budget(links=2)), [net.driver])
    assert [each.examination.stopped for each in found.found] == [
        "",
        "2 connections are as many as a discovery may open here",
    ]
    assert found.stopped.startswith("2 connections")


class _Endless(Findable):
    """Its probe waits for ever, or its examination does."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    async def find(self, ground: Ground) -> tuple[Sighting, ...]:
        if self.where == "probe":
            await ground.link()
            await asyncio.get_running_loop().create_future()
        return await super().find(ground)

    async def examine(self, *_: Any) -> Any:
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("where", ["probe", "examination"])
def test_nothing_takes_longer_than_the_budget_and_its_grace(where: str) -> None:
    @virtual
    async def run() -> None:
        net = Net({"192.0.2.1": site_at()})
        began = asyncio.get_running_loop().time()
        found = await identify(net.ground("192.0.2.1", Budget(seconds=10)), [_Endless(where)])
        assert asyncio.get_running_loop().time() - began <= 10 + GRACE_SECONDS + 1
        assert found.stopped == "not ended within 10 s"
        assert len(found.found) == (where == "examination")
        assert net.sites["192.0.2.1"].open_links == 0

    run()


@virtual
async def test_who_cancels_is_obeyed() -> None:
    net = Net({"192.0.2.1": site_at()})
    task = asyncio.create_task(identify(net.ground("192.0.2.1"), [_Endless("probe")]))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert net.sites["192.0.2.1"].open_links == 0


class _Row:
    """A driver that is only asked for its probes."""

    def __init__(self, name: str, ports: tuple[int, ...], *probes: Probe) -> None:
        self.name = name
        self.ports = ports
        self._probes = probes

    def probes(self) -> Sequence[Probe]:
        return self._probes


async def _nobody(_ground: Ground) -> tuple[Sighting, ...]:
    raise LinkTimeout("nobody")


def _probe(name: str, intrusion: Intrusion = Intrusion.ASK, cost: int = 1, **more: Any) -> Probe:
    return Probe(name=name, framing="", intrusion=intrusion, cost=cost, run=_nobody, **more)


A = _Row("a", (10, 11), _probe("a1", ports=(10,)), _probe("a2", Intrusion.CONNECT), _probe("a3", exhaustive=True))
B = _Row("b", (20, 11), _probe("b1", cost=2, ports=(20, 12)), _probe("b2", Intrusion.CONNECT, ports=(20, 12)))


@pytest.mark.parametrize(
    ("port", "names"),
    [
        (99, ["a1", "b1", "b2", "a2"]),
        (11, ["a2", "a1", "b1", "b2"]),
        (12, ["b1", "b2", "a1", "a2"]),
        (10, ["a1", "a2"]),
        (20, ["b1", "b2"]),
    ],
)
def test_probes_go_by_port_then_intrusion_then_cost(port: int, names: list[str]) -> None:
    drivers: Any = [B, A]
    assert [probe.name for _, probe in ordered(drivers, port)] == names


def test_everything_is_tried_where_that_is_asked_for() -> None:
    drivers: Any = [A, B]
    assert {probe.name for _, probe in ordered(drivers, 10, exhaustive=True)} == {"a1", "a2", "a3", "b1", "b2"}


@pytest.mark.parametrize(("port", "protocol"), [(4059, "dlms"), (502, "modbus")])
def test_a_port_of_one_protocol_hears_no_other(port: int, protocol: str) -> None:
    drivers = [driver(name) for name in driver_names()]
    assert {each.name for each, _ in ordered(drivers, port)} <= {protocol}


def test_services_that_no_meter_has_are_known_by_how_they_begin() -> None:
    assert said_by(b"HTTP/1.1 400 Bad Request") == "HTTP"
    assert said_by(b"/ISk5\\2MT382-1000") == ""
    assert said_by(b"") == ""


@virtual
async def test_who_drops_every_connection_is_not_asked_in_every_protocol() -> None:
    net = Net({"192.0.2.1": site_at()})
    net.dropping = {"192.0.2.1"}
    drivers = [net.driver, Findable(("4",)), Findable(("5",))]
    found = await identify(net.ground("192.0.2.1"), drivers)
    assert (found.nothing, net.opened) == ("connections are dropped at once", ["192.0.2.1"] * 2)
    found = await identify(net.ground("192.0.2.1"), drivers, listen=0.2)
    assert (found.nothing, net.opened) == ("connections are dropped at once", ["192.0.2.1"] * 3)

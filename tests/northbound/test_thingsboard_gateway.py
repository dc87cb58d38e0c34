"""The gateway API against a strict stand-in behind mosquitto: what a server would have stored, and that no rule was broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headend.errors import LinkTimeout, PermissionDenied, SinkError
from headend.model.event import EventType
from headend.model.reading import Source
from headend.northbound.sink import Channel
from headend.northbound.thingsboard.gateway import GatewaySink
from headend.northbound.topics import Request, UnknownMethod

from .thingsboard_kit import NOW, Site, batch, entries, event, meter, site

pytestmark = [pytest.mark.broker]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made
        assert not made.server.violations


@asynccontextmanager
async def attended(sink: GatewaySink) -> AsyncIterator[Channel]:
    async with sink.session() as channel:
        attending = asyncio.create_task(channel.attend())
        try:
            yield channel
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_readings_are_stored_under_their_device_at_their_time(here: Site, version: str) -> None:
    here.online(meter("m1"), meter("m2"))
    async with here.gateway(version=version).session() as channel:
        refused = await channel.deliver(
            entries(
                batch("m1", {"voltage_l1": 230.5, "active_energy_import_total": 123_456}),
                batch("m2", {"voltage_l1": 229.0}, NOW + 1),
                batch("m1", {"voltage_l1": 231.0}, NOW + 60_000),
            ),
            late=False,
        )
        assert not refused
        await here.server.until(lambda: here.server.points >= 4)
    assert here.server.series["m1"]["voltage_l1"] == {NOW: ("double", 230.5), NOW + 60_000: ("double", 231.0)}
    assert here.server.series["m1"]["active_energy_import_total"] == {NOW: ("long", 123_456)}
    assert here.server.values("m2", "voltage_l1") == {NOW + 1: 229.0}
    assert here.server.types == {"m1": "acme-1", "m2": "acme-1"}
    assert here.door.versions == {5 if version == "5" else 4}


async def test_values_are_stored_as_what_they_are(here: Site) -> None:
    here.online(meter("m1"))
    values = {
        "active_power_total": 0.1 + 0.2,
        "current_l1": 1.2345678901234567e-05,
        "active_energy_import_total": 9_007_199_254_740_993,
        "active_energy_export_total": 1 << 63,
        "voltage_l1": float("nan"),
        "serial_number": "000000001234",
        "meter_model": "1e5",
        "relay_closed": True,
        "meter_name": "A 1",
    }
    async with here.gateway().session() as channel:
        await channel.deliver(entries(batch("m1", values)), late=False)
        await here.server.until(lambda: "meter_name" in here.server.series["m1"])
    assert {key: rows[NOW] for key, rows in here.server.series["m1"].items()} == {
        "active_power_total": ("double", 0.3),
        "current_l1": ("double", 1.23456789012e-05),
        "active_energy_import_total": ("long", 9_007_199_254_740_993),
        "serial_number": ("string", "#000000001234"),
        "meter_model": ("string", "#1e5"),
        "relay_closed": ("boolean", True),
        "meter_name": ("string", "A 1"),
    }


async def test_devices_come_and_go_with_their_meters(here: Site) -> None:
    here.online(meter("m1"), meter("m2"))
    here.roster.add(meter("never-seen"))
    sink = here.gateway()
    async with attended(sink) as channel:
        await here.server.until(lambda: here.server.connected() == {"m1", "m2"})
        here.roster.failed(here.roster.state("m1"), LinkTimeout("no answer"))
        offline = event(EventType.METER_OFFLINE, "m1", NOW + 9, code="link-timeout")
        await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5}), offline), late=False)
        await here.server.until(lambda: here.server.connected() == {"m2"})
        assert here.server.attributes["m1"]["lastErrorCode"] == ("string", "link-timeout")
        assert here.server.series["m1"]["event_METER_OFFLINE"][NOW + 9] == (
            "json",
            {"severity": "info", "code": "link-timeout"},
        )
        here.roster.succeeded(here.roster.state("m1"))
        await channel.deliver(entries(event(EventType.METER_ONLINE, "m1", NOW + 20), first=9), late=False)
        await here.server.until(lambda: here.server.connected() == {"m1", "m2"})
    await here.server.until(lambda: here.server.history[-2:] == [("disconnect", "m1"), ("disconnect", "m2")])


async def test_late_data_of_a_meter_that_is_away_does_not_make_it_present(here: Site) -> None:
    here.online(meter("m1"))
    here.roster.failed(here.roster.state("m1"), LinkTimeout("no answer"))
    async with attended(here.gateway()) as channel:
        old = [event(EventType.METER_ONLINE, "m1", NOW - 9), batch("m1", {"voltage_l1": 1.5}, NOW - 8)]
        await channel.deliver(entries(*old), late=True)
        await here.server.until(lambda: here.server.history == [("connect", "m1"), ("disconnect", "m1")])
        assert here.server.values("m1", "voltage_l1") == {NOW - 8: 1.5}
        assert "lastErrorCode" not in here.server.attributes["m1"]


async def test_attributes_are_told_once_and_when_they_change(here: Site) -> None:
    here.online(meter("m1"))
    async with attended(here.gateway()) as channel:
        await here.server.until(lambda: "serial" in here.server.attributes["m1"])
        assert here.server.attributes["m1"] == {
            "meterId": ("string", "m1"),
            "name": ("string", "Meter m1"),
            "manufacturer": ("string", "ACM"),
            "model": ("string", "One"),
            "serial": ("string", "#000000001234"),
            "firmware": ("string", "#1.2"),
            "protocol": ("string", "dlms"),
            "address": ("string", "10.0.0.7:4059"),
            "url": ("string", "dlms://10.0.0.7:4059?client=16&profile=acme-1"),
            "profile": ("string", "acme-1"),
            "pollSeconds": ("double", 60.0),
            "enabled": ("boolean", True),
        }
        before = here.server.messages
        await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
        here.roster.update(meter("m1", name="Cellar"))
        await channel.deliver(entries(event(EventType.METER_CHANGED, "m1"), first=5), late=False)
        await here.server.until(lambda: here.server.attributes["m1"]["name"] == ("string", "Cellar"))
        assert here.server.messages == before + 3


async def test_a_meter_that_gets_another_name_gets_another_device(here: Site) -> None:
    here.online(meter("m1", name="Old"), meter("m2", name="New"))
    async with attended(here.gateway(device_name="{name}", device_type="{model} {protocol}")) as channel:
        await here.server.until(lambda: here.server.connected() == {"Old", "New"})
        assert here.server.types["Old"] == "One dlms"
        here.roster.update(meter("m1", name="New"))
        here.roster.succeeded(here.roster.state("m1"))
        changed = event(EventType.METER_CHANGED, "m1")
        await channel.deliver(entries(changed, batch("m1", {"voltage_l1": 1.5})), late=False)
        await here.server.until(
            lambda: here.server.connected() == {"m1", "New"}
        )  # a name that is taken gives way to the id
        await here.server.until(lambda: here.server.values("m1", "voltage_l1") == {NOW: 1.5})


async def test_remote_calls_reach_the_meter_and_are_answered(here: Site) -> None:
    async def does(request: Request) -> object:
        if request.method == "set_clock":
            raise PermissionDenied("not you")
        if request.method == "read":
            raise LinkTimeout("no answer")
        if request.method == "nonsense":
            raise UnknownMethod("no such method")
        if request.method == "bug":
            raise RuntimeError("a bug of ours")
        return {"state": "x" * 70_000 if request.method == "read_all" else "succeeded"}

    here.online(meter("m1"))
    here.does = does
    async with attended(here.gateway()) as _:
        await here.server.until(lambda: here.server.connected() == {"m1"})
        assert await here.server.call("m1", "disconnect", {}) == {"state": "succeeded"}
        assert await here.server.call("m1", "setValue", False) == {"state": "succeeded"}  # noqa: FBT003 - the call's own
        assert await here.server.call("m1", "setValue", True) == {"state": "succeeded"}  # noqa: FBT003 - ditto
        assert (await here.server.call("m1", "setClock", None))["code"] == 403
        assert (await here.server.call("m1", "read", {}))["code"] == 408
        assert (await here.server.call("m1", "nonsense"))["code"] == 404
        assert (await here.server.call("m1", "setValue", "on"))["code"] == 400
        assert (await here.server.call("m1", "bug"))["code"] == 500
        assert (await here.server.call("m1", "readAll"))["code"] == 413
        assert await here.server.call(None, "gateway_ping") == {"code": 200, "resp": "pong"}
        assert await here.server.call(None, "gateway_version") == {"code": 200, "resp": "9.9"}
        assert (await here.server.call(None, "gateway_devices"))["resp"] == {"m1": "m1"}
        assert (await here.server.call(None, "gateway_restart"))["code"] == 404
    methods = [request.method for request in here.requests]
    assert methods == ["disconnect", "disconnect", "reconnect", "set_clock", "read", "nonsense", "bug", "read_all"]
    assert len({request.id for request in here.requests}) == 8
    assert {request.meter_id for request in here.requests} == {"m1"}


async def test_a_call_that_comes_twice_is_done_once(here: Site) -> None:
    here.online(meter("m1"))
    async with attended(here.gateway()) as _:
        await here.server.until(lambda: here.server.connected() == {"m1"})
        for _time in range(2):
            await here.server.call("m1", "disconnect", {}, number=77)
        await here.server.call("m1", "reconnect", {}, number=77)  # a server that restarted counts from zero
    assert [request.method for request in here.requests] == ["disconnect", "reconnect"]


async def test_a_shared_attribute_does_what_the_settings_say(here: Site) -> None:
    here.online(meter("m1"))
    async with attended(here.gateway(shared={"relay": "setValue"})) as _:
        await here.server.until(lambda: here.server.connected() == {"m1"})
        for state in (False, True, True):
            await here.server.say("v1/gateway/attributes", {"device": "m1", "data": {"relay": state, "other": 5}})
            done = "reconnect" if state else "disconnect"
            await here.server.until(
                lambda done=done: here.server.attributes["m1"].get("relay_outcome") == ("json", {"did": done})
            )
        await here.server.until(lambda: len(here.requests) == 3)
    assert [request.method for request in here.requests] == ["disconnect", "reconnect", "reconnect"]
    assert "other_outcome" not in here.server.attributes["m1"]


async def test_what_was_set_while_nobody_heard_it_is_done_once(here: Site) -> None:
    """A new connection asks for shared attributes; what was done is known here, and after a restart by the platform."""
    options: dict[str, Any] = {"shared": {"relay": "setValue", "mode": "set_mode"}, "catch_up": True}
    here.online(meter("m1"))
    here.server.shared["m1"] = {"relay": False, "other": 5}
    sink = here.gateway(**options)
    async with attended(sink) as _:
        await here.server.until(lambda: "relay_done" in here.server.attributes["m1"] and len(here.server.asked) == 3)
        assert [request.method for request in here.requests] == ["disconnect"]
        assert here.server.attributes["m1"]["relay_outcome"] == ("json", {"did": "disconnect"})
        assert [asked.get("key") or asked["keys"] for _, asked in here.server.asked] == [
            "relay",
            ["relay_done", "relay_outcome"],
            "mode",
        ]
    async with attended(sink) as _:
        await here.server.until(lambda: len(here.server.asked) == 5)
        await here.server.call(None, "gateway_ping")
    for value, methods in ((False, ["disconnect"]), (True, ["disconnect", "reconnect"])):
        here.server.shared["m1"]["relay"] = value
        before = len(here.server.asked)
        async with attended(here.gateway(**options)) as _:
            await here.server.until(lambda before=before: len(here.server.asked) == before + 3)
            await here.server.call(None, "gateway_ping")
            await here.server.until(lambda methods=methods: len(here.requests) == len(methods))
            assert [request.method for request in here.requests] == methods
    assert not here.server.violations


async def test_nobodys_supply_is_switched_by_a_reconnect_unless_that_is_wanted(here: Site) -> None:
    here.online(meter("m1"))
    here.server.shared["m1"]["relay"] = False
    async with attended(here.gateway(shared={"relay": "setValue"})) as _:
        await here.server.until(lambda: "serial" in here.server.attributes["m1"])
        await here.server.call(None, "gateway_ping")
    assert (here.server.asked, here.requests) == ([], [])


async def test_where_only_an_outcome_is_known_nothing_is_repeated(here: Site) -> None:
    here.online(meter("m1"))
    here.server.shared["m1"]["relay"] = False
    here.server.attributes["m1"]["relay_outcome"] = ("json", {"did": "reconnect"})
    async with attended(here.gateway(shared={"relay": "setValue"}, catch_up=True)) as _:
        await here.server.until(lambda: len(here.server.asked) == 2)
        await here.server.call(None, "gateway_ping")
        await here.server.say("v1/gateway/attributes", {"device": "m1", "data": {"relay": True}})
        await here.server.until(lambda: "relay_done" in here.server.attributes["m1"])
    assert [request.method for request in here.requests] == ["reconnect"]


async def test_a_device_that_the_platform_throws_out_is_introduced_again(here: Site) -> None:
    here.online(meter("m1"))
    async with attended(here.gateway()) as channel:
        await here.server.until(lambda: "serial" in here.server.attributes["m1"])
        next(iter(here.server.connections.values())).devices.clear()
        await here.server.say("v1/gateway/disconnect", {"device": "m1", "reason": "deleted"})
        await here.server.say("v1/gateway/attributes", {"device": "m1", "data": {"a": 1}})
        for nonsense in ({"nonsense": True}, {"device": [], "data": {}}, {"device": "m1", "data": 5}, [], "x"):
            for topic in (
                "v1/gateway/rpc",
                "v1/gateway/attributes",
                "v1/gateway/disconnect",
                "v1/devices/me/rpc/request/x",
            ):
                if topic != "v1/gateway/disconnect" or not isinstance(nonsense, dict) or nonsense.get("device") != "m1":
                    await here.server.say(topic, nonsense)
        await here.server.call(None, "gateway_ping")
        await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
        await here.server.until(lambda: here.server.values("m1", "voltage_l1"))


async def test_a_lost_connection_and_a_closed_door_are_sink_errors(here: Site) -> None:
    here.online(meter("m1"))
    sink = here.gateway()
    async with sink.session() as channel:
        attending = asyncio.create_task(channel.attend())
        await here.server.until(here.server.connected)
        here.door.throw_out()
        with pytest.raises(SinkError):
            await asyncio.wait_for(attending, 20)
        with pytest.raises(SinkError):
            await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
    here.secrets["env:TOKEN"] = "nobody's"
    with pytest.raises(SinkError):
        async with here.gateway().session():
            pass


async def test_over_the_quota_means_later(here: Site) -> None:
    here.online(meter("m1"))
    async with here.gateway().session() as channel:
        await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
        here.door.refuse_next = 1
        with pytest.raises(SinkError, match="Quota") as caught:
            await channel.deliver(entries(batch("m1", {"voltage_l1": 2.5}, NOW + 1)), late=False)
        assert caught.value.retryable
        await channel.deliver(entries(batch("m1", {"voltage_l1": 2.5}, NOW + 1)), late=False)
        await here.server.until(lambda: here.server.values("m1", "voltage_l1") == {NOW: 1.5, NOW + 1: 2.5})


async def test_history_of_thirteen_hours_arrives_with_its_own_times(tmp_path: Path) -> None:
    async with site(tmp_path, limits={"maxPayloadSize": 2000, "maxInflightMessages": 3}) as here:
        here.online(meter("m1"))
        quarter = 900_000
        backlog = [
            batch(
                "m1",
                {"active_energy_import_total": 1000 + n, "voltage_l1": 230.5},
                NOW - n * quarter,
                source=Source.HISTORY,
            )
            for n in range(52, 0, -1)
        ]
        async with attended(here.gateway(metadata=True)) as channel:
            await channel.deliver(entries(*backlog), late=True)
            await channel.deliver(entries(batch("m1", {"voltage_l1": 231.5}), first=100), late=False)
            await here.server.until(lambda: here.server.points >= 105)
        assert here.server.values("m1", "active_energy_import_total") == {
            NOW - n * quarter: 1000 + n for n in range(1, 53)
        }
        assert here.server.values("m1", "voltage_l1")[NOW] == 231.5
        assert not here.server.violations
        assert {each["publishedTs"] for each in here.server.latencies} == {NOW}

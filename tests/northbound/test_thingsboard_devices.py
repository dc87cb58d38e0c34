"""The device API against a strict stand-in behind mosquitto: a connection for each meter, tokens, provisioning, bounds."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headend.errors import ConfigError, SinkError
from headend.model.event import EventType
from headend.model.meter import Secret

from .thingsboard_kit import NOW, Site, batch, entries, event, meter, site

pytestmark = [pytest.mark.broker]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        for number in range(1, 6):
            made.server.device(f"token-{number}", f"device {number}")
            made.secrets[f"env:T{number}"] = f"token-{number}"
            made.online(meter(f"m{number}"))
        yield made
        assert not made.server.violations


def tokens(*numbers: int) -> dict[str, str]:
    return {f"m{number}": f"env:T{number}" for number in numbers}


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_each_meter_speaks_for_itself(here: Site, version: str) -> None:
    said = [batch(f"m{number}", {"voltage_l1": 230.5 + number}) for number in range(1, 6)]
    async with here.devices(tokens=tokens(1, 2), version=version).session() as channel:
        assert not await channel.deliver(entries(*said, event(EventType.READ_FAILED, "m1", NOW + 1)), late=False)
        await here.server.until(lambda: here.server.points >= 3)
    assert here.server.values("device 1", "voltage_l1") == {NOW: 231.5}
    assert here.server.values("device 2", "voltage_l1") == {NOW: 232.5}
    assert here.server.attributes["device 2"]["serial"] == ("string", "#000000001234")
    assert set(here.server.series) == {"device 1", "device 2"}  # the others have no token
    assert here.server.series["device 1"]["event_READ_FAILED"]


async def test_no_more_connections_are_open_than_may_be(here: Site) -> None:
    said = [batch(f"m{number}", {"voltage_l1": 1.5}, NOW + at) for at in range(3) for number in range(1, 6)]
    async with here.devices(tokens=tokens(1, 2, 3, 4, 5), connections=2).session() as channel:
        for entry in entries(*said):
            assert not await channel.deliver([entry], late=False)
        await here.server.until(lambda: here.server.points >= 15)
    assert here.door.most_connections <= 2
    assert all(len(here.server.values(f"device {number}", "voltage_l1")) == 3 for number in range(1, 6))


async def test_a_token_that_was_withdrawn_holds_up_nobody(here: Site) -> None:
    del here.server.tokens["token-2"]
    said = entries(*(batch(f"m{number}", {"voltage_l1": 1.5}) for number in (1, 2, 3)))
    async with here.devices(tokens=tokens(1, 2, 3)).session() as channel:
        (refused,) = await channel.deliver(said, late=False)
        assert refused.number == 2
        assert "token-2" not in refused.reason
        await here.server.until(lambda: here.server.points >= 2)


async def test_a_new_token_counts_at_once(here: Site, tmp_path: Path) -> None:
    """The meter m1 is another device from then on, though the connection of the first one stands."""
    sink = here.devices(token_folder=str(tmp_path / "tokens"))
    first, second, third = entries(*(batch("m1", {"voltage_l1": 1.5}, NOW + at) for at in range(3)))
    async with sink.session() as channel:
        sink.keep_token("m1", Secret(b"token-1"))
        assert not await channel.deliver([first], late=False)
        sink.keep_token("m1", Secret(b"token-2"))
        assert not await channel.deliver([second], late=False)
        await here.server.until(lambda: here.server.points >= 2)
        sink.drop_token("m1")
        assert not await channel.deliver([third], late=False), "of a meter without a token nothing is delivered here"
    assert here.server.values("device 1", "voltage_l1") == {NOW: 1.5}
    assert here.server.values("device 2", "voltage_l1") == {NOW + 1: 1.5}
    assert not list((tmp_path / "tokens").iterdir())


async def test_a_platform_that_is_away_is_a_sink_error(here: Site) -> None:
    here.door.is_open = False
    async with here.devices(tokens=tokens(1)).session() as channel:
        with pytest.raises(SinkError) as caught:
            await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
        assert caught.value.retryable
        here.door.is_open = True
        await channel.deliver(entries(batch("m1", {"voltage_l1": 1.5})), late=False)
        here.door.throw_out()
        await here.server.until(lambda: not here.server.connections)
        await channel.deliver(entries(batch("m1", {"voltage_l1": 2.5}, NOW + 1)), late=False)
        await here.server.until(lambda: len(here.server.values("device 1", "voltage_l1")) == 2)


async def test_calls_reach_the_meter_whose_connection_it_is(here: Site) -> None:
    async with here.devices(tokens=tokens(3), shared={"supply": "setValue"}).session() as channel:
        attending = asyncio.create_task(channel.attend())
        await here.server.until(lambda: here.server.connections and here.server.attributes["device 3"])
        assert await here.server.call(None, "disconnect", {}) == {"did": "disconnect"}
        await here.server.say("v1/devices/me/attributes", {"supply": True, "other": 5})
        await here.server.until(lambda: "supply_outcome" in here.server.attributes["device 3"])
        await here.server.say("v1/devices/me/attributes", {"deleted": ["supply"]})
        assert [(each.meter_id, each.method) for each in here.requests] == [("m3", "disconnect"), ("m3", "reconnect")]
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)


async def test_what_was_set_while_a_device_was_away_is_done_once(here: Site) -> None:
    here.server.shared["device 3"] = {"supply": False, "other": 5}
    for restart in range(3):
        here.server.shared["device 3"]["supply"] = restart == 2
        async with here.devices(tokens=tokens(3), shared={"supply": "setValue"}, catch_up=True).session() as channel:
            attending = asyncio.create_task(channel.attend())
            await here.server.until(lambda restart=restart: len(here.server.asked) == restart + 1)
            await here.server.until(lambda restart=restart: len(here.requests) == 1 + (restart == 2))
            await here.server.until(lambda: "supply_done" in here.server.attributes["device 3"])
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)
    assert [request.method for request in here.requests] == ["disconnect", "reconnect"]
    asked = {"sharedKeys": "supply", "clientKeys": "supply_done,supply_outcome"}
    assert here.server.asked == [("device 3", asked)] * 3
    assert not here.server.violations


async def test_a_device_without_token_is_provisioned_and_its_token_is_kept(here: Site, tmp_path: Path) -> None:
    here.server.provisioning = {"profile-key": "profile-secret"}
    folder = tmp_path / "tokens"
    options: dict[str, Any] = {
        "tokens": tokens(1),
        "token_folder": str(folder),
        "provision_key": "env:KEY",
        "provision_secret": "env:SECRET",
    }
    here.roster.add(meter("a/b"))
    for at in range(2):  # the second time as after a restart
        async with here.devices(**options).session() as channel:
            said = entries(batch("a/b", {"voltage_l1": 1.5}, NOW + at), batch("m1", {"voltage_l1": 2.5}, NOW + at))
            assert not await channel.deliver(said, late=False)
    await here.server.until(lambda: here.server.values("a/b", "voltage_l1") == {NOW: 1.5, NOW + 1: 1.5})
    (file,) = folder.iterdir()
    assert file.name == "a%2Fb.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "token-of-a-b"

    here.server.device("somebody's", "m4")  # a device of that name is there already
    async with here.devices(**options).session() as channel:
        (refused,) = await channel.deliver(entries(batch("m4", {"voltage_l1": 1.5})), late=False)
        assert "device exists" in refused.reason


@pytest.mark.parametrize(
    "options",
    [
        {"connections": 0},
        {"provision_key": "env:KEY"},
        {"provision_key": "env:KEY", "provision_secret": "env:SECRET"},
        {"units": "mega"},
        {"naming": "other"},
        {"share": 0},
        {"max_payload": 5},
        {"call_seconds": 0},
        {"catch_up": True},
        {"device_name": "{password}"},
        {"tokens": {"m1": "env:NOBODY"}},
        {"messages": "many"},
    ],
)
async def test_options_that_make_no_sense_are_refused(here: Site, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError if "tokens" not in options else Exception, match=r"."):
        here.devices(**options)


async def test_each_device_keeps_to_its_own_limits_and_holds_up_nobody(tmp_path: Path) -> None:
    rates = {"messages": "1000:1", "telemetryMessages": "1000:1", "telemetryDataPoints": "40:1"}
    async with site(tmp_path, limits={"maxPayloadSize": 4096, "maxInflightMessages": 5, "rateLimits": rates}) as here:
        for number in (1, 2):
            here.server.device(f"token-{number}", f"device {number}")
            here.secrets[f"env:T{number}"] = f"token-{number}"
        said = [batch("m1", {"voltage_l1": 1.5, "current_l1": float(n)}, NOW + n) for n in range(40)]
        async with here.devices(tokens=tokens(1, 2), share=0.5).session() as channel:
            slow = asyncio.create_task(channel.deliver(entries(*said), late=True))
            await channel.deliver(entries(batch("m2", {"voltage_l1": 1.5})), late=False)
            await here.server.until(lambda: here.server.values("device 2", "voltage_l1"))
            assert not slow.done()  # 80 points at 20 in a second
            assert not await slow
            await here.server.until(lambda: len(here.server.values("device 1", "current_l1")) == 40)
        assert not here.server.violations

"""From a virtual meter through the head-end to the platform, and from a call of the platform to the meter's relay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headend.model.meter import Meter
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running

from .thingsboard_kit import Site, site

pytestmark = [pytest.mark.broker, pytest.mark.slow]
OFF = {"enabled": False}


def settings(folder: Path, here: Site, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Settings:
    monkeypatch.setenv("TEST_BOARD_TOKEN", "gateway-token")
    board = {
        "kind": "thingsboard",
        "broker": f"mqtt://127.0.0.1:{here.door.port}",
        "token": "env:TEST_BOARD_TOKEN",
        "device_name": "{name}",
        **options,
    }
    data: dict[str, Any] = {"data": str(folder / "data"), "web": OFF, "mqtt": OFF, "gateway": OFF}
    return Settings(**data, sinks={"board": board})


def enter(made: Settings, url: str) -> Meter:
    meter = parse_url(url).meter("m1", name="Flat 3", poll_seconds=0.5)
    with open_store(made) as store:
        store.meters.put(meter)
    return meter


async def test_a_call_opens_the_relay_of_the_meter(
    tmp_path: Path, virtual_meter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = virtual_meter("generic-dlms-functions")
    async with site(tmp_path) as here:
        made = settings(tmp_path, here, monkeypatch, role="dispatcher")
        enter(made, there.url)
        async with running(made):
            await here.server.until(lambda: here.server.series["Flat 3"] and here.server.connected(), 60)
            await here.server.until(lambda: here.server.attributes["Flat 3"], 60)
            assert there.relay_closed
            turned = await here.server.call("Flat 3", "setValue", False)  # noqa: FBT003 - the call's own
            assert (turned["state"], turned["verdict"]) == ("succeeded", "confirmed"), turned
            assert not there.relay_closed
            assert (await here.server.call("Flat 3", "getValue")) is False
            proposed = await here.server.call("Flat 3", "reconnect")
            assert (proposed["state"], proposed["confirmation"]) == ("proposed", "required")
            assert "values" in await here.server.call("Flat 3", "read")
            assert (await here.server.call("Flat 3", "makeCoffee"))["code"] == 404
        await here.server.until(lambda: not here.server.connected())
        assert not here.server.violations
        assert here.server.attributes["Flat 3"]["url"][1].startswith("dlms")


async def test_without_a_role_calls_are_refused(
    tmp_path: Path, virtual_meter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = virtual_meter("generic-dlms-functions")
    async with site(tmp_path) as here:
        made = settings(tmp_path, here, monkeypatch, naming="bridge", units="kilo")
        enter(made, there.url)
        async with running(made):
            await here.server.until(lambda: here.server.connected() and here.server.series["Flat 3"], 60)
            refused = await here.server.call("Flat 3", "disconnect")
            assert refused["code"] == 403
        assert there.relay_closed
        stored = here.server.series["Flat 3"]
        assert "active_energy" in stored or "active_power" in stored
        assert not here.server.violations

"""The gateway as the settings want it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.recognition import Policy
from headend.errors import ConfigError
from headend.runtime.gateway import registrations
from headend.runtime.settings import GatewaySettings, Settings
from headend.runtime.wiring import HeadEnd, running

LOGIN = bytes.fromhex("0001000100010012 0A020C 323130363030343032393431 00 5A4C")
ACKNOWLEDGEMENT = bytes.fromhex("0001000100010012 AA030C 323130363030343032393431 00 7004")
"""both of a public capture"""


def settings(folder: Path, **gateway: Any) -> Settings:
    off = {"enabled": False}
    return Settings(data=str(folder), web=off, mqtt=off, gateway=gateway)  # type: ignore[arg-type] # sections as in the file


async def dial(head_end: HeadEnd) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = head_end.dialled_at[0].rpartition("//")[2].rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_the_quarantine_survives_a_restart(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as head_end:
        reader, writer = await dial(head_end)
        writer.write(LOGIN)
        assert await reader.readexactly(len(ACKNOWLEDGEMENT)) == ACKNOWLEDGEMENT
        (entry,) = head_end.gateway.quarantine.all()
        head_end.gateway.block(entry.id)
        assert await reader.read() == b""
        writer.close()
    async with running(settings(tmp_path)) as head_end:
        assert head_end.gateway.quarantine.all() == [entry]
        reader, writer = await dial(head_end)
        writer.write(LOGIN)
        with contextlib.suppress(ConnectionResetError):  # or closed, as it happens
            assert await reader.read() == b""
        writer.close()


async def test_a_gateway_that_is_off_listens_nowhere(tmp_path: Path) -> None:
    async with running(settings(tmp_path, enabled=False)) as head_end:
        assert head_end.dialled_at == []


@pytest.mark.parametrize("place", ["udp://127.0.0.1:0", "serial:/dev/ttyUSB0", "pigeon"])
async def test_places_that_nobody_can_dial_in_to(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_GATEWAY__PLACES", json.dumps([place]))
    with pytest.raises(ConfigError):
        async with running(settings(tmp_path)):
            pass


def test_the_settings_overrule_the_descriptions() -> None:
    as_they_are = {each.id: each for each in registrations(GatewaySettings())}
    assert as_they_are["longi"].zero_is_blank
    numbers = {each.id: each for each in registrations(GatewaySettings(zero_number="number", acknowledge="never"))}
    assert not numbers["longi"].zero_is_blank
    assert {each.policy for each in numbers.values()} == {Policy.NEVER}

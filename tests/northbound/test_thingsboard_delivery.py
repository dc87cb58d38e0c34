"""ThingsBoard behind the courier: outage, restart, replay, order; and its limits kept at many times what they allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from headend.model.journal import Entry
from headend.model.reading import ReadingBatch
from headend.northbound.sink import Channel, Refusal, Sink

from .contract import QUANTITY, Seen, batch, check, rig
from .thingsboard_kit import NOW, Site, meter, site

pytestmark = [pytest.mark.broker]


class Apart:
    """A sink that gives each value a time of its own: the platform keeps one value of a quantity for each time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def session(self) -> AbstractAsyncContextManager[Channel]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Channel]:
        async with self._sink.session() as channel:
            yield _Apart(channel)


@dataclass
class _Apart:
    channel: Channel

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        return await self.channel.deliver([self._apart(entry) for entry in entries], late=late)

    async def attend(self) -> None:
        await self.channel.attend()

    @staticmethod
    def _apart(entry: Entry) -> Entry:
        item = entry.item
        if not isinstance(item, ReadingBatch):
            return entry
        at = [NOW + round(float(value)) for value in item.values]
        return replace(entry, item=replace(item, measured_at=at))


class Platform:
    """The platform as the contract sees it."""

    def __init__(self, here: Site, device: Callable[[str], str] = lambda device: device) -> None:
        self._here = here
        self._device = device

    async def leave(self) -> None:
        self._here.door.is_open = False
        self._here.door.throw_out()

    async def come(self) -> None:
        self._here.door.is_open = True

    def seen(self) -> Sequence[Seen]:
        return [Seen(self._device(device), value) for device, key, value in self._here.server.log if key == QUANTITY]

    def refuse(self, value: float) -> bool:  # noqa: ARG002 - it takes everything that can be written down
        return False


async def test_the_gateway_holds_the_contract_of_sinks(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await check(tmp_path, lambda: Apart(here.gateway()), Platform(here))
        assert not here.server.violations


async def test_devices_hold_the_contract_of_sinks(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        places = {}
        for number in range(5):
            here.server.device(f"t{number}", f"meter-{number}")
            here.secrets[f"env:T{number}"] = f"t{number}"
            places[f"meter-{number}"] = f"env:T{number}"
        await check(tmp_path, lambda: Apart(here.devices(tokens=places)), Platform(here))
        assert not here.server.violations


@pytest.mark.parametrize("kind", ["telemetry", "points"])
async def test_limits_are_kept_at_ten_times_what_they_allow(tmp_path: Path, kind: str) -> None:
    """Offered at once: ten times what a second allows, in messages of one point each: a machine that stalls breaks no limit."""
    rates = {"telemetryMessages": "40:1", "telemetryDataPoints": "60:1", "messages": "1000:1"}
    limits = {"maxPayloadSize": 65_536, "maxInflightMessages": 10, "rateLimits": {}, "gatewayRateLimits": rates}
    async with site(tmp_path, limits=limits) as here:
        for name, rate in (("telemetry", "40:1"), ("points", "60:1")):
            here.server.limit(name, rate)
        meters, rounds = (400, 1) if kind == "telemetry" else (60, 10)
        async with rig(tmp_path, Apart(here.gateway(share=0.8, events=False))) as running:
            await asyncio.wait_for(running.courier.connected.wait(), 60)
            for value in range(rounds):
                await running.store(*(batch(f"m-{number}", float(value)) for number in range(meters)))
            await running.until(lambda: here.server.points >= meters * rounds)
            assert here.server.points == meters * rounds
            assert kind == "points" or here.server.messages >= 10 * 40
        assert not here.server.violations


async def test_a_backlog_of_thirteen_hours_comes_after_what_is_new_and_with_its_own_times(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.online(meter("m1"))
        await Platform(here).leave()
        async with rig(tmp_path, here.gateway()) as running:
            for hour in range(13):
                minutes = range(hour * 60, hour * 60 + 60)
                await running.store(*(batch("m1", 1000.0 + minute, NOW + minute * 60_000) for minute in minutes))
            await Platform(here).come()
            await asyncio.wait_for(running.courier.connected.wait(), 90)
            await running.store(batch("m1", 5.5, NOW + 99_999_999))
            await running.until(lambda: here.server.points >= 13 * 60 + 1)
        stored = here.server.values("m1", QUANTITY)
        assert stored == {NOW + minute * 60_000: 1000.0 + minute for minute in range(13 * 60)} | {NOW + 99_999_999: 5.5}
        assert not here.server.violations

"""A trial of a meter over TCP: what it finds, what it does not leave behind, and that a shared wire waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from headend.drivers.base import NO_SECRETS, Secrets, Session
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import AssociationRejected, AuthenticationFailed, ConfigError, ConnectRefused
from headend.model.meter import Meter, Secret
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch
from headend.model.url import parse_url
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.lockout import Lockout
from headend.services.roster import Roster
from headend.services.trial import Trials
from headend.storage.refusals import RefusalFile
from headend.testing import VirtualMeterHandle
from headend.transport.open import open_link

NOW = 1_767_225_600_000
LIBRARY = Library()


def profile(meter: Meter) -> MeterProfile | None:
    return LIBRARY.get(meter.profile_id) if meter.profile_id else None


async def none(_meter: Meter) -> Secrets:
    return NO_SECRETS


class Site:
    def __init__(self, folder: Path) -> None:
        self.bus = Bus()
        self.said = self.bus.subscribe("test", ReadingBatch)
        self.roster = Roster(self.bus, lambda: NOW)
        self.lanes = Lanes(self.roster, open_link=open_link, driver=driver, profile=profile, secrets=none)
        lockout = Lockout(RefusalFile(folder / "refusals.db"))
        self.trials = Trials(
            self.lanes, open_link=open_link, driver=driver, profile=profile, clock=lambda: NOW, lockout=lockout
        )


def meter_at(url: str) -> Meter:
    return parse_url(url).meter("tried")


async def test_it_finds_who_is_there_and_reads_what_is_polled(
    tmp_path: Path, virtual_meter: Callable[..., VirtualMeterHandle]
) -> None:
    virtual = virtual_meter("eastron-sdm120")
    virtual.set("voltage_l1", 231.5)
    site = Site(tmp_path)
    tried = await site.trials.attempt(meter_at(virtual.url), NO_SECRETS)
    assert tried.batch is not None
    assert dict(zip(tried.batch.quantities, tried.batch.values, strict=True))["voltage_l1"] == 231.5
    assert len(site.roster) == 0
    assert site.said.size == 0


async def test_what_is_wrong_is_said_as_it_is(tmp_path: Path, virtual_meter: Callable[..., VirtualMeterHandle]) -> None:
    site = Site(tmp_path)
    with pytest.raises(ConnectRefused):
        await site.trials.attempt(meter_at("dlms://127.0.0.1:1"), NO_SECRETS)
    with pytest.raises(ConfigError, match="dials in"):
        await site.trials.attempt(meter_at("inbound://000000001234?protocol=dlms&framing=wrapper"), NO_SECRETS)
    virtual = virtual_meter("generic-dlms-3p", auth="lls", client=1, secrets={"secret": "text:12345678"})
    wrong = {"secret": Secret(b"87654321")}
    with pytest.raises((AuthenticationFailed, AssociationRejected)):
        await site.trials.attempt(meter_at(virtual.url), wrong)
    with pytest.raises(AuthenticationFailed, match="not tried again"):
        await site.trials.attempt(meter_at(virtual.url), wrong)
    tried = await site.trials.attempt(meter_at(virtual.url), {"secret": Secret(b"12345678")})
    assert tried.identity.logical_device_name


async def test_a_wire_that_others_share_is_theirs_or_ours(
    tmp_path: Path, virtual_meter: Callable[..., VirtualMeterHandle]
) -> None:
    virtual = virtual_meter("eastron-sdm120")
    site = Site(tmp_path)
    site.roster.add(parse_url(virtual.url).meter("other"))
    begun, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def work(_session: Session) -> None:
        begun.set()
        await go_on.wait()
        order.append("other")

    async def trial() -> None:
        await site.trials.attempt(meter_at(virtual.url), NO_SECRETS)
        order.append("trial")

    async with asyncio.TaskGroup() as group:
        group.create_task(site.lanes.run_job("other", work))
        await begun.wait()
        group.create_task(trial())
        await asyncio.sleep(0)
        go_on.set()
    assert order == ["other", "trial"]
    await site.lanes.run_job("other", work)
    await site.lanes.aclose()

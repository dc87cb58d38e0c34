"""A head-end that begins with an empty registry, over a fleet of real listeners: scanned, told apart, adopted and read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headend.drivers.base import Session
from headend.drivers.library import Library
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.model.device import DeviceQuery, DeviceState
from headend.model.meter import MeterIdentity
from headend.model.scan import ScanJob, ScanRequest, ScanState
from headend.runtime.settings import DiscoverySettings, GatewaySettings, Settings
from headend.runtime.settings import WebSettings as WebSection
from headend.runtime.settings_delivery import MqttSettings
from headend.runtime.wiring import HeadEnd, running
from headend.services.discovery.adopting import Adoption

EACH = 4
KINDS = (
    ("generic-dlms-1p", "wrapper", "dlms"),
    ("generic-dlms-3p", "hdlc", "dlms"),
    ("eastron-sdm630", "tcp", "modbus"),
    ("generic-dlt645-3p", "tcp", "dlt645"),
)
BROKEN = (FaultKind.SILENT, FaultKind.GARBAGE, FaultKind.CLOSE, FaultKind.CUT)


def settings(folder: Path) -> Settings:
    return Settings(
        data=str(folder),
        web=WebSection(enabled=False),
        mqtt=MqttSettings(enabled=False),
        gateway=GatewaySettings(enabled=False),
        discovery=DiscoverySettings(timeout=0.5, per_host=20, seconds=20.0, rate=500.0),
    )


@asynccontextmanager
async def fleet() -> AsyncIterator[tuple[str, dict[int, str]]]:
    """Ports to scan, and the protocol that is right at each; the broken ones come behind them."""
    library = Library()
    groups = [Group(profile=library.get(name), framing=framing, count=EACH) for name, framing, _ in KINDS]
    broken = [
        Group(profile=library.get("generic-dlms-1p"), framing="wrapper", count=EACH, faults=(Fault(kind=kind),))
        for kind in BROKEN
    ]
    meters = Fleet([*groups, *broken], seed=3)
    await meters.start()
    try:
        right = {placed.port: protocol for placed, (_, _, protocol) in zip(meters.groups, KINDS, strict=False)}
        yield ",".join(str(placed.port) for placed in meters.groups), right
    finally:
        await meters.aclose()


async def when(head_end: HeadEnd, job: ScanJob, done: Any) -> ScanJob:
    """A job when something holds of it."""
    async with asyncio.timeout(100):
        while not done(job):
            await asyncio.sleep(0.1)
            job = await head_end.discovery.job(job.id)
    return job


async def _identify(session: Session) -> MeterIdentity:
    return await session.identify()


async def test_a_network_is_scanned_adopted_and_read(tmp_path: Path) -> None:
    async with fleet() as (ports, right):
        request = ScanRequest(targets=f"127.0.0.1-127.0.0.{EACH}", ports=ports)
        async with running(settings(tmp_path)) as head_end:
            job = await head_end.discovery.start(request, actor="test", reason="begin with nothing")
            await when(head_end, job, lambda job: job.progress.devices > 0)
        async with running(settings(tmp_path)) as head_end:
            discovery = head_end.discovery
            job = await when(head_end, await discovery.job(job.id), lambda job: job.ended)
            assert (job.state, job.error) == (ScanState.FINISHED, "")
            assert job.progress.done == EACH * (len(KINDS) + len(BROKEN))
            page = await discovery.devices(DeviceQuery(limit=1000))
            found = Counter((device.port, device.protocol) for device in page.items if device.port in right)
            assert found == dict.fromkeys(right.items(), EACH)
            assert all(device.protocol == "dlms" for device in page.items if device.port not in right)
            whole = [device for device in page.items if device.port in right]
            adoption = Adoption(name="{protocol} {host} {port}", poll_seconds=0)
            done = await discovery.adopt([device.id for device in whole], adoption, actor="test")
            assert [each.error for each in done] == [""] * len(whole)
            for each in done:
                assert isinstance(await head_end.lanes.run_job(each.meter_id, _identify), MeterIdentity)
        async with running(settings(tmp_path)) as head_end:
            kept = await head_end.discovery.devices(DeviceQuery(state=DeviceState.ADOPTED, limit=1000))
            assert (kept.total, len(head_end.roster)) == (len(whole), len(whole))

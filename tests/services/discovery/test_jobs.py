from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headend.errors import ConfigError, Conflict, NotFound, PermissionDenied
from headend.model.device import DeviceQuery
from headend.model.discovery import PortState
from headend.model.event import EventType
from headend.model.scan import ScanRequest, ScanState
from headend.services.discovery.discoverer import Limits
from headend.services.discovery.running import Hosts, ScanHit
from tests.services.support import meter, virtual

from .support import Net, discovering, ended, events, site_at, until

NETWORK = "192.0.2.0/28"
HOSTS = [f"192.0.2.{number}" for number in range(1, 6)]


def net_of(*hosts: str) -> Net:
    return Net({host: site_at({"1": 230}) for host in hosts})


@virtual
async def test_a_scan_finds_examines_and_stores(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    net.sites["192.0.2.3"].moods["1"] = "silent"
    async with discovering(net, tmp_path) as (discoverer, store, _):
        job = await discoverer.start(ScanRequest(targets=NETWORK), actor="user:anna", reason="roll-out")
        assert job.state is ScanState.QUEUED
        job = await ended(discoverer, job.id)
        assert (job.state, job.error) == (ScanState.FINISHED, "")
        progress = job.progress
        assert (progress.targets, progress.done, progress.open) == (16, 16, 5)
        assert (progress.examined, progress.devices, progress.new, progress.nobody, progress.waiting) == (5, 4, 4, 1, 0)
        page = await discoverer.devices(DeviceQuery(scan=job.id, vendor="Text"))
        assert sorted(device.host for device in page.items) == [host for host in HOSTS if host != "192.0.2.3"]
        papers = await discoverer.papers(page.items[0].id)
        assert papers.examination.values == {"u": "230"}
        assert papers.draft.startswith("[meter]")
        report = await discoverer.report(job.id)
        assert report.vendors == {"Text": 4}
        assert report.nobody == {"nobody speaks a known protocol": 1}
        (network,) = report.networks
        assert (network.target, network.devices) == (NETWORK, 4)
        assert network.states == {PortState.OPEN: 5, PortState.SILENT: 11}
        hits = await discoverer.hits(job.id)
        assert [hit.outcome for hit in hits] == ["identified", "identified", "nobody", "identified", "identified"]
        assert await discoverer.jobs() == [job]
        audit = store.audit.list()
        assert [(row.actor, row.action, row.subject) for row in audit] == [
            ("user:anna", "scan-started", f"scan:{job.id}")
        ]
        assert (audit[0].data["targets"], audit[0].data["reason"]) == (NETWORK, "roll-out")
        told = events(net, EventType.SCAN_STARTED, EventType.METER_DISCOVERED, EventType.SCAN_ENDED)
        assert [each.type.value for each in told] == ["SCAN_STARTED", *["METER_DISCOVERED"] * 4, "SCAN_ENDED"]
        assert told[-1].data["devices"] == 4


@virtual
async def test_what_was_looked_into_is_left_alone_for_a_while(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    net.roster.add(meter("m1", "192.0.2.5"))
    async with discovering(net, tmp_path, limits=Limits(cycle_ms=600_000)) as (discoverer, _, _sweeper):
        first = await ended(discoverer, (await discoverer.start(ScanRequest(targets=NETWORK), actor="a")).id)
        assert (first.progress.devices, first.progress.skipped) == (4, 1)
        opened = len(net.opened)
        second = await ended(discoverer, (await discoverer.start(ScanRequest(targets=NETWORK), actor="a")).id)
        assert (second.progress.devices, second.progress.skipped) == (0, 5)
        assert len(net.opened) == opened
        notes = [hit.note for hit in await discoverer.hits(second.id)]
        assert notes[0].startswith("looked into ")
        assert notes[-1] == "the meter m1 is read there"
        assert (await discoverer.devices(DeviceQuery(scan=second.id))).total == 4
        again = ScanRequest(targets=NETWORK, again=True)
        third = await ended(discoverer, (await discoverer.start(again, actor="a")).id)
        assert (third.progress.devices, third.progress.new, third.progress.skipped) == (5, 1, 0)
        await asyncio.sleep(700)
        fourth = await ended(discoverer, (await discoverer.start(ScanRequest(targets=NETWORK), actor="a")).id)
        assert fourth.progress.devices == 4


@virtual
async def test_a_scan_goes_on_after_a_restart(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    net.sites["192.0.2.2"].delay = 30.0
    async with discovering(net, tmp_path) as (discoverer, _, sweeper):
        sweeper.hold = asyncio.Event()
        job = await discoverer.start(ScanRequest(targets=NETWORK), actor="a")
        while (await discoverer.job(job.id)).progress.examined < 1:
            sweeper.hold.set()
            sweeper.hold.clear()
            await asyncio.sleep(0.1)
    net.sites["192.0.2.2"].delay = 0.0
    async with discovering(net, tmp_path) as (discoverer, _, sweeper):
        done = await ended(discoverer, job.id)
        assert done.state is ScanState.FINISHED
        assert sweeper.swept[0] > 0
        assert done.progress.states == {PortState.OPEN: 5, PortState.SILENT: 11}
        assert (await discoverer.devices(DeviceQuery(scan=job.id))).total == 5
        report = await discoverer.report(job.id)
        assert report.networks[0].states == {PortState.OPEN: 5, PortState.SILENT: 11}


@virtual
async def test_cancelled_is_the_one_that_runs_and_the_one_that_waits(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    async with discovering(net, tmp_path) as (discoverer, store, sweeper):
        sweeper.hold = asyncio.Event()
        running = await discoverer.start(ScanRequest(targets=NETWORK), actor="a")
        waiting = await discoverer.start(ScanRequest(targets=NETWORK), actor="a")
        await until(discoverer, running.id, lambda job: job.progress.devices > 0)
        assert (await discoverer.cancel(waiting.id, actor="b")).state is ScanState.CANCELLED
        done = await discoverer.cancel(running.id, actor="b")
        assert (done.state, done.progress.devices) == (ScanState.CANCELLED, 1)
        with pytest.raises(Conflict):
            await discoverer.cancel(running.id, actor="b")
        with pytest.raises(NotFound):
            await discoverer.cancel("nope", actor="b")
        assert [row.action for row in store.audit.list(actor="b")] == ["scan-cancelled"] * 2
        sweeper.hold = None
        third = await ended(discoverer, (await discoverer.start(ScanRequest(targets="192.0.2.5"), actor="a")).id)
        assert third.state is ScanState.FINISHED
        assert len(await discoverer.jobs(before=third.id)) == 2


@virtual
async def test_no_more_places_at_once_than_allowed_and_one_at_a_host(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    most = 0

    def watch() -> float:
        nonlocal most
        busy = [site.open_links for site in net.sites.values()]
        assert max(busy) <= 1
        most = max(most, sum(busy))
        return 0.5

    for site in net.sites.values():
        site.delay = watch
    async with discovering(net, tmp_path, limits=Limits(places=2)) as (discoverer, _, _sweeper):
        request = ScanRequest(targets="192.0.2.1-192.0.2.5", ports="7,8,9")
        job = await ended(discoverer, (await discoverer.start(request, actor="a")).id)
        assert job.progress.examined == 15
        assert most == 2


@virtual
async def test_a_request_that_makes_no_sense_or_reaches_too_far_is_refused(tmp_path: Path) -> None:
    async with discovering(Net({}), tmp_path, running=False) as (discoverer, store, _):
        for request, error in (
            (ScanRequest(targets=""), ConfigError),
            (ScanRequest(targets="192.0.2.0/33"), ConfigError),
            (ScanRequest(targets=NETWORK, ports="telnet"), ConfigError),
            (ScanRequest(targets=NETWORK, rate=0), ConfigError),
            (ScanRequest(targets="inbound://123"), ConfigError),
            (ScanRequest(targets="203.0.113.7"), PermissionDenied),
        ):
            with pytest.raises(error):
                await discoverer.start(request, actor="a")
        assert store.scans.list() == []
        for _ in range(100):
            await discoverer.start(ScanRequest(targets=NETWORK), actor="a")
        with pytest.raises(Conflict):
            await discoverer.start(ScanRequest(targets=NETWORK), actor="a")


@virtual
async def test_single_places_are_looked_into_without_a_sweep(tmp_path: Path) -> None:
    net = net_of("192.0.2.1")
    async with discovering(net, tmp_path) as (discoverer, _, sweeper):
        request = ScanRequest(targets="tcp://192.0.2.1:7 tcp://203.0.113.1:7")
        job = await ended(discoverer, (await discoverer.start(request, actor="a")).id)
        assert (job.progress.devices, job.progress.nobody, sweeper.swept) == (1, 1, [])
        report = await discoverer.report(job.id)
        assert "203.0.113.1 is outside the networks that may be scanned" in report.nobody
        assert net.opened.count("203.0.113.1") == 0


@virtual
async def test_without_examination_only_what_is_open_is_noted(tmp_path: Path) -> None:
    net = net_of(*HOSTS)
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        request = ScanRequest(targets=f"{NETWORK}, 198.51.100.0/30", examine=False, exclude="192.0.2.1")
        job = await ended(discoverer, (await discoverer.start(request, actor="a")).id)
        assert (job.progress.open, job.progress.examined, net.opened) == (4, 0, [])
        report = await discoverer.report(job.id)
        assert [each.target for each in report.networks] == [NETWORK, "198.51.100.0/30"]
        assert [sum(each.states.values()) for each in report.networks] == [15, 4]


def test_hosts_take_turns() -> None:
    hosts = Hosts(1)
    for host, port in (("a", 1), ("a", 2), ("b", 1), ("a", 3)):
        hosts.add(ScanHit(host=host, port=port, at=0))
    taken = [hosts.take(), hosts.take()]
    assert [(hit.host, hit.port) for hit in taken if hit] == [("a", 1), ("b", 1)]
    assert hosts.take() is None
    hosts.done("a")
    assert (hit := hosts.take()) is not None
    assert (hit.host, hit.port) == ("a", 2)

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.base import NO_SECRETS
from headend.errors import ConfigError, NotFound, PermissionDenied
from headend.model.device import DeviceQuery, DeviceState
from headend.model.event import EventType
from headend.model.meter import Secret
from headend.model.scan import ScanRequest
from headend.services.discovery.adopting import Adoption
from headend.services.discovery.credentials import KeyRing
from headend.services.discovery.deriving import Derived
from headend.storage.store import Store
from tests.services.support import meter, virtual

from .support import KEY, Net, derive, discovering, ended, events, site_at

WRONG = {"secret": Secret(b"guess")}
RIGHT = {"secret": Secret(b"open-sesame")}


def net_of(count: int = 3) -> Net:
    return Net({f"192.0.2.{number}": site_at({"1": 230}) for number in range(1, count + 1)})


async def found(discoverer: Any) -> list[str]:
    await ended(discoverer, (await discoverer.start(ScanRequest(targets="192.0.2.0/28"), actor="a")).id)
    return [device.id for device in (await discoverer.devices(DeviceQuery())).items]


@virtual
async def test_adopted_devices_are_meters_that_can_be_read(tmp_path: Path) -> None:
    net = net_of()
    async with discovering(net, tmp_path, lanes=True) as (discoverer, store, _):
        ids = await found(discoverer)
        adoption = Adoption(name="{vendor} {host} #{unit} {nonsense}", tags=("new", "new"), poll_seconds=0)
        done = await discoverer.adopt([*ids[:2], "nobody"], adoption, actor="user:anna")
        assert [(each.new, bool(each.error)) for each in done] == [(False, True), (True, False), (True, False)]
        state = net.roster.state(done[1].meter_id)
        host = (await discoverer.device(done[1].device_id)).host
        assert state.meter.name == f"Text {host} #1"
        assert (state.meter.tags, state.meter.profile_id, state.meter.poll_seconds) == (("new",), "", 0)
        assert state.meter.identity.serial == f"{host}/1"
        assert await net.read(done[1].meter_id) == 230
        again = await discoverer.adopt(ids[:2], adoption, actor="user:anna")
        assert [(each.meter_id, each.new) for each in again] == [(each.meter_id, False) for each in done[1:]]
        assert len(net.roster) == 2
        device = await discoverer.device(ids[0])
        assert device.state is DeviceState.ADOPTED
        assert (await discoverer.devices(DeviceQuery(state=DeviceState.NEW))).total == 1
        assert len(events(net, EventType.METER_ADDED)) == 2
        assert store.audit.list(action="devices-adopted")[0].actor == "user:anna"
        with pytest.raises(NotFound):
            await discoverer.adopt(ids, Adoption(profile_id="nonsense"), actor="a")


@virtual
async def test_two_meters_of_one_name_get_ids_of_their_own(tmp_path: Path) -> None:
    net = net_of()
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        done = await discoverer.adopt(await found(discoverer), Adoption(name="Hall"), actor="a")
        assert sorted(each.meter_id for each in done) == ["hall", "hall-2", "hall-3"]


@virtual
async def test_a_meter_that_is_read_is_examined_between_two_reads(tmp_path: Path) -> None:
    net = net_of(1)
    async with discovering(net, tmp_path, lanes=True) as (discoverer, _, _sweeper):
        (device_id,) = await found(discoverer)
        (adopted,) = await discoverer.adopt([device_id], Adoption(), actor="a")
        assert await net.read(adopted.meter_id) == 230
        site = net.sites["192.0.2.1"]
        assert site.open_links == 1
        most = 0

        def watch() -> float:
            nonlocal most
            most = max(most, site.open_links)
            return 0.5

        site.delay = watch
        seen, value = await asyncio.gather(discoverer.examine(device_id, actor="a"), net.read(adopted.meter_id))
        assert (value, most) == (230, 1)
        (noted,) = seen.devices
        assert (noted.new, noted.changed, noted.device.meter_id) == (False, False, adopted.meter_id)
        site.delay = 0.0
        assert await net.read(adopted.meter_id) == 230


@virtual
async def test_an_examination_goes_deeper_with_what_is_given(tmp_path: Path) -> None:
    net = net_of(1)
    async with discovering(net, tmp_path) as (discoverer, store, _):
        (device_id,) = await found(discoverer)
        deeper = {"client": "1", "auth": "lls"}
        seen = await discoverer.examine(device_id, actor="user:anna", params=deeper, secrets=RIGHT, keep=True)
        papers = await discoverer.papers(device_id)
        assert papers.examination.params == {"unit": "1", **deeper}
        assert papers.sighting.params == {"unit": "1"}
        assert (seen.devices[0].device.id, papers.examination.trials[0].outcome.value) == (device_id, "accepted")
        row = store.audit.list(action="device-examined")[0]
        assert (row.actor, row.subject, row.data["secrets"]) == ("user:anna", f"device:{device_id}", "secret")
        await discoverer.examine(device_id, actor="a", params=deeper, credentials=True)
        assert net.driver.examined[-1][1] == RIGHT
        (adopted,) = await discoverer.adopt([device_id], Adoption(), actor="a")
        assert store.secrets.get(adopted.meter_id, "secret") == RIGHT["secret"]
        await discoverer.examine(device_id, actor="a", credentials=True)
        assert net.driver.examined[-1][1] == RIGHT
        assert discoverer.keys.of_device(device_id) == {}


@virtual
async def test_a_secret_that_was_refused_is_not_tried_again(tmp_path: Path) -> None:
    net = net_of(1)
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        (device_id,) = await found(discoverer)
        deeper = {"client": "1", "auth": "lls"}
        for _ in range(3):
            seen = await discoverer.examine(device_id, actor="a", params=deeper, secrets=WRONG)
            assert "bad password" in seen.devices[0].device.stopped
        assert net.sites["192.0.2.1"].log.count("LOGIN 1 guess") == 1


@virtual
async def test_a_scan_sends_no_secret_unless_it_is_asked_to(tmp_path: Path) -> None:
    net = net_of(1)
    async with discovering(net, tmp_path) as (discoverer, store, _):
        keys = discoverer.keys
        await asyncio.to_thread(keys.put_group, "192.0.2.0/24", {"client": "2", "auth": "lls"}, WRONG, "user:anna")
        await asyncio.to_thread(keys.put_group, "192.0.2.0/28", {"client": "1", "auth": "lls"}, RIGHT, "user:anna")
        await found(discoverer)
        assert net.driver.examined[-1][1] == NO_SECRETS
        request = ScanRequest(targets="192.0.2.1", again=True, credentials=True)
        await ended(discoverer, (await discoverer.start(request, actor="a")).id)
        assert net.driver.examined[-1][1] == RIGHT
        assert not any("guess" in line for line in net.sites["192.0.2.1"].log)
        assert [row.subject for row in store.audit.list(action="secret-changed")] == [
            "credentials:192.0.2.0/28",
            "credentials:192.0.2.0/24",
        ]


@virtual
async def test_a_place_is_examined_by_its_address(tmp_path: Path) -> None:
    net = net_of(2)
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        seen = await discoverer.examine("tcp://192.0.2.1:7", actor="a")
        assert seen.devices[0].new
        again = await discoverer.examine("tcp://192.0.2.1:7", actor="a")
        assert not again.devices[0].new
        net.sites["192.0.2.1"].moods["1"] = "silent"
        nobody = await discoverer.examine("tcp://192.0.2.1:7", actor="a")
        assert (nobody.devices, nobody.nothing) == ((), "nobody speaks a known protocol")
        for target, error in (
            ("tcp://203.0.113.1:7", PermissionDenied),
            ("nonsense", NotFound),
            ("foo://192.0.2.1", ConfigError),
            ("dlms://192.0.2.1?secret=text:x", ConfigError),
        ):
            with pytest.raises(error):
                await discoverer.examine(target, actor="a")


@virtual
async def test_two_who_ask_for_one_place_take_turns(tmp_path: Path) -> None:
    net = net_of(1)
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        site, most = net.sites["192.0.2.1"], 0

        def watch() -> float:
            nonlocal most
            most = max(most, site.open_links)
            return 0.5

        site.delay = watch
        both = [discoverer.examine("tcp://192.0.2.1:7", actor="a") for _ in range(2)]
        first, second = await asyncio.gather(*both)
        assert most == 1
        assert first.devices[0].device.id == second.devices[0].device.id


@virtual
async def test_rules_are_run_again_without_a_network(tmp_path: Path) -> None:
    net = net_of()
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        ids = await found(discoverer)
        opened = len(net.opened)
        assert await discoverer.reclassify() == 0

        def better(examination: Any) -> Derived:
            old = derive(examination)
            return Derived(fingerprint=old.fingerprint, classification=old.classification, draft="new", coverage=0.5)

        discoverer._derive = lambda: better
        assert await discoverer.reclassify(ids[:1]) == 1
        assert await discoverer.reclassify() == 2
        assert (await discoverer.papers(ids[0])).draft == "new"
        assert (await discoverer.device(ids[2])).coverage == 0.5
        assert len(net.opened) == opened


@virtual
async def test_ignored_and_forgotten_devices(tmp_path: Path) -> None:
    net = net_of()
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        ids = await found(discoverer)
        await discoverer.adopt(ids[:1], Adoption(), actor="a")
        assert await discoverer.ignore(ids, actor="a") == 2
        assert (await discoverer.devices(DeviceQuery(state=DeviceState.NEW))).total == 0
        assert await discoverer.ignore(ids[1:2], actor="a", ignored=False) == 1
        await discoverer.forget(ids[1:], actor="a")
        assert [device.id for device in (await discoverer.devices(DeviceQuery())).items] == ids[:1]
        assert len(await discoverer.history(ids[0])) == 1


@virtual
async def test_a_meter_of_ours_that_is_found_is_known(tmp_path: Path) -> None:
    net = net_of(1)
    net.roster.add(meter("m1", "192.0.2.1"))
    async with discovering(net, tmp_path) as (discoverer, _, _sweeper):
        request = ScanRequest(targets="192.0.2.1", again=True)
        await ended(discoverer, (await discoverer.start(request, actor="a")).id)
        (device,) = (await discoverer.devices(DeviceQuery())).items
        assert (device.state, device.meter_id) == (DeviceState.ADOPTED, "m1")


def test_credentials_are_of_the_smallest_network_or_the_first_tag(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db", vault_key=KEY) as store:
        keys = KeyRing(store)
        keys.put_group("10.0.0.0/8", {"client": "1"}, {"secret": Secret(b"a"), "ek": Secret(b"b")}, "a")
        keys.put_group("10.1.0.0/16", {"client": "2"}, {}, "a")
        keys.put_group("hall", {"client": "3"}, {}, "a")
        assert keys.of_group("10.1.2.3").params == {"client": "2"}
        assert keys.of_group("10.2.2.3", ["hall"]).secrets["ek"] == Secret(b"b")
        assert keys.of_group("192.0.2.1", ["x", "hall"]).params == {"client": "3"}
        assert not keys.of_group("192.0.2.1")
        assert not keys.of_group("meter.example")
        keys.put_group("10.0.0.0/8", {}, {"secret": Secret(b"c")}, "a")
        assert next((each.name, each.secrets) for each in keys.groups()) == ("10.0.0.0/8", ("secret",))
        keys.remove_group("10.0.0.0/8", "a")
        assert not keys.of_group("10.2.2.3")
        with pytest.raises(NotFound):
            keys.remove_group("10.0.0.0/8", "a")
        for name in ("10.0.0.1/8", "", "x/y"):
            with pytest.raises(ConfigError):
                keys.put_group(name, {}, {}, "a")

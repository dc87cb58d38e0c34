from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from headend.errors import NotFound
from headend.model.device import DeviceQuery, DeviceState, Finding, Papers, device_id
from headend.model.discovery import Evidence, Examination, PortState, Sighting
from headend.model.fingerprint import Classification, Fingerprint
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.scan import ScanHit, ScanJob, ScanProgress, ScanRequest, ScanState
from headend.storage.store import Store

NETWORK = "192.0.2.0/24"


def job(scan_id: str = "s1", **fields: Any) -> ScanJob:
    return ScanJob(id=scan_id, request=ScanRequest(targets=NETWORK), actor="user:anna", created_at=5, **fields)


def finding(
    host: str = "192.0.2.1",
    unit: str = "1",
    *,
    at: int = 100,
    vendor: str = "",
    facts: dict[str, str] | None = None,
    **more: Any,
) -> Finding:
    sighting = Sighting(protocol="modbus", framing="tcp", params={"unit": unit})
    facts = facts or {"protocol": "modbus"}
    return Finding(
        papers=Papers(
            sighting=sighting,
            examination=Examination(
                endpoint=Endpoint(kind=EndpointKind.TCP, host=host, port=502),
                protocol="modbus",
                framing="tcp",
                params=sighting.params,
                identity=MeterIdentity(serial=f"SN-{host}-{unit}"),
                evidence=(Evidence(probe="server id", at=1, sent=b"\x11", received=b"\x91\x01"),),
            ),
            fingerprint=Fingerprint(digest="d" + str(len(facts)), facts=facts),
            classification=Classification(vendor=vendor, confidence=0.5),
            draft="[meter]\n",
        ),
        at=at,
        **more,
    )


def test_an_examination_that_ended_early_replaces_no_whole_one(store: Store) -> None:
    whole, part = finding(facts={"protocol": "modbus", "functions": "3:0"}), finding(at=200)
    stopped = dataclasses.replace(part.papers.examination, stopped="the meter hung up")
    part = dataclasses.replace(part, papers=dataclasses.replace(part.papers, examination=stopped))
    (first,) = store.devices.record([part])
    assert first.device.stopped  # what there is, while nothing better is known
    (known,) = store.devices.record([whole])
    (again,) = store.devices.record([part], "s2")
    assert (again.new, again.changed) == (False, False)
    assert (again.device.last_seen, again.device.scan, again.device.stopped) == (200, "s2", "the meter hung up")
    store.devices.record([part], "s3")
    assert store.devices.papers(known.device.id) == whole.papers


def test_a_scan_goes_on_where_it_was_kept(store: Store) -> None:
    store.scans.add(job())
    running = job(state=ScanState.RUNNING, seed=77, cursor=40, progress=ScanProgress(targets=256, done=40))
    found = [ScanHit(host="192.0.2.9", port=502, at=7, banner=b"hi"), ScanHit(host="192.0.2.10", port=502, at=8)]
    counts = {(NETWORK, PortState.OPEN): 2, (NETWORK, PortState.SILENT): 38}
    store.scans.keep(running, found, counts)
    states = {PortState.OPEN: 2, PortState.SILENT: 40}
    more = dataclasses.replace(running, cursor=42, progress=ScanProgress(targets=256, done=42, states=states))
    store.scans.keep(
        more, [dataclasses.replace(found[0], outcome="nobody", note="silence")], {(NETWORK, PortState.SILENT): 2}
    )
    assert store.scans.unfinished() == [more]
    assert store.scans.counts("s1") == {(NETWORK, PortState.OPEN): 2, (NETWORK, PortState.SILENT): 40}
    assert store.scans.hits("s1", outcome="") == [found[1]]
    assert [hit.host for hit in store.scans.hits("s1", after=("192.0.2.10", 502))] == ["192.0.2.9"]
    assert store.scans.nobody("s1") == {"silence": 1}
    store.scans.put(dataclasses.replace(more, state=ScanState.FINISHED, ended_at=9))
    assert store.scans.unfinished() == []
    assert store.scans.get("s1").ended


def test_scans_are_listed_newest_first_and_forgotten_when_they_are_old(store: Store) -> None:
    for number in range(4):
        store.scans.add(job(f"s{number}", state=ScanState.FINISHED, ended_at=number))
    assert [each.id for each in store.scans.list(limit=2)] == ["s3", "s2"]
    assert [each.id for each in store.scans.list(before="s2")] == ["s1", "s0"]
    store.scans.keep(job("s0", ended_at=0), [ScanHit(host="h", port=1, at=0)], {("n", PortState.OPEN): 1})
    store.devices.record([finding()], "s0")
    assert store.scans.purge(2) == 2
    with pytest.raises(NotFound):
        store.scans.get("s0")
    with pytest.raises(NotFound):
        store.scans.keep(job("s0"), [], {})
    assert store.devices.list(DeviceQuery(scan="s0")).items == []
    assert store.devices.list(DeviceQuery()).total == 1


def test_a_device_is_the_same_when_it_is_found_again(store: Store) -> None:
    store.scans.add(job())
    (first,) = store.devices.record([finding(vendor="Acme")], "s1")
    assert (first.new, first.changed, first.device.state) == (True, False, DeviceState.NEW)
    assert first.device.url == "modbus://192.0.2.1:502/1"
    assert first.device.id == device_id(finding().papers.examination.endpoint, finding().papers.sighting)
    (same,) = store.devices.record([finding(vendor="Acme", at=200)])
    assert (same.new, same.changed) == (False, False)
    assert (same.device.first_seen, same.device.last_seen, same.device.changed_at) == (100, 200, 100)
    assert same.device.scan == "s1"
    facts = {"protocol": "modbus", "firmware": "2"}
    (other,) = store.devices.record([finding(vendor="Acme", at=300, facts=facts)])
    assert (other.new, other.changed, other.device.changed_at) == (False, True, 300)
    history = store.devices.history(first.device.id)
    assert [(past.at, past.fingerprint.digest) for past in history] == [(100, "d1"), (300, "d2")]
    assert store.devices.papers(first.device.id) == finding(vendor="Acme", facts=facts).papers
    assert store.devices.seen_at(300) == {"tcp://192.0.2.1:502": 300}
    assert store.devices.seen_at(301) == {}


def test_two_findings_of_one_device_in_a_batch_are_one(store: Store) -> None:
    one, two = store.devices.record([finding(), finding(at=101)])
    assert one.device.number == two.device.number
    assert (one.new, two.new) == (True, False)


def test_devices_are_listed_by_what_is_asked_for(store: Store) -> None:
    store.scans.add(job())
    store.devices.record([finding("192.0.2.1", str(unit), vendor="Acme") for unit in range(1, 6)], "s1")
    store.devices.record([finding("192.0.2.2"), finding("198.51.100.7", vendor="50%_er")])
    page = store.devices.list(DeviceQuery(limit=2))
    assert (len(page.items), page.total, page.next) == (2, 7, page.items[-1].number)
    rest = store.devices.list(DeviceQuery(limit=5, after=page.next or 0))
    assert (len(rest.items), rest.next) == (5, None)
    for query, count in (
        (DeviceQuery(vendor="Acme"), 5),
        (DeviceQuery(vendor=""), 1),
        (DeviceQuery(scan="s1"), 5),
        (DeviceQuery(scan="nope"), 0),
        (DeviceQuery(search="sn-192.0.2.2"), 1),
        (DeviceQuery(search="0%_E"), 1),
        (DeviceQuery(search="_"), 1),
        (DeviceQuery(protocol="dlms"), 0),
        (DeviceQuery(state=DeviceState.ADOPTED), 0),
    ):
        assert store.devices.list(query).total == count, query
    assert ("Acme", "modbus", DeviceState.NEW, "192.0.2.1", 5) in store.devices.counts()
    assert len(store.devices.counts("s1")) == 1
    both = store.devices.some_papers(0, 3)
    assert [device.number for device, _ in both] == [1, 2, 3]
    assert both[0][1].draft == "[meter]\n"
    assert len(store.devices.some_papers(0, 99, [both[1][0].id])) == 1
    assert store.devices.seen_again(["tcp://192.0.2.2:502"], "s1") == 1
    assert store.devices.list(DeviceQuery(scan="s1")).total == 6


def test_an_adopted_device_stays_so_until_its_meter_is_removed(store: Store) -> None:
    (noted,) = store.devices.record([finding()])
    meter = Meter(
        id="m1", protocol="modbus", framing="tcp", endpoint=Endpoint(kind=EndpointKind.TCP, host="x", port=502)
    )
    store.meters.put(meter)
    assert store.devices.mark(DeviceState.ADOPTED, {noted.device.id: "m1", "nobody": "m2"}) == 1
    (again,) = store.devices.record([finding(at=500)])
    assert (again.device.state, again.device.meter_id) == (DeviceState.ADOPTED, "m1")
    store.meters.delete("m1", keep_history=True)
    assert store.devices.get(noted.device.id).state is DeviceState.NEW
    (known,) = store.devices.record([finding(at=600, meter_id="m9")])
    assert (known.device.state, known.device.meter_id) == (DeviceState.ADOPTED, "m9")
    store.devices.forget(noted.device.id)
    for read in (store.devices.get, store.devices.papers, store.devices.history, store.devices.forget):
        with pytest.raises(NotFound):
            read(noted.device.id)


def test_credentials_of_groups_have_parameters(store: Store) -> None:
    store.devices.put_group("10.0.0.0/8", {"client": "1"})
    store.devices.put_group("10.0.0.0/8", {"client": "2"})
    assert [(each.name, each.params) for each in store.devices.groups()] == [("10.0.0.0/8", {"client": "2"})]
    store.devices.forget_group("10.0.0.0/8")
    with pytest.raises(NotFound):
        store.devices.forget_group("10.0.0.0/8")

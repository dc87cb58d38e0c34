"""The paths of the earlier bridge: its names and units, and that what is asked takes effect at once or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.errors import LinkTimeout
from headend.model.access import Role
from headend.model.event import Severity
from headend.model.meter import Secret
from headend.model.statistics import Figures
from headend.northbound.courier import Courier
from headend.northbound.sink import Surroundings
from headend.northbound.thingsboard.devices import DeviceSink
from headend.northbound.thingsboard.options import DeviceOptions

from .support import ELSEWHERE, NOW, World, world
from .test_alarms import alarm as an_alarm

FEEDER = {"name": "Feeder 1", "ip_address": "192.0.2.11", "measurements": ["voltage_l1", "active_power"]}


def with_board(head_end: World, folder: Path) -> DeviceSink:
    """A sink that has a token for each meter."""

    async def answer(_request: object) -> object:
        raise AssertionError

    surroundings = Surroundings(
        name="board",
        version="1",
        roster=head_end.roster,
        profile=lambda _meter: None,
        answer=answer,
        clock=lambda: NOW,
        secret=lambda place: Secret(Path(place.removeprefix("file:")).read_bytes()),
    )
    options = DeviceOptions(broker="mqtt://192.0.2.9", token_folder=str(folder / "tokens"), naming="bridge")
    sink = DeviceSink(options, surroundings)
    head_end.deliveries.add(
        Courier(
            "board",
            "thingsboard-device",
            sink,
            head_end.store.journal,
            clock=lambda: NOW,
            publish=head_end.bus.publish,
        )
    )
    return sink


async def add(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/meters", json=FEEDER | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/meters/{made['id']}"
    return made


async def test_a_meter_is_added_read_at_once_changed_and_removed(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        sink = with_board(head_end, tmp_path)
        made = await add(client, tb_token="T0KEN", tb_device_name="Feeder one", password="12345678")
        assert made == {
            "id": "feeder-1",
            "name": "Feeder 1",
            "ip_address": "192.0.2.11",
            "port": 3333,
            "client_id": 1,
            "server_id": 1,
            "status": "active",
            "last_seen": None,
            "last_error": None,
            "error_count": 0,
            "tb_host": "192.0.2.9",
            "tb_port": 1883,
            "tb_device_name": "Feeder one",
            "model": "",
            "serial_number": "",
            "firmware_version": "",
        }
        polled = head_end.app.state.parts.poller.polled["feeder-1"]
        quantities = [entry.quantity for entry in polled.plan.whole.entries]
        assert quantities == ["voltage_l1", "active_power_import_total"]
        assert polled.plan.period == 2.0
        meter = (await client.get("/api/v1/meters/feeder-1")).json()
        assert meter["url"].startswith("dlms+hdlc://192.0.2.11:3333?client=1&server=1&auth=lls&profile=measured-")
        assert (await client.get("/api/v1/meters/feeder-1/secrets")).json() == {"names": ["secret"]}
        token = sink.tokens.find("feeder-1")
        assert token is not None
        assert token.reveal() == b"T0KEN"
        assert (tmp_path / "tokens" / "feeder-1.token").read_bytes() == b"T0KEN"

        await add(client)
        second = head_end.roster.state("feeder-1-2").meter
        assert second.profile_id == head_end.roster.state("feeder-1").meter.profile_id, "the same list, the same file"
        assert second.params["auth"] == "none"

        changed = await client.put(
            "/api/meters/feeder-1", json={"ip_address": "192.0.2.12", "status": "inactive", "tb_token": "OTHER"}
        )
        assert (changed.json()["ip_address"], changed.json()["port"]) == ("192.0.2.12", 3333)
        assert changed.json()["status"] == "inactive"
        assert changed.json()["tb_device_name"] == "Feeder one"
        assert "feeder-1" not in head_end.app.state.parts.poller.polled
        assert (tmp_path / "tokens" / "feeder-1.token").read_bytes() == b"OTHER"
        assert "OTHER" not in changed.text

        listed = (await client.get("/api/meters")).json()
        assert [each["id"] for each in listed] == ["feeder-1", "feeder-1-2"]
        assert (await client.delete("/api/meters/feeder-1")).status_code == 204
        assert (await client.get("/api/meters/feeder-1")).status_code == 404
        assert sink.tokens.find("feeder-1") is None
        assert not (tmp_path / "tokens" / "feeder-1.token").exists()

        sink.keep_token("feeder-1-2", Secret(b"THIRD"))
        etag = (await client.get("/api/v1/meters/feeder-1-2")).headers["etag"]
        gone = await client.delete("/api/v1/meters/feeder-1-2", headers={"If-Match": etag})
        assert gone.status_code == 204
        assert sink.tokens.find("feeder-1-2") is None
        assert not list((tmp_path / "tokens").iterdir()), "whoever removes a meter removes its token"


async def test_a_meter_that_fails_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        await add(client)
        state = head_end.roster.state("feeder-1")
        head_end.roster.succeeded(state)
        head_end.roster.failed(state, LinkTimeout("no answer"))
        state.reads_failed = 3
        row = (await client.get("/api/meters/feeder-1")).json()
        assert (row["status"], row["error_count"]) == ("error", 3)
        assert row["last_error"] == "no answer"
        assert row["last_seen"] == "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tb_token": "T0KEN"},
        {"tb_host": "192.0.2.1"},
        {"measurements": ["colour"]},
        {"measurements": [{"name": "a", "obis": "1-0:1"}]},
        {"measurements": []},
        {"port": 0},
        {"tb_device_name": "a/b"},
    ],
)
async def test_what_cannot_be_taken_is_refused_and_adds_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Without a sink that takes tokens; the platform is set up in the settings."""
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        answer = await client.post("/api/meters", json=FEEDER | wrong)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert "T0KEN" not in answer.text
        assert len(head_end.roster) == 0


async def test_measurements_are_changed_with_intervals_of_their_own(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        with_board(head_end, tmp_path)
        await add(client)
        found = (await client.get("/api/config/feeder-1")).json()["measurements"]
        assert found[1] == {
            "measurement": "active_power",
            "obis": "1-0:1.7.0.255",
            "enabled": True,
            "sampling_interval": 2.0,
            "tb_key": "active_power",
        }
        energy = {"measurement": "energy", "obis": "1-0:1.8.0.255", "sampling_interval": 60.0}
        off = {"measurement": "voltage_l1", "enabled": False}
        answer = await client.put(
            "/api/config/feeder-1",
            json={"measurements": [energy, off, found[1] | {"sampling_interval": 5.0}]},
        )
        assert answer.status_code == 200, answer.text
        rows = answer.json()["measurements"]
        assert [(row["measurement"], row["enabled"], row["sampling_interval"]) for row in rows] == [
            ("energy", True, 60.0),
            ("voltage_l1", False, 5.0),
            ("active_power", True, 5.0),
        ]
        assert (await client.get("/api/config/feeder-1")).json() == answer.json()
        plan = head_end.app.state.parts.poller.polled["feeder-1"].plan
        assert plan.period == 5.0
        assert plan.every == {"active_energy_import_total": 60.0}
        assert [entry.quantity for entry in plan.whole.entries] == [
            "active_energy_import_total",
            "active_power_import_total",
        ]

        other = {"measurements": [{"measurement": "voltage_l1", "tb_key": "U1"}]}
        answer = await client.put("/api/config/feeder-1", json=other)
        assert (answer.status_code, answer.json()["code"]) == (422, "config")


async def test_a_meter_with_another_meter_file_keeps_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a", profile_id="bench", poll_seconds=10.0)
        found = (await client.get("/api/config/a")).json()
        assert found["measurements"][0]["measurement"] == "voltage_l1"
        answer = await client.put("/api/config/a", json=found)
        assert (answer.status_code, answer.json()["code"]) == (409, "capability")


async def test_metrics_are_in_milliseconds_and_percent(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a")
        figures = Figures(reads_ok=3, reads_failed=1, requests=8, responses=7, octets_in=600, octets_out=300)
        figures.messages, figures.messages_late, figures.reconnections = 9, 4, 2
        figures.scales_used, figures.scales_asked = 8, 1
        for seconds in (0.1, 0.2, 0.3):
            figures.took(seconds)
        head_end.store.statistics.add(NOW, {"a": figures})
        head_end.roster.state("a").knowledge.singles = 20
        head_end.roster.state("a").knowledge.requests = 4
        head_end.time = 90
        said = (await client.get("/api/metrics/a")).json()
        assert (said["avg_read_time"], said["min_read_time"], said["max_read_time"]) == (200.0, 100.0, 300.0)
        assert (said["total_reads"], said["successful_reads"], said["failed_reads"]) == (4, 3, 1)
        assert (said["success_rate"], said["requests"], said["requests_saved"]) == (75.0, 8, 16)
        assert (said["messages_sent"], said["messages_buffered"], said["reconnects"]) == (9, 4, 2)
        assert (said["cache_hits"], said["cache_hit_rate"]) == (7, 87.5)
        network = (await client.get("/api/network/metrics")).json()
        assert network == {
            "requests": 8,
            "responses": 7,
            "bytes_sent": 300,
            "bytes_received": 600,
            "bandwidth": 10.0,
            "mqtt_messages": 0,
        }
        assert (await client.get("/api/metrics/b")).status_code == 404


async def test_alarms_are_listed_and_acknowledged_once(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a")
        alarm = an_alarm(7, severity=Severity.CRITICAL)
        head_end.store.alarms.keep([alarm], {})
        (said,) = (await client.get("/api/alarms")).json()
        assert (said["id"], said["severity"], said["acknowledged"]) == (7, "critical", False)
        assert (said["meter_id"], said["category"]) == (alarm.meter_id, alarm.kind.value)
        answer = await client.post("/api/alarms/7/ack")
        assert answer.status_code == 200, answer.text
        assert answer.json()["acknowledged_by"] == "key:key-operator"
        assert (await client.post("/api/alarms/7/ack")).status_code == 409
        assert (await client.post("/api/alarms/99/ack")).status_code == 404


async def test_health_and_status_are_those_of_the_head_end(tmp_path: Path) -> None:
    async with world(tmp_path, mbmd=True) as head_end, head_end.client() as client:
        assert (await client.get("/api/system/health")).json() == (await client.get("/api/v1/health")).json()
        assert (await client.get("/api/system/status")).json()["version"] == "1.2.3"
        assert "StartTime" in (await client.get("/api/status")).json(), "of mbmd, beside it"


async def test_roles_are_those_of_the_paths_behind(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        head_end.add("a")
        async with head_end.client(Role.OPERATOR) as client:
            assert (await client.post("/api/meters", json=FEEDER)).status_code == 403
            assert (await client.put("/api/meters/a", json={"name": "b"})).status_code == 403
            assert (await client.put("/api/config/a", json={"measurements": []})).status_code == 403
            assert (await client.delete("/api/meters/a")).status_code == 403
        async with head_end.client(Role.VIEWER) as client:
            assert (await client.post("/api/alarms/1/ack")).status_code == 403
        async with head_end.client(peer=ELSEWHERE) as client:
            assert (await client.get("/api/meters")).status_code in (401, 421)
            assert (await client.get("/api/system/status")).status_code in (401, 421)

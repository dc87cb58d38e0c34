from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import load_profile
from headend.model.access import Role

from .support import world

TEXT = """[meter]
vendor = "Acme"
model = "One"
protocol = "modbus"
state = "DRAFT"
source = "a test"

[[object]]
ref = "input/0x0000/f32"
quantity = "voltage_l1"
unit = "V"
"""


async def test_the_library_is_listed_and_searched(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        every = (await client.get("/api/v1/profiles")).json()["items"]
        assert {"dlms", "modbus", "dlt645"} <= {row["protocol"] for row in every}
        assert not any(row["kept"] for row in every)
        (found,) = (await client.get("/api/v1/profiles", params={"search": "SDM630"})).json()["items"]
        assert (found["id"], found["vendor"]) == ("eastron-sdm630", "Eastron")
        none = await client.get("/api/v1/profiles", params={"search": "SDM630", "protocol": "dlms"})
        assert none.json()["items"] == []
        drafts = await client.get("/api/v1/profiles", params={"state": "DRAFT"})
        assert all(row["state"] == "DRAFT" for row in drafts.json()["items"])


async def test_a_profile_is_made_changed_restored_and_retired(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        made = await client.post("/api/v1/profiles", json={"id": "acme-one", "text": TEXT})
        assert made.status_code == 201
        assert made.headers["location"] == "/api/v1/profiles/acme-one"
        first = made.json()["number"]
        page = (await client.get("/api/v1/profiles/acme-one")).json()
        assert page["kept"]
        assert not page["original"]
        assert page["document"]["schema"].startswith("headend-profile/")
        again = await client.post("/api/v1/profiles", json={"id": "acme-one", "text": TEXT})
        assert again.status_code == 409

        changed = TEXT.replace("voltage_l1", "voltage_l2")
        body = {"text": changed, "revision": page["revision"]}
        second = await client.put("/api/v1/profiles/acme-one", json=body)
        assert second.json()["number"] == first + 1
        assert (await client.put("/api/v1/profiles/acme-one", json=body)).status_code == 409  # it was changed meanwhile

        revisions = (await client.get("/api/v1/profiles/acme-one/revisions")).json()["items"]
        assert [each["number"] for each in revisions] == [first, first + 1]
        old = (await client.get(f"/api/v1/profiles/acme-one/revisions/{first}")).json()
        assert load_profile(old["text"], "old").objects[0].quantity == "voltage_l1"
        await client.post(f"/api/v1/profiles/acme-one/revisions/{first}/restore")
        now = (await client.get("/api/v1/profiles/acme-one")).json()
        assert load_profile(now["text"], "now").objects[0].quantity == "voltage_l1"

        assert (await client.delete("/api/v1/profiles/acme-one")).status_code == 204
        assert (await client.get("/api/v1/profiles/acme-one")).status_code == 404


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TEXT.replace('unit = "V"', 'unit = "parsec"'), 11),
        (TEXT.replace('unit = "V"', "unit = "), 11),
        (TEXT.replace('quantity = "voltage_l1"', 'quantity = "volts"'), 10),
    ],
)
async def test_what_is_wrong_with_a_text_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        told = (await client.post("/api/v1/profiles/check", json={"text": text})).json()
        assert not told["ok"]
        assert told["error"]
        assert abs((told["line"] or 0) - line) <= 3  # the table that it stands in, or the line itself


async def test_what_a_text_changes_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        kept = (await client.get("/api/v1/profiles/eastron-sdm630")).json()["text"]
        assert kept.count("[[object]]") > 10
        text = kept.replace('model = "SDM630"', 'model = "SDM631"')
        told = (await client.post("/api/v1/profiles/check", json={"text": text, "id": "eastron-sdm630"})).json()
        assert told["ok"]
        assert told["base"] == "eastron-sdm630"
        assert {change["key"] for change in told["changes"]} == {"model"}


async def test_profiles_go_out_and_come_in_again(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        out = await client.get("/api/v1/profiles/export", params={"ids": "eastron-sdm630,abb-b23"})
        documents = [json.loads(line) for line in out.text.splitlines()]
        assert [each["id"] for each in documents] == ["eastron-sdm630", "abb-b23"]
        (same, other) = (await client.post("/api/v1/profiles/import", content=out.content)).json()["items"]
        assert (same["outcome"], other["outcome"]) == ("same", "same")
        renamed = {**documents[0], "id": "mine"}
        taken: dict[str, Any] = (await client.post("/api/v1/profiles/import", content=json.dumps(renamed))).json()
        assert taken["items"][0]["outcome"] == "created"
        mine = (await client.get("/api/v1/profiles/mine/export")).json()
        assert {**mine, "id": "", "revision": 0} == {**documents[0], "id": "", "revision": 0}
        sheet = await client.get("/api/v1/profiles/eastron-sdm630/export", params={"format": "csv"})
        assert sheet.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(sheet.text)))
        page = (await client.get("/api/v1/profiles/eastron-sdm630")).json()
        assert [row["ref"] for row in rows] == [each["ref"] for each in page["objects"]]


async def test_a_draft_becomes_emulated_when_a_virtual_meter_reads_back(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        await client.post("/api/v1/profiles", json={"id": "acme-one", "text": TEXT})
        done = (await client.post("/api/v1/profiles/acme-one/promote", json={})).json()
        assert (done["promoted"], done["state"], done["mismatches"]) == (True, "EMULATED", [])
        assert (await client.get("/api/v1/profiles/acme-one")).json()["state"] == "EMULATED"


async def test_viewers_change_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        for method, path, body in (
            ("POST", "", {"id": "acme-one", "text": TEXT}),
            ("PUT", "/eastron-sdm630", {"text": TEXT}),
            ("DELETE", "/eastron-sdm630", None),
            ("POST", "/import", {}),
            ("POST", "/eastron-sdm630/promote", {}),
            ("POST", "/eastron-sdm630/test", {"meter_id": "a"}),
        ):
            answer = await client.request(method, f"/api/v1/profiles{path}", json=body)
            assert answer.status_code == 403, path

"""`meters import`, and what it writes into the database."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.emulator.fleet_file import load_fleet
from headend.model.meter import EndpointKind, MeterIdentity, Secret
from headend.storage.store import Store

from .conftest import Headend

KNOWN = MeterIdentity(serial="000000000001")


def rows(data: str) -> dict[str, Any]:
    with Store.open(Path(data) / "headend.db", vault_key=None) as store:
        return {stored.meter.id: stored for stored in store.meters.list(limit=20_000)}


def test_the_meters_of_a_fleet_that_dials_in(headend: Headend, tmp_path: Path) -> None:
    """As `emulate --json` prints them: ten thousand in one call, and again without a change."""
    data = str(tmp_path / "data")
    text = (Path(__file__).parents[2] / "examples" / "dialling-in.toml").read_text(encoding="utf-8")
    fleet = load_fleet(text, Library(), lambda _place, _name: Secret(b""))
    file = tmp_path / "meters.json"
    lines = [{"url": one.url, "profile": one.profile, "name": one.name} for one in fleet.roster()]
    file.write_text(json.dumps(lines))
    said = headend("meters", "import", str(file), "--poll", "900", "--tag", "site-1", "--data", data)
    assert (said.code, said.out) == (0, "10000 meters added, 0 changed, 0 as they were\n")
    found = rows(data)
    assert len(found) == 10_000
    meter = found["ivy-00001"].meter
    assert (meter.endpoint.kind, meter.endpoint.host) == (EndpointKind.INBOUND, "000000000001")
    assert (meter.protocol, meter.framing, meter.profile_id) == ("dlms", "wrapper", "ivy-em114070")
    assert (meter.poll_seconds, meter.tags, meter.name) == (900.0, ("site-1",), "ivy-00001")
    with Store.open(Path(data) / "headend.db", vault_key=None) as store:
        store.meters.put(replace(meter, identity=KNOWN))  # it has said who it is meanwhile
    said = headend("meters", "import", str(file), "--poll", "900", "--tag", "site-1", "--data", data)
    assert said.out == "0 meters added, 0 changed, 10000 as they were\n"
    file.write_text(json.dumps(lines[:20]))
    said = headend("meters", "import", str(file), "--poll", "60", "--data", data)
    assert said.out == "0 meters added, 20 changed, 0 as they were\n"
    found = rows(data)
    assert len(found) == 10_000
    again = found["ivy-00001"]
    assert (again.meter.identity, again.meter.poll_seconds, again.revision) == (KNOWN, 60.0, 3)
    assert found["ivy-00002"].revision == 2
    assert found["ivy-00021"].revision == 1


def test_lines_with_secrets(headend: Headend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_ALL", "12345678")
    data = str(tmp_path / "data")
    text = """
# two meters
dlms://127.0.0.1:4059?client=1&auth=lls hall 2
inbound://62124000007?protocol=dlms&framing=apdu&auth=lls&secret=text:own
"""
    said = headend("meters", "import", "-", "--secret", "secret=env:OF_ALL", "--data", data, stdin=text)
    assert said.out == "2 meters added, 0 changed, 0 as they were\n"
    assert sorted(rows(data)) == ["62124000007", "hall-2"]
    key = bytes.fromhex((Path(data) / "vault.key").read_text())
    with Store.open(Path(data) / "headend.db", vault_key=key) as store:
        assert store.secrets.get("hall-2", "secret") == Secret(b"12345678")
        assert store.secrets.get("62124000007", "secret") == Secret(b"own")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dlms://127.0.0.1\nftp://127.0.0.1\n", "line 2: unknown scheme"),
        ("dlms://127.0.0.1?colour=red\n", "line 1: unknown parameter 'colour'"),
        ("dlms://127.0.0.1?profile=nobody\n", "line 1: no meter profile"),
        ("dlms://127.0.0.1?profile=eastron-sdm630\n", "is not for dlms"),
        ("dlms://127.0.0.1 a\ndlms://127.0.0.2 a\n", "line 2: there is a meter 'a' before it"),
        ('[{"name": "a"}]', "meter 1: expected an object with url"),
        ("[1]", "meter 1: expected an object with url"),
        ("[", "no JSON"),
        ("dlms://127.0.0.1?auth=lls&secret=env:NOT_THERE_AT_ALL", "NOT_THERE_AT_ALL is not set"),
    ],
)
def test_a_list_that_is_wrong_enters_nobody(headend: Headend, tmp_path: Path, text: str, words: str) -> None:
    data = str(tmp_path / "data")
    said = headend("meters", "import", "-", "--data", data, stdin=text)
    assert said.code != 0
    assert words in said.err
    assert rows(data) == {} if (tmp_path / "data" / "headend.db").exists() else True


def test_a_list_that_is_not_there(headend: Headend, tmp_path: Path) -> None:
    said = headend("meters", "import", str(tmp_path / "none"), "--data", str(tmp_path))
    assert said.code == 2
    assert "cannot read the list" in said.err

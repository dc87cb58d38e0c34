"""`headend profile draft|diff|test|promote|export|import`, `record`, and what was recorded emulated, on virtual meters."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from headend.drivers.library import Library, load_profile
from headend.model.device import Finding, Papers
from headend.model.discovery import Examination, Sighting
from headend.model.fingerprint import Classification, Fingerprint
from headend.model.meter import Endpoint, EndpointKind
from headend.model.profile import ProfileState
from headend.runtime.database import open_store
from headend.runtime.settings import settings_of

from .conftest import COMMAND, Headend


@pytest.fixture
def plain(meters: dict[str, str]) -> str:
    """A DLMS meter that shows everything without a password."""
    return meters["wrapper"].split("?")[0] + "?client=16"


def test_a_draft_is_compared_promoted_and_verified_by_a_meter(headend: Headend, plain: str, tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    assert headend("profile", "draft", plain, "-o", str(file)).code == 0
    made = load_profile(file.read_text(), "draft")
    assert made.state is ProfileState.DRAFT
    assert dict(made.association) == {"client": "16"}
    assert headend("profile", "check", str(file)).code == 0
    said = headend("profile", "diff", str(file), "--json")
    assert said.json["base"] == "generic-dlms-3p"
    assert said.code == 0
    said = headend("profile", "test", str(file), plain, "--json")
    assert (said.code, said.json["well"], said.json["answered"]) == (0, True, len(made.objects))
    said = headend("profile", "promote", str(file))
    assert (said.code, said.out) == (0, f"{file} is EMULATED\n")
    assert headend("profile", "promote", str(file)).code == 2
    said = headend("profile", "promote", str(file), plain)
    assert (said.code, "FIELD_VERIFIED by 12 exchanges" in said.out) == (0, True)
    made = load_profile(file.read_text(), "draft")
    assert (made.state, len(made.tests)) == (ProfileState.FIELD_VERIFIED, 12)


def test_what_the_head_end_keeps_is_known_to_all_commands(
    headend: Headend, plain: str, meters: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path / "data"))
    said = headend("profile", "draft", plain, "--keep", "mine")
    assert said.code == 0
    assert "mine" in [row[0] for row in headend("profile", "list").rows]
    assert headend("read", f"{plain}&profile=mine", "voltage_l1").code == 0
    assert headend("profile", "draft", plain, "--keep", "mine").code != 0
    assert headend("profile", "promote", "mine").out == "mine is EMULATED\n"
    said = headend("profile", "export", "mine")
    document = json.loads(said.out)
    assert (document["id"], document["revision"], document["state"]) == ("mine", 2, "EMULATED")
    actions = [row["action"] for row in headend("audit", "list", "--json").json]
    assert actions == ["profile-promoted", "profile-created"]
    assert headend("profile", "test", "mine", meters["tcp"]).code == 2
    assert headend("profile", "test", "eastron-sdm630", meters["tcp"]).code == 0
    assert headend("audit", "verify").code == 0


def test_everything_goes_out_and_comes_in(headend: Headend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path / "data"))
    lines, table = tmp_path / "all.ndjson", tmp_path / "map.csv"
    assert headend("profile", "export", "--all", "-o", str(lines)).code == 0
    assert len(lines.read_text().splitlines()) == len(Library().ids())
    said = headend("profile", "import", str(lines), "--json")
    assert {each["outcome"] for each in said.json} == {"same"}
    document = json.loads(lines.read_text().splitlines()[0])
    changed = {**document, "id": "other"}
    lines.write_text(json.dumps(changed) + "\nnonsense\n")
    said = headend("profile", "import", str(lines), "--json")
    assert (said.code, [each["outcome"] for each in said.json]) == (1, ["created", "refused"])
    assert headend("profile", "export", "eastron-sdm120", "--format", "csv", "-o", str(table)).code == 0
    assert table.read_bytes().startswith(b"ref,obis,quantity,")
    assert b"\r\n" in table.read_bytes()
    assert headend("profile", "import", str(table), "--id", "mapped", "--vendor", "Acme", "--model", "X").code == 0
    assert headend("profile", "show", "mapped", "--json").json["vendor"] == "Acme"
    assert headend("profile", "import", str(table), "--id", "mapped").code != 0
    bad = tmp_path / "bad.toml"
    bad.write_text("[meter]\nvendor = 5\n")
    said = headend("profile", "import", str(bad))
    assert said.code == 2
    assert "bad:" in said.err
    for wrong in (("export",), ("export", "x", "--all"), ("export", "eastron-sdm120", "--format", "xml")):
        assert headend("profile", *wrong).code == 2


@pytest.mark.parametrize(("which", "query"), [("wrapper", "?client=16"), ("tcp", "?profile=eastron-sdm630")])
def test_a_meter_is_recorded_and_cloned(
    headend: Headend,
    meters: dict[str, str],
    tmp_path: Path,
    which: str,
    query: str,
) -> None:
    file = tmp_path / "clone.toml"
    url = meters[which].split("?")[0] + query
    assert headend("record", url, "-o", str(file)).code == 0
    with subprocess.Popen(
        [*COMMAND, "emulate", str(file), "--count", "3", "--json", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as clones:
        assert clones.stdout is not None
        roster = json.loads(clones.stdout.readline())
        assert len(roster) == 3
        quantity = "active_energy_import_total" if which == "wrapper" else "active_energy_abs_total"
        original = headend("read", url, "--json").json
        wanted = {each["ref"]: each["value"] for each in original}
        for clone in roster[:2]:
            said = headend("profile", "test", str(file), clone["url"].split("?")[0], "--json")
            got = {each["ref"]: each["value"] for each in said.json["objects"]}
            ref = next(each["ref"] for each in original if each["quantity"] == quantity)
            assert got[ref] == pytest.approx(wanted[ref], rel=0.01)
        assert clones.stdin is not None
        clones.stdin.close()
    assert clones.returncode == 0


def test_a_meter_without_a_list_needs_a_profile_to_be_recorded(
    headend: Headend, meters: dict[str, str], tmp_path: Path
) -> None:
    said = headend("record", meters["tcp"].split("?")[0], "-o", str(tmp_path / "x.toml"))
    assert said.code != 0
    assert "profile" in said.err


MODBUS = "?profile=eastron-sdm630"


@pytest.mark.parametrize(
    ("which", "query", "profile"),
    [
        ("wrapper", "?client=16", ""),
        ("hdlc", "?client=16", ""),
        ("tcp", MODBUS, MODBUS[9:]),
        ("rtu", MODBUS, MODBUS[9:]),
    ],
)
def test_a_capture_becomes_a_meter_file(
    headend: Headend, meters: dict[str, str], tmp_path: Path, which: str, query: str, profile: str
) -> None:
    capture, file = tmp_path / "read.pcapng", tmp_path / "clone.toml"
    said = headend("read", meters[which].split("?")[0] + query, "--capture", str(capture), "--json")
    assert said.code == 0
    held = {each["ref"]: each["value"] for each in said.json if "value" in each}
    options = ("--profile", profile) if profile else ()
    assert headend("record", str(capture), "-o", str(file), *options).code == 0
    made = load_profile(file.read_text(), "clone")
    fixed = {str(entry.ref): entry.emulate["value"] for entry in made.objects if "value" in entry.emulate}
    amounts = {ref: value for ref, value in fixed.items() if not isinstance(value, str)}
    assert len(amounts) > 20
    assert amounts == pytest.approx({ref: held[ref] for ref in amounts})
    assert "{number" in file.read_text()


def test_a_capture_that_tells_nothing(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    capture, made = tmp_path / "read.pcapng", str(tmp_path / "x.toml")
    url = meters["tcp"].split("?")[0] + MODBUS
    assert headend("read", url, "voltage_l1", "--capture", str(capture)).code == 0
    assert headend("record", str(capture), "-o", made).code != 0
    said = headend("record", str(capture), "-o", made, "--profile", "generic-dlt645-1p")
    assert said.code == 2
    assert "no value" in said.err
    capture.write_bytes(b"no capture")
    assert headend("record", str(capture), "-o", made).code == 2


def test_the_draft_of_a_device_that_discovery_has_found(
    headend: Headend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path / "data"))
    text = (
        '[meter]\nvendor = "V"\nmodel = "M"\nprotocol = "dlms"\nsource = "S"\n\n[[object]]\nref = "3/1-0:1.8.0.255/2"\n'
    )
    place = Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=4059)

    def finding(host: str, draft: str) -> Finding:
        papers = Papers(
            sighting=Sighting(protocol="dlms", framing="wrapper"),
            examination=Examination(endpoint=replace(place, host=host), protocol="dlms", framing="wrapper"),
            fingerprint=Fingerprint(digest=f"f1-{host}", facts={}),
            classification=Classification(),
            draft=draft,
        )
        return Finding(papers=papers, at=1_763_726_400_000)

    with open_store(settings_of(None, None)) as store:
        drafted, empty = (
            noted.device.id for noted in store.devices.record([finding("192.0.2.1", text), finding("192.0.2.2", "")])
        )
    assert headend("profile", "draft", drafted).out == text
    assert headend("profile", "draft", drafted, "--keep", "found").code == 0
    assert headend("profile", "show", "found", "--json").json["vendor"] == "V"
    said = headend("profile", "draft", empty)
    assert said.code == 2
    assert "no draft" in said.err
    assert headend("profile", "draft", "nobody").code == 2

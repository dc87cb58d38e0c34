"""`scan`, `identify`, `devices` and `adopt` against virtual meters over every framing."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.model.url import parse_url

from .conftest import Headend

QUICK = ("--timeout", "0.5")


def where(url: str) -> str:
    endpoint = parse_url(url).endpoint
    return f"{endpoint.host}:{endpoint.port}"


def test_a_scan_finds_meters_and_adopts_them(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    hosts = {name: parse_url(url).endpoint for name, url in meters.items()}
    ports = ",".join(str(endpoint.port) for endpoint in hosts.values())
    targets = sorted({endpoint.host for endpoint in hosts.values()})
    data = ("--data", str(tmp_path / "data"))
    said = headend("scan", *targets, "--ports", ports, "--reason", "a test", *QUICK, *data, "--json")
    assert said.code == 0, said.err
    assert said.json["state"] == "finished"
    found = {device["url"].partition("?")[0]: device for device in said.json["devices"]}
    assert {f"{e.host}:{e.port}" for e in hosts.values()} == {f"{d['host']}:{d['port']}" for d in found.values()}
    assert {device["protocol"] for device in found.values()} == {"dlms", "modbus"}
    listed = headend("devices", "--state", "new", *data, "--json").json
    assert len(listed) == len(found)
    done = headend("adopt", "--name", "{host} {port}", "--tag", "found", *data, "--json")
    assert done.code == 0, done.out
    assert all(each["new"] and each["meter_id"] for each in done.json)
    again = headend("adopt", listed[0]["id"], *data)
    assert again.rows[0][2] == "known"
    assert headend("devices", "--state", "new", *data).rows == []
    assert [row["action"] for row in headend("audit", "list", *data, "--json").json if row["action"][0] in "sd"][::-1][
        :2
    ] == ["scan-started", "devices-adopted"]


def test_a_scan_without_a_folder_keeps_nothing(headend: Headend, meters: dict[str, str]) -> None:
    endpoint = parse_url(meters["wrapper"]).endpoint
    said = headend("scan", endpoint.host, "--ports", str(endpoint.port), *QUICK)
    assert (said.code, len(said.rows)) == (0, 1)
    assert headend("devices").rows == []
    said = headend("scan", endpoint.host, "--ports", str(endpoint.port), "--no-examine")
    assert said.rows == [[where(meters["wrapper"]), ""]]


@pytest.mark.parametrize("framing", ["wrapper", "hdlc", "tcp", "rtu"])
def test_one_place_is_identified_whatever_it_speaks(headend: Headend, meters: dict[str, str], framing: str) -> None:
    found, *_ = headend("identify", where(meters[framing]), *QUICK, "--json").json
    assert found["fingerprint"]["digest"].startswith("f1-")
    assert found["associations"]["evidence"]
    rows = dict(row for row in headend("identify", where(meters[framing]), *QUICK).rows if len(row) == 2)
    assert rows["protocol"] == parse_url(meters[framing]).protocol


def test_targets_in_a_file(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    endpoint = parse_url(meters["tcp"]).endpoint
    file = tmp_path / "targets.txt"
    file.write_text(f"# the hall\n{endpoint.host} # one meter\n")
    assert len(headend("scan", f"@{file}", "--ports", str(endpoint.port), *QUICK).rows) == 1
    assert headend("scan", f"@{file}x").code == 2


def test_what_may_not_be_scanned_is_refused(headend: Headend) -> None:
    said = headend("scan", "192.0.2.0/24")
    assert said.code == 1
    assert "outside the networks that may be scanned" in said.err
    assert headend("scan", "127.0.0.0/33").code == 2
    assert headend("devices", "--state", "odd").code == 2


def test_nobody_is_an_error(headend: Headend) -> None:
    said = headend("identify", "127.0.0.1:1", "--json")
    assert said.code == 3
    assert said.json["nothing"].startswith("connect-refused")

"""`read`, `history`, `objects`, `identify` against virtual meters over every framing."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, PASSWORD, Headend

ENERGY = "3/1-0:1.8.0.255/2"
VARIABLE = "METER_PASSWORD"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)


def bare(url: str) -> str:
    """The URL without the name of a profile: the meter has to say itself what it has."""
    return re.sub(r"[?&]profile=[^&]*", "", url)


def with_password(url: str) -> str:
    return f"{url}&secret=env:{VARIABLE}"


@pytest.fixture
def urls(meters: dict[str, str]) -> dict[str, str]:
    return meters | {"lls": with_password(meters["lls"])}


@pytest.mark.parametrize("framing", ["wrapper", "hdlc", "lls", "tcp", "rtu"])
def test_read_by_profile_gives_every_object(headend: Headend, urls: dict[str, str], framing: str) -> None:
    said = headend("read", urls[framing], "--json")
    assert said.code == 0
    assert said.err == ""
    assert all(set(row) == {"ref", "quantity", "name", "value", "unit"} for row in said.json)
    by_quantity = {row["quantity"]: row for row in said.json if row["quantity"]}
    assert 200 < by_quantity["voltage_l1"]["value"] < 260
    assert by_quantity["voltage_l1"]["unit"] == "V"
    profile = re.search(r"profile=([^&]+)", urls[framing])
    assert profile is not None
    assert len(said.json) == len(headend("profile", "show", profile.group(1), "--json").json["objects"])


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
def test_read_without_a_profile_asks_the_meter_what_it_has(
    headend: Headend, urls: dict[str, str], framing: str
) -> None:
    said = headend("read", bare(urls[framing]))
    assert said.code == 0
    rows = {row[0]: row[1:] for row in said.rows}
    assert rows[ENERGY][0] == "active_energy_import_total"
    assert rows[ENERGY][2] == "Wh"
    datetime.fromisoformat(rows["8/0-0:1.0.0.255/2"][1])
    # The object list itself is long, and was not asked for.
    assert max(map(len, said.out.splitlines())) < 250
    assert re.search(r"15/0-0:40\.0\.0\.255/2\t.*\t\(\d+ elements: name the object to see them\)", said.out)
    assert len(headend("read", bare(urls[framing]), "15/0-0:40.0.0.255/2").out) > 1000


@pytest.mark.parametrize("framing", ["wrapper", "hdlc", "lls"])
@pytest.mark.parametrize("ref", [ENERGY, f"dlms:{ENERGY}", "1-0:1.8.0.255"])
def test_an_object_is_named_in_full_or_by_its_code(
    headend: Headend, urls: dict[str, str], framing: str, ref: str
) -> None:
    (row,) = headend("read", bare(urls[framing]).replace("?&", "?"), ref, "--json").json
    assert row["ref"] == f"dlms:{ENERGY}"
    assert row["unit"] == "Wh"
    assert row["value"] > 0


def test_modbus_registers_by_their_address(headend: Headend, urls: dict[str, str]) -> None:
    for framing in ("tcp", "rtu"):
        (row,) = headend("read", bare(urls[framing]), "input/0x0000/f32", "--json").json
        assert 200 < row["value"] < 260


def test_an_object_that_is_not_there(headend: Headend, urls: dict[str, str]) -> None:
    said = headend("read", bare(urls["wrapper"]), "1-0:99.99.99.255")
    assert said.code == 2
    assert "no object '1-0:99.99.99.255'" in said.err
    assert "try: headend objects" in said.err
    said = headend("read", bare(urls["wrapper"]), "3/1-0:77.7.7.255/2")
    assert said.code == 5
    assert said.rows[0][2].startswith("! ")
    said = headend("read", bare(urls["wrapper"]), "3/1-0:77.7.7.255/2", ENERGY, "--json")
    assert said.code == 0
    assert [row.get("error") for row in said.json] == ["object-undefined", None]


@pytest.mark.parametrize("framing", ["wrapper", "hdlc", "lls"])
def test_identify_and_objects(headend: Headend, urls: dict[str, str], framing: str) -> None:
    found = headend("identify", urls[framing], "--json").json
    assert found["manufacturer"] == "HED"
    assert ["manufacturer", "HED"] in headend("identify", urls[framing]).rows
    listed = headend("objects", urls[framing], "--json").json
    energy = next(row for row in listed if row["ref"] == f"dlms:{ENERGY}")
    assert (energy["class_id"], energy["quantity"]) == (3, "active_energy_import_total")
    assert len(listed) == len(headend("objects", urls[framing]).rows)


def test_modbus_has_the_objects_of_its_profile_and_says_what_it_cannot(headend: Headend, urls: dict[str, str]) -> None:
    assert "input/0x0000/f32" in headend("objects", urls["tcp"]).out
    said = headend("history", urls["tcp"], "input/0x0000/f32")
    assert said.code == 1
    assert "load profile" in said.err


def test_history_by_entry_and_by_time(headend: Headend, urls: dict[str, str]) -> None:
    load_profile = "1-0:99.1.0.255"
    rows = headend("history", urls["wrapper"], load_profile, "--last", "3", "--json").json
    assert len(rows) == 3
    first, _, third = (datetime.fromisoformat(row["time"]) for row in rows)
    assert (third - first).total_seconds() == 1800
    window = ("--from", rows[0]["time"], "--to", rows[2]["time"])
    text = headend("history", urls["wrapper"], load_profile, *window)
    assert [row[0] for row in text.rows] == ["time", rows[0]["time"], rows[1]["time"]]
    assert "active_energy_import_total [Wh]" in text.rows[0]
    assert text.err == ""
    assert headend("history", urls["wrapper"], load_profile, "--from", "soon").code == 2
    said = headend("history", urls["wrapper"], load_profile, "--from", "2026-01-01", "--last", "2")
    assert said.code == 2
    assert "not by both" in said.err


def test_no_output_shows_a_secret(headend: Headend, meters: dict[str, str]) -> None:
    for place in (f"text:{PASSWORD}", f"hex:{PASSWORD.encode().hex()}", f"env:{VARIABLE}"):
        said = headend("read", f"{meters['lls']}&secret={place}", ENERGY, "--hex")
        assert said.code == 0
        assert PASSWORD not in said.out + said.err
        assert PASSWORD.encode().hex(" ") not in said.err
        assert " ".join(["**"] * len(PASSWORD)) in said.err
        assert re.search(r"^>> 00 01 00 01 00 01", said.err, re.MULTILINE)
    wrong = f"text:{PASSWORD[::-1]}"
    said = headend("read", f"{meters['lls']}&secret={wrong}", ENERGY, "--hex")
    assert said.code == 6
    assert PASSWORD[::-1] not in said.out + said.err
    assert "try: check the password" in said.err
    said = headend("read", f"{meters['lls']}&secret={PASSWORD}", ENERGY)
    assert said.code == 2
    assert PASSWORD not in said.out + said.err


def test_a_capture_is_decoded_and_shows_no_secret(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "meter.pcapng"
    said = headend("read", f"{meters['lls']}&secret=text:{PASSWORD}", ENERGY, "--capture", str(path))
    assert said.code == 0
    assert PASSWORD.encode() not in path.read_bytes()
    shown = headend("decode", f"@{path}")
    assert shown.code == 0
    assert "AARE" in shown.out
    assert "Active energy, import" in shown.out
    nowhere = headend("read", meters["lls"], ENERGY, "--capture", str(tmp_path / "none" / "meter.pcapng"))
    assert nowhere.code == 7


def test_a_password_that_is_missing(headend: Headend, meters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    said = headend("read", with_password(meters["lls"]), ENERGY)
    assert said.code == 6
    assert "METER_PASSWORD is not set" in said.err
    assert headend("read", meters["lls"], ENERGY).code == 6
    assert headend("read", f"{meters['lls']}&secret=file:/nonexistent", ENERGY).code == 6


@pytest.mark.parametrize(
    ("url", "code", "words", "hint"),
    [
        ("meter7", 2, "meter URL", "dlms://"),
        ("foo://1.2.3.4", 2, "unknown scheme 'foo'", "dlms://"),
        ("dlms://", 2, "names no host", ""),
        ("dlms://127.0.0.1:1", 3, "nobody listens at 127.0.0.1:1", "check the port"),
        ("modbus+rtu://127.0.0.1:1/3", 3, "nobody listens", "check the port"),
        ("dlms://127.0.0.1:99999", 2, "Port out of range", ""),
        ("dlms://127.0.0.1:1?client=x", 2, "client", ""),
        ("dlms://127.0.0.1:1?color=red", 2, "unknown parameter 'color'", "client"),
        ("modbus://127.0.0.1:1/1?profile=eastron-sdm6300", 2, "no meter profile", "did you mean eastron-sdm630?"),
        ("inbound://abc", 2, "inbound", "headend serve"),
        ("dlms+serial:///dev/tty-nonesuch", 3, "no serial port /dev/tty-nonesuch", "plugged in"),
    ],
)
def test_a_url_that_cannot_be(headend: Headend, url: str, code: int, words: str, hint: str) -> None:
    said = headend("read", url, "--timeout", "2")
    assert said.code == code
    assert said.out == ""
    first, *more = said.err.splitlines()
    assert first.startswith("headend: ")
    assert words in first
    assert hint in " ".join(more)


def run_on_terminal(command: list[str], stream: str) -> str:
    """What a command writes when standard output, or error, is a terminal."""
    ours, theirs = pty.openpty()
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    with subprocess.Popen(command, **options, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}) as child:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            said += piece
    os.close(ours)
    assert child.returncode == 0, said
    return said.decode()


def test_people_get_tables_and_progress_programs_get_tabs(urls: dict[str, str]) -> None:
    history = [*COMMAND, "history", urls["wrapper"], "1-0:99.1.0.255", "--last", "300"]
    assert "rows" in run_on_terminal(history, "stderr")
    table = run_on_terminal([*COMMAND, "read", urls["tcp"], "input/0x0000/f32"], "stdout")
    assert "object" in table
    assert "quantity" in table
    assert "\t" not in table


def test_watch_reads_again_until_it_is_stopped(urls: dict[str, str]) -> None:
    command = [*COMMAND, "read", urls["tcp"], "input/0x0000/f32", "--watch", "0.05", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert '"voltage_l1"' in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    assert child.returncode == 130
    assert err == ""


def test_the_emulator_says_where_its_meters_are(tmp_path: Path, headend: Headend) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[[group]]\nprofile = "generic-dlms-1p"\ncount = 30\nfirst_address = "127.9.0.1"\n')
    for what, shown in (([str(fleet)], 21), (["eastron-sdm120", "--framing", "rtu"], 1)):
        command = [sys.executable, "-m", "headend.cli.main", "emulate", *what]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(shown)]
            assert headend("read", lines[0].strip()).code == 0
            child.terminate()
            _, err = child.communicate(timeout=10)
        assert child.returncode == 0
        assert "Ctrl-C ends it" in err
    fleet.write_text('[[group]]\nprofile = "nonesuch"\n')
    said = headend("emulate", str(fleet))
    assert said.code == 2
    assert "fleet.toml:2" in said.err
    assert headend("emulate", "no-such-file.toml").code == 2
    assert headend("emulate", "generic-dlms-1p", "--framing", "carrier-pigeon").code == 2

"""`doctor`, `profile`, settings that are wrong, and starting."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headend.cli.main import EXIT_CODES, app, exit_code
from headend.drivers.library import Library
from headend.errors import CapabilityError, ConnectRefused, DecodeError, KeyMissing, NotFound
from tests.ports import free_port

from .conftest import Headend

SETTINGS = """data = "{data}"

[web]
port = {web}

[mqtt]
embedded_port = {mqtt}
"""


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two ports that are free, as far as one can know."""
    return free_port(), free_port()


@pytest.fixture
def config(tmp_path: Path, ports: tuple[int, int]) -> Path:
    path = tmp_path / "headend.toml"
    path.write_text(SETTINGS.format(data=tmp_path / "data", web=ports[0], mqtt=ports[1]))
    return path


def problems(said: Any) -> dict[str, str]:
    return {row["check"]: row["problem"] for row in said.json if row["problem"]}


# doctor


def test_a_healthy_head_end(headend: Headend, config: Path) -> None:
    said = headend("doctor", "--config", str(config), "--json")
    assert (said.code, problems(said)) == (0, {})
    checks = {row["check"]: row["said"] for row in said.json}
    assert {"python", "disk", "clock", "settings", "database", "profiles", "access", "web", "mqtt"} <= set(checks)
    assert f"{len(Library().ids())} meter files" in checks["profiles"]
    text = headend("doctor", "--config", str(config))
    assert text.out.count("ok  ") == len(checks)
    assert stat.S_IMODE((config.parent / "data" / "vault.key").stat().st_mode) == 0o600


def test_nobody_can_sign_in_from_elsewhere(headend: Headend, config: Path) -> None:
    config.write_text(config.read_text().replace("[web]", '[web]\nhost = "0.0.0.0"'))
    said = headend("doctor", "--config", str(config), "--json")
    assert said.code == 2
    assert "headend user add NAME --role admin" in problems(said)["access"]
    headend("user", "add", "alice", "--config", str(config), stdin="long enough words")
    assert headend("doctor", "--config", str(config)).code == 0


def test_a_broker_that_everybody_could_use(headend: Headend, config: Path) -> None:
    config.write_text(config.read_text().replace("[mqtt]", '[mqtt]\nembedded_host = "0.0.0.0"'))
    said = headend("doctor", "--config", str(config), "--json")
    assert "would take anybody" in problems(said)["broker"]
    assert "mqtt.embedded_users" in problems(said)["broker"]


def test_a_broker_that_is_away_and_half_a_tls_pair(headend: Headend, config: Path, ports: tuple[int, int]) -> None:
    text = config.read_text().replace("[mqtt]", f'[mqtt]\nbroker = "mqtt://127.0.0.1:{ports[1]}"')
    config.write_text(text.replace("[web]", '[web]\ntls_key = "key.pem"'))
    found = problems(headend("doctor", "--config", str(config), "--json"))
    assert "no broker at 127.0.0.1" in found["mqtt"]
    assert "belong together" in found["web"]


def test_a_damaged_database_and_a_port_in_use(headend: Headend, config: Path, ports: tuple[int, int]) -> None:
    assert headend("doctor", "--config", str(config)).code == 0
    (config.parent / "data" / "headend.db").write_bytes(b"this was a database once" * 1000)
    with socket.create_server(("127.0.0.1", ports[0])):
        said = headend("doctor", "--config", str(config), "--json")
    assert "not a database" in problems(said)["database"]
    assert "in use" in next(row["said"] for row in said.json if row["check"] == "web")


def test_a_server_is_looked_at_like_a_file(headend: Headend, config: Path, postgres: Any) -> None:
    name = postgres.make()
    text = config.read_text()
    config.write_text(f'{text}\n[storage]\nurl = "{postgres.url(name)}"\n')
    said = headend("doctor", "--config", str(config), "--json")
    assert (said.code, problems(said)) == (0, {})
    assert next(row["said"] for row in said.json if row["check"] == "database") == f"{postgres.url(name)}, 0 meters"
    config.write_text(f'{text}\n[storage]\nurl = "{postgres.url(name)}"\npassword = "env:NOWHERE"\n')
    assert "NOWHERE is not set" in problems(headend("doctor", "--config", str(config), "--json"))["database"]
    config.write_text(f'{text}\n[storage]\nurl = "{postgres.url("missing")}"\n')
    assert (
        'database "missing" does not exist'
        in problems(headend("doctor", "--config", str(config), "--json"))["database"]
    )
    postgres.drop(name)


# settings


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("port = ", "port = -", "headend.toml:4: web.port"),
        ("[web]", "[web]\nprot = 1", "headend.toml:4: web.prot"),
        ("[mqtt]", "[mqqt]", "mqqt"),
        ("[mqtt]", '[log]\nlevel = "loud"\n[mqtt]', "headend.toml:7: log.level"),
        ("[web]", "[web", "headend.toml"),
    ],
)
def test_a_wrong_setting_names_its_line_and_field(
    headend: Headend, config: Path, old: str, new: str, words: str
) -> None:
    config.write_text(config.read_text().replace(old, new, 1))
    for command in (["serve"], ["user", "list"]):
        said = headend(*command, "--config", str(config))
        assert said.code == 2
        assert words in said.err
    assert words in headend("doctor", "--config", str(config)).out


def test_a_wrong_variable_is_named(headend: Headend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_WEB__PORT", "many")
    said = headend("user", "list")
    assert said.code == 2
    assert "HEADEND_WEB__PORT" in said.err


# the meter library


def test_the_library_is_listed_and_shown(headend: Headend) -> None:
    listed = headend("profile", "list", "--json").json
    assert {row["id"] for row in listed} == set(Library().ids())
    assert [row[0] for row in headend("profile", "list").rows] == [row["id"] for row in listed]
    shown = headend("profile", "show", "eastron-sdm630", "--json").json
    assert shown["protocol"] == "modbus"
    assert any(row["quantity"] == "voltage_l1" for row in shown["objects"])
    assert "voltage_l1" in headend("profile", "show", "eastron-sdm630").out
    assert headend("profile", "show", "nonesuch").code == 2
    quantities = headend("profile", "quantities", "--json").json
    assert {"key", "unit", "kind", "obis", "label"} == set(quantities[0])
    assert len(headend("profile", "quantities").rows) == len(quantities)


def test_meter_files_of_ones_own(headend: Headend, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(Library().path("eastron-sdm120").read_text())
    bad.write_text(good.read_text().replace('quantity = "voltage_l1"', 'quantity = "voltage_l9"', 1))
    assert headend("profile", "check", str(good)).code == 0
    said = headend("profile", "check", str(good), str(bad), str(tmp_path / "absent.toml"))
    assert said.code == 2
    assert f"{bad}:" in said.err
    assert "voltage_l9" in said.err
    assert "absent.toml" in said.err
    (row,) = headend("profile", "check", str(bad), "--json").json
    assert "voltage_l9" in row["problem"]
    for profile_id in Library().ids():
        assert headend("profile", "check", str(Library().path(profile_id))).code == 0
    meter = Library().path("generic-dlms-functions").read_text()
    for right, wrong, word in (
        ("control_mode = 6", "control_mode = 9", "control_mode: expected one of"),
        ("number_of_retries = 2", "retries = 2", "no 'retries'"),
        ('type = "uint16"', 'type = "word"', "unknown type 'word'"),
    ):
        bad.write_text(meter.replace(right, wrong, 1))
        (row,) = headend("profile", "check", str(bad), "--json").json
        assert row["problem"].startswith(str(bad))
        assert word in row["problem"]
    bad.unlink()
    listed = headend("profile", "list", "--profiles", str(tmp_path), "--json").json
    assert "good" in {row["id"] for row in listed}


# starting


def test_version_and_help(headend: Headend) -> None:
    assert headend("--version").out.startswith("headend 0.")
    assert headend("--help").code == 0
    commands = app.registered_commands
    for command in commands:
        assert command.callback is not None
        said = headend(command.name or command.callback.__name__, "--help")
        assert said.code == 0
        assert "Usage: headend " in said.out
    for group in app.registered_groups:
        assert headend(str(group.name), "--help").code == 0
    said = headend("raed")
    assert said.code == 2
    assert "Traceback" not in said.err


HEAVY = {"fastapi", "sqlalchemy", "alembic", "amqtt", "aiomqtt", "uvicorn", "uvloop", "cryptography", "argon2"}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--version"], HEAVY | {"asyncio", "pydantic", "rich", "structlog"}),
        (["--help"], HEAVY | {"asyncio", "structlog"}),
        (["profile", "list", "--json"], HEAVY),
        (["decode", "0103"], HEAVY),
        (["emulate", "nonesuch"], HEAVY - {"uvloop"}),
        (["user", "list"], HEAVY - {"sqlalchemy", "alembic", "cryptography", "argon2"}),
    ],
)
def test_a_command_loads_only_what_it_needs(
    process: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, arguments: list[str], unwanted: set[str]
) -> None:
    program = (
        "import sys, atexit, json\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['headend', *{arguments!r}]\n"
        "from headend.cli.main import run\nrun()\n"
    )
    done = process("-c", program, env={**os.environ, "XDG_DATA_HOME": str(tmp_path)})
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & unwanted


def test_exit_codes() -> None:
    assert exit_code(CapabilityError("x")) == 1
    assert exit_code(NotFound("x")) == 2
    assert exit_code(ConnectRefused("x")) == 3
    assert exit_code(DecodeError("x")) == 4
    assert exit_code(KeyMissing("x")) == 6
    assert [code for _, code in EXIT_CODES] == [2, 2, 3, 4, 5, 6, 7]


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "headend.cli.main", "profile", "quantities"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
    assert child.returncode in {0, 1}

"""`command`, `job` and `audit`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from headend.model.access import Role
from headend.model.audit import Action
from headend.storage.store import Store

from .conftest import Headend


def test_a_command_is_carried_out_and_looked_at(headend: Headend, meters: dict[str, str]) -> None:
    url = meters["wrapper"]
    for kind, closed in (("disconnect", False), ("reconnect", True)):
        said = headend("command", url, kind, "--yes", "--json")
        assert (said.code, said.json) == (0, {"verdict": "confirmed", "detail": "", "observed": closed})
        assert headend("read", url, "70/0-0:96.3.10.255/2", "--json").json[0]["value"] is closed
    said = headend("command", url, "write", "ref=3/1-0:1.8.0.255/2", "value=1", "-y")
    assert said.code == 5
    assert said.out.startswith("refused")
    assert headend("command", url, "set-clock").out.startswith("confirmed")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["disconnect"], 2, "--yes"),
        (["explode"], 2, "one of disconnect"),
        (["read", "--yes"], 2, "no command 'read'"),
        (["write", "ref", "--yes"], 2, "NAME=VALUE"),
        (["write", "--yes"], 2, "ref"),
        (["change-secret", "name=secret", "--secret", "env:NO_SUCH", "--yes"], 6, "NO_SUCH"),
    ],
)
def test_commands_that_are_not_sent(
    headend: Headend, meters: dict[str, str], arguments: list[str], code: int, words: str
) -> None:
    said = headend("command", meters["wrapper"], *arguments)
    assert said.code == code
    assert words in said.err


def test_the_audit_trail_is_listed_exported_and_checked(headend: Headend, tmp_path: Path) -> None:
    data = str(tmp_path)
    assert headend("audit", "verify", "--data", data).out == "the audit trail is whole: 0 rows\n"
    assert headend("user", "add", "anna", "--role", "admin", "--data", data, stdin="correct horse battery").code == 0
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        store.audit.append("user:anna", Action.COMMAND_BEGUN, "meter:m1", {"job": "j"})
    assert headend("audit", "verify", "--data", data).out == "the audit trail is whole: 2 rows\n"
    listed = headend("audit", "list", "--data", data, "--subject", "meter:m1", "--json").json
    assert [(row["actor"], row["action"], row["data"]) for row in listed] == [
        ("user:anna", "command-begun", {"job": "j"})
    ]
    first = headend("audit", "list", "--data", data).rows[1]
    assert (first[3], first[4], first[5]) == ("user-changed", "user:anna", "role=admin")
    exported = [json.loads(line) for line in headend("audit", "export", "--data", data).out.splitlines()]
    assert [row["number"] for row in exported] == [1, 2]
    connection = sqlite3.connect(tmp_path / "headend.db")
    connection.executescript("DROP TRIGGER audit_no_update; UPDATE audit SET actor = 'user:eve' WHERE number = 2")
    connection.close()
    said = headend("audit", "verify", "--data", data)
    assert said.code == 1
    assert said.rows[0][0] == "2"


def test_what_people_and_keys_become_is_in_the_trail(headend: Headend, tmp_path: Path) -> None:
    data = str(tmp_path)
    headend("user", "add", "anna", "--data", data, stdin="correct horse battery")
    headend("user", "remove", "anna", "--data", data)
    headend("key", "add", "ops", "--role", Role.DISPATCHER.value, "--data", data)
    headend("key", "revoke", "ops", "--data", data)
    rows = headend("audit", "list", "--data", data, "--json").json
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("key-removed", "key:ops"),
        ("key-created", "key:ops"),
        ("user-removed", "user:anna"),
        ("user-changed", "user:anna"),
    ]
    assert {row["actor"].partition(":")[0] for row in rows} == {"shell"}


def test_jobs_of_a_head_end_that_does_not_run(headend: Headend) -> None:
    said = headend("job", "list", "--server", "http://127.0.0.1:9")
    assert said.code == 3
    assert "no head-end answers" in said.err
    assert headend("job", "cancel", "j1", "--server", "http://127.0.0.1:9").code == 6

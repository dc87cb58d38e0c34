"""`user` and `key`, and what they write into the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.model.access import Role
from headend.storage.store import Store

from .conftest import Headend

WORDS = "correct horse battery"


def test_users_come_change_and_go(headend: Headend, tmp_path: Path) -> None:
    data = str(tmp_path)
    said = headend("user", "add", "alice", "--role", "admin", "--data", data, stdin=WORDS + "\n")
    assert (said.code, said.out) == (0, "alice may sign in as admin\n")
    assert headend("user", "add", "bob", "--data", data, stdin=WORDS).code == 0
    listed = headend("user", "list", "--data", data, "--json")
    assert [(row["name"], row["role"]) for row in listed.json] == [("alice", "admin"), ("bob", "viewer")]
    assert WORDS not in listed.out
    assert headend("user", "list", "--data", data).rows[1][:2] == ["bob", "viewer"]
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        user = store.access.check_password("alice", WORDS)
        assert user is not None
        assert user.role is Role.ADMIN
        assert store.access.check_password("alice", WORDS.upper()) is None
    assert WORDS.encode() not in (tmp_path / "headend.db").read_bytes()
    assert headend("user", "remove", "alice", "--data", data).code == 0
    said = headend("user", "remove", "alice", "--data", data)
    assert said.code == 2
    assert "no user 'alice'" in said.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["carol"], "", "at least 10 characters"),
        (["carol"], "short\n", "at least 10 characters"),
        (["carol", "--role", "king"], WORDS, "one of viewer, operator, dispatcher, admin"),
    ],
)
def test_a_user_that_cannot_be(headend: Headend, tmp_path: Path, arguments: list[str], stdin: str, words: str) -> None:
    said = headend("user", "add", *arguments, "--data", str(tmp_path), stdin=stdin)
    assert said.code == 2
    assert words in said.err
    assert headend("user", "list", "--data", str(tmp_path), "--json").json == []


def test_a_key_is_shown_once(headend: Headend, tmp_path: Path) -> None:
    data = str(tmp_path)
    said = headend("key", "add", "reports", "--role", "operator", "--data", data)
    key = said.out.strip()
    assert said.code == 0
    assert key.startswith("hk_")
    assert "only now" in said.err
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        found = store.access.check_key(key)
        assert found is not None
        assert found.role is Role.OPERATOR
    assert key.encode() not in (tmp_path / "headend.db").read_bytes()
    listed = headend("key", "list", "--data", data, "--json")
    assert [(row["name"], row["role"]) for row in listed.json] == [("reports", "operator")]
    assert key not in listed.out + headend("key", "list", "--data", data).out
    assert headend("key", "add", "reports", "--data", data).code == 1
    assert headend("key", "revoke", "reports", "--data", data).code == 0
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        assert store.access.check_key(key) is None
    assert headend("key", "revoke", "reports", "--data", data).code == 2

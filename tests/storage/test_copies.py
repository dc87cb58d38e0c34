"""Backups: taken while somebody writes, restored into either kind of database, and never over something by accident."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from headend.errors import ConfigError, HeadendError, StorageError
from headend.model.audit import Action
from headend.runtime.copies import backup, move, restore
from headend.runtime.database import open_store, sole_owner
from headend.runtime.settings import Settings, StorageSettings
from headend.storage import files
from headend.storage.store import Store

from .filled import answers, fill
from .test_moving import silent
from .test_store import write


def settings(folder: Path, url: str = "") -> Settings:
    """Of a head-end in a folder, with the key of all of them."""
    return Settings(data=str(folder), storage=StorageSettings(url=url, vault_key=str(folder.parent / "vault.key")))


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The URL of the database that is backed up."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def test_a_backup_of_either_is_restored_into_either(kind: str, tmp_path: Path, postgres_url: str) -> None:
    here, there, file = settings(tmp_path / "here", kind), settings(tmp_path / "there"), tmp_path / "backup.db"
    with open_store(here) as store:
        fill(store)
        expected = answers(store)
        backup(here, file, silent)  # the store is open, as a head-end has it
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        store.events.purge(10**15)
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.db"]
    restore(there, file, silent, force=False)
    with open_store(there) as store:
        assert answers(store) == expected
    server = settings(tmp_path / "server", postgres_url)
    restore(server, file, silent, force=bool(kind))
    with open_store(server) as store:
        assert answers(store) == expected
    restore(server, file, silent, force=True)
    with open_store(server) as store:
        assert answers(store) == expected


def test_nothing_is_overwritten_by_accident(tmp_path: Path) -> None:
    here, file = settings(tmp_path / "here"), tmp_path / "backup.db"
    with pytest.raises(ConfigError, match="no database"):
        backup(here, file, silent)
    with open_store(here) as store:
        write(store, 0)
    backup(here, file, silent)
    with pytest.raises(ConfigError, match="exists"):
        backup(here, file, silent)
    with open_store(here) as store:
        write(store, 1000)
    with pytest.raises(ConfigError, match="exists"):
        restore(here, file, silent, force=False)
    with sole_owner(tmp_path / "here"), pytest.raises(ConfigError, match="another head-end"):
        restore(here, file, silent, force=True)
    with open_store(here) as store:
        assert store.readings.count() == 200
    restore(here, file, silent, force=True)
    with open_store(here) as store:
        assert store.readings.count() == 100
        assert store.damage() == ""


def test_the_trail_tells_of_what_a_restored_backup_does_not_know(tmp_path: Path) -> None:
    here, file = settings(tmp_path / "here"), tmp_path / "backup.db"
    with open_store(here) as store:
        fill(store)
    backup(here, file, silent)
    with open_store(here) as store:
        store.audit.append("user:bob", Action.USER_CHANGED, "user:eve")
    restore(here, file, silent, force=True)
    with open_store(here) as store:
        (flaw,) = store.audit.verify()
        assert "rows are missing at the end" in flaw.text


@pytest.mark.parametrize("wrong", ["damaged", "no database", "newer", "another key", "missing"])
def test_what_is_no_good_backup_changes_nothing(wrong: str, tmp_path: Path) -> None:
    here, file = settings(tmp_path / "here"), tmp_path / "backup.db"
    with open_store(here) as store:
        write(store, 0, 5000)
    backup(here, file, silent)
    octets = file.read_bytes()
    if wrong == "damaged":
        file.write_bytes(octets[:8192] + bytes(16384) + octets[24576:])
    elif wrong == "no database":
        file.write_text("table,rows\n" * 1000)
    elif wrong == "newer":
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
    elif wrong == "another key":
        (tmp_path / "vault.key").write_text("ab" * 32)
    else:
        file.unlink()
    before = (tmp_path / "here" / "headend.db").read_bytes()
    with pytest.raises(HeadendError) as caught:
        restore(here, file, silent, force=True)
    assert isinstance(caught.value, ConfigError | StorageError)
    assert caught.value.hint
    assert (tmp_path / "here" / "headend.db").read_bytes() == before
    assert [path.name for path in (tmp_path / "here").glob("*.part*")] == []


def test_a_copy_is_a_snapshot_although_somebody_writes_all_the_time(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAGES", 3)
    write(sqlite_store, 0, 5000)
    steps = 0

    def told(_pages: int) -> None:
        nonlocal steps
        steps += 1
        write(sqlite_store, 10_000 * steps)

    files.copy_file(Path(sqlite_store.name), tmp_path / "copy.db", told)
    assert steps > 5
    with Store.open(tmp_path / "copy.db", vault_key=None) as copy:
        assert copy.readings.count() == 5000
        assert copy.damage() == ""
    assert sqlite_store.readings.count() == 5000 + 100 * steps


def test_a_head_end_moves_to_postgresql_and_back(tmp_path: Path, postgres_url: str) -> None:
    here = settings(tmp_path / "here")
    with pytest.raises(ConfigError, match="no database"):
        move(here, postgres_url, "", silent)
    with open_store(here) as store:
        fill(store)
        expected = answers(store)
    with sole_owner(tmp_path / "here"), pytest.raises(ConfigError, match="another head-end"):
        move(here, postgres_url, "", silent)
    assert move(here, postgres_url, "", silent)["audit"] == 3
    there = settings(tmp_path / "here", postgres_url)
    with open_store(there) as store:
        assert answers(store) == expected
    with pytest.raises(ConfigError, match="is not empty"):
        move(here, postgres_url, "", silent)
    back = f"sqlite:///{tmp_path}/back.db"
    move(there, back, "", silent)
    with open_store(settings(tmp_path / "here", back)) as store:
        assert answers(store) == expected

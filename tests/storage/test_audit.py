"""The audit trail notices whatever is done to it behind its back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from headend.errors import Conflict, StorageError
from headend.model.audit import Action, AuditEntry
from headend.model.job import JobState
from headend.storage.schema import audit
from headend.storage.store import Store

from .conftest import KEY, again
from .test_events_jobs import job


def fill(store: Store, rows: int = 6) -> None:
    for number in range(rows):
        store.audit.append(f"user:{number}", Action.COMMAND_BEGUN, "meter:m1", {"job": f"j{number}", "value": 0.5})


def test_rows_are_chained_as_the_reference_says(store: Store) -> None:
    fill(store, 3)
    before = bytes(32)
    for row in store.audit.rows():
        content = [row.number, row.at, row.actor, row.action, row.subject, _canonical(row.data)]
        before = hashlib.sha256(before + _canonical(content).encode()).digest()
        assert row.digest == before
    number, digest = store.audit.tail_file.read_text().split()
    assert (int(number), digest) == (3, before.hex())
    assert store.audit.tail_file.stat().st_mode & 0o777 == 0o600
    assert store.audit.verify() == []


def _canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def test_rows_are_listed_newest_first(store: Store) -> None:
    fill(store, 3)
    store.audit.append("user:0", Action.USER_CHANGED, "user:x")
    assert [row.number for row in store.audit.list()] == [4, 3, 2, 1]
    assert [row.number for row in store.audit.list(actor="user:0")] == [4, 1]
    assert [row.number for row in store.audit.list(subject="meter:m1", before=3, limit=1)] == [2]
    assert [row.subject for row in store.audit.list(action="user-changed")] == ["user:x"]


def test_the_table_itself_refuses_changes(store: Store) -> None:
    fill(store)
    for change in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with pytest.raises(StorageError, match="appended"), store._database.write() as connection:
            connection.exec_driver_sql(change)


def tamper(store: Store, *changes: str) -> None:
    with store._database.write() as connection:
        if connection.dialect.name == "postgresql":
            triggers = ["audit_no_change ON audit"]
        else:
            triggers = ["audit_no_update", "audit_no_delete"]
        for statement in (*(f"DROP TRIGGER {trigger}" for trigger in triggers), *changes):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["UPDATE audit SET actor = 'user:9' WHERE number = 3"], [3]),
        (["UPDATE audit SET data = replace(data, '0.5', '0.6') WHERE number = 1"], [1]),
        (["UPDATE audit SET at = at + 1 WHERE number = 6"], [6]),
        (["UPDATE audit SET digest = (SELECT digest FROM audit WHERE number = 5) WHERE number = 2"], [2, 3]),
        (["DELETE FROM audit WHERE number = 4"], [4]),
        (["DELETE FROM audit WHERE number = 1"], [1]),
        (["DELETE FROM audit WHERE number > 4"], [5]),
        (["DELETE FROM audit"], [1]),
        (["DELETE FROM audit WHERE number = 4", "UPDATE audit SET number = number - 1 WHERE number > 4"], [4, 5, 6]),
        (
            [
                "UPDATE audit SET number = 99 WHERE number = 2",
                "UPDATE audit SET number = 2 WHERE number = 3",
                "UPDATE audit SET number = 3 WHERE number = 99",
            ],
            [2, 3, 4],
        ),
    ],
    ids=["actor", "data", "time", "digest", "removed", "first", "tail", "all", "closed-up", "reordered"],
)
def test_tampering_is_found(store: Store, changes: list[str], found: list[int]) -> None:
    fill(store)
    assert store.audit.verify() == []
    tamper(store, *changes)
    assert [flaw.number for flaw in store.audit.verify()] == found


def test_a_chain_that_is_made_anew_is_found_by_its_end(store: Store, tmp_path: Path) -> None:
    fill(store)
    with Store.open(tmp_path / "other.db", vault_key=KEY) as other:
        fill(other, 5)
        other.audit.append("user:5", Action.COMMAND_BEGUN, "meter:m2", {"job": "j5", "value": 0.5})
        with other._database.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(sa.select(audit))]
    tamper(store, "DELETE FROM audit")
    with store._database.write() as connection:
        connection.execute(audit.insert(), rows)
    assert [flaw.number for flaw in store.audit.verify()] == [6]


@pytest.mark.parametrize("hide", [lambda _file: None, Path.unlink], ids=["kept", "file-removed"])
def test_a_tail_that_was_cut_off_is_not_forgotten_when_the_trail_goes_on(
    store: Store, hide: Callable[[Path], None]
) -> None:
    fill(store)
    tamper(store, "DELETE FROM audit WHERE number > 4")
    store.close()
    hide(store.audit.tail_file)
    with again(store) as other:
        assert len(other.audit.verify()) == 1
        other.audit.append("user:9", Action.KEY_CREATED, "key:x")
        (flaw,) = other.audit.verify()
        assert flaw.number == 5
        assert [row.action for row in other.audit.list(limit=2)] == ["key-created", "tail-missing"]


def test_the_file_may_lag_behind(store: Store) -> None:
    fill(store, 3)
    noted = store.audit.tail_file.read_text()
    fill(store, 2)
    store.audit.tail_file.write_text(noted)
    assert store.audit.verify() == []
    store.audit.tail_file.write_text("nonsense")
    with pytest.raises(StorageError, match="audit"):
        store.audit.verify()


def test_a_job_and_its_row_come_together_or_not_at_all(store: Store) -> None:
    entry = AuditEntry(actor="ada", action=Action.COMMAND_SUBMITTED, subject="meter:m1")
    store.jobs.put(job(1), entry)
    with pytest.raises(Conflict):
        store.jobs.put(job(1), entry)
    store.jobs.move("j1", JobState.QUEUED, JobState.RUNNING, entry=entry)
    with pytest.raises(Conflict):
        store.jobs.move("j1", JobState.QUEUED, JobState.RUNNING, entry=entry)
    assert len(store.audit.list()) == 2
    assert store.audit.verify() == []


def test_rows_of_many_threads_are_one_chain(store: Store) -> None:
    threads = [threading.Thread(target=fill, args=(store, 10)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.audit.rows())) == 80
    assert store.audit.verify() == []

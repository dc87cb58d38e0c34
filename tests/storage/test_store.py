from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headend.errors import ConfigError, StorageError
from headend.model.reading import ReadingBatch, Source
from headend.storage import sqlite
from headend.storage.store import Store, database_path

from .conftest import KEY


def write(store: Store, first: int, rows: int = 100, meter: str = "m1") -> int:
    return store.readings.write(
        [
            ReadingBatch(
                meter_id=meter,
                source=Source.POLL,
                received_at=(first + rows) * 1000,
                quantities=["e"] * rows,
                values=[float(first + n) for n in range(rows)],
                measured_at=[(first + n) * 1000 for n in range(rows)],
                quality=[0] * rows,
            )
        ]
    )


def test_importing_the_store_loads_no_sql() -> None:
    code = "import sys, headend.storage.store as s; print({'sqlalchemy', 'alembic', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("h.db", Path("h.db")),
        ("sqlite:///h.db", Path("h.db")),
        ("sqlite:////var/lib/a%20b/h.db", Path("/var/lib/a b/h.db")),
    ],
)
def test_a_store_is_named_by_path_or_url(text: str, path: Path) -> None:
    assert database_path(text) == path
    assert database_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "mysql://u:pw@host/db",
        "postgresql://u:pw@host/db",
        "postgresql://h/db?password=pw",
        "postgresql://u@p:pw@host/db",
        "",
        ":memory:",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_other_databases_are_refused_without_repeating_their_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Store.open(text, vault_key=None)
    assert caught.value.hint
    assert "pw" not in str(caught.value)


def test_an_open_store_is_in_wal_mode_with_the_promised_durability(sqlite_store: Store) -> None:
    for transaction in (sqlite_store._database.read, sqlite_store._database.write):
        with transaction() as connection:
            values = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert values == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    for call in (store.readings.count, lambda: write(store, 0)):
        with pytest.raises(StorageError, match="closed") as caught:
            call()
        assert caught.value.reason == "closed"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    path.write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(StorageError, match="not a database") as caught:
        Store.open(path, vault_key=None)
    assert caught.value.reason == "damaged"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        Store.open(tmp_path / "file" / "h.db", vault_key=None)


def test_a_damaged_file_is_told_from_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with Store.open(path, vault_key=None) as store:
        write(store, 0, 20_000)
    with path.open("r+b") as file:
        for page in range(20, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 100)
    with pytest.raises(StorageError, match="damaged") as caught, Store.open(path, vault_key=None) as store:
        store.readings.series("m1", "e", 0, 2**40)
    assert caught.value.reason == "damaged"


def test_a_full_disk_stops_a_write_whole_and_passes(sqlite_store: Store) -> None:
    write(sqlite_store, 0)
    with sqlite_store._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        fill(sqlite_store)
    assert caught.value.reason == "full"
    assert caught.value.hint
    stored = sqlite_store.readings.count()
    assert stored > 100
    assert stored % 100 == 0
    with pytest.raises(StorageError):
        sqlite_store.readings.write([batch_of("new meter", 5000)])
    with sqlite_store._database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
    assert sqlite_store.readings.write([batch_of("new meter", 5000)]) == 5000
    assert sqlite_store.readings.count() == stored + 5000
    assert sqlite_store.readings.count("new meter") == 5000


def fill(store: Store) -> None:
    for n in range(1, 1000):
        write(store, n * 100)


def batch_of(meter: str, rows: int) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.POLL,
        received_at=0,
        quantities=["text"] * rows,
        values=["a text that needs room"] * rows,
        measured_at=range(rows),
        quality=[0] * rows,
    )


def test_a_database_held_by_another_process_is_called_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with Store.open(tmp_path / "h.db", vault_key=None) as store:
        other = sqlite3.connect(Path(store.name), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process") as caught:
            write(store, 0)
        assert caught.value.reason == "locked"
        assert store.readings.count() == 0
        other.execute("COMMIT")
        other.close()
        write(store, 0)


def test_readers_see_whole_batches_while_a_writer_writes(store: Store) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(store.readings.count("m1"))
            assert len(store.readings.latest()) <= 1

    threads = [threading.Thread(target=read, name=f"reader {n}") for n in range(4)]
    for thread in threads:
        thread.start()
    for n in range(100):
        write(store, n * 100)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen
    assert all(count % 100 == 0 for count in seen)
    assert store.readings.count() == 10_000


def test_writers_of_several_threads_queue(store: Store) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [write(store, k * 100, meter=f"m{n}") for k in range(20)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.readings.count() == 8000


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from headend.storage.store import Store
        from headend.model.reading import ReadingBatch, Source
        store = Store.open(sys.argv[1], vault_key=None)
        for n in range(10**9):
            at = n * 1000
            store.readings.write([ReadingBatch(meter_id=f"m{k}", source=Source.POLL, received_at=at, quantities=("e", "u"),
                values=(n, n / 10), measured_at=(at, at), quality=(0, 0)) for k in range(50)])
            print(n, flush=True)
    """
    path = tmp_path / "h.db"
    acknowledged = -1
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", code, os.fspath(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged == 150:
                    process.kill()
        with Store.open(path, vault_key=KEY) as store:
            stored = store.readings.count()
            assert stored % 100 == 0
            assert stored >= (acknowledged + 1) * 100
            columns = store.readings.series("m49", "u", 0, 2**40)
            assert list(columns.values) == [n / 10 for n in range(stored // 100)]
            with store._database.read() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        for left in tmp_path.iterdir():
            left.unlink()


def test_half_a_character_in_a_name_is_the_callers_error(store: Store) -> None:
    for call in (lambda: write(store, 0, meter="m\ud800"), lambda: store.meters.get("m\ud800")):
        with pytest.raises(ConfigError, match="half of a character"):
            call()
    assert store.readings.count() == 0

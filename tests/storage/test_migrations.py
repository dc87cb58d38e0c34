from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from headend.errors import ConfigError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Secret
from headend.model.reading import Source
from headend.storage import engine, schema
from headend.storage.store import Store

from .conftest import KEY

OLD = Path(__file__).with_name("databases")
"""Databases as earlier revisions made them, as SQL text: one for each revision that a released version had."""


def shape(path: Path) -> dict[str, object]:
    """Every table with its columns, keys and indexes, as SQLite itself sees them."""
    connection = sqlite3.connect(path)
    tables = {
        row[1]: row[3:] for row in connection.execute("PRAGMA main.table_list") if not row[1].startswith("sqlite_")
    }
    found: dict[str, object] = {}
    for name, rowid_and_strict in tables.items():
        indexes = connection.execute(f"PRAGMA index_list({name})").fetchall()
        found[name] = (
            rowid_and_strict,
            [row[1:] for row in connection.execute(f"PRAGMA table_info({name})")],
            sorted((row[2:], connection.execute(f"PRAGMA index_info({row[1]})").fetchall()) for row in indexes),
            connection.execute(f"PRAGMA foreign_key_list({name})").fetchall(),
            "AUTOINCREMENT"
            in connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0],
        )
    connection.close()
    found.pop("alembic_version", None)
    return found


def test_migrations_make_the_tables_of_the_schema(tmp_path: Path, store: Store) -> None:
    fresh = tmp_path / "fresh.db"
    other = sa.create_engine(f"sqlite:///{fresh}")
    schema.metadata.create_all(other)
    other.dispose()
    assert shape(store.path) == shape(fresh)
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_the_schema_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).with_name("migrations")))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [schema.HEAD]
    assert {revision.revision for revision in script.walk_revisions()} >= {path.stem for path in OLD.iterdir()}


@pytest.mark.parametrize("dump", sorted(OLD.iterdir()), ids=lambda path: path.stem)
def test_an_old_database_is_brought_up_with_all_it_holds(dump: Path, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    with Store.open(path, vault_key=KEY) as old:
        stored = old.meters.get("m1")
        assert (stored.meter.name, stored.meter.endpoint.host, stored.revision) == ("Hall", "192.0.2.1", 2)
        assert old.secrets.get("m1", "ek") == Secret(b"sixteen octets!!")
        columns = old.readings.series("m1", "voltage_l1", 0, 2**60)
        assert list(zip(columns.measured_at, columns.values, columns.quality, strict=True)) == [
            (1_767_225_600_123, 230.4, 0),
            (1_767_225_660_123, float("inf"), 4),
        ]
        assert list(old.readings.series("m1", "relay", 0, 2**60).values) == [True]
        receipt = old.readings.receipt("m1", "active_energy_import", 1_767_139_200_000)
        assert (receipt.received_at, receipt.source) == (1_767_225_700_000, Source.HISTORY)
        assert len(old.readings.latest()) == 3
        old.events.append([Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=0)])
    assert shape(path) == shape(store.path)


def test_a_newer_database_is_refused_and_left_alone(store: Store) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(ConfigError, match="'9999'") as caught:
        Store.open(store.path, vault_key=None)
    assert "newer" in caught.value.hint


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE jobs (number)")
    connection.close()
    with pytest.raises(engine.StorageError, match="already exists"):
        Store.open(path, vault_key=None)
    assert list(shape(path)) == ["jobs"]

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from headend.errors import ConfigError, StorageError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch, Source
from headend.storage import engine, schema
from headend.storage.store import Store
from tests.postgres_server import Server

from .conftest import KEY, again

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


def test_migrations_make_the_tables_of_the_schema(tmp_path: Path, sqlite_store: Store) -> None:
    store = sqlite_store
    fresh = tmp_path / "fresh.db"
    other = sa.create_engine(f"sqlite:///{fresh}")
    schema.metadata.create_all(other)
    other.dispose()
    assert shape(Path(store.name)) == shape(fresh)
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_make_the_tables_of_the_schema_in_postgresql(postgres_store: Store) -> None:
    """All but history, which lies otherwise there; and columns of text are in the order of octets."""
    other = {"series", "latest", "readings", "readings_past", "readings_future", "receipts"}
    with postgres_store._database.read() as connection:
        options = {"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name not in other}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, schema.metadata)
        differences = [each for each in found if each[0] != "add_table" and each[0][0] != "modify_comment"]
        columns = sa.text(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'text'"
        )
        texts = {(row[0], row[1]): row[2] for row in connection.execute(columns)}
        missing = set(schema.metadata.tables) - set(sa.inspect(connection).get_table_names())
    assert (differences, missing) == ([], {"receipts"})
    assert {name for name, collation in texts.items() if collation != "C"} == {
        ("readings", "words"),
    } | {name for name in texts if name[0].startswith("readings_")}


def test_the_schema_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).with_name("migrations")))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [schema.HEAD]
    assert {revision.revision for revision in script.walk_revisions()} >= {path.stem for path in OLD.iterdir()}


@pytest.mark.parametrize("dump", sorted(OLD.iterdir()), ids=lambda path: path.stem)
def test_an_old_database_is_brought_up_with_all_it_holds(dump: Path, tmp_path: Path, sqlite_store: Store) -> None:
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
    assert shape(path) == shape(Path(sqlite_store.name))


def test_the_latest_readings_of_a_meter_are_gathered_in_postgresql(postgres: Server, tmp_path: Path) -> None:
    """Rows of `series` as revision 0012 left them: a double, an integer, a text, one not measured yet; two meters."""
    url = postgres.url(postgres.make())
    one = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with one.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(engine.__file__).with_name("migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")
        connection.exec_driver_sql(
            """INSERT INTO series (meter_id, quantity, measured_at, received_at, value, note, words) VALUES
('m1', 'voltage_l1', 1000, 1200, 230.4, 0, NULL), ('m2', 'energy', 2000, 2000, 7, 8 + 1, NULL),
('m1', 'state', 900, 1900, 'NaN', 24, 'it''s "on"'), ('m1', 'later', NULL, NULL, NULL, NULL, NULL),
('m1', 'energy', 1000, 500, 12, 8 + 32, NULL)"""
        )
    one.dispose()
    with Store.open(url, vault_key=KEY, folder=tmp_path) as store:
        found = store.readings.latest()
        assert list(zip(found.meter_ids, found.quantities, found.values, strict=True)) == [
            ("m1", "energy", 12),
            ("m1", "state", 'it\'s "on"'),
            ("m1", "voltage_l1", 230.4),
            ("m2", "energy", 7),
        ]
        assert (found.measured_at, found.received_at) == ((1000, 900, 1000, 2000), (500, 1900, 1200, 2000))
        assert (found.quality, found.sources[3]) == ([1, 0, 0, 0], Source(1))
        newer = ReadingBatch(
            meter_id="m1",
            source=Source.POLL,
            received_at=3000,
            quantities=["later", "energy"],
            values=[1, 13],
            measured_at=[3000, 3000],
            quality=[0, 0],
        )
        store.readings.write([newer])
        assert list(store.readings.latest(["m1"]).values) == [13, 1, 'it\'s "on"', 230.4]


def test_a_newer_database_is_refused_and_left_alone(store: Store) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(ConfigError, match="'9999'") as caught:
        again(store)
    assert "newer" in caught.value.hint


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE jobs (number)")
    connection.close()
    with pytest.raises(StorageError, match="already exists"):
        Store.open(path, vault_key=None)
    assert list(shape(path)) == ["jobs"]

"""Everything from one database to the other and back: each part answers as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from headend.errors import ConfigError, StorageError
from headend.model.event import Event, EventType, Severity
from headend.storage import schema
from headend.storage.store import Store

from .conftest import again
from .filled import answers, fill
from .test_alike import BATCHES, batch_of, plain


def silent(_what: str, _done: int) -> None:
    """Nobody wants to know."""


@pytest.fixture
def third(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "third" / "headend.db", vault_key=None) as store:
        yield store


def test_everything_arrives_in_postgresql_and_comes_back(
    sqlite_store: Store, postgres_store: Store, third: Store
) -> None:
    fill(sqlite_store)
    told: dict[str, int] = {}
    rows = sqlite_store.copy_into(postgres_store, lambda what, done: told.update({what: told.get(what, 0) + done}))
    assert set(rows) == {table.name for table in schema.metadata.sorted_tables} - {"receipts"}
    assert all(rows.values())
    assert told == {name: 2 * count for name, count in rows.items()}, "each is written, and read again"
    assert postgres_store.copy_into(third, silent) == rows
    for store in (postgres_store, third):
        store.audit.take_over(sqlite_store.audit)
    expected = answers(sqlite_store)
    with again(postgres_store) as there, again(third) as back:
        assert answers(there) == expected
        assert answers(back) == expected


def test_numbers_go_on_where_they_were(sqlite_store: Store, postgres_store: Store, third: Store) -> None:
    event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=1, meter_id="m")
    sqlite_store.events.append([event] * 9)
    sqlite_store.events.purge(10)
    sqlite_store.copy_into(postgres_store, silent)
    postgres_store.copy_into(third, silent)
    for store in (postgres_store, third):
        store.events.append([event])
        assert store.events.list()[0].number == 10


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=BATCHES)
def test_whatever_was_read_arrives(
    sqlite_store: Store, postgres_store: Store, third: Store, batches: list[Any]
) -> None:
    sqlite_store.readings.write([batch_of(*each) for each in batches])
    sqlite_store.copy_into(postgres_store, silent, replace=True)
    postgres_store.copy_into(third, silent, replace=True)
    for meter, quantity in {(each[0], row[0]) for each in batches for row in each[3]}:
        said = [
            plain((store.readings.received(meter, quantity, -(2**62), 2**62), store.readings.latest([meter])))
            for store in (sqlite_store, postgres_store, third)
        ]
        assert said[0] == said[1] == said[2]


def test_a_database_with_something_in_it_is_left_alone(store: Store, third: Store) -> None:
    event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=1, meter_id="m")
    store.events.append([event])
    with pytest.raises(ConfigError, match="is not empty: it has events"):
        third.copy_into(store, silent)
    assert len(store.events.list()) == 1
    third.copy_into(store, silent, replace=True)
    assert store.events.list() == []


def test_what_is_not_what_was_written_is_not_kept(sqlite_store: Store, third: Store) -> None:
    fill(sqlite_store)
    with third._database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER wrong AFTER INSERT ON users BEGIN UPDATE users SET role = 'viewer' WHERE name = new.name; END"
        )
    with pytest.raises(StorageError, match="nothing was kept"):
        sqlite_store.copy_into(third, silent)
    with third._database.read() as connection:
        for table in schema.metadata.sorted_tables:
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0


def test_a_part_that_is_not_noted_is_noticed(sqlite_store: Store) -> None:
    """Tables that are made in the database but not known to the schema would be left behind."""
    with sqlite_store._database.read() as connection:
        there = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
    assert there == set(schema.metadata.tables)

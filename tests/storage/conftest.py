from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.storage.store import Store
from tests.new_database import laid
from tests.postgres_server import Server, template

KEY = bytes(range(32))


def again(store: Store, vault_key: bytes | None = KEY) -> Store:
    """The same database once more, as another process would open it."""
    return Store.open(store.name, vault_key=vault_key, folder=store._database.beside.parent)


def settle(store: Store, before_day: int = 2**20) -> None:
    """Summarise all that is before a day."""
    while store.summaries.turn(before_day).more:
        pass


def empty(store: Store) -> None:
    """Let a store have no readings, summaries, meters and events."""
    with store._database.write() as connection:
        for table in ("readings", "series", "summaries", "summary_due", "summary_state", "meters", "events"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 # of the line above
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("DELETE FROM latest")
            connection.exec_driver_sql("SELECT nextval('readings_removals')")
        else:
            connection.exec_driver_sql("DELETE FROM receipts")
            store.readings._numbers.clear()  # type: ignore[attr-defined] # it would notice another process only


@pytest.fixture(scope="session")
def _template(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return template(postgres, tmp_path_factory.mktemp("template"))


@pytest.fixture
def postgres_url(postgres: Server, _template: str) -> Iterator[str]:
    """A database for one test, with all tables and nothing in them."""
    name = postgres.make(_template)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(laid(tmp_path / "data" / "headend.db"), vault_key=KEY) as store:
        yield store


@pytest.fixture
def postgres_store(postgres_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.open(postgres_url, vault_key=KEY, folder=tmp_path) as store:
        yield store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """Every test of it runs on both databases."""
    found: Store = request.getfixturevalue("sqlite_store" if request.param == "sqlite" else "postgres_store")
    return found

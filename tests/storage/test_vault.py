from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from headend.errors import ConfigError, NotFound, StorageError
from headend.model.meter import Secret
from headend.storage.schema import secrets as table
from headend.storage.store import Store

from .conftest import KEY, again

PLAIN = b"sixteen octets!!"


def test_secrets_are_kept_replaced_and_removed(store: Store) -> None:
    store.secrets.put("m1", "ek", Secret(b"old"))
    store.secrets.put("m1", "ek", Secret(PLAIN))
    store.secrets.put("m1", "ak", Secret(b""))
    assert store.secrets.get("m1", "ek").reveal() == PLAIN
    assert store.secrets.get("m1", "ak").reveal() == b""
    assert store.secrets.names("m1") == ["ak", "ek"]
    store.secrets.delete("m1", "ek")
    for call in (store.secrets.get, store.secrets.delete):
        with pytest.raises(NotFound):
            call("m1", "ek")


def test_no_secret_lies_open_in_the_files(sqlite_store: Store) -> None:
    sqlite_store.secrets.put("m1", "ek", Secret(PLAIN))
    for path in Path(sqlite_store.name).parent.iterdir():
        assert PLAIN not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


def test_another_key_does_not_open_the_store(store: Store) -> None:
    store.secrets.put("m1", "ek", Secret(PLAIN))
    with pytest.raises(ConfigError, match="does not open the secrets") as caught:
        again(store, bytes(32))
    assert "restore the key file" in caught.value.hint
    assert KEY.hex() not in repr(caught.value) + caught.value.hint
    with pytest.raises(ConfigError, match="has 5 octets, not 32"):
        again(store, b"short")


def test_without_a_key_secrets_stay_closed(store: Store) -> None:
    store.secrets.put("m1", "ek", Secret(PLAIN))
    with again(store, None) as closed:
        assert closed.secrets.names("m1") == ["ek"]
        with pytest.raises(ConfigError, match="without its vault key"):
            closed.secrets.get("m1", "ek")
        with pytest.raises(ConfigError, match="without its vault key"):
            closed.secrets.put("m1", "ek", Secret(PLAIN))


def test_a_sealed_secret_is_bound_to_its_meter_and_name(store: Store) -> None:
    store.secrets.put("m1", "ek", Secret(PLAIN))
    with store._database.write() as connection:
        connection.execute(table.update(), {"name": "ak"})
    with pytest.raises(StorageError, match="damaged"):
        store.secrets.get("m1", "ak")
    with store._database.write() as connection:
        connection.execute(sa.update(table).values(name="ek", sealed=b"\x01"))
    with pytest.raises(StorageError, match="damaged"):
        store.secrets.get("m1", "ek")


def test_the_same_secret_is_never_sealed_alike(store: Store) -> None:
    for name in ("a", "b"):
        store.secrets.put("m1", name, Secret(PLAIN))
    with store._database.read() as connection:
        sealed = connection.execute(sa.select(table.c.sealed)).scalars().all()
    assert len({row[:13] for row in sealed}) == 2


def test_the_key_file_may_come_later(tmp_path: Path) -> None:
    Store.open(tmp_path / "h.db", vault_key=None).close()
    with Store.open(tmp_path / "h.db", vault_key=KEY) as store:
        store.secrets.put("m1", "ek", Secret(PLAIN))
    with Store.open(tmp_path / "h.db", vault_key=KEY) as store:
        assert store.secrets.get("m1", "ek") == Secret(PLAIN)

"""Meters that the settings declare: entered at the start, changed and removed as the file says, secrets by their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.errors import ConfigError, NotFound
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.runtime.importing import DECLARED, declare, read_declared
from headend.runtime.profiles import library_of
from headend.runtime.settings import Settings, load_settings
from headend.storage.store import Store

FILE = """
[[meters]]
url = "modbus+rtu://10.0.0.7:502/3?profile=eastron-sdm630"
name = "Floor 3"
poll = 10
tags = ["cell:12"]

[[meters]]
url = "dlms+hdlc://10.0.0.8:3333?auth=lls&secret=env:FLOOR_PASSWORD"
name = "Main"
"""


def settings(folder: Path, text: str) -> Settings:
    (folder / "headend.toml").write_text(text)
    return load_settings(folder / "headend.toml")


def apply(store: Store, made: Settings) -> tuple[int, int, int]:
    done = declare(store, read_declared(made.meters, library_of(made)))
    return done.added, done.changed, done.same


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "headend.db", vault_key=bytes(32))


def test_the_database_follows_the_file(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOOR_PASSWORD", "12345678")
    by_hand = Meter(
        id="by-hand",
        protocol="modbus",
        framing="tcp",
        endpoint=Endpoint(kind=EndpointKind.TCP, host="10.0.0.9", port=502),
    )
    with store:
        store.meters.put(by_hand)
        assert apply(store, settings(tmp_path, FILE)) == (2, 0, 0)
        floor = store.meters.get("Floor-3").meter
        assert (floor.endpoint.host, floor.params["unit"], floor.profile_id) == ("10.0.0.7", "3", "eastron-sdm630")
        assert (floor.poll_seconds, floor.tags, floor.name) == (10.0, ("cell:12", DECLARED), "Floor 3")
        assert store.secrets.get("Main", "secret").reveal() == b"12345678"

        assert apply(store, settings(tmp_path, FILE)) == (0, 0, 2)
        assert apply(store, settings(tmp_path, FILE.replace("poll = 10", "poll = 20"))) == (0, 1, 1)
        assert store.meters.get("Floor-3").meter.poll_seconds == 20.0

        assert apply(store, settings(tmp_path, FILE.split('[[meters]]\nurl = "dlms', maxsplit=1)[0])) == (0, 1, 0)
        with pytest.raises(NotFound):
            store.meters.get("Main")
        assert store.meters.get("by-hand").meter == by_hand


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[meters]]\nurl = "gopher://x"', "meters 1"),
        ('[[meters]]\nurl = "modbus://h/1"\nname = "a"\n[[meters]]\nurl = "modbus://h/2"\nname = "a"', "meters 2"),
        ('[[meters]]\nurl = "modbus://h/1?profile=generic-dlms-3p"', "not for modbus"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, words: str) -> None:
    made = settings(tmp_path, text)
    with pytest.raises(ConfigError, match=words):
        read_declared(made.meters, library_of(made))


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"meters.*speed"):
        settings(tmp_path, '[[meters]]\nurl = "modbus://h/1"\nspeed = 3')

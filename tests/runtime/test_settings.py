from __future__ import annotations

from pathlib import Path

import pytest

from headend.errors import ConfigError, KeyMissing
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import describe, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "headend.toml"
    path.write_text(text)
    return path


def test_everything_listens_on_loopback_by_default() -> None:
    settings = load_settings(None)
    assert settings.web.host == "127.0.0.1"
    assert settings.mqtt.embedded_host == "127.0.0.1"


def test_a_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[web]\nport = 9000\n[mqtt]\nbroker = "mqtt://h"\n')
    assert load_settings(path).web.port == 9000
    monkeypatch.setenv("HEADEND_WEB__PORT", "9001")
    settings = load_settings(path)
    assert (settings.web.port, settings.mqtt.broker) == (9001, "mqtt://h")


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("[web]\n\nport = 70000\n", 3, "web.port"),
        ("[web]\nport = 1\nprot = 2\n", 3, "web.prot"),
        ('[poll]\ntimeout = "soon"\n', 2, "poll.timeout"),
        ('[log]\nlevel = "loud"\n', 2, "log.level"),
        ("[webb]\nport = 1\n", 1, "webb"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, text: str, line: int, field: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert f"{path}:{line}: {field}:" in str(caught.value)


def test_broken_toml_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        load_settings(write(tmp_path, "[web]\nport = \n"))
    with pytest.raises(ConfigError, match="no settings file"):
        load_settings(tmp_path / "none.toml")


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_WEB__PORT", "many")
    with pytest.raises(ConfigError, match="HEADEND_WEB__PORT"):
        load_settings(None)


def test_every_setting_has_a_description() -> None:
    assert all(text for _, _, text in describe())


def test_secrets_from_variables_files_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", "12345678")
    (tmp_path / "key").write_text("hex:00ff\n")
    assert resolve_secret("env:A_PASSWORD").reveal() == b"12345678"
    assert resolve_secret(f"file:{tmp_path / 'key'}").reveal() == b"\x00\xff"
    assert resolve_secret("hex:0102").reveal() == b"\x01\x02"
    assert resolve_secret("text:abc").reveal() == b"abc"
    assert "abc" not in repr(resolve_secret("text:abc"))


@pytest.mark.parametrize("place", ["env:NOT_THERE_AT_ALL", "file:/not/there"])
def test_a_missing_secret_is_named_by_place(place: str) -> None:
    with pytest.raises(KeyMissing, match=place.partition(":")[2]):
        resolve_secret(place)


@pytest.mark.parametrize("place", ["hex:zz", "12345678"])
def test_a_wrong_secret_is_never_shown(place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_secret(place)
    assert place not in str(caught.value)
    assert place not in caught.value.hint

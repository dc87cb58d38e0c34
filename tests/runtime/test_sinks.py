"""Tables `[sinks.NAME]`: what they may say, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from headend.drivers.library import Library
from headend.errors import ConfigError
from headend.model.url import parse_url
from headend.northbound import registry
from headend.northbound.sink import Channel, Sink, SinkKind, Surroundings
from headend.runtime import sinks
from headend.runtime.settings import load_settings
from headend.runtime.sinks import describe_options, plan_sinks, usable_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the kind of these tests."""

    url: str = field(metadata={"description": "where"})
    port: int = field(default=5, metadata={"description": "which port"})
    names: tuple[str, ...] = field(default=("a",), metadata={"description": "whom"})
    secure: bool = field(default=False, metadata={"description": "how"})


class Nowhere:
    """A sink that cannot be reached."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        raise NotImplementedError
        yield


def make(_options: Options, _surroundings: Surroundings) -> Sink:
    return Nowhere()


KIND = SinkKind(name="test", options=Options, make=make)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> SinkKind:
        return KIND if name == "test" else registry.sink_kind(name)

    monkeypatch.setattr(sinks, "sink_kind", find)


def planned(folder: Path, text: str) -> list[sinks.SinkPlan]:
    (folder / "headend.toml").write_text(text)
    return plan_sinks(load_settings(folder / "headend.toml"))


def test_a_table_is_what_all_sinks_have_and_options_of_its_kind(tmp_path: Path) -> None:
    (plan,) = planned(
        tmp_path,
        '[sinks.cloud]\nkind = "test"\nurl = "x"\nport = 7\nnames = ["b", "c"]\nmeters = ["lab-*"]\nrole = "operator"\n',
    )
    assert plan.name == "cloud"
    assert plan.options == Options(url="x", port=7, names=("b", "c"))
    assert (plan.table.meters, plan.table.role, plan.table.history) == (("lab-*",), "operator", True)


def test_the_environment_may_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_SINKS__CLOUD__KIND", "test")
    monkeypatch.setenv("HEADEND_SINKS__CLOUD__URL", "x")
    monkeypatch.setenv("HEADEND_SINKS__CLOUD__PORT", "9")
    monkeypatch.setenv("HEADEND_SINKS__CLOUD__SECURE", "true")
    (plan,) = planned(tmp_path, "")
    assert plan.options == Options(url="x", port=9, secure=True)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "test"', r"sinks\.cloud\.url: "),
        ('kind = "test"\nurl = 5', r"sinks\.cloud\.url: input should be a valid string"),
        ('kind = "test"\nurl = "x"\nport = "many"', r"sinks\.cloud\.port: "),
        ('kind = "test"\nurl = "x"\nprot = 5', r"sinks\.cloud\.prot: no such setting .* known are kind, .*port"),
        ('kind = "nowhere"', r"sinks\.cloud\.kind: no kind of sink 'nowhere'"),
        ('url = "x"', r"sinks\.cloud\.kind: "),
        ('kind = "test"\nurl = "x"\nrole = "king"', r"sinks\.cloud\.role: "),
    ],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        planned(tmp_path, f"[sinks.cloud]\n{table}\n")


def test_a_mistake_does_not_show_what_may_be_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, '[sinks.cloud]\nkind = "test"\nurl = "x"\nport = "my password"\n')
    assert "my password" not in str(caught.value)


@pytest.mark.parametrize("name", ["mqtt", "Cloud", "a.b"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        planned(tmp_path, f'[sinks."{name}"]\nkind = "test"\nurl = "x"\n')


def test_options_are_described() -> None:
    assert list(describe_options(KIND)) == [
        ("url", "", "where"),
        ("port", "5", "which port"),
        ("names", '["a"]', "whom"),
        ("secure", "false", "how"),
    ]


def test_a_meter_file_that_is_gone_or_broken_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[meter]\n")
    library = Library([tmp_path])
    meter = parse_url("modbus://192.0.2.1/1").meter("m")
    assert usable_profile(library, replace(meter, profile_id="eastron-sdm630")) is library.get("eastron-sdm630")
    for name in ("", "no-such-file", "broken"):
        assert usable_profile(library, replace(meter, profile_id=name)) is None

"""Meters of many vendors: variants of meter files, and the object lists of real meters, read back over the wire."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.base import Session
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.fleet import Fleet, FleetMeter
from headend.emulator.fleet_file import load_fleet
from headend.errors import ConfigError
from headend.model.url import parse_url
from headend.runtime.secrets import resolve_secret
from headend.transport.tcp import connect_tcp

LIBRARY = Library()
ROOT = Path(__file__).parents[2]
CORPUS = os.environ.get("HEADEND_CORPUS", "")
# a list as people publish them: some versions are missing, a place that anything may be in, and a value that was cut
LISTING: Mapping[str, Any] = {
    "vendor": "Iskraemeco",
    "model": "MT880",
    "firmware": "7.1",
    "objects": [
        {"class_id": 8, "version": 0, "obis": "0.0.1.0.0.255"},
        {"class_id": 1, "version": 0, "obis": "0.0.42.0.0.255"},
        {"class_id": 1, "version": None, "obis": "1.0.0.2.0.255"},
        {"class_id": 1, "version": None, "obis": "0.0.96.1.0.255", "attr_values_hex": {"2": "09083132333435363738"}},
        {"class_id": 3, "version": 0, "obis": "1.0.1.8.0.255", "attr_values_hex": {"3": "02020f01161e"}},
        {
            "class_id": 3,
            "version": 0,
            "obis": "1.0.32.7.0.255",
            "attr_values_hex": {"2": "1208fc", "3": "02020fff1623"},
        },
        {"class_id": 3, "version": 0, "obis": "1.0.99.99.9.255"},
        {"class_id": 23, "version": 1, "obis": "0.0.22.0.0.255", "attr_values_hex": {"2": "1605", "4": "11…"}},
        {"class_id": 9000, "version": 0, "obis": "0.128.96.0.0.255"},
        {"class_id": 7, "version": 1, "obis": "0.x.94.31.6.255"},
        {
            "class_id": 7,
            "version": 1,
            "obis": "1.0.99.1.0.255",
            "attr_values_hex": {
                "3": "0102 02041200080906000001000 0ff0f02120000 02041200030906010001080 0ff0f02120000".replace(
                    " ", ""
                ),
                "4": "0600000e10",
            },
        },
        {"class_id": 15, "version": 2, "obis": "0.0.40.0.0.255"},
    ],
}


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Fleet]:
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.aclose()


@asynccontextmanager
async def session_with(line: FleetMeter) -> AsyncIterator[Session]:
    url = parse_url(line.url)
    link = await connect_tcp(url.endpoint.host, url.endpoint.port, 5)
    meter = url.meter(line.name)
    profile = LIBRARY.get(meter.profile_id) if meter.profile_id else None
    session = await driver(meter.protocol).attach(link, meter, profile, line.secrets, timeout=10)
    try:
        yield session
    finally:
        await session.aclose()


def fleet_of(text: str) -> Fleet:
    return load_fleet(text, LIBRARY, resolve_secret)


async def listed(session: Session) -> dict[tuple[int, str], int]:
    """Class and name of each object in the meter's own list, and its version."""
    return {
        (info.class_id, info.ref.address.split("/")[1]): info.version or 0
        for info in await session.objects()
        if info.class_id is not None
    }


async def test_a_list_becomes_a_meter_that_shows_just_these_objects(tmp_path: Path) -> None:
    path = tmp_path / "mt880.json"
    path.write_text(json.dumps(LISTING))
    async with running(fleet_of(f'[[group]]\nobjects = "{path}"\n')) as fleet:
        (line,) = fleet.roster()
        assert "profile" not in line.url
        async with session_with(line) as session:
            shown = await listed(session)
            assert {(each["class_id"], each["obis"]) for each in LISTING["objects"] if "x" not in each["obis"]} == {
                (class_id, name.replace("-", ".").replace(":", ".")) for class_id, name in shown
            }
            assert shown[15, "0-0:40.0.0.255"] == 2
            assert shown[23, "0-0:22.0.0.255"] == 1
            identity = await session.identify()
        assert (identity.logical_device_name, identity.serial, identity.firmware) == (
            "ISK0000000000001",
            "12345678",
            "7.1",
        )
        profile = fleet.groups[0].group.profile
        energy, volts = (
            next(entry for entry in profile.objects if entry.quantity == key)
            for key in ("active_energy_import_total", "voltage_l1")
        )
        assert (energy.exponent, energy.unit, energy.type) == (1, "Wh", "uint32")
        assert (volts.exponent, volts.unit, volts.type) == (-1, "V", "uint16")
        (table,) = profile.load_profiles
        assert (table.period_seconds, len(table.columns)) == (3600, 2)


async def test_meters_whose_identity_is_blanked_do_not_say_who_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mt880.json"
    path.write_text(json.dumps(LISTING))
    async with running(fleet_of(f'[[group]]\nobjects = "{path}"\nblanked = true\n')) as fleet:
        (line,) = fleet.roster()
        async with session_with(line) as session:
            identity = await session.identify()
    assert (identity.logical_device_name, identity.serial, identity.firmware) == ("", "", "")


def test_a_folder_of_lists_gives_its_meters_to_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "index"):
        (tmp_path / f"{name}.json").write_text("[]" if name == "index" else json.dumps(LISTING))
    monkeypatch.setenv("THE_LISTS", str(tmp_path))
    text = '[[group]]\nviews = "${THE_LISTS}"\ncount = 7\nport = 4059\nfirst_address = "127.5.0.1"\n'
    states = fleet_of(text).control.groups()
    assert [(state.group, state.meters) for state in states] == [("views-a", 3), ("views-b", 2), ("views-c", 2)]
    assert [state.first_url.split("/")[2].split(":")[0] for state in states] == ["127.5.0.1", "127.5.0.4", "127.5.0.6"]


VARIANT = """
[[variant]]
id = "lgz-e450"
base = "generic-dlms-1p"
vendor = "Landis+Gyr"
model = "E450"
flag = "LGZ"
firmware = "S02.12"
logical_device_name = "LGZ10265{number:08}"
remove = ["3/1-0:2.*", "70/*"]
add = ["64/0-0:43.0.0.255", "3/1-0:5.8.0.255"]

[[group]]
profile = "lgz-e450"
"""


async def test_a_variant_says_that_it_is_another_and_has_other_objects() -> None:
    async with running(fleet_of(VARIANT)) as fleet:
        (line,) = fleet.roster()
        async with session_with(line) as session:
            identity = await session.identify()
            shown = await listed(session)
    assert (identity.logical_device_name, identity.manufacturer, identity.firmware) == (
        "LGZ1026500000001",
        "LGZ",
        "S02.12",
    )
    assert not [name for class_id, name in shown if name.startswith("1-0:2.") and class_id == 3]
    assert {(64, "0-0:43.0.0.255"), (3, "1-0:5.8.0.255")} <= set(shown)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (VARIANT.replace("LGZ", "QQQ"), r"fleet:3: \[variant\] id: .*'QQQ'"),
        (VARIANT.replace("3/1-0:5.8.0.255", "3/nonsense"), r"fleet:3: \[variant\] id"),
        (VARIANT.replace("generic-dlms-1p", "generic"), r"fleet:4: \[variant\] base"),
        (VARIANT.replace("firmware", "firmwear"), r"fleet:8: \[variant\] firmwear"),
        (VARIANT + 'objects = "x"\n', "one of profile, objects and views"),
        ('[[group]]\nobjects = "/no/such/list.json"\n', "not an object list"),
        ('[[group]]\nviews = "${NO_SUCH_VARIABLE}/lists"\n', "NO_SUCH_VARIABLE is not set"),
        ('[[group]]\nviews = "/no/such/folder"\n', "a folder of object lists"),
    ],
)
def test_kinds_that_cannot_be_are_refused(wrong: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        fleet_of(wrong)


async def test_the_vendors_of_the_example_say_who_they_are() -> None:
    text = (ROOT / "examples" / "vendors.toml").read_text(encoding="utf-8")
    for port in ("4059", "4060", "5020", "8645"):
        text = text.replace(f"port = {port}\n", "port = 0\n")
    flags = set()
    async with running(fleet_of(text)) as fleet:
        for placed in fleet.groups:
            line = next(iter(placed.roster()))
            async with session_with(line) as session:
                identity = await session.identify()
            if placed.group.profile.protocol == "dlms":
                flags.add(identity.manufacturer)
                assert identity.manufacturer == identity.logical_device_name[:3]
    assert len(flags) >= 12


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS, reason="HEADEND_CORPUS names no folder with object lists")
async def test_every_list_of_the_corpus_becomes_a_meter_that_shows_it() -> None:
    text = '[[group]]\nviews = "${HEADEND_CORPUS}/association_views"\nport = 0\n'
    lists = [path for path in sorted((Path(CORPUS) / "association_views").glob("*.json")) if path.name != "index.json"]
    for path in lists:
        wanted = {
            (each["class_id"], each["obis"])
            for each in json.loads(path.read_text())["objects"]
            if all(group.isdigit() and int(group) < 256 for group in each["obis"].split("."))
        }
        async with running(fleet_of(f'[[group]]\nobjects = "{path}"\n')) as fleet:
            (line,) = fleet.roster()
            async with session_with(line) as session:
                shown = {
                    (class_id, name.replace("-", ".").replace(":", ".")) for class_id, name in await listed(session)
                }
        assert shown - {(15, "0.0.40.0.0.255")} == wanted - {(15, "0.0.40.0.0.255")}, path.name
    with pytest.raises(ConfigError, match="port"):
        fleet_of(text)

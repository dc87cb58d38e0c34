"""Virtual meters that a head-end starts, in a child process: read over the wire, broken, and there again after a restart."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.control import Selection
from headend.emulator.emulators import Emulators, Template
from headend.emulator.faults import Fault, FaultKind
from headend.errors import ConfigError, Conflict, HeadendError, NotFound
from headend.model.objects import ReadPlan
from headend.model.url import parse_url
from headend.runtime.demo import free_port
from headend.runtime.fleet_process import start_fleet
from headend.runtime.secrets import resolve_secret
from headend.transport.tcp import connect_tcp

LIBRARY = Library()
FLATS = Template(
    name="flats", profile="eastron-sdm120", settings={"load": "solar", "mean_watts": 800}, note="with roof"
)
HOUSES = Template(
    name="houses",
    profile="generic-dlms-1p",
    settings={"framing": "hdlc", "faults": [{"kind": "silent", "meters": 0}], "params": {"max_info": 256}},
)


def emulators_in(folder: Path) -> Emulators:
    return Emulators(folder, LIBRARY, launch=start_fleet, free_port=free_port, resolve=resolve_secret)


async def errors(url: str) -> int:
    """How many objects a meter does not tell."""
    parsed = parse_url(url)
    meter = parsed.meter("m")
    profile = LIBRARY.get("generic-dlms-1p" if meter.protocol == "dlms" else "eastron-sdm120")
    link = await connect_tcp(parsed.endpoint.host, parsed.endpoint.port, 5)
    session = await driver(meter.protocol).attach(link, meter, profile, {}, timeout=5)
    try:
        return len((await session.read(ReadPlan(entries=profile.objects[:5]))).errors)
    finally:
        await session.aclose()


async def test_templates_and_instances_from_the_first_to_the_last(tmp_path: Path) -> None:
    async with emulators_in(tmp_path / "emulators") as emulators:
        await emulators.put(FLATS)
        await emulators.put(HOUSES)
        assert await emulators.state() is None
        assert await emulators.groups() == []
        flats = await emulators.start("flats", 1000)
        houses = await emulators.start("houses")
        more = await emulators.start("flats", 2, group="roofs")
        assert (flats.group, flats.first_address, flats.meters) == ("flats", "127.100.0.1", 1000)
        assert (houses.first_address, more.first_address) == ("127.100.3.233", "127.100.3.234")
        assert more.port == flats.port
        assert [group.group for group in await emulators.groups()] == ["flats", "houses", "roofs"]
        (last,) = await emulators.meters(Selection(group="flats"), offset=999)
        (house,) = await emulators.meters(Selection(group="houses"))
        assert await errors(last.url) == await errors(house.url) == 0
        assert await emulators.break_(Fault(kind=FaultKind.CLOSE), Selection(name="houses-*")) == 1
        with pytest.raises(HeadendError):
            await errors(house.url)
        assert await emulators.mend() == 1
        assert await errors(house.url) == 0
        assert await emulators.count() == 1003
        assert await emulators.stop(Selection(group="roofs")) == 2
        assert await emulators.switch_on() == 2
        assert await emulators.reboot(Selection(group="roofs"), seconds=0) == 2
        assert (await emulators.set_clock(speed=60)).speed == 60
        assert await emulators.remove("roofs") == 2
        await emulators.delete("houses")
        before = await emulators.meters()
    async with emulators_in(tmp_path / "emulators") as emulators:
        assert list(emulators.templates()) == [FLATS]
        assert [each.group for each in emulators.instances()] == ["flats", "houses"]
        assert [meter.url for meter in await emulators.meters()] == [meter.url for meter in before]
        again = await emulators.start("flats")
        assert (again.group, again.first_address) == ("flats-2", "127.100.3.234")
        assert emulators._process is not None
        os.kill(emulators._process.child.pid, signal.SIGKILL)
        await emulators._process.child.wait()
        assert await emulators.state() is None
        assert await emulators.count() == 1002  # begun anew


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"name": "No"}, "no name"),
        ({"profile": "no-such-meter"}, "profile"),
        ({"settings": {"port": 1}}, "port"),
        ({"settings": {"load": "factory"}}, "load"),
        ({"settings": {"load": None}}, "NoneType"),
        ({"settings": {"x = 1\n[fleet]\nseed": 1}}, "no key"),
        ({"settings": {"faults": [{"kind": "tired"}]}}, "faults"),
        ({"settings": {"params": {"warp": '"\n\x7f'}}}, "warp"),
    ],
)
async def test_templates_that_cannot_be_are_refused(tmp_path: Path, template: dict[str, Any], expected: str) -> None:
    async with emulators_in(tmp_path) as emulators:
        with pytest.raises(ConfigError, match=expected):
            await emulators.put(Template(**{"name": "a", "profile": "eastron-sdm120", **template}))
        assert emulators.templates() == []


async def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    async with emulators_in(tmp_path) as emulators:
        for wrong in (emulators.start("a"), emulators.remove("a"), emulators.delete("a"), emulators.mend()):
            with pytest.raises(NotFound):
                await wrong
        await emulators.put(FLATS)
        for count in (0, 10_001):
            with pytest.raises(ConfigError, match="too many"):
                await emulators.start("flats", count)
        with pytest.raises(ConfigError, match="no name"):
            await emulators.start("flats", group="A group")
        await emulators.start("flats", group="a")
        with pytest.raises(Conflict):
            await emulators.start("flats", group="a")


async def test_meters_of_a_file_that_is_not_shipped_can_be_started(tmp_path: Path) -> None:
    kept = tmp_path / "profiles"
    kept.mkdir()
    shipped = LIBRARY.path("eastron-sdm120").read_text(encoding="utf-8")
    library = Library(kept=kept)
    async with Emulators(
        tmp_path / "emulators", library, launch=start_fleet, free_port=free_port, resolve=resolve_secret
    ) as emulators:
        await emulators.put(FLATS)
        await emulators.start("flats")  # the child runs before the file is there
        (kept / "my-meter.toml").write_text(shipped, encoding="utf-8")
        library.refresh()
        await emulators.put(Template(name="mine", profile="my-meter"))
        await emulators.start("mine")
        assert [group.profile for group in await emulators.groups()] == ["eastron-sdm120", "my-meter"]

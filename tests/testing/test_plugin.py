"""The pytest plugin: the page about it is run by a pytest of its own, and its handles are tried here."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from headend.errors import ConfigError, NotFound
from headend.testing.meters import Workshop

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "test-with-virtual-meters.md"


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "virtual meters"]


def test_the_example_of_the_page_is_a_test_that_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "test_example.py").write_text(example, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    plugins = ("-p", "headend.testing.plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HEADEND_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_meter_shows_what_it_is_told_to(workshop: Workshop) -> None:
    meter = workshop.meter("eastron-sdm120", load="steady", unit=7)
    assert "unit=7" in meter.url or meter.url.endswith("/7?profile=eastron-sdm120")
    assert "profile" not in meter.bare_url
    meter.set("frequency", 49.5)
    assert meter.value("frequency") == 49.5
    with pytest.raises(NotFound):
        meter.set("charm", 1)
    with pytest.raises(ConfigError, match="tired"):
        meter.break_("tired")


async def test_handles_work_in_an_event_loop_and_meters_hang_up(workshop: Workshop) -> None:
    fleet = workshop.fleet("eastron-sdm120")
    meter = fleet.meter()
    reader, writer = await asyncio.open_connection(meter.host, meter.port)
    async with asyncio.timeout(20):
        while not fleet.links:  # noqa: ASYNC110 - taken in another thread
            await asyncio.sleep(0)
        meter.reboot()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


def test_a_fleet_is_of_a_file_too(workshop: Workshop) -> None:
    fleet = workshop.fleet('[[group]]\nprofile = "eastron-sdm120"\ncount = 4\nname = "flat {number}"\n')
    assert fleet.break_("silent", name="flat [12]") == 2
    assert [len(meter.faults) for meter in fleet.meters] == [1, 1, 0, 0]
    assert fleet.mend("latency") == 0
    assert fleet.mend("silent") == 2
    fleet.stop()
    assert not any(meter.running for meter in fleet.meters)
    fleet.start()
    fleet.set_clock(datetime(2025, 1, 1), speed=0)  # noqa: DTZ001 - without zone it is UTC
    assert fleet.meter(4)._fleet.meter(4).now() == 1_735_689_600_000
    assert fleet.links == 0
    with pytest.raises(NotFound):
        fleet.meter(5)


def test_a_meter_file_of_ones_own(workshop: Workshop, tmp_path: Path) -> None:
    text = (ROOT / "src" / "headend" / "profiles" / "eastron-sdm120.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert "profile" not in workshop.meter(tmp_path / "mine.toml").url

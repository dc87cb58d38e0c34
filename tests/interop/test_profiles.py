"""Meters of another stack become profiles by the same path as any meter, and the profiles read them back."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.base import NO_SECRETS, Session
from headend.drivers.ground import Ground
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.model.discovery import Examination
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.runtime.rehearsal import rehearse
from headend.services.discovery.classify import Classifier
from headend.services.discovery.drafting import draft_profile, fitting
from headend.services.discovery.fingerprint import build
from headend.services.discovery.normalise import normalise
from headend.services.profiles.recording import recorded, survey
from headend.services.profiles.trying import try_profile
from headend.transport.open import open_link

from .test_modbus import FRAMINGS, pymodbus_meter

pytestmark = pytest.mark.peers

PEERS = Path(__file__).parent / "peers"
NOON = 1_763_726_400_000
LIBRARY = Library()
IMAGE: dict[str, Any] = {
    "unit": 1,
    "input": {"0": 231.5, "6": 1.25, "70": 49.9},
    "holding": {},
    "identity": ["Eastron", "SDM120", "2.4"],
}


@pytest.fixture(params=["gurux_meter.py", "gurux_short_meter.py"])
def dlms_port(peers_python: str, request: pytest.FixtureRequest) -> Iterator[int]:
    process = subprocess.Popen([peers_python, str(PEERS / request.param)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline().split()[1])
    process.kill()
    process.communicate()


async def examined(protocol: str, framing: str, port: int) -> Examination:
    loop = asyncio.get_running_loop()
    ground = Ground(
        Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port),
        open_link=open_link,
        time=loop.time,
        sleep=asyncio.sleep,
        clock=lambda: NOON,
        timeout=2.0,
    )
    the_driver = driver(protocol)
    for probe in the_driver.probes():
        asks = probe.framing == framing and not probe.exhaustive and "listen" not in probe.name
        if asks and (found := await probe.run(ground)):
            return await the_driver.examine(ground, found[0])
    raise AssertionError(f"nobody found at {port}")


def profiled(examination: Examination) -> tuple[str, str]:
    """The draft, and the id of the profile that fits without one."""
    fingerprint = build(examination)
    classification = Classifier(LIBRARY).classify(fingerprint)
    normalised = normalise(examination.protocol, examination.objects)
    text = draft_profile(examination, fingerprint, classification, normalised)
    return text, fitting(examination, classification)


@asynccontextmanager
async def session(examination: Examination, profile: MeterProfile | None) -> AsyncIterator[tuple[Meter, Session]]:
    meter = Meter(
        id="peer",
        protocol=examination.protocol,
        framing=examination.framing,
        endpoint=examination.endpoint,
        params=examination.params,
    )
    link = await open_link(examination.endpoint, 5)
    opened = await driver(examination.protocol).attach(link, meter, profile, NO_SECRETS)
    try:
        yield meter, opened
    finally:
        await opened.aclose()


async def test_a_gurux_meter_is_drafted_read_back_and_recorded(dlms_port: int) -> None:
    examination = await examined("dlms", "wrapper", dlms_port)
    text, fits = profiled(examination)
    assert fits == ""
    made = load_profile(text, "made")
    quantities = {entry.quantity for entry in made.objects}
    assert "active_energy_import_total" in quantities
    async with session(examination, made) as (meter, opened):
        trial = await try_profile(made, opened, asyncio.get_running_loop().time)
        assert not trial.stopped
        assert trial.answered == len(made.objects)
        (energy,) = [each for each in trial.objects if each.quantity == "active_energy_import_total"]
        assert (energy.well, energy.unit) == (True, "Wh")
        found = await survey(meter, None, opened, driver("dlms"))
    assert await rehearse(made, lambda: NOON) == []
    clone = load_profile(recorded(found, "a test"), "clone")
    (kept,) = [entry for entry in clone.objects if entry.quantity == "active_energy_import_total"]
    assert kept.emulate["value"] == pytest.approx(energy.value)


@FRAMINGS
async def test_a_meter_of_pymodbus_gets_the_profile_that_fits(peers_python: str, framing: str, framer: str) -> None:
    async with pymodbus_meter(peers_python, framer, IMAGE) as port:
        examination = await examined("modbus", framing, port)
        _, fits = profiled(examination)
        assert fits == "eastron-sdm120"
        profile = LIBRARY.get(fits)
        async with session(examination, profile) as (meter, opened):
            trial = await try_profile(profile, opened, asyncio.get_running_loop().time)
            found = await survey(meter, profile, opened, driver("modbus"))
    values = {each.quantity: each.value for each in trial.objects}
    assert values["voltage_l1"] == pytest.approx(231.5)
    clone = load_profile(recorded(found, "a test"), "clone")
    (kept,) = [entry for entry in clone.objects if entry.quantity == "voltage_l1"]
    assert kept.emulate["value"] == pytest.approx(231.5)

"""The whole way from the wire to a profile: found, examined, understood, drafted, and read back from a virtual meter of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from headend.drivers.ground import Ground
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.discovery import Examination
from headend.model.fingerprint import Classification
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.runtime.profiles import begin_anew
from headend.runtime.rehearsal import rehearse
from headend.services.bus import Bus
from headend.services.discovery.classify import Classifier
from headend.services.discovery.drafting import draft_profile, fitting
from headend.services.discovery.fingerprint import build
from headend.services.discovery.normalise import normalise
from headend.services.roster import Roster
from headend.transport.link import Link
from headend.transport.memory import memory_pair

from .support import virtual

NOON = 1_763_726_400_000
LIBRARY = Library()


async def examined(profile_id: str, framing: str, params: Mapping[str, str]) -> Examination:
    """A virtual meter in memory, as the probes and the examination of its protocol find it."""
    profile = LIBRARY.get(profile_id)
    the_driver = driver(profile.protocol)
    meter = VirtualMeter(MeterKind(profile, lambda: NOON), 7, 0, params)
    loop = asyncio.get_running_loop()

    async def opened(_endpoint: Endpoint, _timeout: float) -> Link:
        near, far = memory_pair()
        the_driver.serve(far, meter)
        return near

    ground = Ground(
        Endpoint(kind=EndpointKind.MEMORY, host="meter"),
        open_link=opened,
        time=loop.time,
        sleep=asyncio.sleep,
        clock=lambda: NOON,
    )
    for probe in the_driver.probes():
        if probe.framing == framing and (found := await probe.run(ground)):
            return await the_driver.examine(ground, found[0])
    raise AssertionError(f"nobody found {profile_id} over {framing}")


def understood(examination: Examination) -> tuple[str, Classification]:
    fingerprint = build(examination)
    classification = Classifier(LIBRARY).classify(fingerprint)
    normalised = normalise(examination.protocol, examination.objects, vendor=classification.flag)
    return draft_profile(examination, fingerprint, classification, normalised), classification


@pytest.mark.parametrize(
    ("profile_id", "framing", "params"),
    [
        ("generic-dlms-1p", "wrapper", {}),
        ("generic-dlms-3p", "hdlc", {}),
        ("generic-dlms-3p", "wrapper", {"ref": "sn"}),
        ("generic-dlms-functions", "wrapper", {}),
    ],
)
def test_a_meter_that_lists_its_objects(profile_id: str, framing: str, params: dict[str, str]) -> None:
    @virtual
    async def scenario() -> None:
        examination = await examined(profile_id, framing, params)
        text, classification = understood(examination)
        assert fitting(examination, classification) == ""
        made = load_profile(text, "made")
        original = LIBRARY.get(profile_id)
        assert dict(made.association).get("ref", "ln") == params.get("ref", "ln")
        wanted = {each.ref: each for each in original.load_profiles}
        assert wanted or profile_id != "generic-dlms-3p"
        drafted = {each.ref: each for each in made.load_profiles}
        for ref, layout in wanted.items():
            assert drafted[ref].columns == layout.columns
            assert drafted[ref].period_seconds == layout.period_seconds
        known = {entry.ref: entry.quantity for entry in made.objects if entry.quantity}
        energies = {
            entry.ref: entry.quantity for entry in original.objects if entry.quantity.startswith("active_energy_import")
        }
        assert {ref: known.get(ref) for ref in energies} == energies
        assert await rehearse(made, lambda: NOON) == []

    scenario()


@pytest.mark.parametrize(
    ("profile_id", "framing", "params"),
    [("eastron-sdm120", "tcp", {"unit": "1"}), ("generic-dlt645-1p", "frame", {"address": "000000000007"})],
)
def test_a_meter_without_a_list_of_its_own(profile_id: str, framing: str, params: dict[str, str]) -> None:
    @virtual
    async def scenario() -> None:
        examination = await examined(profile_id, framing, params)
        text, classification = understood(examination)
        made = load_profile(text, "made")
        assert "000000000007" not in text
        assert made.fingerprint
        fits = fitting(examination, classification)
        if fits:
            assert LIBRARY.get(fits).protocol == examination.protocol
            assert fits in made.note

    scenario()


@virtual
async def test_meters_of_a_profile_begin_anew_some_at_a_time() -> None:
    roster = Roster(Bus(), lambda: NOON)
    place = Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=1)
    for number in range(120):
        profile_id = "acme" if number else "other"
        roster.load([Meter(id=f"m{number}", protocol="dlms", framing="wrapper", endpoint=place, profile_id=profile_id)])
    begun: list[str] = []
    roster.follow(lambda meter_id, _state: begun.append(meter_id))
    begun.clear()
    await asyncio.to_thread(begin_anew(roster), "acme")
    await asyncio.sleep(0.05)
    assert len(begun) == 50
    await asyncio.sleep(1)
    assert begun == [f"m{number}" for number in range(1, 120)]

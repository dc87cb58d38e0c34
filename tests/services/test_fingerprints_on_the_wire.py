"""Fingerprints of meters that were examined over links: of one twice, of two of a model, and of two models."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.discovery import Examination
from headend.model.fingerprint import Fingerprint
from headend.model.meter import NO_PARAMS
from headend.services.discovery.fingerprint import Verdict, build, compare
from headend.services.discovery.identity_page import identity_page
from headend.services.discovery.report import matrix
from tests.drivers.probing.support import LIBRARY, NOON, Site

from .support import virtual

DAY = 86_400_000


async def examined(
    profile_id: str, number: int, framing: str = "", params: Mapping[str, str] = NO_PARAMS, at: int = NOON
) -> Examination:
    """A virtual meter of a meter file, discovered from nothing but its octets."""
    kind = MeterKind(LIBRARY.get(profile_id), lambda: at)
    one = driver(kind.profile.protocol)
    site = Site.of(one, VirtualMeter(kind, number, 0, params, {}))
    ground = site.ground()
    for probe in one.probes():
        if not probe.exhaustive and framing in ("", probe.framing) and (found := await probe.run(ground)):
            return await one.examine(ground, found[0])
    raise AssertionError("nobody was sighted")


async def print_of(profile_id: str, number: int, framing: str = "") -> Fingerprint:
    """Its fingerprint."""
    return build(await examined(profile_id, number, framing))


@pytest.mark.parametrize(
    ("profile_id", "framing"),
    [
        ("generic-dlms-3p", "wrapper"),
        ("generic-dlms-3p", "hdlc"),
        ("eastron-sdm630", "tcp"),
        ("abb-b23", "rtu"),
        ("generic-dlt645-3p", ""),
    ],
)
@virtual
async def test_meters_of_a_model_share_a_digest_whenever_they_are_examined(profile_id: str, framing: str) -> None:
    one = await print_of(profile_id, 1, framing)
    later = build(await examined(profile_id, 1, framing, at=NOON + 40 * DAY))
    sister = await print_of(profile_id, 2, framing)
    assert one.digest == later.digest == sister.digest
    assert compare(one, later).verdict in (Verdict.SAME_METER, Verdict.SAME_MODEL)
    assert compare(one, sister).verdict is Verdict.SAME_MODEL


@virtual
async def test_another_model_has_another_digest() -> None:
    for one, other in (("abb-b23", "schneider-iem3000"), ("generic-dlms-3p", "generic-dlt645-3p")):
        a, b = await print_of(one, 1), await print_of(other, 1)
        assert a.digest != b.digest
        assert compare(a, b).verdict is Verdict.OTHER_MODEL


@virtual
async def test_one_meter_by_two_ways_is_still_that_meter() -> None:
    found = compare(await print_of("generic-dlms-3p", 1, "wrapper"), await print_of("generic-dlms-3p", 1, "hdlc"))
    assert found.verdict is Verdict.SAME_METER
    assert not found.updated, found.text


@virtual
async def test_the_page_of_a_meter_tells_its_clients_and_its_objects() -> None:
    examination = await examined("generic-dlms-3p", 1, "wrapper")
    assert all(each.name for each in examination.objects)
    report = matrix(examination)
    accepted = [each for each in report.clients if "none" in each.modes]
    assert accepted
    assert all(0 <= index < len(report.evidence) for each in report.trials for index in each.evidence)
    page = identity_page(examination)
    assert page["objects"]["coverage"]["standard_share"] > 0.9
    assert {each["name"] for each in page["fingerprint"]["facts"]} >= {"conformance", "max_pdu", "object_digest"}


@virtual
async def test_the_objects_of_a_meter_without_a_list_are_those_of_its_meter_file() -> None:
    examination = await examined("eastron-sdm630", 1, "tcp")
    assert identity_page(examination)["objects"]["rows"] == []
    page = identity_page(examination, profile=LIBRARY.get("eastron-sdm630"))
    assert page["objects"]["coverage"]["quantity_share"] > 0.9
    assert page["associations"]["trials"] == []

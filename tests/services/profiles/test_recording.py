"""Meters that become meter files: what was recorded reads back as it was, and does not tell which meter it was."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Session
from headend.drivers.library import Library, load_profile
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import ReadPlan
from headend.model.profile import MeterProfile, ProfileState
from headend.runtime.rehearsal import rehearse, same
from headend.services.profiles.recording import Survey, drafted, recorded, survey, wire_type
from headend.services.profiles.redacting import Redactor
from headend.transport.memory import memory_pair

NOON = 1_763_726_400_000
MEMORY = Endpoint(kind=EndpointKind.MEMORY, host="memory")
SOURCE = "a test"
NUMBER = 7654321
FRAMINGS = {"dlms": "wrapper", "modbus": "tcp", "dlt645": "tcp"}


async def attached(profile: MeterProfile, number: int, own: MeterProfile | None) -> tuple[Meter, Session]:
    near, far = memory_pair()
    the_driver = driver(profile.protocol)
    the_driver.serve(far, VirtualMeter(MeterKind(profile, lambda: NOON), number))
    meter = Meter(id="m", protocol=profile.protocol, framing=FRAMINGS[profile.protocol], endpoint=MEMORY)
    return meter, await the_driver.attach(near, meter, own, {})


async def surveyed(profile_id: str) -> Survey:
    profile = Library().get(profile_id)
    own = None if profile.protocol == "dlms" else profile
    meter, session = await attached(profile, NUMBER, own)
    found = await survey(meter, own, session, driver(profile.protocol))
    await session.aclose()
    return found


async def values(profile: MeterProfile, number: int) -> dict[str, Any]:
    _, session = await attached(profile, number, profile)
    result = await session.read(ReadPlan(entries=profile.objects))
    exponents = result.exponents or [entry.exponent for entry in profile.objects]
    await session.aclose()
    return {
        entry.ref.address: scale(result.values[index], exponents[index])
        for index, entry in enumerate(profile.objects)
        if index not in result.errors
    }


@pytest.mark.parametrize(
    "profile_id", ["generic-dlms-1p", "generic-dlms-3p", "eastron-sdm630", "abb-b23", "generic-dlt645-3p"]
)
async def test_a_recording_reads_back_what_the_meter_held(profile_id: str) -> None:
    found = await surveyed(profile_id)
    made = load_profile(recorded(found, SOURCE), "made")
    assert made.state is ProfileState.DRAFT
    again = await values(made, NUMBER)
    for entry in made.objects:
        seen = found.seen[entry.ref]
        expected = scale(seen.raw, seen.exponent)
        if entry.quantity in ("meter_time", "relay_closed") or "value" not in entry.emulate or expected is None:
            continue
        got = again[entry.ref.address]
        assert got is not None, entry.ref
        if "{number" in str(entry.emulate["value"]):
            assert len(str(got)) == len(str(expected)), entry.ref
        else:
            assert same(expected, got, 10.0**seen.exponent), (entry.ref, expected, got)
    assert len(made.objects) >= len([each for each in found.seen.values() if each.error is None])


@pytest.mark.parametrize("profile_id", ["generic-dlms-3p", "eastron-sdm630", "generic-dlt645-3p"])
async def test_a_draft_and_a_recording_with_waveforms_rehearse(profile_id: str) -> None:
    found = await surveyed(profile_id)
    for text in (drafted(found, SOURCE), recorded(found, SOURCE, waveforms=True)):
        assert await rehearse(load_profile(text, "made"), lambda: NOON) == []


async def test_nothing_in_a_recording_tells_which_meter_it_was() -> None:
    found = await surveyed("generic-dlms-3p")
    assert str(NUMBER) in found.identity.serial
    text = recorded(found, SOURCE)
    assert str(NUMBER) not in text
    made = load_profile(text, "made")
    first, second = await values(made, 1), await values(made, 2)
    name, serial = "1/0-0:42.0.0.255/2", "1/0-0:96.1.0.255/2"
    assert first[name] != second[name]
    assert first[name][:3] == second[name][:3] == found.identity.logical_device_name[:3]
    assert len(first[name]) == len(found.identity.logical_device_name)
    assert first[name].endswith(first[serial][-4:])
    others = {ref for ref in first if first[ref] != second[ref]}
    assert {name, serial} <= others


async def test_load_profiles_are_laid_out_as_the_meter_lays_them_out() -> None:
    original = Library().get("generic-dlms-3p")
    made = load_profile(recorded(await surveyed("generic-dlms-3p"), SOURCE), "made")
    wanted = {each.ref: each for each in original.load_profiles if each.period_seconds}
    assert wanted
    for layout in made.load_profiles:
        if layout.ref in wanted:
            assert layout.period_seconds == wanted[layout.ref].period_seconds
            assert layout.columns == wanted[layout.ref].columns
    assert {each.ref for each in made.load_profiles} >= set(wanted)


def test_the_same_number_is_taken_out_everywhere() -> None:
    redactor = Redactor(
        MeterIdentity(serial="12345678", logical_device_name="LGZ1030012345678", meter_address="000012345678")
    )
    assert redactor.identity("12345678") == "{number:08}"
    assert redactor.identity("LGZ1030012345678") == "LGZ{number:013}"
    assert redactor.text("No. 12345678, V1.4.2") == "No. {number:08}, V{number:01}.{number:01}.{number:01}"
    assert redactor.text("V1.4.2 of 2024") == "V1.4.2 of 2024"
    assert redactor.text("+49 171 5550123") == "+49 171 {number:07}"
    assert redactor.whole(12345678) == "{number:08}"
    assert redactor.whole(230) == 230
    assert redactor.octets(bytes.fromhex("0102030405060708")) == "hex:0000000000000000"
    assert redactor.octets(b"\x01\x02") == "hex:0102"


@given(st.text(st.characters(codec="utf-8")), st.integers(10**5, 10**12))
def test_no_text_keeps_the_number_of_the_meter(around: str, number: int) -> None:
    redactor = Redactor(MeterIdentity(serial=str(number)))
    assert str(number) not in redactor.text(f"{around}{number}{around}")


@given(st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary())
def test_every_value_has_a_type(raw: Any) -> None:
    text = (
        '[meter]\nvendor = "V"\nmodel = "M"\nprotocol = "dlms"\nsource = "S"\n[[object]]\nref = "1/0-0:1.1.1.255/2"\n'
    )
    text += f'type = "{wire_type(raw)}"\n'
    driver("dlms").check_file(load_profile(text, "a"))


async def test_octets_that_are_no_text_come_back() -> None:
    text = '[meter]\nvendor = "V"\nmodel = "M"\nprotocol = "dlms"\nsource = "S"\n'
    for number, value in enumerate(("hex:00ff", "hex:nonsense", "text")):
        text += (
            f'[[object]]\nref = "1/0-0:96.5.{number}.255/2"\ntype = "octet_string"\nemulate = {{ value = "{value}" }}\n'
        )
    assert list((await values(load_profile(text, "a"), 1)).values()) == ["00ff", "hex:nonsense", "text"]
    assert tomllib.loads(text)

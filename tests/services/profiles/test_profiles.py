"""The profiles of a head-end: made, changed, compared, tried on virtual meters, promoted, imported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import ConfigError, Conflict, NotFound
from headend.model.audit import Action
from headend.model.device import Papers
from headend.model.discovery import Examination, Sighting
from headend.model.fingerprint import Classification, Fingerprint
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import Value
from headend.runtime.rehearsal import rehearse
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.profiles.comparing import Difference
from headend.services.profiles.profiles import Profiles
from headend.services.profiles.texts import line_of_error
from headend.services.profiles.trying import ObjectTrial, _contradictions
from headend.services.roster import Roster
from headend.storage.profiles import ProfileFolder
from headend.transport.link import Link
from headend.transport.memory import memory_pair

NOON = 1_763_726_400_000
TEXT = """\
# as the maker tells
[meter]
vendor = "Acme"
model = "A 1"
protocol = "dlms"
state = "DRAFT"
source = "a document"

[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"

[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -1
"""


class House:
    """The profiles, and one virtual meter `m1` on a wire in memory."""

    def __init__(self, folder: Path, profile: MeterProfile | None = None, **more: Any) -> None:
        self.trail: list[tuple[str, Action, str, Mapping[str, Value]]] = []
        self.library = Library(kept=folder)
        self.meter_profile = profile
        roster = Roster(Bus(), lambda: NOON)
        if profile is not None:
            endpoint = Endpoint(kind=EndpointKind.TCP, host="memory", port=1)
            framing = "wrapper" if profile.protocol == "dlms" else "tcp"
            params = {"address": "000000000007"} if profile.protocol == "dlt645" else {}
            meter = Meter(
                id="m1", protocol=profile.protocol, framing=framing, endpoint=endpoint, params=params, profile_id="acme"
            )
            roster.load([meter])
            self.virtual = VirtualMeter(MeterKind(profile, lambda: NOON), 7, 0, params)
            more["lanes"] = self.lanes = Lanes(
                roster, open_link=self.open_link, driver=driver, profile=lambda _meter: profile, secrets=self.none
            )
        self.profiles = Profiles(
            self.library,
            ProfileFolder(folder, lambda: NOON),
            audit=lambda *row: self.trail.append(row),
            rehearse=rehearse,
            clock=lambda: NOON,
            roster=roster,
            **more,
        )

    async def open_link(self, _endpoint: Endpoint, _timeout: float) -> Link:
        near, far = memory_pair()
        driver(self.virtual.profile.protocol).serve(far, self.virtual)
        return near

    async def none(self, _meter: Meter) -> dict[str, Any]:
        return {}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "profiles")


def test_what_is_made_is_in_the_library_at_once_with_revisions_and_audit(house: House) -> None:
    profiles = house.profiles
    profiles.create("acme", TEXT, actor="user:anna")
    assert house.library.get("acme").model == "A 1"
    assert profiles.kept() == {"acme"}
    changed = profiles.get("acme").text.replace("A 1", "A 2")
    profiles.update("acme", changed, actor="user:bob", revision=1)
    page = profiles.get("acme")
    assert (page.profile.model, page.profile.revision, page.kept, page.original) == ("A 2", 2, True, False)
    assert page.text.startswith("# as the maker tells\n[meter]\nrevision = 2\n")
    assert house.library.get("acme") is page.profile
    assert [(actor, action, subject, data["revision"]) for actor, action, subject, data in house.trail] == [
        ("user:anna", Action.PROFILE_CREATED, "profile:acme", 1),
        ("user:bob", Action.PROFILE_CHANGED, "profile:acme", 2),
    ]
    profiles.restore("acme", 1, actor="user:bob")
    assert [(each.number, each.actor) for each in profiles.history("acme")] == [
        (1, "user:anna"),
        (2, "user:bob"),
        (3, "user:bob"),
    ]
    assert house.library.get("acme").model == "A 1"
    with pytest.raises(Conflict, match="revision 3 by now"):
        profiles.update("acme", changed, actor="user:bob", revision=2)
    with pytest.raises(Conflict, match="already"):
        profiles.create("acme", TEXT, actor="user:anna")
    profiles.retire("acme", actor="user:bob")
    assert "acme" not in house.library.ids()
    with pytest.raises(NotFound):
        profiles.get("acme")


def test_a_profile_of_the_program_gets_a_copy_that_goes_before_it(house: House) -> None:
    page = house.profiles.get("eastron-sdm120")
    assert (page.kept, page.original) == (False, True)
    made = house.profiles.update("eastron-sdm120", page.text.replace("SDM120", "SDM120-M"), actor="user:anna")
    assert made.number == page.profile.revision + 1
    assert house.library.get("eastron-sdm120").model == "SDM120-M"
    house.profiles.retire("eastron-sdm120", actor="user:anna")
    assert house.library.get("eastron-sdm120").model == "SDM120"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (TEXT.replace('"V"', '"Volt"'), 17, "unit"),
        (TEXT.replace('"voltage_l1"', '"voltage"'), 16, "quantity"),
        (TEXT + "[[object]\n", 19, "at line 19"),
        (TEXT.replace("1-0:32.7.0.255", "1-0:1.8.0.255"), 15, "stands at line"),
        (TEXT.replace("[meter]", "[metre]"), 2, "expected one of"),
    ],
)
def test_what_is_wrong_in_a_text_is_told_with_its_line_and_nothing_is_kept(
    house: House, text: str, line: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        house.profiles.create("acme", text, actor="user:anna")
    assert line_of_error(caught.value) == line
    assert not house.profiles.kept()
    assert not house.trail


def test_a_text_cannot_say_that_it_is_more_trustworthy_than_it_was(house: House) -> None:
    house.profiles.create("acme", TEXT, actor="user:anna")
    with pytest.raises(ConfigError, match="trustworthy"):
        house.profiles.update("acme", TEXT.replace("DRAFT", "FIELD_VERIFIED"), actor="user:anna")


async def test_what_was_proven_is_a_draft_again_when_its_objects_change(house: House) -> None:
    house.profiles.create("acme", TEXT, actor="user:anna")
    await house.profiles.promote("acme", actor="user:anna")
    text = house.profiles.get("acme").text
    house.profiles.update("acme", text.replace("A 1", "A 2"), actor="user:anna")
    assert house.library.get("acme").state is ProfileState.EMULATED
    house.profiles.update("acme", text.replace("scaler = -1", "scaler = -2"), actor="user:anna")
    assert house.library.get("acme").state is ProfileState.DRAFT


def test_a_file_that_a_hand_has_spoilt_is_told_where_it_is_asked_for_and_stops_nothing_else(house: House) -> None:
    house.profiles.create("acme", TEXT, actor="user:anna")
    house.profiles.create("other", TEXT, actor="user:anna")
    file = house.library.path("acme")
    file.write_text(TEXT.replace('"V"', '"Volt"'))
    with pytest.raises(ConfigError, match=r"acme.toml:17"):
        house.profiles.get("acme")
    assert {"other", "eastron-sdm120"} <= {each.id for each in house.profiles.list()}
    assert "acme" not in {each.id for each in house.profiles.list()}
    file.write_text(TEXT)
    assert "acme" in {each.id for each in house.profiles.list()}
    assert [each.actor for each in house.profiles.history("acme")] == ["user:anna", "file"]


def test_a_draft_without_objects_is_not_kept(house: House) -> None:
    with pytest.raises(ConfigError, match="names no object"):
        house.profiles.take_draft(TEXT.partition("[[object]]")[0], actor="user:anna")


def test_meters_are_told_when_they_are_to_be_read_otherwise(tmp_path: Path) -> None:
    told: list[str] = []
    house = House(tmp_path / "profiles", changed=told.append)
    house.profiles.create("acme", TEXT, actor="user:anna")
    assert told == ["acme"]
    house.profiles.update("acme", TEXT.replace("A 1", "A 2"), actor="user:anna")
    assert told == ["acme"]
    house.profiles.update("acme", TEXT.replace("scaler = -1", "scaler = -2"), actor="user:anna")
    house.profiles.retire("acme", actor="user:anna")
    assert told == ["acme"] * 3


def test_drafts_of_meters_with_the_same_fingerprint_are_one_profile(house: House) -> None:
    first = TEXT.replace("[meter]", '[meter]\nfingerprint = "f1-aa"')
    assert house.profiles.take_draft(first, actor="user:anna") == "acme-a-1"
    assert house.profiles.take_draft(first, actor="user:anna") == "acme-a-1"
    other = TEXT.replace("[meter]", '[meter]\nfingerprint = "f1-bb"')
    assert house.profiles.take_draft(other, actor="user:anna") == "acme-a-1-2"
    assert house.profiles.free_id("", "…") == "meter"


def test_a_device_gets_the_profile_that_fits_or_the_one_that_was_drafted(house: House) -> None:
    def papers(draft: str, protocol: str = "modbus", **fields: Any) -> Papers:
        endpoint = Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=502)
        return Papers(
            sighting=Sighting(protocol=protocol, framing="tcp"),
            examination=Examination(endpoint=endpoint, protocol=protocol, framing="tcp"),
            fingerprint=Fingerprint(digest="f1-aa", facts={}),
            classification=Classification(**fields),
            draft=draft,
        )

    profiles = house.profiles
    assert profiles.take_device(papers("", profile_id="eastron-sdm120"), actor="user:anna") == "eastron-sdm120"
    assert profiles.take_device(papers(TEXT, "dlms"), actor="user:anna") == "acme-a-1"
    assert profiles.take_device(papers(TEXT, profile_id="gone"), actor="user:anna") == "acme-a-1-2"
    with pytest.raises(ConfigError, match="shown nothing"):
        profiles.take_device(papers(""), actor="user:anna")
    assert profiles.kept() == {"acme-a-1", "acme-a-1-2"}


def test_what_differs_is_told_object_by_object(house: House) -> None:
    house.profiles.create("acme", TEXT, actor="user:anna")
    changed = TEXT.replace("scaler = -1", "scaler = -2").replace('"3/1-0:1.8.0.255/2"', '"3/1-0:15.8.0.255/2"')
    diff = house.profiles.diff_text(changed + "[association]\nclient = 1\n", "acme")
    assert diff.base == "acme"
    assert [(each.kind, each.table, each.what, each.key, each.before, each.after) for each in diff.changes] == [
        (Difference.GONE, "object", "dlms:3/1-0:1.8.0.255/2", "", "", ""),
        (Difference.ADDED, "object", "dlms:3/1-0:15.8.0.255/2", "", "", "active_energy_import_total"),
        (Difference.CHANGED, "object", "dlms:3/1-0:32.7.0.255/2", "scaler", "-1", "-2"),
        (Difference.CHANGED, "association", "", "client", "", "1"),
    ]
    assert house.profiles.diff("acme").base in house.library.ids()
    assert house.profiles.diff("acme", "acme").changes == ()


async def test_a_draft_is_promoted_when_its_virtual_meter_reads_back(house: House) -> None:
    house.profiles.create("acme", TEXT, actor="user:anna")
    done = await house.profiles.promote("acme", actor="user:bob")
    assert (done.promoted, done.state, done.revision) == (True, ProfileState.EMULATED, 2)
    assert "# as the maker tells" in house.profiles.get("acme").text
    bad = TEXT.replace("scaler = -1", 'scaler = -1\ntype = "uint8"')
    house.profiles.create("bad", bad, actor="user:anna")
    done = await house.profiles.promote("bad", actor="user:bob")
    assert (done.promoted, done.state, len(done.mismatches)) == (False, ProfileState.DRAFT, 1)
    with pytest.raises(ConfigError, match="a meter in the field"):
        await house.profiles.promote("acme", actor="user:bob")


@pytest.mark.parametrize("profile_id", ["generic-dlms-1p", "eastron-sdm120", "generic-dlt645-1p"])
async def test_a_profile_is_tried_on_a_meter_and_verified_by_its_exchanges(tmp_path: Path, profile_id: str) -> None:
    house = House(tmp_path, Library().get(profile_id))
    trial = await house.profiles.test(profile_id, "m1")
    assert [each for each in trial.objects if each.error] == []
    assert trial.answered == len(house.library.get(profile_id).objects)
    assert sum(plan.objects for plan in trial.plans) == trial.answered
    before = len(house.library.get(profile_id).tests)
    done = await house.profiles.promote(profile_id, actor="user:anna", meter_id="m1")
    assert (done.promoted, done.state) == (True, ProfileState.FIELD_VERIFIED)
    tests = house.library.get(profile_id).tests
    assert len(tests) == before + done.tests
    assert done.tests > 3
    for test in tests[before:]:
        ((quantity, value),) = test.readings.items()
        index = next(i for i, each in enumerate(house.virtual.profile.objects) if each.quantity == quantity)
        assert value == pytest.approx(house.virtual.value(index, NOON), abs=10)
        assert test.request
        assert test.response
    with pytest.raises(Conflict, match="field verified already"):
        await house.profiles.promote(profile_id, actor="user:anna", meter_id="m1")
    await house.lanes.aclose()


async def test_a_profile_that_does_not_fit_a_meter_says_where(tmp_path: Path) -> None:
    house = House(tmp_path, Library().get("generic-dlms-1p"))
    wrong = TEXT.replace("scaler = -1", "scaler = 9") + '[[object]]\nref = "3/1-0:99.99.0.255/2"\n'
    house.profiles.create("wrong", wrong, actor="user:anna")
    trial = await house.profiles.test("wrong", "m1")
    assert [each.well for each in trial.objects] == [True, False, False]
    assert "not between" in trial.objects[1].remark
    assert trial.objects[2].error == "object-undefined"
    assert not trial.well
    with pytest.raises(ConfigError, match="is for modbus"):
        await house.profiles.test("eastron-sdm120", "m1")
    with pytest.raises(NotFound):
        await house.profiles.test("wrong", "nobody")
    await house.lanes.aclose()


async def test_values_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    house = House(tmp_path, Library().get("generic-dlms-3p"))
    trial = await house.profiles.test("generic-dlms-3p", "m1")
    assert all(each.well for each in trial.objects)
    values = {"voltage_l1": 230.0, "current_l1": 10.0, "active_power_l1": 2200.0, "apparent_power_l1": 2300.0}

    def odd(**others: float) -> set[str]:
        tried = (ObjectTrial(ref=name, quantity=name, value=value) for name, value in {**values, **others}.items())
        return set(_contradictions(tried))

    assert odd() == set()
    assert odd(active_power_l1=22_000) == {"active_power_l1"}
    assert odd(voltage_l1=23.0) == {"active_power_l1", "apparent_power_l1"}
    assert odd(current_l1=100.0) == {"apparent_power_l1"}
    assert odd(current_l1=0.1, active_power_l1=60) == set()
    await house.lanes.aclose()


async def test_exchanges_that_are_ciphered_verify_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, Library().get("generic-dlms-1p"), is_protected=lambda _meter_id: True)
    with pytest.raises(ConfigError, match="ciphered"):
        await house.profiles.promote("generic-dlms-1p", actor="user:anna", meter_id="m1")
    await house.lanes.aclose()


def test_a_profile_that_meters_use_is_not_retired(tmp_path: Path) -> None:
    house = House.__new__(House)

    async def build() -> None:
        house.__init__(tmp_path, Library().get("generic-dlms-1p"))  # type: ignore[misc]

    asyncio.run(build())
    house.profiles.create("acme", TEXT, actor="user:anna")
    with pytest.raises(Conflict, match="1 meters use"):
        house.profiles.retire("acme", actor="user:anna")


def test_what_was_exported_is_imported_elsewhere_and_each_one_is_reported(tmp_path: Path) -> None:
    here, there = House(tmp_path / "here"), House(tmp_path / "there")
    here.profiles.create("acme", TEXT, actor="user:anna")
    here.profiles.update("acme", TEXT.replace("A 1", "A 2"), actor="user:anna")
    data = b"".join(here.profiles.export())
    results = list(there.profiles.take_in(data + b"nonsense\n", actor="user:bob"))
    assert {each.outcome for each in results} == {"created", "same", "refused"}
    assert [(each.id, each.revision) for each in results if each.outcome == "created"] == [("acme", 2)]
    assert there.profiles.document("acme") == here.profiles.document("acme")
    here.profiles.update("acme", TEXT, actor="user:anna")
    data = b"".join(here.profiles.export(["acme"]))
    assert [each.outcome for each in there.profiles.take_in(data, actor="user:bob")] == ["refused"]
    assert [each.outcome for each in there.profiles.take_in(data, actor="user:bob", change=True)] == ["changed"]
    with pytest.raises(NotFound):
        here.profiles.export(["acme", "nobody"])
    assert orjson.loads(data)["schema"] == "headend-profile/1"


def test_an_object_map_becomes_a_draft(house: House) -> None:
    text = house.profiles.csv("generic-dlms-1p")
    house.profiles.take_in_csv(text, "mapped", vendor="Acme", model="B", actor="user:anna")
    made = house.library.get("mapped")
    assert made.state is ProfileState.DRAFT
    assert made.source == "imported object map, 2025-11-21"
    original = house.library.get("generic-dlms-1p")
    assert [entry.ref for entry in made.objects] == [entry.ref for entry in original.objects]

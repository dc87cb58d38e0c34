"""Profiles against their own virtual meters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headend.drivers.library import Library, load_profile
from headend.errors import ConfigError
from headend.model.profile import MeterProfile
from headend.runtime.rehearsal import rehearse

NOON = 1_763_726_400_000
LIBRARY = list(Library())


@pytest.mark.parametrize("profile", LIBRARY, ids=lambda profile: profile.id)
async def test_every_meter_file_of_the_library_reads_back_what_its_meter_holds(profile: MeterProfile) -> None:
    assert await rehearse(profile, lambda: NOON) == []


async def test_an_object_whose_type_cannot_hold_its_value_is_told() -> None:
    profile = Library().get("generic-dlms-1p")
    objects = tuple(
        replace(entry, type="uint8") if entry.quantity == "active_energy_import_total" else entry
        for entry in profile.objects
    )
    (mismatch,) = await rehearse(replace(profile, objects=objects), lambda: NOON)
    assert mismatch.quantity == "active_energy_import_total"
    assert "does not fit" in mismatch.got


async def test_a_file_of_which_no_meter_can_be_made_says_why() -> None:
    text = '[meter]\nvendor = "A"\nmodel = "B"\nprotocol = "dlms"\nsource = "C"\n'
    text += '[[object]]\nref = "3/1-0:1.8.0.255/2"\ntype = "roman"\n'
    with pytest.raises(ConfigError, match="roman"):
        await rehearse(load_profile(text, "a"), lambda: NOON)

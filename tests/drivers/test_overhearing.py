"""What is overheard in recorded conversations: the values of published frames, and nothing at all in nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.library import Library
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.errors import CapabilityError
from headend.model.profile import MeterProfile, ProfileTest

LIBRARY = Library()
EXCHANGES = [(profile, test) for profile in LIBRARY for test in profile.tests]


@pytest.mark.parametrize(
    ("profile", "exchange"), EXCHANGES, ids=[f"{profile.id}: {test.name}" for profile, test in EXCHANGES]
)
def test_the_annotated_exchanges_of_meter_files_are_overheard(profile: MeterProfile, exchange: ProfileTest) -> None:
    heard = driver(profile.protocol).overhear([(exchange.request, exchange.response)], profile)
    quantities = {entry.ref: entry.quantity for entry in profile.objects}
    got = {
        quantities[ref]: scale(raw, next(each.exponent for each in profile.objects if each.ref == ref))
        for ref, (raw, _, _) in heard.seen.items()
        if quantities.get(ref)
    }
    for quantity, value in exchange.readings.items():
        if quantity != "meter_time":  # told in the way of the protocol
            assert got[quantity] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))


@pytest.mark.parametrize(
    ("name", "profile_id"), [("dlms", "generic-dlms-1p"), ("modbus", "eastron-sdm120"), ("dlt645", "generic-dlt645-1p")]
)
@given(st.lists(st.tuples(st.binary(max_size=60), st.binary(max_size=60)), max_size=5), st.data())
def test_nonsense_tells_nothing_and_breaks_nothing(
    name: str, profile_id: str, exchanges: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    profile = LIBRARY.get(profile_id)
    driver(name).overhear(exchanges, profile)
    known = [test for each in LIBRARY if each.protocol == name for test in each.tests]
    if known:
        test = data.draw(st.sampled_from(known))
        cut = data.draw(st.integers(0, len(test.response)))
        spoilt = test.response[:cut] + bytes(data.draw(st.binary(max_size=4))) + test.response[cut:]
        driver(name).overhear([(test.request, spoilt), *exchanges], profile)


@pytest.mark.parametrize("name", ["modbus", "dlt645"])
def test_a_protocol_whose_objects_have_no_names_needs_a_meter_file(name: str) -> None:
    with pytest.raises(CapabilityError):
        driver(name).overhear([], None)

"""Lists of measurements: the OBIS codes of the standard, and meter files that say the same list again."""

from __future__ import annotations

import pytest

from headend.drivers.library import load_profile
from headend.errors import ConfigError
from headend.services.profiles.measurements import file_of, measurement, measurements_of

# IEC 62056-6-1: group C of phases 1 to 3, D 7 for instantaneous values and 8 for time integral 1
CODES = {
    "voltage_l1": "32.7.0",
    "voltage_l2": "52.7.0",
    "voltage_l3": "72.7.0",
    "current_l1": "31.7.0",
    "current_l2": "51.7.0",
    "current_l3": "71.7.0",
    "frequency": "14.7.0",
    "active_power": "1.7.0",
    "active_energy": "1.8.0",
    "active_energy_export": "2.8.0",
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_names_stand_for_the_codes_of_the_standard(name: str, code: str) -> None:
    assert measurement(name).obis == f"1-0:{code}.255"


def test_a_file_says_the_list_again() -> None:
    wanted = [*map(measurement, CODES), measurement("line", "1-1:16.7.0")]
    profile_id, text = file_of(wanted)
    profile = load_profile(text, profile_id)
    assert measurements_of(profile) == wanted
    assert [entry.scaler for entry in profile.objects] == [None] * len(wanted), "the meter is asked"
    assert str(profile.objects[-1].ref) == "dlms:3/1-1:16.7.0.255/2"
    assert file_of(wanted) == (profile_id, text)
    assert file_of(wanted[1:])[0] != profile_id


@pytest.mark.parametrize(
    ("name", "obis"), [("nothing", ""), ("", ""), ('a"b', "1-0:1.8.0"), ("a", "1-0:1.8"), ("a", "1-0:250.250.250")]
)
def test_what_is_not_known_is_refused(name: str, obis: str) -> None:
    with pytest.raises(ConfigError):
        measurement(name, obis)


def test_a_measurement_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        file_of([measurement("active_energy"), measurement("active_energy_import_total")])

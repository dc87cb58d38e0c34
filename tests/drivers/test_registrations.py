"""Descriptions of logins and heartbeats: those of the package, and what is wrong in others."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.drivers.registrations import Registrations, RegistrationTest, built_in, load_registration
from headend.errors import ConfigError, NotFound
from headend.protocols.base import NEED_DATA
from headend.protocols.registration import Policy, Registered, Registration

EXAMPLES = [
    pytest.param(each.registration, test, id=f"{name}: {test.name}")
    for name, each in built_in().files.items()
    for test in each.tests
]
LEAST = """
[registration]
name = "a family"
source = "nobody"
[field.number]
form = "digits"
octets = 4
[[frame]]
kind = "login"
layout = "7E number"
"""


def test_every_family_has_examples() -> None:
    assert all(each.tests for each in built_in().files.values())


@pytest.mark.parametrize(("registration", "test"), EXAMPLES)
def test_an_example_comes_out_as_stated(registration: Registration, test: RegistrationTest) -> None:
    said = registration.match(test.octets, silent=True) or registration.match_alone(test.octets)
    assert isinstance(said, Registered)
    assert (said.kind, said.number, said.check_ok) == (test.kind, test.number, test.check_ok)
    assert said.octets == test.octets
    if test.acknowledgement is not None:
        assert said.acknowledgement == test.acknowledgement


@pytest.mark.parametrize(("registration", "test"), EXAMPLES)
def test_its_beginnings_are_undecided(registration: Registration, test: RegistrationTest) -> None:
    if not all(form.alone for form in registration.frames):
        assert {registration.match(test.octets[:size]) for size in range(len(test.octets))} <= {NEED_DATA}


def test_a_folder_overrides(tmp_path: Path) -> None:
    (tmp_path / "longi.toml").write_text(LEAST)
    (tmp_path / "ours.toml").write_text(LEAST)
    ours = Registrations([tmp_path])
    assert ours.get("longi").name == "a family"
    assert {"longi", "ours"} <= {each.id for each in ours}
    with pytest.raises(NotFound):
        ours.get("nobody")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of registrations"):
        Registrations([tmp_path / "none"])


def test_the_acknowledgement_of_all_may_be_set() -> None:
    assert {each.policy for each in Registrations(acknowledge=Policy.NEVER)} == {Policy.NEVER}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[registration]", "[registration", "ours.toml"),
        ('name = "a family"', "", r"ours.toml:2: \[registration\] name: expected a text, it is missing"),
        ('name = "a family"', 'nam = "a"', r"ours.toml:3: \[registration\] nam: expected one of"),
        ("octets = 4", "octets = 0", r"ours.toml:7: \[field.number\] octets: expected a number of octets"),
        ("octets = 4", "octets = [9, 4]", r"ours.toml:7: \[field.number\] octets"),
        ("octets = 4", "octets = true", r"ours.toml:7: \[field.number\] octets"),
        ("octets = 4", 'octets = 4\npad = "0000"', r"ours.toml:8: \[field.number\] pad: expected one octet"),
        ("octets = 4", 'octets = 4\nvalues = { "x" = "y" }', r"\[field.number\] values"),
        ("digits", "numbers", r"ours.toml:6: \[field.number\] form: expected digits or alphanumeric"),
        ("login", "logon", r"ours.toml:9: \[frame\] kind: expected login or heartbeat or last-gasp, got 'logon'"),
        ("7E number", "7E numbr", r"ours.toml:10: \[frame\] layout: expected one of number, length, check for numbr"),
        ("7E number", "7G number", r"ours.toml:10: \[frame\] layout: expected octets"),
        ("7E number", "", r"ours.toml:10: \[frame\] layout: expected at least one octet"),
        ("7E number", "7E number check", r"layout: expected a table \[check\]"),
        ("7E number", "'ä' number", r"layout: expected texts in ASCII"),
        ("[[frame]]", "[frame]", r"write \[\[frame\]\]"),
        ("[registration]", "[[registration]]", r"write \[registration\]"),
        ("[field.number]", "[field.length]", r"\[field.length\]: expected a table with a name of its own"),
        ("[registration]", "[check]\nalgorithm='crc'\n[registration]", r"\[check\] algorithm: expected x25 or sum"),
        ("[registration]", "[wrapper]\nsource=[0]\n[registration]", r"\[wrapper\] source: expected a list of ports"),
        ("[registration]", "[registration]\nacknowledge='no'", r"acknowledge: expected when-right or always or never"),
        ("[registration]", "[registration]\nzero_number='no'", r"zero_number: expected peer or number"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "ours.toml").write_text(LEAST.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        Registrations([tmp_path])


def test_no_frame() -> None:
    with pytest.raises(ConfigError, match="expected at least one"):
        load_registration(LEAST[: LEAST.index("[[frame]]")], "ours")


def test_an_answer_needs_its_fields() -> None:
    text = LEAST + 'acknowledgement = "7E device"\n[field.device]\noctets = 1\n'
    with pytest.raises(ConfigError, match="a value for device"):
        load_registration(text, "ours")

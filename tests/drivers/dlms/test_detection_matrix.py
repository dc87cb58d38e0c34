"""Every fact about a meter is right, or said not to be observable, over some hundred generated configurations.

The truth is the configuration of the virtual meter and its object list, by the words of the standard; what is examined is
octets alone. What the wire does show must be told.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from headend.drivers.library import load_profile
from headend.model.discovery import Examination
from tests.services.support import virtual

from .discovered import Place, assert_harmless, served, virtual_meter

FILE = """
[meter]
vendor = "Acme"
model = "A4"
protocol = "dlms"
source = "test"
[[object]]
ref = "1/0-0:42.0.0.255/2"
type = "octet_string"
emulate = {{ value = "ACM1000000000007" }}
[[object]]
ref = "1/0-0:96.1.0.255/2"
type = "octet_string"
emulate = {{ value = "00000007" }}
[[object]]
ref = "1/1-0:0.2.0.255/2"
type = "octet_string"
emulate = {{ value = "2.0" }}
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
{clients}
"""
LISTED = """
[[client]]
sap = 16
[[client]]
sap = 2
params = { auth = "lls" }
secrets = "reader"
[[client]]
sap = 48
params = { auth = "sha256" }
secrets = "settings"
"""
"""clients that association objects tell about"""
PROFILES = {
    listed: load_profile(FILE.format(clients=LISTED if listed else ""), "acme-a4", "test") for listed in (True, False)
}
STATIONS = {
    "1 octet": {"server": "1"},
    "1 octet, 16": {"server": "16"},
    "4 octets": {"server": "1", "physical": "17"},
}
SIZES = ({}, {"max_pdu": "200", "max_info": "512", "window": "3"}, {"max_pdu": "64", "max_info": "64"})
PASSWORD = b"12345678"
LENGTHS = {"0": 16, "1": 16, "2": 32}
SCALARS = {"0": 32, "1": 32, "2": 48}
HLS = ("md5", "sha1", "sha256", "gmac", "ecdsa")


@dataclass(frozen=True)
class Configuration:
    """One meter of the matrix. `client` is that of its owner, which proves itself by `auth`."""

    framing: str
    ref: str
    auth: str
    client: int
    suite: str = "0"
    policy: str = "0"
    station: str = "1 octet"
    sizes: int = 0
    listed: bool = False

    def __str__(self) -> str:
        station = f" {self.station}" if self.framing == "hdlc" else ""
        listed = " listed" if self.listed else ""
        return (
            f"{self.framing}{station} {self.ref} {self.client}:{self.auth} suite {self.suite}"
            f" policy {self.policy} sizes {self.sizes}{listed}"
        )

    @property
    def keyed(self) -> bool:
        return self.policy != "0" or self.auth == "gmac"

    @property
    def secured(self) -> bool:
        return self.keyed or self.auth in HLS

    @property
    def params(self) -> dict[str, str]:
        own = {"client": str(self.client), "ref": self.ref, "auth": self.auth, **SIZES[self.sizes]}
        own |= STATIONS[self.station] if self.framing == "hdlc" else {}
        return own | ({"suite": self.suite, "policy": self.policy} if self.secured else {})

    @property
    def secrets(self) -> dict[str, bytes]:
        length = LENGTHS[self.suite]
        scalar = bytes(SCALARS[self.suite] - 1) + b"\x07"
        found = {"secret": scalar if self.auth == "ecdsa" else PASSWORD, "secret_reader": b"reader!!"}
        found["secret_settings"] = b"settings"
        found["meter_secret"] = bytes(SCALARS[self.suite] - 1) + b"\x09"
        if self.keyed:
            found |= {"ek": bytes(range(length)), "ak": bytes(range(length, 2 * length))}
        return found


def configurations() -> Iterator[Configuration]:
    """All that differ in a way that somebody may get wrong."""
    ways = [("wrapper", "1 octet"), *(("hdlc", station) for station in STATIONS)]
    for (framing, station), ref, auth in itertools.product(ways, ("ln", "sn"), ("none", "lls", *HLS)):
        for client in (1, 16):
            yield Configuration(framing, ref, auth, client, station=station)
        yield Configuration(framing, ref, auth, 1, station=station, sizes=1, listed=True)
    for (framing, station), ref, auth, suite in itertools.product(
        ways[:2], ("ln", "sn"), ("gmac", "lls", "none", "sha256"), ("0", "1", "2")
    ):
        yield Configuration(framing, ref, auth, 1, suite, "3", station)
        yield Configuration(framing, ref, auth, 1, suite, "3", station, sizes=2, listed=True)
    for ref, auth in itertools.product(("ln", "sn"), ("none", "lls", *HLS)):
        yield Configuration("apdu", ref, auth, 1)
    for ref, suite, framing in itertools.product(("ln", "sn"), ("1", "2"), ("wrapper", "hdlc")):
        yield Configuration(framing, ref, "ecdsa", 1, suite)
        yield Configuration(framing, ref, "gmac", 1, suite, sizes=1)


ALL = tuple(dict.fromkeys(configurations()))


def test_the_matrix_is_large_enough() -> None:
    assert len(ALL) >= 200


@pytest.mark.parametrize("configuration", ALL, ids=str)
@virtual
async def test_every_fact_is_right_or_not_observable(configuration: Configuration) -> None:
    meter = virtual_meter(configuration.params, configuration.secrets, PROFILES[configuration.listed])
    place = Place(served(meter))
    examination = await place.examine(framing=configuration.framing)
    assert not examination.stopped
    _check(examination, configuration)
    assert_harmless(place.apdus())
    assert examination.associations <= place.ground.budget.associations
    assert all(0 <= index < len(examination.evidence) for fact in examination.facts for index in fact.evidence)
    assert all(fact.value or fact.note for fact in examination.facts)


def _check(examination: Examination, about: Configuration) -> None:
    told = {fact.name: fact.value for fact in examination.facts}
    public = about.auth == "none" or (about.client != 16 and about.framing != "apdu")
    assert told["framing"] == about.framing
    assert told["referencing"] in ({about.ref} if public else {about.ref, ""})
    assert set(filter(None, told["contexts"].split(","))) <= _contexts(about)
    _check_authentication(told["authentication"], about)
    assert set(filter(None, told["clients"].split(","))) <= {str(client) for client in _authentication(about)}
    server = "16" if about.station.endswith("16") and about.framing == "hdlc" else "1"
    assert told["servers"] in {server, ""}
    sizes = SIZES[about.sizes]
    if public:
        assert told["conformance"] == ("205e5f" if about.ref == "ln" else "381b20")
        assert told["max_pdu"] == sizes.get("max_pdu", "65535")
        assert told["dlms_version"] == "6"
        assert told["logical_device_name"] == "ACM1000000000007"
        assert told["serial_number"] == "00000007"
        assert told["firmware"] == "2.0"
        assert "1-0:1.8.0.255" in {str(info.ref.address).split("/")[1] for info in examination.objects}
    _check_security(told, about, public=public)
    if about.framing == "hdlc":
        assert told["hdlc_address_octets"] == ("2,4" if about.station == "4 octets" else "1,2,4")
        for name in ("receive", "transmit"):
            assert told[f"hdlc_max_info_{name}"] == sizes.get("max_info", "128")
            assert told[f"hdlc_window_{name}"] == sizes.get("window", "1")
    else:
        assert not any(name.startswith("hdlc") for name in told)
    assert "wrapper_wport" not in told


def _check_authentication(value: str, about: Configuration) -> None:
    truth = _authentication(about)
    told = dict(each.split(":") for each in value.split(",") if each)
    assert {int(client): mechanism for client, mechanism in told.items()}.items() <= truth.items()
    if about.framing == "apdu":
        assert not value  # nothing names the client
        return
    if about.client == 1 and about.auth != "lls" and (about.policy == "0" or about.auth == "gmac"):
        assert told["1"] == about.auth
    if about.client == 1:
        assert told["16"] == "none"


def _check_security(told: Mapping[str, str], about: Configuration, *, public: bool) -> None:
    """The setups of clients that are secured may be read by anybody; all of them share what they are about."""
    suites = {about.suite} if about.secured else set()
    policies = {_policy(about)} if about.secured else set()
    if about.listed:
        suites.add("0")
        policies.add("0")
    assert set(filter(None, told["suite"].split(","))) <= suites or (told["suite"] == "none" and not about.secured)
    assert set(filter(None, told["policy"].split(","))) <= policies
    assert told["system_title"] in {"41434d0000000001", "41434d0000000007", ""}
    if public and about.secured and about.ref == "ln":
        assert about.suite in told["suite"].split(",")
        assert told["system_title"]


def _authentication(about: Configuration) -> dict[int, str]:
    """Who may associate, and how, by the meter's configuration."""
    others = {16: "none", 2: "lls"} | ({48: "sha256"} if about.listed else {})
    return others | {about.client: about.auth}


def _contexts(about: Configuration) -> set[str]:
    return {about.ref} | ({f"{about.ref}-ciphered"} if about.keyed else set())


def _policy(about: Configuration) -> str:
    """As a security setup of version 1 tells it: bits for requests and for responses, 3 is authenticated and encrypted."""
    return {"0": "0", "3": "108"}[about.policy]

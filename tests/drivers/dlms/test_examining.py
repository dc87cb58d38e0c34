"""Meters with ways of their own are examined all the same, and no more is asked of them than is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.ground import Budget
from headend.drivers.library import load_profile
from headend.errors import LinkError
from headend.model.discovery import Examination, Sighting, TrialOutcome
from headend.model.meter import Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.profile import MeterProfile
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver
from tests.services.support import virtual

from .discovered import PROFILE, Place, assert_harmless, served, virtual_meter

WRAPPER = Sighting(protocol="dlms", framing="wrapper")
HDLC = Sighting(protocol="dlms", framing="hdlc")
ENERGY = "3/1-0:1.8.0.255/2"
Change = Callable[[bytes], bytes]
LLS = {"client": "1", "auth": "lls"}
PASSWORD = {"secret": b"12345678"}


def same(octets: bytes) -> bytes:
    return octets


class Bent(LinkAround[Link]):
    """The meter's end of a link: what comes and goes is changed, or lost where nothing is left of it."""

    __slots__ = ("came", "goes", "receiver")

    def __init__(self, link: Link, goes: Change = same, came: Change = same) -> None:
        super().__init__(link)
        self.goes, self.came = goes, came
        self.receiver: Receiver | None = None

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        self.receiver = receiver
        self.link.set_receiver(self, buffered)

    def write(self, data: bytes) -> None:
        self.link.write(self.goes(data))

    def data_received(self, data: bytes) -> None:
        changed = self.came(data)
        if changed and self.receiver is not None:
            self.receiver.data_received(changed)

    def link_lost(self, error: LinkError) -> None:
        if self.receiver is not None:
            self.receiver.link_lost(error)


def bent(
    goes: Change = same, came: Change = same, profile: MeterProfile = PROFILE, params: dict[str, str] | None = None
) -> Place:
    meter = virtual_meter(LLS if params is None else params, PASSWORD, profile)
    return Place(served(meter, lambda link: Bent(link, goes, came)))


def facts(examination: Examination) -> dict[str, str]:
    return {fact.name: fact.value for fact in examination.facts}


def trial(examination: Examination, client: int, context: str = "ln", mechanism: str = "none") -> TrialOutcome:
    wanted = (client, context, mechanism)
    (found,) = (each for each in examination.trials if (each.client, each.context, each.mechanism) == wanted)
    return found.outcome


async def read(place: Place, examination: Examination) -> object:
    """One register by what was learned, on another connection."""
    meter = Meter(
        id="m", protocol="dlms", framing=examination.framing, endpoint=place.ground.endpoint, params=examination.params
    )
    link = await place.ground.link()
    session = await DlmsDriver().attach(link, meter, None, {})
    result = await session.read(ReadPlan(entries=(ObjectEntry(ref=place.driver.parse_ref(ENERGY), scaler=None),)))
    await session.aclose()
    return result.values[0]


@virtual
async def test_an_ordinary_meter() -> None:
    """One link for the probe, one for all the rest; every conclusion points to octets."""
    place = Place(served(virtual_meter(LLS, PASSWORD)))
    examination = await place.examine(framing="wrapper")
    assert not examination.stopped
    assert place.ground.links == 2
    told = facts(examination)
    assert told["authentication"] == "1:lls,16:none"
    assert told["logical_device_name"] == examination.identity.logical_device_name == "HED1000000000007"
    assert examination.identity.manufacturer == told["logical_device_name_flag"] == "HED"
    assert examination.identity.serial == told["serial_number"] == "00000007"
    assert examination.identity.firmware == told["firmware"] == "1.4.2"
    assert examination.values["1/0-0:42.0.0.255/2"] == "HED1000000000007"
    assert dict(examination.params) == {"client": "16", "server": "1"}
    assert trial(examination, 1, mechanism="lls") is TrialOutcome.WANTS_SECRET
    assert trial(examination, 32) is TrialOutcome.REJECTED
    assert isinstance(await read(place, examination), int)
    by_name = {fact.name: fact for fact in examination.facts}
    (place_of_list,) = by_name["logical_device_name"].evidence
    assert b"HED1000000000007" in examination.evidence[place_of_list].received
    assert bytes.fromhex("6185") not in examination.evidence[by_name["conformance"].evidence[0]].received
    assert examination.evidence[by_name["conformance"].evidence[0]].received[8] == 0x61


@virtual
async def test_the_same_meter_tells_the_same_twice() -> None:
    first, second = [await Place(served(virtual_meter(LLS, PASSWORD))).examine(framing="wrapper") for _ in range(2)]
    assert (first.facts, first.trials, first.values) == (second.facts, second.trials, second.values)
    assert [each.sent for each in first.evidence] == [each.sent for each in second.evidence]


@virtual
async def test_ports_the_wrong_way_round() -> None:
    place = bent(goes=lambda octets: octets[:2] + octets[4:6] + octets[2:4] + octets[6:])
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert facts(examination)["wrapper_wport"] == "16"
    assert isinstance(await read(place, examination), int)


@virtual
async def test_a_meter_that_answers_from_another_port() -> None:
    """It is asked there then; what is learned is how it is read."""
    place = bent(
        goes=lambda octets: octets[:2] + b"\x00\x05" + octets[4:],
        came=lambda octets: octets[:4] + b"\x00\x01" + octets[6:],
    )
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert facts(examination)["wrapper_wport"] == "5"
    assert examination.params["server"] == "5"
    assert isinstance(await read(place, examination), int)


@virtual
async def test_clients_that_meet_silence() -> None:
    """Who is not known is not answered. One time-out tells it; the others are spared."""
    place = bent(came=lambda octets: octets if octets[2:4] in {b"\x00\x10", b"\x00\x01"} else b"")
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert trial(examination, 32) is TrialOutcome.SILENT
    assert {trial(examination, client) for client in (48, 2, 17)} == {TrialOutcome.NOT_TRIED}
    assert facts(examination)["clients"] == "1,16"
    assert asyncio.get_running_loop().time() < 6


@virtual
async def test_a_meter_that_closes_after_each_refusal() -> None:
    links: list[Bent] = []

    def goes(octets: bytes) -> bytes:
        if octets[8:9] == b"\x61" and octets[25:26] == b"\x01":
            asyncio.get_running_loop().call_soon(links[-1].abort)
        return octets

    def around(link: Link) -> Link:
        links.append(Bent(link, goes))
        return links[-1]

    place = Place(served(virtual_meter({"client": "1"}, {}), around))
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert facts(examination)["authentication"] == "1:none,2:lls,16:none"
    assert 5 <= place.ground.links <= 16


@virtual
async def test_a_meter_that_takes_one_association_on_each_connection() -> None:
    """The second one on the same is not answered: after that each gets a connection of its own."""

    class Once(Bent):
        __slots__ = ("asked",)

        def data_received(self, data: bytes) -> None:
            self.asked = getattr(self, "asked", 0) + (data[8:9] == b"\x60")
            if self.asked < 2:
                super().data_received(data)

    place = Place(served(virtual_meter(LLS, PASSWORD), Once))
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert facts(examination)["authentication"] == "1:lls,16:none"
    assert trial(examination, 32) is TrialOutcome.REJECTED
    assert place.ground.links <= examination.associations
    assert asyncio.get_running_loop().time() < 3


@virtual
async def test_a_meter_that_falls_silent_at_lists() -> None:
    """It is read one attribute at a time, and whoever reads it later is told so."""
    place = bent(came=lambda octets: b"" if octets[8:10] == b"\xc0\x03" else octets)
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert examination.params["lists"] == "no"
    assert examination.objects
    assert facts(examination)["serial_number"] == "00000007"


@pytest.mark.parametrize("ref", ["ln", "sn"])
@virtual
async def test_a_meter_that_leaves_the_wrapper_out(ref: str) -> None:
    """After the first exchange it sends APDUs without header."""
    place = Place(served(virtual_meter({"bare": "yes", "ref": ref}, {})))
    examination = await place.examine(framing="wrapper")
    assert not examination.stopped
    assert examination.params["bare"] == "yes"
    assert facts(examination)["referencing"] == ref
    assert facts(examination)["serial_number"] == "00000007"
    assert isinstance(await read(place, examination), int)


@virtual
async def test_hdlc_without_negotiation() -> None:
    """An SNRM with parameters is not answered: without them it is."""
    place = bent(came=lambda octets: b"" if octets[5:6] == b"\x93" and len(octets) > 9 else octets)
    examination = await place.examine(HDLC)
    assert not examination.stopped
    assert facts(examination)["hdlc_max_info_receive"] == "128"
    assert isinstance(await read(place, examination), int)


@virtual
async def test_a_link_that_is_proposed_large() -> None:
    """What the meter is able to shows only to who proposes more."""
    params = {**LLS, "max_info": "1024", "window": "3"}
    examination = await Place(served(virtual_meter(params, PASSWORD))).examine(HDLC)
    told = facts(examination)
    assert [told[f"hdlc_{name}"] for name in ("max_info_receive", "max_info_transmit")] == ["1024", "1024"]
    assert [told[f"hdlc_{name}"] for name in ("window_receive", "window_transmit")] == ["3", "3"]
    assert told["hdlc_address_octets"] == "1,2,4"


@virtual
async def test_a_meter_without_an_object_list() -> None:
    """What is usual is asked for then."""
    text = """
[meter]
vendor = "Acme"
model = "A5"
protocol = "dlms"
source = "test"
[[object]]
ref = "1/0-0:96.1.0.255/2"
type = "octet_string"
emulate = { value = "00000042" }
[[client]]
sap = 16
access = [{ ref = "15/0-0:40.0.0.255/2", allow = [] }]
"""
    place = bent(profile=load_profile(text, "acme-a5", "test"))
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert not examination.objects
    assert facts(examination)["serial_number"] == "00000042"
    assert dict(examination.params)["auth"] == "lls"  # the public client shows no register


@virtual
async def test_associations_are_spaced() -> None:
    place = Place(served(virtual_meter(LLS, PASSWORD)), budget=Budget(spacing=0.5))
    examination = await place.examine(WRAPPER)
    assert not examination.stopped
    assert asyncio.get_running_loop().time() > 0.5 * (examination.associations - 1) - 0.1


@virtual
async def test_a_larger_budget_asks_more_clients() -> None:
    usual = await Place(served(virtual_meter(LLS, PASSWORD))).examine(WRAPPER)
    more = await Place(served(virtual_meter(LLS, PASSWORD)), budget=Budget(associations=64)).examine(WRAPPER)
    clients = [{each.client for each in examination.trials} for examination in (usual, more)]
    assert {102, 103} <= clients[1] - clients[0]
    assert facts(usual)["authentication"] == "1:lls,16:none"
    assert facts(more)["authentication"] == "1:lls,2:lls,16:none"


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@virtual
async def test_with_the_secrets_of_its_owner(framing: str) -> None:
    """More is seen: the clients that the public one may not ask about. The password goes over the wire once."""
    text = """
[meter]
vendor = "Acme"
model = "A6"
protocol = "dlms"
source = "test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[client]]
sap = 16
objects = ["1/0-0:42.0.0.255"]
"""
    place = bent(profile=load_profile(text, "acme-a6", "test"))
    sighting = Sighting(protocol="dlms", framing=framing, params=LLS)
    examination = await place.examine(sighting, {name: Secret(octets) for name, octets in PASSWORD.items()})
    assert not examination.stopped
    assert ENERGY in {info.ref.address for info in examination.objects}
    assert dict(examination.params) == LLS
    assert trial(examination, 1, mechanism="lls") is TrialOutcome.ACCEPTED
    assert b"".join(bytes(octets) for octets in place.sent).count(PASSWORD["secret"]) == 1
    assert not any(PASSWORD["secret"] in each.sent for each in examination.evidence)
    assert_harmless([apdu for apdu in place.apdus() if getattr(apdu, "mechanism", None) != 1])


@virtual
async def test_secrets_that_nobody_has_said_what_they_are_for() -> None:
    """For which client and mechanism they are is not guessed."""
    place = Place(served(virtual_meter(LLS, PASSWORD)))
    examination = await place.examine(WRAPPER, {name: Secret(octets) for name, octets in PASSWORD.items()})
    assert not examination.stopped
    assert_harmless(place.apdus())


@virtual
async def test_stations_of_a_line() -> None:
    """Several meters behind one port: those that are named are looked for, each by its physical device."""
    place = Place(served(virtual_meter({"physical": "5"}, {})), timeout=0.3)
    place.ground.units = (4, 5)
    (probe,) = (each for each in place.driver.probes() if each.framing == "hdlc")
    (sighting,) = await probe.run(place.ground)
    assert dict(sighting.params) == {"client": "16", "server": "1", "physical": "5"}


DISC, UA = 0x53, 0x73


@pytest.mark.parametrize("silent_from", [2, 3, 5, 8, 12])
@virtual
async def test_hdlc_is_always_disconnected(silent_from: int) -> None:
    """Whatever comes in between: a link that the meter has opened is ended, also where it answers no more."""
    answers: list[bytes] = []

    def goes(octets: bytes) -> bytes:
        answers.append(octets)
        return octets if len(answers) < silent_from else b""

    place = bent(goes=goes)
    await place.examine(HDLC)
    opened = [bytes(octets) for octets in place.sent if octets]
    assert opened
    assert all(octets[-4:-3] == bytes((DISC,)) for octets in opened[:1])


@pytest.mark.parametrize("seconds", [0.35, 0.5, 0.8])
@virtual
async def test_an_association_is_released_when_time_is_up(seconds: float) -> None:
    """Cut short while it is read: the last that is said is the release."""

    class Slow(Bent):
        def write(self, data: bytes) -> None:
            asyncio.get_running_loop().call_later(0.1, super().write, data)

    meter = virtual_meter(LLS, PASSWORD)
    place = Place(served(meter, Slow), budget=Budget(seconds=seconds))
    examination = await place.examine(WRAPPER)
    assert "as long as a discovery may take" in examination.stopped
    accepted = examination.evidence[0].received[8:9] == b"\x61"
    assert accepted
    assert bytes(place.sent[0]).endswith(bytes.fromhex("0001 0005 6203800100"))


@virtual
async def test_the_client_of_the_owner_is_asked_for_nothing_else() -> None:
    """No mechanism is searched for in the name of a client whose secret is there: that would be a second attempt."""
    place = Place(served(virtual_meter({"client": "1", "auth": "sha256"}, PASSWORD)))
    sighting = Sighting(protocol="dlms", framing="wrapper", params={"client": "1", "auth": "sha256"})
    examination = await place.examine(sighting, {"secret": Secret(b"wrong!!!")})
    asked = [each for each in examination.trials if each.client == 1 and each.mechanism != "none"]
    assert [(each.mechanism, each.outcome) for each in asked] == [("sha256", TrialOutcome.REJECTED)]

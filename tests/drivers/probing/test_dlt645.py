"""Discovery of DL/T 645: who is sighted, who is on a line, what is learned, and that only reads are sent."""

from __future__ import annotations

import asyncio
from functools import reduce
from typing import Any

import pytest

from headend.drivers.dlt645 import driver
from headend.drivers.dlt645.probing import v1997, v2007
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.discovery import Examination, Sighting
from headend.model.meter import Endpoint, EndpointKind, Secret
from headend.protocols.base import NeedData
from headend.protocols.dlt645.frame import Address, Frame, FrameExtractor, encode_frame
from tests.services.support import virtual

from .support import LIBRARY, NOON, Site, meter

PROFILES = [profile.id for profile in LIBRARY if profile.protocol == "dlt645"]
READS = {0x11, 0x12, 0x13, 0x01, 0x02}
SERIAL = Endpoint(kind=EndpointKind.SERIAL, path="/dev/ttyUSB7", baud=9600, line="8N1")
ASK_ADDRESS = "FE FE FE FE 68 AA AA AA AA AA AA 68 13 00 DF 16"
ASK_1997 = "FE FE FE FE 68 99 99 99 99 99 99 68 01 02 43 C3 6F 16"


def only_reads(site: Site) -> list[Frame]:
    """Every octet that was sent belongs to a frame that reads."""
    extractor = FrameExtractor()
    frames = []
    for burst in site.sent:
        extractor.receive_data(burst)
        while not isinstance(frame := extractor.next_frame(), NeedData):
            assert frame.control in READS, frame
            frames.append(frame)
    assert not extractor.dropped
    assert not extractor.pending
    return frames


def facts(examination: Examination) -> dict[str, str]:
    return {fact.name: fact.value for fact in examination.facts}


@pytest.mark.parametrize("profile_id", PROFILES)
def test_every_meter_of_the_library_is_sighted_and_examined(profile_id: str) -> None:
    @virtual
    async def found() -> None:
        site = Site.of(driver, meter(profile_id, 711))
        ground = site.ground()
        (sighting,) = await site.probed(driver, ground)
        edition = "1997" if "1997" in profile_id else "2007"
        assert sighting.params["address"] == "000000000711"
        assert sighting.params.get("version", "2007") == edition
        assert driver.check_params(sighting.params) is None
        examination = await driver.examine(ground, sighting)
        assert not examination.stopped
        known = facts(examination)
        assert known["edition"] == edition
        assert (known["meter_address"], known["serial_number"]) == ("000000000711", "000000000711")
        for fact in examination.facts:
            assert all(index < len(examination.evidence) for index in fact.evidence)
        for other in (each for each in LIBRARY if each.protocol == "dlt645"):
            fits = all(rule.fits(known.get(rule.fact, "")) for rule in other.detect)
            assert fits is (other.id == profile_id), other.id
        assert not site.left_open
        only_reads(site)

    found()


@virtual
async def test_what_a_meter_says_of_itself() -> None:
    site = Site.of(driver, meter("generic-dlt645-3p"))
    examination = await site.discovered(driver, site.ground())
    known = facts(examination)
    assert (known["model_text"], known["manufacturer_text"], known["firmware"]) == ("DTZ-3P", "Generic", "1.4.2")
    assert known["0400040D"] == "DL/T645-2007"
    assert known["plausible"] == "frequency=02800002,voltage_l1=02010100,voltage_l2=02010200"
    assert examination.identity.meter_address == "000000000042"


@virtual
async def test_no_password_is_sent() -> None:
    one = VirtualMeter(MeterKind(LIBRARY.get("generic-dlt645-3p"), lambda: NOON), 42, 0, {}, {})
    site = Site.of(driver, one)
    ground = site.ground()
    (sighting,) = await site.probed(driver, ground)
    await driver.examine(ground, sighting, {"secret": Secret(b"135791")})
    for frame in only_reads(site):
        assert len(frame.data) <= 5


# --- vectors ---

ANSWERS_2007 = {
    # 93: the address twice, low octet first; the second time 33H is added
    "an address": (
        "FE FE FE FE 68 11 07 00 00 00 20 68 93 06 44 3A 33 33 33 53 0B 16",
        "200000000711",
    ),
    # captured; the sources are aixiwang/python_dlt645 and a driver's comments
    "of a real meter": ("68 69 40 17 10 12 00 68 93 06 9C 73 4A 43 45 33 5F 16", "001210174069"),
    "of another one": ("FE FE FE FE 68 20 64 31 32 03 00 68 93 06 53 97 64 65 36 33 6F 16", "000332316420"),
    "refused, which is an answer": ("68 11 07 00 00 00 20 68 D3 01 35 11 16", "200000000711"),
    "our own octets": (ASK_ADDRESS, ""),
    "wrong checksum": ("68 11 07 00 00 00 20 68 93 06 44 3A 33 33 33 53 0C 16", ""),
    "an answer to something else": ("68 11 07 00 00 00 20 68 94 00 9C 16", ""),
    "a wrapper of DLMS": ("00 01 00 01 00 10 00 03 D8 01 01", ""),
    "M-Bus": ("68 03 03 68 08 01 72 7B 16", ""),
}


@pytest.mark.parametrize("name", ANSWERS_2007)
def test_what_is_an_answer(name: str) -> None:
    text, address = ANSWERS_2007[name]
    answer = bytes.fromhex(text)

    @virtual
    async def asked() -> None:
        site = Site.saying(lambda data: answer if data == bytes.fromhex(ASK_ADDRESS) else b"")
        found = await v2007(site.ground())
        assert [each.params["address"] for each in found] == ([address] if address else [])
        only_reads(site)

    asked()


@virtual
async def test_a_meter_of_1997() -> None:
    # 81: 9010 and four octets of BCD, 33H added: 123456.78 kWh
    answer = bytes.fromhex("68 34 12 00 00 00 00 68 81 06 43 C3 AB 89 67 45 83 16")
    site = Site.saying(lambda data: answer if data == bytes.fromhex(ASK_1997) else b"")
    (found,) = await site.probed(driver, site.ground())
    assert dict(found.params) == {"address": "000000001234", "version": "1997"}


@virtual
async def test_a_meter_that_speaks_unasked_is_sighted() -> None:
    heartbeat = encode_frame(Frame(Address.parse("31415926"), 0x91, bytes.fromhex("00000100 78563412")))

    def accept(far: Any) -> None:
        far.write(heartbeat)

    found = await v2007(Site(accept).ground())
    assert [each.params["address"] for each in found] == ["000031415926"]


# --- lines with several meters ---


class Bus:
    """Meters on one line that answer at the same time: where one pulls the line down, it is down."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [Address.parse(address) for address in addresses]

    def say(self, data: bytes) -> bytes:
        extractor = FrameExtractor()
        extractor.receive_data(data)
        asked = extractor.next_frame()
        if not isinstance(asked, Frame) or asked.control not in (0x13, 0x11):
            return b""
        meant = [own for own in self.addresses if asked.address.matches(own)]
        body = [own.octets if asked.control == 0x13 else asked.data[:4] + own.octets[:4] for own in meant]
        said = [encode_frame(Frame(own, asked.control | 0x80, data)) for own, data in zip(meant, body, strict=True)]
        return (
            bytes(reduce(lambda one, other: bytes(a & b for a, b in zip(one, other, strict=False)), said))
            if said
            else b""
        )


@virtual
async def test_meters_that_answer_at_once_are_told_apart() -> None:
    bus = Bus("000000000711", "000000000712", "000000110712", "123456789003")
    site = Site.saying(bus.say)
    ground = site.ground(seconds=400.0)
    found = await v2007(ground)
    assert sorted(each.params["address"] for each in found) == [
        str(address) for address in sorted(bus.addresses, key=str)
    ]
    only_reads(site)


@virtual
async def test_the_search_of_a_line_ends_with_its_share_of_the_time() -> None:
    site = Site.saying(Bus("000000000003", "000000000004", "000000000099").say)
    ground = site.ground(seconds=60.0)
    found = await v2007(ground)
    assert [each.params["address"] for each in found] == ["000000000003", "000000000004"]
    assert ground.seconds_left > 25.0
    assert "not searched" in ground.evidence[-1].note


@virtual
async def test_virtual_meters_of_one_line_are_told_apart() -> None:
    site = Site.of(driver, meter("generic-dlt645-3p", 7), meter("generic-dlt645-1p", 23))
    found = await site.probed(driver, site.ground(seconds=300.0))
    assert [each.params["address"] for each in found] == ["000000000007", "000000000023"]


@virtual
async def test_virtual_meters_of_1997_are_told_apart() -> None:
    site = Site.of(driver, meter("generic-dlt645-1997", 2), meter("generic-dlt645-1997", 31))
    found = await site.probed(driver, site.ground(seconds=300.0))
    assert [dict(each.params) for each in found] == [
        {"address": "000000000002", "version": "1997"},
        {"address": "000000000031", "version": "1997"},
    ]


@virtual
async def test_a_line_is_searched_without_a_sign_where_everything_is_asked_for() -> None:
    """Some answer to their address alone."""
    bus = Bus("000000000007", "000000000023")
    site = Site.saying(lambda data: b"" if data[5:11] == b"\xaa" * 6 else bus.say(data))
    assert not await site.probed(driver, site.ground())
    found = await site.probed(driver, site.ground(seconds=200.0), exhaustive=True)
    assert [each.params["address"] for each in found] == ["000000000007", "000000000023"]


@virtual
async def test_a_serial_line_at_the_speed_of_the_standard() -> None:
    one = meter("generic-dlt645-1p")
    site = Site(lambda _: None)

    def accept(far: Any) -> None:
        if (site.opened[-1].baud, site.opened[-1].line) == (2400, "8E1"):
            driver.serve(far, one)

    site.accept = accept
    ground = site.ground(SERIAL)
    (sighting,) = await site.probed(driver, ground)
    assert sighting.framing == "serial"
    examination = await driver.examine(ground, sighting)
    assert (examination.endpoint.baud, examination.endpoint.line) == (2400, "8E1")
    assert facts(examination)["edition"] == "2007"


@virtual
async def test_silence_costs_what_the_probe_says() -> None:
    for probe in driver.probes():
        if probe.exhaustive:
            continue
        began = asyncio.get_running_loop().time()
        assert not await probe.run(Site.saying(lambda _: b"").ground(timeout=2.0))
        assert asyncio.get_running_loop().time() - began < probe.cost * 2.2


# --- faults ---

FAULTS: dict[str, dict[str, Any]] = {
    "loss": {"loss": 0.3},
    "corruption": {"corruption": 0.3},
    "latency": {"latency": 0.5, "jitter": 0.3},
    "slower than the time-out": {"latency": 1.2},
    "duplicates": {"duplicate": 0.5},
    "late duplicates": {"duplicate": 0.5, "latency": 0.05, "jitter": 0.05},
    "octet by octet": {"split": 1, "duplicate": 0.02},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(2))
def test_no_fault_makes_a_wrong_fact(fault: str, seed: int) -> None:
    @virtual
    async def troubled() -> None:
        right = facts(await Site.of(driver, meter("generic-dlt645-3p")).discovered(driver, _ground()))
        site = Site.of(driver, meter("generic-dlt645-3p"), **FAULTS[fault], seed=seed)
        ground = site.ground(seconds=60.0)
        began = asyncio.get_running_loop().time()
        for sighting in await v2007(ground):
            assert sighting.params["address"] == "000000000042"
            seen = facts(await driver.examine(ground, sighting))
            plausible = set(seen.pop("plausible", "").split(",")) - {""}
            assert plausible <= set(right["plausible"].split(","))
            assert not {name: value for name, value in seen.items() if value and right[name] != value}
        assert asyncio.get_running_loop().time() - began < 65.0
        assert not site.left_open

    def _ground() -> Any:
        return Site.of(driver, meter("generic-dlt645-3p")).ground()

    troubled()


@pytest.mark.parametrize("say", [lambda _: None, lambda _: b"", lambda data: data, lambda _: b"\x68" * 300])
def test_whoever_changes_behind_a_sighting_ends_it_soon(say: Any) -> None:
    @virtual
    async def changed() -> None:
        good = Site.of(driver, meter("generic-dlt645-1p"))
        (sighting,) = await v2007(good.ground())
        site = Site.saying(say)
        ground = site.ground()
        examination = await driver.examine(ground, sighting)
        assert examination.stopped
        assert {fact.name for fact in examination.facts} == {"protocol", "framing"}
        assert ground.seconds_left > 30
        assert not await v1997(Site.saying(say).ground())

    changed()


@pytest.mark.parametrize(("profile_id", "edition"), [("generic-dlt645-3p", "2007"), ("generic-dlt645-1997", "1997")])
def test_a_meter_of_which_nothing_is_known_but_the_place(profile_id: str, edition: str) -> None:
    @virtual
    async def examined() -> None:
        site = Site.of(driver, meter(profile_id))
        for params in ({"version": "auto", "address": "42"}, {"version": edition}):
            sighting = Sighting(protocol="dlt645", framing="tcp", params=params)
            examination = await driver.examine(site.ground(), sighting)
            assert facts(examination)["edition"] == edition
            assert facts(examination)["meter_address"] == examination.params["address"] == "000000000042"

    examined()


@virtual
async def test_the_evidence_of_each_meter_on_a_line_is_its_own() -> None:
    site = Site.of(driver, meter("generic-dlt645-3p", 7), meter("generic-dlt645-1p", 23))
    ground = site.ground(seconds=300.0)
    for sighting in await site.probed(driver, ground):
        examination = await driver.examine(ground, sighting)
        assert len(examination.evidence) < 25
        known = {fact.name: fact for fact in examination.facts}
        (index,) = known["serial_number"].evidence
        octets = Address.parse(sighting.params["address"]).octets
        assert octets in examination.evidence[index].received
        assert octets in examination.evidence[known["protocol"].evidence[0]].received

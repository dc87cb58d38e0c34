"""Discovery of Modbus: who is sighted, what is learned, and that nothing is ever written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headend.drivers.ground import stations
from headend.drivers.modbus import driver
from headend.drivers.modbus.probing import rtu, tcp
from headend.drivers.modbus.refs import register_ref
from headend.drivers.modbus.signs import built_in, rule_ref
from headend.errors import ConfigError, ConnectRefused, LinkError
from headend.model.discovery import Examination
from headend.model.meter import Endpoint, EndpointKind
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus.connection import ModbusConnection, RequestAdu
from headend.protocols.modbus.framing import crc16
from headend.protocols.modbus.pdu import ReadDeviceIdentification, ReadRequest, ReportServerId
from tests.services.support import virtual

from .support import LIBRARY, Site, meter

PROFILES = [profile.id for profile in LIBRARY if profile.protocol == "modbus"]
SERIAL = Endpoint(kind=EndpointKind.SERIAL, path="/dev/ttyUSB7", baud=9600, line="8N1")


def octets(text: str) -> bytes:
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


def only_reads(site: Site, *, rtu: bool = False) -> list[RequestAdu]:
    """Every octet that was sent belongs to a request that reads."""
    peer = ModbusConnection(Role.SERVER, rtu=rtu)
    asked = []
    for burst in site.sent:
        peer.receive_data(burst)
        while (event := peer.next_event()) is not NEED_DATA:
            assert isinstance(event, RequestAdu)
            assert isinstance(event.request, ReadRequest | ReadDeviceIdentification | ReportServerId), event
            asked.append(event)
    assert not peer.pending
    return asked


def facts(examination: Examination) -> dict[str, str]:
    return {fact.name: fact.value for fact in examination.facts}


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize("profile_id", PROFILES)
def test_every_meter_of_the_library_is_sighted_and_examined(profile_id: str, framing: str) -> None:
    @virtual
    async def found() -> None:
        profile = LIBRARY.get(profile_id)
        site = Site.of(driver, meter(profile_id))
        ground = site.ground()
        sightings = await (tcp if framing == "tcp" else rtu)(ground)
        assert [(each.protocol, each.framing, dict(each.params)) for each in sightings] == [
            ("modbus", framing, {"unit": "1"})
        ]
        examination = await driver.examine(ground, sightings[0])
        assert not examination.stopped
        known = facts(examination)
        assert (known["protocol"], known["framing"]) == ("modbus", framing)
        silent = "no-device-identification" in profile.quirks
        assert known.get("device_id_vendor") == (None if silent else profile.vendor)
        assert known["functions"] == ("3:0,4:0,17:1,43:1" if silent else "3:0,4:0,17:0,43:0")
        for fact in examination.facts:
            assert fact.evidence
            assert all(index < len(examination.evidence) for index in fact.evidence)
        fits = [rule for rule in profile.detect if rule.fits(known.get(rule.fact, ""))]
        assert fits == list(profile.detect), "the rules of its own meter file hold"
        assert not site.left_open
        only_reads(site, rtu=framing == "rtu")

    found()


@virtual
async def test_own_words_of_a_meter_whose_rules_hold() -> None:
    one = meter("abb-b23", 1234)
    site = Site.of(driver, one)
    examination = await site.discovered(driver, site.ground())
    assert facts(examination)["serial_number"] == "1234"
    assert examination.identity.serial == "1234"
    assert examination.values["holding/0x8960/text2"] == "B23"


@virtual
async def test_what_another_meter_measures_where_one_has_its_identification_is_no_fact() -> None:
    """The MPM3PM measures at 0x000B, where Carlo Gavazzi has its codes: that changes from one second to the next."""
    site = Site.of(driver, meter("bernecker-mpm3pm"))
    examination = await site.discovered(driver, site.ground())
    assert "holding/0x000B/u16" not in facts(examination)
    assert "holding/0x000B/u16" in examination.values


def test_every_modbus_meter_has_a_rule() -> None:
    for profile in built_in():
        assert profile.detect, profile.id
        for rule in profile.detect:
            ref = rule_ref(rule.fact)
            assert ref is None or str(register_ref(rule.fact)) == rule.fact, "as the facts are named"


# --- vectors: what others answer, octet by octet ---

IDENTIFICATION_TCP = octets("0001 0000 0005 01 2B 0E 01 00")
ANSWERS = {
    "exception": ("0001 0000 0003 01 AB 01", True),
    "identification": (
        """0001 0000 0024 01 2B 0E
        01 01 00 00 03                              # basic, conformity basic, nothing follows, three objects
        00 07 41 63 6D 65 20 41 47                  # Acme AG
        01 05 58 31 30 30 30                        # X1000
        02 06 56 32 2E 31 30 30                     # V2.100
        """,
        True,
    ),
    "another transaction": ("0002 0000 0003 01 AB 01", False),
    "another unit": ("0001 0000 0003 02 AB 01", False),
    "another function": ("0001 0000 0003 01 83 02", False),
    "an echo": ("0001 0000 0005 01 2B 0E 01 00", False),
    "half of it": ("0001 0000 0003 01", False),
    "a web server": ("48 54 54 50 2F 31 2E 31 20 34 30 30 20 42 61 64", False),
    "a wrapper of DLMS": ("0001 0001 0010 0003 D8 01 01", False),
    "the gateway reaches nobody": ("0001 0000 0003 01 AB 0B", False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_an_answer(name: str) -> None:
    answer, there = octets(ANSWERS[name][0]), ANSWERS[name][1]
    if name == "identification":
        answer = answer[:4] + (len(answer) - 6).to_bytes(2, "big") + answer[6:]

    @virtual
    async def asked() -> None:
        site = Site.saying(lambda data: answer if data == IDENTIFICATION_TCP else b"")
        sightings = await tcp(site.ground())
        assert bool(sightings) is there
        assert not site.left_open

    asked()


ANSWERS_RTU = {
    "exception": (lambda: frame("01 AB 01"), True),
    "echo, then the answer": (lambda: octets("01 2B 0E 01 00 70 77") + frame("01 AB 01"), True),
    "echo alone": (lambda: octets("01 2B 0E 01 00 70 77"), False),
    "noise before it": (lambda: octets("FE 00 01 2B") + frame("01 AB 01"), True),
    "wrong CRC": (lambda: frame("01 AB 01")[:-1] + b"\0", False),
    "another unit": (lambda: frame("02 AB 01"), False),
}


def frame(text: str) -> bytes:
    body = octets(text)
    return body + crc16(body).to_bytes(2, "little")


@pytest.mark.parametrize("name", ANSWERS_RTU)
def test_what_is_an_answer_in_rtu(name: str) -> None:
    made, there = ANSWERS_RTU[name]

    @virtual
    async def asked() -> None:
        site = Site.saying(lambda data: made() if data[1] == 0x2B and data[0] == 1 else b"")
        sightings = await rtu(site.ground())
        assert bool(sightings) is there

    asked()


@virtual
async def test_an_echo_server_is_nobody() -> None:
    site = Site.saying(lambda data: data)
    assert not await site.probed(driver, site.ground())
    assert not await site.probed(driver, site.ground(seconds=1000), exhaustive=True)
    only_reads(Site.saying(lambda _: b""))


@virtual
async def test_whoever_closes_is_nobody_and_soon_left_alone() -> None:
    site = Site.saying(lambda _: None)
    assert not await site.probed(driver, site.ground())
    assert len(site.opened) <= 6


@virtual
async def test_silence_costs_what_the_probe_says() -> None:
    for probe in driver.probes():
        if probe.exhaustive:
            continue
        site = Site.saying(lambda _: b"")
        ground = site.ground(timeout=2.0)
        began = asyncio.get_running_loop().time()
        assert not await probe.run(ground)
        taken = asyncio.get_running_loop().time() - began
        assert taken < probe.cost * 2.3, (probe.name, taken)


@virtual
async def test_where_nobody_listens() -> None:
    async def refuse(_endpoint: Endpoint, _timeout: float) -> Any:
        raise ConnectRefused("nobody")

    site = Site.saying(lambda _: b"")
    ground = site.ground()
    ground._open_link = refuse
    with pytest.raises(LinkError):
        await tcp(ground)


@virtual
async def test_identification_objects_of_all_categories_in_parts() -> None:
    """Conformity 83: extended, and single objects, too. The regular ones come in two parts."""
    answers = {
        "01 00": "01 83 00 00 03  00 04 41636D65  01 02 5831  02 03 322E31",
        "02 03": "02 83 FF 05 02  03 03 777777  04 05 4D65746572",
        "02 05": "02 83 00 00 01  05 06 58312D334C31",
        "03 06": "03 83 00 00 01  80 02 4237",
    }

    def say(data: bytes) -> bytes:
        pdu = b"\x91\x01" if data[7] == 0x11 else bytes((data[7] | 0x80, 2))
        if data[7] == 0x2B:
            asked = data[9:11].hex(" ").upper()
            pdu = bytes.fromhex("2B 0E" + answers[asked]) if asked in answers else b"\xab\x02"
        if data[6] != 1:
            pdu = bytes((data[7] | 0x80, 0x0B))
        return data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu

    examination = await Site.saying(say).discovered(driver, Site.saying(say).ground())
    assert dict(examination.values) == {
        "device-id/0": "Acme",
        "device-id/1": "X1",
        "device-id/2": "2.1",
        "device-id/3": "www",
        "device-id/4": "Meter",
        "device-id/5": "X1-3L1",
        "device-id/128": "B7",
    }
    known = facts(examination)
    assert (known["manufacturer_text"], known["model_text"], known["firmware"]) == ("Acme", "X1-3L1", "2.1")
    assert known["functions"] == "3:0,4:0,17:1,43:0"


# --- units ---


@virtual
async def test_units_behind_a_gateway() -> None:
    """Ours answers 0B for units that are absent, as gateways do."""
    meters = [meter("eastron-sdm120", unit, {"unit": str(unit)}) for unit in (2, 5, 126)]
    site = Site.of(driver, *meters)
    sightings = await tcp(site.ground())
    assert [each.params["unit"] for each in sightings] == ["2", "5", "126"]
    only_reads(site)


@virtual
async def test_units_that_are_asked_for() -> None:
    meters = [meter("eastron-sdm120", unit, {"unit": str(unit)}) for unit in (17, 99)]
    site = Site.of(driver, *meters)
    assert [each.params["unit"] for each in await rtu(site.ground(units="15-20,99"))] == ["17", "99"]
    assert [each.unit_id for each in only_reads(site, rtu=True)] == [15, 16, 17, 18, 19, 20, 99]


@virtual
async def test_a_device_that_answers_for_every_unit_is_one() -> None:
    def say(data: bytes) -> bytes:
        return data[:4] + b"\0\3" + data[6:7] + bytes((data[7] | 0x80, 1))

    site = Site.saying(say)
    assert [each.params["unit"] for each in await tcp(site.ground())] == ["1"]
    assert len(site.sent) == 2
    site.sent.clear()
    assert [each.params["unit"] for each in await tcp(site.ground(units="5-200"))] == ["5"]
    assert len(site.sent) == 4


@virtual
async def test_a_line_is_searched_until_three_in_a_row_are_silent() -> None:
    meters = [meter("eastron-sdm120", unit, {"unit": str(unit)}) for unit in (1, 2, 5, 9)]
    site = Site.of(driver, *meters)
    sightings = await rtu(site.ground())
    assert [each.params["unit"] for each in sightings] == ["1", "2", "5"]
    assert [each.params["unit"] for each in await site.probed(driver, site.ground(), exhaustive=True)] == [
        "1", "2", "5", "9",
    ]  # fmt: skip


@virtual
async def test_a_sweep_ends_with_its_share_of_the_time() -> None:
    site = Site.of(driver, meter("eastron-sdm120", 1, {"unit": "1"}))
    ground = site.ground(seconds=20.0, units="1-247")
    assert [each.params["unit"] for each in await rtu(ground)] == ["1"]
    assert ground.seconds_left > 5.0
    assert not ground.stopped


def test_stations() -> None:
    assert stations("") == ()
    assert stations("1-3, 7,2") == (1, 2, 3, 7)
    for wrong in ("x", "3-1", "256", "1-", "-1"):
        with pytest.raises(ConfigError):
            stations(wrong)


@virtual
async def test_a_serial_line_at_another_speed() -> None:
    one = meter("eastron-sdm630")
    site = Site(lambda _: None)

    def accept(far: Any) -> None:
        if (site.opened[-1].baud, site.opened[-1].line) == (19200, "8E1"):
            driver.serve(far, one)

    site.accept = accept
    ground = site.ground(SERIAL, seconds=120.0)
    (sighting,) = await site.probed(driver, ground)
    assert sighting.endpoint is not None
    assert (sighting.endpoint.baud, sighting.endpoint.line, sighting.framing) == (19200, "8E1", "rtu")
    examination = await driver.examine(ground, sighting)
    assert examination.endpoint == sighting.endpoint
    assert "voltage_l1=input/0x0000/f32" in facts(examination)["plausible"]


# --- faults ---

IEM3000 = "voltage_l1=holding/0x0BD3/f32"
"""all that can be plausible beside the frequency, where the identification registers were not heard of"""
FAULTS: dict[str, dict[str, Any]] = {
    "loss": {"loss": 0.3},
    "latency": {"latency": 0.5, "jitter": 0.3},
    "slower than the time-out": {"latency": 1.2},
    "duplicates": {"duplicate": 0.5},
    "late duplicates": {"duplicate": 0.5, "latency": 0.05, "jitter": 0.05},
    "octet by octet": {"split": 1},
    "octet by octet, with loss": {"split": 7, "loss": 0.05},
}


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize("fault", [*FAULTS, "corruption"])
@pytest.mark.parametrize("seed", range(2))
def test_no_fault_makes_a_wrong_fact(fault: str, framing: str, seed: int) -> None:
    """MBAP has no check octets of its own: corruption is a matter of RTU."""
    line = {"corruption": 0.3} if fault == "corruption" else FAULTS[fault]
    if fault == "corruption" and framing == "tcp":
        return

    @virtual
    async def troubled() -> None:
        right = facts(await _examined(Site.of(driver, meter("schneider-iem3000")), framing))
        site = Site.of(driver, meter("schneider-iem3000"), **line, seed=seed)
        ground = site.ground(seconds=60.0)
        began = asyncio.get_running_loop().time()
        sightings = await (tcp if framing == "tcp" else rtu)(ground)
        for sighting in sightings:
            assert sighting.params["unit"] in ("1", "255")
            seen = facts(await driver.examine(ground, sighting))
            assert not {name: value for name, value in seen.items() if value and right.get(name, value) != value}
            assert set(seen.get("plausible", IEM3000).split(",")) <= {IEM3000, "frequency=holding/0x0C25/f32"}
        assert asyncio.get_running_loop().time() - began < 65.0
        assert not site.left_open

    troubled()


async def _examined(site: Site, framing: str) -> Examination:
    ground = site.ground()
    sightings = await (tcp if framing == "tcp" else rtu)(ground)
    return await driver.examine(ground, sightings[0])


@pytest.mark.parametrize("say", [lambda _: None, lambda _: b"", lambda data: data, lambda _: b"\0" * 300])
def test_whoever_changes_behind_a_sighting_ends_it_soon(say: Callable[[bytes], bytes | None]) -> None:
    @virtual
    async def changed() -> None:
        good = Site.of(driver, meter("abb-b23"))
        (sighting,) = await tcp(good.ground())
        site = Site.saying(say)
        ground = site.ground()
        examination = await driver.examine(ground, sighting)
        assert examination.stopped
        assert {fact.name for fact in examination.facts if fact.value} == {"protocol", "framing"}
        assert ground.seconds_left > 30
        assert len(site.opened) <= 4

    changed()


@virtual
async def test_everything_ends_with_the_time_of_the_ground() -> None:
    site = Site.of(driver, meter("bernecker-mpm3pm"), latency=0.4)
    ground = site.ground(seconds=6.0)
    sightings = await tcp(ground)
    examination = await driver.examine(ground, sightings[0])
    assert "6 s" in examination.stopped
    assert facts(examination)["device_id_vendor"]

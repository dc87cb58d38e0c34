"""The annotated exchanges in DLMS meter files: we ask as they say, and what the meter says gives the readings that they say.

And the meters that are known to dial in, as their files describe them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.library import Library
from headend.drivers.mapping import to_batch
from headend.drivers.registrations import built_in
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import LinkError
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ReadPlan
from headend.model.profile import MeterProfile, ProfileTest
from headend.model.reading import Source
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.wrapper import wrap
from headend.transport.memory import memory_pair

LIBRARY = Library()
PROFILES = [profile for profile in LIBRARY if profile.protocol == "dlms"]
EXCHANGES = [(profile, test) for profile in PROFILES for test in profile.tests]
AARE = bytes.fromhex("6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f0400001e1d00c80007")
"""The answer of a meter of the MOMAS family, with several attributes in one request."""
INVOKE = 8 + 2
ENDPOINT = Endpoint(kind=EndpointKind.MEMORY, host="memory")
NOON = 1_763_726_400_000


class Recorded:
    """A meter that lets everybody in and then says what the file says."""

    def __init__(self, link: Any, response: bytes) -> None:
        self.link, self.response = link, response
        self.asked: list[bytes] = []
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        if data[8] == 0x60:
            self.link.write(wrap(AARE, 1, int.from_bytes(data[2:4], "big")))
        elif data[8] == 0x62:
            self.link.write(wrap(b"\x63\x00", 1, int.from_bytes(data[2:4], "big")))
        else:
            self.asked.append(data)
            at = INVOKE if self.response.startswith(b"\x00") else INVOKE - 8
            self.link.write(self.response[:at] + data[INVOKE : INVOKE + 1] + self.response[at + 1 :])

    def link_lost(self, error: LinkError) -> None:
        pass


@pytest.mark.parametrize(
    ("profile", "exchange"), EXCHANGES, ids=[f"{profile.id}: {test.name}" for profile, test in EXCHANGES]
)
async def test_annotated_exchanges_give_their_readings(profile: MeterProfile, exchange: ProfileTest) -> None:
    near, far = memory_pair()
    recorded = Recorded(far, exchange.response)
    request = decode_apdu(exchange.request[8:])
    assert isinstance(request, GetRequestNormal | GetRequestWithList)
    asked = (
        [request.attribute]
        if isinstance(request, GetRequestNormal)
        else [attribute for attribute, _ in request.attributes]
    )
    entries = [
        next(entry for entry in profile.objects if cosem_ref(entry.ref.address).attribute == attribute)
        for attribute in asked
    ]
    plan = ReadPlan(entries=tuple(entries))
    meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=ENDPOINT)
    session = await DlmsDriver().attach(near, meter, profile, {"secret": Secret(b"12345678")})
    batch = to_batch("m", plan, await session.read(plan), 0, Source.POLL)
    assert dict(zip(batch.quantities, batch.values, strict=True)) == exchange.readings
    (said,) = recorded.asked
    assert said[:INVOKE] + exchange.request[INVOKE : INVOKE + 1] + said[INVOKE + 1 :] == exchange.request
    await session.aclose()


DIALLING = [profile for profile in LIBRARY if profile.registration]


def test_the_meters_that_dial_in() -> None:
    assert {profile.id for profile in DIALLING} >= {"ivy-em114070", "momas-mmx313"}
    for profile in DIALLING:
        assert built_in().get(profile.registration).protocol in {profile.protocol, ""}
        assert any(rule.fact == "registration" for rule in profile.detect)


@pytest.mark.parametrize("framing", ["wrapper", "apdu"])
@pytest.mark.parametrize("client", ["1", "16"])
async def test_the_ivy_answers_fourteen_objects(framing: str, client: str) -> None:
    """Its emulated one, to both clients; by default it leaves the wrapper out after the first exchange."""
    profile = LIBRARY.get("ivy-em114070")
    assert len(profile.objects) == 14
    near, far = memory_pair()
    heard: list[bytes] = []
    near.tap = lambda direction, octets: heard.append(octets) if direction == "<<" else None
    driver = DlmsDriver()
    driver.serve(far, VirtualMeter(MeterKind(profile, lambda: NOON), 7))
    meter = Meter(id="m", protocol="dlms", framing=framing, endpoint=ENDPOINT, params={"client": client})
    session = await driver.attach(near, meter, profile, {})
    plan = ReadPlan(entries=profile.objects)
    batch = to_batch("m", plan, await session.read(plan), NOON, Source.POLL)
    said = dict(zip(batch.quantities, batch.values, strict=True))
    assert (said["logical_device_name"], said["serial_number"]) == ("YTL1020000000007", "000000000007")
    assert 200 < float(said["voltage_l1"]) < 260
    identity = await session.identify()
    assert identity.logical_device_name.startswith("YTL102")
    assert identity.manufacturer == "YTL"
    await session.aclose()
    wrapped = [octets.startswith(b"\x00\x01") for octets in heard]
    assert wrapped == [framing == "wrapper", *[False] * (len(heard) - 1)]


async def test_a_meter_without_the_quirk_keeps_its_wrapper() -> None:
    profile = LIBRARY.get("ivy-em114070")
    tidy = replace(profile, link={})
    near, far = memory_pair()
    heard: list[bytes] = []
    near.tap = lambda direction, octets: heard.append(octets) if direction == "<<" else None
    driver = DlmsDriver()
    driver.serve(far, VirtualMeter(MeterKind(tidy, lambda: NOON), 7))
    meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=ENDPOINT)
    session = await driver.attach(near, meter, profile, {})
    assert not (await session.read(ReadPlan(entries=profile.objects))).errors
    await session.aclose()
    assert all(octets.startswith(b"\x00\x01") for octets in heard)

"""A server of pymodbus is found, identified and examined as any meter is. It runs in a process of its own."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import pytest

from headend.drivers.ground import Ground
from headend.drivers.modbus import driver
from headend.model.discovery import Examination
from headend.model.meter import Endpoint, EndpointKind
from headend.transport.open import open_link

from .test_modbus import FRAMINGS, pymodbus_meter

pytestmark = pytest.mark.peers


def registers(high: int, low: int = 0) -> float:
    """Two registers, as the number that they are in single precision."""
    (found,) = struct.unpack(">f", struct.pack(">HH", high, low))
    return float(found)


async def discovered(port: int, framing: str) -> Examination:
    loop = asyncio.get_running_loop()
    ground = Ground(
        Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port),
        open_link=open_link,
        time=loop.time,
        sleep=asyncio.sleep,
        clock=lambda: round(time.time() * 1000),
        timeout=1.0,
    )
    for probe in driver.probes():
        if probe.framing == framing and not probe.exhaustive:
            (sighting,) = await probe.run(ground)
            assert (sighting.framing, dict(sighting.params)) == (framing, {"unit": "1"})
            return await driver.examine(ground, sighting)
    raise AssertionError(framing)


IMAGE: dict[str, Any] = {
    "unit": 1,
    "input": {"0": 231.5, "70": 49.9},
    "holding": {"64512": registers(0x0131, 0x2D00), "64514": registers(0x0020)},
    "identity": ["Eastron", "SDM120", "2.4"],
}


@FRAMINGS
async def test_an_sdm120_of_pymodbus_is_discovered(peers_python: str, framing: str, framer: str) -> None:
    async with pymodbus_meter(peers_python, framer, IMAGE) as port:
        examination = await discovered(port, framing)
    known = {fact.name: fact.value for fact in examination.facts}
    assert not examination.stopped
    assert known["functions"] == "3:0,4:0,17:0,43:0"
    assert [known[f"device_id_{name}"] for name in ("vendor", "product", "revision")] == IMAGE["identity"]
    assert known["holding/0xFC02/u16"] == "32"
    assert known["serial_number"] == str(0x01312D00)
    assert (examination.identity.model, examination.identity.serial) == ("SDM120", "20000000")


@FRAMINGS
async def test_one_without_an_identification_register(peers_python: str, framing: str, framer: str) -> None:
    image = {**IMAGE, "holding": {}, "identity": ["Eastron", "SDM220", "1.0"]}
    async with pymodbus_meter(peers_python, framer, image) as port:
        examination = await discovered(port, framing)
    known = {fact.name: fact.value for fact in examination.facts}
    assert known["plausible"] == "frequency=input/0x0046/f32,voltage_l1=input/0x0000/f32"

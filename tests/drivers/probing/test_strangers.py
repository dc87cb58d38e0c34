"""Whoever answers whatever: discovery ends in time, raises nothing of its own, and believes none of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from headend.drivers.dlt645 import driver as dlt645
from headend.drivers.modbus import driver as modbus
from headend.drivers.modbus.probing import tcp
from headend.drivers.registry import driver as driver_of
from headend.errors import LinkError, ProbeEnded
from headend.model.discovery import Sighting
from tests.services.support import virtual

from .support import Site

HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>h\x16h</html>"


def _changed(chance: random.Random, data: bytes) -> bytes:
    octets = bytearray(data)
    octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    return bytes(octets)


SAYINGS: dict[str, Callable[[random.Random, bytes], bytes | None]] = {
    "noise": lambda chance, _: chance.randbytes(chance.randrange(1, 60)),
    "a flood": lambda chance, _: chance.randbytes(70_000),
    "a web server": lambda _, _data: HTTP,
    "an echo": lambda _, data: data,
    "the question, a little different": _changed,
    "all zeros": lambda _, data: bytes(len(data)),
    "all ones": lambda _, data: b"\xff" * len(data),
    "another protocol": lambda _, _data: bytes.fromhex(
        "7EA0210223210373 8E72 818014 05020080 06020080 0704 00000001 0804 00000001 53 3B 7E"
    ),
    "a close": lambda chance, data: None if chance.random() < 0.5 else data[:3],
}


@pytest.mark.parametrize("name", ["modbus", "dlt645"])
@pytest.mark.parametrize("saying", SAYINGS)
@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_seen_in_what_a_stranger_says(name: str, saying: str, seed: int) -> None:
    say, chance = SAYINGS[saying], random.Random(f"{name} {saying} {seed}")

    @virtual
    async def asked() -> None:
        driver = driver_of(name)
        for probe in driver.probes():
            site = Site.saying(lambda data: say(chance, data))
            ground = site.ground(seconds=60.0)
            began = asyncio.get_running_loop().time()
            try:
                assert await probe.run(ground) == ()
            except (LinkError, ProbeEnded):
                assert probe.exhaustive
            assert asyncio.get_running_loop().time() - began < 62.0
            assert not site.left_open

    asked()


SIGHTINGS = {
    "modbus tcp": (modbus, Sighting(protocol="modbus", framing="tcp", params={"unit": "1"})),
    "modbus rtu": (modbus, Sighting(protocol="modbus", framing="rtu", params={"unit": "1"})),
    "2007": (dlt645, Sighting(protocol="dlt645", framing="tcp", params={"address": "000000000042"})),
    "1997": (dlt645, Sighting(protocol="dlt645", framing="tcp", params={"address": "000000000042", "version": "1997"})),
}


@pytest.mark.parametrize("who", SIGHTINGS)
@pytest.mark.parametrize("saying", SAYINGS)
def test_nothing_is_learned_from_a_stranger(who: str, saying: str) -> None:
    say, chance = SAYINGS[saying], random.Random(f"{who} {saying}")
    driver, sighting = SIGHTINGS[who]

    @virtual
    async def examined() -> None:
        site = Site.saying(lambda data: say(chance, data))
        began = asyncio.get_running_loop().time()
        examination = await driver.examine(site.ground(seconds=60.0), sighting)
        assert examination.stopped
        assert {fact.name for fact in examination.facts if fact.value} <= {"protocol", "framing"}
        assert asyncio.get_running_loop().time() - began < 62.0
        assert not site.left_open

    examined()


def _damaged(chance: random.Random, data: bytes) -> bytes:
    """An answer in MBAP to the question, whose content is anything."""
    function = data[7] | chance.choice((0, 0, 0, 0x80))
    pdu = bytes((function,)) + chance.randbytes(chance.randrange(0, 40))
    if chance.random() < 0.4:
        pdu = bytes((data[7],)) + bytes((0x0E, 1, 0x83, 0xFF, 1, 3)) + chance.randbytes(20)
    return data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu


@pytest.mark.parametrize("seed", range(12))
def test_answers_of_any_content_raise_nothing(seed: int) -> None:
    chance = random.Random(seed)

    @virtual
    async def examined() -> None:
        site = Site.saying(lambda data: _damaged(chance, data))
        ground = site.ground(seconds=60.0)
        for sighting in [*await tcp(ground), SIGHTINGS["modbus tcp"][1]][:2]:
            examination = await modbus.examine(ground, sighting)
            for fact in examination.facts:
                assert fact.value.isprintable()
        assert not site.left_open

    examined()

"""Images in the meter: the states of the standard, what is refused in each, and how much is held."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from headend.drivers.dlms.meter import image as image_module
from headend.protocols.dlms.axdr import Data, boolean, octet_string, structure, uint32

TRANSFER = "18/0-0:44.0.0.255"
FILE = """
[[function]]
ref = "18/0-0:44.0.0.255"
image_block_size = 4
largest = 100
"""
IMAGE = b"a new firmware"  # three blocks of four octets, and one of two
NOT_INITIATED, INITIATED, VERIFYING, VERIFIED, NOT_VERIFIED, ACTIVATING, ACTIVATED = range(7)


def begin(image: bytes = IMAGE, name: bytes = b"v2") -> Data:
    return structure(octet_string(name), uint32(len(image)))


def block(number: int, octets: bytes | None = None, image: bytes = IMAGE) -> Data:
    return structure(uint32(number), octet_string(image[4 * number : 4 * number + 4] if octets is None else octets))


async def look(world: Any) -> tuple[Any, ...]:
    """Blocks, first missing, status."""
    return tuple([await world.get(f"{TRANSFER}/{attribute}") for attribute in (3, 4, 6)])


async def test_an_image_in_any_order(make_world: Any) -> None:
    world = await make_world(FILE)
    assert await world.get(f"{TRANSFER}/2") == 4
    assert await look(world) == ("", 0, NOT_INITIATED)
    assert await world.act(f"{TRANSFER}/1", begin()) == 0
    assert await look(world) == ("0000", 0, INITIATED)
    for number, expected in ((2, ("0010", 0)), (0, ("1010", 1)), (2, ("1010", 1)), (1, ("1110", 3)), (3, ("1111", 4))):
        assert await world.act(f"{TRANSFER}/3") == 250  # not whole
        assert await world.get(f"{TRANSFER}/7") == []
        assert await world.act(f"{TRANSFER}/2", block(number)) == 0
        assert await look(world) == (*expected, INITIATED)
    assert await world.act(f"{TRANSFER}/3") == 0
    assert await look(world) == ("1111", 4, VERIFIED)
    assert await world.get(f"{TRANSFER}/7") == [[14, b"v2", sha256(IMAGE).digest()]]
    assert await world.act(f"{TRANSFER}/4") == 0
    assert await look(world) == ("1111", 4, ACTIVATED)


@pytest.mark.parametrize(
    ("method", "data", "result"),
    [
        (2, block(4, b"more"), 250),
        (2, block(0, b"abc"), 250),
        (2, block(0, b"abcde"), 250),
        (2, block(3, b"abcd"), 250),
        (2, structure(uint32(0)), 12),
        (2, uint32(0), 12),
        (1, structure(octet_string(b"x"), uint32(0)), 250),
        (1, structure(octet_string(b"x"), uint32(101)), 250),
        (1, structure(octet_string(bytes(257)), uint32(10)), 12),
        (1, octet_string(b"x"), 12),
        (3, None, 250),
        (4, None, 250),
    ],
)
async def test_what_is_refused(make_world: Any, method: int, data: Data | None, result: int) -> None:
    world = await make_world(FILE)
    assert await world.act(f"{TRANSFER}/1", begin()) == 0
    assert await world.act(f"{TRANSFER}/2", block(1)) == 0
    assert await world.act(f"{TRANSFER}/{method}", data) == result
    assert await look(world) == ("0100", 0, INITIATED)


# what each method gives in each state: the state after it, None where it is refused and the state stays
STATES = {
    NOT_INITIATED: (INITIATED, None, None, None),
    INITIATED: (INITIATED, INITIATED, VERIFIED, ACTIVATED),
    VERIFIED: (INITIATED, None, None, ACTIVATED),
    NOT_VERIFIED: (INITIATED, None, None, None),
    ACTIVATED: (INITIATED, None, None, None),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("method", [1, 2, 3, 4])
async def test_the_states(make_world: Any, state: int, method: int) -> None:
    world = await make_world(FILE + ('check = "sha256"\n' if state == NOT_VERIFIED else ""))
    if state != NOT_INITIATED:
        assert await world.act(f"{TRANSFER}/1", begin()) == 0
        for number in range(4):
            assert await world.act(f"{TRANSFER}/2", block(number)) == 0
    if state in (VERIFIED, NOT_VERIFIED, ACTIVATED):
        assert await world.act(f"{TRANSFER}/3") == (250 if state == NOT_VERIFIED else 0)
    if state == ACTIVATED:
        assert await world.act(f"{TRANSFER}/4") == 0
    assert (await look(world))[2] == state
    after = STATES[state][method - 1]
    data = begin() if method == 1 else block(0) if method == 2 else None
    assert (await world.act(f"{TRANSFER}/{method}", data) == 0) is (after is not None)
    assert (await look(world))[2] == (state if after is None else after)


async def test_an_image_is_checked_by_its_digest(make_world: Any) -> None:
    world = await make_world(FILE.replace("= 4", "= 50") + 'check = "sha256"\n')
    image = IMAGE + sha256(IMAGE).digest()
    for content, state in ((image, VERIFIED), (image[:-1] + b"?", NOT_VERIFIED)):
        assert await world.act(f"{TRANSFER}/1", begin(content)) == 0
        assert await world.act(f"{TRANSFER}/2", block(0, content)) == 0
        await world.act(f"{TRANSFER}/3")
        assert (await look(world))[2] == state


async def test_a_meter_that_takes_its_time(make_world: Any) -> None:
    world = await make_world(FILE + "seconds = 30\n")
    assert await world.act(f"{TRANSFER}/1", begin()) == 0
    for number in range(4):
        assert await world.act(f"{TRANSFER}/2", block(number)) == 0
    for method, meanwhile, then in ((3, VERIFYING, VERIFIED), (4, ACTIVATING, ACTIVATED)):
        assert await world.act(f"{TRANSFER}/{method}") == 2  # temporary-failure
        assert await world.act(f"{TRANSFER}/{method}") == 2
        world.later(seconds=29)
        assert (await look(world))[2] == meanwhile
        world.later(seconds=1)
        assert (await look(world))[2] == then


async def test_a_meter_that_takes_no_images(make_world: Any) -> None:
    world = await make_world(FILE)
    assert await world.set(f"{TRANSFER}/5", boolean(False)) == 0  # noqa: FBT003 - the attribute
    assert await world.act(f"{TRANSFER}/1", begin()) == 250
    assert await world.set(f"{TRANSFER}/2", uint32(8)) == 3
    assert await world.get(f"{TRANSFER}/5") is False


async def test_all_meters_of_a_file_hold_so_much(make_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_ALTOGETHER", 25)
    world = await make_world(FILE)
    assert await world.act(f"{TRANSFER}/1", begin()) == 0
    assert await world.act(f"{TRANSFER}/1", begin()) == 0  # the one before is forgotten
    assert await world.act(f"{TRANSFER}/1", begin(bytes(26))) == 2
    assert await world.act(f"{TRANSFER}/1", begin(bytes(25))) == 0

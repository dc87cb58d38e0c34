"""Bringing an image to a meter: whole, cut off and taken up again, with lost blocks, and to meters that refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.images import ImageUpload, ReadyImage
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import Busy, CapabilityError, LinkError, ServiceRefused
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.protocols.dlms.axdr import boolean, encode_data
from headend.transport.memory import memory_pair

FILE = """
[meter]
vendor = "Acme"
model = "A4"
protocol = "dlms"
source = "test"
[[function]]
ref = "18/0-0:44.0.0.255"
image_block_size = 100
"""
IMAGE = bytes(range(256)) * 10 + b"the end"
BLOCKS = 26
READY = [ReadyImage(len(IMAGE), b"v2", sha256(IMAGE).digest())]
Open = Callable[..., Awaitable[DlmsSession]]


@pytest.fixture
def meter() -> VirtualMeter:
    return made()


def made(text: str = "") -> VirtualMeter:
    return VirtualMeter(MeterKind(load_profile(FILE + text, "acme-a4", "test"), lambda: 1_763_727_430_000), 7)


@pytest.fixture
async def open_session() -> Any:
    """Opens sessions, and closes them in the end."""
    opened: list[DlmsSession] = []

    async def make(meter: VirtualMeter, framing: str = "wrapper", **params: str) -> DlmsSession:
        near, far = memory_pair()
        driver.serve(far, meter)
        place = Endpoint(kind=EndpointKind.MEMORY, host="test")
        known = Meter(id="m1", protocol="dlms", framing=framing, endpoint=place, params=params)
        opened.append(await driver.attach(near, known, None, {}))
        return opened[-1]

    yield make
    for session in opened:
        await session.aclose()


def status(meter: VirtualMeter) -> Any:
    (image,) = (state for (class_id, _), state in meter.memory.states.items() if class_id == 18)  # type: ignore[attr-defined]
    return image


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_the_whole_way(meter: VirtualMeter, open_session: Open, framing: str) -> None:
    upload = ImageUpload((await open_session(meter, framing)).access, IMAGE, b"v2")
    seen: list[tuple[int, int]] = []
    await upload.send(progress=lambda done, count: seen.append((done, count)))
    assert seen == [*((number, BLOCKS) for number in range(BLOCKS + 1)), (BLOCKS, BLOCKS)]
    assert bytes(status(meter).content) == IMAGE
    assert await upload.verify() == READY
    assert status(meter).status == 3  # nothing is activated unless somebody says so
    await upload.activate()
    assert status(meter).status == 6


async def test_a_dropped_connection(meter: VirtualMeter, open_session: Open) -> None:
    session = await open_session(meter)

    def drop(done: int, _: int) -> None:
        if done == 10:
            session.access.conversation.link.abort()

    with pytest.raises(LinkError):
        await ImageUpload(session.access, IMAGE, b"v2").send(progress=drop)
    assert status(meter).first_missing == 10
    again = ImageUpload((await open_session(meter)).access, IMAGE, b"v2")
    seen: list[int] = []
    await again.send(resume=True, progress=lambda done, _: seen.append(done))
    assert seen == [*range(10, BLOCKS + 1), BLOCKS]
    assert await again.verify() == READY


async def test_a_transfer_is_not_taken_up_unless_told(meter: VirtualMeter, open_session: Open) -> None:
    access = (await open_session(meter)).access
    await ImageUpload(access, IMAGE, b"v1").send()
    seen: list[int] = []
    await ImageUpload(access, IMAGE, b"v2").send(progress=lambda done, _: seen.append(done))
    assert seen[0] == 0
    assert status(meter).identifier == b"v2"
    # and there is nothing to take up once an image is verified
    upload = ImageUpload(access, IMAGE, b"v3")
    await upload.verify()
    await upload.send(resume=True)
    assert status(meter).identifier == b"v3"


async def test_blocks_that_got_lost_are_sent_again(meter: VirtualMeter, open_session: Open) -> None:
    upload = ImageUpload((await open_session(meter)).access, IMAGE, b"v2")
    sent: list[int] = []

    def lose(done: int, _: int) -> None:
        sent.append(done)
        if len(sent) == 20:
            image = status(meter)
            image.present[0] &= 0b1011_1110  # blocks 1 and 7
            image.first_missing = 1

    await upload.send(progress=lose)
    assert sent[-4:] == [24, 25, 26, 26]
    assert await upload.verify() == READY


async def test_a_meter_that_keeps_nothing(meter: VirtualMeter, open_session: Open) -> None:
    upload = ImageUpload((await open_session(meter)).access, IMAGE, b"v2")

    def lose(_: int, __: int) -> None:
        image = status(meter)
        image.present[:] = bytes(len(image.present))
        image.first_missing = 0

    with pytest.raises(ServiceRefused, match="does not keep"):
        await upload.send(progress=lose)


async def test_meters_that_refuse(open_session: Open) -> None:
    meter = made('check = "sha256"\n')
    session = await open_session(meter)
    upload = ImageUpload(session.access, IMAGE, b"v2")
    with pytest.raises(ServiceRefused):
        await upload.verify()
    await upload.send()
    with pytest.raises(ServiceRefused):
        await upload.verify()
    assert status(meter).status == 4
    await session.access.set(upload._ref.other(5), encode_data(boolean(False)))  # noqa: FBT003 - the attribute
    with pytest.raises(CapabilityError, match="takes no images"):
        await upload.send()


async def test_a_meter_that_takes_its_time(open_session: Open) -> None:
    times = [1_763_727_430_000]

    def clock() -> int:
        times[0] += 1000
        return times[0]

    meter = VirtualMeter(MeterKind(load_profile(f"{FILE}seconds = 60\n", "acme-a4", "test"), clock), 7)
    upload = ImageUpload((await open_session(meter)).access, IMAGE, b"v2", poll=0)
    await upload.send()
    assert await upload.verify() == READY
    with pytest.raises(Busy, match="still"):
        await upload.activate(deadline=0)
    await upload.activate()
    assert status(meter).status == 6

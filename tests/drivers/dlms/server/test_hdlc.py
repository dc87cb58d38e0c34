"""HDLC between both roles beyond requests and answers: silence, a busy meter, frames that are rejected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.errors import LinkClosed, LinkError, LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ReadPlan
from headend.protocols.hdlc import Address
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame
from headend.transport.deadline import sweeper
from headend.transport.link import Link
from headend.transport.memory import MemoryLink, memory_pair

CLIENT, METER = Address.client(1), Address.server(1)


@pytest.fixture
def plan(meter: Any) -> ReadPlan:
    return ReadPlan(entries=meter.profile.objects[:3])


async def attach(near: Link, model: Any, **params: str) -> DlmsSession:
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    known = Meter(id="m", protocol="dlms", framing="hdlc", endpoint=endpoint, params={"client": "1", **params})
    return await driver.attach(near, known, model.profile, {"secret": Secret(b"12345678")})


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Clock:
    """The time of the event loop, which can jump; the sweeper looks when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        time, self._ahead = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead)

    def jump(self, seconds: float) -> None:
        self._ahead += seconds
        sweeper()._sweep()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_a_meter_forgets_a_client_that_is_silent(clock: Clock, meter: Any, plan: ReadPlan) -> None:
    near, far = memory_pair()
    driver.serve(far, meter)
    session = await attach(near, meter, inactivity="0")
    clock.jump(119)
    clock.jump(2)  # it has heard something since it looked last
    assert (await session.read(plan)).values == [12_345_000, 2302, 4200]
    clock.jump(121)
    assert (await session.read(plan)).values == [12_345_000, 2302, 4200]
    clock.jump(121)
    clock.jump(121)
    with pytest.raises(LinkClosed, match="DM received"):
        await session.read(plan)
    near.abort()
    await settle()


@pytest.mark.parametrize(("params", "seconds"), [({}, 130), ({"inactivity": "30"}, 40)])
async def test_a_head_end_opens_anew_what_a_meter_has_forgotten(
    clock: Clock, meter: Any, params: dict[str, str], seconds: float
) -> None:
    near, far = memory_pair()
    driver.serve(far, meter)
    session = await attach(near, meter, **params)
    clock.jump(seconds - 20)
    assert session.sound
    clock.jump(20)
    assert not session.sound
    near.abort()
    await settle()


async def test_no_inactivity_is_for_ever(clock: Clock, make_meter: Any, plan: ReadPlan) -> None:
    model = make_meter(inactivity="0")
    near, far = memory_pair()
    driver.serve(far, model)
    session = await attach(near, model, inactivity="0")
    clock.jump(10**6)
    clock.jump(10**6)
    assert session.sound
    assert (await session.read(plan)).values == [12_345_000, 2302, 4200]
    await session.aclose()
    await settle()


class Moody:
    """The meter's half of a link, on which frames are said in the meter's place."""

    def __init__(self, far: MemoryLink, model: Any) -> None:
        self.far = far
        self.instead: list[bytes] = []
        self.heard = 0
        inner, outer = memory_pair()
        driver.serve(outer, model)
        self._meter = inner
        far.set_receiver(self)
        inner.set_receiver(_Answers(far))

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        if self.instead:
            self.far.write(self.instead.pop(0))
        else:
            self._meter.write(data)

    def link_lost(self, _error: LinkError) -> None:
        self._meter.abort()


class _Answers:
    def __init__(self, far: MemoryLink) -> None:
        self._far = far

    def data_received(self, data: bytes) -> None:
        self._far.write(data)

    def link_lost(self, error: LinkError) -> None:
        pass


def say(kind: Kind, receive_sequence: int = 0, information: bytes = b"") -> bytes:
    return encode_frame(
        Frame(destination=CLIENT, source=METER, kind=kind, receive_sequence=receive_sequence, information=information)
    )


@pytest.mark.parametrize("polls", [5, 50])
async def test_a_busy_meter_is_polled_with_patience(clock: Clock, meter: Any, plan: ReadPlan, polls: int) -> None:
    near, far = memory_pair()
    moody = Moody(far, meter)
    session = await attach(near, meter)
    reading = asyncio.create_task(session.read(plan))
    moody.instead = [say(Kind.RNR, moody.heard - 1 & 7)] * polls  # SNRM came first; none of this request is taken
    for _ in range(200):
        await settle()
        if reading.done():
            break
        clock.jump(3)
    if polls == 5:
        assert (await reading).values == [12_345_000, 2302, 4200]
    else:
        with pytest.raises(LinkTimeout) as caught:
            await reading
        assert "busy" in caught.value.hint
        assert polls - len(moody.instead) == 12
    near.abort()
    await settle()


async def test_a_rejected_frame_ends_the_link_and_tells_why(meter: Any, plan: ReadPlan) -> None:
    near, far = memory_pair()
    moody = Moody(far, meter)
    session = await attach(near, meter)
    moody.instead = [say(Kind.FRMR, information=bytes.fromhex("32 66 08"))]
    with pytest.raises(LinkClosed, match=r"FRMR received: control field 32, .*receive number invalid"):
        await session.read(plan)
    assert not session.sound
    near.abort()
    await settle()

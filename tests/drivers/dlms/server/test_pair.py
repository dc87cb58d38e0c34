"""Both ends of the driver: the session reads, browses and commands the meter, over wrapper and HDLC, with a password.

Once by logical names, once by short ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.errors import AuthenticationFailed, LinkClosed, ObjectUndefined
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ObjectEntry, ReadPlan
from headend.transport.memory import memory_pair

Open = Callable[..., Awaitable[DlmsSession]]


@pytest.fixture(params=["wrapper", "hdlc", "apdu"])
def framing(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ln", "sn"])
def meter(make_meter: Any, request: pytest.FixtureRequest) -> Any:
    return make_meter(ref=request.param)


@pytest.fixture
async def open_session(meter: Any, framing: str) -> AsyncIterator[Open]:
    sessions = []

    async def make(secret: bytes = b"12345678", **params: str) -> DlmsSession:
        near, far = memory_pair()
        driver.serve(far, meter)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params={**meter.params, **params})
        try:
            session = await driver.attach(near, known, meter.profile, {"secret": Secret(secret)})
        except BaseException:
            near.abort()
            raise
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        await session.aclose()


async def test_reading(open_session: Open, meter: Any) -> None:
    session = await open_session()
    plan = ReadPlan(entries=meter.profile.objects)
    found = await session.read(plan)
    assert not found.errors
    assert found.values[:3] == [12_345_000, 2302, 4200]
    meter.values[2] = 10**12
    found = await session.read(plan)
    assert found.values[2] is None
    assert (await session.identify()).serial == "12345678"
    assert len(await session.objects()) == 17


async def test_history(open_session: Open, meter: Any) -> None:
    session = await open_session(max_pdu="100")
    meter.held = 100
    ref = meter.profile.load_profiles[0].ref
    times: list[int | None] = []
    async for block in session.read_history(HistoryRequest(ref=ref)):
        times += block.times
    latest = meter.clock // 900_000 * 900_000
    assert times == [latest - 900_000 * back for back in range(99, -1, -1)]
    request = HistoryRequest(ref=ref, start=latest - 3_600_000, end=latest)
    times = [time async for block in session.read_history(request) for time in block.times]
    assert times == [latest - 900_000 * back for back in (4, 3, 2, 1)]


async def test_commands(open_session: Open, meter: Any) -> None:
    session = await open_session()
    for kind, params in (
        (CommandKind.SET_CLOCK, {"at": 1_700_000_000_000}),
        (CommandKind.WRITE, {"ref": "1/0-0:96.50.0.255", "value": 42}),
        (CommandKind.INVOKE, {"ref": "70/0-0:96.3.10.255/1"}),
    ):
        outcome = await session.execute(Command(kind=kind, params=params))
        assert outcome.verdict is Verdict.CONFIRMED
    assert (meter.clock, meter.values[9], meter.closed) == (1_700_000_000_000, 42, False)


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])  # without ports a meter knows one client only
async def test_the_public_client_is_refused_what_it_may_not(open_session: Open, meter: Any) -> None:
    session = await open_session(client="16", auth="none")
    outcome = await session.execute(Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.10.255/1"}))
    assert outcome.verdict is Verdict.REFUSED
    assert meter.closed


async def test_a_wrong_password(open_session: Open) -> None:
    with pytest.raises(AuthenticationFailed):
        await open_session(b"87654321")


async def test_an_object_that_the_meter_does_not_have(open_session: Open) -> None:
    session = await open_session()
    found = await session.read(ReadPlan(entries=(ObjectEntry(ref=driver.parse_ref("3/1-0:9.9.9.255")),)))
    assert isinstance(found.errors[0], ObjectUndefined)


async def test_a_meter_that_ends_the_link(open_session: Open, meter: Any) -> None:
    session = await open_session()
    meter.held, meter.broken = 10, {3}
    with pytest.raises(LinkClosed):
        async for _ in session.read_history(HistoryRequest(ref=meter.profile.load_profiles[0].ref)):
            pass
    assert not session.sound

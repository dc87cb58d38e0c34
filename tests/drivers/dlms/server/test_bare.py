"""A meter that is spoken to without wrapper, and one that leaves the wrapper out after the first exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.protocols.wrapper import wrap
from headend.transport.memory import memory_pair

GET_ENERGY = bytes.fromhex("c001c100030100010800ff0200")
KEYS = {"ek": Secret(bytes(range(16))), "ak": Secret(bytes(range(0xD0, 0xE0)))}
Open = Callable[..., Awaitable[tuple[DlmsSession, list[bytes], list[bytes]]]]


@pytest.fixture
async def open_session() -> AsyncIterator[Open]:
    """A session with a meter, what it sends, and what it receives."""
    sessions = []

    async def make(
        meter: Any, framing: str, secrets: dict[str, Secret], split: int, **params: str
    ) -> tuple[DlmsSession, list[bytes], list[bytes]]:
        near, far = memory_pair(split=split)
        sent: list[bytes] = []
        received: list[bytes] = []
        near.tap = lambda direction, octets: (sent if direction == ">>" else received).append(octets)
        driver.serve(far, meter)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params=params)
        session = await DlmsDriver().attach(near, known, meter.profile, secrets)
        sessions.append(session)
        return session, sent, received

    yield make
    for session in sessions:
        await session.aclose()


async def read_everything(session: DlmsSession, meter: Any) -> None:
    for _ in range(2):
        found = await session.read(ReadPlan(entries=meter.profile.objects))
        assert not found.errors
        assert list(found.values[:3]) == [12_345_000, 2302, 4200]
    request = HistoryRequest(ref=meter.profile.load_profiles[0].ref)
    assert len([row async for block in session.read_history(request) for row in block.rows]) == meter.held


@pytest.mark.parametrize("split", [0, 1, 7])
async def test_without_wrapper(make_meter: Any, open_session: Open, split: int) -> None:
    meter = make_meter()
    session, sent, received = await open_session(meter, "apdu", {"secret": Secret(b"12345678")}, split, client="1")
    await read_everything(session, meter)
    assert (sent[0][0], received[0][0]) == (0x60, 0x61)
    assert {octets[0] for octets in sent} == {0x60, 0xC0}


@pytest.mark.parametrize("ciphering", ["global", "general", "dedicated"])
async def test_ciphered_without_wrapper(make_meter: Any, open_session: Open, ciphering: str) -> None:
    params = {"client": "1", "auth": "gmac", "ciphering": ciphering, "counter": "none"}
    meter = make_meter(**params)
    meter.secrets = KEYS
    meter.identity = type(meter.identity)(logical_device_name="ACM0000012345678", system_title="41434d0000000001")
    session, sent, _ = await open_session(meter, "apdu", KEYS, 3, **params)
    await read_everything(session, meter)
    assert {octets[0] for octets in sent} <= {0x60, 0xC8, 0xCB, 0xD0, 0xD3, 0xDB}


@pytest.mark.parametrize("split", [0, 1, 7])
@pytest.mark.parametrize("max_pdu", ["100", "65535"])
async def test_the_wrapper_is_left_out_after_the_first_exchange(
    make_meter: Any, open_session: Open, split: int, max_pdu: str
) -> None:
    params = {"client": "1", "auth": "none", "bare": "yes", "max_pdu": max_pdu}
    meter = make_meter(**params)
    session, sent, received = await open_session(meter, "wrapper", {}, split, **params)
    await read_everything(session, meter)
    assert all(octets.startswith(b"\x00\x01\x00\x01\x00\x01") for octets in sent)
    assert b"".join(received).count(b"\x00\x01\x00\x01\x00\x01") == 1
    assert received[0].startswith(b"\x00\x01\x00\x01\x00\x01"[: split or None])


async def test_each_request_is_answered_as_it_came(connect: Any, make_meter: Any, aarq_none: str) -> None:
    """Wrapped requests between bare ones, whole and in pieces: the octets of the answers are those of a wrapper meter."""
    aarq = bytes.fromhex(aarq_none)
    framed = connect(make_meter(auth="none"))
    aare, energy = [(await framed.say(wrap(apdu, 1, 1)))[8:] for apdu in (aarq, GET_ENERGY)]
    head_end = connect(make_meter(auth="none"))
    assert await head_end.say(aarq) == aare
    for _ in range(2):
        assert await head_end.say(GET_ENERGY) == energy
        assert await head_end.say(GET_ENERGY[:2], GET_ENERGY[2:]) == energy
        assert await head_end.say(wrap(GET_ENERGY, 1, 1)) == wrap(energy, 1, 1)
        assert await head_end.say(wrap(GET_ENERGY, 1, 1)) == wrap(energy, 1, 1)  # the fast way is open again
    assert await head_end.say(GET_ENERGY + GET_ENERGY) == energy + energy
    assert not head_end.lost
    await head_end.say(b"\xc0\x04")
    assert head_end.lost

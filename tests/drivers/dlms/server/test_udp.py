"""Both roles over UDP: one datagram for each wrapper frame, several head-ends at one socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.driver import DlmsDriver
from headend.errors import LinkError, LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.protocols.wrapper import wrap
from headend.transport.link import Link
from headend.transport.open import open_link
from headend.transport.udp import UdpListener, listen_udp

PASSWORD = {"secret": Secret(b"12345678")}
KEYS = PASSWORD | {name: Secret(bytes(range(first, first + 16))) for name, first in (("ek", 0), ("ak", 0xD0))}


@pytest.fixture
def met() -> asyncio.Queue[Link]:
    """Whom the meter has met."""
    return asyncio.Queue()


@pytest.fixture
async def listener(meter: Any, met: asyncio.Queue[Link]) -> AsyncIterator[UdpListener]:
    def serve(link: Link) -> None:
        driver.serve(link, meter)
        met.put_nowait(link)

    meter.identity = MeterIdentity(logical_device_name="ACM0000012345678", system_title="41434d0000000001")
    listener = await listen_udp("127.0.0.1", 0, serve)
    yield listener
    await listener.aclose()


def endpoint(listener: UdpListener) -> Endpoint:
    return Endpoint(kind=EndpointKind.UDP, host="127.0.0.1", port=listener.port)


async def attach(listener: UdpListener, model: Any, secrets: Any, **params: str) -> Any:
    where = endpoint(listener)
    meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=where, params={"client": "1", **params})
    return await attached(where, meter, model.profile, secrets)


async def attached(where: Endpoint, meter: Meter, profile: Any, secrets: Any, timeout: float = 5) -> Any:
    link = await open_link(where, 5)
    try:
        return await DlmsDriver().attach(link, meter, profile, secrets, timeout=timeout)
    except BaseException:
        await link.aclose()
        raise


@pytest.mark.parametrize("secured", [False, True])
async def test_two_head_ends_read_a_meter(listener: UdpListener, meter: Any, secured: bool) -> None:
    secrets = meter.secrets = KEYS if secured else PASSWORD
    meter.held = 100
    first, second = [await attach(listener, meter, secrets, max_pdu="200") for _ in range(2)]
    for session in (first, second, first):
        found = await session.read(ReadPlan(entries=meter.profile.objects[:3]))
        assert found.values == [12_345_000, 2302, 4200]
    ref = meter.profile.load_profiles[0].ref
    rows = [len(block.times) async for block in first.read_history(HistoryRequest(ref=ref))]
    assert sum(rows) == 100, "in several blocks"
    assert len(listener.peers) == 2
    await first.aclose()
    await second.aclose()


async def test_a_stranger_with_noise_disturbs_nobody(
    listener: UdpListener, meter: Any, met: asyncio.Queue[Link]
) -> None:
    session = await attach(listener, meter, PASSWORD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for noise in (b"noise", wrap(b"\xc0", 1, 1)[:9] + b"more", b"\x7e", b"\x00"):
            stranger.sendto(noise, ("127.0.0.1", listener.port))
    for _ in range(2):
        await met.get()
    found = await session.read(ReadPlan(entries=meter.profile.objects[:3]))
    assert found.values == [12_345_000, 2302, 4200]
    await session.aclose()


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        where = Endpoint(kind=EndpointKind.UDP, host="127.0.0.1", port=silent.getsockname()[1])
        meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=where)
        with pytest.raises(LinkTimeout):
            await attached(where, meter, None, {}, timeout=0.1)
    with pytest.raises(LinkError):
        await attached(where, meter, None, {})

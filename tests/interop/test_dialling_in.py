"""A meter on Gurux's codec, in a process of its own, behind a modem that dials in to a whole head-end."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.drivers.dlms import driver
from headend.model.meter import MeterIdentity
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running

pytestmark = pytest.mark.peers

METER = Path(__file__).parent / "peers" / "gurux_meter.py"
LOGIN = bytes.fromhex("0001000100010012 0A020C 323130363030343032393431 00 5A4C")
ACKNOWLEDGEMENT = bytes.fromhex("0001000100010012 AA030C 323130363030343032393431 00 7004")
"""both of a public capture"""
PLAN = ReadPlan(
    entries=tuple(
        ObjectEntry(ref=driver.parse_ref(ref), scaler=None) for ref in ("3/1-0:1.8.0.255", "3/1-0:32.7.0.255")
    )
)


@pytest.fixture(params=["wrapper", "hdlc"])
def meter(request: pytest.FixtureRequest, peers_python: str) -> Iterator[tuple[str, int]]:
    """Framing and port of a meter."""
    framing = str(request.param)
    process = subprocess.Popen(
        [peers_python, str(METER), "--framing", framing, "--auth", "none"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield framing, int(process.stdout.readline().split()[1])
    process.kill()
    process.communicate()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()


async def modem(place: str, port: int) -> None:
    """Dial in, log in, and carry octets between the head-end and the meter until either has gone."""
    host, _, number = place.rpartition("//")[2].rpartition(":")
    from_head_end, to_head_end = await asyncio.open_connection(host, int(number))
    to_head_end.write(LOGIN)
    assert await from_head_end.readexactly(len(ACKNOWLEDGEMENT)) == ACKNOWLEDGEMENT
    from_meter, to_meter = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(carry(from_head_end, to_meter), carry(from_meter, to_head_end))
    finally:
        for writer in (to_meter, to_head_end):
            writer.close()


async def test_a_meter_behind_a_modem_is_read_and_says_who_it_is(tmp_path: Path, meter: tuple[str, int]) -> None:
    framing, port = meter
    settings = Settings(
        data=str(tmp_path),
        web={"enabled": False},  # type: ignore[arg-type] # sections as in the file
        mqtt={"enabled": False},  # type: ignore[arg-type] # ditto
    )
    with open_store(settings) as store:
        url = parse_url(f"inbound://210600402941?protocol=dlms&framing={framing}")
        store.meters.put(url.meter("m1", poll_seconds=0.0))
    async with running(settings) as head_end:
        calling = asyncio.create_task(modem(head_end.dialled_at[0], port))
        async with asyncio.timeout(30):
            while not head_end.roster.state("m1").online:  # noqa: ASYNC110 - the roster tells nobody
                await asyncio.sleep(0.02)
        for _ in range(3):
            result = await head_end.lanes.run_job("m1", lambda session: session.read(PLAN))
            assert list(result.values) == [1234567, 2302]
        identity: MeterIdentity = await head_end.lanes.run_job("m1", lambda session: session.identify())
        assert identity.logical_device_name == "GRX1234567890123"
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

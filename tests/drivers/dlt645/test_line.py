"""Several meters on one wire, as a lane has them: each session on a port of its own, answers told apart by address."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlt645 import driver
from headend.errors import LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.services.acquisition.party import PartyLine


async def test_sessions_take_turns_on_a_party_line(bench: Any) -> None:
    for number in (7, 8, 9):
        bench.meter("generic-dlt645-1p", number=number)
    line = PartyLine(bench.near)
    sessions = {}
    for number in (7, 8, 9):
        port = line.open_port()
        endpoint = Endpoint(kind=EndpointKind.MEMORY, path="pair")
        meter = Meter(id="m", protocol="dlt645", framing="tcp", endpoint=endpoint, params={"address": str(number)})
        sessions[number] = port, await driver.attach(port, meter, None, {}, timeout=0.2)
    plan = bench.plan("04000402")
    for _ in range(2):
        for number, (port, session) in sessions.items():
            line.turn(port)
            assert (await session.read(plan)).values == [f"{number:012}"]
    port, session = sessions[8]
    line.turn(port)
    bench.far.write(bytes.fromhex(bench.frame("7", 0x91, "02040004" + "070000000000")))
    assert (await session.read(plan)).values == ["000000000008"]
    await session.aclose()
    line.turn(sessions[9][0])
    assert (await sessions[9][1].read(plan)).values == ["000000000009"]
    for _, other in sessions.values():
        await other.aclose()
    assert not bench.near.is_open


async def test_an_answer_of_another_meter_is_none(bench: Any) -> None:
    bench.script({bench.frame("8", 0x11, "02040004"): bench.frame("7", 0x91, "02040004" + "070000000000")})
    session = await bench.attach(address="8", timeout=0.1)
    with pytest.raises(LinkTimeout) as caught:
        await session.read(bench.plan("04000402"))
    assert "frames from other meters came (1)" in caught.value.hint

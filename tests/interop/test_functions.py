"""The functions of a virtual meter, worked with by another stack: it reads their structures and invokes their methods."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.transport.tcp import ListenLimits, listen_tcp

pytestmark = pytest.mark.peers

PEER = Path(__file__).parent / "peers" / "gurux_objects.py"
NOW = 1_763_727_430_000
"""2025-11-21 12:17:10 UTC"""
IMAGE = bytes(range(256)) * 5

EXPECTED: dict[str, Any] = {
    # control_state and output_state: in mode 4 connected from remote, in mode 3 by hand
    "relay": [[0, False], [1, True], [0, False], [2, False]],
    # disconnected by script 1, connected by script 2; it was ready for reconnection, which remote does not change
    "scripts": [[1, [2, 1]], [2, [2, 2]], 2, 0, 1],
    "calendar": [
        *("all year", ["all"], [[1, 2]], [[1, [2, 3, 1]], [2, [4, 1]]]),
    ],
    "special_days": [[1, 2], [2, 2], [3, 2], [9, 1]],
    "schedule": ["0.0.10.0.1.255", 1],
    "monitors": [[15000], 25000, 300],
    "push": [
        [
            "0.0.25.9.0.255",
            "0.0.42.0.0.255",
            "0.0.1.0.0.255",
            "1.0.1.8.0.255",
            "1.0.2.8.0.255",
            "1.0.1.7.0.255",
            "1.0.32.7.0.255",
        ],
        2,
    ],
    "profile": [1, 2, 0, 300],
    # the clock under the time before and the time after, the relay from remote: codes of IDIS
    "events": [
        [["12:17", 4], ["12:19", 5], ["12:19", 4], ["12:19", 5], ["12:19", 4], ["12:15", 5]],
        [["12:17", 62], ["12:17", 63], ["12:17", 62], ["12:17", 63]],
    ],
    "image": [1, 512, 3, 3, 6, len(IMAGE), "firmware 3", sha256(IMAGE).hexdigest()],
}


async def test_another_stack_works_with_the_functions(peers_python: str) -> None:
    asked = [0]

    def clock() -> int:
        asked[0] += 1
        return NOW + asked[0]  # a millisecond for each look, so that the meter gets ready

    meter = VirtualMeter(MeterKind(Library().get("generic-dlms-functions"), clock), 7)
    listener = await listen_tcp("127.0.0.1", 0, partial(driver.serve, model=meter), ListenLimits(loopback=True))
    try:
        process = await asyncio.create_subprocess_exec(
            *(peers_python, str(PEER), str(listener.port)), stdout=asyncio.subprocess.PIPE, env={"TZ": "UTC"}
        )
        try:
            async with asyncio.timeout(120):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        await listener.aclose()
    said = {step.pop("step"): step.get("value", step) for step in map(json.loads, output.splitlines())}
    clocks = said.pop("clock")
    assert said == EXPECTED
    assert clocks[1:] == ["12:19:00", "12:15:00"]

"""What our virtual meters push is heard by another stack, plain and ciphered, in the wrapper and in HDLC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.emulator.outside import Surroundings
from headend.model.meter import Secret

pytestmark = pytest.mark.peers

PEER = Path(__file__).parent / "peers" / "gurux_listener.py"
NOW = 1_763_727_400_000
PROFILE = """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[function]]
ref = "40/0-0:25.9.0.255"
push_object_list = [
    [40, "0-0:25.9.0.255", 2, 0], [1, "0-0:42.0.0.255", 2, 0], [8, "0-0:1.0.0.255", 2, 0], [3, "1-0:1.8.0.255", 2, 0],
]
send_destination_and_method = [{transport}, "127.0.0.1:{port}", 0]
[[function]]
ref = "9/0-0:10.0.108.255"
scripts = [[1, [[2, 40, "0-0:25.9.0.255", 1, 0]]]]
[[function]]
ref = "22/0-0:15.0.4.255"
executed_script = ["0-0:10.0.108.255", 1]
execution_time = [["*:*:00", "*-*-*"]]
"""
KEYS = {"ek": bytes(range(16)), "ak": bytes(range(0xD0, 0xE0))}


@pytest.mark.parametrize("keys", [{}, KEYS], ids=["plain", "ciphered"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_another_stack_hears_the_pushes_of_a_schedule(
    peers_python: str, framing: str, keys: Mapping[str, bytes]
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(peers_python, str(PEER)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"framing": framing} | {name: key.hex() for name, key in keys.items()}).encode())
    process.stdin.close()
    times = [NOW]
    outside = Surroundings(lambda: times[0])
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
            text = PROFILE.replace("{transport}", "5" if framing == "hdlc" else "0").replace("{port}", str(port))
            kind = MeterKind(load_profile(text, "acme-a1", "this test"), lambda: times[0])
            kind.outside = outside
            params = {"auth": "gmac"} if keys else {}
            meter = VirtualMeter(kind, 7, 0, params, {name: Secret(key) for name, key in keys.items()})
            driver.begin(meter)
            times[0] = NOW // 60_000 * 60_000 + 60_000
            outside.run_due()  # the schedule
            outside.run_due()  # the message
            pushed: list[Any] = json.loads(await process.stdout.readline())
            await process.wait()
    finally:
        await outside.aclose()
        if process.returncode is None:
            process.kill()
            await process.wait()
    listed, name, clock, energy = pushed
    assert [entry[0] for entry in listed] == [40, 1, 8, 3]
    assert bytes.fromhex(name).decode() == meter.logical_device_name
    assert clock.startswith("07e90b15050c1100")
    assert energy == round(float(meter.value(0, times[0])))

"""Another stack, in a process of its own, meets a virtual meter of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.meter import Secret
from headend.transport.tcp import ListenLimits, listen_tcp

PEERS = Path(__file__).parent / "peers"
NOON = 1_763_726_400_000
PROFILE = load_profile(
    """
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
[[object]]
ref = "1/0-0:96.13.0.255/2"
name = "Consumer message"
writable = true
emulate = { value = "nothing new" }
""",
    "acme-a1",
    "this test",
)


async def meet(
    python: str, peer: str, params: Mapping[str, str], secrets: Mapping[str, Secret], **plan: Any
) -> tuple[dict[str, Any], VirtualMeter]:
    """What each step of the peer gave, and the meter that it met."""
    meter = VirtualMeter(MeterKind(PROFILE, lambda: NOON), 7, 0, params, secrets)
    listener = await listen_tcp("127.0.0.1", 0, partial(driver.serve, model=meter), ListenLimits(loopback=True))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(python, str(PEERS / peer), stdin=pipe, stdout=pipe)
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate(json.dumps({"port": listener.port, **plan}).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    finally:
        await listener.aclose()
    steps = [json.loads(line) for line in output.splitlines()]
    return {step.pop("step"): step.get("value", step) for step in steps}, meter

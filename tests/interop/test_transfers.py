"""Another stack writes and reads what is longer than one APDU, in blocks of the service and in general ones, and does ACCESS.

The other direction, our blocks against a meter of that stack, is in `test_dlms_client.py`.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.meter import Secret
from headend.transport.tcp import ListenLimits, listen_tcp

pytestmark = pytest.mark.peers

PEER = Path(__file__).parent / "peers" / "gurux_transfers.py"
NOON = 1_763_726_400_000
TEXT = "0123456789" * 60
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


async def run(peers_python: str, **plan: Any) -> tuple[dict[str, Any], VirtualMeter]:
    """What each step of the peer gave, and the meter that it met, which takes 128 octets at once."""
    kind = MeterKind(PROFILE, lambda: NOON)
    meter = VirtualMeter(kind, 7, 0, {"auth": "lls", "max_pdu": "128"}, {"secret": Secret(b"12345678")})
    limits = ListenLimits(loopback=True)
    listener = await listen_tcp("127.0.0.1", 0, partial(driver.serve, model=meter), limits)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(peers_python, str(PEER), stdin=pipe, stdout=pipe)
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
    return {step["step"]: step.get("value", step.get("error")) for step in steps}, meter


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("general", [False, True])
async def test_long_writes_and_access(peers_python: str, framing: str, *, general: bool) -> None:
    said, meter = await run(peers_python, framing=framing, general=general, window=4, max_pdu=200, text=TEXT)
    octets = said.pop("octets")
    too_long = said.pop("long access")  # 600 octets for a client that takes 200
    assert said == {
        "connect": "associated",
        "access": [[round(meter.value(0, NOON)), 0], ["nothing new", 0], [None, 4]],
        "write": "written",
        "read": TEXT,
        "release": "released",
    }
    # general blocks would bring it, but Gurux does not ask for the second one (see the README of the peers)
    assert ("blockNumber" if general else "PDU is too long") in too_long
    if framing == "wrapper":
        first = ">> e001000100007" if general else ">> c102c1"
        assert [line for line in octets if line.startswith(first)]
        assert [line for line in octets if line.startswith("<< e088000600060" if general else "<< c503c1")]
        assert [line for line in octets if line.startswith("<< e00800010000" if general else "<< d80104")]

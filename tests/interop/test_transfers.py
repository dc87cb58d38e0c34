"""Another stack writes and reads what is longer than one APDU, in blocks of the service and in general ones, and does ACCESS.

The other direction, our blocks against a meter of that stack, is in `test_dlms_client.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from headend.emulator.meter import VirtualMeter
from headend.model.meter import Secret

from .meeting import NOON, meet

pytestmark = pytest.mark.peers

TEXT = "0123456789" * 60


async def run(peers_python: str, **plan: Any) -> tuple[dict[str, Any], VirtualMeter]:
    """What each step of the peer gave, and the meter that it met, which takes 128 octets at once."""
    params, secrets = {"auth": "lls", "max_pdu": "128"}, {"secret": Secret(b"12345678")}
    return await meet(peers_python, "gurux_transfers.py", params, secrets, **plan)


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
    assert ("blockNumber" if general else "PDU is too long") in too_long["error"]
    if framing == "wrapper":
        first = ">> e001000100007" if general else ">> c102c1"
        assert [line for line in octets if line.startswith(first)]
        assert [line for line in octets if line.startswith("<< e088000600060" if general else "<< c503c1")]
        assert [line for line in octets if line.startswith("<< e00800010000" if general else "<< d80104")]

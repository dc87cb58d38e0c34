"""Pushes of another stack, played in a process of its own, heard as our listener hears them."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headend.drivers.base import Push
from headend.drivers.dlms.driver import DlmsDriver
from headend.errors import ReplayDetected
from headend.model.meter import Meter, Secret
from headend.model.reading import to_millis
from headend.model.url import parse_url

pytestmark = pytest.mark.peers

PEER = Path(__file__).parent / "peers" / "gurux_push.py"
TITLE = "4752580000000001"
EK, AK = "000102030405060708090a0b0c0d0e0f", "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
ADDRESS = {"wrapper": "wrapper 1", "hdlc": "hdlc 1/0"}
PUSHED_AT = to_millis(datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC))
NAME = "GRX0000012345678"
VALUES = {
    "dlms:1/0-0:42.0.0.255/2": NAME.encode(),
    "dlms:8/0-0:1.0.0.255/2": "2026-03-04 05:06:07+00:00",
    "dlms:3/1-0:1.8.0.255/2": 123456,
}
WAYS = [
    {"framing": framing, "information": information, "pdu": pdu, **security}
    for framing, information, pdu in (
        ("wrapper", 128, 1024),
        ("wrapper", 128, 100),  # general block transfer
        ("hdlc", 128, 1024),
        ("hdlc", 64, 1024),
        ("hdlc", 1024, 1024),
        ("hdlc", 1024, 100),
    )
    for security in ({}, {"ek": EK, "ak": AK, "counter": 7})
]


def sent(peers_python: str) -> list[bytes]:
    """What the other stack sends, way by way."""
    found = subprocess.run(
        [peers_python, str(PEER)], input=json.dumps(WAYS), capture_output=True, text=True, timeout=60, check=True
    )
    return [bytes.fromhex(line) for line in found.stdout.split()]


@pytest.mark.timeout(90)
def test_the_pushes_of_gurux_are_heard(peers_python: str) -> None:
    for way, octets in zip(WAYS, sent(peers_python), strict=True):
        driver = DlmsDriver()
        meter: Meter = parse_url(f"inbound://{TITLE}?protocol=dlms").meter("m1")
        keys = {name: Secret(bytes.fromhex(str(way[name]))) for name in ("ek", "ak") if name in way}
        said = driver.listen(65536).receive(b"noise" + octets)
        (push,) = said
        assert isinstance(push, Push), way
        assert push.address == ADDRESS[str(way["framing"])]
        assert push.identity.system_title == (TITLE if keys else ""), way
        assert push.identity.logical_device_name == ("" if keys else NAME), way
        plain = driver.unseal(push, meter, None, keys)
        notification = driver.understand(plain, meter, None)
        assert {str(ref): value for ref, value in notification.values.items()} == VALUES, way
        assert notification.measured_at == PUSHED_AT, way
        if keys:
            with pytest.raises(ReplayDetected):
                driver.unseal(push, meter, None, keys)

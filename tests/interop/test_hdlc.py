"""Our meter role against a Gurux client: negotiation, segmentation both ways, more requests than the numbers go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits

AARE = bytes.fromhex("6129 A109060760857405080101 A203020100 A305A103020100 BE10040E0800065F1F040000181DFFFF0007")
VALUE = bytes(index & 0xFF for index in range(700))


def answer(apdu: bytes) -> bytes:
    """What a meter with one object says."""
    if apdu[0] == 0x60:
        return AARE
    if apdu[0] == 0xC0:
        return bytes((0xC4, 0x01, apdu[2], 0x00, 0x09, 0x82)) + len(VALUE).to_bytes(2, "big") + VALUE
    return bytes((0xC5, 0x01, apdu[2], 0x00))


@pytest.mark.peers
@pytest.mark.timeout(30)
@pytest.mark.parametrize(("information", "physical"), [(128, 0), (64, 17), (240, 0)])
def test_a_gurux_client_reads_our_meter(peers_python: str, information: int, physical: int) -> None:
    """Gurux gives a wrong length to frames of more than 255 octets, and stumbles over windows, so both stay small."""
    limits = Limits(max_information_transmit=information, max_information_receive=information)
    meter = HdlcConnection(Role.SERVER, server=Address.server(1, physical), limits=limits)
    script = Path(__file__).with_name("gurux_hdlc_client.py")
    said: list[str] = []
    events: list[type] = []
    arguments = [peers_python, str(script), str(information), str(1 << 7 | physical if physical else 1)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        for line in peer.stdout:
            if not line.startswith("7e"):
                said.append(line.strip())
                continue
            meter.receive_data(bytes.fromhex(line))
            while (event := meter.next_event()) is not NEED_DATA:
                events.append(type(event))
                if isinstance(event, ApduReceived):
                    if event.apdu[0] == 0xC1:
                        assert event.apdu[-200:] == bytes(range(200))
                    meter.send_apdu(answer(event.apdu))
            peer.stdin.write(meter.data_to_send().hex() + "\n")
            peer.stdin.flush()
    assert said == [f"read {VALUE.hex()}"] * 10 + ["written", "closed"]
    assert peer.returncode == 0
    assert meter.limits == limits
    assert events == [LinkOpened] + [ApduReceived] * 12 + [LinkReleased]

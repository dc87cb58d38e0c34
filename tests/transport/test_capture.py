"""Capture files: read back by the reader of captures, their numbers checked by the arithmetic of RFC 791 and RFC 793."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from headend.drivers.captures.flows import read_flows
from headend.drivers.captures.packets import read_packets
from headend.errors import StorageError
from headend.transport.capture import CaptureFile, Dialogue, FileLimits, file_header

AT = 1_700_000_000_123
LIMITS = FileLimits(octets=1 << 20, files=3)


def dialogue(local: str = "127.0.0.1:50000", peer: str = "127.0.0.9:4059") -> bytes:
    said = Dialogue(local, peer)
    return b"".join(
        (
            file_header(),
            said.opening(AT, "meter m1"),
            said.carried(b"ask", AT + 1, sent=True),
            said.carried(b"answer" * 20_000, AT + 2, sent=False, comment="secrets are masked"),
            said.carried(b"more", AT + 3, sent=True),
            said.closing(AT + 4),
        )
    )


@pytest.mark.parametrize(
    ("local", "peer", "ends"),
    [
        ("127.0.0.1:50000", "127.0.0.9:4059", "127.0.0.1:50000 127.0.0.9:4059"),
        ("[::1]:50000", "[::1]:4059", "[::1]:50000 [::1]:4059"),
        ("/dev/ttyUSB0", "/dev/ttyUSB0", "192.0.2.1:49152 192.0.2.2:49153"),
    ],
)
def test_both_sides_are_read_back_whole_and_in_order(local: str, peer: str, ends: str) -> None:
    data = dialogue(local, peer)
    packets = list(read_packets(data))
    flows, others = read_flows(data, packets, ())
    assert others == 0
    (flow,) = flows
    assert f"{flow.client} {flow.server}" == ends
    said = [(chunk.from_client, data[chunk.start : chunk.end]) for chunk in flow.chunks]
    assert said[0] == (True, b"ask")
    assert b"".join(octets for from_client, octets in said if not from_client) == b"answer" * 20_000
    assert said[-1] == (True, b"more")
    assert not any(chunk.missing for chunk in flow.chunks)
    assert packets[0].at == AT * 1_000_000


def test_the_checks_of_every_header_are_right() -> None:
    data = dialogue()
    for packet in read_packets(data):
        octets = data[packet.start : packet.end]
        assert ones_complement(octets[:20]) == 0xFFFF
        pseudo = octets[12:20] + struct.pack(">HH", 6, len(octets) - 20)
        assert ones_complement(pseudo + octets[20:]) == 0xFFFF


def ones_complement(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    limits = FileLimits(octets=10_000, files=2)
    file = CaptureFile(tmp_path / "captures", "m1-1", limits)
    said = Dialogue("127.0.0.1:1", "127.0.0.2:2")
    blocks = [said.carried(number.to_bytes(2, "big") * 500, AT + number, sent=True) for number in range(40)]
    for block in blocks:
        file.write(block)
    file.close()
    paths = sorted((tmp_path / "captures").iterdir())
    assert paths == list(file.paths)
    assert len(paths) == 2
    assert all(path.stat().st_size <= limits.octets for path in paths)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    last = paths[-1].read_bytes()
    newest = list(read_packets(last))[-1]
    assert last[newest.end - 2 : newest.end] == (39).to_bytes(2, "big")
    file.write(b"nothing is written after the end")
    assert file.octets == sum(map(len, blocks))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        CaptureFile(tmp_path / "taken" / "captures", "m1-1", LIMITS)


def test_a_full_disk_is_an_error_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    really = os.open

    def full(path: Path, flags: int, mode: int = 0o777) -> int:
        return really("/dev/full", os.O_WRONLY) if str(path).endswith(".pcapng") else really(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    file = CaptureFile(tmp_path, "m1-1", LIMITS)
    with pytest.raises(StorageError, match="No space left"):
        file.flush()
    file.write(b"nothing is written after that")
    file.close()

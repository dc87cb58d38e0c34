"""`decode`: frames from the standards and from captures, told layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Headend

# IEC 62056-5-3, Annex: GET of 3/1-0:1.8.0.255/2 behind a wrapper header from client 16 to server 1
WRAPPER = "0001 0010 0001 000d c001c1 0003 0100010800ff 02 00"
# UA of a frequently quoted HDLC dialogue (Green Book, example of the connection phase, one-octet addresses)
HDLC = "7E A0 07 03 21 93 0F 01 7E"
# Modbus application protocol V1.1b3, 6.3: read holding registers 108-110; as MBAP, and as RTU of the serial-line guide
MBAP = "0001 0000 0006 11 03 006B 0003"
RTU = "11 03 006B 0003 7687"


@pytest.mark.parametrize(
    ("frame", "names"),
    [
        (WRAPPER, ["wrapper", "get-request-normal", "1-0:1.8.0.255 (Active energy, import)", "2 (value)"]),
        (HDLC, ["HDLC", "SNRM"]),
        (MBAP, ["MBAP", "read holding registers", "unit id         17"]),
        (RTU, ["RTU", "read holding registers", "0x006B"]),
    ],
)
def test_a_frame_layer_by_layer(headend: Headend, frame: str, names: list[str]) -> None:
    for words in ([frame], frame.split(), [frame.replace(" ", ":")], [f"0x{frame.replace(' ', '')}"]):
        said = headend("decode", *words)
        assert said.code == 0
        assert said.err == ""
        for name in names:
            assert name in said.out
    document = headend("decode", "-", "--json", stdin=frame).json
    assert list(document) == ["protocol", "length", "layer"]
    assert {"name", "offset", "length", "fields", "layers", "error"} == set(document["layer"])
    assert document["length"] == document["layer"]["length"] == len(bytes.fromhex(frame))


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ("zz", 2, "'z' is no hexadecimal digit"),
        ("123", 2, "odd number of digits"),
        ("", 2, "got nothing"),
        ("7E A0 07 03 21 93 0F 02 7E", 4, "expected"),
        ("7E A0", 4, "cut short"),
        (RTU[:-1] + "8", 4, "CRC wrong (at octet 6, expected 8776, got 8876)"),
    ],
)
def test_a_frame_that_is_wrong(headend: Headend, frame: str, code: int, words: str) -> None:
    said = headend("decode", frame)
    assert said.code == code
    assert words in said.err


def test_what_is_wrong_is_shown_in_its_place(headend: Headend) -> None:
    said = headend("decode", "7E A0 07 03 21 93 0F 02 7E", "--json")
    assert said.code == 4
    assert "error" in said.out


def test_a_protocol_can_be_chosen(headend: Headend) -> None:
    assert "MBAP" in headend("decode", "--protocol", "modbus", MBAP).out
    said = headend("decode", "--protocol", "smoke", MBAP)
    assert said.code == 2
    assert "dlms" in said.err


def test_octets_in_a_file(headend: Headend, tmp_path: Path) -> None:
    (tmp_path / "frame.txt").write_text("0000  7e a0 07 03 21 93 0f 01  7e                       |~...!...~|\n")
    (tmp_path / "frame.bin").write_bytes(bytes.fromhex(HDLC))
    for name in ("frame.txt", "frame.bin"):
        assert "SNRM" in headend("decode", f"@{tmp_path / name}").out
    said = headend("decode", f"@{tmp_path / 'nothing'}")
    assert said.code == 2
    assert "cannot read" in said.err


def test_values_stand_under_each_other(headend: Headend) -> None:
    lines = headend("decode", MBAP).out.splitlines()
    assert lines[:3] == [
        " 0 +12  MBAP (Modbus messaging on TCP/IP, 3.1.3)",
        " 0 +2     transaction id  0x0001",
        " 2 +2     protocol id     0000 (Modbus)",
    ]


def test_keys_are_named_by_their_place(headend: Headend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Green Book, table of ciphered APDUs: GET of the clock, authenticated and encrypted
    frame = "c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b"
    monkeypatch.setenv("EK", "hex:000102030405060708090a0b0c0d0e0f")
    (tmp_path / "ak").write_text("hex:d0d1d2d3d4d5d6d7d8d9dadbdcdddedf\n")
    title = "client_title=hex:4d4d4d0000bc614e"
    said = headend("decode", frame, "--ek", "env:EK", "--ak", f"file:{tmp_path / 'ak'}", "--key", title)
    assert (said.code, said.err) == (0, "")
    assert "(verified)" in said.out
    assert "0-0:1.0.0.255 (Meter clock)" in said.out
    assert "00010203" not in said.out
    assert headend("decode", frame, "--ek", "env:NOT_THERE").code == 6
    for words in (["--key", "bk"], ["--key", "xk=hex:00"], ["--ek", "hex:00"]):
        said = headend("decode", "--protocol", "dlms", frame, *words)
        assert said.code == 2, said


def test_apdus_as_xml(headend: Headend) -> None:
    said = headend("decode", "--xml", WRAPPER)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("<GetRequest>\n  <GetRequestNormal>")
    assert '<InstanceId Value="0100010800FF" />' in said.out
    assert headend("decode", "--xml", "--json", WRAPPER).code == 2
    said = headend("decode", "--xml", "c401c1000600")
    assert (said.code, said.out) == (4, "")
    assert headend("decode", "--xml", "--protocol", "modbus", MBAP).code != 0

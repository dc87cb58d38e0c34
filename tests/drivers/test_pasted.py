"""Octets as people paste them: plain, from source code, from the tools that print hexdumps."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.pasted import explain_any, read_hex
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError

OCTETS = bytes(range(0x61, 0x61 + 22))
PLAIN = OCTETS.hex()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.upper(),
        OCTETS.hex(" "),
        OCTETS.hex(":"),
        OCTETS.hex("-"),
        "base64:" + b64encode(OCTETS).decode(),
        b64encode(OCTETS).decode(),
        b64encode(OCTETS).decode()[:10] + "\n" + b64encode(OCTETS).decode()[10:],
        ", ".join(f"0x{octet:02X}" for octet in OCTETS),
        "{ " + ", ".join(f"0x{octet:02X}" for octet in OCTETS) + " };",
        "".join(f"\\x{octet:02x}" for octet in OCTETS),
        # hexdump -C
        (
            "00000000  61 62 63 64 65 66 67 68  69 6a 6b 6c 6d 6e 6f 70  |abcdefghijklmnop|\n"
            "00000010  71 72 73 74 75 76                                 |qrstuv|\n00000016\n"
        ),
        # xxd
        (
            "00000000: 6162 6364 6566 6768 696a 6b6c 6d6e 6f70  abcdefghijklmnop\n"
            "00000010: 7172 7374 7576                           qrstuv\n"
        ),
        # tcpdump -X
        (
            "\t0x0000:  6162 6364 6566 6768 696a 6b6c 6d6e 6f70  abcdefghijklmnop\n"
            "\t0x0010:  7172 7374 7576                           qrstuv\n"
        ),
        # Wireshark
        (
            "0000   61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f 70   abcdefghijklmnop\n"
            "0010   71 72 73 74 75 76                                 qrstuv\n"
        ),
        # od -A x -t x1
        "000000 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f 70\n000010 71 72 73 74 75 76\n000016\n".replace(
            "0 6", "0  6"
        ).replace("0 7", "0  7"),
    ],
)
def test_forms_of_octets(text: str) -> None:
    assert read_hex(text) == OCTETS


def test_text_beside_a_hexdump_that_looks_like_octets() -> None:
    assert read_hex("00000000: 6162 6364                                abcd") == b"abcd"


def test_lines_that_only_look_like_a_hexdump() -> None:
    assert read_hex("0000 0001\n0002 0003") == bytes.fromhex("0000000100020003")
    assert read_hex("0001  0002\n0003  0004") == bytes.fromhex("0001000200030004")


@pytest.mark.parametrize(
    ("text", "said"), [("7g", "'g' is no"), ("7ea", "odd number"), ("", "nothing"), ("0x", "nothing")]
)
def test_what_is_no_hexadecimal(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_hex(text)


@given(st.text(alphabet="0123456789abcdefx: \n\t|-", max_size=80))
def test_reading_never_breaks(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(read_hex(text), bytes)


@pytest.mark.parametrize(
    ("octets", "protocol"),
    [
        ("7ea0070321930f017e", "dlms"),
        ("0001 0010 0001 000d c001c1 0003 0100010800ff 02 00", "dlms"),
        ("c401c10006000004d2", "dlms"),
        ("0001 0000 0006 11 03 006B 0003", "modbus"),
        ("11 03 006B 0003 7687", "modbus"),
        ("11 03 006B 0003 7688", "modbus"),
        ("03 006B 0003", "modbus"),
        ("060102030405060708", "dlms"),
    ],
)
def test_whose_octets_they_are(octets: str, protocol: str) -> None:
    drivers = [driver(name) for name in driver_names()]
    assert explain_any(bytes.fromhex(octets), drivers)[0] == protocol

"""What dials in, from its first octets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.recognition import LIMIT, UNKNOWN, Kind, Known, Recognised, Recogniser
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver, driver_names

KNOWN = Known(built_in())
DRIVERS = tuple(driver(name) for name in driver_names())

STREAMS = {
    "login": ("longi", "0001000100010012 0A020C323130363030343032393431005A4C"),
    "heartbeat": ("longi", "0001000100010011 0C010C3231313230303530343337374002"),
    "last gasp": ("longi", "0001000100010011 0F020C3331313530313131343037302FF2"),
    "login, check wrong": ("longi", "0001000100010012 0A020C33313135303131313430373000 7F28"),
    "login and push": (
        "longi",
        "0001000100010012 0A020C323130363030343032393431005A4C 000100010066000EC20000070000600100FF02090101",
    ),
    "event notification": ("dlms-wrapper", "000100010066000EC20000070000600100FF02090101"),
    "data notification": ("dlms-wrapper", "000100010066000C 0F00000001 00 0202 1100 1100"),
    "AARE": (
        "dlms-wrapper",
        "000100010010002B 6129A109060760857405080101A203020100A305A103020100 BE10040E0800065F1F0400001E1D04C80007",
    ),
    "AARE without wrapper": ("dlms-apdu", "6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F"),
    "HDLC": ("dlms-hdlc", "7ea0070321930f017e"),
    "HDLC after flags": ("dlms-hdlc", "7e7e7ea0070321930f017e"),
    "RTU": ("modbus-rtu", "01 04 04 43663334 1B38"),
    "RTU exception": ("modbus-rtu", "01 83 02 C0F1"),
    "AARQ without wrapper": (
        "dlms-apdu",
        "601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF",
    ),
    "push without wrapper": ("dlms-apdu", "0F000000010C07E60A1F05110F39FF80000002021200E6060000000A"),
    "DL/T 645 whose address is text": ("dlt645", "68 666666666666 68 91 06 33 33 34 33 59 33 24 16"),
    "ciphered push": (
        "dlms-apdu",
        "DB084D4D4D0000BC614E1E300123456741131 2FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B".replace(" ", ""),
    ),
    "DL/T 645": ("dlt645", "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16"),
    "DL/T 645 behind a leader": ("dlt645", "FEFEFEFE 68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16"),
    "Hexing heartbeat": ("hexing", "0001000100100012 DD1000000000 303030303030303234303030"),
    "Hexing heartbeat behind a flag": ("hexing", "7EDD1000000000 303B30333930383530303138"),
    "text of a modem": (
        "modem-text",
        b"MODEM_ID=867123,METER_ID=210600402941\r\n".hex(),
    ),
    "wake-up": ("dsmr-wakeup", b"EXXXX001692675614,".hex() + "0000020300FF"),
    "heartbeat in text": ("usr", b"www.usr.cn".hex()),
    "number and RTU": ("dtu-digits", b"355837089512343".hex() + "01 04 04 43663334 1B38"),
    "number and DL/T 645": ("dtu-digits", b"355837089512343".hex() + "686101000000006891083333343359333333 8A 16"),
    "name and line end": ("dtu-text", b"Eport-HF2411\r\n".hex()),
    "MAC and DL/T 645": ("dtu-mac", "285168A1B2C3 686101000000006891083333343359333333 8A 16"),
    "Modbus TCP": ("modbus-tcp", "0001 0000 0006 01 04 0000 0002"),
    "M-Bus": (
        UNKNOWN,
        "68 1F1F 68 08 02 72 78563412 24 40 01 07 55 00 00 00 03 13 15 31 00 DA 02 3B 13 01 8B 60 04 37 18 02 18 16",
    ),
    "M-Bus with the second octet of DL/T 645": (UNKNOWN, "68 0808 68 08 02 72 68 000000 00 E4 16"),
    "Q/GDW 376.1": (UNKNOWN, "68 32 00 32 00 68 C9 00 01 01 00 00 02 70 00 00 01 00 3E 16"),
    "Q/GDW 376.1 that carries DL/T 645": (
        UNKNOWN,
        "688600860068 880001010000106000000100 10 686101000000006891083333343359333333 8A16 3516",
    ),
    "Q/GDW 1376.2 that carries DL/T 645": (
        UNKNOWN,
        "68 23 00 41 00 00 28 64 00 00 13 01 00 02 68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16 00 16",
    ),
    "DL/T 698.45": (UNKNOWN, "68 2300 C3 05 010000000000 10 6BFF 85010140000200011C07E80102030405000000 00F52C16"),
    "DL/T 698.45 with the second octet of DL/T 645": (
        UNKNOWN,
        "68 2300 C3 05 112268334455 10 609D 85010140000200011C07E80102030405000000 00F52C16",
    ),
    "IEC 104": (UNKNOWN, "68 04 07 00 00 00 68 04 43 00 00 00"),
    "ANSI C12.22": (
        UNKNOWN,
        "60 1D A2 05 80 03 7B C1 7B A6 0A 06 08 60 7C 86 F7 54 01 16 01 BE 08 28 06 81 04 80 02 FF 02",
    ),
    "HTTP": (UNKNOWN, b"GET / HTTP/1.1\r\nHost: meter\r\n\r\n".hex()),
    "TLS": (UNKNOWN, "16 03 01 00C8 01 0000C4 0303" + "00" * 40),
    "SSH": (UNKNOWN, b"SSH-2.0-OpenSSH_9.6\r\n".hex()),
    "telnet": (UNKNOWN, "FF FD 18 FF FD 20"),
    "MQTT": (UNKNOWN, "10 0E 0004 4D515454 04 02 003C 0002 6162"),
}
FOLLOWS = {
    "login and push": "dlms-wrapper",
    "number and RTU": "modbus-rtu",
    "number and DL/T 645": "dlt645",
    "MAC and DL/T 645": "dlt645",
    "Q/GDW 1376.2 that carries DL/T 645": "dlt645",
}
"""What comes behind, or in, what noise in front may spoil."""
SURE = (
    *("login", "heartbeat", "last gasp", "login and push", "event notification", "data notification", "AARE"),
    *("HDLC", "HDLC after flags", "RTU", "RTU exception", "AARQ without wrapper", "ciphered push"),
    *("DL/T 645", "DL/T 645 behind a leader", "Hexing heartbeat", "Hexing heartbeat behind a flag", "text of a modem"),
    *("M-Bus", "Q/GDW 376.1", "Q/GDW 376.1 that carries DL/T 645", "DL/T 698.45"),
)


def begin() -> Recogniser:
    return Recogniser(KNOWN, DRIVERS)


def label(parts: list[bytes], *, silent: bool = False) -> str | None:
    recogniser = begin()
    for part in parts:
        said = recogniser.feed(part)
        if said is not None:
            return said.label
    return recogniser.silence().label if silent else None


def octets(name: str) -> bytes:
    return bytes.fromhex(STREAMS[name][1])


@pytest.mark.parametrize("name", STREAMS)
def test_whole_and_in_two(name: str) -> None:
    expected, data = STREAMS[name][0], octets(name)
    assert label([data]) == expected
    for cut in range(len(data)):
        assert label([data[:cut]]) in {None, expected}
        assert label([data[:cut], data[cut:]]) == expected
    assert label([bytes((octet,)) for octet in data]) == expected


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("noise", [b"\xfe", b"\r\n", b" \r\n"])
def test_what_may_stand_in_front(name: str, noise: bytes) -> None:
    said = begin().feed(noise + octets(name))
    assert said is not None
    assert said.label in {STREAMS[name][0], FOLLOWS.get(name)}
    assert (said.noise + said.rest).startswith(noise)


@pytest.mark.parametrize("name", SURE)
@pytest.mark.parametrize("noise", [b"\x00\xff\x55", b"\x68\x00" * 40, b"\x01\x03", b"Welcome!\r\n"])
def test_what_is_sure_is_found_behind_noise(name: str, noise: bytes) -> None:
    said = begin().feed(noise + octets(name))
    assert said is not None
    assert said.label == STREAMS[name][0]
    assert said.noise.startswith(noise)


@given(st.binary(max_size=30), st.sampled_from(sorted(STREAMS)))
def test_noise_never_makes_another_protocol_of_it(noise: bytes, name: str) -> None:
    text = {"dtu-digits", "dtu-text", "dtu-mac"}  # which noise may be, and is no protocol
    assert label([noise + octets(name)]) in {STREAMS[name][0], FOLLOWS.get(name), UNKNOWN, None} | text


@pytest.mark.parametrize("name", [name for name, (expected, _) in STREAMS.items() if expected == UNKNOWN])
def test_a_stranger_has_a_name(name: str) -> None:
    said = begin().feed(octets(name))
    assert said is not None
    assert said.reason == "it speaks " + name.partition(" that ")[0].partition(" with ")[0].replace(
        "IEC 104", "IEC 60870-5-104"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", UNKNOWN),
        (b"www", UNKNOWN),
        (b"355837089512343", "dtu-digits"),
        (b"355837089512343\r\n", "dtu-digits"),
        (b"3558370895", "dtu-digits"),
        (b"D0D900428073", "dtu-text"),
        (b"LOGIN:1001", "usr"),
        (b"MODEM_ID=8,METER_ID=9", "modem-text"),
        (b"good morning", UNKNOWN),
        (bytes.fromhex("285168A1B2C3"), "dtu-mac"),
        (bytes.fromhex("2A5168A1B2C3"), UNKNOWN),
        (bytes.fromhex("285168A1B2C300"), UNKNOWN),
        (b"EXXXX001692675614,\x00\x00\x00\x01", "dsmr-wakeup"),
        (bytes.fromhex("0001000100010001DA"), "dlms-wrapper"),
        (bytes.fromhex("680407000000"), UNKNOWN),
        (bytes.fromhex("6300"), "dlms-apdu"),
    ],
)
def test_what_comes_before_silence(text: bytes, expected: str) -> None:
    for cut in range(len(text) + 1):
        assert label([text[:cut], text[cut:]], silent=True) == expected


def test_silence_may_end() -> None:
    recogniser = begin()
    data = octets("DL/T 645")
    assert recogniser.feed(data[:9]) is None
    assert recogniser.silence().label == UNKNOWN
    said = recogniser.feed(data[9:])
    assert said is not None
    assert (said.label, said.address, said.rest) == ("dlt645", "000000000161", data)


def test_a_card_address_and_what_follows() -> None:
    said = begin().feed(octets("MAC and DL/T 645"))
    assert said is not None
    (card,) = said.registered
    assert (said.protocol, said.address, card.number, said.noise) == ("dlt645", "000000000161", "285168A1B2C3", b"")
    assert said.rest == octets("DL/T 645")


PARTS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([octets(name) for name in STREAMS]),
    st.tuples(st.sampled_from(sorted(STREAMS)), st.integers(0, 30)).map(lambda cut: octets(cut[0])[: cut[1]]),
    st.tuples(st.sampled_from(sorted(STREAMS)), st.integers(0, 30)).map(lambda cut: octets(cut[0])[cut[1] :]),
)


@given(st.lists(PARTS, max_size=5).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]
    assert label([data], silent=True) == label(parts, silent=True)


def test_a_login_and_what_follows() -> None:
    said = begin().feed(b"\r\n" + octets("login and push"))
    assert isinstance(said, Recognised)
    assert (said.label, said.protocol, said.framing, said.noise) == ("longi", "dlms", "wrapper", b"\r\n")
    (login,) = said.registered
    assert (login.kind, login.identity, login.check_ok, login.option) == (Kind.LOGIN, "210600402941", True, 0)
    assert said.rest == octets("event notification")


def test_no_more_than_the_limit_is_looked_at() -> None:
    recogniser = begin()
    assert recogniser.feed(bytes(LIMIT - 1)) is None
    said = recogniser.feed(b"\x00" + octets("HDLC"))
    assert said is not None
    assert (said.label, said.protocol) == (UNKNOWN, "")
    assert str(LIMIT) in said.reason


def test_silence() -> None:
    assert begin().silence().reason == "it says nothing"
    recogniser = begin()
    assert recogniser.feed(b"hello") is None
    said = recogniser.silence()
    assert (said.label, said.rest, said.reason) == (UNKNOWN, b"hello", "5 letters of a text of no known protocol")

"""The opening in mode E: lines by hand, a pair, echoes and noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import Role
from headend.protocols.mode_e import ChangeBaud, Identified, ModeE, Requested

from .draining import drain


def sent(side: ModeE) -> bytes:
    """What a side sends, without the parity, which is even."""
    octets = side.data_to_send()
    assert all(octet.bit_count() % 2 == 0 for octet in octets)
    return bytes(octet & 0x7F for octet in octets)


def test_a_call_as_a_line_of_eight_bits_carries_it() -> None:
    """AF 3F 21 8D 0A is what a line of 7E1 shows to one of 8N1."""
    ours = ModeE(Role.CLIENT)
    ours.open()
    assert ours.data_to_send() == bytes.fromhex("af 3f 21 8d 0a")


def client(**options: int) -> ModeE:
    made = ModeE(Role.CLIENT, **options)
    made.open()
    assert sent(made) == b"/?!\r\n"
    return made


def meter(**options: int) -> ModeE:
    return ModeE(Role.SERVER, manufacturer="ISK", identification="ME172", device="42", **options)


@pytest.mark.parametrize("size", [1, 100])
def test_an_opening(size: int) -> None:
    """The lines as IEC 62056-21 spells them: ISK, 5 for 9600 baud, \\2 for HDLC."""
    ours = client()
    line = b"/ISK5\\2ME172\r\n"
    events: list[object] = []
    for at in range(0, len(line), size):
        ours.receive_data(line[at : at + size])
        events += drain(ours)
    assert events == [Identified("ISK", 9600, "ME172"), ChangeBaud(9600)]
    assert sent(ours) == bytes.fromhex("06 32 35 32 0D 0A")
    assert ours.finished
    ours.receive_data(b"\x7e")
    assert drain(ours) == []
    assert ours.take_rest() == b"\x7e"


def test_client_and_meter() -> None:
    ours, theirs = ModeE(Role.CLIENT, device="42", max_baud=4800), meter(max_baud=9600)
    ours.open()
    theirs.receive_data(sent(ours))
    assert drain(theirs) == [Requested("42")]
    ours.receive_data(sent(theirs))
    assert drain(ours) == [Identified("ISK", 9600, "ME172"), ChangeBaud(4800)]
    theirs.receive_data(sent(ours))
    assert drain(theirs) == [ChangeBaud(4800)]
    assert theirs.finished


def test_parity_bits_and_echoes_and_noise_are_passed_over() -> None:
    ours = client()
    ours.receive_data(b"/?!\r\n" + b"\xff\x00noise\r\nx")
    ours.receive_data(bytes(octet | 0x80 for octet in b"/KFM6\\2MA309\r\n"))
    assert drain(ours) == [Identified("KFM", 19200, "MA309"), ChangeBaud(19200)]


@pytest.mark.parametrize("line", [b"/LGZ5ZMD310\r\n", b"/LGZ9\\2X\r\n", b"/LG\\2\r\n", b"/\r\n"])
def test_a_meter_without_hdlc(line: bytes) -> None:
    ours = client()
    ours.receive_data(line)
    (error,) = drain(ours)
    assert "does not offer HDLC" in str(error)
    assert not ours.finished
    ours.open()
    ours.receive_data(b"/ISK5\\2ME172\r\n")
    assert drain(ours)[1:] == [ChangeBaud(9600)]


def test_a_line_without_end() -> None:
    ours = client()
    ours.receive_data(bytes(97))
    assert "without end" in str(drain(ours)[0])
    with pytest.raises(RemoteProtocolError):
        ours.receive_data(bytes(5000))


def test_a_meter_answers_its_own_address_and_everybody() -> None:
    theirs = meter()
    theirs.receive_data(b"/?43!\r\n\x06252\r\n\x00\r\n")
    assert drain(theirs) == []
    assert sent(theirs) == b""
    theirs.receive_data(b"/?!\r\n")
    assert drain(theirs) == [Requested("")]
    assert sent(theirs) == b"/ISK6\\2ME172\r\n"


def test_a_rate_beyond_the_offer() -> None:
    theirs = meter(max_baud=2400)
    theirs.receive_data(b"/?!\r\n\x06252\r\n")
    assert drain(theirs)[0] == Requested("")
    theirs = meter(max_baud=2400)
    theirs.receive_data(b"/?!\r\n\x06252\r\n")
    assert isinstance(drain(theirs)[1], RemoteProtocolError)
    assert not theirs.finished


def test_what_cannot_be() -> None:
    for wrong in ({"device": "!"}, {"device": "x" * 33}, {"max_baud": 115200}):
        with pytest.raises(LocalProtocolError):
            ModeE(Role.CLIENT, **wrong)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        ModeE(Role.SERVER, manufacturer="I", identification="x")
    with pytest.raises(LocalProtocolError):
        meter().open()
    ours = client()
    ours.receive_data(b"/ISK5\\2\r\n")
    assert ours.next_event() == Identified("ISK", 9600, "")
    with pytest.raises(LocalProtocolError):
        ours.open()


@given(st.sampled_from(list(Role)), st.lists(st.one_of(st.binary(max_size=40), st.just(b"/?!\r\n"), st.just(b"/"))))
def test_any_octets(role: Role, pieces: list[bytes]) -> None:
    side = meter() if role is Role.SERVER else client()
    for piece in pieces:
        try:
            side.receive_data(piece)
        except RemoteProtocolError:
            continue
        assert len(drain(side)) <= len(piece) + 2

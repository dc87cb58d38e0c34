"""What `request`, `reply` and `receive_apdu` do is what the general calls do: same octets, same APDU, same state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame

CLIENT, METER = Address.client(0x10), Address.server(1, 17)


def snapshot(connection: HdlcConnection) -> dict[str, Any]:
    """Everything that a connection remembers, with its parts."""
    parts: dict[str, Any] = {}
    for name in connection.__slots__:
        value = getattr(connection, name)
        if hasattr(value, "__slots__") and type(value).__module__.startswith("headend.protocols"):
            value = {slot: str(getattr(value, slot)) for slot in value.__slots__ if slot != "_buffer"}
        parts[name] = copy.copy(value)
    return parts


def twins(make_pair: Callable[..., Any], role: Role, rounds: int, *, asked: bool) -> list[HdlcConnection]:
    """Two connections with the same history: open, `rounds` exchanges, and for a client (`asked`) a request in flight."""
    made = []
    for _ in range(2):
        pair = make_pair(Limits(max_information_transmit=64, max_information_receive=64))
        pair.open()
        pair.answer = lambda apdu: b"\xc4" + apdu
        for number in range(rounds):
            pair.client.send_apdu(bytes([number]))
            pair.run()
        connection = pair.client if role is Role.CLIENT else pair.server
        if asked and role is Role.CLIENT:
            connection.send_apdu(b"\xc0\x01\xc1")
            connection.data_to_send()
        made.append(connection)
    return made


FLAWS = ["destination", "source", "UI", "DM", "not-final", "numbers", "segmented", "llc", "other-llc", "short"]
DAMAGES = ["bit", "twice", "cut", "tail", "flag"]


@st.composite
def receptions(draw: st.DrawFn) -> tuple[Role, int, bool, bytes]:
    """A role, a history, and the frame that is due; or one with a single flaw, or damaged on the way."""
    role = draw(st.sampled_from(Role))
    rounds = draw(st.integers(0, 3))
    asked = draw(st.booleans())
    flaw = draw(st.sampled_from([""] * 15 + FLAWS + DAMAGES))
    ours, theirs = (CLIENT, METER) if role is Role.CLIENT else (METER, CLIENT)
    llc, other_llc = (b"\xe6\xe7\x00", b"\xe6\xe6\x00")[:: 1 if role is Role.CLIENT else -1]
    start = {"llc": b"\xe6\xe6\x01", "other-llc": other_llc, "short": llc[: draw(st.integers(0, 3))]}.get(flaw, llc)
    frame = Frame(
        destination=Address.client(1) if flaw == "destination" else ours,
        source=Address.server(2) if flaw == "source" else theirs,
        kind={"UI": Kind.UI, "DM": Kind.DM}.get(flaw, Kind.I),
        final=flaw != "not-final",
        segmented=flaw == "segmented",
        send_sequence=draw(st.integers(0, 7)) if flaw == "numbers" else rounds,
        receive_sequence=draw(st.integers(0, 7)) if flaw == "numbers" else rounds + (role is Role.CLIENT and asked),
        information=start + (b"" if flaw == "short" else draw(st.binary(min_size=1, max_size=40))),
    )
    data = encode_frame(frame)
    if flaw == "bit":
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
    elif flaw == "twice":
        data += data[1:]
    elif flaw == "cut":
        data = data[: draw(st.integers(0, len(data) - 1))]
    elif flaw == "tail":
        data += draw(st.binary(min_size=1, max_size=3))
    elif flaw == "flag":
        data = b"\x7e" + data
    return role, rounds, asked, data


@given(receptions())
def test_the_fast_reception_is_the_general_one(
    make_pair: Callable[..., Any], reception: tuple[Role, int, bool, bytes]
) -> None:
    role, rounds, asked, data = reception
    fast, general = twins(make_pair, role, rounds, asked=asked)
    before = snapshot(fast)
    taken = fast.receive_apdu(data)
    note("fast" if taken else "general")
    if taken is None:
        assert snapshot(fast) == before
        return
    general.receive_data(data)
    event = general.next_event()
    assert isinstance(event, ApduReceived)
    buffer, start, end = taken
    assert buffer[start:end] == event.apdu
    assert not event.unsolicited
    assert general.next_event() is NEED_DATA
    assert general.data_to_send() == b""
    assert snapshot(fast) == snapshot(general)


def test_the_common_answer_goes_the_fast_way(make_pair: Callable[..., Any]) -> None:
    """Sixteen exchanges, so that the numbers go round twice, by both kinds of calls."""
    quick, plain = make_pair(), make_pair()
    quick.open()
    plain.open()
    prepared = quick.client.prepare(b"\xc0\x01\xc1\x00")
    for number in range(16):
        plain.client.send_apdu(b"\xc0\x01\xc1\x00")
        question = quick.client.request(prepared)
        assert question == plain.client.data_to_send()
        plain.server.receive_data(question)
        plain.server.next_event()
        received = quick.server.receive_apdu(question)
        assert received is not None
        buffer, start, end = received
        assert buffer[start:end] == b"\xc0\x01\xc1\x00"
        plain.server.send_apdu(bytes([0xC4, number]))
        answer = quick.server.reply(bytes([0xC4, number]))
        assert answer == plain.server.data_to_send()
        plain.client.receive_data(answer)
        plain.client.next_event()
        assert quick.client.receive_apdu(answer) == (answer, 12, 14)
        assert snapshot(quick.client) == snapshot(plain.client)
        assert snapshot(quick.server) == snapshot(plain.server)
    assert len(prepared.frames) == 8


def test_a_prepared_request_fits_every_connection_with_the_addresses(make_pair: Callable[..., Any]) -> None:
    first, second, other = make_pair(), make_pair(), make_pair(server=Address.server(2))
    for pair in (first, second, other):
        pair.open()
    prepared = first.client.prepare(b"\xc0")
    assert first.client.request(prepared) == second.client.request(prepared)
    assert other.client.request(prepared)[3:5].hex() == "0521"


def test_what_does_not_fit_into_one_frame_goes_the_general_way(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.open()
    pair.client.send_apdu(bytes(300))
    plain = pair.client.data_to_send()
    pair = make_pair()
    pair.open()
    assert pair.client.request(pair.client.prepare(bytes(300))) == plain
    pair = make_pair()
    pair.open()
    assert pair.client.reply(bytes(300)) == plain


def test_out_of_turn_nothing_is_sent(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.open()
    prepared = pair.client.prepare(b"\xc0")
    pair.client.request(prepared)
    assert pair.client.request(prepared) == b""
    assert pair.client.reply(b"\xc0") == b""
    assert pair.server.reply(b"\xc4") == b""


def test_a_lost_prepared_request_is_repeated(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.open()
    lost = pair.client.request(pair.client.prepare(b"\xc0"))
    pair.client.retransmit()
    assert pair.client.data_to_send() == lost


def test_a_damaged_answer_is_left_to_the_general_way(make_pair: Callable[..., Any]) -> None:
    pair = make_pair()
    pair.open()
    request = pair.client.request(pair.client.prepare(b"\xc0"))
    assert pair.server.receive_apdu(request) is not None
    answer = bytearray(pair.server.reply(b"\xc4\x01"))
    answer[-3] ^= 1
    assert pair.client.receive_apdu(bytes(answer)) is None
    pair.client.receive_data(bytes(answer))
    with pytest.raises(RemoteProtocolError, match="FCS"):
        pair.client.next_event()
    pair.client.retransmit()
    assert pair.client.data_to_send() == request

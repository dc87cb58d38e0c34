"""Single mechanisms, frame by frame: numbering, recovery, busy peers, neighbours on the wire, UI frames, quirks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, Framing, LinkOpened, LinkReleased, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits, State
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame
from headend.protocols.hdlc.parameters import decode_limits, encode_limits
from headend.protocols.hdlc.segmentation import MAX_APDU

CLIENT, METER = Address.client(0x10), Address.server(1)
WIDE = Limits(max_information_transmit=64, max_information_receive=64, window_transmit=3, window_receive=3)
RESPONSE = b"\xe6\xe7\x00"


def from_meter(kind: Kind, *, source: Address = METER, destination: Address = CLIENT, **fields: Any) -> bytes:
    return encode_frame(Frame(destination=destination, source=source, kind=kind, **fields))


def from_client(kind: Kind, *, source: Address = CLIENT, destination: Address = METER, **fields: Any) -> bytes:
    return encode_frame(Frame(destination=destination, source=source, kind=kind, **fields))


def control_fields(data: bytes) -> list[str]:
    """Of frames with two addresses of one octet."""
    fields = []
    while data:
        fields.append(f"{data[5]:02X}")
        data = data[((data[1] & 7) << 8 | data[2]) + 2 :]
    return fields


@pytest.fixture
def client() -> HdlcConnection:
    """Connected, with a window of three frames."""
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER, limits=WIDE)
    connection.open()
    connection.data_to_send()
    connection.receive_data(from_meter(Kind.UA, information=encode_limits(WIDE)))
    assert connection.next_event() == LinkOpened()
    return connection


@pytest.fixture
def meter() -> HdlcConnection:
    connection = HdlcConnection(Role.SERVER, server=METER, limits=WIDE)
    connection.receive_data(from_client(Kind.SNRM, information=encode_limits(WIDE)))
    assert connection.next_event() == LinkOpened()
    connection.data_to_send()
    return connection


def test_it_is_a_framing() -> None:
    framing: Framing = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER)
    assert framing.role is Role.CLIENT


def test_a_client_needs_an_address() -> None:
    with pytest.raises(LocalProtocolError, match="needs an address"):
        HdlcConnection(Role.CLIENT, server=METER)


# Opening ---------------------------------------------------------------------------------------------------------


def test_default_limits_are_not_spelled_out() -> None:
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER)
    connection.open()
    assert connection.data_to_send().hex() == "7ea0070321930f017e"
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER, limits=WIDE)
    connection.open()
    assert decode_limits(connection.data_to_send()[8:-3]) == WIDE


def test_a_ua_without_parameters_means_the_defaults() -> None:
    wide = Limits(max_information_transmit=2030, max_information_receive=64, window_transmit=7, window_receive=7)
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER, limits=wide)
    assert connection.limits == wide
    connection.open()
    connection.receive_data(from_meter(Kind.UA))
    assert connection.next_event() == LinkOpened()
    assert connection.limits == Limits(max_information_receive=64)


def test_a_ua_with_the_addresses_the_wrong_way_round_is_taken() -> None:
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER)
    connection.open()
    connection.receive_data(from_client(Kind.UA, information=encode_limits(Limits())))
    assert connection.next_event() == LinkOpened()


def test_a_ua_with_bad_parameters_opens_nothing() -> None:
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=METER)
    connection.open()
    connection.receive_data(from_meter(Kind.UA, information=b"\x81\x80\x05"))
    with pytest.raises(RemoteProtocolError, match="cut off"):
        connection.next_event()
    assert connection.state is State.CONNECTING


def test_a_meter_that_knows_its_client_serves_no_other() -> None:
    connection = HdlcConnection(Role.SERVER, client=CLIENT, server=METER)
    connection.receive_data(from_client(Kind.SNRM, source=Address.client(1)))
    assert connection.next_event() is NEED_DATA
    connection.receive_data(from_client(Kind.SNRM))
    assert connection.next_event() == LinkOpened()


def test_a_meter_without_a_client_answers_the_one_who_opens(meter: HdlcConnection) -> None:
    other = Address.client(1)
    meter.receive_data(from_client(Kind.DISC, source=other))
    assert meter.next_event() is NEED_DATA
    assert meter.data_to_send() == b""
    meter.receive_data(from_client(Kind.SNRM, source=other))
    assert meter.next_event() == LinkReleased("SNRM received: the client begins anew")
    assert meter.next_event() == LinkOpened()
    assert meter.data_to_send()[3:5].hex() == "0303"


def test_a_command_without_the_poll_bit_gets_no_answer() -> None:
    connection = HdlcConnection(Role.SERVER, server=METER)
    connection.receive_data(from_client(Kind.I, final=False, information=b"x"))
    assert connection.next_event() is NEED_DATA
    assert connection.data_to_send() == b""


# Neighbours ------------------------------------------------------------------------------------------------------


def test_frames_of_others_disturb_nobody(client: HdlcConnection, meter: HdlcConnection) -> None:
    neighbour = Address.server(2)
    for kind in Kind:
        client.receive_data(
            from_meter(kind, source=neighbour, information=b"\xe6\xe7\x00\xc4" if kind is Kind.I else b"")
        )
        meter.receive_data(from_client(kind, destination=neighbour))
        if kind is not Kind.UI:
            client.receive_data(from_meter(kind, destination=Address.client(1)))
        client.receive_data(from_client(kind) if kind is not Kind.UA else b"")  # our own echo
    assert client.next_event() is NEED_DATA
    assert meter.next_event() is NEED_DATA
    assert client.data_to_send() == meter.data_to_send() == b""
    assert client.is_open
    assert meter.is_open


def test_a_push_to_another_client_address_is_delivered_with_it(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.UI, destination=Address.client(0x66), information=RESPONSE + b"\x0f"))
    assert client.next_event() == ApduReceived(b"\x0f", METER.packed, 0x66 << 14, unsolicited=True)


def test_a_meter_hears_its_broadcasts(meter: HdlcConnection) -> None:
    meter.receive_data(from_client(Kind.UI, destination=Address(0x7F), final=False, information=b"\xe6\xe6\x00\xc1"))
    event = meter.next_event()
    assert isinstance(event, ApduReceived)
    assert (event.apdu, event.unsolicited) == (b"\xc1", True)


# UI frames -------------------------------------------------------------------------------------------------------


def test_ui_frames_without_llc_header_are_delivered_as_they_are(client: HdlcConnection) -> None:
    """Landis+Gyr E450: general-block-transfer, each block in a UI frame, the LLC header only in the first."""
    client.receive_data(from_meter(Kind.UI, information=bytes.fromhex("E6 E7 00 E0 40 00 01")))
    client.receive_data(from_meter(Kind.UI, information=bytes.fromhex("E0 C0 00 02")))
    first, second = client.next_event(), client.next_event()
    assert isinstance(first, ApduReceived)
    assert isinstance(second, ApduReceived)
    assert [first.apdu.hex(), second.apdu.hex()] == ["e0400001", "e0c00002"]


def test_segmented_ui_frames_are_put_together(client: HdlcConnection) -> None:
    """Iskraemeco AM550."""
    parts = [RESPONSE + b"\x0f12", b"34", b"56"]
    for index, part in enumerate(parts):
        client.receive_data(from_meter(Kind.UI, information=part, segmented=index < 2))
    assert client.next_event() == ApduReceived(b"\x0f123456", METER.packed, CLIENT.packed, unsolicited=True)


def test_a_damaged_segment_of_a_ui_frame_spoils_no_later_push(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.UI, information=RESPONSE + b"\x0f12", segmented=True))
    damaged = bytearray(from_meter(Kind.UI, information=b"34", segmented=True))
    damaged[-3] ^= 1
    client.receive_data(bytes(damaged))
    with pytest.raises(RemoteProtocolError, match="FCS"):
        client.next_event()
    client.receive_data(from_meter(Kind.UI, information=RESPONSE + b"\x0f99"))
    assert client.next_event() == ApduReceived(b"\x0f99", METER.packed, CLIENT.packed, unsolicited=True)


def test_a_ui_frame_without_information_says_nothing(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.UI))
    assert client.next_event() is NEED_DATA


def test_a_meter_pushes_without_a_link(make_pair: Callable[..., Any]) -> None:
    pair = make_pair(limits=Limits(max_information_transmit=40))
    pair.server.send_unsolicited(bytes(100), Address.client(0x10))
    assert pair.run()[0] == [ApduReceived(bytes(100), 1 << 14 | 17, 0x10 << 14, unsolicited=True)]
    assert len(pair.wire) == 3


def test_a_client_broadcasts() -> None:
    connection = HdlcConnection(Role.CLIENT, client=CLIENT, server=Address(0x7F))
    connection.send_unsolicited(b"\xc1\x01")
    data = connection.data_to_send()
    assert data[3:6].hex() == "ff2103"
    meter = HdlcConnection(Role.SERVER, server=METER)
    meter.receive_data(data)
    assert meter.next_event() == ApduReceived(b"\xc1\x01", CLIENT.packed, 0x7F << 14, unsolicited=True)


# Numbered frames -------------------------------------------------------------------------------------------------


def test_a_repeated_answer_is_not_delivered_twice(client: HdlcConnection) -> None:
    client.send_apdu(b"\xc0")
    client.data_to_send()
    answer = from_meter(Kind.I, receive_sequence=1, information=RESPONSE + b"\xc4")
    client.receive_data(answer)
    assert isinstance(client.next_event(), ApduReceived)
    client.send_apdu(b"\xc0")
    assert control_fields(client.data_to_send()) == ["32"]
    client.receive_data(answer)  # the meter was slow, and the request had been sent twice
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.receive_data(from_meter(Kind.I, send_sequence=1, receive_sequence=2, information=RESPONSE + b"\xc5"))
    event = client.next_event()
    assert isinstance(event, ApduReceived)
    assert event.apdu == b"\xc5"


def test_a_meter_answers_a_repeated_request_with_the_same_answer(meter: HdlcConnection) -> None:
    request = from_client(Kind.I, information=b"\xe6\xe6\x00\xc0")
    meter.receive_data(request)
    assert isinstance(meter.next_event(), ApduReceived)
    assert meter.data_to_send() == b""
    meter.send_apdu(b"\xc4")
    answer = meter.data_to_send()
    meter.receive_data(request)
    assert meter.next_event() is NEED_DATA
    assert meter.data_to_send() == answer


def test_a_meter_without_an_answer_says_so_when_polled_again(meter: HdlcConnection) -> None:
    request = from_client(Kind.I, information=b"\xe6\xe6\x00\xc0")
    meter.receive_data(request)
    assert isinstance(meter.next_event(), ApduReceived)
    meter.receive_data(request)
    assert meter.next_event() is NEED_DATA
    assert control_fields(meter.data_to_send()) == ["31"]
    meter.send_apdu(b"\xc4")
    assert meter.data_to_send() == b""
    meter.receive_data(from_client(Kind.RR))
    assert meter.next_event() is NEED_DATA
    assert control_fields(meter.data_to_send()) == ["30"]


def test_a_client_polls_for_the_answer_that_did_not_come_with_the_acknowledgement(client: HdlcConnection) -> None:
    client.send_apdu(b"\xc0")
    client.data_to_send()
    client.receive_data(from_meter(Kind.RR, receive_sequence=1))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["11"]
    client.receive_data(from_meter(Kind.RR, receive_sequence=1))  # nothing yet: no endless polling
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.retransmit()
    assert control_fields(client.data_to_send()) == ["11"]
    client.receive_data(from_meter(Kind.I, receive_sequence=1, information=RESPONSE + b"\xc4"))
    assert isinstance(client.next_event(), ApduReceived)


def test_a_lost_frame_within_a_window_is_asked_for(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.I, final=False, segmented=True, information=RESPONSE + b"\xc4"))
    client.receive_data(from_meter(Kind.I, send_sequence=2, information=b"three"))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["31"]
    client.receive_data(from_meter(Kind.I, send_sequence=2, information=b"three"))  # once is enough
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.receive_data(from_meter(Kind.I, send_sequence=1, final=False, segmented=True, information=b"two"))
    client.receive_data(from_meter(Kind.I, send_sequence=2, information=b"three"))
    event = client.next_event()
    assert isinstance(event, ApduReceived)
    assert event.apdu == b"\xc4twothree"


def test_frames_that_the_meter_has_not_got_are_sent_again(client: HdlcConnection) -> None:
    client.send_apdu(bytes(150))
    assert control_fields(client.data_to_send()) == ["00", "02", "14"]
    client.receive_data(from_meter(Kind.RR, receive_sequence=1))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["02", "14"]
    client.receive_data(from_meter(Kind.RR, receive_sequence=1))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["02", "14"]
    client.receive_data(from_meter(Kind.RR, receive_sequence=1))
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.retransmit()
    assert control_fields(client.data_to_send()) == ["02", "14"]


def test_an_apdu_sent_out_of_turn_waits(client: HdlcConnection) -> None:
    client.send_apdu(b"\xc0")
    client.data_to_send()
    client.send_apdu(b"\xc1")
    assert client.data_to_send() == b""
    client.receive_data(from_meter(Kind.I, receive_sequence=1, information=RESPONSE + b"\xc4"))
    assert isinstance(client.next_event(), ApduReceived)
    assert control_fields(client.data_to_send()) == ["32"]


def test_a_busy_meter_is_left_alone_until_it_is_ready(client: HdlcConnection) -> None:
    client.send_apdu(b"\xc0")
    client.data_to_send()
    client.receive_data(from_meter(Kind.RNR, receive_sequence=0))
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.retransmit()
    assert control_fields(client.data_to_send()) == ["11"]
    client.receive_data(from_meter(Kind.RNR, receive_sequence=0))
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""
    client.retransmit()
    client.data_to_send()
    client.receive_data(from_meter(Kind.RR, receive_sequence=0))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["10"]


def test_a_busy_client_is_not_sent_to(meter: HdlcConnection) -> None:
    meter.send_apdu(b"\xc4")
    meter.receive_data(from_client(Kind.RNR))
    assert meter.next_event() is NEED_DATA
    assert control_fields(meter.data_to_send()) == ["11"]
    meter.receive_data(from_client(Kind.RR, final=False))
    assert meter.next_event() is NEED_DATA
    assert meter.data_to_send() == b""
    meter.receive_data(from_client(Kind.RR))
    assert meter.next_event() is NEED_DATA
    assert control_fields(meter.data_to_send()) == ["10"]


@pytest.mark.parametrize("kind", [Kind.I, Kind.RR, Kind.RNR])
def test_an_acknowledgement_of_what_was_never_sent_is_refused(client: HdlcConnection, kind: Kind) -> None:
    client.send_apdu(b"\xc0")
    client.receive_data(from_meter(kind, receive_sequence=2, information=RESPONSE if kind is Kind.I else b""))
    with pytest.raises(RemoteProtocolError, match="never sent") as caught:
        client.next_event()
    assert (caught.value.expected, caught.value.got) == ("0 to 1", "2")


@pytest.mark.parametrize(
    ("frame", "rejection"),
    [
        ({"kind": Kind.RR, "receive_sequence": 3}, "71 20 08"),
        ({"kind": Kind.I, "send_sequence": 1, "receive_sequence": 5, "information": b"\xe6\xe6\x00\xc0"}, "b2 20 08"),
        ({"kind": Kind.I, "send_sequence": 1, "information": bytes(65)}, "12 20 04"),
    ],
)
def test_a_meter_rejects_what_nobody_can_mean_and_forgets_the_link(
    meter: HdlcConnection, frame: dict[str, Any], rejection: str
) -> None:
    """Control field of the rejected frame, our numbers, and the bit of ISO/IEC 13239 that says why."""
    meter.receive_data(from_client(Kind.I, information=b"\xe6\xe6\x00\xc0"))
    assert isinstance(meter.next_event(), ApduReceived)
    meter.receive_data(from_client(**frame))
    assert meter.next_event() == LinkReleased("a frame of the client was rejected (FRMR)")
    assert meter.data_to_send() == from_meter(Kind.FRMR, information=bytes.fromhex(rejection))
    meter.receive_data(from_client(Kind.RR))
    assert meter.next_event() is NEED_DATA
    assert meter.data_to_send() == from_meter(Kind.DM)
    meter.receive_data(from_client(Kind.SNRM))
    assert meter.next_event() == LinkOpened()


def test_a_wrong_frame_that_is_no_poll_is_rejected_in_silence(meter: HdlcConnection) -> None:
    meter.receive_data(from_client(Kind.RR, receive_sequence=3, final=False))
    assert meter.next_event() == LinkReleased("a frame of the client was rejected (FRMR)")
    assert meter.data_to_send() == b""


@pytest.mark.parametrize("source", [0, 0x7F])
def test_nobody_and_everybody_open_no_link(source: int) -> None:
    connection = HdlcConnection(Role.SERVER, server=METER)
    for kind in Kind:
        connection.receive_data(from_client(kind, source=Address(source)))
        assert connection.next_event() is NEED_DATA
        assert connection.data_to_send() == b""


@pytest.mark.parametrize("destination", [Address(0), Address(0, 0, 2), Address(0, 0, 4)])
def test_what_is_said_to_nobody_is_heard_by_nobody(meter: HdlcConnection, destination: Address) -> None:
    nobody = HdlcConnection(Role.SERVER, server=Address(0))
    for kind in Kind:
        said = from_client(kind, destination=destination, information=b"\xe6\xe6\x00\xc1" if kind is Kind.UI else b"")
        for connection in (meter, nobody) if kind is Kind.UI else (meter,):
            connection.receive_data(said)
            assert connection.next_event() is NEED_DATA
            assert connection.data_to_send() == b""
    assert meter.is_open


@pytest.mark.parametrize("destination", [Address(0x7F), Address(0x7F, 0x7F, 2), Address(0x3FFF, 0x3FFF, 4)])
def test_only_ui_frames_are_for_everybody(meter: HdlcConnection, destination: Address) -> None:
    """All stations answering at once would be noise (IEC 62056-46, 6.4.2)."""
    for kind in set(Kind) - {Kind.UI}:
        meter.receive_data(from_client(kind, destination=destination))
        assert meter.next_event() is NEED_DATA
    assert meter.data_to_send() == b""
    assert meter.is_open


def test_an_i_frame_needs_its_llc_header(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.I, information=b"\xc4\x01"))
    with pytest.raises(RemoteProtocolError, match="LLC header missing"):
        client.next_event()


def test_an_i_frame_with_nothing_in_it_says_nothing(client: HdlcConnection) -> None:
    client.receive_data(from_meter(Kind.I, information=RESPONSE))
    assert client.next_event() is NEED_DATA
    assert control_fields(client.data_to_send()) == ["31"]


def test_an_endless_apdu_is_cut_off(client: HdlcConnection) -> None:
    part = bytes(2000)
    fit = MAX_APDU // len(part)
    for number in range(fit):
        client.receive_data(from_meter(Kind.I, send_sequence=number % 8, segmented=True, final=False, information=part))
    assert client.next_event() is NEED_DATA
    client.receive_data(from_meter(Kind.I, send_sequence=fit % 8, segmented=True, final=False, information=part))
    with pytest.raises(RemoteProtocolError, match="too long"):
        client.next_event()


def test_a_silent_peer_loses_its_incomplete_frame(client: HdlcConnection) -> None:
    answer = from_meter(Kind.I, receive_sequence=1, information=RESPONSE + bytes(50))
    client.send_apdu(b"\xc0")
    client.data_to_send()
    client.receive_data(answer[:20])
    assert client.next_event() is NEED_DATA
    client.retransmit()
    client.receive_data(answer)
    assert isinstance(client.next_event(), ApduReceived)

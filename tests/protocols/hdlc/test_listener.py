from __future__ import annotations

from collections.abc import Callable

import pytest

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived
from headend.protocols.hdlc import HdlcListener


def test_pushes_in_ui_and_in_i_frames_are_taken(frame_of: Callable[..., bytes]) -> None:
    listener = HdlcListener()
    listener.receive_data(frame_of("41 08 83 13", b"\xe6\xe7\x00\x0f\x40"))  # Aidon
    listener.receive_data(frame_of("01 02 01 10", b"\xe6\xe7\x00\x0f\x41"))  # Kaifa: I-frame, to nobody
    assert listener.next_event() == ApduReceived(b"\x0f\x40", 4 << 14 | 0x41, 0x20 << 14, unsolicited=True)
    assert listener.next_event() == ApduReceived(b"\x0f\x41", 1 << 14, 0, unsolicited=True)
    listener.receive_data(frame_of("21 03 73") + frame_of("21 03 13"))
    assert listener.next_event() is NEED_DATA


def test_segments_are_put_together(frame_of: Callable[..., bytes]) -> None:
    listener = HdlcListener()
    listener.receive_data(frame_of("CF 02 23 03", b"\xe6\xe7\x00\x0f12", format_high=0xA8))
    listener.receive_data(frame_of("CF 02 23 13", b"34"))
    event = listener.next_event()
    assert isinstance(event, ApduReceived)
    assert event.apdu == b"\x0f1234"


def test_segments_of_two_meters_are_not_mixed(frame_of: Callable[..., bytes]) -> None:
    listener = HdlcListener()
    listener.receive_data(frame_of("CF 02 23 03", b"\xe6\xe7\x00\x0f12", format_high=0xA8))
    listener.receive_data(frame_of("CF 02 25 13", b"\xe6\xe7\x00\x0f34"))
    event = listener.next_event()
    assert isinstance(event, ApduReceived)
    assert event.apdu == b"\x0f34"


def test_a_damaged_frame_raises_and_drops_what_it_was_part_of(frame_of: Callable[..., bytes]) -> None:
    listener = HdlcListener()
    listener.receive_data(frame_of("CF 02 23 03", b"\xe6\xe7\x00\x0f12", format_high=0xA8))
    damaged = bytearray(frame_of("CF 02 23 03", b"34", format_high=0xA8))
    damaged[-2] ^= 1
    listener.receive_data(bytes(damaged) + frame_of("CF 02 23 13", b"\xe6\xe7\x00\x0f56"))
    with pytest.raises(RemoteProtocolError, match="FCS"):
        listener.next_event()
    event = listener.next_event()
    assert isinstance(event, ApduReceived)
    assert event.apdu == b"\x0f56"

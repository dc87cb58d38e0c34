"""Garble on each link layer, before, between and inside frames: it costs what it hits, and what comes after is heard.

Nobody can tell noise from the beginning of a long frame, so a layer may wait for octets that are not coming. What is heard
again is said of a few frames in a row: enough that the longest frame that noise can promise has passed.

The wrapper has no check sequence, as TCP has one: a header that noise has made is a header. Who owns a stream drops it when it
is out of step; here it finds the next frame after noise that begins none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, Role
from headend.protocols.hdlc import Address, HdlcConnection, HdlcListener
from headend.protocols.hdlc.frame import MAX_LENGTH, Frame, Kind, encode_frame
from headend.protocols.mbus import MbusFraming, encode_apdu
from headend.protocols.mode_e import ModeE, Requested
from headend.protocols.wrapper import WrapperFraming, wrap

LONGEST = 300
"""octets of an APDU, and of what noise can make a wrapper wait for"""

Make = Callable[[], Any]


def ui(apdu: bytes, source: Address, destination: Address) -> bytes:
    return encode_frame(Frame(destination=destination, source=source, kind=Kind.UI, information=b"\xe6\xe7\x00" + apdu))


CLIENT, METER = Address.client(0x10), Address.server(1)
LAYERS: dict[str, tuple[Make, Callable[[bytes], bytes], int]] = {
    # how the side that hears is made, how a frame is, and how many octets noise may swallow
    "wrapper client": (
        lambda: WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1, max_apdu=LONGEST),
        lambda apdu: wrap(apdu, 1, 16),
        LONGEST + 8,
    ),
    "wrapper meter": (
        lambda: WrapperFraming(Role.SERVER, server_sap=1, max_apdu=LONGEST),
        lambda apdu: wrap(apdu, 16, 1),
        LONGEST + 8,
    ),
    "hdlc client": (
        lambda: HdlcConnection(Role.CLIENT, client=CLIENT, server=METER),
        lambda apdu: ui(apdu, METER, CLIENT),
        MAX_LENGTH,
    ),
    "hdlc meter": (
        lambda: HdlcConnection(Role.SERVER, server=METER),
        lambda apdu: ui(apdu, CLIENT, METER),
        MAX_LENGTH,
    ),
    "hdlc listener": (HdlcListener, lambda apdu: ui(apdu, METER, CLIENT), MAX_LENGTH),
    "mbus": (lambda: MbusFraming(Role.CLIENT), lambda apdu: encode_apdu(apdu, 1, 0x67), 263),
}
APDUS = st.binary(min_size=1, max_size=LONGEST).map(lambda rest: b"\x0f" + rest[:-1])
NOISE = st.one_of(
    st.binary(max_size=40),
    # what looks like the beginning of something
    st.lists(
        st.sampled_from([b"\x7e", b"\xa0", b"\x00\x01", b"\x68", b"\x05\x05\x68", b"\x00", b"\xff"]), max_size=8
    ).map(b"".join),
)


def hear(framing: Any, data: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(data), step or len(data)):
        framing.receive_data(data[at : at + (step or len(data))])
        wrong = 0
        while True:
            try:
                event = framing.next_event()
            except RemoteProtocolError:
                wrong += 1
                assert wrong <= len(data), "errors without end"
                continue
            if event is NEED_DATA:
                break
            if isinstance(event, ApduReceived):
                yield event.apdu


@pytest.mark.parametrize("layer", LAYERS)
@given(NOISE, APDUS, st.sampled_from([0, 1, 5]))
def test_after_noise_frames_are_heard_again(layer: str, noise: bytes, apdu: bytes, step: int) -> None:
    make, frame, longest = LAYERS[layer]
    framing, whole = make(), frame(apdu)
    if layer.startswith("wrapper"):
        noise = noise.replace(b"\x00", b"")
    assert list(hear(framing, whole, step)) == [apdu]
    enough = longest // len(whole) + 2
    heard = list(hear(framing, noise + whole * enough, step))
    assert heard[-1:] == [apdu]
    assert list(hear(framing, whole * 2, step))[-2:] == [apdu] * 2, "and from then on all of them"


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if not layer.startswith("wrapper")])
@given(APDUS, st.data(), st.sampled_from([0, 1, 5]))
def test_a_damaged_frame_costs_no_more_than_it_must(layer: str, apdu: bytes, data: st.DataObject, step: int) -> None:
    """One bit wrong, octets lost or octets added anywhere; the check sequences refuse what they cover."""
    make, frame, longest = LAYERS[layer]
    framing, whole = make(), frame(apdu)
    assert list(hear(framing, whole, step)) == [apdu]
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["bit", "lost", "added"]))
    if how == "bit":
        spoilt = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    elif how == "lost":
        spoilt = whole[:at] + whole[at + data.draw(st.integers(1, 8)) :]
    else:
        spoilt = whole[:at] + data.draw(st.binary(min_size=1, max_size=8)) + whole[at:]
    enough = longest // len(whole) + 2
    heard = list(hear(framing, spoilt + whole * enough, step))
    assert heard[-1:] == [apdu]
    assert set(heard) == {apdu}


@given(NOISE, st.sampled_from([0, 1, 5]))
def test_a_call_in_mode_e_is_heard_after_noise(noise: bytes, step: int) -> None:
    meter = ModeE(Role.SERVER, manufacturer="ISK", identification="ME172", device="42")
    call = bytes.fromhex("af3f218d0a")
    events: list[object] = []
    octets = noise + call * 2  # the first may end a line of noise
    for at in range(0, len(octets), step or len(octets)):
        meter.receive_data(octets[at : at + (step or len(octets))])
        while True:
            try:
                event = meter.next_event()
            except RemoteProtocolError:
                continue
            if event is NEED_DATA:
                break
            events.append(event)
    assert events[-1:] == [Requested("")]

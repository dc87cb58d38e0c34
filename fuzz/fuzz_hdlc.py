"""HDLC: frames, links in both roles, pushes.

First octet: what is fed (bits 0-2) and in what pieces (bits 3-7, 0 for whole). 0 frames, 1 pushes, 2 a link as client,
3 as meter, 4 and 5 the same in steps with right check sequences, 6 and 7 a link that is not open yet.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import harness

if TYPE_CHECKING:
    from collections.abc import Callable

with harness.instrumented():
    from headend.errors import LocalProtocolError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, ApduReceived, Role
    from headend.protocols.hdlc import Address, HdlcConnection, HdlcListener, Limits, State
    from headend.protocols.hdlc.extractor import BUFFER_LIMIT, FrameExtractor
    from headend.protocols.hdlc.frame import SEGMENTED, Frame, build_frame, encode_frame
    from headend.protocols.hdlc.segmentation import MAX_APDU

CLIENT, SERVER = Address.client(0x10), Address.server(1)
TO_METER, TO_CLIENT = SERVER.encode() + CLIENT.encode(), CLIENT.encode() + SERVER.encode()
LIMITS = Limits(max_information_transmit=32, max_information_receive=32, window_transmit=3, window_receive=3)
CONTROL = {0: 0x93, 1: 0x73, 2: 0x53, 3: 0x1F, 4: 0x97, 5: 0x13, 6: 0x03, 7: 0x0D}


def connection(role: Role) -> HdlcConnection:
    """A link that is open already."""
    made = HdlcConnection(role, client=CLIENT, server=SERVER, limits=LIMITS)
    if role is Role.CLIENT:
        made.open()
        made.receive_data(build_frame(TO_CLIENT, 0x73))
    else:
        made.receive_data(build_frame(TO_METER, 0x93))
    made.next_event()
    made.data_to_send()
    return made


def frames(data: bytes, size: int) -> None:
    """Every frame that is found encodes to octets that were there."""
    extractor = FrameExtractor()
    for piece in harness.pieces(data, size):
        extractor.receive_data(piece)
        for _ in range(len(data) + 2):
            try:
                frame = extractor.next_frame()
            except RemoteProtocolError:
                continue
            if not isinstance(frame, Frame):
                break
            assert encode_frame(frame)[1:-3] in data
        else:
            raise AssertionError("the extractor goes on for ever")
        assert len(extractor._buffer) <= BUFFER_LIMIT  # noqa: SLF001 - the bound is what is asserted


def events(receiver: harness.Receiver, data: bytes, size: int) -> None:
    """Any octets."""
    for piece in harness.pieces(data, size):
        receiver.receive_data(piece)
        for event in harness.drain(receiver, NEED_DATA, RemoteProtocolError, 2 * len(data) + 4):
            assert not isinstance(event, ApduReceived) or 0 < len(event.apdu) <= MAX_APDU


def conversation(role: Role, steps: bytes, size: int) -> None:
    """Frames with right check sequences, calls of our own side, in any order; the short way first, as a session does.

    A step is a control octet: with bit 7 one of ours (bits 0-2), else a frame: which control field is the next octet,
    then format and length of its information.
    """
    ours = connection(role)
    prepared = ours.prepare(b"\xc0\x01\xc1")
    incoming = TO_CLIENT if role is Role.CLIENT else TO_METER
    at = 0
    while at + 3 < len(steps):
        step, control, length = steps[at : at + 3]
        at += 3
        if step & 0x80:
            apdu = steps[at : at + length] or b"\xc4"
            with contextlib.suppress(LocalProtocolError):
                call(ours, step & 0x07, apdu, lambda: ours.request(prepared))
            check(ours)
            continue
        field = CONTROL.get(control & 0x07, control) if step & 0x40 else control
        if step & 0x20:  # the number that is due, so that conversations get on
            field = ours._window.receive_next << 1 | 0x10 | ours._window.send_next << 5  # noqa: SLF001
        llc = b"" if step & 0x10 else b"\xe6\xe7\x00"
        information = llc + steps[at : at + (length & 0x3F)]
        at += length & 0x3F
        data = build_frame(incoming, field, information, SEGMENTED if step & 0x08 else 0)
        if ours.receive_apdu(data) is None:
            events(ours, data, size)
        check(ours)


def call(ours: HdlcConnection, which: int, apdu: bytes, request: Callable[[], object]) -> None:
    """One call of our own side."""
    calls = (
        ours.open,
        ours.close,
        ours.retransmit,
        lambda: ours.send_apdu(apdu),
        lambda: ours.reply(apdu),
        request,
        lambda: ours.send_unsolicited(apdu),
        ours.data_to_send,
    )
    calls[which]()


def check(ours: HdlcConnection) -> None:
    """What always holds."""
    window = ours._window  # noqa: SLF001
    assert 0 <= window.unacknowledged <= min(len(window.outgoing), window.size)
    assert len(ours._assembly.data) <= MAX_APDU  # noqa: SLF001
    assert ours.is_open is (ours.state is State.CONNECTED)


def closed(role: Role, information: bytes, size: int) -> None:
    """A link that is being opened, by SNRM or UA with any parameters: it opens within our own limits, or not at all."""
    ours = HdlcConnection(role, client=CLIENT, server=SERVER, limits=LIMITS)
    if role is Role.CLIENT:
        ours.open()
    events(ours, information, size)
    opening = build_frame(
        TO_CLIENT if role is Role.CLIENT else TO_METER, 0x73 if role is Role.CLIENT else 0x93, information
    )
    events(ours, opening, size)
    agreed = ours.limits
    assert 1 <= agreed.max_information_transmit <= LIMITS.max_information_transmit
    assert 1 <= agreed.window_transmit <= LIMITS.window_transmit
    check(ours)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice, size, rest = data[0] & 0x07, data[0] >> 3, data[1:]
    if choice == 0:
        frames(rest, size)
    elif choice == 1:
        events(HdlcListener(), rest, size)
    elif choice == 2:
        events(connection(Role.CLIENT), rest, size)
    elif choice == 3:
        events(connection(Role.SERVER), rest, size)
    elif choice == 4:
        conversation(Role.CLIENT, rest, size)
    elif choice == 5:
        conversation(Role.SERVER, rest, size)
    else:
        closed(Role.SERVER if choice == 7 else Role.CLIENT, rest, size)


if __name__ == "__main__":
    harness.fuzz("hdlc", one_input)

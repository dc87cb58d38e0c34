"""M-Bus long frames and the opening of mode E: what comes before DLMS on wires and optical heads.

First octet: what is fed (bits 0-1) and in what pieces (bits 2-7, 0 for whole). 0 M-Bus as client, 1 as meter, 2 mode E as
client, 3 as meter. M-Bus input is followed by itself in frames with right checksums, because chance seldom makes one.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import RemoteProtocolError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.mbus import MAX_APDU, MbusFraming, encode_apdu
    from headend.protocols.mode_e import BAUDS, ChangeBaud, ModeE


def mbus(role: Role, data: bytes, size: int) -> None:
    """Any octets, and then the same as an APDU in frames: that one arrives, unless what came before swallows its beginning."""
    framing = MbusFraming(role, server_sap=1)
    for piece in harness.pieces(data, size):
        framing.receive_data(piece)
        harness.drain(framing, NEED_DATA, RemoteProtocolError, len(data) + 4)
    apdu = data[:MAX_APDU]
    if not apdu:
        return
    framing = MbusFraming(role, server_sap=1)
    events = []
    for piece in harness.pieces(encode_apdu(apdu, 1, 0x67), size):
        framing.receive_data(piece)
        events += harness.drain(framing, NEED_DATA, RemoteProtocolError, 4)
    assert [event.apdu for event in events] == [apdu]


def mode_e(role: Role, data: bytes, size: int) -> None:
    """A line, sooner or later; the rate that follows is one of the standard, and nothing follows it."""
    side = ModeE(role, manufacturer="ISK", identification="ME172")
    if role is Role.CLIENT:
        side.open()
    events = []
    with contextlib.suppress(RemoteProtocolError):  # the bounded buffer overflows once no line is expected any more
        for piece in harness.pieces(data, size):
            side.receive_data(piece)
            events += harness.drain(side, NEED_DATA, RemoteProtocolError, len(data) + 4)
    changes = [event for event in events if isinstance(event, ChangeBaud)]
    assert len(changes) <= 1
    assert all(change.baud in BAUDS.values() for change in changes)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    role = Role.SERVER if data[0] & 0x01 else Role.CLIENT
    feed = mode_e if data[0] & 0x02 else mbus
    feed(role, data[1:], data[0] >> 2)


if __name__ == "__main__":
    harness.fuzz("mbus", one_input)

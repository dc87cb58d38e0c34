"""DL/T 645: frames, recognition, messages of both versions, formats, the connection in both roles, and prepared reads.

First octet: bit 0 role of our side, bit 1 version of 1997, bits 2-3 what is done (any octets, a frame that is addressed
rightly, a prepared read, formats), bits 4-7 size of the pieces (0 for whole). Checksums are made right, because chance
seldom does.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import DecodeError, LocalProtocolError, MeterError, RemoteProtocolError, SecurityError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.dlt645.connection import Dlt645Connection
    from headend.protocols.dlt645.events import AnswerFrom, RequestTo
    from headend.protocols.dlt645.formats import Layout
    from headend.protocols.dlt645.frame import Address, Frame, decode_frame, encode_frame, recognise
    from headend.protocols.dlt645.messages import decode_request, decode_response, encode_request, encode_response
    from headend.protocols.dlt645.prepared import PreparedRead
    from headend.protocols.dlt645.requests import Read
    from headend.protocols.dlt645.responses import Data
    from headend.standards.dlt645 import Version

METER = Address.parse("1234")
DI = {Version.V2007: 0x0001FF00, Version.V1997: 0x901F}
WRITTEN = (
    "XXXXXX.XX",
    "XXX",
    "XX.XXXX,YYMMDDhhmm",
    "YYMMDDWWhhmmss",
    "hhmmNN",
    "DIGITS12",
    "ASCII6",
    "BITS16",
    "OCTETS",
)
LAYOUTS = [
    Layout.parse(text, signed=signed, items=1 if text == "OCTETS" else items)
    for text in WRITTEN
    for signed in (False, True)
    for items in (1, None)
]


def frames(data: bytes) -> None:
    """A frame says what it said, and a verdict about a stream is final."""
    with contextlib.suppress(RemoteProtocolError):
        frame, end = decode_frame(data)
        if len(frame.data) <= 200:
            again = encode_frame(frame, leader=0)
            assert data[:end].endswith(again)
    verdict = recognise(data)
    for end in range(min(len(data), 32)):
        assert recognise(data[:end]) in (NEED_DATA, verdict)


def messages(control: int, data: bytes, version: Version) -> None:
    """What is said can be said again."""
    with contextlib.suppress(DecodeError):
        request = decode_request(control, data, version)
        assert decode_request(*encode_request(request, version), version) == request
    with contextlib.suppress(DecodeError):
        response = decode_response(control, data, version)
        assert decode_response(*encode_response(response, control & 0x1F, version), version) == response


def formats(which: int, data: bytes) -> None:
    """A value that came can be sent, and comes again."""
    layout = LAYOUTS[which % len(LAYOUTS)]
    with contextlib.suppress(DecodeError):
        values = layout.decode(data)
        assert layout.decode(layout.encode(values)) == values


def feed(ours: Dlt645Connection, octets: bytes, size: int) -> None:
    """Take everything; a meter answers what it is asked, with as much as it was given."""
    for piece in harness.pieces(octets, size):
        ours.receive_data(piece)
        for event in harness.drain(ours, NEED_DATA, RemoteProtocolError, len(octets) + 4):
            assert isinstance(event, AnswerFrom if ours.role is Role.CLIENT else RequestTo)
            if isinstance(event, RequestTo) and isinstance(event.request, Read) and ours.is_waiting:
                with contextlib.suppress(LocalProtocolError):  # another meter was asked
                    ours.send(AnswerFrom(METER, Data(event.request.di, octets)))
        ours.data_to_send()


def connection(role: Role, data: bytes, size: int, version: Version, *, framed: bool) -> None:
    """Any octets, or the same as frames: length of the data, control code, data."""
    ours = Dlt645Connection(role, room=7)
    if role is Role.CLIENT:
        ours.send(RequestTo(METER, Read(DI[version]), version))
        ours.data_to_send()
    if not framed:
        feed(ours, data, size)
        return
    octets = bytearray()
    while len(data) > 1 and len(octets) < 4096:
        length, control, data = data[0] & 0x3F, data[1], data[2:]
        octets += encode_frame(Frame(METER, control, data[:length]), leader=length & 3)
        data = data[length:]
    feed(ours, bytes(octets), size)


def prepared(data: bytes, size: int, version: Version) -> None:
    """A read that recurs, answered by any octets and by any data."""
    layout = LAYOUTS[data[0] % len(LAYOUTS)]
    read = PreparedRead(METER, DI[version], layout, version)
    ours = Dlt645Connection(Role.CLIENT)
    ours.begin(read)
    head = DI[version].to_bytes(4 if version is Version.V2007 else 2, "little")
    answer = encode_frame(Frame(METER, 0x91 if version is Version.V2007 else 0x81, head + data[1:20]))
    for piece in harness.pieces(data[20:] + answer, size):
        with contextlib.suppress(RemoteProtocolError, MeterError, SecurityError):
            ours.complete(read, piece)
        ours.data_to_send()
        if not ours.is_waiting:
            ours.begin(read)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if len(data) < 2:
        return
    options, size, rest = data[0], data[0] >> 4, data[1:]
    version = Version.V1997 if options & 0x02 else Version.V2007
    role = Role.SERVER if options & 0x01 else Role.CLIENT
    frames(rest)
    messages(rest[0], rest[1:], version)
    match options >> 2 & 3:
        case 2:
            prepared(rest, size, version)
        case 3:
            formats(rest[0], rest[1:])
        case kind:
            connection(role, rest, size, version, framed=kind == 1)


if __name__ == "__main__":
    harness.fuzz("dlt645", one_input)

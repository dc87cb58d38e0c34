"""HDLC frame format type 3 (IEC 62056-46, 6.4; ISO/IEC 13239, annex H.4).

```text
7E | 1010 S LLL LLLLLLLL | destination | source | control | HCS HCS | information | FCS FCS | 7E
     type  |  length: octets between the flags                     └ both absent without information
           └ segmentation: more frames of the same APDU follow
```

The length decides where a frame ends, so a 7E inside it means nothing. HCS covers format to control, FCS all before it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.hdlc.address import Address, decode_address
from headend.protocols.hdlc.crc import RESIDUE, fcs16

FLAG: Final = 0x7E
MAX_LENGTH: Final = 0x7FF
MIN_LENGTH: Final = 7
MAX_HEADER: Final = 13
"""Octets from the format field to the HCS, with two addresses of four octets."""

SEGMENTED: Final = 0x0800
FINAL: Final = 0x10
TYPE_3: Final = 0xA000


class Kind(enum.Enum):
    """Frame types that DLMS uses (IEC 62056-46, 6.4.3); the value is the control field without sequence numbers and P/F."""

    I = 0x00  # noqa: E741 - the name in the standard
    RR = 0x01
    RNR = 0x05
    UI = 0x03
    DM = 0x0F
    DISC = 0x43
    UA = 0x63
    SNRM = 0x83
    FRMR = 0x87


_UNNUMBERED: Final = {kind.value: kind for kind in Kind if kind.value & 0x03 == 0x03}
_SUPERVISORY: Final = {kind.value: kind for kind in (Kind.RR, Kind.RNR)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame. `final` is the poll bit of a command and the final bit of a response."""

    destination: Address
    source: Address
    kind: Kind
    final: bool = True
    send_sequence: int = 0
    receive_sequence: int = 0
    segmented: bool = False
    information: bytes = b""


def encode_frame(frame: Frame) -> bytes:
    """The octets of `frame`, with both flags."""
    control = frame.kind.value | frame.receive_sequence << 5 | frame.send_sequence << 1 | (FINAL if frame.final else 0)
    return build_frame(
        frame.destination.encode() + frame.source.encode(),
        control,
        frame.information,
        SEGMENTED if frame.segmented else 0,
    )


@lru_cache(maxsize=4096)
def build_header(addresses: bytes, control: int, format_and_length: int) -> bytes:
    """Opening flag to HCS (FCS, when the length leaves no room for information); a link uses a few of them all the time."""
    header = format_and_length.to_bytes(2, "big") + addresses + bytes((control,))
    return b"\x7e" + header + fcs16(header, 0).to_bytes(2, "little")


def build_frame(addresses: bytes, control: int, information: bytes = b"", segmented: int = 0) -> bytes:
    """The octets of a frame from ready parts: both encoded addresses, control field, information, 0 or SEGMENTED."""
    length = len(addresses) + (7 + len(information) if information else 5)
    if length > MAX_LENGTH:
        raise LocalProtocolError(f"an HDLC frame of {length} octets: its length field ends at {MAX_LENGTH}")
    header = build_header(addresses, control, TYPE_3 | segmented | length)
    if not information:
        return header + b"\x7e"
    # The FCS continues from the residue that every header leaves together with its own HCS.
    return header + information + fcs16(information, RESIDUE).to_bytes(2, "little") + b"\x7e"


def max_information(addresses: bytes) -> int:
    """The longest information field that fits into one frame with these addresses."""
    return MAX_LENGTH - 7 - len(addresses)


@dataclass(frozen=True, slots=True)
class Header:
    """Format field to HCS, checked. `end` is the offset behind the HCS (or behind the FCS, when there is no information)."""

    length: int
    segmented: bool
    destination: Address
    source: Address
    control: int
    end: int


def decode_header(data: bytes | bytearray) -> Header | None:
    """The header at the start of `data` (the octets after the opening flag); None when octets are missing.

    RemoteProtocolError when it can never become one: wrong type, impossible length or address, wrong HCS.
    """
    if not data:
        return None
    if data[0] >> 4 != 0xA:
        raise RemoteProtocolError(
            "not an HDLC frame of type 3", offset=0, expected="format A0..AF", got=f"{data[0]:02X}"
        )
    if len(data) < 2:
        return None
    length = (data[0] & 0x07) << 8 | data[1]
    if length < MIN_LENGTH:
        raise RemoteProtocolError("HDLC frame length impossible", offset=0, expected="at least 7", got=str(length))
    if len(data) < min(MAX_HEADER, length):
        return None
    destination, offset = decode_address(data, 2)
    source, offset = decode_address(data, offset)
    end = offset + 3
    if length != end and length < end + 3:
        raise RemoteProtocolError(
            "HDLC frame length impossible", offset=0, expected=f"{end} or at least {end + 3}", got=str(length)
        )
    check_sequence("HCS" if length > end else "FCS", data, 0, end)
    return Header(length, bool(data[0] & 0x08), destination, source, data[offset], end)


def check_sequence(name: str, data: bytes | bytearray, start: int, end: int) -> None:
    """Raise RemoteProtocolError unless `data[:end]` ends with its check sequence; what comes before `start` is known good."""
    if fcs16(bytes(data[start:end]), RESIDUE if start else 0) != RESIDUE:
        expected = fcs16(bytes(data[start : end - 2]), RESIDUE if start else 0).to_bytes(2, "little").hex()
        raise RemoteProtocolError(
            f"{name} wrong", offset=end - 2, expected=expected, got=bytes(data[end - 2 : end]).hex()
        )


def check_end(header: Header, data: bytes | bytearray) -> None:
    """Raise RemoteProtocolError unless the frame that begins `data` has a right FCS and a closing flag."""
    if data[header.length] != FLAG:
        raise RemoteProtocolError(
            "HDLC frame without closing flag", offset=header.length, expected="7E", got=f"{data[header.length]:02X}"
        )
    if header.length > header.end:
        check_sequence("FCS", data, header.end, header.length)


def decode_body(header: Header, data: bytes) -> Frame:
    """The frame whose header is `header`; `data` begins with its octets, the check sequences being right."""
    control = header.control
    if not control & 0x01:
        kind: Kind | None = Kind.I
    elif not control & 0x02:
        kind = _SUPERVISORY.get(control & 0x0F)
    else:
        kind = _UNNUMBERED.get(control & ~FINAL)
    if kind is None:
        raise RemoteProtocolError(
            "HDLC control field unknown",
            offset=header.end - 3,
            expected="I, RR, RNR, SNRM, DISC, UA, DM, FRMR or UI",
            got=f"{control:02X}",
        )
    numbered = control & 0x03 != 0x03
    return Frame(
        destination=header.destination,
        source=header.source,
        kind=kind,
        final=bool(control & FINAL),
        send_sequence=control >> 1 & 0x07 if kind is Kind.I else 0,
        receive_sequence=control >> 5 if numbered else 0,
        segmented=header.segmented,
        information=data[header.end : header.length - 2],
    )

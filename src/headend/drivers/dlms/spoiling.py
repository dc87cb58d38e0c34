"""Frames with a defect that only those see who know the framing, for virtual meters that are broken on purpose. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Defect
from headend.errors import HeadendError
from headend.protocols.hdlc.crc import fcs16
from headend.protocols.hdlc.frame import FLAG, Header, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_DESTINATION: Final = slice(4, 6)
_HDLC_DESTINATION: Final = 2


def spoil(data: bytes, defect: Defect) -> bytes:
    """Frames of a meter with the defect; what is in neither wrapper nor HDLC stays as it is."""
    octets = bytearray(data)
    if data[:2] == VERSION:
        if defect is Defect.ADDRESS:
            _redirect_wrapper(octets)
    else:
        _spoil_hdlc(octets, defect)
    return bytes(octets)


def _redirect_wrapper(octets: bytearray) -> None:
    """Each frame goes to the wPort after that of the client."""
    at = 0
    while octets[at : at + 2] == VERSION and at + HEADER_LENGTH <= len(octets):
        place = slice(at + _DESTINATION.start, at + _DESTINATION.stop)
        octets[place] = ((int.from_bytes(octets[place], "big") + 1) & 0xFFFF).to_bytes(2, "big")
        at += HEADER_LENGTH + int.from_bytes(octets[at + 6 : at + 8], "big")


def _spoil_hdlc(octets: bytearray, defect: Defect) -> None:
    at = octets.find(FLAG)
    while 0 <= at < len(octets) - 1:
        at += 1
        try:
            header = decode_header(octets[at:])
        except HeadendError:
            header = None
        if header is not None and header.length <= len(octets) - at:
            _spoil_frame(octets, at, header, defect)
            at += header.length
        at = octets.find(FLAG, at)


def _spoil_frame(octets: bytearray, at: int, header: Header, defect: Defect) -> None:
    """The frame at an offset; one without information has the one check alone."""
    if defect is Defect.HEADER_CHECK:
        octets[at + header.end - 2] ^= 1
    elif defect is Defect.FRAME_CHECK:
        octets[at + header.length - 2] ^= 1
    else:
        octets[at + _HDLC_DESTINATION] ^= 2
        end = at + header.end - 2
        octets[end : end + 2] = fcs16(bytes(octets[at:end]), 0).to_bytes(2, "little")

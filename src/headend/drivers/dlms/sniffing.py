"""Recognising DLMS in the first octets of a link that a meter opened. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Sniff
from headend.drivers.dlms.explaining.tags import APDU_NAMES
from headend.errors import HeadendError
from headend.protocols.hdlc.frame import FLAG, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_LOGIN: Final = frozenset({0x0A, 0x0C})
"""First octets of the logins and heartbeats that some meters send in wrapper frames."""
_KNOWN_TAGS: Final = _LOGIN | frozenset(APDU_NAMES)


def sniff(first: bytes) -> Sniff:
    """Could an inbound link that begins so be DLMS?"""
    if first[:1] == bytes((FLAG,)):
        try:
            header = decode_header(first.lstrip(first[:1]))
        except HeadendError:
            return Sniff.NO
        return Sniff.NEED_DATA if header is None else Sniff.MATCH
    if first[:2] != VERSION[: len(first)]:
        return Sniff.NO
    if len(first) <= HEADER_LENGTH:
        return Sniff.NEED_DATA
    source, destination, length = (int.from_bytes(first[at : at + 2], "big") for at in (2, 4, 6))
    plausible = source and destination and length and first[HEADER_LENGTH] in _KNOWN_TAGS
    return Sniff.MATCH if plausible else Sniff.NO

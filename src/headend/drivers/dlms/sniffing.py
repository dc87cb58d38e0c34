"""Recognising DLMS in what comes over a link that a meter opened. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Sniff, Sniffed
from headend.drivers.dlms.explaining.tags import APDU_NAMES
from headend.errors import HeadendError
from headend.protocols.hdlc.frame import FLAG, MAX_HEADER, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_HEAD: Final = HEADER_LENGTH + 6
_DATE_TIMES: Final = frozenset({0x00, 0x09, 0x0C})
_RESULTS: Final = frozenset({0x00, 0x01, 0x02, 0x03})


def sniff(data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:
    """Does a frame of DLMS begin at an offset?"""
    if at >= len(data):
        return Sniff.NEED_DATA
    return _sniff_hdlc(data, at) if data[at] == FLAG else _sniff_wrapper(data, at, silent=silent)


def _sniff_hdlc(data: bytes, at: int) -> Sniffed | Sniff:
    if at and data[at - 1] == FLAG:
        return Sniff.NO  # the first one of several flags has been asked for
    start = at
    while data[start : start + 1] == bytes((FLAG,)):
        start += 1
    header = data[start : start + MAX_HEADER]
    try:
        if decode_header(header) is None:
            return Sniff.NEED_DATA
    except HeadendError:
        return Sniff.NO
    length = (header[0] & 0x07) << 8 | header[1]
    return Sniffed(framing="hdlc", end=start + min(MAX_HEADER, length), sure=True)


def _sniff_wrapper(data: bytes, at: int, *, silent: bool) -> Sniffed | Sniff:
    head = data[at : at + _HEAD]
    if head[:2] != VERSION[: len(head)]:
        return Sniff.NO
    if len(head) < HEADER_LENGTH:
        return Sniff.NEED_DATA
    source, destination, length = (int.from_bytes(head[i : i + 2], "big") for i in (2, 4, 6))
    if not (source and destination and length):
        return Sniff.NO
    wanted = HEADER_LENGTH + min(length, _HEAD - HEADER_LENGTH)
    if len(head) < wanted and not (silent and len(head) > HEADER_LENGTH):
        return Sniff.NEED_DATA
    if not _is_apdu(head[HEADER_LENGTH:wanted]):
        return Sniff.NO
    return Sniffed(framing="wrapper", end=at + len(head[:wanted]), sure=max(source, destination) < 0x100)


def _is_apdu(head: bytes) -> bool:
    """True when the first octets of a message are those of an APDU; logins and heartbeats of some meters have their tags, too."""
    tag = head[0]
    if tag == 0x0F and len(head) > 5:
        return head[5] in _DATE_TIMES
    if tag == 0x0C and len(head) > 2:
        return head[1] > 0 and head[2] in _RESULTS
    if tag == 0xDD and len(head) > 1:
        return head[1] <= 0x09
    return tag in APDU_NAMES

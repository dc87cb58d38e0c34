"""Recognising DLMS in what comes over a link that a meter opened. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Sniff, Sniffed
from headend.drivers.dlms.explaining.tags import APDU_NAMES
from headend.errors import DecodeError, HeadendError
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.hdlc.frame import FLAG, MAX_HEADER, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_HEAD: Final = HEADER_LENGTH + 6
_DATE_TIMES: Final = frozenset({0x00, 0x09, 0x0C})
_RESULTS: Final = frozenset({0x00, 0x01, 0x02, 0x03})

_ASSOCIATING: Final = frozenset({0x60, 0x61})
"""AARQ and AARE."""
_CONTEXT: Final = (b"\xa1\x09\x06\x07", b"\x80\x02")
"""What they begin with: the application context, or the version of the protocol before it."""
_PUSHES: Final = frozenset({0x0F, 0xC2, 0xDB})
"""data-notification, event-notification, and either ciphered by a meter that gives its title."""
_BODIES: Final = {0x00: 6, 0x0C: 18, 0x09: 19}
"""Where the body of a data-notification begins, by what follows its number."""
_ENOUGH: Final = 64


def sniff(data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:
    """Does a frame of DLMS begin at an offset?"""
    if at >= len(data):
        return Sniff.NEED_DATA
    if data[at] in _ASSOCIATING:
        return _sniff_association(data, at)
    if data[at] in _PUSHES:
        return _sniff_push(data, at)
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


def _sniff_association(data: bytes, at: int) -> Sniffed | Sniff:
    """An AARQ or AARE without wrapper, by the first element in it."""
    head = data[at : at + 2]
    length = head[1] if len(head) > 1 else 0
    start = at + 2 + (length & 0x7F if length > 0x7F else 0)
    for element in _CONTEXT:
        said = data[start : start + len(element)]
        if said == element:
            return Sniffed(framing="apdu", end=start + len(element), sure=True)
        if element.startswith(said):
            return Sniff.NEED_DATA
    return Sniff.NO


def _sniff_push(data: bytes, at: int) -> Sniffed | Sniff:
    """A push without wrapper: read through to its end, or as far as is enough."""
    head = data[at : at + _ENOUGH]
    try:
        end = Delimiter().find_end(head)
    except DecodeError:
        return Sniff.NO
    if head[0] == 0xDB and head[1:2] not in {b"", b"\x08"}:
        return Sniff.NO  # a system title has eight octets
    if head[0] == 0x0F and len(head) > 5 and head[_BODIES[head[5]] :][:1] not in {b"", b"\x01", b"\x02"}:
        return Sniff.NO  # several values
    if end is None and len(head) < _ENOUGH:
        return Sniff.NEED_DATA
    return Sniffed(framing="apdu", end=at + (end or _ENOUGH))


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

"""Recognising DLMS in what comes over a link that a meter opened: in HDLC, in the wrapper, or without either. Pure.

The tag of an APDU alone says little: logins of some meters have it too, and so have frames of other protocols. So an APDU is
read through by its structure, to its end or as far as is enough; in the wrapper its end must be that of the frame.
"""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Sniff, Sniffed
from headend.drivers.dlms.explaining.tags import APDU_NAMES, SERVICE_CIPHERED
from headend.errors import DecodeError, HeadendError
from headend.protocols.dlms.axdr_plain import Tag
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.hdlc.frame import FLAG, MAX_HEADER, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_ENOUGH: Final = 64
"""Octets of an APDU without a mistake, after which nothing else is expected."""
_ASSOCIATING: Final = frozenset({0x60, 0x61})
"""AARQ and AARE."""
_PUSHES: Final = frozenset({0xC2, 0xDB, 0xDC, 0xE0})
"""What meters say unasked, beside data-notifications; anything else must be all that came."""
_TITLE_END: Final = 10
_CONTEXT: Final = (b"\xa1\x09\x06\x07\x60\x85\x74\x05\x08\x01", b"\x80\x02")
"""What they begin with: the application context of DLMS, or the version of the protocol before it."""
_LLC: Final = (b"\xe6\xe6\x00", b"\xe6\xe7\x00")
_ROUTED: Final = frozenset({0xE6, 0xE7})
_TITLED: Final = frozenset({0xDB, 0xDC})
"""general ciphering by a meter that gives its title"""
_NEVER_FIRST: Final = frozenset({0x05, 0x06, 0x0C, 0x0D, 0x0E, 0x16, 0x18, 0xD9, 0xDA})
"""Services by short names, and ACCESS: nobody begins with them, and too little in them is fixed."""
_DATA_NOTIFICATION: Final = 0x0F
_SHORT_CIPHERED: Final = (0x21, 0x58)
"""The same services, ciphered"""
_BODIES: Final = {0x00: 6, 0x0C: 18, 0x09: 19}
"""Where the body of a data-notification begins, by what follows its number."""
_SEVERAL: Final = frozenset({0x01, 0x02})
"""array, structure"""
_MANY: Final = 0x7F
_TAGS: Final = frozenset(Tag)
_SECURITY: Final = frozenset(suite | bits for suite in range(3) for bits in (0x10, 0x20, 0x30, 0x50, 0x60, 0x70))
"""Security control: a suite, authenticated or encrypted or both, with one of two keys."""
_SECURITY_HEADER: Final = 5
_AUTHENTICATED: Final = 0x10
_TAG: Final = 12


def sniff(data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:
    """Does a frame of DLMS begin at an offset?"""
    if at >= len(data):
        return Sniff.NEED_DATA
    if data[at] == FLAG:
        return _sniff_hdlc(data, at)
    if data[at] == VERSION[0]:
        return _sniff_wrapper(data, at, silent=silent)
    return _sniff_bare(data, at, silent=silent)


def _sniff_hdlc(data: bytes, at: int) -> Sniffed | Sniff:
    if at and data[at - 1] == FLAG:
        return Sniff.NO  # the first one of several flags has been asked for
    start = at
    while data[start : start + 1] == bytes((FLAG,)):
        start += 1
    header = data[start : start + MAX_HEADER]
    try:
        whole = decode_header(header) is not None
    except HeadendError:
        return Sniff.NO
    if len(header) < 2:
        return Sniff.NEED_DATA
    return Sniffed(framing="hdlc", end=start + 2, whole=whole, sure=True)


def _sniff_wrapper(data: bytes, at: int, *, silent: bool) -> Sniffed | Sniff:
    header = data[at : at + HEADER_LENGTH]
    if header[:2] != VERSION[: len(header)]:
        return Sniff.NO
    if len(header) < HEADER_LENGTH:
        return Sniff.NEED_DATA
    source, destination, length = (int.from_bytes(header[i : i + 2], "big") for i in (2, 4, 6))
    if not (source and destination and length):
        return Sniff.NO
    start = at + HEADER_LENGTH
    apdu = _apdu_in_wrapper(data, start, length)
    if isinstance(apdu, bool):
        return Sniffed(framing="wrapper", end=start + 1, whole=apdu, sure=max(source, destination) < 0x100)
    if silent and len(data) == start + length:
        return Sniffed(framing="wrapper", end=start + length)  # whatever it is, it fits
    return Sniff.NEED_DATA if len(data) <= start + length else apdu


def _apdu_in_wrapper(data: bytes, start: int, length: int) -> bool | Sniff:
    """Whether an APDU fills a frame: True, False while it may, NEED_DATA without its tag, NO when it does not."""
    wanted = min(length, _ENOUGH)
    head = data[start : start + wanted]
    if not head:
        return Sniff.NEED_DATA
    said: Sniffed | Sniff | None = None
    if head[0] in _ASSOCIATING:
        said = _sniff_association(data, start)
    elif head[0] == _DATA_NOTIFICATION:
        said = _sniff_notification(head, 0)
    if said is not None:
        return Sniff.NO if said is Sniff.NO else isinstance(said, Sniffed)
    try:
        end = Delimiter(length).find_end(head)
    except DecodeError:
        return Sniff.NO
    if len(head) < wanted:
        return Sniff.NO if end is not None else False
    return True if head[0] in _TITLED or end == (length if wanted == length else None) else Sniff.NO


def _sniff_bare(data: bytes, at: int, *, silent: bool) -> Sniffed | Sniff:
    """An APDU without wrapper, behind the prefix of a gateway or the LLC of HDLC, or without."""
    start = _behind_prefix(data, at)
    if not isinstance(start, int):
        return start
    if start >= len(data):
        return Sniff.NEED_DATA
    tag = data[start]
    if tag in _NEVER_FIRST or tag not in APDU_NAMES or _SHORT_CIPHERED[0] <= tag <= _SHORT_CIPHERED[1]:
        return Sniff.NO
    if tag in _ASSOCIATING:
        return _sniff_association(data, start)
    if tag == _DATA_NOTIFICATION:
        return _sniff_notification(data, start)
    if tag in SERVICE_CIPHERED:
        return _sniff_ciphered(data, start, silent=silent)
    head = data[start : start + _ENOUGH]
    try:
        end = Delimiter().find_end(head)
    except DecodeError:
        return Sniff.NO
    if not _is_plausible(head):
        return Sniff.NO
    enough = _ENOUGH if end is None else end
    if len(head) < enough:
        return Sniff.NEED_DATA
    if end is not None and tag not in _PUSHES and not (silent and start + end == len(data)):
        return Sniff.NEED_DATA if start + end == len(data) else Sniff.NO
    return Sniffed(framing="apdu", end=start + enough, sure=tag in _TITLED)


def _behind_prefix(data: bytes, at: int) -> int | Sniff:
    """The offset of the APDU behind a prefix that may stand before it."""
    if data[at] not in _ROUTED:
        return at
    prefix = data[at : at + 3]
    if len(prefix) < 3:
        return Sniff.NEED_DATA
    if prefix in _LLC:
        return at + 3
    device = data[at + 3 : at + 3 + prefix[2]]
    if not device.isalnum() and device:
        return Sniff.NO
    return at + 3 + prefix[2] if prefix[2] else Sniff.NO


def _sniff_association(data: bytes, at: int) -> Sniffed | Sniff:
    """An AARQ or AARE by the first element in it: ANSI C12.22 begins with 60, too."""
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


def _sniff_notification(data: bytes, at: int) -> Sniffed | Sniff:
    """A push, up to the first of several values: what they are some meters write in ways of their own."""
    head = data[at : at + 6]
    if len(head) < 6:
        return Sniff.NEED_DATA
    body = at + _BODIES.get(head[5], 0)
    values = data[body : body + 3]
    if body == at or (values and values[0] not in _SEVERAL) or (len(values) > 1 and not 0 < values[1] <= _MANY):
        return Sniff.NO
    if len(values) < 3:
        return Sniff.NEED_DATA
    return Sniffed(framing="apdu", end=body + 3) if values[2] in _TAGS else Sniff.NO


def _sniff_ciphered(data: bytes, at: int, *, silent: bool) -> Sniffed | Sniff:
    """An APDU of one service, ciphered: so little in it is fixed that it must be all that came."""
    head = data[at + 1 : at + 6]
    size = 1 + (head[0] & 0x7F if head and head[0] > 0x7F else 0)
    length = head[0] if size == 1 and head else int.from_bytes(head[1:size], "big")
    if size > 3:
        return Sniff.NO
    if len(head) <= size:
        return Sniff.NEED_DATA
    least = _SECURITY_HEADER + (_TAG if head[size] & _AUTHENTICATED else 0)
    if length <= least or head[size] not in _SECURITY:
        return Sniff.NO
    end = at + 1 + size + length
    if silent and end == len(data):
        return Sniffed(framing="apdu", end=end)
    return Sniff.NEED_DATA if end >= len(data) else Sniff.NO


def _is_plausible(head: bytes) -> bool:
    """False for values that no meter sends, though the form is right."""
    tag = head[0]
    if tag in _TITLED:
        return head[1:2] in {b"", b"\x08"} and _is_secured(head[_TITLE_END:])
    if tag == 0xC2:
        return head[1:3] in {b"", b"\x00", b"\x01", b"\x00\x00", b"\x01\x0c"}  # a time, or the class of the object
    if tag == 0xE0:
        return not any(head[4:6]) and head[6:7] != b"\x00"  # nothing to acknowledge, something to say
    return True


def _is_secured(content: bytes) -> bool:
    """True for a length that has room for a security header, and a security control, as far as they have come."""
    size = 1 + (content[0] & 0x7F if content and content[0] > 0x7F else 0)
    length = content[0] if size == 1 and content else int.from_bytes(content[1:size], "big")
    if len(content) >= size and length < _SECURITY_HEADER:
        return False
    return len(content) <= size or content[size] in _SECURITY

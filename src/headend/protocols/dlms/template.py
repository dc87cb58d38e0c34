"""Prepared GET requests and their answers: the hot path, without objects.

A request is encoded once for each of the sixteen invoke ids and shared by all sessions with the same addresses. The common
answer is decoded where it stands in the received octets. Whatever is not the common answer (a reason, a block, another
invoke id, something malformed) gives FALLBACK, and the caller hands the octets to the connection, which knows everything.
"""

from __future__ import annotations

import enum
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import CONFIRMED, DESCRIPTOR_LENGTH, HIGH_PRIORITY, DataAccessResult
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.axdr_plain import FIXED, Plain, decode_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Prepared: TypeAlias = tuple[bytes, ...]
"""One request, ready to be written, by invoke id."""


class Fallback(enum.Enum):
    """Type of the FALLBACK sentinel."""

    FALLBACK = "FALLBACK"


FALLBACK: Final = Fallback.FALLBACK

_LIST_HEAD: Final = 4
_COMMON: Final = CONFIRMED | HIGH_PRIORITY


def prepare_get(descriptor: bytes, frame: Callable[[bytes], bytes] = bytes) -> Prepared:
    """GET.request-normal for an attribute descriptor of nine octets; `frame` adds the header of the framing."""
    body = descriptor + b"\x00"
    return tuple(frame(bytes((0xC0, 0x01, _COMMON | invoke)) + body) for invoke in range(16))


def prepare_get_list(descriptors: Sequence[bytes], frame: Callable[[bytes], bytes] = bytes) -> Prepared:
    """GET.request-with-list."""
    body = encode_length(len(descriptors)) + b"".join(descriptor + b"\x00" for descriptor in descriptors)
    return tuple(frame(bytes((0xC0, 0x03, _COMMON | invoke)) + body) for invoke in range(16))


def pack_lists(count: int, max_send_pdu: int, limit: int = 0x7F) -> list[range]:
    """How many of `count` descriptors go into each request with list, so that none is longer than the meter takes."""
    size = max(1, min(limit, (max_send_pdu - _LIST_HEAD) // (DESCRIPTOR_LENGTH + 1)))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def decode_get_response(buffer: bytes, offset: int, end: int, invoke_id: int) -> Plain | Fallback:
    """The value of a GET.response-normal with data between `offset` and `end`; `invoke_id` is 0 to 15."""
    if end - offset > 4 and buffer[offset : offset + 4] == _NORMAL[invoke_id]:
        fixed = FIXED[buffer[offset + 4]]
        if fixed is not None and offset + 4 + fixed[1] == end:
            plain: Plain = fixed[0](buffer, offset + 5)[0]
            return plain
        try:
            value, at = decode_data(buffer, offset + 4, end)
        except DecodeError:
            return FALLBACK
        if at == end:
            return value
    return FALLBACK


def decode_get_list_response(
    buffer: bytes, offset: int, end: int, invoke_id: int, count: int
) -> list[Plain | DataAccessResult] | Fallback:
    """The values of a GET.response-with-list with `count` results (fewer than 128), a reason where there is no value."""
    if end - offset <= _LIST_HEAD or buffer[offset : offset + 3] != _LIST[invoke_id] or buffer[offset + 3] != count:
        return FALLBACK
    at = offset + _LIST_HEAD
    values: list[Plain | DataAccessResult] = []
    try:
        for _ in range(count):
            choice, tag = buffer[at], buffer[at + 1]
            if choice == 0x00:
                fixed = FIXED[tag]
                if fixed is not None:
                    values.append(fixed[0](buffer, at + 2)[0])
                    at += fixed[1] + 1
                else:
                    value, at = decode_data(buffer, at + 1, end)
                    values.append(value)
            elif choice == 0x01:
                values.append(DataAccessResult(tag))
                at += 2
            else:
                return FALLBACK
    except (DecodeError, IndexError, StructError):
        return FALLBACK
    return values if at == end else FALLBACK


_NORMAL: Final = tuple(bytes((0xC4, 0x01, _COMMON | invoke, 0x00)) for invoke in range(16))
_LIST: Final = tuple(bytes((0xC4, 0x03, _COMMON | invoke)) for invoke in range(16))

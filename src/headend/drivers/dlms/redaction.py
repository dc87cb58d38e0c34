"""Recorded frames: what of a meter's secrets stands in them, and making them right again after a change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headend.drivers.base import Secrets
from headend.errors import HeadendError
from headend.protocols.hdlc.crc import RESIDUE, fcs16
from headend.protocols.hdlc.frame import FLAG, decode_header
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

_AUTHENTICATION_VALUE: Final = 0x80
"""the choice charstring of calling-authentication-value (IEC 62056-5-3)"""
_OCTET_STRING: Final = 0x09
_TELLING: Final = 4
"""octets that stand by chance nowhere; shorter secrets are looked for together with their tag and length"""
_SERVICES: Final = frozenset({0xC0, 0xC1, 0xC3})
"""requests whose third octet is invoke-id-and-priority (IEC 62056-5-3): GET, SET, ACTION"""


def spoken(secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
    """How each secret stands in frames, and the asterisks that take its place."""
    found: list[tuple[bytes, bytes]] = []
    for secret in secrets.values():
        octets = secret.reveal()
        hidden = b"*" * len(octets)
        if len(octets) >= _TELLING:
            found.append((octets, hidden))
        elif octets:
            heads = (bytes((tag, len(octets))) for tag in (_AUTHENTICATION_VALUE, _OCTET_STRING))
            found += [(head + octets, head + hidden) for head in heads]
    return found


def reseal(data: bytes) -> bytes:
    """HDLC frames with the frame check sequence that belongs to their octets; everything else as it is."""
    octets = bytearray(data)
    at = octets.find(FLAG)
    while 0 <= at < len(octets) - 1:
        at += 1
        try:
            header = decode_header(octets[at:])
        except HeadendError:
            header = None
        if header is not None and header.end < header.length <= len(octets) - at:
            start, end = at + header.end, at + header.length - 2
            octets[end : end + 2] = fcs16(bytes(octets[start:end]), RESIDUE).to_bytes(2, "little")
            at += header.length
        at = octets.find(FLAG, at)
    return bytes(octets)


def renumber(request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
    """The recorded answer in a wrapper frame, with the invoke-id of a request that differs in nothing else."""
    place = HEADER_LENGTH + 2
    plain = len(request) == len(recorded) > place and request[:2] == VERSION and request[HEADER_LENGTH] in _SERVICES
    if not plain or request[:place] != recorded[:place] or request[place + 1 :] != recorded[place + 1 :]:
        return None
    if len(answer) <= place or answer[place] & 0x0F != recorded[place] & 0x0F:
        return None
    return answer[:place] + bytes((request[place],)) + answer[place + 1 :]

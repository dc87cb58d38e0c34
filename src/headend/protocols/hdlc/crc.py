"""FCS-16 of HDLC (ISO/IEC 13239, 4.2.5.2; the X.25 CRC: reflected 0x1021, start and final xor 0xFFFF), sent low octet first."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Final

RESIDUE: Final = 0x0F47
"""`fcs16` over any octets followed by their own check sequence: how a receiver checks, and where the next one starts."""

_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def fcs16_stdlib(data: bytes | bytearray, previous: int = 0) -> int:
    """FCS-16 by `binascii.crc_hqx`, which is the same polynomial with the bits of each octet the other way round."""
    high, low = divmod(previous ^ 0xFFFF, 0x100)
    register = binascii.crc_hqx(data.translate(_REVERSED), _REVERSED[low] << 8 | _REVERSED[high])
    return (_REVERSED[register & 0xFF] << 8 | _REVERSED[register >> 8]) ^ 0xFFFF


try:
    from fastcrc.crc16 import ibm_sdlc
except ImportError:
    fcs16: Callable[[bytes | bytearray, int], int] = fcs16_stdlib
else:
    fcs16 = ibm_sdlc
"""The fastest that is installed: `fcs16(data, previous)`, where `previous` is the result over what came before, or 0."""

"""What becomes of an answer on its way: pieces, each with the time that it takes. Decided without I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from headend.drivers.base import Defect
from headend.emulator.faults.kinds import Fault, FaultKind

_FLOOD_OCTETS: Final = 0x4000
_SLOW_PIECES: Final = 8
_CUT_OFF: Final = 4

_DEFECTS: Final = {
    FaultKind.HCS: Defect.HEADER_CHECK,
    FaultKind.FCS: Defect.FRAME_CHECK,
    FaultKind.WRONG_ADDRESS: Defect.ADDRESS,
}

Spoil = Callable[[bytes, Defect], bytes]
"""Gives frames a defect; see `Driver.spoil`."""


class Piece(NamedTuple):
    """Octets that leave so many seconds after they were said; None: the link is dropped then."""

    delay: float
    octets: bytes | None
    overtaken: bool = False
    """what is said later does not wait for it"""


def spoilt(fault: Fault, piece: Piece, before: bytes, chosen: Random, spoil: Spoil) -> Sequence[Piece]:
    """What a fault makes of a piece; `before` is the whole previous answer."""
    delay, data, _ = piece
    if data is None:
        return (piece,)
    defect = _DEFECTS.get(fault.kind)
    if defect is not None:
        return (piece._replace(octets=spoil(data, defect)),)
    if fault.kind in _TIMED:
        return _TIMED[fault.kind](fault, piece, data, chosen)
    return [Piece(delay, octets) for octets in _said(fault.kind, data, before, chosen)]


def _said(kind: FaultKind, data: bytes, before: bytes, chosen: Random) -> Sequence[bytes | None]:
    match kind:
        case FaultKind.SILENT:
            return ()
        case FaultKind.CLOSE | FaultKind.REFUSE:
            return (None,)
        case FaultKind.CUT:
            return data[: len(data) // 2], None
        case FaultKind.GARBAGE:
            return (chosen.randbytes(len(data)),)
        case FaultKind.HALF:
            return (data[: len(data) // 2],)
        case FaultKind.TRUNCATE:
            return (data[: -chosen.randint(1, _CUT_OFF)],)
        case FaultKind.CHECKSUM:
            return (_flipped(data, chosen),)
        case FaultKind.STALE:
            return (before or data,)
        case FaultKind.DUPLICATE:
            return data, data
        case FaultKind.FLOOD:
            return chosen.randbytes(_FLOOD_OCTETS), data
        case _:
            return (data,)


def _flipped(data: bytes, chosen: Random) -> bytes:
    spoilt_octets = bytearray(data)
    spoilt_octets[-min(2, len(data))] ^= 1 << chosen.randrange(8)
    return bytes(spoilt_octets)


def _slow(fault: Fault, piece: Piece, data: bytes, _chosen: Random) -> Sequence[Piece]:
    size = -(-len(data) // _SLOW_PIECES)
    return [
        Piece(piece.delay + fault.seconds * number / _SLOW_PIECES, data[start : start + size])
        for number, start in enumerate(range(0, len(data), size), 1)
    ]


def _trickle(fault: Fault, piece: Piece, data: bytes, _chosen: Random) -> Sequence[Piece]:
    return [Piece(piece.delay + fault.seconds * number, data[number : number + 1]) for number in range(len(data))]


def _latency(fault: Fault, piece: Piece, _data: bytes, _chosen: Random) -> Sequence[Piece]:
    return (piece._replace(delay=piece.delay + fault.seconds),)


def _jitter(fault: Fault, piece: Piece, _data: bytes, chosen: Random) -> Sequence[Piece]:
    return (piece._replace(delay=piece.delay + fault.seconds * chosen.random()),)


def _late(fault: Fault, piece: Piece, data: bytes, _chosen: Random) -> Sequence[Piece]:
    return (Piece(piece.delay + fault.seconds, data, overtaken=True),)


_TIMED: Final = {
    FaultKind.SLOW: _slow,
    FaultKind.TRICKLE: _trickle,
    FaultKind.LATENCY: _latency,
    FaultKind.JITTER: _jitter,
    FaultKind.LATE: _late,
}

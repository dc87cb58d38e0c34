"""Octets that come unasked or were recorded: whose they are, what of a password stands in them, checksums made right. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.base import Defect, Sniff, Sniffed
from headend.drivers.dlt645.parameters import read_password
from headend.errors import ConfigError
from headend.protocols.dlt645.frame import LEADER, START, STOP, Address, recognise, to_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headend.drivers.base import Secrets

_ENVELOPE: Final = 12
_TOLD: Final = 8
"""Octets up to the second 68."""
_LENGTH_AT: Final = 9
_HIDDEN: Final = b"***"
_FACTORY: Final = bytes(3)
"""A password that is none, and octets that stand in most answers."""


def sniff(data: bytes, at: int) -> Sniffed | Sniff:
    """The frame that begins at an offset, behind octets FE: likely by its second 68, and whole with a right checksum."""
    found = recognise(data[at:])
    start = len(data) - len(data[at:].lstrip(LEADER))
    if not found:
        return Sniff.NO
    if len(data) < start + _TOLD:
        return Sniff.NEED_DATA
    meter = Address(data[start + 1 : start + 7])
    address = "" if meter.has_wildcard or meter.is_broadcast else str(meter)
    return Sniffed(framing="tcp", label="dlt645", end=start + _TOLD, whole=found is True, sure=True, address=address)


def spoken(secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
    """How a password stands in frames: its three octets, 33H added to each."""
    secret = secrets.get("secret")
    if secret is None:
        return ()
    try:
        octets = read_password(secret.reveal(), 0).octets
    except ConfigError:  # none that could be sent
        return ()
    return () if octets == _FACTORY else ((to_wire(octets), _HIDDEN),)


def reseal(data: bytes) -> bytes:
    """Frames with the checksum that belongs to their octets; everything else as it is."""
    octets = bytearray(data)
    for at, end in _frames(octets):
        octets[end - 2] = sum(octets[at : end - 2]) & 0xFF
    return bytes(octets)


def spoil(data: bytes, defect: Defect) -> bytes:
    """Frames with a wrong checksum, or from the meter whose last digit is one more or less."""
    octets = bytearray(data)
    for at, end in _frames(octets):
        if defect is Defect.FRAME_CHECK:
            octets[end - 2] ^= 1
        elif defect is Defect.ADDRESS:
            octets[at + 1] ^= 1
            octets[end - 2] = sum(octets[at : end - 2]) & 0xFF
    return bytes(octets)


def _frames(octets: bytearray) -> Iterator[tuple[int, int]]:
    """Where frames begin and end, by their lengths."""
    at = octets.find(START)
    while at >= 0:
        end = at + _ENVELOPE + octets[at + _LENGTH_AT] if at + _LENGTH_AT < len(octets) else len(octets) + 1
        if end <= len(octets) and octets[at + 7] == START and octets[end - 1] == STOP:
            yield at, end
            at = end - 1
        at = octets.find(START, at + 1)

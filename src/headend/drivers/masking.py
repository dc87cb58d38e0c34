"""Secrets taken out of what goes over a link, before anybody keeps it. Pure.

What ends with the beginning of a secret is held back until more comes in the same direction, or the other side speaks: a
secret that is torn apart on its way is not seen in halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headend.drivers.base import Driver, Secrets


class Piece(NamedTuple):
    """Octets of one direction as they may be kept; `masked` where something was taken out of them."""

    sent: bool
    octets: bytes
    masked: bool


class Masking:
    """The mask over both directions of one link."""

    __slots__ = ("_driver", "_held", "_rests", "_spoken")

    def __init__(self, driver: Driver | None, secrets: Secrets) -> None:
        """Without a driver nothing is known that could be masked."""
        self._driver = driver
        self._spoken: Sequence[tuple[bytes, bytes]] = driver.spoken(secrets) if driver is not None else ()
        self._held = {True: b"", False: b""}
        self._rests: dict[bool, set[bytes]] = {True: set(), False: set()}
        """of each direction, what would complete a secret whose beginning was let go"""

    def take(self, data: bytes, *, sent: bool) -> list[Piece]:
        """What may be kept now, in the order in which it was said."""
        if not self._spoken:
            return [Piece(sent, data, masked=False)]
        pieces = self._release(sent=not sent)
        if self._rests[sent]:
            count = self._completes(data, sent=sent)
            if count:
                pieces.append(Piece(sent, b"*" * count, masked=True))
                data = data[count:]
        data = self._held[sent] + data
        self._held[sent] = b""
        if any(_begins(data, secret) for secret, _ in self._spoken):
            self._held[sent] = data
            return pieces
        return [*pieces, self._mask(data, sent=sent)] if data else pieces

    def _completes(self, data: bytes, *, sent: bool) -> int:
        """How many octets at the beginning belong to a secret that began before."""
        rests, self._rests[sent] = self._rests[sent], set()
        longest = 0
        for rest in rests:
            if data.startswith(rest):
                longest = max(longest, len(rest))
            elif rest.startswith(data):
                longest = len(data)
                self._rests[sent].add(rest[len(data) :])
        return longest

    def finish(self) -> list[Piece]:
        """Nothing more comes: what was held back."""
        return self._release(sent=True) + self._release(sent=False)

    def _release(self, *, sent: bool) -> list[Piece]:
        """What was held back of a direction. Its end may be half a secret: that half goes, and what completes it later."""
        data, self._held[sent] = self._held[sent], b""
        if not data:
            return []
        halves = {secret: _begins(data, secret) for secret, _ in self._spoken}
        self._rests[sent] = {secret[half:] for secret, half in halves.items() if half}
        piece = self._mask(data, sent=sent)
        half = max(halves.values())
        return [piece] if half < 2 else [Piece(sent, piece.octets[:-half] + b"*" * half, masked=True)]

    def _mask(self, data: bytes, *, sent: bool) -> Piece:
        masked = data
        for secret, instead in self._spoken:
            masked = masked.replace(secret, instead)
        if masked == data or self._driver is None:
            return Piece(sent, data, masked=False)
        return Piece(sent, self._driver.reseal(masked), masked=True)


def _begins(data: bytes, secret: bytes) -> int:
    """How many octets at the end of `data` are the beginning, but not the whole, of a secret."""
    for count in range(min(len(secret) - 1, len(data)), 0, -1):
        if data.endswith(secret[:count]):
            return count
    return 0

"""What goes wrong on a wire, on purpose: a link that spoils what a virtual meter says, whatever its protocol."""

from __future__ import annotations

import asyncio
import enum
import random
from dataclasses import dataclass
from typing import Final

from headend.emulator.shape import mix
from headend.errors import LinkError
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver

_FLOOD_OCTETS: Final = 0x4000
_SLOW_PIECES: Final = 8


class FaultKind(enum.Enum):
    """What is wrong with a meter."""

    SILENT = "silent"
    """takes the connection and never answers"""
    REFUSE = "refuse"
    """drops the connection as soon as it is made"""
    CLOSE = "close"
    """drops the connection instead of answering"""
    GARBAGE = "garbage"
    """answers with random octets, as many as the answer has"""
    HALF = "half"
    """stops in the middle of an answer"""
    CHECKSUM = "checksum"
    """one bit of the last octets is inverted: where the checksum is, for protocols that have one at the end"""
    STALE = "stale"
    """says its previous answer again"""
    FLOOD = "flood"
    """sends 16 KiB of noise before the answer"""
    SLOW = "slow"
    """lets its answer drip for two seconds"""
    REJECT = "reject"
    """wants a secret that nobody knows; see `fleet`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble: which share of the meters have it, and how likely it is at each answer of such a meter."""

    kind: FaultKind
    meters: float = 1.0
    chance: float = 1.0
    seconds: float = 2.0

    def strikes(self, seed: int, number: int) -> bool:
        """True when the meter of that number has the trouble."""
        return mix(seed + 0x5EED, number) < self.meters * 2**32


class FaultyLink(LinkAround[Link]):
    """A Link around another, for the meter's side: what the meter writes is spoilt on its way."""

    __slots__ = ("_answers", "_fault", "_last", "_loop", "_receiver", "_seed")

    def __init__(self, link: Link, fault: Fault, seed: int) -> None:
        """The same faults at the same answers for the same seed."""
        super().__init__(link)
        self._fault = fault
        self._seed = seed
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._answers = 0
        self._last = b""

    # --- a link for the meter ---

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner, unless it is dropped for good."""
        self._receiver = receiver
        self.link.set_receiver(self, buffered)
        if self._fault.kind is FaultKind.REFUSE and self._happens():
            self.link.abort()

    def write(self, data: bytes) -> None:
        """Send an answer, or what becomes of it."""
        before, self._last = self._last, data
        if not self._happens():
            self.link.write(data)
            return
        chosen = random.Random(mix(self._seed, self._answers))  # noqa: S311 - the same again for the same seed
        match self._fault.kind:
            case FaultKind.SILENT:
                pass
            case FaultKind.CLOSE:
                self.link.abort()
            case FaultKind.GARBAGE:
                self.link.write(chosen.randbytes(len(data)))
            case FaultKind.HALF:
                self.link.write(data[: len(data) // 2])
            case FaultKind.CHECKSUM:
                spoilt = bytearray(data)
                spoilt[-min(2, len(data))] ^= 1 << chosen.randrange(8)
                self.link.write(bytes(spoilt))
            case FaultKind.STALE:
                self.link.write(before or data)
            case FaultKind.FLOOD:
                self.link.write(chosen.randbytes(_FLOOD_OCTETS))
                self.link.write(data)
            case FaultKind.SLOW:
                self._drip(data)
            case _:
                self.link.write(data)

    def _happens(self) -> bool:
        self._answers += 1
        return mix(self._seed, self._answers) < self._fault.chance * 2**32

    def _drip(self, data: bytes) -> None:
        size = -(-len(data) // _SLOW_PIECES)
        for number, start in enumerate(range(0, len(data), size), 1):
            delay = self._fault.seconds * number / _SLOW_PIECES
            self._loop.call_later(delay, self.link.write, data[start : start + size])

    # --- the receiver of the link beneath ---

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        if self._receiver is not None:
            self._receiver.data_received(data)

    def link_lost(self, error: LinkError) -> None:
        """The link is gone."""
        if self._receiver is not None:
            self._receiver.link_lost(error)

"""A link in memory: two halves in one event loop, with the troubles of real lines, the same ones for the same seed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

from headend.errors import LinkClosed
from headend.transport.link import Receiver, Tap


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The character of a line. Times in seconds; `loss`, `corruption` and `duplicate` are chances per delivery.

    `split` cuts every write into deliveries of at most so many octets (0: deliver it whole; 1: octet by octet). Octets
    never overtake each other. Corruption inverts one bit of a delivery.
    """

    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    corruption: float = 0.0
    split: int = 0
    duplicate: float = 0.0


class MemoryLink:
    """One half of a memory link; made by `memory_pair`."""

    __slots__ = (
        "_early", "_held", "_line", "_loop", "_other", "_random", "_reason", "_receiver", "_under_way",
        "is_open", "local", "octets_in", "octets_out", "peer", "tap",
    )  # fmt: skip

    _other: MemoryLink

    def __init__(self, local: str, peer: str, line: Line, seed: str) -> None:
        self.local = local
        self.peer = peer
        self.octets_in = 0
        self.octets_out = 0
        self.tap: Tap | None = None
        self.is_open = True
        self._line = line
        self._random = random.Random(seed)  # noqa: S311 - tests want the same troubles again
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[bytes | None] = deque()
        self._early = b""
        self._receiver: Receiver | None = None
        self._reason: LinkClosed | None = None
        self._held: deque[bytes | None] | None = None

    def join(self, other: MemoryLink) -> None:
        """Make `other` the far half."""
        self._other = other

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the half an owner; what came before it is delivered first."""
        early, self._early = buffered + self._early, b""
        self._receiver = receiver
        if early:
            receiver.data_received(early)
        if self._reason is not None and self._receiver is receiver:
            self._receiver = None
            receiver.link_lost(self._reason)

    def write(self, data: bytes) -> None:
        """Put octets on the line; does nothing when the half is not open."""
        if not self.is_open or not data:
            return
        self.octets_out += len(data)
        if self.tap is not None:
            self.tap(">>", data)
        line, chance = self._line, self._random.random
        size = line.split or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if chance() < line.loss:
                continue
            if chance() < line.corruption:
                piece = invert_bit(piece, self._random.randrange(len(piece) * 8))
            for _ in range(2 if chance() < line.duplicate else 1):
                self._carry(piece)

    def _carry(self, data: bytes | None) -> None:
        """Hand octets, or the end of the line (None), to the far half, after everything that is under way already."""
        self._under_way.append(data)
        line = self._line
        if line.latency or line.jitter:
            self._loop.call_later(line.latency + line.jitter * self._random.random(), self._deliver)
        else:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """One delivery is due: the oldest, since timers that lie close together fire in no order."""
        self._other.arrive(self._under_way.popleft())

    def arrive(self, data: bytes | None) -> None:
        """Octets, or the end of the line, reach this half."""
        if self._held is not None:
            self._held.append(data)
        elif data is None:
            self.is_open = False
            self._lose(LinkClosed(f"{self.peer} closed the link"))
        elif self.is_open:
            self.octets_in += len(data)
            if self.tap is not None:
                self.tap("<<", data)
            if self._receiver is None:
                self._early += data
            else:
                self._receiver.data_received(data)

    def hold(self) -> None:
        """Read nothing for now."""
        if self._held is None:
            self._held = deque()

    def resume(self) -> None:
        """Read again, what came meanwhile first."""
        held, self._held = self._held, None
        for data in held or ():
            self.arrive(data)

    def _lose(self, reason: LinkClosed) -> None:
        if self._reason is None:
            self._reason = reason
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.link_lost(reason)

    async def set_line(self, baud: int, line: str) -> None:
        """Nothing to change here."""

    def abort(self) -> None:
        """Drop the half; the far one learns it after the octets that are under way."""
        if self.is_open:
            self.is_open = False
            self._carry(None)
            self._loop.call_soon(self._lose, LinkClosed(f"the link to {self.peer} was closed by this side"))

    async def aclose(self) -> None:
        """Close the half."""
        self.abort()
        await asyncio.sleep(0)


def invert_bit(data: bytes, bit: int) -> bytes:
    """The octets with one bit inverted."""
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def memory_pair(
    *,
    latency: float = 0.0,
    jitter: float = 0.0,
    loss: float = 0.0,
    corruption: float = 0.0,
    split: int = 0,
    duplicate: float = 0.0,
    seed: int = 0,
) -> tuple[MemoryLink, MemoryLink]:
    """Two joined halves in the running event loop: the head-end's and the meter's. See `Line` for the arguments."""
    line = Line(latency=latency, jitter=jitter, loss=loss, corruption=corruption, split=split, duplicate=duplicate)
    near = MemoryLink("memory:head-end", "memory:meter", line, f"{seed}/near")
    far = MemoryLink("memory:meter", "memory:head-end", line, f"{seed}/far")
    near.join(far)
    far.join(near)
    return near, far

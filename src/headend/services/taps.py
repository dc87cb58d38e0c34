"""Wires that somebody captures or watches: the tap, the mask over it, and who takes what goes over them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from headend.drivers.base import Driver, Secrets
from headend.drivers.masking import Masking, Piece
from headend.services.roster import Clock
from headend.transport.link import Link

WATCHED: Final = 500
"""pieces that wait for somebody who watches; the oldest make room"""


class Sink:
    """Takes the pieces of a wire until its time is over."""

    __slots__ = ()
    deadline: float

    def opened(self, link: Link, at: int) -> None:
        """The wire has a link from now on."""

    def take(self, piece: Piece, at: int) -> None:
        """Something went over it."""

    def expire(self) -> None:
        """The time is over."""


class Watch(Sink):
    """Pieces for somebody who watches a wire; `lost` of them since the last `take` made room for newer ones."""

    __slots__ = ("_pieces", "_ready", "deadline", "lost")

    def __init__(self) -> None:
        self.deadline = 0.0
        self.lost = 0
        self._pieces: deque[tuple[Piece, int]] = deque(maxlen=WATCHED)
        self._ready = asyncio.Event()

    def take(self, piece: Piece, at: int) -> None:
        """Keep a piece, with its time in milliseconds."""
        if len(self._pieces) == WATCHED:
            self.lost += 1
        self._pieces.append((piece, at))
        self._ready.set()

    async def next(self, seconds: float) -> Sequence[tuple[Piece, int]]:
        """What has come; empty when nothing came for so many seconds."""
        if not self._pieces:
            self._ready.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
            except TimeoutError:
                return ()
        taken = tuple(self._pieces)
        self._pieces.clear()
        return taken


class Tapped:
    """A wire that somebody captures: its tap, its mask, and who takes what goes over it."""

    __slots__ = ("_clock", "_link", "_masking", "sinks")

    def __init__(self, driver: Driver | None, secrets: Secrets, clock: Clock) -> None:
        self._clock = clock
        self._masking = Masking(driver, secrets)
        self._link: Link | None = None
        self.sinks: set[Sink] = set()

    def opened(self, link: Link) -> None:
        """The wire has this link from now on."""
        self.released()
        self._link = link
        link.tap = self._tap
        for sink in tuple(self.sinks):  # one whose disk is full leaves
            sink.opened(link, self._clock())

    def join(self, sink: Sink) -> None:
        """One more takes what goes over the wire."""
        self.sinks.add(sink)
        if self._link is not None and self._link.is_open:
            sink.opened(self._link, self._clock())

    def released(self) -> None:
        """Let go of the link, and of what the mask holds back."""
        self._pass(self._masking.finish())
        if self._link is not None:
            self._link.tap = None
            self._link = None

    def _tap(self, direction: str, data: bytes) -> None:
        self._pass(self._masking.take(data, sent=direction == ">>"))

    def _pass(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            now = self._clock()
            for sink in tuple(self.sinks):
                sink.take(piece, now)

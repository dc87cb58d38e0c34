"""A link for the meter's side whose faults are switched while it is open. Without any, writing costs nothing more."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from headend.drivers.base import Defect
from headend.emulator.faults.kinds import Fault, FaultKind, Layer
from headend.emulator.faults.octets import Piece, Spoil, spoilt
from headend.emulator.shape import mix
from headend.errors import LinkError
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver

_LOST: Final = 0x1057


def _untouched(data: bytes, _defect: Defect) -> bytes:
    return data


class _Write(Protocol):
    def __call__(self, data: bytes) -> None: ...


class Home(Protocol):
    """Where the meters of a link are."""

    def reboot(self, address: int, seconds: float) -> None:
        """The meters at an address drop their links, and are away for a time."""


class FaultyLink(LinkAround[Link]):
    """A Link around another, for the meter's side: what the meter writes is spoilt on its way.

    Several faults act one after the other. While there are none, `write` is that of the link beneath, and what is received
    does not pass here.
    """

    __slots__ = ("__weakref__", "_ill", "_receiver", "_seed", "_spoil", "address", "home", "on_end", "write")

    write: _Write

    def __init__(
        self,
        link: Link,
        fault: Fault | None,
        seed: int,
        spoil: Spoil = _untouched,
        *,
        home: Home | None = None,
        address: int = 0,
    ) -> None:
        """The same faults at the same answers for the same seed. `spoil` gives frames a defect."""
        super().__init__(link)
        self.home = home
        self.address = address
        self._seed = seed
        self._spoil = spoil
        self._ill: _Ill | None = None
        self._receiver: Receiver | None = None
        self.on_end: Callable[[], None] | None = None
        """called when the link is gone"""
        self.write = link.write
        if fault is not None:
            self.afflict((fault,))

    def afflict(self, faults: Sequence[Fault]) -> None:
        """From now on the link has these faults and no others; what is on its way arrives."""
        ill = self._ill
        if ill is None and not faults:
            return
        ill = self._ill = ill or _Ill(self)
        ill.faults = faults
        self.write = self._write
        if self._receiver is not None:
            self.link.set_receiver(self)
            self._refuse()
        if not faults:
            ill.recover()

    def recovered(self) -> None:
        """Nothing is wrong any more, and nothing on its way."""
        self._ill = None
        self.write = self.link.write
        if self._receiver is not None:
            self.link.set_receiver(self._listener(self._receiver))

    def watch(self, on_end: Callable[[], None]) -> None:
        """Call when the link is gone."""
        self.on_end = on_end
        if self._receiver is not None:
            self.link.set_receiver(self)

    def deafen(self) -> None:
        """Nobody is there: what is received is thrown away."""
        self.link.set_receiver(self)

    # --- a link for the meter ---

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner, unless it is dropped for good."""
        self._receiver = receiver
        self.link.set_receiver(self._listener(receiver), buffered)
        self._refuse()

    def _listener(self, receiver: Receiver) -> Receiver:
        return receiver if self._ill is None and self.on_end is None else self

    def _refuse(self) -> None:
        ill = self._ill
        for fault in ill.faults if ill is not None else ():
            if fault.kind is FaultKind.REFUSE and happens(fault, self._seed, 0):
                self.link.abort()

    def _write(self, data: bytes) -> None:
        """Send an answer, or what becomes of it."""
        ill = self._ill
        if ill is None:
            self.link.write(data)
            return
        fault = ill.say(data, self._seed, self._spoil)
        if fault is not None and self.home is not None:
            self.home.reboot(self.address, fault.seconds)
        elif fault is not None:
            self.link.abort()

    # --- the receiver of the link beneath ---

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        if self._receiver is not None and not (self._ill is not None and self._ill.loses(self._seed)):
            self._receiver.data_received(data)

    def link_lost(self, error: LinkError) -> None:
        """The link is gone."""
        if self._ill is not None:
            self._ill.stop()
        receiver, self._receiver = self._receiver, None
        on_end, self.on_end = self.on_end, None
        if receiver is not None:
            receiver.link_lost(error)
        if on_end is not None:
            on_end()


def happens(fault: Fault, seed: int, count: int) -> bool:
    """True when a fault strikes at a turn; those of the session do so elsewhere."""
    if fault.kind.layer in (Layer.SESSION, Layer.METER) and fault.kind not in (FaultKind.REFUSE, FaultKind.REBOOT):
        return False
    return mix(seed, count) < fault.chance * 2**32


class _Ill:
    """What is wrong with a link, and what is on its way; while something is."""

    __slots__ = ("_answers", "_heard", "_last", "_loop", "_queue", "_timer", "_wire", "faults")

    def __init__(self, wire: FaultyLink) -> None:
        self.faults: Sequence[Fault] = ()
        self._wire = wire
        self._answers = self._heard = 0
        self._last = b""
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def say(self, data: bytes, seed: int, spoil: Spoil) -> Fault | None:
        """Send what becomes of an answer; the fault if the meter reboots instead."""
        before, self._last = self._last, data
        self._answers += 1
        pieces: Sequence[Piece] = (Piece(0.0, data),)
        for index, fault in enumerate(self.faults):
            if not happens(fault, seed, self._answers + (index << 20)):
                continue
            if fault.kind is FaultKind.REBOOT:
                return fault
            chosen = random.Random(mix(seed + index, self._answers))  # noqa: S311 - the same again for the same seed
            pieces = [made for piece in pieces for made in spoilt(fault, piece, before, chosen, spoil)]
        for piece in pieces:
            self._send(piece)
        return None

    def loses(self, seed: int) -> bool:
        """True when a request gets lost on its way."""
        for fault in self.faults:
            if fault.kind is FaultKind.LOSS:
                self._heard += 1
                if mix(seed + _LOST, self._heard) < fault.chance * 2**32:
                    return True
        return False

    def _send(self, piece: Piece) -> None:
        queue = self._queue
        if piece.overtaken:
            self._loop.call_later(piece.delay, self._arrive, piece.octets)
        elif piece.delay <= 0 and not queue:
            self._arrive(piece.octets)
        else:
            due = self._loop.time() + piece.delay
            queue.append((max(due, queue[-1][0]) if queue else due, piece.octets))
            if self._timer is None:
                self._timer = self._loop.call_at(queue[0][0], self._run)

    def _run(self) -> None:
        self._timer = None
        queue = self._queue
        now = self._loop.time()
        while queue and queue[0][0] <= now:
            self._arrive(queue.popleft()[1])
        if queue:
            self._timer = self._loop.call_at(queue[0][0], self._run)
        else:
            self.recover()

    def _arrive(self, octets: bytes | None) -> None:
        if octets is None:
            self._wire.link.abort()
        else:
            self._wire.link.write(octets)

    def recover(self) -> None:
        """Tell the link, once nothing is wrong and nothing on its way."""
        if not self.faults and not self._queue:
            self._wire.recovered()

    def stop(self) -> None:
        """The link is gone, and all that is on its way with it."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

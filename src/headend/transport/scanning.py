"""The connect scanner: a bare poll loop in a thread of its own that opens thousands of connections at once, and closes them.

A connection is closed by a reset as soon as it stands, or once the peer has said something unasked, where that is waited for.
The time-out is the same for all, so that deadlines stand in a queue and cost no timers. Want of descriptors or local ports is
waited out and makes the window smaller; it never becomes an answer.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from headend.model.discovery import PortState
from headend.model.targets import Target
from headend.transport.pace import NEVER, Pace
from headend.transport.poller import READ, WRITE, Poller, Selecting, best_poller
from headend.transport.tcp import SPARE_DESCRIPTORS, raise_descriptor_limit

BATCH: Final = 1000
"""answers of one batch"""
FLUSH_SECONDS: Final = 0.25
"""a batch is handed over so often, full or not, to a consumer that waits for it"""
BEHIND: Final = 8
"""batches that nobody has taken yet; then no new connections are opened"""
CHUNK: Final = 256
"""connections opened in one turn of the loop"""
BACK_OFF: Final = 0.1
"""seconds until what was wanting is asked for again"""
RETRIES: Final = 1024
"""targets that wait for local ports; then no new ones are taken"""
BANNER: Final = 512
"""octets of a banner that are read"""

_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})
_CONNECTED: Final = frozenset({0, errno.EISCONN})
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED})
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_WANTING: Final = _NO_DESCRIPTOR | {errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EAGAIN}
_IPV4: Final = int(socket.AF_INET)
_IPV6: Final = int(socket.AF_INET6)
_RESET: Final = struct.pack("ii", 1, 0)
_STREAM: Final = int(socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
_NON_BLOCKING: Final = hasattr(socket, "SOCK_NONBLOCK")
_socket: Final = socket.SocketType

_STATES: Final = tuple(PortState)
_OPEN, _CLOSED, _DROPPED, _SILENT, _UNREACHABLE, _LIMITED = range(len(_STATES))

Answer: TypeAlias = tuple[Target, PortState, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Answers since the last batch. All targets below position `cursor` are answered in this batch or in one before."""

    answers: list[Answer]
    cursor: int
    done: int
    """targets that are answered or left out since the beginning"""
    counts: dict[PortState, int]
    """of all answers since the beginning, also of those that are not kept"""
    window: int
    """how many connections may be under way, after what is affordable here"""


def affordable(window: int) -> int:
    """How many connections may be under way here, of those wanted: descriptors are left to everything else."""
    limit = raise_descriptor_limit()
    used = 0
    with contextlib.suppress(OSError):
        used = sum(1 for _ in Path("/dev/fd").iterdir())
    return max(1, min(window, limit - used - SPARE_DESCRIPTORS))


def _reset(sock: socket.SocketType) -> None:
    """Close at once, without the half minute of TIME_WAIT."""
    try:  # noqa: SIM105 - a tenth of what all of our side of an open port costs
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        pass  # the peer was faster
    sock.close()


class _Flight:
    """One connection under way. `connected`: it stands, and what the peer says unasked is waited for."""

    __slots__ = ("connected", "deadline", "fd", "sock", "target")

    def __init__(self, deadline: float, fd: int, sock: socket.SocketType, target: Target) -> None:
        self.deadline = deadline
        self.fd = fd
        self.sock = sock
        self.target = target
        self.connected = False


class _LowWater:
    """The lowest position that is not answered yet."""

    __slots__ = ("_above", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self._above: set[int] = set()

    def done(self, position: int) -> None:
        """A position is answered."""
        if position != self.position:
            self._above.add(position)
            return
        position += 1
        above = self._above
        while position in above:
            above.remove(position)
            position += 1
        self.position = position


class ConnectScan:
    """One scan. `run` is the thread's; `cancel` and `taken` may be called from anywhere, `deliver` must be callable from it."""

    def __init__(
        self,
        pace: Pace,
        deliver: Callable[[Batch], object],
        *,
        start: int = 0,
        window: int = 4000,
        timeout: float = 1.0,
        banner: float = 0.0,
        kept: frozenset[PortState] = frozenset(PortState),
        patience: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        poller: Callable[[], Poller] = best_poller,
    ) -> None:
        """`start` is the position of the first target; `banner` seconds are waited for what an open port says.

        A target without an address is left out. `kept` are the states that make an answer, all are counted. A target for which
        descriptors or local ports are wanting for `patience` seconds is LIMITED.
        """
        self._pace = pace
        self._deliver = deliver
        self._window = affordable(window)
        self._timeout = timeout
        self._banner = banner
        self._kept = [state in kept for state in _STATES]
        self._patience = patience
        self._clock = clock
        self._poller = poller()
        # A descriptor that is closed leaves epoll by itself.
        self._unwatch = self._poller.unregister if banner or isinstance(self._poller, Selecting) else None
        self._live: dict[int, _Flight] = {}
        self._connecting: deque[_Flight] = deque()
        self._listening: deque[_Flight] = deque()
        self._held: deque[Target] = deque()
        self._again: deque[tuple[float, Target]] = deque()
        self._wanting_since: dict[int, float] = {}
        self._blocked_until = 0.0
        self._low = _LowWater(start)
        self._answers: list[Answer] = []
        self._counts = [0] * len(_STATES)
        self._left_out = 0
        self._flushed = clock()
        self._delivered = 0
        self._taken = 0
        self._cancelled = False
        self._waking, self._awake = socket.socketpair()
        self._waking.settimeout(0)
        self._awake.settimeout(0)

    def cancel(self) -> None:
        """End soon: what is under way is dropped, what is answered is delivered."""
        self._cancelled = True
        self._wake()

    def taken(self) -> None:
        """The consumer has worked through one more batch."""
        self._taken += 1
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full, which wakes as well; closed, which needs no waking
            self._waking.send(b"\0")

    def run(self) -> None:
        """Until all targets are answered, or `cancel`."""
        self._poller.register(self._awake.fileno(), READ)
        try:
            while not self._cancelled and self._turn():
                pass
            self._flush(self._clock())
        finally:
            for flight in self._live.values():
                _reset(flight.sock)
            self._poller.close()
            self._waking.close()
            self._awake.close()

    @property
    def _behind(self) -> bool:
        return self._delivered - self._taken >= BEHIND

    def _turn(self) -> bool:
        """Open, poll, expire, hand over; False when all is answered."""
        now = self._clock()
        self._open(now)
        if not (self._live or self._again or self._held) and self._pace.finished:
            return False
        wait = max(0.0, self._next_at(now) - self._clock())
        for fd, _ in self._poller.poll(wait, 4096):
            flight = self._live.get(fd)
            if flight is not None:
                self._ready(flight)
            else:
                with contextlib.suppress(BlockingIOError):
                    self._awake.recv(4096)
        now = self._clock()
        self._expire(now)
        waiting = self._delivered - self._taken
        if (len(self._answers) >= BATCH and waiting < BEHIND) or (now - self._flushed >= FLUSH_SECONDS and not waiting):
            self._flush(now)
        return True

    def _next_at(self, now: float) -> float:
        """When something is to be done, if nothing is heard before."""
        at = NEVER if self._delivered > self._taken else self._flushed + FLUSH_SECONDS
        for queue in (self._connecting, self._listening):
            while queue and self._live.get(queue[0].fd) is not queue[0]:
                queue.popleft()
            if queue:
                at = min(at, queue[0].deadline)
        if not self._behind and len(self._live) < self._window:
            opening = now if self._held else self._pace.next_at(now) if len(self._again) < RETRIES else NEVER
            if self._again:
                opening = min(opening, self._again[0][0])
            at = min(at, max(opening, self._blocked_until))
        return min(at, now + 60.0)

    # --- opening ---

    def _open(self, now: float) -> None:
        """Open connections, as many as window, limits and the consumer allow, but no more than a chunk."""
        room = min(self._window - len(self._live), CHUNK)
        if room <= 0 or self._behind or now < self._blocked_until:
            return
        targets: list[Target] = []
        while self._again and self._again[0][0] <= now and len(targets) < room:
            targets.append(self._again.popleft()[1])
        while self._held and len(targets) < room:
            targets.append(self._held.popleft())
        if len(targets) < room and len(self._again) < RETRIES:
            targets += self._pace.take(now, room - len(targets))
        for at, target in enumerate(targets):
            if not self._connect(target, now):
                self._held.extend(islice(targets, at + 1, None))
                break

    def _connect(self, target: Target, now: float) -> bool:
        """Begin one connection; False when there are no descriptors."""
        host = target[1]
        if not host:
            self._left_out += 1
            self._low.done(target[0])
            return True
        address = (host, target[2])
        try:
            sock = _socket(_IPV6 if ":" in host else _IPV4, _STREAM)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                self._finish(target, _UNREACHABLE)
                return True
            self._window = max(1, min(self._window, len(self._live) * 3 // 4))
            self._blocked_until = now + BACK_OFF
            self._want(target, now)
            return False
        if not _NON_BLOCKING:
            sock.settimeout(0)
        try:
            error_number = sock.connect_ex(address)
            if error_number in _UNDER_WAY:
                error_number = sock.connect_ex(address)  # on this machine it has ended meanwhile
        except OSError:  # an address with a zone that is not here
            error_number = errno.ENETUNREACH
        if error_number in _UNDER_WAY:
            fd = sock.fileno()
            self._poller.register(fd, WRITE)
            flight = self._live[fd] = _Flight(now + self._timeout, fd, sock, target)
            self._connecting.append(flight)
        else:
            self._settle(target, sock, error_number, now)
        return True

    def _want(self, target: Target, now: float) -> None:
        """Something here is wanting for a target: try again, or give up when that has lasted."""
        since = self._wanting_since.setdefault(target[0], now)
        if now - since >= self._patience:
            self._finish(target, _LIMITED)
        else:
            self._again.append((now + BACK_OFF, target))

    # --- answers ---

    def _ready(self, flight: _Flight) -> None:
        """The poller says that something has happened to a connection."""
        if not flight.connected:
            self._end(flight, flight.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), self._clock())
            return
        banner, state = b"", _OPEN
        try:
            banner = flight.sock.recv(BANNER)
            state = _OPEN if banner else _DROPPED
        except BlockingIOError:
            pass  # it says nothing
        except OSError:  # reset
            state = _DROPPED
        self._leave(flight)
        _reset(flight.sock)
        self._finish(flight.target, state, banner)

    def _expire(self, now: float) -> None:
        """End what has waited long enough; the kernel is asked a last time, in case that we are late."""
        live = self._live
        while self._connecting and self._connecting[0].deadline <= now:
            flight = self._connecting.popleft()
            if live.get(flight.fd) is not flight or flight.connected:
                continue
            error_number = flight.sock.connect_ex(flight.target[1:3])
            self._end(flight, errno.ETIMEDOUT if error_number in _UNDER_WAY else error_number, now)
        while self._listening and self._listening[0].deadline <= now:
            flight = self._listening.popleft()
            if live.get(flight.fd) is flight:
                self._ready(flight)

    def _end(self, flight: _Flight, error_number: int, now: float) -> None:
        self._leave(flight)
        self._settle(flight.target, flight.sock, error_number, now)

    def _leave(self, flight: _Flight) -> None:
        del self._live[flight.fd]
        if self._unwatch is not None:
            self._unwatch(flight.fd)

    def _settle(self, target: Target, sock: socket.SocketType, error_number: int, now: float) -> None:
        """A connection stands or has failed: note the answer, or listen to what the peer says."""
        if error_number in _CONNECTED:
            if sock.getsockname()[:2] == target[1:3]:
                state = _CLOSED  # it has connected to itself, because the local port chosen was this one
            elif self._banner:
                self._listen(target, sock, now)
                return
            else:
                state = _OPEN
            _reset(sock)
        else:
            sock.close()
            if error_number in _REFUSED:
                state = _CLOSED
            elif error_number == errno.ETIMEDOUT:
                state = _SILENT
            elif error_number in _WANTING:
                self._want(target, now)
                return
            else:
                state = _UNREACHABLE
        self._finish(target, state)

    def _listen(self, target: Target, sock: socket.SocketType, now: float) -> None:
        fd = sock.fileno()
        flight = self._live[fd] = _Flight(now + self._banner, fd, sock, target)
        flight.connected = True
        self._poller.register(fd, READ)
        self._listening.append(flight)

    def _finish(self, target: Target, state: int, banner: bytes = b"") -> None:
        if self._wanting_since:
            self._wanting_since.pop(target[0], None)
        self._counts[state] += 1
        if self._kept[state]:
            self._answers.append((target, _STATES[state], banner))
        self._low.done(target[0])

    def _flush(self, now: float) -> None:
        """Hand the answers over."""
        answers, self._answers = self._answers, []
        self._flushed = now
        self._delivered += 1
        self._deliver(
            Batch(
                answers=answers,
                cursor=self._low.position,
                done=self._left_out + sum(self._counts),
                counts=dict(zip(_STATES, self._counts, strict=True)),
                window=self._window,
            )
        )

"""Virtual meters that dial in: each opens a connection to the head-end, says who it is, and serves its protocol on it.

```text
 dial ─── connected ── login ──┬── heartbeat, after a period in which the head-end said nothing
  ▲                            ├── an acknowledgement, or any frame: the head-end is alive
  └── later and later ── cut ──┴── pushes, over the same connection
```

A meter that waits for its next heartbeat, or is being read, has no task and no timer of its own: all of them are woken by
the one timer of the fleet. A task exists while a connection is being made, and of those there are but so many at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from headend.drivers.calling import Dialogue
from headend.emulator.outside import Surroundings
from headend.emulator.shape import mix
from headend.errors import LinkError
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver
from headend.transport.tcp import connect_tcp, raise_descriptor_limit

_AT_ONCE: Final = 256
_TIMEOUT: Final = 10.0
_DIALLING: Final = 1 << 40
"""Added to the number of a meter, this names what it does about its connection among all that is to be woken."""
_MOST_PUSHES: Final = 4
"""Pushes that wait for a connection; then the oldest are dropped."""
_WAVES: Final = 0x1D1A1
_WHOLE: Final = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Where the meters of a group call, and how; times in seconds.

    `heartbeat` 0 is never, None as the registration says. Intervals vary by the share `jitter`. The first calls are spread over
    `spread` seconds, 0 is a storm. After a call that failed or was cut a meter waits `retry` seconds, then twice as long each
    time, up to `most`.
    """

    host: str
    port: int
    dialogue: Dialogue | None = None
    heartbeat: float | None = None
    jitter: float = 0.1
    spread: float = 10.0
    retry: float = 10.0
    most: float = 600.0

    @property
    def period(self) -> float:
        """Seconds between heartbeats, 0 for none."""
        if self.dialogue is None:
            return 0.0
        return self.dialogue.period if self.heartbeat is None else self.heartbeat


class Dialler:
    """Makes the connections of a fleet, so many at a time."""

    def __init__(self) -> None:
        raise_descriptor_limit()
        self._waiting: deque[Line] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lines: list[Line] = []
        self.connected = 0
        """lines that have a connection"""

    def dial(self, line: Line) -> None:
        """Connect a line when it is its turn."""
        self._waiting.append(line)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._tasks) < _AT_ONCE:
            line = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._connect(line), name=f"virtual meter at {line.source}")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._next()

    @staticmethod
    async def _connect(line: Line) -> None:
        try:
            link = await connect_tcp(line.dial.host, line.dial.port, _TIMEOUT, source=line.source)
        except LinkError:
            line.lost(heard=False)
        else:
            line.connected(link)

    async def aclose(self) -> None:
        """Connect nobody any more, and hang up."""
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for line in self.lines:
            line.hang_up()
        await asyncio.sleep(0)


class Line:
    """What one modem does about its connection; several meters may be behind it."""

    __slots__ = (
        "_alive_at",
        "_call",
        "_clock",
        "_dialler",
        "_dialling",
        "_failures",
        "_intervals",
        "_off",
        "_outside",
        "_pushes",
        "_seed",
        "_serve",
        "_spoil",
        "dial",
        "number",
        "says",
        "source",
    )

    def __init__(
        self,
        dial: Dial,
        number: int,
        says: str,
        source: str,
        *,
        seed: int,
        spoil: Callable[[Link], Link],
        serve: Callable[[Link], None],
        around: tuple[Dialler, Surroundings, Callable[[], int]],
    ) -> None:
        """`number` is that of its first meter, `says` what it logs in as.

        `spoil` gives a link the faults of the meters, `serve` lets them answer on it.
        """
        self.dial = dial
        self.number = number
        self.says = says
        self.source = source
        self._seed = seed
        self._spoil = spoil
        self._off = False
        self._serve = serve
        self._dialler, self._outside, self._clock = around
        self._call: Call | None = None
        self._dialling = False
        self._alive_at = 0
        self._failures = 0
        self._intervals = 0
        self._pushes: deque[bytes] | None = None

    def start(self, share: float) -> None:
        """Dial for the first time, at that share of the time over which first calls are spread."""
        self._wake(self.dial.spread * share, self._dial)

    def switch(self, *, on: bool) -> None:
        """Switch the modem; it dials as soon as it is on."""
        self._off = not on
        if on:
            self._wake(0.0, self._dial)
        else:
            self.hang_up()

    def connected(self, link: Link) -> None:
        """The connection stands: say who it is, and what has waited for it."""
        self._dialling = False
        if self._off:
            link.abort()
            return
        call = self._call = Call(self, self._spoil(link), self._serve)
        self._dialler.connected += 1
        self._alive_at = self._clock()
        call.begin()
        pushes, self._pushes = self._pushes, None
        dialogue = self.dial.dialogue
        if dialogue is not None:
            call.write(dialogue.login(self.says))
        for push in pushes or ():
            call.write(push)
        self._plan_heartbeat()

    def push(self, octets: bytes) -> None:
        """Send over the connection, or dial at once and send as soon as there is one."""
        if self._call is not None:
            self._call.write(octets)
        else:
            self._pushes = self._pushes or deque(maxlen=_MOST_PUSHES)
            self._pushes.append(octets)
            self._wake(0.0, self._dial)

    def heard(self) -> None:
        """The head-end is alive: the next heartbeat is due a whole period from now."""
        self._alive_at = self._clock()

    def ended(self, call: Call, *, heard: bool) -> None:
        """A connection is gone; `heard` when the head-end had said something on it."""
        if self._call is call:
            self._call = None
            self._dialler.connected -= 1
            self.lost(heard=heard)

    def lost(self, *, heard: bool) -> None:
        """There is no connection: dial again later."""
        self._dialling = False
        self._failures = 1 if heard else self._failures + 1
        wait = min(self.dial.most, self.dial.retry * 2.0 ** min(self._failures - 1, 30))
        self._wake(wait * (0.5 + self._chance()), self._dial)

    def hang_up(self) -> None:
        """For good."""
        call, self._call = self._call, None
        self._outside.forget(_DIALLING + self.number)
        if call is not None:
            self._dialler.connected -= 1
            call.abort()

    def _dial(self) -> None:
        if not self._dialling and self._call is None and not self._off:
            self._dialling = True
            self._dialler.dial(self)

    def _plan_heartbeat(self) -> None:
        if self.dial.period:
            self._wake(self._interval() - (self._clock() - self._alive_at) / 1000, self._beat)

    def _interval(self) -> float:
        """Seconds until the next heartbeat; the same while it is put off."""
        chance = mix(self._seed, _WAVES + self._intervals) / _WHOLE
        return self.dial.period * (1.0 + self.dial.jitter * (2.0 * chance - 1.0))

    def _beat(self) -> None:
        call, dialogue = self._call, self.dial.dialogue
        if call is None or dialogue is None:
            return
        if self._clock() - self._alive_at >= round(1000 * self._interval()):
            self._intervals += 1
            self._alive_at = self._clock()
            call.write(dialogue.heartbeat(self.says))
        if self._call is call:  # a fault may have cut it
            self._plan_heartbeat()

    def _chance(self) -> float:
        self._intervals += 1
        return mix(self._seed, _WAVES + self._intervals) / _WHOLE

    def _wake(self, seconds: float, call: Callable[[], None]) -> None:
        at = self._clock() + round(1000 * max(0.0, seconds))
        self._outside.wake(_DIALLING + self.number, at, call)


class Call(LinkAround[Link]):
    """One connection of a line, a Link for the meters behind it. They are there as soon as they are asked something."""

    __slots__ = ("_answers", "_heard", "_line", "_receiver", "_serve")

    def __init__(self, line: Line, link: Link, serve: Callable[[Link], None]) -> None:
        self._line: Line | None = line
        super().__init__(link)
        self._serve = serve
        self._receiver: Receiver | None = None
        self._answers = line.dial.dialogue.answers() if line.dial.dialogue is not None else None
        self._heard = False

    def begin(self) -> None:
        """Hear what is said from now on."""
        self.link.set_receiver(self)

    # --- a link for the meters ---

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """The meter that is to hear."""
        self._receiver = receiver
        if buffered:
            receiver.data_received(buffered)

    # --- the receiver of the connection ---

    def data_received(self, data: bytes) -> None:
        """Octets came in: acknowledgements are the line's, the rest is the meter's."""
        self._heard = True
        answers, line = self._answers, self._line
        if answers is not None:
            data, said = answers.feed(data)
            if line is not None and (data or any(each.check_ok is not False for each in said)):
                line.heard()
        if data:
            if self._receiver is None:
                self._serve(self)
            if self._receiver is not None:
                self._receiver.data_received(data)

    def link_lost(self, error: LinkError) -> None:
        """The connection is gone."""
        line, self._line = self._line, None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.link_lost(error)
        if line is not None:
            line.ended(self, heard=self._heard)

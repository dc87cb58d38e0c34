"""The ground that discovery treads at one place: links within a budget, and what went over them as evidence.

One link is open at a time. No secret is in reach of a probe. What is spent is spent for all probes of all drivers together, and
the first sign that who is there defends itself ends them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from headend.errors import ConfigError, ProbeEnded
from headend.model.discovery import Evidence, Fact, Intrusion, Sighting
from headend.model.meter import Endpoint, EndpointKind
from headend.model.profile import MeterProfile
from headend.transport.link import Link

KEPT: Final = 2048
"""octets of a step that are kept as evidence in each direction"""
_BOUND: Final = 1 << 20
"""octets of one step that are held, whatever comes"""
_LAST_STATION: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What discovery may spend at one place."""

    links: int = 32
    """connections that are opened; a serial port takes none"""
    associations: int = 24
    """requests to associate, accepted or not"""
    seconds: float = 60.0
    """from the first connection to the last answer"""
    spacing: float = 0.0
    """seconds between the end of a link and the beginning of the next"""


def stations(text: str) -> tuple[int, ...]:
    """`1-10,247`: the numbers of stations, in their order, each once; raises ConfigError."""
    found: dict[int, None] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, dash, high = part.partition("-")
        first, last = (int(end) if end.isascii() and end.isdigit() else -1 for end in (low, high if dash else low))
        if not 0 <= first <= last <= _LAST_STATION:
            raise ConfigError(f"{part!r} is no range of stations", hint="write 1-10,247: numbers from 0 to 255")
        found.update(dict.fromkeys(range(first, last + 1)))
    return tuple(found)


class Ground:
    """One place. `open_link` opens a link there; `time` and `sleep` are the event loop's, `clock` is in milliseconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        open_link: Callable[[Endpoint, float], Awaitable[Link]],
        time: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], int],
        budget: Budget | None = None,
        timeout: float = 2.0,
        units: str = "",
        profiles: Sequence[MeterProfile] = (),
    ) -> None:
        """`timeout` in seconds is for a connection, and what a probe waits for one answer.

        `units` are the stations of a shared line to look for, as `1-10,247`; empty for those that are usual. `profiles` are the
        meter files whose facts are looked for; without any, the built-in ones. Raises ConfigError.
        """
        self.endpoint = endpoint
        self.budget = budget or Budget()
        self.timeout = timeout
        self.units = stations(units)
        self.profiles = tuple(profiles)
        self.evidence: list[Evidence] = []
        self.links = 0
        self.associations = 0
        self.stopped = ""
        """why everything ended here; empty while it goes on"""
        self.time = time
        self.sleep = sleep
        self._open_link = open_link
        self._clock = clock
        self._began: float | None = None
        self._free_at = 0.0
        self._link: Link | None = None
        self._sent = bytearray()
        self._received = bytearray()
        self._lost = [0, 0]

    @property
    def seconds_left(self) -> float:
        """Of the budget."""
        return self.budget.seconds - (0.0 if self._began is None else self.time() - self._began)

    def go_on(self) -> None:
        """Raise ProbeEnded when everything has ended here, or the time is spent. For what asks more than once on a link."""
        if self.stopped:
            raise ProbeEnded(self.stopped)
        if self.seconds_left <= 0:
            self.end(f"{self.budget.seconds:g} s are as long as a discovery may take here")

    async def link(self, endpoint: Endpoint | None = None) -> Link:
        """Open a link, to another endpoint of the same place where that is given; the one before is closed first.

        Raises LinkError, and ProbeEnded when the budget is spent.
        """
        self.go_on()
        await self.close()
        if self.links >= self.budget.links:
            self.end(f"{self.links} connections are as many as a discovery may open here")
        if (wait := self._free_at - self.time()) > 0:
            await self.sleep(wait)
        if self._began is None:
            self._began = self.time()
        self.links += (endpoint or self.endpoint).kind is not EndpointKind.SERIAL
        self._link = await self._open_link(endpoint or self.endpoint, self.timeout)
        self._link.tap = self._tap
        return self._link

    async def close(self) -> None:
        """Close the link, if one is open."""
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()
            link.tap = None
            self._free_at = self.time() + self.budget.spacing

    def associate(self) -> None:
        """Take one request to associate out of the budget, before it is sent; raises ProbeEnded when none is left."""
        self.go_on()
        if self.associations >= self.budget.associations:
            self.end(f"{self.associations} associations are as many as a discovery may ask for here")
        self.associations += 1

    def step(self, probe: str, note: str = "", *, keep: int = KEPT) -> int:
        """What went over the links since the last step is evidence; returns its index."""
        cut = [self._lost[0] + max(0, len(self._sent) - keep), self._lost[1] + max(0, len(self._received) - keep)]
        if max(cut) > 0:
            note = f"{note} (cut: {cut[0]} octets sent, {cut[1]} received are left out)".strip()
        self.evidence.append(
            Evidence(
                probe=probe,
                at=self._clock(),
                sent=bytes(self._sent[:keep]),
                received=bytes(self._received[:keep]),
                note=note,
            )
        )
        self._sent.clear()
        self._received.clear()
        self._lost = [0, 0]
        return len(self.evidence) - 1

    def end(self, reason: str) -> NoReturn:
        """Nothing more is sent here, by any probe; raises ProbeEnded."""
        self.stopped = self.stopped or reason
        raise ProbeEnded(self.stopped)

    def _tap(self, direction: str, data: bytes) -> None:
        """Keep what may become evidence; a flood is counted, not kept."""
        received = direction == "<<"
        kept = self._received if received else self._sent
        room = max(0, _BOUND - len(kept))
        kept += data[:room]
        self._lost[received] += max(0, len(data) - room)


def evidence_of(
    ground: Ground, sighting: Sighting, since: int, facts: Sequence[Fact]
) -> tuple[tuple[Evidence, ...], tuple[Fact, ...]]:
    """What proves one of several meters behind a wire: its sighting, and all steps from `since` on; its facts point there."""
    kept = (*(step for step in sighting.evidence if step < since), *range(since, len(ground.evidence)))
    place = {step: index for index, step in enumerate(kept)}
    pointing = (replace(fact, evidence=tuple(place[step] for step in fact.evidence if step in place)) for fact in facts)
    return tuple(ground.evidence[step] for step in kept), tuple(pointing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One cheap question whether somebody speaks a protocol. `run` raises LinkError, or ProbeEnded; nothing else.

    It returns nobody for silence and for answers of another protocol, and leaves the evidence on the ground.
    """

    name: str
    framing: str
    intrusion: Intrusion
    cost: int
    """round trips it takes where nobody answers: each waits for a time-out"""
    run: Callable[[Ground], Awaitable[tuple[Sighting, ...]]]
    ports: tuple[int, ...] = ()
    """where it goes before the probes of other protocols"""
    exhaustive: bool = False
    """only where somebody asks for everything to be tried"""

"""The scanner: which ports of a set of targets are open, within limits, with progress, and able to go on later.

The connections are made by `headend.transport.scanning` in a thread of its own; here names become addresses, what is outside
the allowed networks is refused before anything is sent, and answers become hits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from headend.model.discovery import Hit, PortState
from headend.model.targets import PRIVATE, Span, Target, Targets, check_allowed, holds, parse_spans, prefix_of, refused
from headend.transport.pace import Pace
from headend.transport.scanning import Batch, ConnectScan
from headend.transport.tcp import resolve as resolve_host

RATE_SECONDS: Final = 10.0
"""over which the rate is taken that the time left follows from"""
RESOLVE_SECONDS: Final = 10.0
"""for the address of a name"""
RESOLVED_AT_ONCE: Final = 16
KEPT: Final = frozenset({PortState.OPEN, PortState.CLOSED, PortState.DROPPED, PortState.LIMITED})
"""States that become hits where nothing else is said: of the others there is one for each address without a host."""
NOTHING: Final[Mapping[PortState, int]] = MappingProxyType(dict.fromkeys(PortState, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """What to scan and how fast: targets a second in all and to each /24 or /64 (None: as fast as it goes).

    The seed makes the order; a scan goes on from a cursor with the same targets and the same seed. `excluded` is for the
    addresses that names turn out to have; those in `targets` are without them already.
    """

    targets: Targets
    excluded: tuple[Span, ...] = ()
    seed: int = 0
    rate: float | None = 2000.0
    network_rate: float | None = 100.0
    window: int = 4000
    """connections under way, as far as there are descriptors"""
    timeout: float = 2.0
    banner: float = 0.0
    """seconds to wait for what an open port says unasked"""
    kept: frozenset[PortState] = KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProgress:
    """How far a scan is. All targets below `cursor` were answered, and their hits handed out."""

    of: int = 0
    done: int = 0
    cursor: int = 0
    counts: Mapping[PortState, int] = field(default_factory=lambda: NOTHING)
    """answers of this run, also of the states that do not become hits"""
    rate: float = 0.0
    """targets a second, of late"""
    window: int = 0
    """connections that may be under way here"""
    unresolved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """names that were left out, and why"""

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while there is none."""
        return (self.of - self.done) / self.rate if self.rate > 0 else None


class Scanner:
    """Scans within the networks that are allowed, one plan at a time. `clock` is in milliseconds, for the hits."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        allowed: Sequence[str] = PRIVATE,
        resolve: Callable[[str], Awaitable[list[str]]] = resolve_host,
    ) -> None:
        self._clock = clock
        self._allowed = parse_spans(allowed)
        self._resolve = resolve
        self._scan: ConnectScan | None = None
        self._cancelled = False
        self.progress = ScanProgress()

    def cancel(self) -> None:
        """Let `run` end soon: what is answered is still handed out, the cursor says where to go on."""
        self._cancelled = True
        if self._scan is not None:
            self._scan.cancel()

    async def run(self, plan: ScanPlan, cursor: int = 0) -> AsyncGenerator[tuple[Hit, ...]]:
        """Batches of hits, several a second, also empty ones; `progress` is that of the batch handed out last.

        Raises PermissionDenied when a target is outside the allowed networks, before anything is sent. The scan waits while
        a batch is worked on for long.
        """
        check_allowed(plan.targets.spans, self._allowed)
        self._cancelled = False
        self.progress = ScanProgress(of=plan.targets.count, done=cursor, cursor=cursor)
        addresses = await self._addresses(plan)
        source = (
            _resolved(plan.targets.walk(plan.seed, cursor), addresses)
            if addresses
            else plan.targets.walk(plan.seed, cursor)
        )
        names = {address: name for name, address in addresses.items() if address}
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Batch | None] = asyncio.Queue()
        scan = self._scan = ConnectScan(
            Pace(source, plan.rate, plan.network_rate),
            lambda batch: loop.call_soon_threadsafe(arrived.put_nowait, batch),
            start=cursor,
            window=plan.window,
            timeout=plan.timeout,
            banner=plan.banner,
            kept=plan.kept,
        )
        if self._cancelled:
            scan.cancel()
        meter = _Rate(loop.time())
        with ThreadPoolExecutor(1, "scan") as thread:
            running = loop.run_in_executor(thread, scan.run)
            running.add_done_callback(lambda _: arrived.put_nowait(None))
            try:
                while (batch := await arrived.get()) is not None:
                    self.progress = replace(
                        self.progress,
                        done=cursor + batch.done,
                        cursor=batch.cursor,
                        counts=batch.counts,
                        rate=meter.after(loop.time(), batch.done),
                        window=batch.window,
                    )
                    now = self._clock()
                    yield tuple(
                        Hit(host=names.get(host, host), port=port, state=state, at=now, banner=banner)
                        for (_, host, port, _), state, banner in batch.answers
                    )
                    scan.taken()
                await running
            finally:
                self._scan = None
                scan.cancel()
                await asyncio.shield(running)

    async def _addresses(self, plan: ScanPlan) -> dict[str, str]:
        """The address of each name; empty for one that is left out: it has none, it is excluded, or another name has it."""
        gate = asyncio.Semaphore(RESOLVED_AT_ONCE)
        found = await asyncio.gather(*(self._look_up(name, gate) for name in plan.targets.names))
        addresses = dict.fromkeys(plan.targets.names, "")
        unresolved: dict[str, str] = {}
        taken: set[str] = set()
        for name, (address, failure) in zip(plan.targets.names, found, strict=True):
            if failure:
                unresolved[name] = failure
            elif holds(plan.excluded, address):
                unresolved[name] = f"its address {address} is excluded"
            elif not holds(self._allowed, address):
                raise refused(f"{name} ({address})")
            elif address in taken:
                unresolved[name] = f"another name has its address {address}"
            else:
                addresses[name] = address
                taken.add(address)
        self.progress = replace(self.progress, unresolved=MappingProxyType(unresolved))
        return addresses

    async def _look_up(self, name: str, gate: asyncio.Semaphore) -> tuple[str, str]:
        """The first address of a name, or why there is none."""
        try:
            async with gate, asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolve(name)
        except TimeoutError:
            return "", f"no address within {RESOLVE_SECONDS:g} s"
        except (OSError, UnicodeError) as error:
            return "", str(error)
        return (found[0], "") if found else ("", "it has no address")


def _resolved(walk: Iterator[Target], addresses: Mapping[str, str]) -> Iterator[Target]:
    """Targets with addresses in the place of names. What is reached by a name is not tried by its address once more."""
    named = frozenset(addresses.values())
    for position, host, port, network in walk:
        address = addresses.get(host)
        if address:
            yield position, address, port, prefix_of(address)
        elif address is not None or host in named:
            yield position, "", port, network
        else:
            yield position, host, port, network


class _Rate:
    """Targets a second over the last while."""

    def __init__(self, now: float) -> None:
        self._seen = deque([(now, 0)])

    def after(self, now: float, done: int) -> float:
        """The rate, now that so many are done."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now > since else 0.0

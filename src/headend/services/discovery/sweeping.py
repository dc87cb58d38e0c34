"""What a request for a scan asks for: which targets, which places beside them, and the sweep through the targets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headend.errors import ConfigError, LinkError
from headend.model.discovery import PortState
from headend.model.meter import Endpoint, EndpointKind
from headend.model.scan import ScanHit, ScanJob, ScanRequest
from headend.model.targets import (
    PRIVATE,
    Targets,
    check_allowed,
    holds,
    parse_ports,
    parse_spans,
    parse_targets,
    refused,
)
from headend.model.url import parse_url
from headend.services.discovery.running import Swept
from headend.services.discovery.scanner import Scanner, ScanPlan
from headend.transport.tcp import resolve

SERIAL: Final = "serial:"
TCP: Final = "tcp://"
_BETWEEN: Final = re.compile(r"[\s,]+")
_ALL: Final = frozenset(PortState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, where a request does not say it; as in `ScanPlan`."""

    rate: float | None = 2000.0
    network_rate: float | None = 100.0
    window: int = 4000
    timeout: float = 2.0
    banner: float = 0.2
    """seconds that an open port is listened to"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, understood: `entries` are swept on all ports, `places` are looked into as they are."""

    entries: Sequence[str]
    places: Sequence[str]
    excluded: Sequence[str]
    targets: Targets | None
    """None where there are only places"""


class Sweeper:
    """Understands requests and sweeps through their targets, one at a time."""

    def __init__(
        self,
        protocols: Mapping[str, Sequence[int]],
        *,
        clock: Callable[[], int],
        pace: Pace | None = None,
        ports: str = "",
        allowed: Sequence[str] = PRIVATE,
    ) -> None:
        """`protocols` are the ports of each. `ports` are scanned where a request names none; without them those of all protocols.

        Nothing outside of the networks in `allowed` is ever scanned.
        """
        self._scanner = Scanner(clock=clock, allowed=allowed)
        self._allowed = parse_spans(allowed)
        self._pace = pace or Pace()
        self._protocols = protocols
        self._ports = ports or ",".join(protocols)

    def understand(self, request: ScanRequest) -> Asked:
        """Check a request; raises ConfigError that says what is wrong with it."""
        for name, value in (("rate", request.rate), ("window", request.window), ("timeout", request.timeout)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: expected more than 0, got {value}")
        all_entries = split(request.targets)
        places = [each for each in all_entries if is_place(each)]
        for each in places:
            place_of(each)
        entries = [each for each in all_entries if not is_place(each)]
        excluded = split(request.exclude)
        targets = None
        if entries or not places:
            ports = parse_ports(request.ports or self._ports, self._protocols)
            targets = parse_targets(entries, ports, excluded=excluded)
            check_allowed(targets.spans, self._allowed)
        return Asked(entries=entries, places=places, excluded=excluded, targets=targets)

    async def check_place(self, endpoint: Endpoint) -> None:
        """Raise PermissionDenied for a place outside of the networks that may be scanned, LinkError where its name is unknown."""
        if endpoint.kind not in (EndpointKind.TCP, EndpointKind.UDP):
            return
        try:
            addresses = await resolve(endpoint.host)
        except OSError as error:
            raise LinkError(f"{endpoint.host} has no address: {error}") from error
        for address in addresses:
            if not holds(self._allowed, address):
                raise refused(endpoint.host if address == endpoint.host else f"{endpoint.host} ({address})")

    def sweep(self, asked: Asked) -> Callable[[ScanJob], AsyncIterator[Swept]] | None:
        """What goes through the targets of a request; None where there are none."""
        targets = asked.targets
        if targets is None:
            return None

        async def run(job: ScanJob) -> AsyncIterator[Swept]:
            request, pace = job.request, self._pace
            plan = ScanPlan(
                targets=targets,
                excluded=parse_spans(asked.excluded),
                seed=job.seed,
                rate=request.rate if request.rate is not None else pace.rate,
                network_rate=pace.network_rate,
                window=request.window or pace.window,
                timeout=request.timeout or pace.timeout,
                banner=pace.banner,
                kept=_ALL,
            )
            scanner = self._scanner
            batches = scanner.run(plan, job.cursor)
            try:
                async for hits in batches:
                    now = scanner.progress
                    yield Swept(
                        hits=hits,
                        cursor=now.cursor,
                        done=now.done,
                        targets=now.of,
                        seconds_left=now.seconds_left,
                        left_out=now.unresolved,
                    )
            finally:
                await batches.aclose()

        return run


def split(text: str) -> list[str]:
    """Entries of a list, between blanks, commas and line ends; `#` begins a comment."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return list(dict.fromkeys(filter(None, (each for line in lines for each in _BETWEEN.split(line)))))


def is_place(entry: str) -> bool:
    """Is this a single place, not something to sweep?"""
    return "://" in entry or entry.startswith(SERIAL)


def place_of(entry: str) -> Endpoint:
    """The endpoint of `serial:/dev/ttyUSB0?baud=9600`, `tcp://HOST:PORT`, or of a meter URL; raises ConfigError."""
    if entry.startswith(TCP):
        entry = f"dlms+hdlc{entry.removeprefix('tcp')}"  # any scheme without a port of its own
    if entry.startswith(SERIAL):
        return parse_url(f"dlms+serial://{entry.removeprefix(SERIAL)}").endpoint
    endpoint = parse_url(entry).endpoint
    if endpoint.kind is EndpointKind.INBOUND:
        raise ConfigError("a meter that dials in cannot be searched for", hint="wait until it connects")
    return endpoint


def endpoint_of(hit: ScanHit) -> Endpoint:
    """Where an open place is."""
    return Endpoint(kind=EndpointKind.TCP, host=hit.host, port=hit.port) if hit.port else place_of(hit.host)

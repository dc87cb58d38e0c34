"""What it is that dials in, told from its first octets. Pure.

A caller may say nothing, a login, or frames of any protocol, in pieces of any size, with noise in front. The recogniser asks
the installed drivers and the registrations what begins at each offset. Whatever is told by the fewest octets counts, so that
it does not matter in what pieces they come. Beyond the offset 0, and what stands in front of frames on some lines (FE, line
ends, spaces), only those are believed that noise does not look like.

```python
recogniser = Recogniser(known, drivers)
caller = recogniser.feed(data)              # None: more octets are needed
caller = recogniser.silence()               # nothing more comes for now, or time is up: what can be said
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from headend.drivers.base import Driver, Sniff, Sniffed
from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.protocols.registration import Kind, Policy, Registered, Registration

__all__ = (
    "LIMIT",
    "UNKNOWN",
    "HeartbeatFilter",
    "Kind",
    "Known",
    "Policy",
    "Recognised",
    "Recogniser",
    "Registered",
    "Registration",
)

LIMIT: Final = 1024
"""Octets that are looked at."""
UNKNOWN: Final = "unknown"
_POLITE: Final = frozenset(b"\xfe\r\n ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a caller is. `label` is one of a few words: driver and framing, the id of a registration, or `unknown`."""

    label: str
    protocol: str = ""
    """the driver, empty where it is unknown, or the description of a login does not say it"""
    framing: str = ""
    """as `Meter.framing` names it"""
    address: str = ""
    """of the meter, where the frame says it"""
    registered: Sequence[Registered] = ()
    """the login or heartbeat that it began with"""
    rest: bytes = b""
    """what came, without the noise and the login in front: for a HeartbeatFilter, and then for the session"""
    noise: bytes = b""
    """what stood in front"""
    reason: str = ""
    """why it is unknown"""


@dataclass(frozen=True, slots=True)
class _Hit:
    """What was told of the octets from `at` on by those up to `end`."""

    end: int
    at: int
    caller: Sniffed | Registered
    protocol: str


_Candidate: TypeAlias = "Callable[[bytes, int, bool], _Hit | bool]"
"""Asked for octets, offset and whether nothing follows; True: undecided, False: no."""


class Recogniser:
    """Of one connection, until it has said what called."""

    __slots__ = ("_drivers", "_known", "_limit", "_octets", "_pending", "_polite", "_seen")

    def __init__(self, known: Known, drivers: Iterable[Driver], *, limit: int = LIMIT) -> None:
        self._known = known
        self._drivers = tuple(drivers)
        self._limit = limit
        self._octets = b""
        self._seen = 0
        """offsets that have been asked for"""
        self._polite = True
        """nothing but what may stand in front of a frame has been seen"""
        self._pending: list[tuple[int, _Candidate]] = []

    @property
    def octets(self) -> bytes:
        """What came so far, for people who want to see it."""
        return self._octets

    def feed(self, data: bytes) -> Recognised | None:
        """What calls; None while more octets must tell it. Afterwards it is not to be called again."""
        self._octets += data
        hit = self._search(self._octets[: self._limit], silent=False)
        if hit is not None:
            return self._recognised(hit)
        if len(self._octets) < self._limit:
            return None
        return self._unknown(f"no frame of a known protocol in the first {self._limit} octets")

    def silence(self) -> Recognised:
        """What can be said when nothing follows for now."""
        hit = self._search(self._octets[: self._limit], silent=True)
        if hit is not None:
            return self._recognised(hit)
        count = len(self._octets)
        return self._unknown(f"{count} octets that are no frame of a known protocol" if count else "it says nothing")

    def _unknown(self, reason: str) -> Recognised:
        return Recognised(label=UNKNOWN, rest=self._octets, reason=reason)

    def _recognised(self, hit: _Hit) -> Recognised:
        caller, noise = hit.caller, self._octets[: hit.at]
        if isinstance(caller, Registered):
            return Recognised(
                label=caller.registration,
                protocol=caller.protocol,
                framing=caller.framing,
                registered=(caller,),
                rest=self._octets[hit.at + len(caller.octets) :],
                noise=noise,
            )
        return Recognised(
            label=f"{hit.protocol}-{caller.framing}" if caller.framing else hit.protocol,
            protocol=hit.protocol,
            framing=caller.framing,
            address=caller.address,
            rest=self._octets[hit.at :],
            noise=noise,
        )

    def _search(self, octets: bytes, *, silent: bool) -> _Hit | None:
        """The hit that the fewest octets tell."""
        best: _Hit | None = None
        pending: list[tuple[int, _Candidate]] = []
        for at, candidate in [*self._pending, *self._fresh(octets)]:
            if best is not None and at >= best.end:
                continue
            hit = candidate(octets, at, silent)
            if isinstance(hit, _Hit):
                best = hit if best is None or hit.end < best.end else best
            elif hit:
                pending.append((at, candidate))
        self._pending = pending
        return best

    def _fresh(self, octets: bytes) -> list[tuple[int, _Candidate]]:
        """What may begin at the offsets that have not been asked for."""
        fresh: list[tuple[int, _Candidate]] = []
        for at in range(self._seen, len(octets)):
            first = octets[at]
            fresh += [(at, _registration(each, sure=not self._polite)) for each in self._known.by_first[first]]
            fresh += [(at, _driver(each, sure=not self._polite)) for each in self._drivers]
            self._polite &= first in _POLITE
        self._seen = len(octets)
        return fresh


def _registration(registration: Registration, *, sure: bool) -> _Candidate:
    """`sure`: only one whose check octets are right."""

    def candidate(octets: bytes, at: int, silent: bool) -> _Hit | bool:  # noqa: FBT001 - called by position only
        found = registration.match(octets, at, silent=silent)
        if isinstance(found, Registered):
            return _Hit(at + len(found.octets), at, found, "") if found.check_ok or not sure else False
        return found is not None

    return candidate


def _driver(driver: Driver, *, sure: bool) -> _Candidate:
    """`sure`: only what is no noise."""

    def candidate(octets: bytes, at: int, silent: bool) -> _Hit | bool:  # noqa: FBT001 - called by position only
        found = driver.sniff(octets, at, silent=silent)
        if isinstance(found, Sniffed):
            return _Hit(found.end, at, found, driver.name) if found.sure or not sure else False
        return found is Sniff.NEED_DATA

    return candidate

"""What it is that dials in, told from its first octets. Pure.

A caller may say nothing, a login, or frames of any protocol, in pieces of any size, with noise in front. The recogniser asks
the installed drivers, the registrations and the strangers what begins at each offset. Whatever is told by the fewest octets
counts, so that it does not matter in what pieces they come; what begins inside of a frame that is likely waits for its
end. Beyond the offset 0, and what stands in front of frames on some
lines (FE, line ends, spaces), only those are believed that noise does not look like.

```python
recogniser = Recogniser(known, drivers)
caller = recogniser.feed(data)              # None: more octets are needed
caller = recogniser.silence()               # nothing more comes for now, or time is up: what can be said
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeAlias

from headend.drivers import strangers
from headend.drivers.base import Driver, Sniff, Sniffed
from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.drivers.strangers import Stranger
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
_SURE: Final = 16
"""Octets of a login without check octets that is believed after noise."""
_POLITE: Final = b"\xfe\r\n "


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
    """why it is unknown, for people"""


_Asked: TypeAlias = "Driver | Registration | None"
"""Who may know what begins somewhere; None for the strangers."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether something begins at an offset. `first`: nothing but what may stand in front of a frame has come before it."""

    asked: _Asked
    at: int
    first: bool

    @property
    def name(self) -> str:
        """Of the driver that is asked."""
        return "" if self.asked is None or isinstance(self.asked, Registration) else self.asked.name


@dataclass(frozen=True, slots=True)
class _Hit:
    """What was told of the octets from an offset on by those up to `end`."""

    question: _Question
    end: int
    caller: Sniffed | Registered | Stranger
    """a driver's may be only likely"""

    @property
    def key(self) -> tuple[int, int, bool]:
        """What counts is told by the fewest octets, began first, and is a protocol."""
        return self.end, self.question.at, not isinstance(self.caller, Sniffed)


class Recogniser:
    """Of one connection, until it has said what called."""

    __slots__ = ("_drivers", "_known", "_limit", "_octets", "_open", "_polite", "_seen")

    def __init__(self, known: Known, drivers: Iterable[Driver], *, limit: int = LIMIT) -> None:
        self._known = known
        self._drivers = tuple(drivers)
        self._limit = limit
        self._octets = b""
        self._seen = 0
        """offsets that have been asked for"""
        self._polite = True
        """nothing but what may stand in front of a frame has been seen"""
        self._open: list[_Question] = []

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
        octets = self._octets
        hit = self._search(octets[: self._limit], silent=True)
        if hit is not None:
            return self._recognised(hit)
        alone = self._alone(octets)
        if alone is not None:
            return _registered(alone, b"", b"")
        if not octets:
            return self._unknown("it says nothing")
        text = octets.isascii() and octets.decode("ascii").strip().isprintable()
        kind = "letters of a text" if text else "octets that are no frame"
        return self._unknown(f"{len(octets)} {kind} of no known protocol")

    def _unknown(self, reason: str) -> Recognised:
        return Recognised(label=UNKNOWN, rest=self._octets, reason=reason)

    def _alone(self, octets: bytes) -> Registered | None:
        """What octets say that stand alone."""
        said = (each.match_alone(octets) for each in self._known.registrations)
        return next((each for each in said if each is not None), None)

    def _recognised(self, hit: _Hit) -> Recognised:
        caller, at = hit.caller, hit.question.at
        noise = self._octets[:at]
        if isinstance(caller, Stranger):
            return replace(self._unknown(f"it speaks {caller.name}"), rest=self._octets[at:], noise=noise)
        if isinstance(caller, Registered):
            return _registered(caller, self._octets[at + len(caller.octets) :], noise)
        protocol = hit.question.name
        framed = Recognised(
            label=caller.label or f"{protocol}-{caller.framing}",
            protocol=protocol,
            framing=caller.framing,
            address=caller.address,
            rest=self._octets[at:],
            noise=noise,
        )
        before = self._alone(noise) if noise.strip(_POLITE) else None
        return framed if before is None else replace(framed, label=before.registration, registered=(before,), noise=b"")

    def _search(self, octets: bytes, *, silent: bool) -> _Hit | None:
        """The hit that the fewest octets tell, unless one is likely that fewer octets would tell."""
        best: _Hit | None = None
        likely: _Hit | None = None
        still: list[_Question] = []
        for question in chain(self._open, self._fresh(octets)):
            if best is not None and question.at >= best.end and (likely is None or best.key < likely.key):
                return best
            hit = _ask(question, octets, silent=silent)
            if hit is Sniff.NO:
                continue
            still.append(question)
            if not isinstance(hit, _Hit):
                continue
            if isinstance(hit.caller, Sniffed) and not hit.caller.whole:
                likely = hit if likely is None or hit.key < likely.key else likely
            elif best is None or hit.key < best.key:
                best = hit
        if not silent:
            self._open = still
        return best if best is not None and (silent or likely is None or best.key < likely.key) else None

    def _fresh(self, octets: bytes) -> Iterator[_Question]:
        """What may begin at the offsets that have not been asked for."""
        start, self._seen = self._seen, len(octets)
        for at in range(start, len(octets)):
            octet, first = octets[at], self._polite
            for registration in self._known.by_first[octet]:
                yield _Question(registration, at, first)
            yield _Question(None, at, first)
            for driver in self._drivers:
                yield _Question(driver, at, first)
            self._polite = first and octet in _POLITE


def _ask(question: _Question, octets: bytes, *, silent: bool) -> _Hit | Sniff:
    asked, at, first = question.asked, question.at, question.first
    if asked is None:
        met = strangers.meet(octets, at, silent=silent, first=first)
        return _Hit(question, met.end, met) if isinstance(met, Stranger) else met
    if isinstance(asked, Registration):
        found = asked.match(octets, at, silent=silent, opening=first)
        if isinstance(found, Registered):
            return _Hit(question, at + len(found.octets), found) if first or _is_sure(found) else Sniff.NO
        return Sniff.NO if found is None else Sniff.NEED_DATA
    sniffed = asked.sniff(octets, at, silent=silent)
    if isinstance(sniffed, Sniffed):
        return _Hit(question, sniffed.end, sniffed) if first or sniffed.sure else Sniff.NO
    return sniffed


def _is_sure(found: Registered) -> bool:
    """True for what noise does not look like."""
    return bool(found.check_ok) or (found.check_ok is None and len(found.octets) >= _SURE)


def _registered(said: Registered, rest: bytes, noise: bytes) -> Recognised:
    return Recognised(
        label=said.registration,
        protocol=said.protocol,
        framing=said.framing,
        registered=(said,),
        rest=rest,
        noise=noise,
    )

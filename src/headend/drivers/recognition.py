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
from functools import lru_cache
from itertools import chain
from typing import Final, TypeAlias

from headend.drivers import strangers
from headend.drivers.base import Driver, Sniff, Sniffed
from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.drivers.strangers import Stranger
from headend.protocols.registration import Kind, Policy, Registered, Registration
from headend.protocols.wrapper import HEADER_LENGTH, VERSION

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
_Question: TypeAlias = "tuple[_Asked, int, bool]"
"""Whom to ask, the offset, and whether nothing but what may stand in front of a frame has come before it."""


@dataclass(frozen=True, slots=True)
class _Hit:
    """What was told of the octets from `at` on by those up to `end`; without a caller it is only likely."""

    end: int
    at: int
    asked: _Asked
    caller: Sniffed | Registered | Stranger | None

    @property
    def key(self) -> tuple[int, int, bool]:
        """What counts is told by the fewest octets, began first, and is a protocol."""
        return self.end, self.at, self.asked is None or isinstance(self.asked, Registration)


@lru_cache(maxsize=64)
def _table(known: Known, drivers: tuple[Driver, ...]) -> tuple[tuple[_Asked, ...], ...]:
    """Who is to be asked of what begins with an octet: a No to that octet alone is a No to whatever follows it."""
    table: list[tuple[_Asked, ...]] = []
    for octet in range(0x100):
        first = bytes((octet,))
        asked: list[_Asked] = [driver for driver in drivers if driver.sniff(first) is not Sniff.NO]
        asked += known.by_first[octet]
        table.append((*asked, None) if strangers.meet(first, 0) is not Sniff.NO else tuple(asked))
    return tuple(table)


class Recogniser:
    """Of one connection, until it has said what called."""

    __slots__ = ("_known", "_limit", "_octets", "_open", "_polite", "_seen", "_table")

    def __init__(self, known: Known, drivers: Iterable[Driver], *, limit: int = LIMIT) -> None:
        self._known = known
        self._table = _table(known, tuple(drivers))
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
        login = self._login() if not self._seen else None
        if login is not None:
            return login
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

    def _login(self) -> Recognised | None:
        """What most callers begin with: a login that is whole, in the wrapper, and right. Nothing is told by fewer octets."""
        octets = self._octets
        if octets[:2] == VERSION:
            for registration in self._known.by_first[VERSION[0]]:
                found = registration.match(octets)
                if isinstance(found, Registered) and found.check_ok:
                    return _registered(found, octets[len(found.octets) :], b"")
        return None

    def _unknown(self, reason: str) -> Recognised:
        return Recognised(label=UNKNOWN, rest=self._octets, reason=reason)

    def _alone(self, octets: bytes) -> Registered | None:
        """What octets say that stand alone."""
        said = (each.match_alone(octets) for each in self._known.registrations)
        return next((each for each in said if each is not None), None)

    def _recognised(self, hit: _Hit) -> Recognised:
        caller, at, asked = hit.caller, hit.at, hit.asked
        noise = self._octets[:at]
        if isinstance(caller, Registered):
            return _registered(caller, self._octets[at + len(caller.octets) :], noise)
        if not isinstance(caller, Sniffed) or asked is None or isinstance(asked, Registration):
            name = caller.name if isinstance(caller, Stranger) else ""
            return replace(self._unknown(f"it speaks {name}"), rest=self._octets[at:], noise=noise)
        protocol = asked.name
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
            if best is not None and question[1] >= best.end and (likely is None or best.key < likely.key):
                return best
            hit = _ask(question, octets, silent=silent)
            if hit is Sniff.NO:
                continue
            still.append(question)
            if not isinstance(hit, _Hit):
                continue
            if hit.caller is None:
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
            for asked in self._table[octet]:
                yield asked, at, first
            self._polite = first and octet in _POLITE


def _ask(question: _Question, octets: bytes, *, silent: bool) -> _Hit | Sniff:
    asked, at, first = question
    if asked is None:
        met = strangers.meet(octets, at, silent=silent, first=first)
        return _Hit(met.end, at, asked, met) if isinstance(met, Stranger) else met
    if isinstance(asked, Registration):
        return _ask_registration(asked, at, octets, silent=silent, first=first)
    sniffed = asked.sniff(octets, at, silent=silent)
    if isinstance(sniffed, Sniff):
        return sniffed
    return _Hit(sniffed.end, at, asked, sniffed if sniffed.whole else None) if first or sniffed.sure else Sniff.NO


def _ask_registration(asked: Registration, at: int, octets: bytes, *, silent: bool, first: bool) -> _Hit | Sniff:
    """In the wrapper a login is likely from its control code on."""
    found = asked.match(octets, at, silent=silent, opening=first)
    told = at + HEADER_LENGTH + 1
    wrapped = octets[at] == VERSION[0] and len(octets) >= told
    if isinstance(found, Registered):
        end = told if wrapped else at + len(found.octets)
        return _Hit(end, at, asked, found) if first or _is_sure(found) else Sniff.NO
    if found is None:
        return Sniff.NO
    return _Hit(told, at, asked, None) if wrapped else Sniff.NEED_DATA


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

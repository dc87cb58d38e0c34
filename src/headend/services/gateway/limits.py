"""What the gateway puts up with: how many connections, how fast, for how long, how much noise. Pure.

Everybody on the network may connect. What an address has done is remembered only while it matters, for a bounded number of
addresses, the ones that were quiet longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

ADDRESSES: Final = 10_000
"""Addresses without an open connection that are remembered."""
BURST_SECONDS: Final = 5.0
"""An address may open as many connections at once as in so many seconds of its rate."""
FORGIVEN_SECONDS: Final = 600.0
"""After that long without noise an address begins anew."""
LONGEST_COOLING: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits; times in seconds.

    `per_second` are new connections from one address, `per_meter` is how often a minute a connection of one meter may take
    the place of another. A caller has `first_octet` to say something and, from the beginning, `recognise` to say who it is;
    after `recognise_octets` that make no sense it is cut off. `idle` is the longest silence of a caller whose heartbeats have no
    known period; of others it is `missed` heartbeats. `grace` passes between the loss of a meter's connection and the news that it
    is offline. Unasked octets of one caller are taken at `rate` a second, after a `burst`. `kept` unknown callers stay connected.
    """

    links: int = 12_000
    per_address: int = 10_000
    per_second: float = 2000.0
    per_meter: float = 6.0
    first_octet: float = 30.0
    recognise: float = 60.0
    recognise_octets: int = 4096
    idle: float = 900.0
    missed: int = 3
    grace: float = 120.0
    settle: float = 2.0
    rate: float = 16_384.0
    burst: float = 262_144.0
    max_push: int = 65_536
    noise: int = 131_072
    kept: int = 500
    remembered: int = 2000


class _Address:
    """What one address does."""

    __slots__ = ("at", "cool_until", "links", "strikes", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.links = 0
        self.tokens = tokens
        self.at = now
        self.strikes = 0
        self.cool_until = 0.0


class Addresses:
    """Counts connections by address, and cools down those that send noise. Times are seconds of a monotonic clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[str, _Address] = {}
        self._quiet: OrderedDict[str, _Address] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open) + len(self._quiet)

    def admit(self, host: str, now: float) -> str:
        """Take a new connection: empty, or why it is refused: `cooling`, `per-address`, `per-second`."""
        limits = self._limits
        burst = limits.per_second * BURST_SECONDS
        address = self._open.get(host) or self._quiet.get(host)
        if address is None:
            address = _Address(burst, now)
        if now < address.cool_until:
            return "cooling"
        if address.links >= limits.per_address:
            return "per-address"
        address.tokens = min(burst, address.tokens + (now - address.at) * limits.per_second)
        address.at = now
        if address.tokens < 1.0:
            self._keep(host, address)
            return "per-second"
        address.tokens -= 1.0
        address.links += 1
        self._quiet.pop(host, None)
        self._open[host] = address
        return ""

    def closed(self, host: str) -> None:
        """A connection that was admitted is gone."""
        address = self._open[host]
        address.links -= 1
        if not address.links:
            del self._open[host]
            self._keep(host, address)

    def strike(self, host: str, now: float) -> None:
        """A connection from there made no sense: refuse new ones for a second, twice as long each time."""
        address = self._open.get(host) or self._quiet.get(host)
        if address is None:
            return
        if now > address.cool_until + FORGIVEN_SECONDS:
            address.strikes = 0
        address.strikes += 1
        address.cool_until = now + min(LONGEST_COOLING, 2.0 ** min(address.strikes - 1, 16))

    def _keep(self, host: str, address: _Address) -> None:
        """Remember an address; one with open connections is remembered anyhow."""
        if host in self._open:
            return
        self._quiet[host] = address
        self._quiet.move_to_end(host)
        while len(self._quiet) > ADDRESSES:
            self._quiet.popitem(last=False)


def left_of(left: float, passed: float, octets: int, limits: Limits) -> float:
    """What is left of an allowance of octets after `passed` seconds and `octets`; below 0 the caller is ahead of its time."""
    return min(limits.burst, left + passed * limits.rate) - octets

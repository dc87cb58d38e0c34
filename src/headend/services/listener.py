"""The listener: meters that push without being asked, over links that they open, in datagrams, or on a line that only talks.

Everybody may send here: links per address, octets of a push and silence are bounded. See `intake` for who is believed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from headend.drivers.base import Driver, Push
from headend.drivers.recognition import HeartbeatFilter, Known, Registered
from headend.errors import HeadendError, LinkError, RemoteProtocolError
from headend.services.intake import Intake
from headend.transport.deadline import NEVER, sweeper
from headend.transport.link import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the listener puts up with: links per address, octets of a push, seconds of silence on a link."""

    per_address: int = 16
    octets: int = 65536
    idle: float = 300.0


class Listener:
    """Takes links from whoever opens them; what comes over them goes to the intake."""

    def __init__(
        self,
        driver: Driver,
        intake: Intake,
        limits: Limits | None = None,
        *,
        known: Known | None = None,
        met: Callable[[str, Registered], None] = lambda _source, _said: None,
    ) -> None:
        """With `known` registrations, logins and heartbeats over links are acknowledged, and `met` is told of them."""
        self.known = known
        self.met = met
        self.driver = driver
        self.limits = limits or Limits()
        self.addresses: Counter[str] = Counter()
        """open links by address"""
        self._intake = intake

    def take(self, link: Link) -> None:
        """A link that somebody opened; turned away when its address has too many."""
        self._take(link, datagrams=False)

    def take_datagrams(self, link: Link) -> None:
        """A peer that sends datagrams."""
        self._take(link, datagrams=True)

    def take_line(self, link: Link, lost: Callable[[], None]) -> None:
        """A line that is ours, such as a serial port: it may be silent for as long as it likes."""
        link.set_receiver(Hearing(self, link, link.peer, idle=NEVER, lost=lost))

    def _take(self, link: Link, *, datagrams: bool) -> None:
        host = host_of(link.peer)
        if self.addresses[host] >= self.limits.per_address:
            self.say(host, RemoteProtocolError("too many links at a time", expected=str(self.limits.per_address)))
            link.abort()
            return
        self.addresses[host] += 1
        link.set_receiver(
            Hearing(self, link, host, idle=self.limits.idle, lost=lambda: self._release(host), datagrams=datagrams)
        )

    def _release(self, host: str) -> None:
        self.addresses[host] -= 1
        if not self.addresses[host]:
            del self.addresses[host]

    def say(self, source: str, said: Push | HeadendError) -> None:
        """What came from an address."""
        self._intake.say(source, said, self.driver)


class Hearing:
    """The owner of a link that somebody pushes over."""

    __slots__ = ("_beats", "_datagrams", "_ear", "_idle", "_link", "_listener", "_lost", "_source", "_time", "deadline")

    def __init__(
        self,
        listener: Listener,
        link: Link,
        source: str,
        *,
        idle: float,
        lost: Callable[[], None],
        datagrams: bool = False,
    ) -> None:
        self._listener = listener
        self._link = link
        self._source = source
        self._idle = idle
        self._lost = lost
        self._datagrams = datagrams
        self._ear = listener.driver.listen(listener.limits.octets)
        dials_in = listener.known is not None and idle != NEVER and not datagrams
        self._beats = HeartbeatFilter(listener.known) if listener.known is not None and dials_in else None
        self._time = asyncio.get_running_loop().time
        self.deadline = self._time() + idle
        if idle != NEVER:
            sweeper().add(self)

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        self.deadline = self._time() + self._idle
        if self._beats is not None:
            data, registered = self._beats.feed(data)
            for each in registered:
                if each.acknowledgement:
                    self._link.write(each.acknowledgement)
                self._listener.met(self._source, each)
        for said in self._ear.receive(data):
            self._listener.say(self._source, said)
        if self._datagrams:
            self._ear.boundary()

    def expire(self) -> None:
        """Nothing came for too long."""
        self._link.abort()

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - shape of Receiver
        """The link is gone."""
        sweeper().discard(self)
        self._lost()


def host_of(peer: str) -> str:
    """The address in `192.0.2.7:4059` or `[2001:db8::7]:4059`; other names are their own."""
    host, colon, port = peer.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else peer

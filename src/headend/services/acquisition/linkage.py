"""The link of a lane: opened when a job needs one, or by the meter; its places in networks, and whether it can be had at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headend.errors import HeadendError, NotConnected
from headend.model.meter import Endpoint, EndpointKind
from headend.services.acquisition.access import Access
from headend.services.acquisition.circuit import Circuit
from headend.services.acquisition.networks import Berth, Gate, give_back_links, take_links
from headend.services.acquisition.party import Keeper, PartyLine, Port
from headend.services.acquisition.turns import Priority
from headend.services.roster import MeterState
from headend.transport.link import Link


class Linkage:
    """At most one link to an endpoint."""

    __slots__ = ("_access", "berth", "circuit", "endpoint", "inbound", "line", "wire")

    def __init__(self, access: Access, endpoint: Endpoint, hang_up: Callable[[], None]) -> None:
        """`hang_up` is asked for the link while nobody needs it and others wait for its places."""
        self._access = access
        self.endpoint = endpoint
        self.wire = endpoint.wire
        self.inbound = endpoint.kind is EndpointKind.INBOUND
        """the meter opens it"""
        self.circuit = Circuit(self.wire)
        self.line: PartyLine | None = None
        self.berth = Berth(hang_up)

    @property
    def is_open(self) -> bool:
        """True while there is a link."""
        return self.line is not None and self.line.is_open

    @property
    def reachable(self) -> bool:
        """False while a meter that dials in has no link open."""
        return not self.inbound or self.is_open

    def take(self, link: Link, keeper: Keeper, ready_at: float) -> None:
        """The meter has opened this link: it takes the place of the one that there was before.

        Nothing is asked over it before `ready_at`.
        """
        self.drop()
        self.line = PartyLine(link, keeper, ready_at)
        self._tell(link)

    def drop(self) -> None:
        """Close the link, if there is one."""
        if self.line is not None:
            self.line.drop()

    def listen(self, port: Port | None) -> None:
        """Give the wire to a port."""
        if port is not None and self.line is not None and self.line.active is not port:
            self.line.turn(port)

    async def settle(self, spoilt: PartyLine | None) -> None:
        """Wait until the link may be used; forget one that is closed, or on which an answer may still be under way."""
        if self.line is not None and (early := self.line.ready_at - self._access.time()) > 0:
            await asyncio.sleep(early)
        if self.line is not None and (not self.line.is_open or self.line is spoilt):
            self.line.drop()
            self.line = None

    async def connect(
        self,
        gates: Sequence[Gate],
        deadline: float,
        pause: Callable[[float], Awaitable[None]],
        go_on: Callable[[], None],
    ) -> PartyLine:
        """Open a link as fast as the networks bear it; raises LinkError.

        `pause` waits for the networks' pace; `go_on` raises when nobody wants the link any more.
        """
        if self.inbound:
            raise NotConnected(f"{self.endpoint.host} has not dialled in", hint="it is asked when it connects")
        await take_links(gates, Priority.REQUEST, deadline)
        try:
            now = self._access.time()
            wait = max(self._access.reserve(now), *(gate.pace.reserve(now) for gate in gates if gate.pace), 0.0)
            if wait:
                await pause(wait)
            link = await self._dial()
        except BaseException:
            give_back_links(gates)
            raise
        line = PartyLine(link)
        self.berth.take(gates, line)
        try:
            go_on()
        except HeadendError:
            line.drop()
            raise
        self.line = line
        self._tell(link)
        return line

    def count(self, state: MeterState) -> None:
        """Put the octets since the last count down to a meter."""
        line = self.line
        if line is None:
            return
        link, octets = line.link, self._access.octets
        received, sent = link.octets_in - line.seen_in, link.octets_out - line.seen_out
        line.seen_in += received
        line.seen_out += sent
        state.octets_in += received
        state.octets_out += sent
        octets.received += received
        octets.sent += sent

    async def _dial(self) -> Link:
        """Whether a link can be opened is the matter of the wire's circuit."""
        access, before = self._access, self.circuit.state
        try:
            link = await access.open_link(self.endpoint, access.connect_timeout)
        except HeadendError as error:
            self.circuit.failed(error, access.time(), access.recovery)
            access.teller.moved(self.circuit, before, self.wire, "", access.time())
            raise
        if self.circuit.error is not None:
            self.circuit.succeeded(access.recovery)
            access.teller.moved(self.circuit, before, self.wire, "", access.time())
        return link

    def _tell(self, link: Link) -> None:
        for tell in self._access.opened:
            tell(self.wire, link)

"""One request at a time to one meter, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import LinkTimeout, LocalProtocolError, ProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.requests import Read
from headend.protocols.dlt645.responses import Data, Refusal
from headend.transport.exchange import Exchange

if TYPE_CHECKING:
    from headend.drivers.dlt645.parameters import Parameters
    from headend.protocols.dlt645.frame import Address
    from headend.protocols.dlt645.requests import Request
    from headend.protocols.dlt645.responses import Response
    from headend.standards.dlt645 import Version
    from headend.transport.link import Link

_NOISE_HINT: Final = "{} octets came that are no frame of DL/T 645: check protocol, speed and parity"
_FOREIGN_HINT: Final = "frames from other meters came ({}): check the address"


class Wire(Exchange):
    """An exchange with one meter on a line. What others say there is not taken.

    An address with wildcards gives way to the one that the meter answers with.
    """

    __slots__ = ("_line", "_quiet", "address", "connection", "timeout")

    def __init__(self, link: Link, parameters: Parameters, timeout: float, line: str) -> None:
        """`line` is the character format of a serial port."""
        super().__init__(link)
        self.connection = Dlt645Connection(Role.CLIENT, leader=parameters.leader)
        self.address: Address = parameters.address
        self.timeout = timeout
        self._line = line
        self._quiet = False

    def data_received(self, data: bytes) -> None:
        """Octets came in: complete the waiting request, or ask for what follows."""
        try:
            self.connection.receive_data(data)
            event = self.connection.next_event()
        except ProtocolError as error:
            self.poison(error)
            return
        more = self.connection.data_to_send()
        if more:
            self.deadline = self.asked_until = self._loop.time() + self.timeout
            self.link.write(more)
        if event is not NEED_DATA:
            self.complete(event)

    def expire(self) -> None:
        """The deadline passed. Whether anybody answers was the question now and then."""
        if self._quiet:
            self.connection.abandon()
            self.complete(None)
            return
        dropped, foreign = self.connection.dropped, self.connection.foreign
        hint = _FOREIGN_HINT.format(foreign) if foreign else _NOISE_HINT.format(dropped) if dropped else ""
        self.poison(self.timed_out(hint))

    async def ask(self, request: Request, version: Version) -> Response:
        """The answer of the meter; raises what it says instead, or the link's errors."""
        event = await self._transact(request, version)
        if event is None:
            raise LinkTimeout(f"no answer from {self.link.peer} in time")
        if isinstance(event.response, Refusal):
            raise event.response.to_error(password_sent=getattr(request, "password", None) is not None)
        return event.response

    async def read(self, di: int, version: Version) -> bytes:
        """The data of an identifier, all parts of it."""
        return await self.read_rows(Read(di), version)

    async def read_rows(self, request: Read, version: Version) -> bytes:
        """The same for any read."""
        response = await self.ask(request, version)
        if not isinstance(response, Data):
            raise RemoteProtocolError("the meter answers a read with something else", got=type(response).__name__)
        return response.data

    async def answers(self, request: Request, version: Version) -> Response | None:
        """What a meter says to a read that it may not know; None when it says nothing, which does no harm."""
        self._quiet = True
        try:
            event = await self._transact(request, version)
        finally:
            self._quiet = False
        return None if event is None else event.response

    def announce(self, request: Request, address: Address, version: Version) -> None:
        """Send what nobody answers."""
        self._refuse()
        self.connection.send(RequestTo(address, request, version))
        self.link.write(self.connection.data_to_send())

    async def change_speed(self, baud: int) -> None:
        """Go on at another speed, where the link has one."""
        await self.link.set_line(baud, self._line)

    async def _transact(self, request: Request, version: Version) -> AnswerFrom | None:
        self._refuse()
        self.connection.send(RequestTo(self.address, request, version))
        event: AnswerFrom | None = await self.transact(self.connection.data_to_send(), self.timeout)
        if event is not None and (self.address.has_wildcard or self.address.is_broadcast):
            self.address = event.address
        return event

    def _refuse(self) -> None:
        if self.lost is not None:
            raise self.lost
        if self.waiting:
            raise LocalProtocolError(f"a request to {self.link.peer} is in flight already")

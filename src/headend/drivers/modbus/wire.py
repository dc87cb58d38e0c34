"""One unit's conversation over a link: requests, their answers, their deadlines."""

from __future__ import annotations

from asyncio import Future
from typing import Final

from headend.errors import HeadendError, LocalProtocolError, ProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus.connection import ModbusConnection, PreparedRead, RequestAdu, ResponseAdu
from headend.protocols.modbus.pdu import ExceptionResponse, Request, Response
from headend.protocols.modbus.values import Value
from headend.transport.exchange import Exchange
from headend.transport.link import Link

_NOISE_HINT: Final = "{} octets of noise were received: check baud rate, parity and framing"


class Wire(Exchange):
    """An exchange of Modbus requests. Other units may use the link between our requests: their answers are not taken."""

    __slots__ = ("_read", "connection")

    def __init__(self, link: Link, *, rtu: bool) -> None:
        super().__init__(link)
        self.connection = ModbusConnection(Role.CLIENT, rtu=rtu)
        self._read: PreparedRead | None = None

    def time(self) -> float:
        """Of the event loop, in seconds."""
        return self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Octets came in: complete the waiting request, drop what answers nothing."""
        try:
            if self._read is not None:
                answer: object = self.connection.complete(self._read, data)
            else:
                self.connection.receive_data(data)
                answer = self.connection.next_event()
        except ProtocolError as error:
            self.poison(error)
        except HeadendError as error:
            self.fail(error)
        else:
            if answer is not NEED_DATA:
                self.complete(answer)

    def expire(self) -> None:
        """The deadline passed."""
        noise = self.connection.dropped
        hint = _NOISE_HINT.format(noise) if noise else ""
        self.poison(self.timed_out(hint))

    def read(self, read: PreparedRead, timeout: float) -> Future[tuple[Value, ...]]:
        """Start a prepared read. The Future gives its values, or what the meter, the link or the gateway says."""
        self._refuse_second()
        self._read = read
        return self.transact(self.connection.begin(read), timeout)

    async def ask(self, unit_id: int, request: Request, timeout: float) -> Response:
        """The response to any request; raises what the meter, the link or the gateway says."""
        self._refuse_second()
        self._read = None
        self.connection.send(RequestAdu(unit_id, request))
        event: ResponseAdu = await self.transact(self.connection.data_to_send(), timeout)
        if isinstance(event.response, ExceptionResponse):
            raise event.response.to_error()
        return event.response

    def _refuse_second(self) -> None:
        if self.lost is not None:
            raise self.lost
        if self.waiting:
            raise LocalProtocolError(f"a request to {self.link.peer} is in flight already")

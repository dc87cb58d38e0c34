"""A Modbus conversation, both roles: transaction ids, matching of answers, one request in flight.

The client knows what it asked. A frame of another transaction or unit is never taken as the answer: it is dropped and
counted. In RTU, which has no transaction id, unit, function code and byte count must agree. A late answer to the very
same request cannot be told apart there, so whoever gives up on an RTU request gives up the connection.

`PreparedRead` is the short way for reads that recur: its request octets are made once, and an answer that came in one
piece is compared with the expected header and decoded in place. Everything else (exceptions, fragments, noise) takes
the general way, which gives the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, NeedData, Role
from headend.protocols.modbus.framing import Frame, Framing, MbapFraming, RtuFraming, crc16, encode_mbap, encode_rtu
from headend.protocols.modbus.pdu import (
    ExceptionResponse,
    InvalidRequest,
    ReadRequest,
    ReadResponse,
    Request,
    Response,
    check_answer,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from headend.protocols.modbus.values import Value

BROADCAST: Final = 0


@dataclass(frozen=True, slots=True)
class RequestAdu:
    """A request with its addressing. The client's connection chooses the transaction id itself."""

    unit_id: int
    request: Request | InvalidRequest
    transaction_id: int = 0


@dataclass(frozen=True, slots=True)
class ResponseAdu:
    """A response with its addressing."""

    unit_id: int
    response: Response
    transaction_id: int = 0


Adu: TypeAlias = RequestAdu | ResponseAdu


class Layout(Protocol):
    """Takes the values out of the data of a read response."""

    def decode(self, data: bytes, offset: int = 0) -> tuple[Value, ...]:
        """The values; raises DecodeError."""


class PreparedRead:
    """One read of one unit in one framing: request octets, expected answer header, layout. Immutable, to be shared."""

    __slots__ = ("_head", "_request", "_rtu", "_size", "layout", "request", "unit_id")

    def __init__(self, unit_id: int, request: ReadRequest, layout: Layout, *, rtu: bool) -> None:
        self.unit_id = unit_id
        self.request = request
        self.layout = layout
        self._rtu = rtu
        frame = Frame(unit_id, encode_request(request))
        self._request = encode_rtu(frame) if rtu else encode_mbap(frame)[2:]
        head = bytes((unit_id, request.function, request.byte_count & 0xFF))
        self._head = head if rtu else b"\0\0" + (request.byte_count + 3).to_bytes(2, "big") + head
        self._size = request.byte_count + (5 if rtu else 9)

    def octets(self, transaction_id: int) -> bytes:
        """The request; RTU ignores the transaction id."""
        return self._request if self._rtu else transaction_id.to_bytes(2, "big") + self._request

    def data_offset(self, answer: bytes, transaction_id: int) -> int:
        """Where the data begins in a complete and intact answer to this read; 0 for anything else."""
        if len(answer) != self._size:
            return 0
        if self._rtu:
            return 3 if answer.startswith(self._head) and crc16(answer) == 0 else 0
        return 9 if answer.startswith(transaction_id.to_bytes(2, "big") + self._head) else 0


class ModbusConnection:
    """One conversation over MBAP or RTU."""

    __slots__ = ("_expected", "_framing", "_out", "_transaction_id", "role", "rtu", "unmatched")

    def __init__(self, role: Role, *, rtu: bool) -> None:
        self.role = role
        self.rtu = rtu
        self.unmatched = 0
        self._framing: Framing = RtuFraming(role) if rtu else MbapFraming()
        self._out = bytearray()
        self._transaction_id = 0
        self._expected: tuple[int, Request] | None = None

    @property
    def is_waiting(self) -> bool:
        """Client: a request is in flight."""
        return self._expected is not None

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""
        return self._framing.pending

    @property
    def dropped(self) -> int:
        """Octets dropped as noise since the beginning."""
        return self._framing.dropped

    def send(self, event: Adu) -> None:
        """Queue a request (client) or a response (server); raises LocalProtocolError."""
        if not 0 <= event.unit_id <= 0xFF:
            raise LocalProtocolError(f"unit id {event.unit_id} is not in 0 to 255")
        if isinstance(event, RequestAdu) and self.role is Role.CLIENT and not isinstance(event.request, InvalidRequest):
            pdu = encode_request(event.request)
            self._out += self._framing.encode(Frame(event.unit_id, pdu, self._begin(event.unit_id, event.request)))
        elif isinstance(event, ResponseAdu) and self.role is Role.SERVER:
            pdu = encode_response(event.response)
            self._out += self._framing.encode(Frame(event.unit_id, pdu, event.transaction_id))
        else:
            raise LocalProtocolError(f"the {self.role.value} does not send {type(event).__name__}")

    def _begin(self, unit_id: int, request: Request) -> int:
        """Take the next transaction id for a request. Nothing answers a broadcast in RTU."""
        if self._expected is not None:
            raise LocalProtocolError("a request is in flight already")
        self._transaction_id = self._transaction_id % 0xFFFF + 1
        if unit_id != BROADCAST or not self.rtu:
            self._expected = (unit_id, request)
        return self._transaction_id

    def abandon(self) -> None:
        """Give up the request in flight; its late answer will not be taken (see above for RTU)."""
        self._expected = None
        if self.rtu:
            self._framing.clear()

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when they overflow the bounded buffer."""
        self._framing.receive_data(data)

    def next_event(self) -> Adu | NeedData:
        """The next ADU of the other side, or NEED_DATA.

        Raises RemoteProtocolError for octets that can never be valid, or (client) for an answer to our request that is
        none; the request is over then.
        """
        return self._next_request() if self.role is Role.SERVER else self._next_answer()

    def _next_request(self) -> RequestAdu | NeedData:
        frame = self._framing.next_frame()
        if isinstance(frame, NeedData):
            return NEED_DATA
        return RequestAdu(frame.unit_id, decode_request(frame.pdu), frame.transaction_id)

    def _next_answer(self) -> ResponseAdu | NeedData:
        while True:
            waits_for = self._expected
            frame = self._framing.next_frame((waits_for[0], waits_for[1].function) if waits_for else None)
            if isinstance(frame, NeedData):
                return NEED_DATA
            if waits_for is None or not self._answers(frame, waits_for):
                self.unmatched += 1
                continue
            self._expected = None
            response = decode_response(frame.pdu)
            check_answer(waits_for[1], response)
            return ResponseAdu(frame.unit_id, response, frame.transaction_id)

    def _answers(self, frame: Frame, waits_for: tuple[int, Request]) -> bool:
        unit_id, request = waits_for
        if self.rtu:
            if isinstance(request, ReadRequest) and frame.pdu[0] == request.function:
                return len(frame.pdu) == request.byte_count + 2
            return True
        return frame.transaction_id == self._transaction_id and frame.unit_id == unit_id

    def begin(self, read: PreparedRead) -> bytes:
        """Start a prepared read: the octets to write."""
        return read.octets(self._begin(read.unit_id, read.request))

    def complete(self, read: PreparedRead, data: bytes) -> tuple[Value, ...] | NeedData:
        """Received octets to the values of the prepared read, or NEED_DATA.

        Raises the exception of the meter as an error of our tree, RemoteProtocolError for a broken answer.
        """
        if not self._framing.pending and self._expected is not None:
            offset = read.data_offset(data, self._transaction_id)
            if offset:
                self._expected = None
                return read.layout.decode(data, offset)
        self.receive_data(data)
        event = self._next_answer()
        if isinstance(event, NeedData):
            return NEED_DATA
        if isinstance(event.response, ExceptionResponse):
            raise event.response.to_error()
        assert isinstance(event.response, ReadResponse)  # noqa: S101 - check_answer has compared the functions
        return read.layout.decode(event.response.data)

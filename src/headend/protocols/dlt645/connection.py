"""A conversation in DL/T 645, both roles and both versions: matching of answers, long answers, one request in flight.

The head-end knows what it asked. An answer is taken when address, function and data identifier (of a part: its sequence number)
are those of the request; asked with wildcards, any address that fits, and the event tells which. What else arrives is dropped
and counted: `late` from the meter that was asked last, `foreign` from others, and requests on a line that we share or
that echoes. A refusal names no data identifier, and a confirmation names nothing: whoever gives up on a request that is no read
gives up the connection too, or may take a late answer for that of the next request of the same kind.

A long answer is asked for part by part, and comes as one event: `data_to_send` is flushed after each `next_event`, therefore. The
meter's side hands out the parts by itself.

The version belongs to a request, not to the connection: meters of both may share a line, and their function codes differ.
"""

from __future__ import annotations

from typing import Final

from headend.errors import DecodeError, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, NeedData, Role
from headend.protocols.dlt645.events import AnswerFrom, Event, RequestTo
from headend.protocols.dlt645.fields import DI_SIZE
from headend.protocols.dlt645.following import Assembly, Handout
from headend.protocols.dlt645.formats import Value
from headend.protocols.dlt645.frame import (
    FROM_METER,
    FUNCTION,
    MAX_DATA,
    REFUSED,
    Frame,
    FrameExtractor,
    encode_frame,
)
from headend.protocols.dlt645.messages import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    function_code,
    version_of,
)
from headend.protocols.dlt645.prepared import PreparedRead
from headend.protocols.dlt645.requests import (
    Authenticate,
    ClearDemand,
    Freeze,
    InvalidRequest,
    Read,
    ReadAddress,
    ReadFollowing,
    Request,
    ReRead,
    SetTime,
    WriteAddress,
)
from headend.protocols.dlt645.responses import Data, Refusal
from headend.protocols.dlt645.state import Message, State, step

_ROOM: Final = MAX_DATA - 5


_PARTS: Final = (Read, ReadFollowing, ReRead)
_NAMED: Final = (*_PARTS, Authenticate)
"""Requests that name what they want, as their answers do."""

_UNANSWERED: Final = (SetTime, Freeze, ClearDemand)
"""Requests that may go to everybody without an answer."""


class Dlt645Connection:
    """The conversation on one line: with one meter or, one after the other, with all that share it."""

    __slots__ = (
        "_asked",
        "_assembly",
        "_expected",
        "_extractor",
        "_handout",
        "_leader",
        "_out",
        "_room",
        "foreign",
        "late",
        "role",
        "state",
    )

    def __init__(self, role: Role, *, leader: int = 4, room: int = _ROOM) -> None:
        """`leader` octets FE go before each frame; a meter's long answer has `room` octets of data in each of its frames."""
        if not 0 < room <= _ROOM:
            raise LocalProtocolError(f"{room} octets of data in a frame are not in 1 to {_ROOM}")
        self.role = role
        self.state = State.IDLE
        self.late = 0
        self.foreign = 0
        self._leader = leader
        self._room = room
        self._extractor = FrameExtractor()
        self._out = bytearray()
        self._asked: RequestTo | None = None
        """what was asked last; of a long answer, the part"""
        self._expected = (0, b"")
        """client: function code of the answer, and what its data begin with"""
        self._assembly: Assembly | None = None
        self._handout: Handout | None = None

    @property
    def is_waiting(self) -> bool:
        """A request is in flight: its answer is awaited (client), or owed (server)."""
        return self.state is State.REQUESTED

    @property
    def pending(self) -> int:
        """Octets received and not yet consumed."""
        return self._extractor.pending

    @property
    def dropped(self) -> int:
        """Octets dropped as noise since the beginning."""
        return self._extractor.dropped

    def send(self, event: Event) -> None:
        """Queue a request (client) or an answer (server).

        Raises LocalProtocolError when the state forbids it (a request is in flight; nobody has asked) or it cannot be sent,
        CapabilityError when the version has no such request. Nothing is queued then.
        """
        if isinstance(event, RequestTo) and self.role is Role.CLIENT and not isinstance(event.request, InvalidRequest):
            self._ask(event, event.request)
            self._assembly = Assembly(event.request, event.version) if isinstance(event.request, Read) else None
        elif isinstance(event, AnswerFrom) and self.role is Role.SERVER:
            self._answer(event)
        else:
            raise LocalProtocolError(f"the {self.role.value} does not send {type(event).__name__}")

    def abandon(self) -> None:
        """No answer comes (client), or none is given (server: the meter that was asked is not here). The request is over."""
        self._step(Message.SILENCE)

    def repeat(self) -> None:
        """Client: ask once more for the answer that does not come; of a long one, for the part that is missing.

        Raises LocalProtocolError when no request is in flight, and for requests that are no reads: they may have been heard.
        """
        asked = self._asked
        request = asked.request if asked is not None and self.is_waiting else None
        if asked is None or not isinstance(request, Read | ReadFollowing | ReRead | ReadAddress):
            raise LocalProtocolError("only a read that is in flight is asked for again")
        if self._assembly is not None and not isinstance(request, ReadAddress):
            request = self._assembly.repeated(request)
        self._step(Message.SILENCE)
        self._ask(RequestTo(asked.address, request, asked.version), request)

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when they overflow the bounded buffer."""
        self._extractor.receive_data(data)

    def next_event(self) -> Event | NeedData:
        """The next `AnswerFrom` (client) or `RequestTo` (server), or NEED_DATA.

        A server gets an `InvalidRequest` for what it must refuse. A client gets RemoteProtocolError (DecodeError for wrong data)
        when the answer to its request is none; the request is over then.
        """
        while not isinstance(frame := self._extractor.next_frame(), NeedData):
            event = self._requested(frame) if self.role is Role.SERVER else self._answered(frame)
            if event is not None:
                return event
        return NEED_DATA

    def begin(self, read: PreparedRead) -> bytes:
        """Client: start a prepared read; returns the octets to write. Raises LocalProtocolError as `send` does."""
        self._step(Message.REQUEST)
        self._asked = read.asked
        self._expected = read.expected
        self._assembly = Assembly(read.request, read.version)
        return read.octets

    def complete(self, read: PreparedRead, data: bytes) -> tuple[Value, ...] | NeedData:
        """Client: received octets to the values of the prepared read, or NEED_DATA; flush `data_to_send` then.

        Raises the meter's refusal as an error of our tree, RemoteProtocolError for a broken answer.
        """
        if not self._extractor.pending and self.state is State.REQUESTED and self._asked is read.asked:
            content = read.data_of(data)
            if content is not None:
                self._step(Message.ANSWER)
                return read.layout.decode(content)
        self.receive_data(data)
        event = self.next_event()
        if not isinstance(event, AnswerFrom):
            return NEED_DATA
        if isinstance(event.response, Refusal):
            raise event.response.to_error()
        assert isinstance(event.response, Data)  # noqa: S101 - decode_response goes by the function, which was compared
        return read.layout.decode(event.response.data)

    def _step(self, message: Message) -> None:
        state = step(self.state, message)
        if state is None:
            raise LocalProtocolError(f"no {message.value} while the conversation is {self.state.value}")
        self.state = state

    # the head-end's side

    def _ask(self, asked: RequestTo, request: Request) -> None:
        """Put one request into octets, and know its answer."""
        control, data = encode_request(request, asked.version)
        octets = encode_frame(Frame(asked.address, control, data), leader=self._leader)
        if not asked.is_answered and not isinstance(request, _UNANSWERED):
            raise LocalProtocolError(f"nobody answers a {type(request).__name__} that goes to everybody")
        self._step(asked.message)
        named = isinstance(request, _NAMED)
        self._expected = (control, data[: DI_SIZE[asked.version]] if named else b"")
        self._asked = asked
        self._out += octets

    def _answered(self, frame: Frame) -> AnswerFrom | None:
        asked = self._asked
        if asked is None or not frame.control & FROM_METER or not asked.address.matches(frame.address):
            self.foreign += 1
            return None
        if not self.is_waiting or not self._is_expected(frame, asked):
            self.late += 1
            return None
        try:
            return self._take(frame, asked)
        except RemoteProtocolError:
            self._step(Message.SILENCE)
            raise

    def _is_expected(self, frame: Frame, asked: RequestTo) -> bool:
        function, begins_with = self._expected
        if frame.control & FUNCTION != function:
            return False
        if frame.control & REFUSED:
            return True
        if isinstance(asked.request, ReadFollowing) and asked.request.sequence and frame.data:
            expected = asked.request.sequence
            if expected > 1 and frame.data[-1] == expected - 1:  # an answer to what was asked twice
                return False
        return frame.data.startswith(begins_with[: len(frame.data)])

    def _take(self, frame: Frame, asked: RequestTo) -> AnswerFrom | None:
        """The event of an answer that is expected; None when more of it must come."""
        response = decode_response(frame.control, frame.data, asked.version)
        if isinstance(response, Refusal):
            self._step(Message.REFUSAL)
            return AnswerFrom(frame.address, response)
        self._step(Message.PART if isinstance(response, Data) and response.more else Message.ANSWER)
        if isinstance(response, Data) and self._assembly is not None and isinstance(asked.request, _PARTS):
            whole = self._assembly.add(response, asked.request)
            if not isinstance(whole, Data):
                self._ask(RequestTo(frame.address, whole, asked.version), whole)
                return None
            response = whole
        return AnswerFrom(frame.address, response)

    # the meter's side

    def _requested(self, frame: Frame) -> RequestTo | None:
        if frame.control & FROM_METER:
            self.foreign += 1
            return None
        version = version_of(frame.control, len(frame.data))
        request: Request | InvalidRequest
        try:
            request = decode_request(frame.control, frame.data, version)
        except DecodeError as error:
            request = InvalidRequest(frame.control & FUNCTION, frame.data, str(error))
        asked = RequestTo(frame.address, request, version)
        if self.is_waiting:  # the head-end has given up on the one before
            self._step(Message.SILENCE)
        self._step(asked.message)
        self._asked = asked
        if isinstance(request, (ReadFollowing, ReRead)) and self._handout is not None:
            part = self._handout.answer(asked.address, request)
            if part is not None:
                self._reply(asked, AnswerFrom(self._handout.address, part))
                return None
        return asked

    def _answer(self, answer: AnswerFrom) -> None:
        asked = self._asked
        if asked is None or not self.is_waiting:
            raise LocalProtocolError("nobody waits for an answer")
        own = answer.address
        if own.has_wildcard or not (asked.address.matches(own) or isinstance(asked.request, WriteAddress)):
            raise LocalProtocolError(f"{own} does not answer for {asked.address}")
        request, response = asked.request, answer.response
        if isinstance(request, Read) and isinstance(response, Data):
            if response.di != request.di:
                raise LocalProtocolError(f"data of {response.di:08X} do not answer {request.di:08X}")
            handout = Handout.split(own, response, self._room)
            answer = AnswerFrom(own, handout.first)
            self._handout = handout
        self._reply(asked, answer)

    def _reply(self, asked: RequestTo, answer: AnswerFrom) -> None:
        """Put one answer into octets."""
        response = answer.response
        control, data = encode_response(response, function_code(asked.request, asked.version), asked.version)
        octets = encode_frame(Frame(answer.address, control, data), leader=self._leader)
        if isinstance(response, Refusal):
            self._step(Message.REFUSAL)
        else:
            self._step(Message.PART if isinstance(response, Data) and response.more else Message.ANSWER)
        self._out += octets

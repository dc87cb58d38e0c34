"""The meter's side: virtual meters on a link, told apart by their addresses."""

from __future__ import annotations

from operator import and_
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.meter import deeds
from headend.drivers.dlt645.meter.image import Face, Refused
from headend.drivers.dlt645.meter.load import load_records
from headend.drivers.dlt645.meter.memory import memory_of
from headend.errors import LinkError, RemoteProtocolError
from headend.protocols.base import NeedData, Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.frame import ANYBODY, MAX_DATA, Frame, encode_frame
from headend.protocols.dlt645.messages import encode_response, function_code
from headend.protocols.dlt645.requests import (
    ChangeBaudRate,
    ChangePassword,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Control,
    Freeze,
    InvalidRequest,
    Read,
    ReadAddress,
    Request,
    SetOutput,
    SetTime,
    Write,
    WriteAddress,
)
from headend.protocols.dlt645.responses import Confirmation, Data, ErrorBit, MeterAddress, Refusal, Response
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.base import MeterModel
    from headend.transport.link import Link


def respond(model: MeterModel, request: Request, version: Version) -> Response:
    """A meter's answer to one request."""
    face = Face(model)
    try:
        match request:
            case Read(di, count, _):
                if di >> 24 == 6 and version is Version.V2007:
                    return Data(di, load_records(face, request))
                if count is not None:
                    return Refusal(ErrorBit.OTHER)
                return Data(di, face.read(di, version))
            case ReadAddress():
                return MeterAddress(face.memory.address)
            case _:
                return Confirmation(_do(face, request, version))
    except Refused as refused:
        return Refusal(refused.error)


def _do(face: Face, request: Request, version: Version) -> bytes:
    """Do what is told, and return what the confirmation holds; raises Refused."""
    memory = face.memory
    match request:
        case Write():
            deeds.write(face, request, version)
        case WriteAddress(address):
            memory.address = address
        case SetTime():
            deeds.set_time(face, request)
        case Freeze():
            deeds.freeze(face, request)
        case ChangePassword():
            deeds.change_password(face, request)
            return request.new.to_octets()
        case ClearDemand():
            deeds.clear_demand(face, request, version)
        case ClearMeter():
            deeds.clear_meter(face, request)
        case ClearEvents():
            deeds.clear_events(face, request)
        case Control():
            deeds.control(face, request)
        case ChangeBaudRate(rate):
            memory.baud = rate
            return request.to_octets(version)
        case SetOutput(signal):
            memory.output = signal
            return request.to_octets(version)
        case _:
            raise Refused(ErrorBit.OTHER)
    return b""


class VirtualMeters:
    """The owner of a link in the meter role: one meter, or several on one line."""

    __slots__ = ("_connection", "_link", "_models")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._models: list[MeterModel] = []
        self._connection = Dlt645Connection(Role.SERVER)

    def add(self, model: MeterModel) -> None:
        """One more meter on the line."""
        self._models.append(model)

    def data_received(self, data: bytes) -> None:
        """Octets came in: answer the requests in them."""
        connection = self._connection
        try:
            connection.receive_data(data)
            while not isinstance(event := connection.next_event(), NeedData):
                if isinstance(event, RequestTo):
                    self._respond(event)
                self._flush()
            self._flush()
        except RemoteProtocolError:
            self._link.abort()

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - shape of Receiver
        """The link is gone."""
        _served.pop(self._link, None)

    def _flush(self) -> None:
        octets = self._connection.data_to_send()
        if octets:
            self._link.write(octets)

    def _respond(self, asked: RequestTo) -> None:
        meant = [model for model in self._models if self._is_meant(model, asked)]
        if not asked.is_answered:
            if isinstance(asked.request, SetTime | Freeze | ClearDemand):
                for model in meant:
                    respond(model, asked.request, asked.version)
            return
        if len(meant) != 1 and not isinstance(asked.request, Read | ReadAddress):
            self._connection.abandon()  # nothing is done that could be done to the wrong one
            return
        answers = [_answer(model, asked) for model in meant]
        if len(answers) == 1:
            self._connection.send(answers[0])
            return
        self._connection.abandon()
        if answers:
            self._link.write(_at_once(asked, answers))

    def _is_meant(self, model: MeterModel, asked: RequestTo) -> bool:
        """By its address and its version; what concerns addresses goes to anybody alone."""
        memory = memory_of(model)
        if asked.version is not memory.version and not isinstance(asked.request, SetTime):
            return False
        if isinstance(asked.request, ReadAddress | WriteAddress) and asked.version is Version.V2007:
            return asked.address == ANYBODY
        return asked.address.matches(memory.address)


def _answer(model: MeterModel, asked: RequestTo) -> AnswerFrom:
    """What a meter says to a request that is meant for it."""
    if isinstance(asked.request, InvalidRequest):
        response: Response = Refusal(ErrorBit.OTHER)
    else:
        response = respond(model, asked.request, asked.version)
    return AnswerFrom(memory_of(model).address, response)  # which may be another one now


def _at_once(asked: RequestTo, answers: Sequence[AnswerFrom]) -> bytes:
    """What is on the line while several talk: it is down where one of them pulls it down."""
    function = function_code(asked.request, asked.version)
    heard = b"\xff" * (MAX_DATA + 16)
    for answer in answers:
        control, data = encode_response(answer.response, function, asked.version)
        frame = encode_frame(Frame(answer.address, control, data[:MAX_DATA]))
        heard = bytes(map(and_, heard, frame.ljust(len(heard), b"\xff")))
    return heard.rstrip(b"\xff")


_served: Final[dict[Link, VirtualMeters]] = {}


def serve(link: Link, model: MeterModel) -> None:
    """Play a meter on a link; called again for the same link, one more meter on the line."""
    meters = _served.get(link)
    if meters is None:
        meters = _served[link] = VirtualMeters(link)
        link.set_receiver(meters)
    meters.add(model)

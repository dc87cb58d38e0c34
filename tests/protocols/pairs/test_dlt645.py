"""Head-end and meters of DL/T 645 on one line: whatever is said, and however the octets travel, the other one hears it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, Event, RequestTo
from headend.protocols.dlt645.fields import Password
from headend.protocols.dlt645.frame import ANYBODY, BROADCAST, Address
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.requests import (
    Authenticate,
    ChangeBaudRate,
    ChangePassword,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Control,
    Freeze,
    Read,
    ReadAddress,
    ReadFollowing,
    Request,
    ReRead,
    SetOutput,
    SetTime,
    Write,
    WriteAddress,
)
from headend.protocols.dlt645.responses import Confirmation, Data, MeterAddress, Refusal, Response
from headend.protocols.dlt645.state import State
from headend.standards.dlt645 import Version

V2007, V1997 = Version.V2007, Version.V1997
METER, NEIGHBOUR = Address.parse("230405060708"), Address.parse("1")
SECRET, OTHER_SECRET = Password.parse("123456", 2), Password.parse("654321", 2)
WHEN = Moment(2024, 2, 29, None, 23, 59, 58)


@dataclasses.dataclass
class Line:
    """Both ends, and how many octets travel at once: 0 for whatever there is."""

    chunk: int = 0
    client: Dlt645Connection = dataclasses.field(default_factory=lambda: Dlt645Connection(Role.CLIENT))
    server: Dlt645Connection = dataclasses.field(
        default_factory=lambda: Dlt645Connection(Role.SERVER, leader=1, room=20)
    )
    echo: bool = False
    """the client hears itself, as behind some converters"""

    def carry(self, sender: Dlt645Connection, receiver: Dlt645Connection) -> Iterator[Event]:
        """Hand over what one end has to send: what the other end makes of it."""
        octets = sender.data_to_send()
        if self.echo and sender is self.client:
            sender.receive_data(octets)
            assert sender.next_event() is NEED_DATA
        for at in range(0, len(octets), self.chunk or len(octets) or 1):
            receiver.receive_data(octets[at : at + (self.chunk or len(octets))])
            while (event := receiver.next_event()) is not NEED_DATA:
                yield event

    def ask(self, asked: RequestTo) -> list[Event]:
        """The client sends: what the server gets."""
        self.client.send(asked)
        return list(self.carry(self.client, self.server))

    def answer(self, answer: AnswerFrom) -> list[Event]:
        """The server sends, and both go on until nobody has anything to say: what the client gets."""
        self.server.send(answer)
        events: list[Event] = []
        for _ in range(1000):
            events += self.carry(self.server, self.client)
            if not self.client.is_waiting:
                return events
            assert list(self.carry(self.client, self.server)) == []
        raise AssertionError("they go on for ever")


EXCHANGES: list[tuple[RequestTo, AnswerFrom]] = [
    (RequestTo(METER, Read(0x00010000)), AnswerFrom(METER, Data(0x00010000, b"\1\2\3\4"))),
    (RequestTo(ANYBODY, Read(0x00010000)), AnswerFrom(METER, Data(0x00010000, b"\1\2\3\4"))),
    (
        RequestTo(METER, Read(0x06010000, 3, Moment(2024, 2, 29, None, 23, 59))),
        AnswerFrom(METER, Data(0x06010000, bytes(range(190)))),
    ),
    (RequestTo(METER, Read(0x9010), V1997), AnswerFrom(METER, Data(0x9010, b"\1\2\3\4"))),
    (RequestTo(BROADCAST, Read(0x901F), V1997), AnswerFrom(METER, Data(0x901F, bytes(range(100))))),
    (RequestTo(METER, ReRead(0x9010), V1997), AnswerFrom(METER, Data(0x9010, b"\1"))),
    (RequestTo(METER, ReadFollowing(0x0001FF00, 7)), AnswerFrom(METER, Data(0x0001FF00, b"\1", more=True, sequence=7))),
    (RequestTo(ANYBODY, ReadAddress()), AnswerFrom(METER, MeterAddress(METER))),
    (RequestTo(METER, Write(0x04000101, b"\1\2\3\4", SECRET)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, Write(0xC010, b"\1\2\3\4"), V1997), AnswerFrom(METER, Confirmation())),
    (RequestTo(ANYBODY, WriteAddress(NEIGHBOUR)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, WriteAddress(NEIGHBOUR)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, Freeze(Moment(hour=0, minute=0))), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, ChangeBaudRate(9600)), AnswerFrom(METER, Confirmation(b"\x20"))),
    (RequestTo(METER, ChangePassword(SECRET, OTHER_SECRET, 0x04000C02)), AnswerFrom(METER, Confirmation(b"\2\1\2\3"))),
    (RequestTo(METER, ChangePassword(SECRET, OTHER_SECRET), V1997), AnswerFrom(METER, Confirmation(b"\2\1\2\3"))),
    (RequestTo(METER, ClearDemand(SECRET)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, ClearDemand(), V1997), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, ClearMeter(SECRET)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, ClearEvents(SECRET)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, Control(SECRET, 0x1A, WHEN)), AnswerFrom(METER, Confirmation())),
    (RequestTo(METER, SetOutput(1)), AnswerFrom(METER, Confirmation(b"\1"))),
    (RequestTo(METER, Authenticate(0x070000FF, data=b"\1\2")), AnswerFrom(METER, Data(0x070000FF, b"\3\4"))),
]


@pytest.mark.parametrize("chunk", [0, 1, 7])
@pytest.mark.parametrize(("asked", "answer"), EXCHANGES)
def test_every_exchange(asked: RequestTo, answer: AnswerFrom, chunk: int) -> None:
    line = Line(chunk)
    assert line.ask(asked) == [asked]
    assert line.answer(answer) == [answer]
    assert line.ask(asked) == [asked]
    refusal = AnswerFrom(METER, Refusal(4))
    assert line.answer(refusal) == [refusal]
    more = isinstance(answer.response, Data) and answer.response.more
    assert line.server.state is State.IDLE
    assert (line.client.late, line.client.foreign, line.client.dropped) == (0, 0, 0)
    assert more is isinstance(asked.request, ReadFollowing)


@pytest.mark.parametrize(
    "asked",
    [
        RequestTo(BROADCAST, SetTime(WHEN)),
        RequestTo(METER, SetTime(WHEN)),
        RequestTo(BROADCAST, Freeze()),
        RequestTo(BROADCAST, ClearDemand(), V1997),
    ],
)
def test_what_nobody_answers(asked: RequestTo) -> None:
    line = Line()
    for _ in range(2):
        assert line.ask(asked) == [asked]
        assert not line.client.is_waiting
        assert not line.server.is_waiting


requests: st.SearchStrategy[tuple[Request, Version]] = st.one_of(
    st.tuples(st.builds(Read, st.integers(0, 0xFFFFFFFF)), st.just(V2007)),
    st.tuples(st.builds(Read, st.integers(0, 0xFFFF)), st.just(V1997)),
)


@given(requests, st.binary(max_size=2000), st.integers(1, 195), st.integers(0, 300), st.booleans())
def test_any_answer_arrives_in_one_piece(
    asked: tuple[Request, Version], data: bytes, room: int, chunk: int, echo: bool
) -> None:
    request, version = asked
    assert isinstance(request, Read)
    if len(data) > 250 * room:
        data = data[: 250 * room]
    line = Line(chunk, server=Dlt645Connection(Role.SERVER, room=room), echo=echo)
    assert line.ask(RequestTo(METER, request, version)) == [RequestTo(METER, request, version)]
    answer = AnswerFrom(METER, Data(request.di, data))
    assert line.answer(answer) == [answer]


@given(
    st.sampled_from([V2007, V1997]),
    st.binary(min_size=1, max_size=100),
    st.integers(1, 20),
    st.lists(st.sampled_from(["through", "request lost", "answer lost", "answer twice"]), max_size=30),
)
def test_a_long_answer_survives_losses(version: Version, data: bytes, room: int, fates: list[str]) -> None:
    """The head-end asks again for what does not come, until it has all and nothing else."""
    client, server = Dlt645Connection(Role.CLIENT), Dlt645Connection(Role.SERVER, room=room)
    request = Read(0x901F)
    client.send(RequestTo(METER, request, version))
    again = iter(fates)
    for _ in range(2000):
        octets = client.data_to_send()
        fate = next(again, "through")
        if fate != "request lost":
            server.receive_data(octets)
            if isinstance(server.next_event(), RequestTo):
                server.send(AnswerFrom(METER, Data(request.di, data)))
            answer = server.data_to_send()
            if fate != "answer lost":
                client.receive_data(answer)
        event = client.next_event()
        if isinstance(event, AnswerFrom):
            assert event == AnswerFrom(METER, Data(request.di, data))
            return
        if fate == "answer twice" and version is V2007:
            client.receive_data(answer)
            assert client.next_event() is NEED_DATA
        if fate.endswith("lost"):
            client.repeat()
    raise AssertionError("no end")


def test_meters_share_a_line() -> None:
    """Each hears all; who is not meant keeps silent, and takes no answer of another for a request."""
    client = Dlt645Connection(Role.CLIENT)
    meters = {address: Dlt645Connection(Role.SERVER) for address in (METER, NEIGHBOUR)}
    for target in (METER, NEIGHBOUR, METER):
        asked = RequestTo(target, Read(0x02010100))
        client.send(asked)
        octets = client.data_to_send()
        for address, meter in meters.items():
            meter.receive_data(octets)
            assert meter.next_event() == asked
            if not asked.address.matches(address):
                meter.abandon()
                continue
            response: Response = Data(0x02010100, b"\x00\x23")
            meter.send(AnswerFrom(address, response))
        answer = meters[target].data_to_send()
        for meter in meters.values():
            if meter is not meters[target]:
                meter.receive_data(answer)
                assert meter.next_event() is NEED_DATA
        client.receive_data(answer)
        assert client.next_event() == AnswerFrom(target, response)
    assert sum(meter.foreign for meter in meters.values()) == 3

"""Whatever comes in whatever order, from the peer and from our own side: what a connection promises still holds."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits, State
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame

CLIENT, METER = Address.client(0x10), Address.server(1, 17)
LIMITS = Limits(max_information_transmit=32, max_information_receive=32, window_transmit=3, window_receive=3)
STATES = {Role.CLIENT: set(State), Role.SERVER: {State.DISCONNECTED, State.CONNECTED}}
COMMANDS = {Kind.SNRM, Kind.DISC}
RESPONSES = {Kind.UA, Kind.DM, Kind.FRMR}

FRAMES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(Kind),
        "final": st.booleans(),
        "send_sequence": st.integers(0, 7),
        "receive_sequence": st.integers(0, 7),
        "segmented": st.booleans(),
        "information": st.one_of(
            st.just(b""), st.binary(max_size=40), st.binary(max_size=40).map(lambda apdu: b"\xe6\xe6\x00" + apdu)
        ),
    }
)
INPUTS = st.one_of(
    st.tuples(st.just("frame"), FRAMES),
    st.tuples(st.just("next"), FRAMES),  # with the numbers that are due, so that something comes of it
    st.tuples(st.just("damaged"), FRAMES, st.integers(0, 400)),
    st.tuples(st.just("octets"), st.binary(max_size=30)),
    st.tuples(st.sampled_from(["open", "close", "retransmit", "pass_turn", "data_to_send"])),
    st.tuples(st.sampled_from(["send_apdu", "send_unsolicited"]), st.binary(min_size=1, max_size=100)),
)


class Owner:
    """Does what is said with a connection, and holds it to its promises."""

    def __init__(self, role: Role) -> None:
        self.connection = HdlcConnection(role, client=CLIENT, server=METER, limits=LIMITS)
        self.role = role
        self.ends = (CLIENT, METER) if role is Role.CLIENT else (METER, CLIENT)
        self.opened = False

    def frame(self, fields: dict[str, Any]) -> bytes:
        numbered = fields["kind"] in (Kind.I, Kind.RR, Kind.RNR)
        fields = dict(fields)
        if fields["kind"] is not Kind.I:
            fields["send_sequence"] = 0
        if not numbered:
            fields["receive_sequence"] = 0
        return encode_frame(Frame(destination=self.ends[0], source=self.ends[1], **fields))

    def do(self, what: str, *with_: Any) -> None:
        connection = self.connection
        if what in ("frame", "next", "damaged"):
            fields = dict(with_[0])
            if what == "next":
                window = connection._window
                fields |= {"send_sequence": window.receive_next, "receive_sequence": window.send_next}
            data = bytearray(self.frame(fields))
            if what == "damaged":
                data[with_[1] // 8 % len(data)] ^= 1 << with_[1] % 8
            self.receive(bytes(data))
        elif what == "octets":
            self.receive(*with_)
        elif what == "data_to_send":
            self.sent()
        else:
            before = connection.state
            try:
                getattr(connection, what)(*with_)
            except LocalProtocolError:
                assert connection.state is before
        self.look()

    def receive(self, data: bytes) -> None:
        self.connection.receive_data(data)

    def look(self) -> None:
        """Take all events: an APDU comes in an open link only, links open and end by turns."""
        connection = self.connection
        for _ in range(100):
            try:
                event = connection.next_event()
            except RemoteProtocolError:
                continue
            if event is NEED_DATA:
                break
            if isinstance(event, LinkOpened):
                assert not self.opened
                self.opened = True
            elif isinstance(event, LinkReleased):
                self.opened = False
            else:
                assert isinstance(event, ApduReceived)
                assert event.apdu
                assert event.unsolicited or self.opened
        else:
            raise AssertionError("events without end")
        assert connection.is_open is (connection.state is State.CONNECTED)
        assert connection.is_open is self.opened or connection.state is State.DISCONNECTING
        assert connection.state in STATES[self.role]
        window = connection._window
        assert 0 <= window.unacknowledged <= window.size <= LIMITS.window_transmit
        assert window.unacknowledged <= len(window.outgoing)

    def sent(self) -> list[Frame]:
        """What has been sent: whole frames, of the kinds that the role may send, none too long."""
        extractor, frames = FrameExtractor(), []
        extractor.receive_data(self.connection.data_to_send())
        while (frame := extractor.next_frame()) is not NEED_DATA:
            frames.append(frame)
        assert not {frame.kind for frame in frames} & (RESPONSES if self.role is Role.CLIENT else COMMANDS)
        assert all((frame.source, frame.destination) == self.ends for frame in frames)
        assert all(len(frame.information) <= 32 for frame in frames if frame.kind in (Kind.I, Kind.UI))
        return frames


@settings(max_examples=300)
@given(st.sampled_from(Role), st.lists(INPUTS, max_size=40))
def test_any_sequence_keeps_the_promises_and_a_link_can_be_opened_after_it(
    role: Role, inputs: list[tuple[Any, ...]]
) -> None:
    owner = Owner(role)
    for each in inputs:
        owner.do(*each)
    owner.sent()
    connection = owner.connection
    fresh = {"final": True, "segmented": False, "information": b"", "send_sequence": 0, "receive_sequence": 0}
    connection._extractor.abandon()  # as the owner of a silent link does
    if role is Role.CLIENT:
        owner.do("close")
        owner.do("frame", {"kind": Kind.DM, **fresh})
        assert connection.state is State.DISCONNECTED
        owner.sent()
        owner.do("open")
        assert [frame.kind for frame in owner.sent()] == [Kind.SNRM]
        owner.do("frame", {"kind": Kind.UA, **fresh})
        connection.send_apdu(b"\xc0")
        assert [frame.kind for frame in owner.sent()] == [Kind.I]
    else:
        owner.do("frame", {"kind": Kind.SNRM, **fresh})
        assert [frame.kind for frame in owner.sent()] == [Kind.UA]
        owner.do("frame", {"kind": Kind.I, **fresh, "information": b"\xe6\xe6\x00\xc0"})
        connection.send_apdu(b"\xc4")
        assert [frame.kind for frame in owner.sent()] == [Kind.I]
    assert connection.is_open


@given(
    st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=60)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=20)), max_size=12),
)
def test_any_apdu_arrives_though_noise_lies_between_frames(
    make_pair: Any, apdus: list[tuple[bool, bytes]], noises: list[tuple[int, bytes]]
) -> None:
    """Noise that cannot begin a frame costs nothing, not even time."""
    pair = make_pair(LIMITS)
    pair.open()
    pending = dict(noises)
    carried = 0

    def spoil(side: HdlcConnection) -> None:
        nonlocal carried
        noise = bytes(octet & 0x5F for octet in pending.get(carried, b""))
        carried += 1
        side.receive_data(noise)
        with contextlib.suppress(RemoteProtocolError):
            assert side.next_event() is NEED_DATA

    for push, apdu in apdus:
        spoil(pair.client)
        spoil(pair.server)
        if push:
            pair.server.send_unsolicited(apdu, CLIENT)
            at_client = [event for event in pair.run()[0] if isinstance(event, ApduReceived)]
            assert [event.apdu for event in at_client] == [apdu]
            continue
        pair.answer = lambda asked: b"\xc4" + asked
        pair.client.send_apdu(apdu)
        at_client, at_server = pair.run()
        assert [event.apdu for event in at_server] == [apdu]
        assert [event.apdu for event in at_client] == [b"\xc4" + apdu]

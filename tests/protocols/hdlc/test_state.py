"""Every state with everything that can happen, in both roles."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, FramingEvent, LinkOpened, LinkReleased, Role
from headend.protocols.hdlc import Address, HdlcConnection, State
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame
from headend.protocols.hdlc.rejection import explain_rejection
from headend.protocols.hdlc.state import TRANSITIONS, Action, Call

CLIENT, SERVER = Address.client(0x10), Address.server(1, 17)
STATES = {Role.CLIENT: list(State), Role.SERVER: [State.DISCONNECTED, State.CONNECTED]}
APDU = b"\xc0\x01\xc1"
LLC = {Role.CLIENT: b"\xe6\xe7\x00", Role.SERVER: b"\xe6\xe6\x00"}


def received(role: Role, kind: Kind, *, final: bool = True) -> bytes:
    ends = (CLIENT, SERVER) if role is Role.CLIENT else (SERVER, CLIENT)
    information = LLC[role] + APDU if kind in {Kind.I, Kind.UI} else b""
    return encode_frame(Frame(destination=ends[0], source=ends[1], kind=kind, final=final, information=information))


def connection_in(role: Role, state: State) -> HdlcConnection:
    """A fresh connection, led into `state` by the way that real ones go."""
    connection = HdlcConnection(role, client=CLIENT, server=SERVER)
    if state is not State.DISCONNECTED and role is Role.CLIENT:
        connection.open()
    if state in {State.CONNECTED, State.DISCONNECTING}:
        connection.receive_data(received(role, Kind.SNRM if role is Role.SERVER else Kind.UA))
        assert connection.next_event() == LinkOpened()
    if state is State.DISCONNECTING:
        connection.close()
    connection.data_to_send()
    assert connection.state is state
    return connection


def sent_kinds(connection: HdlcConnection) -> list[str]:
    """What the control field of the only frame that was sent means."""
    data = connection.data_to_send()
    if not data:
        return []
    assert ((data[1] & 7) << 8 | data[2]) + 2 == len(data)
    control = data[6]
    if control & 1 == 0:
        return ["I"]
    return [{0x93: "SNRM", 0x53: "DISC", 0x73: "UA", 0x1F: "DM"}.get(control) or {0x11: "RR"}[control & 0x1F]]


S = State
ON, OFF, OPENING, CLOSING = S.CONNECTED, S.DISCONNECTED, S.CONNECTING, S.DISCONNECTING
PUSH = ApduReceived(APDU, SERVER.packed, CLIENT.packed, unsolicited=True)
BROADCAST = ApduReceived(APDU, CLIENT.packed, SERVER.packed, unsolicited=True)
REQUEST = ApduReceived(APDU, CLIENT.packed, SERVER.packed)
RESPONSE = ApduReceived(APDU, SERVER.packed, CLIENT.packed)
DM_LOST = LinkReleased("DM received: the meter is disconnected")
DM_REFUSED = LinkReleased("DM received: the meter refuses the link")
CLOSED = LinkReleased("closed by this side")
FRMR = LinkReleased("FRMR received: no reason given")
AGAIN = LinkReleased("SNRM received: the client begins anew")

Expected = tuple[State, list[FramingEvent], list[str]] | type[Exception]

# Written from IEC 62056-46, 6.4.4, not from the table: state and input -> next state, events, frames sent.
RECEIVED: dict[Role, dict[tuple[State, Kind], Expected]] = {
    Role.CLIENT: {
        (OPENING, Kind.UA): (ON, [LinkOpened()], []),
        (OPENING, Kind.DM): (OFF, [DM_REFUSED], []),
        (ON, Kind.I): (ON, [RESPONSE], []),
        (ON, Kind.DM): (OFF, [DM_LOST], []),
        (CLOSING, Kind.UA): (OFF, [CLOSED], []),
        (CLOSING, Kind.DM): (OFF, [CLOSED], []),
        **{(state, Kind.UI): (state, [PUSH], []) for state in State},
        **{(state, Kind.FRMR): (OFF, [FRMR], []) for state in (ON, OPENING, CLOSING)},
        **{(state, kind): RemoteProtocolError for state in State for kind in (Kind.SNRM, Kind.DISC)},
    },
    Role.SERVER: {
        (OFF, Kind.SNRM): (ON, [LinkOpened()], ["UA"]),
        **{(OFF, kind): (OFF, [], ["DM"]) for kind in (Kind.DISC, Kind.I, Kind.RR, Kind.RNR)},
        (ON, Kind.SNRM): (ON, [AGAIN, LinkOpened()], ["UA"]),
        (ON, Kind.DISC): (OFF, [LinkReleased("DISC received")], ["UA"]),
        (ON, Kind.I): (ON, [REQUEST], []),
        (ON, Kind.RR): (ON, [], ["RR"]),
        (ON, Kind.RNR): (ON, [], ["RR"]),
        **{(state, Kind.UI): (state, [BROADCAST], []) for state in (ON, OFF)},
        **{(state, kind): RemoteProtocolError for state in (ON, OFF) for kind in (Kind.UA, Kind.DM, Kind.FRMR)},
    },
}
CALLED: dict[Role, dict[tuple[State, Call], Expected]] = {
    Role.CLIENT: {
        (OFF, Call.OPEN): (OPENING, [], ["SNRM"]),
        **{(state, Call.CLOSE): (CLOSING, [], ["DISC"]) for state in (OFF, OPENING, ON)},
        (CLOSING, Call.CLOSE): (CLOSING, [], []),
        (OPENING, Call.RETRANSMIT): (OPENING, [], ["SNRM"]),
        (ON, Call.RETRANSMIT): (ON, [], ["RR"]),
        (CLOSING, Call.RETRANSMIT): (CLOSING, [], ["DISC"]),
        (ON, Call.SEND): (ON, [], ["I"]),
    },
    Role.SERVER: {
        (OFF, Call.CLOSE): (OFF, [], []),
        (ON, Call.CLOSE): (OFF, [CLOSED], []),
        (ON, Call.SEND): (ON, [], []),  # waits for the poll
    },
}


def check(connection: HdlcConnection, expected: Expected, act: Callable[[], None]) -> None:
    before = connection.state
    events: list[FramingEvent] = []
    if isinstance(expected, type):
        with pytest.raises(expected):
            act()
        assert connection.state is (OFF if before is not OFF and connection.state is OFF else before)
        return
    act()
    while (event := connection.next_event()) is not NEED_DATA:
        events.append(event)
    assert (connection.state, events, sent_kinds(connection)) == expected
    assert connection.is_open is (connection.state is ON)


@pytest.mark.parametrize(
    ("role", "state", "kind"),
    [(role, *pair) for role in Role for pair in itertools.product(STATES[role], Kind)],
)
def test_every_state_with_every_frame(role: Role, state: State, kind: Kind) -> None:
    connection = connection_in(role, state)

    def act() -> None:
        connection.receive_data(received(role, kind))
        if (role, state, kind) in REFUSED:
            connection.next_event()

    expected = RECEIVED[role].get((state, kind), (state, [], []))
    check(connection, expected, act)


REFUSED = {
    (role, state, kind)
    for role, table in RECEIVED.items()
    for (state, kind), expected in table.items()
    if isinstance(expected, type)
}


@pytest.mark.parametrize(
    ("role", "state", "call"),
    [(role, *pair) for role in Role for pair in itertools.product(STATES[role], Call)],
)
def test_every_state_with_every_call(role: Role, state: State, call: Call) -> None:
    connection = connection_in(role, state)
    calls = {
        Call.OPEN: connection.open,
        Call.CLOSE: connection.close,
        Call.RETRANSMIT: connection.retransmit,
        Call.SEND: lambda: connection.send_apdu(APDU),
    }
    check(connection, CALLED[role].get((state, call), LocalProtocolError), calls[call])


def test_frmr_closes_the_link_and_shows_what_the_meter_said() -> None:
    connection = connection_in(Role.CLIENT, ON)
    frame = Frame(destination=CLIENT, source=SERVER, kind=Kind.FRMR, information=bytes.fromhex("10 20 01"))
    connection.receive_data(encode_frame(frame))
    reason = "FRMR received: control field 10, V(S)=0, V(R)=1: control field unknown (w)"
    assert connection.next_event() == LinkReleased(reason)
    assert connection.state is OFF
    assert connection.next_event() is NEED_DATA


def test_the_table_leads_to_every_state_and_uses_every_action() -> None:
    for role, table in TRANSITIONS.items():
        reached = {state for _, state in table.values()}
        assert reached == set(STATES[role])
        assert {state for state, _ in table} == set(STATES[role])
    assert {action for table in TRANSITIONS.values() for action, _ in table.values()} == set(Action)


@pytest.mark.parametrize(
    ("information", "text"),
    [
        ("10 20 01", "control field 10, V(S)=0, V(R)=1: control field unknown (w)"),
        ("32 66 0C", "control field 32, V(S)=3, V(R)=3: information field too long (y), receive number invalid (z)"),
        ("93 00 02", "control field 93, V(S)=0, V(R)=0: information field not allowed (x)"),
        ("93 00 00", "no reason given"),
        ("", "no reason given"),
    ],
)
def test_reasons_of_a_rejection(information: str, text: str) -> None:
    assert explain_rejection(bytes.fromhex(information)).endswith(text)

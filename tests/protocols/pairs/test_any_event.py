"""One side of a conversation, told and hearing anything in any state: it makes the step of the table, or refuses and stays.

The other side is a connection too, put into whatever state lets it say what Hypothesis wants said.
"""

from __future__ import annotations

import enum
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from headend.errors import LocalProtocolError, RemoteProtocolError, SecurityError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.apdu.get import GetRequestNext
from headend.protocols.dlms.association import request_to_aarq, response_to_aare
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Spoken, message_of
from headend.protocols.dlms.initiate import InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.state import SENDER, TRANSITIONS, Message, State, step
from headend.protocols.dlms.transfers import FirstBlock
from headend.protocols.wrapper import WrapperFraming, wrap

from .spoken import EVERYTHING, client_says, meter_says

TITLES = {Role.CLIENT: b"HDE00001", Role.SERVER: b"MTR00001"}
PORTS = {Role.CLIENT: (1, 16), Role.SERVER: (16, 1)}
"""Ports of what each role receives."""
AUTOMATIC = {Role.CLIENT: {Message.NEXT}, Role.SERVER: {Message.BLOCK, Message.RESPONSE}}
"""What a connection says by itself once it has heard something."""
PUT_TOGETHER = {Message.BLOCK, Message.NEXT, Message.RESPONSE}
"""What may be the last part of something that is heard as a whole."""
COUNTERS = frozenset({"sent", "received", "refused", "_use", "_general", "_control", "request_protection"})
"""What a message may move although its content is refused: counters, and how a meter is to answer."""


def frozen(value: Any) -> Any:
    """Everything that an object remembers, without its framing and its counters."""
    if value is None or isinstance(value, int | str | bytes | enum.Enum | type):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names += getattr(value, "__dict__", ())
    if not type(value).__module__.startswith("headend") or isinstance(value, GcmKey):
        return id(value)
    return tuple((name, frozen(getattr(value, name))) for name in names if name not in COUNTERS | {"_framing"})


def ciphering(role: Role) -> Ciphering:
    return Ciphering(
        role,
        SUITES[0],
        policy_of(3),
        key=GcmKey(bytes(range(16)), bytes(range(0xD0, 0xE0))),
        system_title=TITLES[role],
        sent=OwnCounter(MemoryCounters(), ""),
        received=ReceivedCounter(),
    )


def connection(role: Role, *, secured: bool) -> DlmsConnection:
    framing = WrapperFraming(role, client_sap=16, server_sap=1)
    return DlmsConnection(role, framing, protection=ciphering(role) if secured else None, max_transfer=200)


class OneSide(RuleBasedStateMachine):
    """Our side, and whatever the other one may say."""

    role = Role.CLIENT
    secured = False

    def __init__(self) -> None:
        super().__init__()
        self.ours = connection(self.role, secured=self.secured)
        self.other = connection(Role.SERVER if self.role is Role.CLIENT else Role.CLIENT, secured=self.secured)

    @initialize(associated=st.booleans())
    def associate(self, associated: bool) -> None:
        sides = {side.role: side for side in (self.ours, self.other)}
        client, meter = sides[Role.CLIENT], sides[Role.SERVER]
        hello = AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING), system_title=TITLES[Role.CLIENT])
        welcome = AssociationResponse(
            initiate=InitiateResponse(conformance=EVERYTHING), system_title=TITLES[Role.SERVER]
        )
        for speaker, listener, event in ((client, meter, hello), (meter, client, welcome)) if associated else ():
            speaker.send(event)
            listener.receive_data(speaker.data_to_send())
            assert listener.next_event() == event

    @rule(event=client_says | meter_says)
    def say(self, event: Spoken) -> None:
        """The step of the table, or nothing at all."""
        ours, before, state = self.ours, frozen(self.ours), self.ours.state
        message = message_of(event)
        allowed = step(state, message) if SENDER[message] is self.role else None
        try:
            ours.send(event)
        except LocalProtocolError:
            assert frozen(ours) == before
            assert ours.data_to_send() == b""
            return
        assert allowed is not None
        # an answer that is too long for one APDU goes as a block
        assert ours.state is allowed or (message is Message.RESPONSE and ours.state is step(state, Message.BLOCK))
        assert ours.data_to_send()

    @rule(event=client_says | meter_says)
    def hear(self, event: Spoken) -> None:
        """The step of the table and the event that was said, or a refusal and nothing else."""
        octets = self.said(event)
        if octets is None:
            return
        ours, before, state = self.ours, frozen(self.ours), self.ours.state
        message = message_of(event)
        allowed = step(state, message) if SENDER[message] is not self.role else None
        ours.receive_data(octets)
        try:
            heard = ours.next_event()
        except (RemoteProtocolError, SecurityError):
            ended = state in {State.REQUESTED, State.BLOCKS} and ours.state is State.ASSOCIATED
            assert frozen(ours) == before or ended
            assert ours.next_event() is NEED_DATA
            return
        assert allowed is not None
        follow = {TRANSITIONS[allowed].get(automatic) for automatic in AUTOMATIC[self.role]}
        if heard is NEED_DATA and message is Message.NOTIFICATION:
            assert self.secured  # not protected as it must be: dropped, for anybody may have sent it
            assert frozen(ours) == before
        elif heard is NEED_DATA:
            assert ours.state in follow
            assert ours.data_to_send()
        else:
            assert ours.state is allowed
            assert type(heard) is type(event) or message in PUT_TOGETHER or isinstance(event, FirstBlock)
        assert ours.next_event() is NEED_DATA

    @rule(octets=st.binary(max_size=40), framed=st.booleans())
    def hear_octets(self, octets: bytes, framed: bool) -> None:
        """Noise gives a refusal, or nothing."""
        ours = self.ours
        ours.receive_data(wrap(octets, *PORTS[self.role]) if framed and octets else octets)
        for _ in range(len(octets) + 2):
            try:
                if ours.next_event() is NEED_DATA:
                    break
            except (RemoteProtocolError, SecurityError):
                continue
        else:
            raise AssertionError("goes on for ever")
        # what is left may be the beginning of a frame, so the next rules would not know what they say
        ours._framing = ours._channel._framing = WrapperFraming(self.role, client_sap=16, server_sap=1)
        ours.data_to_send()

    def said(self, event: Spoken) -> bytes | None:
        """The octets of an event, said by the other side in a state that lets it; None where it cannot."""
        message, other = message_of(event), self.other
        if SENDER[message] is not other.role:
            return None if self.secured else wrap(self.encoded(event), *PORTS[self.role])
        other.state = next(state for state in State if step(state, message) is not None)
        try:
            other._send(event) if isinstance(event, GetRequestNext) else other.send(event)
        except LocalProtocolError:
            return None
        return other.data_to_send()

    @staticmethod
    def encoded(event: Spoken) -> bytes:
        """An APDU of our own role, mirrored."""
        if isinstance(event, AssociationRequest):
            return request_to_aarq(event, None).encode()
        return (response_to_aare(event, None) if isinstance(event, AssociationResponse) else event).encode()


class MeterSide(OneSide):
    role = Role.SERVER


class SecuredSide(OneSide):
    secured = True


class SecuredMeterSide(OneSide):
    role = Role.SERVER
    secured = True


BRIEF = settings(max_examples=40, stateful_step_count=20, deadline=None, phases=[Phase.generate])
"""Without shrinking, which takes minutes for a conversation."""
for machine in (OneSide, MeterSide, SecuredSide, SecuredMeterSide):
    machine.TestCase.settings = BRIEF

TestClient = OneSide.TestCase
TestMeter = MeterSide.TestCase
TestSecuredClient = SecuredSide.TestCase
TestSecuredMeter = SecuredMeterSide.TestCase

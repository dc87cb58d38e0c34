"""Two ends of one conversation and the wire between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Event, Spoken
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.wrapper import WrapperFraming

EVERYTHING = Conformance(0x007E1F)


def all_events(connection: DlmsConnection) -> list[Event]:
    events: list[Event] = []
    while (event := connection.next_event()) is not NEED_DATA:
        events.append(event)
    return events


@dataclass
class ConnectionPair:
    client: DlmsConnection
    server: DlmsConnection
    chunk: int = 0
    """octets handed over at once; 0 for whatever there is"""

    def carry(self, sender: DlmsConnection, receiver: DlmsConnection) -> list[Event]:
        """Hand over what one end has to send, return what the other end makes of it."""
        data = sender.data_to_send()
        events: list[Event] = []
        for start in range(0, len(data), self.chunk or len(data) or 1):
            receiver.receive_data(data[start : start + (self.chunk or len(data))])
            events += all_events(receiver)
        return events

    def ask(self, event: Spoken) -> list[Event]:
        """The client sends; returns what the server gets."""
        self.client.send(event)
        return self.carry(self.client, self.server)

    def answer(self, event: Spoken) -> list[Event]:
        """The server sends, and both go on until nobody has anything to say; returns what the client gets."""
        self.server.send(event)
        events: list[Event] = []
        while True:
            got = self.carry(self.server, self.client)
            events += got
            back = self.client.data_to_send()
            if not back:
                return events
            self.server.receive_data(back)
            assert all_events(self.server) == []

    def associate(self, client_pdu: int = 0xFFFF, server_pdu: int = 0xFFFF) -> None:
        """Without authentication, with every service."""
        initiate = InitiateRequest(conformance=EVERYTHING, max_receive_pdu=client_pdu)
        assert len(self.ask(AssociationRequest(initiate=initiate))) == 1
        response = InitiateResponse(conformance=EVERYTHING, max_receive_pdu=server_pdu)
        assert len(self.answer(AssociationResponse(initiate=response))) == 1


@pytest.fixture
def make_pair() -> Callable[..., ConnectionPair]:
    def make(chunk: int = 0, **options: int) -> ConnectionPair:
        client = WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1)
        server = WrapperFraming(Role.SERVER, server_sap=1)
        return ConnectionPair(
            DlmsConnection(Role.CLIENT, client, **options), DlmsConnection(Role.SERVER, server), chunk
        )

    return make

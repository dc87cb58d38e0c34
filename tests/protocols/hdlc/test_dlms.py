"""A DLMS association over HDLC, which neither knows of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headend.protocols.base import NEED_DATA, LinkOpened, LinkReleased
from headend.protocols.dlms.acse import Rlre, Rlrq
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.hdlc import Limits

BUFFER = AttributeDescriptor(7, bytes.fromhex("0100630100ff"), 2)
SERVICES = Conformance(0x007E1F)
LONG = b"\x09\x82\x0b\xb8" + bytes(3000)


@pytest.mark.parametrize("pdu", [200, 0xFFFF])
@pytest.mark.parametrize("limits", [Limits(), Limits(max_information_receive=500, window_receive=3)])
def test_an_association_with_blocks_and_segments(make_pair: Callable[..., Any], limits: Limits, pdu: int) -> None:
    pair = make_pair(limits, Limits(max_information_transmit=2030, window_transmit=7))
    client, server = DlmsConnection(pair.client.role, pair.client), DlmsConnection(pair.server.role, pair.server)

    def run() -> tuple[list[Any], list[Any]]:
        got: dict[DlmsConnection, list[Any]] = {client: [], server: []}
        while True:
            quiet = True
            for sender, receiver in ((client, server), (server, client)):
                if data := sender.data_to_send():
                    quiet = False
                    receiver.receive_data(data)
                while (event := receiver.next_event()) is not NEED_DATA:
                    got[receiver].append(event)
            if quiet:
                return got[client], got[server]

    client.open()
    assert run() == ([LinkOpened()], [LinkOpened()])
    hello = AssociationRequest(initiate=InitiateRequest(conformance=SERVICES, max_receive_pdu=pdu))
    client.send(hello)
    assert run() == ([], [hello])
    welcome = AssociationResponse(initiate=InitiateResponse(conformance=SERVICES, max_receive_pdu=pdu))
    server.send(welcome)
    assert run() == ([welcome], [])
    for _ in range(3):
        question = GetRequestNormal(client.next_invoke_id(), BUFFER)
        client.send(question)
        assert run() == ([], [question])
        answer = GetResponseNormal(question.invoke_id_and_priority, LONG)
        server.send(answer)
        assert run() == ([answer], [])
    client.send(Rlrq())
    assert run() == ([], [Rlrq()])
    server.send(Rlre())
    assert run() == ([Rlre()], [])
    client.close()
    at_client, at_server = run()
    assert [type(event) for event in at_client + at_server] == [LinkReleased, LinkReleased]

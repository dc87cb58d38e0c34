"""A meter that says what a test tells it to say: the server role of the connection over a memory link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.knowledge import Knowledge
from headend.errors import HeadendError, LinkError
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.profile import MeterProfile
from headend.protocols.base import NEED_DATA, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.acse import Rlre, Rlrq
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor, DataAccessResult
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal, GetResponseWithList
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseNormal
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateResponse
from headend.protocols.hdlc import Address, HdlcConnection
from headend.protocols.wrapper import Header, WrapperFraming
from headend.transport.link import Link
from headend.transport.memory import memory_pair

EVERYTHING = Conformance(0x007E1F)
SILENCE: list[Any] = []


class ScriptedMeter:
    """Answers from `data` (encoded values by address); `script` may answer an event with other events, or with silence."""

    def __init__(self, link: Link, framing: str) -> None:
        self.link = link
        self.framing: Any = HdlcConnection(Role.SERVER, server=Address.server(1))
        if framing == "wrapper":
            self.framing = WrapperFraming(Role.SERVER, server_sap=1)
        elif framing == "apdu":
            self.framing = WrapperFraming(
                Role.SERVER, client_sap=16, server_sap=1, delimiter=Delimiter(), header=Header.NEVER
            )
        self.connection = DlmsConnection(Role.SERVER, self.framing)
        self.conformance = EVERYTHING
        self.max_pdu = 0xFFFF
        self.data: dict[str, bytes | DataAccessResult] = {}
        self.script: Callable[[Any], Iterable[Any] | None] = lambda _event: None
        self.heard: list[Any] = []
        self.lost: list[LinkError] = []
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.connection.receive_data(data)
        while True:
            try:
                event = self.connection.next_event()
            except HeadendError as error:
                self.heard.append(error)
                continue
            self.flush()
            if event is NEED_DATA:
                return
            if isinstance(event, LinkOpened | LinkReleased):
                continue
            self.heard.append(event)
            scripted = self.script(event)
            for answer in [self.answer(event)] if scripted is None else scripted:
                self.say(answer)

    def say(self, answer: Any) -> None:
        if isinstance(answer, bytes):
            self.link.write(answer)
            return
        self.connection.send(answer)
        self.flush()

    def flush(self) -> None:
        self.link.write(self.connection.data_to_send())

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)

    def value(self, attribute: AttributeDescriptor) -> bytes | DataAccessResult:
        for address, found in self.data.items():
            if cosem_ref(address).attribute == attribute:
                return found
        return DataAccessResult.OBJECT_UNDEFINED

    def answer(self, event: Any) -> Any:
        match event:
            case AssociationRequest():
                initiate = InitiateResponse(conformance=self.conformance, max_receive_pdu=self.max_pdu)
                return AssociationResponse(initiate=initiate)
            case GetRequestNormal(invoke, attribute):
                return GetResponseNormal(invoke, self.value(attribute))
            case GetRequestWithList(invoke, attributes):
                return GetResponseWithList(invoke, tuple(self.value(attribute) for attribute, _ in attributes))
            case SetRequestNormal(invoke, attribute, data):
                known = isinstance(self.value(attribute), bytes)
                for address in self.data:
                    if cosem_ref(address).attribute == attribute:
                        self.data[address] = data
                return SetResponseNormal(
                    invoke, DataAccessResult.SUCCESS if known else DataAccessResult.OBJECT_UNDEFINED
                )
            case ActionRequestNormal(invoke):
                return ActionResponseNormal(invoke, ActionResult.SUCCESS)
            case Rlrq():
                return Rlre()
        raise AssertionError(event)


Attach = Callable[..., Awaitable[tuple[DlmsSession, ScriptedMeter]]]


@pytest.fixture
async def attach() -> AsyncIterator[Attach]:
    """Makes a session with a scripted meter; `prepare` may change the meter before."""
    sessions: list[DlmsSession] = []

    async def make(
        framing: str = "wrapper",
        *,
        prepare: Callable[[ScriptedMeter], None] = lambda _meter: None,
        line: dict[str, Any] | None = None,
        profile: MeterProfile | None = None,
        secret: bytes = b"",
        buffered: bytes = b"",
        timeout: float = 5.0,
        knowledge: Knowledge | None = None,
        **params: str,
    ) -> tuple[DlmsSession, ScriptedMeter]:
        near, far = memory_pair(**(line or {}))
        scripted = ScriptedMeter(far, framing)
        prepare(scripted)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        meter = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params=params)
        secrets = {"secret": Secret(secret)} if secret else {}
        try:
            session = await driver.attach(
                near, meter, profile, secrets, buffered=buffered, timeout=timeout, knowledge=knowledge
            )
        except BaseException:
            near.abort()
            raise
        sessions.append(session)
        return session, scripted

    yield make
    for session in sessions:
        await session.aclose()


@pytest.fixture
def silence() -> list[Any]:
    return SILENCE

"""Client and meter as a pair: whatever is asked and answered, and however the octets travel, both hear exactly what was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, LinkOpened, Role
from headend.protocols.dlms.acse import ApplicationContext, Rlre, Rlrq
from headend.protocols.dlms.apdu.access import (
    AccessAction,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessResult,
    AccessSet,
    service_of,
)
from headend.protocols.dlms.apdu.action import (
    ActionRequestNormal,
    ActionRequestWithList,
    ActionResponseNormal,
    ActionResponseWithList,
)
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ExceptionResponse
from headend.protocols.dlms.apdu.get import (
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import (
    SetRequestNormal,
    SetRequestWithList,
    SetResponseNormal,
    SetResponseWithList,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Spoken
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.state import State
from headend.protocols.hdlc import Address, HdlcConnection
from headend.protocols.wrapper import WrapperFraming

from .spoken import attributes, data, methods, octets, reasons, results, selections

EVERYTHING = (
    Conformance(0x00FE1F) | Conformance.ACCESS | Conformance.GENERAL_PROTECTION | Conformance.GENERAL_BLOCK_TRANSFER
)
OPTIONAL = Conformance.GENERAL_PROTECTION | Conformance.GENERAL_BLOCK_TRANSFER
TITLES = {Role.CLIENT: b"HDE00001", Role.SERVER: b"MTR00001"}
LONG_INVOKE = 0xC0000001
long_data = st.integers(0, 1500).map(lambda size: b"\x09" + encode_length(size) + bytes(size))
"""What does not fit one APDU."""

lists = st.lists(st.tuples(attributes, selections, results), min_size=1, max_size=5)
writes = st.lists(
    st.tuples(attributes, selections, data | long_data, st.sampled_from(DataAccessResult)), min_size=1, max_size=4
)
actions = st.lists(
    st.tuples(methods, data | long_data, st.sampled_from(ActionResult), st.none() | results | long_data),
    min_size=1,
    max_size=4,
)
accesses = st.lists(
    st.one_of(
        st.tuples(
            st.builds(AccessGet, attributes, selections),
            st.just(b"\x00"),
            data | long_data,
            st.sampled_from(DataAccessResult),
        ),
        st.tuples(
            st.builds(AccessSet, attributes, selections),
            data | long_data,
            st.just(b"\x00"),
            st.sampled_from(DataAccessResult),
        ),
        st.tuples(st.builds(AccessAction, methods), data, data, st.sampled_from(ActionResult)),
    ),
    min_size=1,
    max_size=4,
)
exchanges: st.SearchStrategy[tuple[Any, Any]] = st.one_of(
    st.tuples(st.builds(GetRequestNormal, st.just(0), attributes, selections), results | long_data).map(
        lambda pair: (pair[0], GetResponseNormal(0, pair[1]))
    ),
    lists.map(
        lambda items: (
            GetRequestWithList(0, tuple((attribute, access) for attribute, access, _ in items)),
            GetResponseWithList(0, tuple(result for *_, result in items)),
        )
    ),
    st.tuples(
        st.builds(SetRequestNormal, st.just(0), attributes, data | long_data, selections),
        st.builds(SetResponseNormal, st.just(0), st.sampled_from(DataAccessResult)),
    ),
    writes.map(
        lambda items: (
            SetRequestWithList(
                0, tuple((attribute, access) for attribute, access, _, _ in items), tuple(item[2] for item in items)
            ),
            SetResponseWithList(0, tuple(result for *_, result in items)),
        )
    ),
    st.tuples(
        st.builds(ActionRequestNormal, st.just(0), methods, st.none() | data | long_data),
        st.builds(ActionResponseNormal, st.just(0), st.just(ActionResult.SUCCESS), st.none() | results | long_data)
        | st.builds(ActionResponseNormal, st.just(0), st.sampled_from(ActionResult), st.none() | reasons),
    ),
    actions.map(
        lambda items: (
            ActionRequestWithList(0, tuple(item[0] for item in items), tuple(item[1] for item in items)),
            ActionResponseWithList(0, tuple((result, value) for *_, result, value in items)),
        )
    ),
    accesses.map(
        lambda items: (
            AccessRequest(LONG_INVOKE, tuple(item[0] for item in items), tuple(item[1] for item in items)),
            AccessResponse(
                LONG_INVOKE,
                tuple(item[2] for item in items),
                tuple(AccessResult(service_of(item[0]), item[3]) for item in items),
            ),
        )
    ),
)
pushes = st.one_of(
    st.none(),
    st.builds(DataNotification, st.integers(0, 0xFFFFFFFF), st.sampled_from([b"", bytes(12)]), data),
    st.builds(EventNotification, attributes, data, st.none() | octets),
)


class Ends:
    """Both ends, and a wire that cuts what travels into pieces of the sizes that it is given, again and again."""

    def __init__(self, framing: str, ciphering: str, sizes: list[int], window: int) -> None:
        self.sides = {role: self._side(role, framing, window, ciphered=bool(ciphering)) for role in Role}
        self.ciphering = ciphering
        self.sizes = sizes
        self.turn = 0

    @staticmethod
    def _side(role: Role, framing: str, window: int, *, ciphered: bool) -> DlmsConnection:
        made = (
            WrapperFraming(role, client_sap=16, server_sap=1)
            if framing == "wrapper"
            else HdlcConnection(role, client=Address.client(16), server=Address.server(1))
        )
        if not ciphered:
            return DlmsConnection(role, made, window=window)
        key = GcmKey(bytes(range(16)), bytes(range(0xD0, 0xE0)))
        sent, received = OwnCounter(MemoryCounters(), ""), ReceivedCounter()
        title, policy = TITLES[role], policy_of(3)
        protection = Ciphering(role, SUITES[0], policy, key=key, system_title=title, sent=sent, received=received)
        return DlmsConnection(role, made, protection=protection, window=window)

    def pieces(self, sent: bytes) -> list[bytes]:
        cut, at = [], 0
        while at < len(sent):
            size = self.sizes[self.turn % len(self.sizes)]
            self.turn += 1
            cut.append(sent[at : at + size])
            at += size
        return cut

    def run(self) -> dict[Role, list[Any]]:
        """Carry octets until nobody has anything to say; what each side has heard."""
        heard: dict[Role, list[Any]] = {role: [] for role in Role}
        for role in Role:
            self.hear(role, heard)
        quiet = False
        while not quiet:
            quiet = True
            for speaker, listener in ((Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)):
                sent = self.sides[speaker].data_to_send()
                quiet &= not sent
                for piece in self.pieces(sent):
                    self.sides[listener].receive_data(piece)
                    self.hear(listener, heard)
        return heard

    def hear(self, role: Role, heard: dict[Role, list[Any]]) -> None:
        while (event := self.sides[role].next_event()) is not NEED_DATA:
            heard[role].append(event)

    def say(self, role: Role, event: Spoken) -> None:
        """Said by one side, heard by the other exactly so, and nothing else by anybody."""
        self.sides[role].send(event)
        heard = self.run()
        other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        assert heard == {role: [], other: [event]}

    def may_say(self, role: Role, event: Spoken) -> bool:
        """The same, unless it is longer than the other side takes and cannot be cut: then nothing is said at all."""
        state = self.sides[role].state
        try:
            self.say(role, event)
        except LocalProtocolError:
            assert self.sides[role].state is state
            assert self.run() == {each: [] for each in Role}
            return False
        return True

    def associate(self, client_pdu: int, meter_pdu: int, agreed: Conformance) -> None:
        self.sides[Role.CLIENT].open()
        for role in self.run().values():
            assert role in ([], [LinkOpened()])
        key = bytes(range(0x30, 0x40)) if "dedicated" in self.ciphering else b""
        services = EVERYTHING & ~OPTIONAL | agreed
        hello = InitiateRequest(conformance=services, max_receive_pdu=client_pdu, dedicated_key=key)
        welcome = InitiateResponse(conformance=services, max_receive_pdu=meter_pdu)
        context = ApplicationContext.LN_CIPHERED if self.ciphering else ApplicationContext.LN
        titles = TITLES if self.ciphering else dict.fromkeys(Role, b"")
        self.say(
            Role.CLIENT,
            AssociationRequest(initiate=hello, application_context=context, system_title=titles[Role.CLIENT]),
        )
        self.say(
            Role.SERVER,
            AssociationResponse(initiate=welcome, application_context=context, system_title=titles[Role.SERVER]),
        )


@pytest.mark.parametrize("ciphering", ["", "global", "dedicated", "general", "general-dedicated"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@settings(deadline=None, max_examples=20, phases=[Phase.generate])
@given(
    conversation=st.lists(st.tuples(exchanges, pushes), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    client_pdu=st.sampled_from([0, 60, 128, 129, 500, 0xFFFF]),
    meter_pdu=st.sampled_from([0, 60, 200, 0xFFFF]),
    general_blocks=st.booleans(),
    window=st.sampled_from([1, 2, 5]),
)
def test_what_is_said_is_heard(
    framing: str,
    ciphering: str,
    conversation: list[tuple[Any, Any]],
    sizes: list[int],
    client_pdu: int,
    meter_pdu: int,
    general_blocks: bool,
    window: int,
) -> None:
    ends = Ends(framing, ciphering, sizes, window)
    agreed = Conformance.GENERAL_PROTECTION if "general" in ciphering else Conformance(0)
    ends.associate(client_pdu, meter_pdu, agreed | (Conformance.GENERAL_BLOCK_TRANSFER if general_blocks else agreed))
    for (request, response), push in conversation:
        invoke = ends.sides[Role.CLIENT].next_invoke_id()
        if not ends.may_say(Role.CLIENT, numbered(request, invoke)):
            assert not general_blocks
            continue
        if push is not None and framing == "wrapper":  # over HDLC a meter speaks when it is asked
            ends.may_say(Role.SERVER, push)
        if not ends.may_say(Role.SERVER, numbered(response, invoke)):
            assert not general_blocks
            ends.say(Role.SERVER, ExceptionResponse(2, 4))
    ends.say(Role.CLIENT, Rlrq())
    ends.say(Role.SERVER, Rlre())
    assert {side.state for side in ends.sides.values()} == {State.IDLE}


def numbered(event: Any, invoke: int) -> Any:
    fields = {name: getattr(event, name) for name in event.__slots__}
    return type(event)(**(fields | {"invoke_id_and_priority": invoke})) if "invoke_id_and_priority" in fields else event

"""Ciphered answers with dlms-cosem; see README.md. The first line has keys, titles and plaintexts."""

from __future__ import annotations

import json
import logging
import sys
import time

import structlog
from dlms_cosem import cosem, enumerations, security, utils
from dlms_cosem import state as dlms_state
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.parsers import AssociationObjectListParser, ProfileGenericBufferParser
from dlms_cosem.protocol import xdlms
from dlms_cosem.protocol.wrappers import WrapperHeader, WrapperProtocolDataUnit
from dlms_cosem.security import NoSecurityAuthentication

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
ROWS, ENTRIES, COUNTER = 1000, 1000, 7
given = {name: bytes.fromhex(text) for name, text in json.loads(sys.stdin.readline()).items()}
CONTROL = security.SecurityControlField(0, True, True)  # noqa: FBT003 - suite 0, authenticated, encrypted


def attribute(
    column: int, interface: enumerations.CosemInterface = enumerations.CosemInterface.REGISTER
) -> cosem.CosemAttribute:
    return cosem.CosemAttribute(interface=interface, instance=cosem.Obis(1, 0, column, 8, 0, 255), attribute=2)


def answer(name: str) -> bytes:
    """What a meter says, ciphered by the stack itself, under the wrapper. It encodes no lengths beyond 127, and decodes them."""
    ciphered = security.encrypt(CONTROL, given["meter"], COUNTER, given["ek"], given[name], given["ak"])
    content = CONTROL.to_bytes() + COUNTER.to_bytes(4, "big") + ciphered
    length = bytes((len(content),)) if len(content) < 0x80 else b"\x82" + len(content).to_bytes(2, "big")
    apdu = bytes((xdlms.GeneralGlobalCipher.TAG, len(given["meter"]))) + given["meter"] + length + content
    return WrapperProtocolDataUnit(apdu, WrapperHeader(1, 16, len(apdu))).to_bytes()


client = DlmsConnection(
    authentication=NoSecurityAuthentication(),
    client_system_title=given["client"],
    global_encryption_key=given["ek"],
    global_authentication_key=given["ak"],
)
client.meter_system_title = given["meter"]
client.state.current_state = dlms_state.READY
answers = {name: answer(name) for name in ("round", "profile", "objects")}
columns = [attribute(1, enumerations.CosemInterface.CLOCK), *(attribute(column) for column in range(1, 6))]


def received(name: str) -> bytes:
    """One answer; its counter is as good as new each time."""
    client.state.current_state = dlms_state.AWAITING_GET_RESPONSE
    client.meter_invocation_counter = 0
    data = answers[name]
    WrapperHeader.from_bytes(data[:8])
    client.receive_data(data[8:])
    return bytes(client.next_event().data)


def a_round() -> object:
    client.state.current_state = dlms_state.READY
    apdu = client.send(xdlms.GetRequestNormal(cosem_attribute=attribute(1), access_selection=None))
    header = WrapperHeader(source_wport=16, destination_wport=1, length=len(apdu))
    WrapperProtocolDataUnit(apdu, header).to_bytes()
    return utils.parse_as_dlms_data(received("round"))


def profile() -> object:
    parser = ProfileGenericBufferParser(capture_objects=columns, capture_period=15)
    return parser.parse_bytes(received("profile"))


def objects() -> object:
    return AssociationObjectListParser.parse_bytes(received("objects"))


works = {"round": a_round, "profile": profile, "objects": objects}
assert a_round() == 100_000
rows = profile()
assert len(rows) == ROWS
assert rows[7][2].value == 1007
assert len(objects()) == ENTRIES
print("ready", flush=True)
for line in sys.stdin:
    work, number = line.split()
    act = works[work]
    since = time.process_time()
    for _ in range(int(number)):
        act()
    print(time.process_time() - since, flush=True)

"""GET rounds and a load profile with dlms-cosem; see README.md. The first line has the answers to take."""

from __future__ import annotations

import json
import logging
import sys
import time

import structlog
from dlms_cosem import cosem, enumerations, utils
from dlms_cosem import state as dlms_state
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.hdlc import address, connection, frames
from dlms_cosem.hdlc import state as hdlc_state
from dlms_cosem.parsers import ProfileGenericBufferParser
from dlms_cosem.protocol import xdlms
from dlms_cosem.protocol.wrappers import WrapperHeader, WrapperProtocolDataUnit
from dlms_cosem.security import NoSecurityAuthentication

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
ROWS = 1000
given = {name: [bytes.fromhex(text) for text in texts] for name, texts in json.loads(sys.stdin.readline()).items()}


def attribute(
    column: int, interface: enumerations.CosemInterface = enumerations.CosemInterface.REGISTER
) -> cosem.CosemAttribute:
    return cosem.CosemAttribute(interface=interface, instance=cosem.Obis(1, 0, column, 8, 0, 255), attribute=2)


def associated() -> DlmsConnection:
    made = DlmsConnection(authentication=NoSecurityAuthentication(), client_system_title=b"HEC00001")
    made.state.current_state = dlms_state.READY
    return made


over_wrapper, over_hdlc = associated(), associated()


def received(client: DlmsConnection, apdu: bytes) -> bytes:
    client.receive_data(apdu)
    data: bytes = client.next_event().data
    return data


def wrapper() -> object:
    apdu = over_wrapper.send(xdlms.GetRequestNormal(cosem_attribute=attribute(1), access_selection=None))
    header = WrapperHeader(source_wport=16, destination_wport=1, length=len(apdu))
    WrapperProtocolDataUnit(apdu, header).to_bytes()
    data = given["wrapper"][0]
    WrapperHeader.from_bytes(data[:8])
    return utils.parse_as_dlms_data(received(over_wrapper, data[8:]))


client_address = address.HdlcAddress(16, None, "client")
server_address = address.HdlcAddress(1, None, "server")
link = connection.HdlcConnection(client_address=client_address, server_address=server_address)
link.state.current_state = hdlc_state.IDLE
turn = 0


def hdlc() -> object:
    """The n-th request has number n, the answer acknowledges it."""
    global turn  # noqa: PLW0603 # the script is its state
    apdu = over_hdlc.send(xdlms.GetRequestNormal(cosem_attribute=attribute(1), access_selection=None))
    frame = frames.InformationFrame(
        destination_address=server_address,
        source_address=client_address,
        payload=b"\xe6\xe6\x00" + apdu,
        send_sequence_number=link.server_ssn,
        receive_sequence_number=link.server_rsn,
        segmented=False,
        final=True,
    )
    link.send(frame)
    link.receive_data(given["hdlc"][turn & 7])
    turn += 1
    answer = link.next_event()
    return utils.parse_as_dlms_data(received(over_hdlc, answer.payload[3:]))


columns = [attribute(1, enumerations.CosemInterface.CLOCK), *(attribute(column) for column in range(1, 6))]


def profile() -> object:
    over_wrapper.state.current_state = dlms_state.AWAITING_GET_RESPONSE
    data = given["profile"][0]
    WrapperHeader.from_bytes(data[:8])
    parser = ProfileGenericBufferParser(capture_objects=columns, capture_period=15)
    return parser.parse_bytes(received(over_wrapper, data[8:]))


works = {"wrapper": wrapper, "hdlc": hdlc, "profile": profile}
assert wrapper() == 100_000
assert hdlc() == hdlc() == 100_000
rows = profile()
assert len(rows) == ROWS
assert rows[7][0].value.minute == 45
assert rows[7][2].value == 1007
print("ready", flush=True)
for line in sys.stdin:
    work, number = line.split()
    act = works[work]
    since = time.process_time()
    for _ in range(int(number)):
        act()
    print(time.process_time() - since, flush=True)

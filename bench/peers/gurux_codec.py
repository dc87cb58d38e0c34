"""GET rounds and a load profile with gurux-dlms; see README.md. The first line has the answers to take."""

from __future__ import annotations

import json
import sys
import time

from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
from gurux_dlms.ConnectionState import ConnectionState
from gurux_dlms.enums import Authentication, InterfaceType
from gurux_dlms.objects import GXDLMSClock, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.objects.GXDLMSCaptureObject import GXDLMSCaptureObject

LOGICAL_NAMES, ROWS = True, 1000


def associated(kind: InterfaceType) -> GXDLMSClient:
    client = GXDLMSClient(LOGICAL_NAMES, 16, 1, Authentication.NONE, None, kind)
    settings = client.settings
    settings.negotiatedConformance = settings.proposedConformance
    settings.connected = ConnectionState.DLMS
    settings.maxPduSize = 0xFFFF
    return client


def octets(data: bytes) -> GXByteBuffer:
    buffer = GXByteBuffer()
    buffer.set(bytearray(data))
    return buffer


given = {name: [bytes.fromhex(text) for text in texts] for name, texts in json.loads(sys.stdin.readline()).items()}
register = GXDLMSRegister("1.0.1.8.0.255")
over_wrapper, over_hdlc = associated(InterfaceType.WRAPPER), associated(InterfaceType.HDLC)
over_hdlc.settings.resetFrameSequence()


def wrapper() -> object:
    over_wrapper.read(register, 2)
    reply = GXReplyData()
    over_wrapper.getData(octets(given["wrapper"][0]), reply, None)
    return reply.value


turn = 0


def hdlc() -> object:
    """The n-th request has number n, the answer acknowledges it."""
    global turn  # noqa: PLW0603 # the script is its state
    over_hdlc.read(register, 2)
    reply = GXReplyData()
    over_hdlc.getData(octets(given["hdlc"][turn & 7]), reply, None)
    turn += 1
    return reply.value


table = GXDLMSProfileGeneric("1.0.99.1.0.255")
table.captureObjects.append((GXDLMSClock("0.0.1.0.0.255"), GXDLMSCaptureObject(2, 0)))
for column in range(1, 6):
    table.captureObjects.append((GXDLMSRegister(f"1.0.{column}.8.0.255"), GXDLMSCaptureObject(2, 0)))


def profile() -> object:
    reply = GXReplyData()
    over_wrapper.getData(octets(given["profile"][0]), reply, None)
    over_wrapper.updateValue(table, 2, reply.value)
    return table.buffer


works = {"wrapper": wrapper, "hdlc": hdlc, "profile": profile}
assert wrapper() == hdlc() == 100_000
rows = profile()
assert len(rows) == ROWS
assert rows[7][0].value.minute == 45
assert rows[7][2] == 1007
print("ready", flush=True)
for line in sys.stdin:
    work, number = line.split()
    act = works[work]
    since = time.process_time()
    for _ in range(int(number)):
        act()
    print(time.process_time() - since, flush=True)

"""Ciphered answers with gurux-dlms; see README.md. The first line has keys, titles and plaintexts."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

from gurux_dlms import GXByteBuffer, GXReplyData
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.ConnectionState import ConnectionState
from gurux_dlms.enums import Authentication, Conformance, InterfaceType, Security
from gurux_dlms.GXDLMSChippering import GXDLMSChippering
from gurux_dlms.objects import GXDLMSClock, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.objects.GXDLMSCaptureObject import GXDLMSCaptureObject
from gurux_dlms.secure import GXDLMSSecureClient

GLO_GET_RESPONSE, COUNTER = 0xCC, 7
LOGICAL_NAMES, ROWS, ENTRIES = True, 1000, 1000
given = {name: bytearray.fromhex(text) for name, text in json.loads(sys.stdin.readline()).items()}


def associated() -> GXDLMSSecureClient:
    client = GXDLMSSecureClient(LOGICAL_NAMES, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER)
    client.ciphering.systemTitle = given["client"]
    client.ciphering.blockCipherKey, client.ciphering.authenticationKey = given["ek"], given["ak"]
    client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    settings = client.settings
    settings.sourceSystemTitle = given["meter"]
    settings.negotiatedConformance = settings.proposedConformance & ~Conformance.GENERAL_PROTECTION
    settings.connected = ConnectionState.DLMS
    settings.maxPduSize = 0xFFFF
    return client


def answer(name: str) -> bytearray:
    """What a meter says, ciphered by the stack itself, under the wrapper."""
    how = AesGcmParameter(GLO_GET_RESPONSE, given["meter"], given["ek"], given["ak"])
    how.security, how.securitySuite = Security.AUTHENTICATION_ENCRYPTION, SecuritySuite(0)
    how.invocationCounter = COUNTER
    apdu = bytearray(GXDLMSChippering.encryptAesGcm(how, given[name]))
    return bytearray((0, 1, 0, 1, 0, 16)) + len(apdu).to_bytes(2, "big") + apdu


client = associated()
register = GXDLMSRegister("1.0.1.8.0.255")
answers = {name: answer(name) for name in ("round", "profile", "objects")}
table = GXDLMSProfileGeneric("1.0.99.1.0.255")
table.captureObjects.append((GXDLMSClock("0.0.1.0.0.255"), GXDLMSCaptureObject(2, 0)))
for column in range(1, 6):
    table.captureObjects.append((GXDLMSRegister(f"1.0.{column}.8.0.255"), GXDLMSCaptureObject(2, 0)))


def taken(name: str) -> GXReplyData:
    octets, reply = GXByteBuffer(), GXReplyData()
    octets.set(answers[name])
    client.getData(octets, reply, None)
    return reply


def a_round() -> object:
    client.read(register, 2)
    return taken("round").value


def profile() -> object:
    client.updateValue(table, 2, taken("profile").value)
    return table.buffer


def objects() -> object:
    return client.parseObjects(taken("objects").data)


works = {"round": a_round, "profile": profile, "objects": objects}
said = io.StringIO()
with contextlib.redirect_stdout(said):  # the stack prints what it parses
    assert a_round() == 100_000
    rows = profile()
    assert len(rows) == ROWS
    assert rows[7][2] == 1007
    assert len(objects()) == ENTRIES
print("ready", flush=True)
for line in sys.stdin:
    work, number = line.split()
    act = works[work]
    with contextlib.redirect_stdout(io.StringIO()):
        since = time.process_time()
        for _ in range(int(number)):
            act()
        taken_seconds = time.process_time() - since
    print(taken_seconds, flush=True)

"""A DLMS head-end played by gurux_dlms, in a process of its own: `gurux_client.py < PLAN.json`.

The plan is {"start": ISO time, "end": ISO time, "meetings": [{"port": …, "framing": "wrapper", "hdlc" or "apdu", "auth": …,
"password": …, "max_pdu": OCTETS, "suite": …, "ciphering": …, "ref": "ln" or "sn", "ek": HEX, "ak": HEX}]}: a range of the
load profile, and with whom to talk, and how. Prints one line of JSON for each step of each meeting: {"meeting": NUMBER,
"step": NAME, "value": …}, or with "error": TEXT where the stack raised.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from gurux_asking import Asking
from gurux_dlms import GXByteBuffer, GXDateTime
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.ConnectionState import ConnectionState
from gurux_dlms.enums import Authentication, Command, Conformance, DataType, InterfaceType, Security
from gurux_dlms.GXDLMS import GXDLMS
from gurux_dlms.GXDLMSChippering import GXDLMSChippering
from gurux_dlms.GXDLMSSNParameters import GXDLMSSNParameters
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.objects import (
    GXDLMSClock,
    GXDLMSData,
    GXDLMSDisconnectControl,
    GXDLMSProfileGeneric,
    GXDLMSRegister,
)
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient
from gurux_dlms.VariableAccessSpecification import VariableAccessSpecification

LEVELS = {
    "none": Authentication.NONE,
    "lls": Authentication.LOW,
    "md5": Authentication.HIGH_MD5,
    "sha1": Authentication.HIGH_SHA1,
    "sha256": Authentication.HIGH_SHA256,
    "gmac": Authentication.HIGH_GMAC,
}
KINDS = {"wrapper": InterfaceType.WRAPPER, "hdlc": InterfaceType.HDLC, "apdu": InterfaceType.PDU}
TITLE = b"GRX\x00\x00\x00\x00\x01"
CLIENT, SERVER = 16, 1
ASSOCIATION, REPLY_TO_HLS = 0xFA00, 8
ENERGY, VOLTAGE, TEXT, CLOCK, RELAY, LOADS = (
    "1.0.1.8.0.255",
    "1.0.32.7.0.255",
    "0.0.96.13.0.255",
    "0.0.1.0.0.255",
    "0.0.96.3.10.255",
    "1.0.99.1.0.255",
)


class ShortNameClient(GXDLMSSecureClient):  # type: ignore[misc] # of an untyped package
    """Gurux's client, with what it gets wrong by short names put right (see README.md)."""

    def _GXDLMSClient__method(self, name: int, kind: Any, method: int, value: Any, data_type: Any) -> Any:  # noqa: N802 - Gurux's
        """reply_to_HLS_authentication by READ, because what it returns is needed; other methods as Gurux does."""
        if (name, method) != (ASSOCIATION, REPLY_TO_HLS):
            return super()._GXDLMSClient__method(name, kind, method, value, data_type)
        target, data = GXByteBuffer(), GXByteBuffer()
        target.setUInt16(ASSOCIATION + 0x58)
        target.setUInt8(0)
        _GXCommon.setData(self.settings, data, data_type, value)
        access = VariableAccessSpecification.PARAMETERISED_ACCESS
        return GXDLMS.getSnMessages(GXDLMSSNParameters(self.settings, Command.READ_REQUEST, 1, access, target, data))


def short_pdu(_: Any, parameters: Any, reply: Any) -> None:
    """Stands for `GXDLMS.getSNPdu`, whose ciphering does not run: the plain APDU, sealed by Gurux's AES-GCM."""
    settings = parameters.settings
    cipher, security = settings.cipher, settings.cipher.security
    cipher.security = Security.NONE
    plain_pdu(parameters, reply)
    cipher.security = security
    if security == Security.NONE or parameters.command in (Command.AARQ, Command.RELEASE_REQUEST):
        return
    dedicated = cipher.dedicatedKey if settings.connected & ConnectionState.DLMS else None
    apdu = bytes(reply.array())
    head, apdu = (apdu[:3], apdu[3:]) if apdu[:3] == b"\xe6\xe6\x00" else (b"", apdu)
    if settings.negotiatedConformance & Conformance.GENERAL_PROTECTION:
        tag = 0xDC if dedicated else 0xDB
    else:
        tag = apdu[0] + (0x40 if dedicated else 0x20)
    key = dedicated or cipher.blockCipherKey
    sealing = AesGcmParameter(tag, cipher.systemTitle, key, cipher.authenticationKey)
    sealing.security, sealing.securitySuite = security, cipher.securitySuite
    sealing.invocationCounter = cipher.invocationCounter
    cipher.invocationCounter += 1
    reply.clear()
    reply.set(bytearray(head) + GXDLMSChippering.encryptAesGcm(sealing, bytearray(apdu)))


plain_pdu = GXDLMS.getSNPdu
GXDLMS.getSNPdu = classmethod(short_pdu)


class HeadEnd(Asking):
    """One association, over a socket that blocks."""

    def __init__(self, meeting: dict[str, Any]) -> None:
        self.hdlc = meeting["framing"] == "hdlc"
        self.preset = "preset" in meeting
        kind = KINDS[meeting["framing"]]
        self.logical_names = meeting.get("ref", "ln") == "ln"
        self.high = meeting["auth"] not in ("none", "lls")
        level = LEVELS[meeting["auth"]]
        make = GXDLMSSecureClient if self.logical_names else ShortNameClient
        self.client = make(self.logical_names, CLIENT, SERVER, level, meeting.get("password") or None, kind)
        self.client.maxReceivePDUSize = meeting["max_pdu"]
        self.client.ciphering.systemTitle = bytearray(TITLE)
        if "ek" in meeting:
            self.cipher(meeting)
        self.socket = socket.create_connection(("127.0.0.1", meeting["port"]), 5)

    def cipher(self, meeting: dict[str, Any]) -> None:
        ciphering, kind = self.client.ciphering, meeting["ciphering"]
        ciphering.blockCipherKey = bytearray.fromhex(meeting["ek"])
        ciphering.authenticationKey = bytearray.fromhex(meeting["ak"])
        ciphering.securitySuite = SecuritySuite(meeting["suite"])
        ciphering.invocationCounter = 1
        if kind != "none":
            ciphering.security = Security.AUTHENTICATION_ENCRYPTION
        if kind.startswith("general"):
            self.client.proposedConformance |= Conformance.GENERAL_PROTECTION
        else:
            self.client.proposedConformance &= ~Conformance.GENERAL_PROTECTION
        if kind.endswith("dedicated"):
            ciphering.dedicatedKey = bytearray(range(0x30, 0x30 + len(ciphering.blockCipherKey)))

    def read(self, item: Any, attribute: int) -> Any:
        reply = self.ask(self.client.read(item, attribute)[0])
        if item.getDataType(attribute) == DataType.NONE:
            item.setDataType(attribute, reply.valueType)
        return self.client.updateValue(item, attribute, reply.value)

    def named(self, kind: Any, name: str) -> Any:
        """An object; with short names, one with the base name that the meter has told."""
        item = kind(name)
        if not self.logical_names:
            known = self.client.objects.findByLN(item.objectType, name)
            item.shortName = 0x3FF0 if known is None else known.shortName
        return item

    @functools.cached_property
    def loads(self) -> Any:
        return self.named(GXDLMSProfileGeneric, LOADS)

    # --- the steps ---

    def connect(self) -> str:
        if self.hdlc:
            self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)
        if self.preset:
            settings = self.client.settings
            settings.negotiatedConformance = settings.proposedConformance & ~Conformance.GENERAL_PROTECTION
            settings.connected, settings.maxPduSize = ConnectionState.DLMS, 0xFFFF
            return "associated"
        self.client.parseAareResponse(self.ask(self.client.aarqRequest()).data)
        if self.high:
            proof = self.client.getApplicationAssociationRequest()
            self.client.parseApplicationAssociationResponse(self.ask(proof).data)
        return "associated"

    def view(self) -> list[str]:
        objects = self.client.parseObjects(self.ask(self.client.getObjectsRequest()).data)
        return [f"{int(item.objectType)}/{item.logicalName}" for item in objects]

    def scaler_unit(self) -> list[Any]:
        register = self.named(GXDLMSRegister, VOLTAGE)
        self.read(register, 3)
        return [register.scaler, int(register.unit)]

    def value(self) -> Any:
        return self.read(self.named(GXDLMSRegister, ENERGY), 2)

    def name(self) -> str:
        return bytes(self.read(self.named(GXDLMSData, "0.0.42.0.0.255"), 2)).decode()

    def clock(self) -> str:
        clock = self.named(GXDLMSClock, CLOCK)
        self.read(clock, 2)
        return str(clock.time.value.astimezone(dt.UTC).isoformat())

    def with_list(self) -> list[Any]:
        items = [(self.named(GXDLMSRegister, ENERGY), 2), (self.named(GXDLMSRegister, VOLTAGE), 2)]
        self.client.updateValues(items, self.ask(self.client.readList(items)[0]).value)
        return [item.value for item, _ in items]

    def columns(self) -> list[str]:
        self.read(self.loads, 3)
        return [f"{int(item.objectType)}/{item.logicalName}" for item, _ in self.loads.captureObjects]

    def rows(self, request: Any) -> list[Any]:
        self.client.updateValue(self.loads, 2, self.ask(request).value)
        return [[row[0].value.astimezone(dt.UTC).isoformat(), *row[1:]] for row in self.loads.buffer]

    def by_range(self, start: str, end: str) -> list[Any]:
        first, last = (GXDateTime(dt.datetime.fromisoformat(text)) for text in (start, end))
        return self.rows(self.client.readRowsByRange(self.loads, first, last)[0])

    def write(self) -> str:
        text = self.named(GXDLMSData, TEXT)
        text.value = bytearray(b"written by Gurux")
        text.setDataType(2, DataType.OCTET_STRING)
        self.ask(self.client.write(text, 2)[0])
        return bytes(self.read(self.named(GXDLMSData, TEXT), 2)).decode()

    def switch(self, *, closed: bool) -> Any:
        relay = self.named(GXDLMSDisconnectControl, RELAY)
        self.ask((relay.remoteReconnect if closed else relay.remoteDisconnect)(self.client)[0])
        self.read(relay, 3)
        return [self.read(relay, 2), int(relay.controlState)]

    def unknown(self) -> Any:
        return self.read(self.named(GXDLMSData, "9.9.9.9.9.255"), 2)

    def release(self) -> str:
        if not self.preset:
            self.ask(self.client.releaseRequest())
        if self.hdlc:
            self.ask(self.client.disconnectRequest(True))  # noqa: FBT003 - the signature is Gurux's
        self.socket.close()
        return "released"


def step(meeting: int, name: str, act: Callable[[], Any]) -> None:
    said = {"meeting": meeting, "step": name}
    with contextlib.redirect_stdout(io.StringIO()):  # the stack prints what it parses
        try:
            said["value"] = act()
        except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
            said["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said, default=str), flush=True)  # noqa: T201 - the answer to who started us


def meet(number: int, meeting: dict[str, Any], plan: dict[str, Any]) -> None:
    peer = HeadEnd(meeting)
    step(number, "connect", peer.connect)
    step(number, "view", peer.view)
    step(number, "scaler_unit", peer.scaler_unit)
    step(number, "value", peer.value)
    step(number, "name", peer.name)
    step(number, "clock", peer.clock)
    step(number, "with_list", peer.with_list)
    step(number, "columns", peer.columns)
    step(number, "entries_in_use", lambda: peer.read(peer.loads, 7))
    step(number, "rows", lambda: peer.rows(peer.client.read(peer.loads, 2)[0]))
    step(number, "rows_by_entry", lambda: peer.rows(peer.client.readRowsByEntry(peer.loads, 2, 3)[0]))
    step(number, "rows_by_range", lambda: peer.by_range(plan["start"], plan["end"]))
    step(number, "write", peer.write)
    step(number, "disconnect", lambda: peer.switch(closed=False))
    step(number, "reconnect", lambda: peer.switch(closed=True))
    step(number, "unknown", peer.unknown)
    step(number, "release", peer.release)


def main() -> None:
    plan = json.load(sys.stdin)
    for number, meeting in enumerate(plan["meetings"]):
        meet(number, meeting, plan)


main()

"""ACCESS, and long writes and reads, by gurux_dlms in a process of its own: `gurux_transfers.py < PLAN.json`.

The plan is {"port": …, "framing": "wrapper" or "hdlc", "max_pdu": OCTETS, "general": BOOLEAN, "window": BLOCKS, "text": TEXT}.
Prints one line of JSON for each step: {"step": NAME, "value": …} or {"step": NAME, "error": TEXT}, and last the first octets
of all APDUs that went either way: {"step": "octets", "value": [">> …", "<< …"]}.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from gurux_asking import Asking
from gurux_dlms import GXDLMSAccessItem
from gurux_dlms.enums import AccessServiceCommandType, Authentication, Conformance, DataType, InterfaceType
from gurux_dlms.objects import GXDLMSData, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

TEXT, ENERGY, NOWHERE = "0.0.96.13.0.255", "1.0.1.8.0.255", "9.9.9.9.9.255"


class HeadEnd(Asking):
    """One association, over a socket that blocks."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.hdlc = plan["framing"] == "hdlc"
        kind = InterfaceType.HDLC if self.hdlc else InterfaceType.WRAPPER
        self.client = GXDLMSSecureClient(True, 16, 1, Authentication.LOW, "12345678", kind)  # noqa: FBT003 - Gurux's
        self.client.maxReceivePDUSize = plan["max_pdu"]
        if plan["general"]:
            self.client.proposedConformance |= Conformance.GENERAL_BLOCK_TRANSFER
            self.client.setGbtWindowSize(plan["window"])
        else:
            self.client.proposedConformance &= ~Conformance.GENERAL_BLOCK_TRANSFER
        self.client.proposedConformance |= Conformance.ACCESS
        self.octets: list[str] = []
        self.socket = socket.create_connection(("127.0.0.1", plan["port"]), 5)
        self.socket.settimeout(5)

    def note(self, way: str, octets: bytes) -> None:
        while octets and not self.hdlc:
            length = 8 + int.from_bytes(octets[6:8], "big")
            self.octets.append(f"{way} {octets[8:22].hex()}")
            octets = octets[length:]

    def connect(self) -> str:
        if self.hdlc:
            self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)
        self.client.parseAareResponse(self.ask(self.client.aarqRequest()).data)
        return "associated"

    def write(self, text: str) -> str:
        item = GXDLMSData(TEXT)
        item.value = bytearray(text.encode())
        item.setDataType(2, DataType.OCTET_STRING)
        self.ask(self.client.write(item, 2))
        return "written"

    def read(self) -> str:
        return bytes(self.ask(self.client.read(GXDLMSData(TEXT), 2)).value).decode()

    def access(self) -> list[Any]:
        items = [
            GXDLMSAccessItem(AccessServiceCommandType.GET, GXDLMSRegister(ENERGY), 2),
            GXDLMSAccessItem(AccessServiceCommandType.GET, GXDLMSData(TEXT), 2),
            GXDLMSAccessItem(AccessServiceCommandType.GET, GXDLMSData(NOWHERE), 2),
        ]
        reply = self.ask(self.client.accessRequest(None, items))
        self.client.parseAccessResponse(items, reply.data)
        values = [
            bytes(item.value).decode() if isinstance(item.value, bytes | bytearray) else item.value for item in items
        ]
        return [[value, int(item.error)] for value, item in zip(values, items, strict=True)]

    def release(self) -> str:
        self.ask(self.client.releaseRequest())
        if self.hdlc:
            self.ask(self.client.disconnectRequest(True))  # noqa: FBT003 - the signature is Gurux's
        self.socket.close()
        return "released"


def step(name: str, act: Callable[[], Any]) -> None:
    said = {"step": name}
    with contextlib.redirect_stdout(io.StringIO()):  # the stack prints what it parses
        try:
            said["value"] = act()
        except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
            said["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said, default=str), flush=True)  # noqa: T201 - the answer to who started us


def main() -> None:
    plan = json.load(sys.stdin)
    peer = HeadEnd(plan)
    step("connect", peer.connect)
    step("access", peer.access)
    step("write", lambda: peer.write(plan["text"]))
    step("read", peer.read)
    step("long access", peer.access)
    step("release", peer.release)
    step("octets", lambda: peer.octets)


main()

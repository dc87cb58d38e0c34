"""A meter that pushes, played by gurux_dlms in a process of its own: `gurux_push.py < PLAN.json`.

The plan is a list of {"framing": "wrapper" or "hdlc", "information": OCTETS of a frame, "pdu": OCTETS of an APDU,
"ek": HEX, "ak": HEX, "counter": NUMBER}, the last three for a ciphered push. Prints one line for each: the octets to send,
frame after frame, in hexadecimal.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import sys
from typing import Any

from gurux_dlms import GXDateTime
from gurux_dlms.enums import Conformance, DataType, InterfaceType, Security
from gurux_dlms.objects import GXDLMSCaptureObject, GXDLMSClock, GXDLMSData, GXDLMSPushSetup, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureNotify

LOGICAL_NAMES = True
TITLE = b"GRX\x00\x00\x00\x00\x01"


def frames(push: dict[str, Any]) -> bytes:
    """The frames of one push: its list, a name, the time, and an energy."""
    kind = InterfaceType.HDLC if push["framing"] == "hdlc" else InterfaceType.WRAPPER
    notify = GXDLMSSecureNotify(LOGICAL_NAMES, 16, 1, kind)
    notify.settings.hdlc.maxInfoTX = push["information"]
    notify.settings.maxPduSize = push["pdu"]
    notify.settings.negotiatedConformance |= Conformance.GENERAL_BLOCK_TRANSFER
    if "ek" in push:
        notify.ciphering.systemTitle = TITLE
        notify.ciphering.blockCipherKey = bytes.fromhex(push["ek"])
        notify.ciphering.authenticationKey = bytes.fromhex(push["ak"])
        notify.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
        notify.ciphering.invocationCounter = push["counter"]
    setup = GXDLMSPushSetup()
    name = GXDLMSData("0.0.42.0.0.255")
    name.value = bytearray(b"GRX0000012345678")
    name.setDataType(2, DataType.OCTET_STRING)
    clock = GXDLMSClock()
    clock.time = GXDateTime(dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))
    energy = GXDLMSRegister("1.0.1.8.0.255")
    energy.value = 123456
    energy.setDataType(2, DataType.UINT32)
    for thing in (setup, name, clock, energy):
        setup.pushObjectList.append((thing, GXDLMSCaptureObject(2, 0)))
    now = GXDateTime(dt.datetime(2026, 3, 4, 5, 6, 8, tzinfo=dt.UTC))
    return b"".join(bytes(message) for message in notify.generatePushSetupMessages(now, setup))


def main() -> None:
    """Print what is asked for."""
    for push in json.load(sys.stdin):
        with contextlib.redirect_stdout(io.StringIO()):
            octets = frames(push)
        sys.stdout.write(f"{octets.hex()}\n")


if __name__ == "__main__":
    main()

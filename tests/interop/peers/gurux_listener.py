"""A push listener played by gurux_dlms, in a process of its own: `gurux_listener.py < PLAN.json`.

The plan is {"framing": "wrapper" or "hdlc", "ek": HEX, "ak": HEX}, keys where pushes are ciphered. Prints the port where it
listens; for the first connection, the values of each push that comes, one line of JSON each, until the connection ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from typing import Any

from gurux_dlms import GXByteBuffer, GXReplyData
from gurux_dlms.enums import Authentication, InterfaceType
from gurux_dlms.secure import GXDLMSSecureClient


def plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return [plain(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    plan = json.load(sys.stdin)
    kind = InterfaceType.HDLC if plan["framing"] == "hdlc" else InterfaceType.WRAPPER
    client = GXDLMSSecureClient(True, 1, 1, Authentication.NONE, None, kind)  # noqa: FBT003 - as the stack has it
    if "ek" in plan:
        client.ciphering.blockCipherKey = bytearray.fromhex(plan["ek"])
        client.ciphering.authenticationKey = bytearray.fromhex(plan["ak"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)  # noqa: T201 - the answer to who started us
        link, _ = server.accept()
        with link:
            listen(link, client)


def listen(link: socket.socket, client: GXDLMSSecureClient) -> None:
    received, notified = GXByteBuffer(), GXReplyData()
    while octets := link.recv(0x10000):
        received.set(bytearray(octets))
        before = -1
        while received.available() and received.position != before:
            before = received.position
            with contextlib.redirect_stdout(io.StringIO()):
                client.getData(received, GXReplyData(), notified)
            if notified.complete and not notified.isMoreData():
                print(json.dumps(plain(notified.value), default=str), flush=True)  # noqa: T201 - ditto
                notified.clear()


main()

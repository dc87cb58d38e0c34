"""A DLMS head-end played by gurux_dlms that changes keys and policy of a meter, and speaks general-ciphering.

`gurux_keys.py < PLAN.json`, the plan being {"port": …, "suite": …, "ek": HEX, "ak": HEX, "mk": HEX, "new_ek": HEX, "new_ak": HEX,
"policy": NUMBER}. Prints one line of JSON for each step: {"step": NAME, "value": …}, or with "error": TEXT.

The stack cannot send general-ciphering itself; its header and key information are written here, and Gurux's AES-GCM, Gurux's
associated data and Gurux's key wrap make the rest.
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
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.CountType import CountType
from gurux_dlms.enums import Authentication, Conformance, InterfaceType, Security
from gurux_dlms.GXDLMSChippering import GXDLMSChippering
from gurux_dlms.objects import GXDLMSRegister, GXDLMSSecuritySetup
from gurux_dlms.objects.enums import GlobalKeyType, SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

TITLE = b"GRX\x00\x00\x00\x00\x01"
CLIENT, SERVER = 16, 1
ENERGY = "1.0.1.8.0.255"
GET = bytes.fromhex("c001c100030100010800ff0200")
SET = bytes.fromhex("c101c100010000600d00ff020009")
IDENTIFIED = bytes.fromhex("010000")


class HeadEnd(Asking):
    """One association after the other, over a socket that blocks."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.socket = socket.create_connection(("127.0.0.1", plan["port"]), 5)
        self.counter = self.transaction = 1
        self.ek, self.ak = (bytes.fromhex(plan[name]) for name in ("ek", "ak"))
        self.setup = GXDLMSSecuritySetup("0.0.43.0.0.255")

    def associate(self) -> str:
        client = GXDLMSSecureClient(True, CLIENT, SERVER, Authentication.HIGH_GMAC, None, InterfaceType.WRAPPER)  # noqa: FBT003 - Gurux's
        ciphering = client.ciphering
        ciphering.systemTitle = bytearray(TITLE)
        ciphering.blockCipherKey, ciphering.authenticationKey = bytearray(self.ek), bytearray(self.ak)
        ciphering.securitySuite = SecuritySuite(self.plan["suite"])
        ciphering.security = Security.AUTHENTICATION_ENCRYPTION
        ciphering.invocationCounter = self.counter
        client.proposedConformance |= Conformance.GENERAL_PROTECTION
        self.client = client
        client.parseAareResponse(self.ask(client.aarqRequest()).data)
        client.parseApplicationAssociationResponse(self.ask(client.getApplicationAssociationRequest()).data)
        return "associated"

    def release(self) -> str:
        self.ask(self.client.releaseRequest())
        self.counter = self.client.ciphering.invocationCounter + 1
        return "released"

    # --- the steps ---

    def value(self) -> Any:
        register = GXDLMSRegister(ENERGY)
        return self.client.updateValue(register, 2, self.ask(self.client.read(register, 2)[0]).value)

    def shown(self, attribute: int) -> Any:
        found = self.client.updateValue(
            self.setup, attribute, self.ask(self.client.read(self.setup, attribute)[0]).value
        )
        return bytes(found).hex() if isinstance(found, bytes | bytearray) else int(found)

    def transfer(self) -> str:
        new = [bytearray.fromhex(self.plan[name]) for name in ("new_ek", "new_ak")]
        kinds = GlobalKeyType.UNICAST_ENCRYPTION, GlobalKeyType.AUTHENTICATION
        master = bytearray.fromhex(self.plan["mk"])
        self.ask(self.setup.globalKeyTransfer(self.client, master, list(zip(kinds, new, strict=True))))
        return "transferred"

    def take_new_keys(self) -> None:
        self.ek, self.ak = (bytes.fromhex(self.plan[name]) for name in ("new_ek", "new_ak"))
        self.counter = 1

    def activate(self) -> Any:
        self.ask(self.setup.activate(self.client, self.plan["policy"]))
        return self.shown(2)

    # --- general-ciphering ---

    def parameter(self, key: bytes, counter: int, sender: bytes, recipient: bytes) -> AesGcmParameter:
        """`counter` is also the transaction id: Gurux has one number for both."""
        made = AesGcmParameter()
        made.security, made.securitySuite = Security.AUTHENTICATION_ENCRYPTION, SecuritySuite(self.plan["suite"])
        made.invocationCounter, made.systemTitle = counter, bytearray(sender)
        made.blockCipherKey, made.authenticationKey = bytearray(key), bytearray(self.ak)
        made.recipientSystemTitle, made.type_ = bytearray(recipient), CountType.PACKET
        return made

    def general(self, apdu: bytes, information: bytes, key: bytes) -> bytes:
        """Send an APDU in general-ciphering; the APDU that answers."""
        meter = bytes(self.client.settings.sourceSystemTitle)
        counter = self.transaction = self.client.ciphering.invocationCounter
        self.client.ciphering.invocationCounter = counter + 1
        sealed = bytes(GXDLMSChippering.encryptAesGcm(self.parameter(key, counter, TITLE, meter), bytearray(apdu)))
        sealed = sealed[2 + max(0, sealed[1] - 0x80) :]  # without tag and length
        header = b"\x08" + counter.to_bytes(8, "big") + b"\x08" + TITLE + b"\x08" + meter + b"\x00\x00"
        whole = b"\xdd" + header + information + bytes((len(sealed),)) + sealed
        self.socket.sendall(bytes.fromhex("000100100001") + len(whole).to_bytes(2, "big") + whole)
        return self.socket.recv(0x10000)[8:]

    def opened(self, answer: bytes) -> bytes:
        """What an answer under the identified key holds; its tag is checked by what Gurux's AES-GCM makes of the plaintext."""
        meter = bytes(self.client.settings.sourceSystemTitle)
        transaction = self.transaction
        header = b"\x08" + transaction.to_bytes(8, "big") + b"\x08" + meter + b"\x08" + TITLE + b"\x00\x00"
        start = b"\xdd" + header + IDENTIFIED
        if not answer.startswith(start):
            raise ValueError(f"another header: {answer.hex()}")
        sealed = answer[len(start) + 1 :]
        counter, content, tag = int.from_bytes(sealed[1:5], "big"), sealed[5:-12], sealed[-12:]
        # Gurux has one number for counter and transaction; here they differ, so the associated data are made by themselves
        told = GXDLMSChippering.getAuthenticatedData(self.parameter(self.ek, transaction, meter, TITLE), sealed[0], b"")

        class Told(GXDLMSChippering):
            @classmethod
            def getAuthenticatedData(cls, *_: Any) -> Any:  # noqa: N802 - Gurux's
                return told

        def seal(text: bytes) -> bytes:
            made = bytes(Told.encryptAesGcm(self.parameter(self.ek, counter, meter, TITLE), bytearray(text)))
            return made[-len(text) - 12 :]

        plain = seal(content)[:-12]  # in counter mode deciphering is enciphering
        if seal(plain) != content + tag:
            raise ValueError("the tag does not hold")
        return plain

    def general_read(self) -> str:
        return self.opened(self.general(GET, IDENTIFIED, self.ek)).hex()

    def general_wrapped(self) -> str:
        key = bytes(range(0x60, 0x60 + len(self.ek)))
        wrapped = bytes(GXDLMSSecureClient.encrypt(bytearray.fromhex(self.plan["mk"]), bytearray(key)))
        request = SET + bytes((7,)) + b"wrapped"
        return self.general(request, b"\x01\x01\x00" + bytes((len(wrapped),)) + wrapped, key)[:1].hex()


def step(name: str, act: Callable[[], Any]) -> None:
    said: dict[str, Any] = {"step": name}
    with contextlib.redirect_stdout(io.StringIO()):  # the stack prints what it parses
        try:
            said["value"] = act()
        except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
            said["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said, default=str), flush=True)  # noqa: T201 - the answer to who started us


def main() -> None:
    peer = HeadEnd(json.load(sys.stdin))
    step("associate", peer.associate)
    step("value", peer.value)
    step("suite", lambda: peer.shown(3))
    step("titles", lambda: [peer.shown(4), peer.shown(5)])
    step("general_read", peer.general_read)
    step("general_wrapped", peer.general_wrapped)
    step("activate", peer.activate)
    step("transfer", peer.transfer)
    step("release", peer.release)
    step("old_keys", peer.associate)
    peer.take_new_keys()
    step("new_keys", peer.associate)
    step("new_value", peer.value)
    step("new_release", peer.release)


main()

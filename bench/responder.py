"""The meters' side of the transport benchmarks: answers with correct frames and does nothing else.

python -m bench.responder wrapper|hdlc|modbus    says {"port": …, …}; each line on its standard input tells its processor
time; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from bench.common import say
from headend.protocols.base import ApduReceived, Role
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateResponse
from headend.protocols.hdlc import Address, HdlcConnection
from headend.protocols.hdlc.frame import build_frame
from headend.protocols.wrapper import WrapperFraming, wrap

CLIENT, METER = 16, 1
VALUE = bytes.fromhex("06000186a0")
AARQ = bytes.fromhex("601da109060760857405080101be10040e01000000065f1f0400001e1dffff")
NORMAL = tuple(bytes((0xC4, 0x01, 0xC0 | invoke, 0x00)) + VALUE for invoke in range(16))
LLC = b"\xe6\xe7\x00"


def aare() -> bytes:
    """What a meter says to an association: yes, with lists."""
    framing = WrapperFraming(Role.SERVER, server_sap=METER)
    connection = DlmsConnection(Role.SERVER, framing)
    framing.receive_data(wrap(AARQ, CLIENT, METER))
    connection.take(cast("ApduReceived", framing.next_event()))
    conformance = Conformance.GET | Conformance.MULTIPLE_REFERENCES | Conformance.BLOCK_TRANSFER_WITH_GET
    connection.send(AssociationResponse(initiate=InitiateResponse(conformance=conformance, max_receive_pdu=1200)))
    return framing.data_to_send()[8:]


def answer(apdu: bytes) -> bytes:
    """The answer to any APDU that a client sends."""
    if apdu[:2] == b"\xc0\x01":
        return NORMAL[apdu[2] & 0x0F]
    if apdu[:2] == b"\xc0\x03":
        return b"\xc4\x03" + apdu[2:4] + (b"\x00" + VALUE) * apdu[3]
    return aare() if apdu[0] == 0x60 else bytes.fromhex("6303800100")


def wrapper_answer(data: bytes) -> bytes:
    return wrap(answer(data[8:]), METER, CLIENT)


def hdlc_answer(data: bytes) -> bytes:
    """UA to SNRM, and what follows from the numbers of an I-frame alone."""
    control = data[5]
    addresses = Address.client(CLIENT).encode() + Address.server(METER).encode()
    if control & 0x01:
        meter = HdlcConnection(Role.SERVER, client=Address.client(CLIENT), server=Address.server(METER))
        meter.receive_data(data)
        meter.next_event()
        return meter.data_to_send()
    received, sent = control >> 5, control >> 1 & 0x07
    number = ((sent + 1) & 0x07) << 5 | 0x10 | received << 1
    return build_frame(addresses, number, LLC + answer(data[11:-3]))


def modbus_answer(data: bytes) -> bytes:
    """Zeros in all registers asked for; the transaction number is put in by the caller."""
    octets = 2 * int.from_bytes(data[10:12], "big")
    return data[:4] + (3 + octets).to_bytes(2, "big") + data[6:8] + bytes((octets,)) + bytes(octets)


class Remembering(asyncio.Protocol):
    """Answers a request with what it answered to the same octets before."""

    known: dict[bytes, bytes]
    make: Callable[[bytes], bytes]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        found = self.known.get(data)
        if found is None:
            found = self.known[data] = self.make(data)
        self.transport.write(found)


class Transactions(Remembering):
    """The same for Modbus, whose requests differ in their transaction numbers."""

    def data_received(self, data: bytes) -> None:
        found = self.known.get(data[2:])
        if found is None:
            found = self.known[data[2:]] = self.make(data)[2:]
        self.transport.write(data[:2] + found)


def kind(name: str) -> type[Remembering]:
    makers = {"wrapper": wrapper_answer, "hdlc": hdlc_answer, "modbus": modbus_answer}
    base = Transactions if name == "modbus" else Remembering
    return type(name, (base,), {"known": {}, "make": staticmethod(makers[name])})


async def serve(name: str) -> None:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(kind(name), "127.0.0.1", 0, backlog=4096)
    say(port=listener.sockets[0].getsockname()[1])
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(cpu=time.process_time())
    listener.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

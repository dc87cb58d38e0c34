"""Runs in the environment of the peers: a Gurux client that talks by hexadecimal lines and tells what it has read."""

import sys

from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
from gurux_dlms.enums import Authentication, InterfaceType
from gurux_dlms.objects import GXDLMSData

LOGICAL_NAMES = True
information, server = int(sys.argv[1]), int(sys.argv[2])
client = GXDLMSClient(LOGICAL_NAMES, 16, server, Authentication.NONE, None, InterfaceType.HDLC)
client.hdlcSettings.maxInfoRX = client.hdlcSettings.maxInfoTX = information


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def exchange(frame: bytes, reply: GXReplyData) -> None:
    say(bytes(frame).hex())
    received = GXByteBuffer()
    while True:
        received.set(bytearray.fromhex(sys.stdin.readline()))
        if client.getData(received, reply, GXReplyData()):
            return


def ask(frames: list[bytes] | bytes) -> GXReplyData:
    reply = GXReplyData()
    for frame in frames if isinstance(frames, list) else [frames]:
        reply.clear()
        exchange(frame, reply)
        while reply.isMoreData():
            exchange(client.receiverReady(reply), reply)
    return reply


client.parseUAResponse(ask(client.snrmRequest()).data)
client.parseAareResponse(ask(client.aarqRequest()).data)
name = GXDLMSData("0.0.42.0.0.255")
for _ in range(10):
    client.updateValue(name, 2, ask(client.read(name, 2)).value)
    say(f"read {bytes(name.value).hex()}")
name.value = bytearray(range(200))
ask(client.write(name, 2))
say("written")
ask(client.disconnectRequest())
say("closed")

"""Reads meters with gurux-dlms over the TCP wrapper, a thread a meter: gurux_reader.py PORT METERS SECONDS."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
from gurux_dlms.enums import Authentication, InterfaceType
from gurux_dlms.objects import GXDLMSRegister

counts: list[int] = []


def ask(client: GXDLMSClient, sock: socket.socket, frame: object) -> GXReplyData:
    reply = GXReplyData()
    sock.sendall(bytes(frame))  # type: ignore[call-overload] # an array of octets
    received = GXByteBuffer()
    while True:
        received.set(bytearray(sock.recv(4096)))
        if client.getData(received, reply, None):
            return reply


def serve(number: int, port: int) -> None:
    client = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER)  # noqa: FBT003 # logical names
    sock = socket.create_connection(("127.0.0.1", port), 10)
    client.parseAareResponse(ask(client, sock, client.aarqRequest()[0]).data)
    register = GXDLMSRegister("1.0.1.8.0.255")
    assert ask(client, sock, client.read(register, 2)[0]).value == 100_000
    while True:
        ask(client, sock, client.read(register, 2)[0])
        counts[number] += 1


def main() -> None:
    port, meters, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts.extend([0] * meters)
    for number in range(meters):
        threading.Thread(target=serve, args=(number, port), daemon=True).start()
    time.sleep(1.5)
    before, cpu, wall = sum(counts), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    done, cpu, wall = sum(counts) - before, time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"per_cpu": done / cpu, "per_wall": done / wall, "busy": cpu / wall}), flush=True)
    sys.stdin.readline()


main()

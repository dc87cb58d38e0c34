"""What the clients on Gurux's codec share: to ask over a socket that blocks, and to take an answer however many frames it has."""

from __future__ import annotations

import socket
from typing import Any

from gurux_dlms import GXByteBuffer, GXReplyData


class Asking:
    """A client of Gurux with a socket."""

    client: Any
    socket: socket.socket

    def exchange(self, frame: Any, reply: GXReplyData) -> None:
        self.note(">>", bytes(frame))
        self.socket.sendall(bytes(frame))
        received = GXByteBuffer()
        while True:
            octets = self.socket.recv(0x10000)
            if not octets:
                raise ConnectionError("the meter has closed the link")
            self.note("<<", octets)
            received.set(bytearray(octets))
            if self.client.getData(received, reply, GXReplyData()):
                return

    def note(self, way: str, octets: bytes) -> None:
        """For those who want to see the octets."""

    def ask(self, frames: Any) -> GXReplyData:
        reply = GXReplyData()
        for frame in frames if isinstance(frames, list) else [frames]:
            reply.clear()
            self.exchange(frame, reply)
            while reply.isMoreData():
                self.exchange(self.client.receiverReady(reply), reply)
        if reply.error:
            raise PermissionError(f"result {int(reply.error)}")
        return reply

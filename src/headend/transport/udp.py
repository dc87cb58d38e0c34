"""UDP links: one connected socket, each datagram handed on as it came; and the listener that takes datagrams of anybody."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, cast

from headend.errors import ConfigError, ConnectRefused, LinkClosed, LinkError
from headend.transport.link import Receiver, Tap
from headend.transport.tcp import format_address, resolve, unreachable


class UdpLink(asyncio.DatagramProtocol):
    """A Link over a connected UDP socket."""

    __slots__ = (
        "_closed",
        "_reason",
        "_receiver",
        "_transport",
        "is_open",
        "local",
        "octets_in",
        "octets_out",
        "peer",
        "tap",
    )

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.local = ""
        self.octets_in = 0
        self.octets_out = 0
        self.tap: Tap | None = None
        self.is_open = False
        self._transport: asyncio.DatagramTransport | None = None
        self._receiver: Receiver | None = None
        self._reason: LinkError | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner. A datagram that came before the first owner is dropped, as networks drop them."""
        self._receiver = receiver
        if buffered:
            receiver.data_received(buffered)
        if self._transport is None and self._receiver is receiver:
            self._receiver = None
            receiver.link_lost(self._reason or LinkClosed(f"the link to {self.peer} is not open"))

    def write(self, data: bytes) -> None:
        """Send one datagram; does nothing on a link that is not open."""
        if self.is_open and data:
            self.octets_out += len(data)
            if self.tap is not None:
                self.tap(">>", data)
            self._transport.sendto(data)  # type: ignore[union-attr] # open means that there is a transport

    def _drop(self, reason: LinkError) -> None:
        self.is_open = False
        if self._reason is None:
            self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    async def set_line(self, baud: int, line: str) -> None:
        """Nothing to change here."""

    def abort(self) -> None:
        """Drop the link at once."""
        self._drop(LinkClosed(f"the link to {self.peer} was closed by this side"))

    async def aclose(self) -> None:
        """Close the link; datagrams leave at once, so only the close itself is waited for."""
        self.abort()
        if self._transport is not None:
            await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.local = format_address(transport.get_extra_info("sockname"))
        self.is_open = True

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """A datagram came: it is handed on at once."""
        self.octets_in += len(data)
        if self.tap is not None:
            self.tap("<<", data)
        if self._receiver is not None:
            self._receiver.data_received(data)

    def error_received(self, exc: Exception) -> None:
        """The network said that a datagram did not arrive."""
        if isinstance(exc, ConnectionRefusedError):
            self._drop(ConnectRefused(f"nobody listens at {self.peer} (UDP)", hint="check the port"))
        else:
            self._drop(LinkError(f"cannot reach {self.peer}: {getattr(exc, 'strerror', None) or exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.is_open = False
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)
        if self._reason is None:
            self._reason = LinkClosed(f"the link to {self.peer} was lost{f': {exc}' if exc else ''}")
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.link_lost(self._reason)


async def connect_udp(host: str, port: int, timeout: float) -> UdpLink:
    """Open a UDP link. That somebody is there shows only when they answer; raises LinkError."""
    where = format_address((host, port))
    try:
        async with asyncio.timeout(timeout):
            address = (await resolve(host))[0]
            _, link = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: UdpLink(where), remote_addr=(address, port)
            )
    except (OSError, UnicodeError) as error:
        raise unreachable(error, where, timeout) from error
    return link


PEERS: Final = 4096
"""Senders of datagrams that a listener tells apart; beyond them the one that was silent for longest is forgotten."""


class UdpPeer:
    """A Link to one sender of datagrams, over the socket of a listener."""

    __slots__ = ("_address", "_listener", "_receiver", "is_open", "local", "octets_in", "octets_out", "peer", "tap")

    def __init__(self, listener: UdpListener, address: tuple[Any, ...]) -> None:
        self._listener = listener
        self._address = address
        self._receiver: Receiver | None = None
        self.peer = format_address(address)
        self.local = format_address(listener.address)
        self.octets_in = 0
        self.octets_out = 0
        self.tap: Tap | None = None
        self.is_open = True

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        """Give the link an owner."""
        self._receiver = receiver
        if buffered:
            receiver.data_received(buffered)

    def arrive(self, data: bytes) -> None:
        """A datagram of this sender."""
        self.octets_in += len(data)
        if self.tap is not None:
            self.tap("<<", data)
        if self._receiver is not None:
            self._receiver.data_received(data)

    def write(self, data: bytes) -> None:
        """Send one datagram; does nothing on a link that is not open."""
        if self.is_open and data:
            self.octets_out += len(data)
            if self.tap is not None:
                self.tap(">>", data)
            self._listener.send(data, self._address)

    async def set_line(self, baud: int, line: str) -> None:
        """Nothing to change here."""

    def abort(self) -> None:
        """Forget the sender; its next datagram begins anew."""
        if self.is_open:
            self.is_open = False
            self._listener.forget(self._address)
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.link_lost(LinkClosed(f"the link to {self.peer} was closed by this side"))

    async def aclose(self) -> None:
        """Forget the sender; datagrams have left already."""
        self.abort()


class UdpListener(asyncio.DatagramProtocol):
    """A bound socket and those who send to it; made by `listen_udp`."""

    __slots__ = ("_closed", "_on_link", "_transport", "address", "peers")

    def __init__(self, on_link: Callable[[UdpPeer], None]) -> None:
        self._on_link = on_link
        self._transport: asyncio.DatagramTransport | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.address: tuple[str, int] = ("", 0)
        """host and port that it listens on"""
        self.peers: OrderedDict[tuple[Any, ...], UdpPeer] = OrderedDict()
        """senders, the one silent for longest first"""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """A datagram came: its sender gets a link with the first one."""
        peer = self.peers.get(addr)
        if peer is None:
            while len(self.peers) >= PEERS:
                next(iter(self.peers.values())).abort()
            peer = self.peers[addr] = UdpPeer(self, addr)
            self._on_link(peer)
        else:
            self.peers.move_to_end(addr)
        if peer.is_open:
            peer.arrive(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def send(self, data: bytes, address: tuple[Any, ...]) -> None:
        """Send a datagram to somebody."""
        if self._transport is not None:
            self._transport.sendto(data, address)

    def forget(self, address: tuple[Any, ...]) -> None:
        """Somebody is no longer a peer."""
        self.peers.pop(address, None)

    async def aclose(self) -> None:
        """Stop listening and forget all senders."""
        for peer in list(self.peers.values()):
            peer.abort()
        if self._transport is not None:
            self._transport.close()
            await self._closed


async def listen_udp(host: str, port: int, on_link: Callable[[UdpPeer], None]) -> UdpListener:
    """Listen on an address (port 0: any free one), and call `on_link` with a link for each sender; raises ConfigError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0)
        sock.bind((host, port))
        _, listener = await asyncio.get_running_loop().create_datagram_endpoint(lambda: UdpListener(on_link), sock=sock)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {format_address((host, port))} (UDP): {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return listener

"""TCP links: the connections we open, and the listeners that meters (or, for virtual meters, head-ends) connect to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from headend.errors import ConfigError, ConnectRefused, LinkClosed, LinkError, LinkTimeout
from headend.transport.deadline import NEVER, sweeper
from headend.transport.stream import StreamLink

BACKLOG: Final = 65535
"""Asked of the kernel, which clips it to net.core.somaxconn. The usual 100 loses most of a reconnect storm."""

ACCEPTS_PER_TURN: Final = 128
"""Connections taken in one turn of the event loop, so that a storm does not starve the open links."""

SPARE_DESCRIPTORS: Final = 500
"""Descriptors that accepted links leave to everything else: files, the database, connections we open, accepts under way."""

_KEEP_ALIVE: Final = tuple(
    (getattr(socket, option), value)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, option)
)

OnLink: TypeAlias = Callable[["AcceptedLink"], None]
"""Called in the event loop with each accepted link; sets its receiver. Must not raise."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


# --- connections we open ---


async def connect_tcp(host: str, port: int, timeout: float, *, source: str = "") -> StreamLink:
    """Open a TCP link, from the local address `source` where one is given.

    Raises ConnectRefused, LinkTimeout, LinkError; each names the endpoint and says what to try.
    """
    where = format_address((host, port))
    try:
        async with asyncio.timeout(timeout):
            link = await _connect_first(await resolve(host), port, where, (source, 0) if source else None)
    except (OSError, UnicodeError) as error:
        raise unreachable(error, where, timeout) from error
    if (sock := link.transport_info("socket")) is not None:
        _keep_alive(sock)
    return link


async def resolve(host: str) -> list[str]:
    """The addresses of a host; an address is its own."""
    if ":" in host or host.replace(".", "").isdigit():
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _connect_first(addresses: list[str], port: int, where: str, source: tuple[str, int] | None) -> StreamLink:
    """A link to the first address that takes the connection; raises the last OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError("it has no address")
    for address in addresses:
        try:
            _, link = await loop.create_connection(lambda: StreamLink(where), address, port, local_addr=source)
        except OSError as error:
            failure = error
        else:
            link.local = format_address(link.transport_info("sockname"))
            return link
    raise failure


def _keep_alive(sock: socket.socket) -> None:
    """Notice within two minutes that the peer is gone without a word. Accepted sockets inherit it from their listener."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def format_address(address: tuple[Any, ...] | None) -> str:
    """`192.0.2.7:4059`, `[2001:db8::7]:4059`; empty when there is no address any more."""
    if not address:
        return ""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unreachable(error: OSError | UnicodeError, where: str, timeout: float) -> LinkError:
    """What kept us from connecting, in our words."""
    if isinstance(error, UnicodeError | socket.gaierror):
        return LinkError(f"the name in {where!r} does not resolve", hint="check its spelling and the DNS")
    if isinstance(error, TimeoutError):
        return LinkTimeout(
            f"{where} did not answer within {timeout:g} s",
            hint="check the address and the firewalls on the way; over a modem allow more time",
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectRefused(
            f"nobody listens at {where}",
            hint="check the port; a meter that takes one connection at a time refuses the next",
        )
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return LinkError(f"no route to {where}", hint="check the address, the cable or modem, the VPN")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LinkError(f"no descriptor is left to connect to {where}", hint="raise `ulimit -n`")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConnectRefused(f"this machine forbids connecting to {where}", hint="check the local firewall")
    return LinkError(f"cannot connect to {where}: {error.strerror or error}")


# --- connections we accept ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenLimits:
    """What a listener puts up with.

    `links`: open links at a time (None: as many as descriptors allow). `first_octet`: seconds within which a peer must say
    something (None: as long as it likes). `loopback`: only peers and local addresses within 127.0.0.0/8.
    """

    links: int | None = None
    first_octet: float | None = None
    loopback: bool = False


class AcceptedLink(StreamLink):
    """A link that somebody opened to a listener of ours."""

    __slots__ = ("_listener", "deadline")

    def __init__(self, listener: TcpListener) -> None:
        super().__init__()
        self._listener = listener
        self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the listener, which decides whether the link may stay."""
        super().connection_made(transport)
        self.peer = format_address(transport.get_extra_info("peername"))
        self.local = format_address(transport.get_extra_info("sockname"))
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener and the receiver."""
        self._listener.closed(self)
        super().connection_lost(exc)

    def expire(self) -> None:
        """The time for the first octet is over."""
        sweeper().discard(self)
        if not self.octets_in:
            self.drop(LinkTimeout(f"{self.peer} connected and said nothing"))


class TcpListener:
    """A listening socket and the links it has accepted; made by `listen_tcp`."""

    __slots__ = ("_limits", "_on_link", "_server", "_top_descriptor", "address", "links", "turned_away")

    def __init__(self, on_link: OnLink, limits: ListenLimits) -> None:
        self._on_link = on_link
        self._limits = limits
        self._top_descriptor = raise_descriptor_limit() - SPARE_DESCRIPTORS
        self._server: asyncio.Server | None = None
        self.address: tuple[str, int] = ("", 0)
        """host and port that it listens on"""
        self.links: set[AcceptedLink] = set()
        """open links"""
        self.turned_away = 0
        """how many links were dropped at once because of a limit"""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    async def start(self, sock: socket.socket) -> None:
        """Accept from a bound socket, which is the listener's from now on."""
        self.address = sock.getsockname()[:2]
        self._server = await asyncio.get_running_loop().create_server(
            lambda: AcceptedLink(self), sock=sock, backlog=ACCEPTS_PER_TURN
        )
        sock.listen(BACKLOG)  # asyncio takes its own `backlog` for the number of accepts in a turn, too

    def opened(self, link: AcceptedLink) -> None:
        """A link was accepted: hand it on, unless a limit forbids it."""
        self.links.add(link)
        if self._allows(link):
            if self._limits.first_octet is not None:
                link.deadline = asyncio.get_running_loop().time() + self._limits.first_octet
                sweeper().add(link)
            self._on_link(link)
        else:
            self.turned_away += 1
            link.drop(LinkClosed(f"{link.peer} was turned away"))

    def _allows(self, link: AcceptedLink) -> bool:
        limits = self._limits
        if limits.links is not None and len(self.links) > limits.links:
            return False
        # The kernel gives the lowest free number, so the number says how many descriptors the whole process has open.
        if link.transport_info("socket").fileno() >= self._top_descriptor:
            return False
        return not limits.loopback or (link.local.startswith("127.") and link.peer.startswith("127."))

    def closed(self, link: AcceptedLink) -> None:
        """A link is gone."""
        self.links.discard(link)
        if link.deadline != NEVER:
            sweeper().discard(link)

    async def aclose(self) -> None:
        """Stop listening and drop all links."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for link in self.links:
            link.abort()
        await asyncio.gather(*(link.aclose() for link in list(self.links)))
        await server.wait_closed()


async def listen_tcp(host: str, port: int, on_link: OnLink, limits: ListenLimits | None = None) -> TcpListener:
    """Listen on an address (port 0: any free one) and call `on_link` with each link; raises ConfigError.

    With `limits.loopback` and host 0.0.0.0 one listener answers on all of 127.0.0.0/8 and nowhere else: the socket is bound
    to the loopback device where the system permits it, and in any case a link with another address at either end is
    dropped before an octet is read or written.
    """
    limits = limits or ListenLimits()
    if limits.loopback and not (host == "0.0.0.0" or host.startswith("127.")):  # noqa: S104 - the wildcard of that mode
        raise ConfigError(f"{host} is not a loopback address", hint="give 0.0.0.0 or an address in 127.0.0.0/8")
    listener = TcpListener(on_link, limits)
    sock = _bound_socket(host, port, device="lo" if limits.loopback else "")
    try:
        await listener.start(sock)
    except BaseException:
        sock.close()
        raise
    return listener


def _bound_socket(host: str, port: int, *, device: str) -> socket.socket:
    where = format_address((host, port))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only if it says TCP
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep_alive(sock)
        if device and hasattr(socket, "SO_BINDTODEVICE"):
            with contextlib.suppress(PermissionError):  # the check of both addresses at accept stands alone then
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        hint = {
            errno.EADDRINUSE: "another program listens there; choose another port",
            errno.EACCES: "ports below 1024 need the right to bind them",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
        }.get(error.errno or 0, "")
        raise ConfigError(f"cannot listen on {where}: {error.strerror}", hint=hint) from error
    except BaseException:
        sock.close()
        raise
    return sock

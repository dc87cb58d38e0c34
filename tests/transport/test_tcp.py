from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headend.errors import ConfigError, ConnectRefused, LinkClosed, LinkError, LinkTimeout
from headend.transport import tcp
from headend.transport.deadline import sweeper
from headend.transport.link import Link
from headend.transport.stream import EARLY_LIMIT, WRITE_LIMIT
from headend.transport.tcp import AcceptedLink, ListenLimits, TcpListener, connect_tcp, format_address, listen_tcp

WILDCARD = "0.0.0.0"  # noqa: S104 - loopback only, by the limits


class Echo:
    """Owns accepted links and sends back what they get."""

    def __init__(self) -> None:
        self.links: list[AcceptedLink] = []
        self.lost: list[LinkError] = []

    def __call__(self, link: AcceptedLink) -> None:
        self.links.append(link)
        link.set_receiver(_EchoReceiver(link, self))


class _EchoReceiver:
    def __init__(self, link: AcceptedLink, echo: Echo) -> None:
        self.link, self.echo = link, echo

    def data_received(self, data: bytes) -> None:
        self.link.write(data)

    def link_lost(self, error: LinkError) -> None:
        self.echo.lost.append(error)


def descriptors() -> set[int]:
    """Open sockets of this process."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).startswith("socket:"):
                found.add(int(entry.name))
    return found


@contextlib.asynccontextmanager
async def listening(
    on_link: Any, host: str = "127.0.0.1", limits: ListenLimits | None = None
) -> AsyncIterator[TcpListener]:
    """A listener that leaves no link, no task and no descriptor behind."""
    tasks, before = asyncio.all_tasks(), descriptors()
    listener = await listen_tcp(host, 0, on_link, limits)
    try:
        yield listener
    finally:
        await listener.aclose()
    assert not listener.links
    assert asyncio.all_tasks() == tasks
    for _ in range(10):  # uvloop closes descriptors a few turns later
        await asyncio.sleep(0)
    assert descriptors() <= before


@contextlib.contextmanager
def plain_listener(backlog: int = 16) -> Any:
    """A listening socket that the kernel alone serves."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as sock:
        yield sock, sock.getsockname()[1]


async def test_octets_travel_both_ways_and_are_counted_and_tapped(record: Any) -> None:
    echo, tapped = Echo(), []
    async with listening(echo) as listener:
        link = await connect_tcp("127.0.0.1", listener.port, 5)
        link.tap = lambda way, data: tapped.append((way, bytes(data)))
        seen = record(link)
        link.write(b"\x00\x01\x00\x10")
        link.write(b"")
        assert await seen.received(4) == b"\x00\x01\x00\x10"
        assert (link.octets_in, link.octets_out) == (4, 4)
        assert tapped == [(">>", b"\x00\x01\x00\x10"), ("<<", b"\x00\x01\x00\x10")]
        assert link.peer == f"127.0.0.1:{listener.port}" == echo.links[0].local
        assert link.local == echo.links[0].peer
        await link.aclose()
    assert seen.lost
    assert len(echo.lost) == 1


async def test_links_do_not_wait_for_full_segments_and_notice_dead_peers(until: Any) -> None:
    echo = Echo()
    async with listening(echo) as listener:
        link = await connect_tcp("127.0.0.1", listener.port, 5)
        await until(lambda: echo.links)
        for end in (link, echo.links[0]):
            sock = end.transport_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        await link.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refused_names_the_endpoint_and_what_to_try(host: str) -> None:
    with plain_listener() as (_, port):
        pass
    with pytest.raises(ConnectRefused, match=f"{host}:{port}") as caught:
        await connect_tcp(host, port, 5)
    assert caught.value.hint
    assert caught.value.retryable


async def test_silence_is_a_time_out() -> None:
    with plain_listener(backlog=0) as (_, port), contextlib.ExitStack() as stack:
        for _ in range(4):  # the kernel completes one or two more than the backlog, then drops
            full = stack.enter_context(socket.socket())
            full.settimeout(0)
            full.connect_ex(("127.0.0.1", port))
        with pytest.raises(LinkTimeout, match=f"127.0.0.1:{port} did not answer within 0.2 s"):
            await connect_tcp("127.0.0.1", port, 0.2)


@pytest.mark.parametrize("host", ["meter.invalid", "a..b", "x" * 70])
async def test_names_that_do_not_resolve(host: str) -> None:
    with pytest.raises(LinkError, match="does not resolve"):
        await connect_tcp(host, 4059, 5)


async def test_no_route_and_foreign_source() -> None:
    with pytest.raises(LinkError, match=r"255\.255\.255\.255:4059"):
        await connect_tcp("255.255.255.255", 4059, 5)
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:4059"):
        await connect_tcp("127.0.0.1", 4059, 5, source="192.0.2.1")


async def test_a_peer_that_closes_at_once_is_lost_not_refused(record: Any) -> None:
    async with listening(lambda link: link.abort()) as listener:
        for _ in range(20):
            link = await connect_tcp("127.0.0.1", listener.port, 5)
            seen = record(link)
            assert isinstance(await seen.ended(), LinkClosed)
            assert not link.is_open
            link.write(b"nobody hears this")
            late = record(link)
            assert len(late.lost) == 1


async def test_a_reset_is_told_as_closed(record: Any) -> None:
    with plain_listener() as (sock, port):
        link = await connect_tcp("127.0.0.1", port, 5)
        seen = record(link)
        accepted, _ = sock.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        assert f"127.0.0.1:{port} closed the link" in str(await seen.ended())


async def test_half_open_what_was_asked_is_answered_then_the_link_closes(until: Any) -> None:
    async with listening(Echo()) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as sock:
            sock.settimeout(0)
            sock.sendall(b"last words")
            sock.shutdown(socket.SHUT_WR)
            answer, loop = b"", asyncio.get_running_loop()
            while part := await loop.sock_recv(sock, 100):
                answer += part
            assert answer == b"last words"
        await until(lambda: not listener.links)


async def test_octets_before_the_first_receiver_are_kept_then_bounded(record: Any, until: Any) -> None:
    with plain_listener() as (sock, port):
        link = await connect_tcp("127.0.0.1", port, 5)
        accepted, _ = sock.accept()
        with accepted:
            accepted.sendall(b"meter speaks first")
            await until(lambda: link.octets_in)
            seen = record()
            link.set_receiver(seen, b"sniffed: ")
            assert seen.octets == b"sniffed: meter speaks first"
            await link.aclose()
        flooded = await connect_tcp("127.0.0.1", port, 5)
        accepted, _ = sock.accept()
        with accepted:
            accepted.sendall(bytes(EARLY_LIMIT + 1))
            await until(lambda: not flooded.is_open)
            await flooded.aclose()
            assert "more than anybody asked for" in str(await record(flooded).ended())


async def test_a_new_receiver_takes_over(record: Any) -> None:
    async with listening(Echo()) as listener:
        link = await connect_tcp("127.0.0.1", listener.port, 5)
        first = record(link)
        second = record(link)
        link.write(b"who hears?")
        await second.received(10)
        await link.aclose()
    assert (first.chunks, first.lost) == ([], [])
    assert len(second.lost) == 1


async def test_a_peer_that_does_not_read_is_dropped(record: Any) -> None:
    with plain_listener() as (sock, port):
        link = await connect_tcp("127.0.0.1", port, 5)
        seen = record(link)
        accepted, _ = sock.accept()
        with accepted:
            for _ in range(10_000):
                link.write(bytes(WRITE_LIMIT // 4))
                if not link.is_open:
                    break
                await asyncio.sleep(0)
            assert "does not read" in str(await seen.ended())
            assert link.octets_out < 100 * WRITE_LIMIT


async def test_closing_flushes_and_gives_up_after_a_second(record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headend.transport.stream.CLOSE_SECONDS", 0.05)
    with plain_listener() as (sock, port):
        link = await connect_tcp("127.0.0.1", port, 5)
        seen = record(link)
        accepted, _ = sock.accept()
        with accepted:
            link.transport_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.write(bytes(WRITE_LIMIT))
            await link.aclose()
            await link.aclose()
            assert "closed by this side" in str(await seen.ended())
            assert len(seen.lost) == 1


async def test_abort_tells_the_receiver_once(record: Any) -> None:
    async with listening(Echo()) as listener:
        link = await connect_tcp("127.0.0.1", listener.port, 5)
        seen = record(link)
        link.abort()
        link.abort()
        assert not link.is_open
        await seen.ended()
        await link.aclose()
        assert len(seen.lost) == 1


# --- listeners ---


async def test_one_loopback_wildcard_listener_answers_on_every_loopback_address(record: Any) -> None:
    async with listening(Echo(), WILDCARD, ListenLimits(loopback=True)) as listener:
        hosts = ["127.0.0.1", "127.0.0.2", "127.7.8.9", "127.255.255.254"]
        links = [await connect_tcp(host, listener.port, 5) for host in hosts]
        for link, host in zip(links, hosts, strict=True):
            seen = record(link)
            link.write(host.encode())
            assert await seen.received(len(host)) == host.encode()
        assert sorted(link.local.rpartition(":")[0] for link in listener.links) == sorted(hosts)
        assert listener.turned_away == 0
        for link in links:
            await link.aclose()


def _own_address() -> str:
    """An address of this machine beyond loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(sock.getsockname()[0])


async def test_the_loopback_wildcard_answers_nowhere_else(record: Any) -> None:
    own = _own_address()
    if not own or own.startswith("127."):
        own = "127.0.0.1"  # a machine with loopback alone has nothing else to answer on
    echo = Echo()
    async with listening(echo, WILDCARD, ListenLimits(loopback=True)) as listener:
        with contextlib.suppress(LinkError):
            link = await connect_tcp(own, listener.port, 2)
            if own != "127.0.0.1":
                await record(link).ended()
                assert listener.turned_away == 1
                assert not echo.links
            await link.aclose()


async def test_loopback_mode_refuses_other_addresses() -> None:
    with pytest.raises(ConfigError, match="not a loopback address"):
        await listen_tcp("192.0.2.1", 0, Echo(), ListenLimits(loopback=True))


async def test_an_address_in_use_and_a_foreign_one_are_told() -> None:
    with plain_listener() as (_, port):
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            await listen_tcp("127.0.0.1", port, Echo())
        assert "another program" in caught.value.hint
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        await listen_tcp("192.0.2.1", 0, Echo())


async def test_links_beyond_the_cap_are_turned_away_and_places_come_back(record: Any, until: Any) -> None:
    async with listening(Echo(), limits=ListenLimits(links=2)) as listener:
        kept = [await connect_tcp("127.0.0.1", listener.port, 5) for _ in range(2)]
        for link in kept:
            link.write(b"x")
            await record(link).received(1)
        third = await connect_tcp("127.0.0.1", listener.port, 5)
        assert isinstance(await record(third).ended(), LinkClosed)
        assert listener.turned_away == 1
        await kept.pop().aclose()
        await until(lambda: len(listener.links) == 1)
        fourth = await connect_tcp("127.0.0.1", listener.port, 5)
        fourth.write(b"y")
        assert await record(fourth).received(1) == b"y"
        for link in (*kept, fourth):
            await link.aclose()


async def test_accepted_links_leave_descriptors_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tcp.raise_descriptor_limit()
    top = max(descriptors())
    monkeypatch.setattr(tcp, "SPARE_DESCRIPTORS", limit - top - 10)
    async with listening(Echo()) as listener:
        links: list[Link] = []
        while not listener.turned_away:
            links.append(await connect_tcp("127.0.0.1", listener.port, 5))
            await asyncio.sleep(0)
            assert len(links) < 100
        for link in links:
            await link.aclose()


async def test_mute_links_are_dropped_and_speaking_ones_stay(record: Any) -> None:
    echo = Echo()
    async with listening(echo, limits=ListenLimits(first_octet=0.2)) as listener:
        mute, speaking = [await connect_tcp("127.0.0.1", listener.port, 5) for _ in range(2)]
        speaking.write(b"here I am")
        heard = record(speaking)
        await heard.received(9)
        await record(mute).ended()
        assert isinstance(echo.lost[0], LinkTimeout)
        assert speaking.is_open
        await speaking.aclose()


async def test_a_storm_of_connects_is_served_by_the_backlog(until: Any) -> None:
    echo = Echo()
    async with listening(echo) as listener, asyncio.timeout(20):
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                sock = stack.enter_context(socket.socket())
                sock.settimeout(0)
                sock.connect_ex(("127.0.0.1", listener.port))
            await until(lambda: len(echo.links) == 1000)


def test_addresses_as_text() -> None:
    assert format_address(("192.0.2.7", 4059)) == "192.0.2.7:4059"
    assert format_address(("2001:db8::7", 4059, 0, 0)) == "[2001:db8::7]:4059"
    assert format_address(None) == ""


async def test_a_link_that_goes_before_its_first_octet_is_forgotten(until: Any) -> None:
    async with listening(Echo(), limits=ListenLimits(first_octet=60)) as listener:
        link = await connect_tcp("127.0.0.1", listener.port, 5)
        await until(lambda: sweeper()._waiting)
        await link.aclose()
        await until(lambda: not listener.links)
        assert not sweeper()._waiting


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_ipv6_links_name_themselves_in_brackets(record: Any) -> None:
    try:
        listener = await listen_tcp("::1", 0, Echo())
    except ConfigError:
        return  # no IPv6 loopback here
    link = await connect_tcp("::1", listener.port, 5)
    assert link.peer == f"[::1]:{listener.port}"
    link.write(b"six")
    assert await record(link).received(3) == b"six"
    await link.aclose()
    await listener.aclose()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), LinkError, "no descriptor"),
        (OSError(errno.EACCES, "Permission denied"), ConnectRefused, "forbids"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), LinkError, "no route"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), LinkTimeout, "did not answer"),
        (OSError(errno.EINVAL, "Invalid argument"), LinkError, "Invalid argument"),
        (OSError("it has no address"), LinkError, "it has no address"),
    ],
)
def test_every_reason_is_put_into_our_words(error: OSError, kind: type[LinkError], words: str) -> None:
    told = tcp.unreachable(error, "192.0.2.7:4059", 5)
    assert type(told) is kind
    assert words in str(told)
    assert "192.0.2.7:4059" in str(told)


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    code = (
        "import resource; from headend.transport.tcp import raise_descriptor_limit\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "assert raise_descriptor_limit() > 64; assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

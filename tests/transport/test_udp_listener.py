"""The listener for datagrams: a link for each sender, bounded, told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.errors import ConfigError
from headend.transport import udp
from headend.transport.udp import UdpPeer, connect_udp, listen_udp


async def test_every_sender_has_a_link_of_its_own(record: Any, until: Any) -> None:
    links: list[tuple[UdpPeer, Any]] = []

    def on_link(link: UdpPeer) -> None:
        receiver = record()
        link.set_receiver(receiver, b"<")
        taps: list[tuple[str, bytes]] = []
        link.tap = lambda way, octets: taps.append((way, octets))
        receiver.taps = taps
        links.append((link, receiver))

    listener = await listen_udp("127.0.0.1", 0, on_link)
    one, two = [await connect_udp("127.0.0.1", listener.port, 1) for _ in range(2)]
    ears = [record(), record()]
    for link, ear in zip((one, two), ears, strict=True):
        link.set_receiver(ear)
    one.write(b"a")
    one.write(b"b")
    await until(lambda: links and links[0][1].octets == b"<ab")
    two.write(b"c")
    await until(lambda: len(links) == 2)
    (first, heard), (second, _) = links
    assert (first.peer, first.local) == (one.local, f"127.0.0.1:{listener.port}")
    assert (first.octets_in, second.octets_in) == (2, 1)
    first.write(b"answer")
    second.write(b"")
    await until(lambda: ears[0].octets == b"answer")
    assert (first.octets_out, ears[1].octets) == (6, b"")
    assert heard.taps == [("<<", b"a"), ("<<", b"b"), (">>", b"answer")]
    await second.aclose()
    second.write(b"late")
    second.abort()
    assert list(listener.peers.values()) == [first]
    two.write(b"again")
    await until(lambda: len(links) == 3)
    for link in (one, two):
        await link.aclose()
    await listener.aclose()
    await listener.aclose()
    assert not first.is_open
    assert len(heard.lost) == 1
    listener.send(b"late", ("127.0.0.1", 9))


async def test_the_sender_silent_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    monkeypatch.setattr(udp, "PEERS", 2)
    seen: list[UdpPeer] = []
    listener = await listen_udp("127.0.0.1", 0, seen.append)
    senders = [await connect_udp("127.0.0.1", listener.port, 1) for _ in range(3)]
    for sender in (senders[0], senders[1], senders[0], senders[2]):
        count = sum(peer.octets_in for peer in seen)
        sender.write(b"x")
        await until(lambda count=count: sum(peer.octets_in for peer in seen) > count)
    assert [peer.is_open for peer in seen] == [True, False, True]
    for sender in senders:
        await sender.aclose()
    await listener.aclose()


async def test_a_sender_that_is_turned_away_is_not_heard(until: Any) -> None:
    seen: list[UdpPeer] = []

    def refuse(link: UdpPeer) -> None:
        seen.append(link)
        link.abort()

    listener = await listen_udp("127.0.0.1", 0, refuse)
    sender = await connect_udp("127.0.0.1", listener.port, 1)
    sender.write(b"x")
    await until(lambda: seen)
    assert (seen[0].octets_in, listener.peers) == (0, {})
    await sender.aclose()
    await listener.aclose()


async def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1.*UDP"):
        await listen_udp("192.0.2.1", 0, lambda _link: None)
    await asyncio.sleep(0)

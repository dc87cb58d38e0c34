"""MQTT 3.1.1 packets at the gate: an independent client (paho) makes them, and nothing but our error comes of any octets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from headend.errors import RemoteProtocolError
from headend.northbound import packets
from headend.northbound.gate import read_packet


def of_paho(act: str) -> bytes:
    """What paho writes to its socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="me", protocol=paho.MQTTv311, clean_session=False)
        client.username_pw_set("ada", "correct horse")
        client.will_set("gone", b"bye", qos=1, retain=True)
        client._sock = ours
        if act == "connect":
            client._send_connect(60)
        elif act == "publish":
            client._send_publish(7, b"a/b", b"payload", qos=1, retain=True)
        elif act == "subscribe":
            client._send_subscribe(dup=False, topics=[(b"a/+", 1), (b"b/#", 0)])
        client.loop_write()
        client._sock = None
        return theirs.recv(4096)


def test_connect() -> None:
    packet = of_paho("connect")
    who = packets.decode_connect(packet)
    assert who == packets.Connect(
        version=4,
        client_id="me",
        clean=False,
        keep_alive=60,
        will_topic="gone",
        username="ada",
        password=b"correct horse",
    )
    assert "horse" not in repr(who)
    without = packets.without_keep_alive(packet)
    assert packets.decode_connect(without).keep_alive == 0
    assert len(without) == len(packet)


def test_publish() -> None:
    packet = of_paho("publish")
    assert packets.decode_publish(packet) == ("a/b", 1, 7)
    moved = packets.with_topic(packet, "a/b/" + "ü" * 100)
    assert packets.decode_publish(moved) == ("a/b/" + "ü" * 100, 1, 7)
    assert moved.endswith(b"payload")
    assert packet[0] & 1, "was retained"
    assert not moved[0] & 1


def test_subscribe() -> None:
    assert list(packets.filters(of_paho("subscribe"))) == ["a/+", "b/#"]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
async def test_lengths(length: int) -> None:
    packet = packets.encode_packet(0x30, bytes(length))
    assert len(packets.body_of(packet)) == length
    reader = asyncio.StreamReader(limit=1 << 23)
    reader.feed_data(packet + b"more")
    assert await read_packet(reader, 1 << 22) == packet
    reader = asyncio.StreamReader(limit=1 << 23)
    reader.feed_data(packet)
    if length:
        with pytest.raises(RemoteProtocolError, match="at most"):
            await read_packet(reader, length - 1)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_octets_are_read_or_refused(first: int, body: bytes) -> None:
    packet = packets.encode_packet(first, body)
    for read in (
        packets.decode_connect,
        packets.decode_publish,
        lambda each: list(packets.filters(each)),
        packets.check_short,
    ):
        with suppress(RemoteProtocolError):
            read(packet)


@given(st.integers(0, 40), st.integers(0, 255))
def test_a_connect_with_one_octet_wrong_is_read_or_refused(at: int, octet: int) -> None:
    packet = bytearray(b"\x10\x29\0\4MQTT\4\xc6\0\x3c\0\2me\0\4gone\0\3bye\0\3ada\0\x0dcorrect horse")
    packet[1] = len(packet) - 2
    packet[2 + at % (len(packet) - 2)] = octet
    with suppress(RemoteProtocolError):
        packets.decode_connect(bytes(packet))


@pytest.mark.parametrize("octets", [b"\x30\xff\xff\xff\xff\x01", b"\x30\x81\x80\x80\x80\x00"])
async def test_a_length_of_five_octets_is_refused(octets: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    with pytest.raises(RemoteProtocolError, match="at most four octets"):
        await read_packet(reader, 1 << 28)

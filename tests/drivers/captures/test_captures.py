"""Capture files of every kind: the conversations in them, in the order in which they were said, with places in the file."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headend
from headend.drivers.base import Layer
from headend.drivers.captures import is_capture
from headend.drivers.captures.flows import read_flows
from headend.drivers.captures.packets import read_packets
from headend.protocols.wrapper import wrap
from tests.drivers.dlms.layers import check_places, errors, field, names, walk

from .traffic import ACK, BEGIN, CLIENT, METER, SYN, block, ethernet, ip, pcap, pcapng, tcp, udp

GET = wrap(bytes.fromhex("c001c100030100010800ff0200"), 16, 1)
ANSWER = wrap(bytes.fromhex("c401c1000600000539"), 1, 16)
PUSH = wrap(bytes.fromhex("0f00000001001105"), 1, 102)


def explain(data: bytes, **keys: str) -> Layer:
    found = headend.decode(data, keys={name: bytes.fromhex(key) for name, key in keys.items()})
    check_places(found.layer, len(data))
    return found.layer


def said(data: bytes) -> list[tuple[bool, bytes]]:
    flows, _ = read_flows(data, read_packets(data), [4059])
    return [(chunk.from_client, data[chunk.start : chunk.end]) for flow in flows for chunk in flow.chunks]


def session() -> list[bytes]:
    """Three ways to begin, a request and its answer in two segments."""
    return [
        tcp(CLIENT, METER, 999, flags=SYN),
        tcp(METER, CLIENT, 4_294_967_294, ack=1000, flags=SYN | ACK),
        tcp(CLIENT, METER, 1000, ack=4_294_967_295, flags=ACK),
        tcp(CLIENT, METER, 1000, GET, ack=4_294_967_295),
        tcp(METER, CLIENT, 4_294_967_295, ANSWER[:9], ack=1000 + len(GET)),
        tcp(METER, CLIENT, 4_294_967_295 + 9, ANSWER[9:], ack=1000 + len(GET)),
    ]


def cooked(packet: bytes) -> bytes:
    return bytes(14) + b"\x08\x00" + packet


def cooked_2(packet: bytes) -> bytes:
    return b"\x08\x00" + bytes(18) + packet


@pytest.mark.parametrize(
    "data",
    [
        pcap(map(ethernet, session())),
        pcap([ethernet(packet, vlan=True) for packet in session()], order=">"),
        pcap(map(cooked, session()), link=113, nano=True),
        pcap([struct.pack("<I", 2) + packet for packet in session()], link=0, order=">", nano=True),
        pcap([struct.pack(">I", 2) + packet for packet in session()], link=108),
        pcap(session(), link=101),
        pcap(session(), link=228),
        pcapng(map(ethernet, session())),
        pcapng(map(cooked_2, session()), link=276, order=">", resolution=9),
        pcapng(session(), link=12, resolution=3),
    ],
)
def test_every_kind_of_file_and_link(data: bytes) -> None:
    assert is_capture(data)
    layer = explain(data)
    assert errors(layer) == []
    assert names(layer)[1:] == [
        "TCP 192.0.2.1:50000 → 192.0.2.7:4059", "wrapper", "get-request-normal", "wrapper", "get-response-normal", "data",
    ]  # fmt: skip
    assert field(layer, "value") == "double-long-unsigned 1337"
    senders = [value for each in walk(layer) for name, value, _, _ in each.fields if name == "said by"]
    assert [each.partition(",")[0] for each in senders] == ["192.0.2.1:50000", "192.0.2.7:4059"]
    assert senders[0].endswith("2026-03-08 20:00:03.500000 UTC")
    logical_name = next(each for layer in walk(layer) for each in layer.fields if each[0] == "logical name")
    assert data[logical_name[2] : logical_name[2] + 6] == bytes.fromhex("0100010800ff")


def test_segments_come_in_any_order_and_again() -> None:
    packets = session()
    packets = [*packets[:3], packets[5], packets[3], packets[3], packets[5], packets[4], packets[4]]
    data = pcap(map(ethernet, packets))
    assert b"".join(octets for client, octets in said(data) if not client) == ANSWER
    layer = headend.decode(data).layer  # places are those of the file, so these are not in order
    assert (errors(layer), field(layer, "value")) == ([], "double-long-unsigned 1337")
    assert all(0 <= each.offset <= each.offset + each.length <= len(data) for each in walk(layer))


def test_overlapping_segments_are_taken_once() -> None:
    packets = [tcp(METER, CLIENT, 100, ANSWER[:10]), tcp(METER, CLIENT, 104, ANSWER[4:]), tcp(METER, CLIENT, 99, b"\0")]
    assert b"".join(octets for _, octets in said(pcap(packets, link=101))) == ANSWER


def test_what_was_not_captured_is_told() -> None:
    packets = [
        tcp(METER, CLIENT, 100, ANSWER[:9]),
        tcp(METER, CLIENT, 112, PUSH),
        tcp(CLIENT, METER, 5, GET, ack=112 + len(PUSH)),
    ]
    data = pcap(packets, link=101)
    assert [client for client, _ in said(data)] == [False, False, True]
    layer = explain(data)
    assert "3 octets were not captured (at octet" in layer.layers[0].error


def test_who_is_who_without_the_beginning() -> None:
    data = pcap([tcp(METER, CLIENT, 100, ANSWER), tcp(CLIENT, METER, 7, GET)], link=101)
    assert [client for client, _ in said(data)] == [False, True]
    data = pcap([tcp(METER, CLIENT, 0, flags=SYN), tcp(METER, CLIENT, 1, PUSH)], link=101)  # a meter that calls
    assert [client for client, _ in said(data)] == [True]


def test_a_port_that_is_used_again_is_another_connection() -> None:
    data = pcap([*session(), tcp(CLIENT, METER, 5000, flags=SYN), tcp(CLIENT, METER, 5001, GET)], link=101)
    assert len(explain(data).layers) == 2


def test_messages_that_cross_on_the_way() -> None:
    packets = [tcp(METER, CLIENT, 1, PUSH[:5]), tcp(CLIENT, METER, 1, GET), tcp(METER, CLIENT, 6, PUSH[5:] + ANSWER)]
    layer = explain(pcap(packets, link=101))
    assert errors(layer) == []
    assert [name for name in names(layer) if name.startswith(("get", "data-n"))] == [
        "data-notification", "get-request-normal", "get-response-normal",
    ]  # fmt: skip


def test_hdlc_over_tcp_and_modbus() -> None:
    frame = bytes.fromhex("7ea0070321930f017e")
    modbus = bytes.fromhex("0001 0000 0006 01 04 0000 0002")
    packets = [tcp(CLIENT, METER, 1, frame[:4]), tcp(CLIENT, METER, 5, frame[4:])]
    packets += [tcp(CLIENT, ("192.0.2.9", 502), 1, modbus)]
    found = headend.decode(pcap(packets, link=101))
    assert found.protocol == "dlms, modbus"
    assert errors(found.layer) == []
    assert "HDLC SNRM" in names(found.layer)


def test_datagrams() -> None:
    six = ("2001:db8::1", 4059), ("2001:db8::7", 61000)
    data = pcapng([ethernet(udp(*six, PUSH)), ethernet(udp(*six, PUSH)), ethernet(b"\x45" + bytes(19))])
    layer = explain(data)
    assert errors(layer) == []
    assert layer.layers[0].name == "UDP [2001:db8::7]:61000 → [2001:db8::1]:4059"
    assert names(layer).count("data-notification") == 2
    assert field(layer, "other packets").startswith("1 ")


def test_extension_headers_and_fragments() -> None:
    six = ("2001:db8::1", "2001:db8::7")
    datagram = struct.pack(">HHHH", 4059, 1, 8 + len(PUSH), 0) + PUSH
    options = bytes((17, 0)) + bytes(6) + datagram
    fragment = bytes((17, 0, 0, 1)) + bytes(4) + datagram
    four = bytearray(udp(CLIENT, METER, PUSH))
    four[6] = 0x20
    data = pcap([ip(*six, 0, options), ip(*six, 44, fragment), bytes(four)], link=101)
    assert [octets for _, octets in said(data)] == [PUSH]


def test_other_ports_are_explained_when_they_are_named() -> None:
    other = ("192.0.2.7", 7777)
    data = pcap([tcp(CLIENT, other, 1, b"GET / HTTP/1.1\r\n"), tcp(CLIENT, METER, 1, GET)], link=101)
    layer = explain(data)
    assert field(layer.layers[0], "protocol").startswith("not known here")
    assert errors(layer) == []
    layer = headend.decode(data, ports=[7777]).layer
    assert errors(layer)
    assert field(layer.layers[1], "protocol").startswith("not known here")


def test_files_that_are_cut_short_are_explained_until_there() -> None:
    whole = pcap(session(), link=101)
    layer = explain(whole[:-3])
    assert "packet (at octet" in layer.error
    assert "get-request-normal" in names(layer)
    cut = pcapng(session(), link=101)[:-3]
    assert "block of the capture (at octet" in explain(cut).error
    assert "header of the capture" in explain(whole[:10]).error


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (
            block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block("<", 6, bytes(20)),
            "expected below 0",
        ),
        (block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + struct.pack("<III", 9, 13, 0), "length"),
        (
            block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block("<", 0x0A0D0D0A, bytes(16)),
            "section",
        ),
        (block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block("<", 1, bytes(4)), "interface"),
    ],
)
def test_blocks_that_make_no_sense(octets: bytes, said: str) -> None:
    assert said in explain(octets).error


def test_simple_and_old_packets() -> None:
    packet = udp(METER, CLIENT, PUSH)
    head = block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(
        "<", 1, struct.pack("<HHI", 101, 0, 0)
    )
    simple = head + block("<", 3, struct.pack("<I", len(packet)) + packet)
    old = head + block("<", 2, struct.pack("<HHIIII", 0, 0, BEGIN >> 32, BEGIN, len(packet), len(packet)) + packet)
    for data in (simple, old):
        assert "data-notification" in names(explain(data))


@given(
    st.sampled_from([pcap(map(ethernet, session())), pcapng(map(ethernet, session())), pcap(session(), link=101)]),
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=8),
    st.integers(0, 900),
)
def test_nothing_breaks_it(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(data)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    octets = bytes(mutated[:cut]) or b"\0"
    layer = headend.decode(octets).layer
    for each in walk(layer):
        assert 0 <= each.offset <= each.offset + each.length <= len(octets)


def test_a_meter_that_dials_in() -> None:
    # LONGi 4G module firmware, LongiWrapper.h
    login = bytes.fromhex("00010001000100120a020c323130363030343032393431005a4c")
    acknowledged = bytes.fromhex("0001000100010012aa030c323130363030343032393431007004")
    port = (CLIENT[0], 45000), (METER[0], 18899)
    packets = [
        tcp(port[0], port[1], 1, login),
        tcp(port[1], port[0], 1, acknowledged + GET),
        tcp(port[0], port[1], 1 + len(login), ANSWER),
    ]
    layer = explain(pcap(map(ethernet, packets)))
    (conversation,) = layer.layers
    assert [each.name.partition(" (")[0] for each in conversation.layers] == [
        "login",
        "acknowledgement of a login",
        "wrapper",
        "wrapper",
    ]
    assert field(conversation, "protocol") == "dlms"
    assert not errors(layer)

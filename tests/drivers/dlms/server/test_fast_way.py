"""The fast way gives the same octets as the general one, whatever is asked; HDLC as well as the wrapper."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.drivers.dlms.refs import cosem_ref
from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.hdlc import Address, HdlcConnection, Limits
from headend.protocols.wrapper import wrap

ADDRESSES = (
    "3/1-0:1.8.0.255/2",
    "3/1-0:1.8.0.255/3",
    "3/1-0:32.7.0.255/2",
    "1/0-0:96.13.0.255/2",
    "1/0-0:96.14.0.255/2",
    "1/1-0:1.8.0.255/2",
    "8/0-0:1.0.0.255/2",
    "7/1-0:99.1.0.255/2",
    "7/1-0:99.1.0.255/3",
    "15/0-0:40.0.0.255/2",
    "15/0-0:40.0.0.255/7",
)
DESCRIPTORS = st.sampled_from([cosem_ref(address).attribute.encode() for address in ADDRESSES]) | st.binary(
    min_size=9, max_size=9
)
ENTRIES_2_AND_3 = bytes.fromhex("0102020406000000020600000003120001120000")
SELECTIONS = st.sampled_from([b"\x00", b"\x00", b"\x00", b"", b"\x01\x02\x00", ENTRIES_2_AND_3])
INVOKE = st.integers(0, 255).map(lambda octet: bytes((octet,)))
NORMAL = st.builds(lambda invoke, what, how: b"\xc0\x01" + invoke + what + how, INVOKE, DESCRIPTORS, SELECTIONS)
WITH_LIST = st.builds(
    lambda invoke, items: b"\xc0\x03" + invoke + bytes((len(items),)) + b"".join(map(b"".join, items)),
    INVOKE,
    st.lists(st.tuples(DESCRIPTORS, SELECTIONS), max_size=6),
)
OTHERS = st.sampled_from(
    [bytes.fromhex(text) for text in ("c002c100000001", "c002c100000002", "c102c1", "d8", "c301c10046000060030aff0100")]
)
REQUESTS = st.lists(NORMAL | WITH_LIST | OTHERS, min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS, max_pdu=st.sampled_from([0, 60, 300, 0xFFFF]))
def test_wrapper_frames_whole_and_in_two_pieces(
    make_meter: Any, connect: Any, aarq_none: str, requests: list[bytes], max_pdu: int
) -> None:
    aarq = bytes.fromhex(aarq_none[:-4]) + max_pdu.to_bytes(2, "big")

    async def talk(*, cut: bool) -> list[bytes]:
        head_end = connect(make_meter(client="16", auth="none"), 16)
        answers = []
        for apdu in (aarq, *requests):
            frame = wrap(apdu, 16, 1)
            answers.append(await head_end.say(*((frame[:3], frame[3:]) if cut else (frame,))))
        return answers

    whole = asyncio.run(talk(cut=False))
    assert all(whole)
    assert whole == asyncio.run(talk(cut=True))


@settings(max_examples=40, deadline=None)
@given(requests=REQUESTS, max_pdu=st.sampled_from([0, 60, 0xFFFF]), size=st.sampled_from([40, 128, 1000]))
def test_hdlc_frames_whole_and_in_two_pieces(
    make_meter: Any, connect: Any, aarq_none: str, requests: list[bytes], max_pdu: int, size: int
) -> None:
    aarq = bytes.fromhex(aarq_none[:-4]) + max_pdu.to_bytes(2, "big")

    async def talk(*, cut: bool) -> list[bytes]:
        meter = make_meter(client="16", auth="none", max_info=str(size), physical="17")
        head_end = connect(meter, 16)
        limits = Limits(max_information_transmit=128, max_information_receive=size, window_receive=3)
        client = HdlcConnection(Role.CLIENT, client=Address.client(16), server=Address.server(1, 17), limits=limits)
        client.open()
        answers = []
        for apdu in (b"", aarq, *requests):
            if apdu:
                client.send_apdu(apdu)
            answer = b""
            while frame := client.data_to_send():
                received = await head_end.say(*((frame[:3], frame[3:]) if cut else (frame,)))
                assert received
                client.receive_data(received)
                while (event := client.next_event()) is not NEED_DATA:
                    answer += getattr(event, "apdu", b"opened")
            answers.append(answer)
        return answers

    whole = asyncio.run(talk(cut=False))
    assert all(whole)
    assert whole == asyncio.run(talk(cut=True))


@settings(max_examples=100, deadline=None)
@given(requests=REQUESTS, changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3))
def test_no_octets_reach_the_event_loop_as_an_error(
    make_meter: Any, connect: Any, aarq_none: str, requests: list[bytes], changes: list[tuple[int, int]]
) -> None:
    octets = bytearray(b"".join(wrap(apdu, 16, 1) for apdu in (bytes.fromhex(aarq_none), *requests)))
    for at, octet in changes:
        octets[at % len(octets)] = octet

    async def talk() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        for size in (len(octets), 21, 8):
            head_end = connect(make_meter(client="16", auth="none"), 16)
            await head_end.say(*(bytes(octets[at : at + size]) for at in range(0, len(octets), size)))
        assert not errors

    asyncio.run(talk())


@pytest.mark.parametrize("at", range(1, 21))
async def test_a_request_cut_anywhere(head_end: Any, at: int) -> None:
    for request, reply in (("c001c100030100200700ff0200", "c401c1001208fe"), ("c003c100", "c403c100")):
        frame = wrap(bytes.fromhex(request), 1, 1)
        assert await head_end.say(frame[:at], frame[at:]) == wrap(bytes.fromhex(reply), 1, 1)


async def test_requests_that_arrive_together_are_all_answered(head_end: Any) -> None:
    frame = wrap(bytes.fromhex("c001c100030100200700ff0200"), 1, 1)
    answer = wrap(bytes.fromhex("c401c1001208fe"), 1, 1)
    assert await head_end.say(frame * 3) == answer * 3
    assert await head_end.say(frame + frame[:9], frame[9:]) == answer * 2
    assert await head_end.say(frame) == answer


SNRM = bytes.fromhex("7ea0070321930f017e")
"""The one in every guide: client 16, logical device 1, no parameters."""
UA_DEFAULTS = "818012050180060180070400000001080400000001"


@pytest.mark.parametrize("step", [1, 4, 9])
async def test_snrm_without_parameters_is_answered_with_the_defaults(meter: Any, connect: Any, step: int) -> None:
    head_end = connect(meter, 16)
    answer = await head_end.say(*(SNRM[at : at + step] for at in range(0, len(SNRM), step)))
    assert answer[:6].hex() == "7ea01e210373"
    assert answer[8:-3].hex() == UA_DEFAULTS


@pytest.mark.parametrize("noise", [b"\xff" * 21, b"\x7e" * 50, b"hello, meter", b"\xa0\x07"])
async def test_noise_is_no_request(meter: Any, connect: Any, noise: bytes) -> None:
    head_end = connect(meter, 16)
    assert await head_end.say(noise) == b""
    assert UA_DEFAULTS in (await head_end.say(SNRM)).hex()


async def test_a_flood_ends_the_link(meter: Any, connect: Any) -> None:
    head_end = connect(meter, 16)
    await head_end.say(b"\x55" * 0x50000)
    assert head_end.lost


async def test_what_is_sent_to_everybody_is_not_answered(meter: Any, connect: Any, aarq_none: str) -> None:
    client = HdlcConnection(Role.CLIENT, client=Address.client(16), server=Address.server(1))
    client.send_unsolicited(bytes.fromhex(aarq_none))
    assert await connect(meter, 16).say(client.data_to_send()) == b""


async def test_a_new_hdlc_link_begins_without_an_association(meter: Any, connect: Any, aarq_lls: str) -> None:
    head_end = connect(meter, 1)
    client = HdlcConnection(Role.CLIENT, client=Address.client(1), server=Address.server(1))
    read, value = "c001c100030100200700ff0200", "c401c1001208fe"

    async def exchange(apdu: str = "") -> Any:
        if apdu:
            client.send_apdu(bytes.fromhex(apdu))
        client.receive_data(await head_end.say(client.data_to_send()))
        event = client.next_event()
        return event.apdu.hex() if isinstance(event, ApduReceived) else event

    client.open()
    assert await exchange() == LinkOpened()
    assert await exchange(read) == "d80101"
    assert (await exchange(aarq_lls)).startswith("61")
    assert [await exchange(read) for _ in range(9)] == [value] * 9
    client.close()
    assert isinstance(await exchange(), LinkReleased)
    client.open()
    assert await exchange() == LinkOpened()
    assert await exchange(read) == "d80101"

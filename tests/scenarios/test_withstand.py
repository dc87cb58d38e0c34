"""What a session must withstand, one scenario for each: a meter that says what it should not, in octets written by hand.

None hangs (each ends before the session's own time-outs, or by them), none makes memory grow with what a meter claims.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.errors import (
    DecodeError,
    HeadendError,
    LinkClosed,
    LinkError,
    LinkTimeout,
    RemoteProtocolError,
    ServiceRefused,
)
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ReadPlan
from headend.transport.link import Link
from headend.transport.memory import memory_pair

AARE = "6129 a109060760857405080101 a203020100 a305a103020100 be10040e 0800 065f1f04 00007e1f {:04x} 0007"
RLRE = "6300"
ENERGY = "3/1-0:1.8.0.255/2"
MEBIBYTE = 1 << 20

Answers = Callable[[bytes], "list[str | bytes] | None"]
"""The APDUs that answer a request, in hexadecimal where they are short; None hangs up."""


class Meter16:
    """A meter on the TCP wrapper that associates with everybody and then says what `answers` wants, invoke id included."""

    def __init__(self, link: Link, answers: Answers, max_pdu: int) -> None:
        self.link = link
        self.answers = answers
        self.max_pdu = max_pdu
        self.heard: list[bytes] = []
        self._buffer = b""
        link.set_receiver(self)

    def link_lost(self, error: LinkError) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8 and len(self._buffer) >= (end := 8 + int.from_bytes(self._buffer[6:8])):
            apdu, self._buffer = self._buffer[8:end], self._buffer[end:]
            self.heard.append(apdu)
            self._answer(apdu)

    def _answer(self, apdu: bytes) -> None:
        known: dict[int, list[str | bytes]] = {0x60: [AARE.format(self.max_pdu)], 0x62: [RLRE]}
        answers = known.get(apdu[0]) or self.answers(apdu)
        if answers is None:
            self.link.abort()
            return
        for answer in answers:
            octets = bytes.fromhex(answer) if isinstance(answer, str) else answer
            self.link.write(b"\0\1\0\1\0\x10" + len(octets).to_bytes(2) + octets)


@asynccontextmanager
async def session_with(
    answers: Answers, *, max_pdu: int = 0x04B0, timeout: float = 5.0, **params: str
) -> AsyncIterator[tuple[DlmsSession, Meter16]]:
    near, far = memory_pair()
    liar = Meter16(far, answers, max_pdu)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params=params)
    session = await driver.attach(near, meter, None, {}, timeout=timeout)
    try:
        yield session, liar
    finally:
        await session.aclose()


def one(ref: str = ENERGY) -> ReadPlan:
    return ReadPlan(entries=(ObjectEntry(ref=driver.parse_ref(ref), scaler=0),))


def block(request: bytes, number: int, data: bytes = b"\x09\x05ab", *, last: bool = False) -> bytes:
    """GET response with datablock, with the invoke id of a request."""
    head = bytes((0xC4, 0x02, request[2], last)) + number.to_bytes(4) + b"\x00"
    return head + bytes((0x82,)) + len(data).to_bytes(2) + data


async def failure(answers: Answers, **options: Any) -> tuple[HeadendError, Meter16]:
    """What one read ends in."""
    async with session_with(answers, **options) as (session, liar):
        error = await outcome(session)
        assert session.sound is isinstance(error, ServiceRefused | DecodeError)
        return error, liar


# --- blocks ---


def numbered(*numbers: int) -> Answers:
    """Answers each request for a block with the block of the next number, whichever is asked for."""
    rest = iter(numbers)
    return lambda request: [block(request, next(rest))]


@pytest.mark.parametrize(
    "numbers",
    [(0,), (2,), (1, 1), (1, 3), (1, 2, 1), (1, 2, 0xFFFFFFFF), (0xFFFFFFFF,)],
    ids=["from-0", "first-missing", "repeated", "missing", "from-the-start", "far-ahead", "last-of-all"],
)
async def test_blocks_out_of_order_repeated_or_missing(numbers: tuple[int, ...]) -> None:
    error, liar = await failure(numbered(*numbers))
    assert type(error) is RemoteProtocolError
    assert f"expected {len(numbers)}, got {numbers[-1]}" in str(error)
    assert len(liar.heard) == 1 + len(numbers)  # AARQ, and no request after the wrong block


async def test_a_block_of_another_request() -> None:
    error, _ = await failure(lambda request: [block(bytes((0, 0, request[2] ^ 1)), 1)])
    assert "another request" in str(error)


async def test_blocks_without_data() -> None:
    count = 0

    def answers(request: bytes) -> list[str | bytes]:
        nonlocal count
        count += 1
        return [block(request, count, b"")]

    error, _ = await failure(answers)
    assert "blocks without data" in str(error)
    assert count < 10


async def test_a_few_blocks_without_data_are_a_habit_of_some_meters() -> None:
    blocks = iter([(1, b"", False), (2, b"\x06\0", False), (3, b"", False), (4, b"\0\0\x2a", False), (5, b"", True)])

    def answers(request: bytes) -> list[str | bytes]:
        number, data, last = next(blocks)
        return [block(request, number, data, last=last)]

    async with session_with(answers) as (session, _):
        assert list((await session.read(one())).values) == [42]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (None, LinkClosed),
        ([], LinkTimeout),
        (["d80101"], ServiceRefused),
        (["0e010400"], ServiceRefused),
        ([RLRE], RemoteProtocolError),
        ([AARE.format(1200)], RemoteProtocolError),
    ],
    ids=["hangs-up", "falls-silent", "has-forgotten", "confirmed-service-error", "releases", "associates"],
)
async def test_the_association_is_dropped_in_the_middle_of_blocks(
    end: list[str | bytes] | None, error: type[HeadendError]
) -> None:
    def answers(request: bytes) -> list[str | bytes] | None:
        number = int.from_bytes(request[3:7]) + 1 if request[1] == 2 else 1
        return [block(request, number)] if number < 4 else end

    found, liar = await failure(answers, timeout=0.2)
    assert type(found) is error
    assert len(liar.heard) <= 16  # "not associated" is believed once: then everything is asked once more


# --- what does not belong to the request ---


@pytest.mark.parametrize(
    "answer",
    [
        "c401 {:02x} 00 1105",
        "c501 {:02x} 00",
        "c701 {:02x} 00 00",
        "c403 {:02x} 01 00 1105",
        "c402 {:02x} 01 00000001 00 02 1105",
    ],
)
@pytest.mark.parametrize("other", [0x01, 0x0F])
async def test_an_invoke_id_of_another_request(answer: str, other: int) -> None:
    error, _ = await failure(lambda request: [answer.format(request[2] ^ other)])
    assert isinstance(error, RemoteProtocolError)


async def test_an_answer_that_is_said_twice() -> None:
    """The second one meets no request: the session must not take it for the answer to the next one."""

    def answers(request: bytes) -> list[str | bytes]:
        return [f"c401{request[2]:02x}00 11{len(liar.heard):02x}"] * 2

    async with session_with(answers) as (session, liar):
        assert list((await session.read(one())).values) == [2]
        with pytest.raises(RemoteProtocolError):
            await session.read(one())
        assert not session.sound


# --- data that lie ---

LIES = {
    "octet-string-of-4-gigaoctets": "09 84ffffffff 00",
    "octet-string-one-octet-too-long": "09 03 6162",
    "length-of-127-octets": "09 ff" + "ff" * 100,
    "length-without-an-end": "09 80 6162 0000",
    "bit-string-of-4-gigabits": "04 84ffffffff 00",
    "array-of-4-giga-elements": "01 84ffffffff 00",
    "structure-of-4-giga-elements": "02 84ffffffff 00",
    "arrays-of-nothing-of-4-giga-elements": "01 84ffffffff" * 20,
    "compact-array-of-4-giga-nulls": "13 00 84ffffffff",
    "compact-array-of-arrays-of-nothing": "13 01 ffff 00 84ffffffff 00",
    "compact-array-of-structures-of-nothing": "13 02 00 04 00000000",
    "nesting-100-deep": "0201" * 100 + "00",
    "arrays-100-deep": "0101" * 100 + "00",
    "nesting-10000-deep": "0201" * 10000 + "00",
    "type-descriptions-100-deep": "13" + "01 0001" * 100 + "0f 01 00",
    "type-descriptions-of-structures-100-deep": "13" + "02 01" * 100 + "0f 01 00",
    "date-time-cut-short": "19 07e909",
    "a-type-that-does-not-exist": "2a 00",
    "nothing": "",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("how", ["whole", "in-blocks"])
async def test_lengths_counts_and_nesting_that_lie(lie: str, how: str) -> None:
    data = bytes.fromhex(LIES[lie])

    def answers(request: bytes) -> list[str | bytes]:
        if how == "whole":
            return [bytes((0xC4, 0x01, request[2], 0)) + data]
        return [block(request, 1, data, last=True)]

    async with session_with(answers) as (session, _):
        with measured() as peak:
            error = await outcome(session)
        assert isinstance(error, DecodeError)
        assert peak() < MEBIBYTE


@pytest.mark.parametrize(
    "answer",
    [
        "c403 {:02x} 84ffffffff 00 1105",
        "c403 {:02x} 81ff 00 1105",
        "c402 {:02x} 01 00000001 00 84ffffffff 1105",
        "c402 {:02x} 01 00000001 00 80 1105",
    ],
    ids=["4-giga-results", "255-results", "4-gigaoctets-in-a-block", "a-block-without-an-end"],
)
async def test_a_response_whose_lengths_lie(answer: str) -> None:
    async with session_with(lambda request: [answer.format(request[2])]) as (session, _):
        with measured() as peak:
            error = await outcome(session)
        assert isinstance(error, RemoteProtocolError)
        assert peak() < MEBIBYTE


@pytest.mark.parametrize("lie", LIES)
async def test_a_push_whose_data_lie(lie: str) -> None:
    """It costs that push, or the session, but the session never ends in anything else than an error of the tree."""
    push = bytes.fromhex("0f 00000001 00") + bytes.fromhex(LIES[lie])
    async with session_with(lambda request: [push, f"c401{request[2]:02x}00 1105"]) as (session, _):
        with measured() as peak:
            try:
                result = await session.read(one())
                assert list(result.values) == [5]
                session.notifications()
            except RemoteProtocolError:
                assert not session.sound
        assert peak() < MEBIBYTE


@pytest.mark.parametrize(
    "aare",
    [
        "6184ffffffff a109060760857405080101",
        "6180 a109060760857405080101 a203020100 0000",
        "61ff" + "00" * 60,
        "6129 a1ff060760857405080101 a203020100 a305a103020100 be10040e0800065f1f0400007e1f04b00007",
        "6129 a109060760857405080101 a203020100 a305a103020100 be10047f0800065f1f0400007e1f04b00007",
        "6129 a109060760857405080101 a203020100 a305a103020100 be10040e0800067f1f0400007e1f04b00007",
        "61" + "7e" + "a17c" + "a17a" * 60,
        "61",
    ],
)
async def test_an_association_response_whose_lengths_lie(aare: str) -> None:
    near, far = memory_pair()
    liar = Meter16(far, lambda _request: None, 0)
    liar._answer = lambda _apdu: far.write(  # type: ignore[method-assign] # this one meter says it to an AARQ
        b"\0\1\0\1\0\x10" + len(bytes.fromhex(aare)).to_bytes(2) + bytes.fromhex(aare)
    )
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    meter = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint)
    with measured() as peak, pytest.raises(RemoteProtocolError):
        await driver.attach(near, meter, None, {}, timeout=5)
    near.abort()
    assert peak() < MEBIBYTE


@pytest.mark.parametrize(
    "header", ["0001 0001 0010 ffff", "0001 0001 0010 0000", "0002 0001 0010 0004", "ffffffffffffffff"]
)
async def test_a_wrapper_whose_length_lies(header: str) -> None:
    def answers(request: bytes) -> list[str | bytes]:
        liar.link.write(bytes.fromhex(header) + b"\xc4\x01" + request[2:3] + b"\x00\x11\x05" * 3)
        return []

    async with session_with(answers, timeout=0.2) as (session, liar):
        with measured() as peak, pytest.raises((RemoteProtocolError, LinkTimeout)):
            await session.read(one())
        assert peak() < MEBIBYTE


# --- APDUs that are too long, either way ---


async def test_a_meter_that_sends_more_than_it_says_it_takes() -> None:
    """It has announced 64 octets and answers with 300: what it announces binds us, what we announce binds it."""
    octets = bytes(300)

    def answers(request: bytes) -> list[str | bytes]:
        return [bytes((0xC4, 0x01, request[2], 0)) + b"\x09\x82\x01\x2c" + octets]

    async with session_with(answers, max_pdu=64) as (session, liar):
        wanted = ReadPlan(entries=tuple(one(f"3/1-0:{n}.8.0.255/2").entries[0] for n in range(1, 9)))
        result = await session.read(wanted)
        assert list(result.values) == [octets] * 8
        assert all(len(apdu) <= 64 for apdu in liar.heard[1:])


@pytest.mark.parametrize("max_pdu", [1, 11, 12, 13, 20])
async def test_a_meter_that_takes_next_to_nothing(max_pdu: int) -> None:
    """Requests that it would have to take whole are not sent; nothing goes on for ever."""
    async with session_with(lambda request: [f"c401{request[2]:02x}001105"], max_pdu=max_pdu) as (session, liar):
        try:
            assert list((await session.read(one())).values) == [5]
        except HeadendError:
            assert len(liar.heard) == 1
        assert all(len(apdu) <= max(max_pdu, 13) for apdu in liar.heard[1:])


def entry(number: int) -> bytes:
    """An element of an object list: a register with rights for three attributes and a method."""
    name = bytes((1, number >> 8, number & 0xFF, 8, 0, 255))
    return (
        bytes.fromhex("0204 120003 1100 0906")
        + name
        + bytes.fromhex("0202 0103 0203 0f01 1601 00 0203 0f02 1601 00 0203 0f03 1601 00 0101 0202 0f01 1601")
    )


async def test_an_object_list_of_3000_entries_in_frames_of_64_octets() -> None:
    """174 000 octets in 3400 blocks; what is kept is the list, and what was received once."""
    whole = b"\x01\x82\x0b\xb8" + b"".join(map(entry, range(3000)))
    size = 64 - 8 - 12

    def answers(request: bytes) -> list[str | bytes]:
        number = int.from_bytes(request[3:7]) + 1 if request[1] == 2 else 1
        part = whole[(number - 1) * size : number * size]
        return [block(request, number, part, last=number * size >= len(whole))]

    async with session_with(answers, max_pdu=64) as (session, liar):
        with measured() as peak:
            listed = await session.objects()
        assert len(listed) == 3000
        assert listed[2999].ref.address == "3/1-11:183.8.0.255/2"
        assert len(liar.heard) == 1 + -(-len(whole) // size)
        assert peak() < 24 * MEBIBYTE


# --- helpers ---


async def outcome(session: DlmsSession) -> HeadendError:
    """The error of one read, whether it is the value's or the session's."""
    try:
        result = await session.read(one())
    except HeadendError as error:
        return error
    (found,) = result.errors.values()
    return found


class measured:  # noqa: N801 - read as a verb
    """How much memory was taken at most meanwhile, beyond what was taken before."""

    def __enter__(self) -> Callable[[], int]:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        self._peak = 0
        return lambda: self._peak

    def __exit__(self, *_: object) -> None:
        self._peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()

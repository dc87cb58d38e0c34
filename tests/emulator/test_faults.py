from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.emulator.faults import Fault, FaultKind, FaultyLink
from headend.errors import LinkError
from headend.transport.memory import memory_pair

ANSWERS = [b"first answer", b"second answer", b"third answer"]


class Meter:
    """Says its answers one after the other."""

    def __init__(self, link: FaultyLink) -> None:
        self.link, self.answers, self.lost = link, iter(ANSWERS * 100), []
        link.set_receiver(self)

    def data_received(self, _data: bytes) -> None:
        self.link.write(next(self.answers))

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)


class Client:
    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.lost: list[LinkError] = []
        self.complete = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        if b"".join(self.chunks) == ANSWERS[0]:
            self.complete.set()

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)


async def ask(kind: FaultKind, times: int = 3, *, chance: float = 1.0, seed: int = 1, seconds: float = 2.0) -> Client:
    near, far = memory_pair()
    client = Client()
    near.set_receiver(client)
    Meter(FaultyLink(far, Fault(kind=kind, chance=chance, seconds=seconds), seed))
    for _ in range(times):
        near.write(b"?")
        for _ in range(4):
            await asyncio.sleep(0)
    return client


async def test_silent_takes_and_never_answers() -> None:
    client = await ask(FaultKind.SILENT)
    assert (client.chunks, client.lost) == ([], [])


async def test_refuse_and_close_drop_the_link() -> None:
    for kind in (FaultKind.REFUSE, FaultKind.CLOSE):
        client = await ask(kind)
        assert client.chunks == []
        assert len(client.lost) == 1


async def test_garbage_is_as_long_as_the_answer_and_not_the_answer() -> None:
    client = await ask(FaultKind.GARBAGE)
    assert [len(chunk) for chunk in client.chunks] == [len(answer) for answer in ANSWERS]
    assert not set(client.chunks) & set(ANSWERS)


async def test_half_stops_in_the_middle() -> None:
    assert (await ask(FaultKind.HALF)).chunks == [b"first ", b"second", b"third "]


async def test_checksum_inverts_one_bit_before_the_end() -> None:
    for chunk, answer in zip((await ask(FaultKind.CHECKSUM)).chunks, ANSWERS, strict=True):
        assert chunk[:-2] == answer[:-2]
        assert (chunk[-2] ^ answer[-2]).bit_count() == 1
        assert chunk[-1] == answer[-1]


async def test_stale_says_the_previous_answer() -> None:
    assert (await ask(FaultKind.STALE)).chunks == [b"first answer", b"first answer", b"second answer"]


async def test_flood_comes_before_the_answer() -> None:
    client = await ask(FaultKind.FLOOD, 1)
    assert len(client.chunks[0]) == 16384
    assert client.chunks[1:] == ANSWERS[:1]


async def test_slow_drips() -> None:
    client = await ask(FaultKind.SLOW, 1, seconds=0.05)
    assert client.chunks == []
    await asyncio.wait_for(client.complete.wait(), 5)
    assert b"".join(client.chunks) == ANSWERS[0]
    assert len(client.chunks) == 6


async def test_chances_are_kept_and_come_again_for_the_same_seed() -> None:
    once = (await ask(FaultKind.GARBAGE, 60, chance=0.3)).chunks
    assert once == (await ask(FaultKind.GARBAGE, 60, chance=0.3)).chunks
    assert once != (await ask(FaultKind.GARBAGE, 60, chance=0.3, seed=2)).chunks
    good = sum(chunk in ANSWERS for chunk in once)
    assert 30 <= good <= 54


async def test_reject_is_no_matter_of_the_link() -> None:
    assert (await ask(FaultKind.REJECT)).chunks == ANSWERS


async def test_the_faulty_link_is_a_link_like_the_one_beneath() -> None:
    near, far = memory_pair()
    tapped: list[Any] = []
    faulty = FaultyLink(far, Fault(kind=FaultKind.HALF), 1)
    meter = Meter(faulty)
    faulty.tap = lambda *what: tapped.append(what)
    near.write(b"?")
    for _ in range(3):
        await asyncio.sleep(0)
    assert tapped == [("<<", b"?"), (">>", b"first ")]
    assert faulty.tap is far.tap
    assert (faulty.peer, faulty.local) == (far.peer, far.local)
    assert (faulty.octets_in, faulty.octets_out) == (1, 6)
    assert faulty.is_open
    await faulty.aclose()
    await asyncio.sleep(0)
    assert not faulty.is_open
    assert len(meter.lost) == 1
    faulty.abort()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_faults_strike_their_share_of_meters(share: float) -> None:
    struck = sum(Fault(kind=FaultKind.SILENT, meters=share).strikes(3, number) for number in range(4000))
    assert struck == pytest.approx(4000 * share, abs=120 if 0 < share < 1 else 0)

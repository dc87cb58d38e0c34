from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.errors import LinkClosed
from headend.transport.memory import memory_pair


async def _through(record: Any, messages: list[bytes], **line: Any) -> list[bytes]:
    """What arrives at the far half."""
    near, far = memory_pair(**line)
    seen = record(far)
    for message in messages:
        near.write(message)
    await near.aclose()
    await seen.ended()
    return list(seen.chunks)


MESSAGES = [bytes(range(start, start + 40)) for start in range(0, 200, 40)]


async def test_octets_arrive_whole_and_in_order(record: Any) -> None:
    assert await _through(record, MESSAGES) == MESSAGES


@pytest.mark.parametrize(
    "line", [{"jitter": 0.01}, {"latency": 0.005}, {"latency": 0.001, "jitter": 0.003, "split": 7}]
)
async def test_octets_never_overtake_each_other(record: Any, line: dict[str, Any]) -> None:
    assert b"".join(await _through(record, MESSAGES, **line)) == b"".join(MESSAGES)


async def test_split_bounds_each_delivery(record: Any) -> None:
    chunks = await _through(record, MESSAGES, split=1)
    assert {len(chunk) for chunk in chunks} == {1}
    assert [len(chunk) for chunk in await _through(record, [bytes(10)], split=4)] == [4, 4, 2]


async def test_troubles_are_the_same_for_the_same_seed(record: Any) -> None:
    line: dict[str, Any] = {"loss": 0.3, "corruption": 0.3, "duplicate": 0.3}
    once = await _through(record, MESSAGES * 4, seed=1, **line)
    assert once == await _through(record, MESSAGES * 4, seed=1, **line)
    assert once != await _through(record, MESSAGES * 4, seed=2, **line)


async def test_each_trouble_does_what_it_says(record: Any) -> None:
    assert await _through(record, MESSAGES, loss=1.0) == []
    assert await _through(record, MESSAGES, duplicate=1.0) == [m for m in MESSAGES for _ in range(2)]
    for sent, got in zip(MESSAGES, await _through(record, MESSAGES, corruption=1.0), strict=True):
        assert (int.from_bytes(sent) ^ int.from_bytes(got)).bit_count() == 1


async def test_both_halves_talk_count_and_close(record: Any) -> None:
    near, far = memory_pair()
    tapped: list[tuple[str, bytes]] = []
    near.tap = lambda way, data: tapped.append((way, data))
    far.tap = lambda way, data: tapped.append((way, data))
    client, meter = record(near), record(far)
    near.write(b"question")
    assert await meter.received(8) == b"question"
    far.write(b"answer")
    assert await client.received(6) == b"answer"
    assert (near.octets_out, near.octets_in, far.octets_out, far.octets_in) == (8, 6, 6, 8)
    assert [way for way, _ in tapped] == [">>", "<<", ">>", "<<"]
    far.abort()
    far.write(b"too late")
    assert isinstance(await client.ended(), LinkClosed)
    await meter.ended()
    near.abort()
    await asyncio.sleep(0)
    assert (len(client.lost), len(meter.lost)) == (1, 1)
    assert not near.is_open
    assert not far.is_open


async def test_what_comes_before_the_receiver_is_kept_and_the_end_is_told_late(record: Any) -> None:
    near, far = memory_pair()
    near.write(b"early")
    await near.aclose()
    await asyncio.sleep(0)
    seen = record()
    far.set_receiver(seen, b"first, ")
    assert seen.octets == b"first, early"
    assert len(seen.lost) == 1

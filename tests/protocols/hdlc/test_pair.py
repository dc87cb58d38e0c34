"""Client and meter over a wire: whatever the limits, whatever is lost, every APDU arrives once and whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.protocols.base import ApduReceived, LinkOpened, LinkReleased
from headend.protocols.hdlc import Address, Limits, State

LIMITS = st.builds(
    Limits,
    max_information_transmit=st.integers(16, 2048),
    max_information_receive=st.integers(16, 2048),
    window_transmit=st.integers(1, 7),
    window_receive=st.integers(1, 7),
)
APDUS = st.builds(
    lambda size, seed: (seed * (size // len(seed) + 1))[:size],
    st.integers(1, 5000),
    st.binary(min_size=1, max_size=300),
)
ADDRESSES = st.sampled_from([Address.server(1), Address.server(1, 17), Address.server(1, 17, 4)])


@settings(deadline=None)
@given(
    limits=LIMITS,
    server_limits=LIMITS,
    conversation=st.lists(st.tuples(APDUS, APDUS), min_size=1, max_size=3),
    address=ADDRESSES,
    chunk=st.sampled_from([0, 0, 1, 7, 100]),
)
def test_any_apdu_arrives_whole(
    make_pair: Callable[..., Any],
    limits: Limits,
    server_limits: Limits,
    conversation: list[tuple[bytes, bytes]],
    address: Address,
    chunk: int,
) -> None:
    pair = make_pair(limits, server_limits, address, chunk)
    pair.open()
    pair.wire.clear()
    size = max(pair.client.limits.max_information_transmit, pair.client.limits.max_information_receive)
    for request, response in conversation:
        pair.answer = lambda _, response=response: response
        pair.client.send_apdu(request)
        at_client, at_server = pair.run()
        assert [event.apdu for event in at_server] == [request]
        assert [event.apdu for event in at_client] == [response]
        assert (at_server[0].source, at_server[0].destination) == (0x10 << 14, address.packed)
        assert (at_client[0].source, at_client[0].destination) == (address.packed, 0x10 << 14)
    assert max(len(frame) for frame in pair.wire) <= size + 10 + address.size
    pair.client.close()
    assert pair.run() == ([LinkReleased("closed by this side")], [LinkReleased("DISC received")])


@settings(deadline=None)
@given(
    limits=LIMITS,
    conversation=st.lists(st.tuples(APDUS, APDUS), min_size=1, max_size=3),
    losses=st.lists(st.booleans(), max_size=60),
)
def test_any_apdu_arrives_once_though_frames_are_lost(
    make_pair: Callable[..., Any], limits: Limits, conversation: list[tuple[bytes, bytes]], losses: list[bool]
) -> None:
    pair = make_pair(limits)
    pair.open()
    fate = iter(losses)
    pair.lose = lambda _: next(fate, False)
    for request, response in conversation:
        pair.answer = lambda _, response=response: response
        pair.client.send_apdu(request)
        at_client, at_server = pair.run()
        attempts = 0
        while not at_client:
            attempts += 1
            assert attempts <= len(losses) + 1
            pair.client.retransmit()
            more_client, more_server = pair.run()
            at_client += more_client
            at_server += more_server
        assert [event.apdu for event in at_server] == [request]
        assert [event.apdu for event in at_client] == [response]


@pytest.mark.parametrize("lost", range(4))
def test_opening_and_closing_survive_losses(make_pair: Callable[..., Any], lost: int) -> None:
    pair = make_pair()
    fate = iter([True] * lost)
    pair.lose = lambda _: next(fate, False)
    pair.client.open()
    events = pair.run()[0]
    while not events:
        pair.client.retransmit()
        events = pair.run()[0]
    assert events == [LinkOpened()]
    fate = iter([True] * lost)
    pair.client.close()
    events = pair.run()[0]
    while not events:
        pair.client.retransmit()
        events = pair.run()[0]
    assert events == [LinkReleased("closed by this side")]
    assert pair.client.state is pair.server.state is State.DISCONNECTED


def test_a_window_is_acknowledged_as_one(make_pair: Callable[..., Any]) -> None:
    limits = Limits(max_information_transmit=100, max_information_receive=100, window_transmit=4, window_receive=2)
    pair = make_pair(limits, Limits(
        max_information_transmit=100, max_information_receive=100, window_transmit=7, window_receive=7
    ))  # fmt: skip
    pair.open()
    pair.wire.clear()
    pair.answer = lambda _: bytes(347)
    pair.client.send_apdu(bytes(747))
    at_client, _ = pair.run()
    assert len(at_client) == 1
    assert isinstance(at_client[0], ApduReceived)
    control = [f"{frame[6]:02X}" for frame in pair.wire]
    assert control == [
        "00", "02", "04", "16",  # four segments, the last polls
        "91",  # RR 4
        "08", "0A", "0C", "1E",
        "00", "12",  # two segments of the answer, N(R) 0
        "51",  # RR 2
        "04", "16",
    ]  # fmt: skip

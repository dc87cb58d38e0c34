"""What dials in: recognition, the filter of heartbeats, descriptions of registrations, and their explanation.

First octet: what is fed (bits 0-1) and in what pieces (bits 2-7, 0 for whole). 0 recognition, 1 the filter, 2 a description in
TOML, 3 the explanation.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented("headend.drivers.heartbeats", "headend.drivers.recognition", "headend.drivers.strangers"):
    from headend.drivers.base import Layer
    from headend.drivers.heartbeats import HeartbeatFilter, Known
    from headend.drivers.recognition import LIMIT, UNKNOWN, Recogniser
    from headend.drivers.registration_layers import explain_mixed
    from headend.drivers.registrations import built_in, load_registration
    from headend.drivers.registry import driver, driver_names
    from headend.errors import ConfigError
    from headend.protocols.registration import Registered

KNOWN = Known(built_in())
DRIVERS = tuple(driver(name) for name in driver_names())
HEARTBEAT = bytes.fromhex("00010001000100110C010C3231313230303530343337374002")
HELD = 256
"""More octets than the beginning of any frame that is held back."""


def recognition(data: bytes, size: int) -> None:
    """Pieces make no difference, and the verdict comes within the limit."""
    whole = Recogniser(KNOWN, DRIVERS).feed(data)
    recogniser = Recogniser(KNOWN, DRIVERS)
    found = None
    for piece in harness.pieces(data, size):
        found = recogniser.feed(piece)
        if found is not None:
            break
    assert (None if found is None else found.label) == (None if whole is None else whole.label)
    assert found is not None or len(data) < LIMIT
    last = recogniser.silence() if found is None else found
    assert last.label == UNKNOWN or last.protocol or last.registered
    told = len(last.noise) + len(last.rest) + sum(len(each.octets) for each in last.registered)
    assert told == len(recogniser.octets)


def heartbeats(data: bytes, size: int) -> None:
    """What comes is passed on or told, but for line ends behind texts; a heartbeat behind silence is found."""
    beats = HeartbeatFilter(KNOWN)
    passed: list[bytes] = []
    said: list[Registered] = []
    come = 0
    line_ends = data.count(b"\r") + data.count(b"\n")
    for piece in harness.pieces(data, size):
        rest, registered = beats.feed(piece)
        passed.append(rest)
        said += registered
        come += len(piece)
        told = sum(map(len, passed)) + sum(len(each.octets) for each in said)
        assert come - told <= HELD + line_ends
    rest, registered = beats.silence()
    passed.append(rest)
    said += registered
    missing = len(data) - len(b"".join(passed)) - sum(len(each.octets) for each in said)
    assert 0 <= missing <= line_ends
    assert not beats.pending


def description(data: bytes, _size: int) -> None:
    """A description, or what is wrong with it."""
    with contextlib.suppress(ConfigError, UnicodeDecodeError):
        found = load_registration(data.decode(), "fuzz")
        for octets in (data, HEARTBEAT):
            found.registration.match(octets)


def explanation(data: bytes, size: int) -> None:
    """Octets with heartbeats in them; every place lies inside."""
    octets = HEARTBEAT.join(harness.pieces(data, size))
    found = explain_mixed(octets, built_in(), lambda rest: ("any", Layer(name="any", offset=0, length=len(rest))))
    pending = [] if found is None else [found[1]]
    while pending:
        layer = pending.pop()
        assert 0 <= layer.offset <= layer.offset + layer.length <= len(octets)
        assert all(0 <= at <= at + length <= len(octets) for _, _, at, length in layer.fields)
        pending += layer.layers


FEEDS = (recognition, heartbeats, description, explanation)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if data:
        FEEDS[data[0] & 0x03](data[1:], data[0] >> 2)


if __name__ == "__main__":
    harness.fuzz("recognition", one_input)

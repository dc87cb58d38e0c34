"""Wrong secrets, wrong titles, counters that are stale or said twice: refused, without a word of what is secret.

Between the head-end and a virtual meter sits somebody who may alter, repeat and keep back what both say.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import (
    DecipherFailed,
    HeadendError,
    LinkError,
    ReplayDetected,
    SecurityError,
)
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan
from headend.protocols.dlms.security.counters import MemoryCounters
from headend.transport.link import Link
from headend.transport.memory import memory_pair

EK, AK = bytes(range(0x40, 0x50)), bytes(range(0x60, 0x70))
PASSWORD = b"s3cr3t-password!"
SECRETS: Final = {"ek": EK, "ak": AK, "secret": PASSWORD}
READ = ReadPlan(entries=(ObjectEntry(ref=DlmsDriver().parse_ref("1/0-0:42.0.0.255/2"), scaler=0),))
MODES: Final = {
    "lls": {"auth": "lls"},
    "md5": {"auth": "md5"},
    "sha256": {"auth": "sha256"},
    "gmac": {"auth": "gmac", "suite": "0", "policy": "3"},
    "gmac-dedicated": {"auth": "gmac", "suite": "0", "policy": "3", "ciphering": "dedicated"},
    "gmac-general": {"auth": "gmac", "suite": "0", "policy": "3", "ciphering": "general"},
    "lls-ciphered": {"auth": "lls", "suite": "0", "policy": "3"},
}
CIPHERED: Final = [mode for mode in MODES if "policy" in MODES[mode]]

Alter = Callable[[bytes], list[bytes]]


def faithfully(octets: bytes) -> list[bytes]:
    return [octets]


class Between:
    """Passes on what comes on one link to another one, as `alter` wants it."""

    def __init__(self, source: Link, target: Link) -> None:
        self.target = target
        self.alter: Alter = faithfully
        self.passed: list[bytes] = []
        source.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        for octets in self.alter(data):
            self.passed.append(octets)
            self.target.write(octets)

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - the link tells why
        self.target.abort()


class Wire:
    """Two links and who sits between them."""

    def __init__(self) -> None:
        self.head_end, ours = memory_pair()
        self.meter, theirs = memory_pair()
        self.up, self.down = Between(theirs, ours), Between(ours, theirs)


def virtual_meter(mode: str) -> VirtualMeter:
    kind = MeterKind(Library().get("generic-dlms-1p"), clock=lambda: 1_760_000_000_000)
    return VirtualMeter(kind, 7, params={"client": "1"} | MODES[mode], secrets=secrets_of(mode))


def secrets_of(mode: str, **others: bytes) -> dict[str, Secret]:
    """Those that the mode needs, `others` instead of the right ones."""
    needed = SECRETS if mode in CIPHERED else {"secret": PASSWORD}
    return {name: Secret(octets) for name, octets in (needed | others).items()}


@asynccontextmanager
async def attached(
    mode: str,
    *,
    counters: MemoryCounters | None = None,
    model: VirtualMeter | None = None,
    prepare: Callable[[Wire], None] = lambda _wire: None,
    params: Mapping[str, str] = NO_PARAMS,
    **secrets: bytes,
) -> AsyncIterator[tuple[DlmsSession, Wire]]:
    """A session with the virtual meter; `secrets` replace the right ones."""
    wire = Wire()
    prepare(wire)
    DlmsDriver().serve(wire.meter, model or virtual_meter(mode))
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    meter = Meter(
        id="m",
        protocol="dlms",
        framing="wrapper",
        endpoint=endpoint,
        params={"client": "1"} | MODES[mode] | dict(params),
    )
    driver = DlmsDriver()
    driver.use_counters(counters or MemoryCounters())
    try:
        session = await driver.attach(wire.head_end, meter, None, secrets_of(mode, **secrets), timeout=10)
    except BaseException:
        wire.head_end.abort()
        raise
    try:
        yield session, wire
    finally:
        await session.aclose()


def told(error: BaseException) -> str:
    """All that is shown of an error and of what it came from."""
    texts = []
    found: BaseException | None = error
    while found is not None:
        texts += [str(found), repr(found), repr(getattr(found, "__dict__", {}))]
        found = found.__cause__ or found.__context__
    return " ".join(texts)


def shown(value: object, seen: set[int]) -> list[str]:
    """The representations of a session and of everything of ours that it holds; octets themselves are not shown."""
    if id(value) in seen or not type(value).__module__.startswith("headend"):
        return []
    seen.add(id(value))
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names += getattr(value, "__dict__", ())
    texts = [repr(value), str(value)]
    for name in names:
        inner = getattr(value, name, None)
        for each in (
            inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list | tuple) else [inner]
        ):
            texts += shown(each, seen)
    return texts


def assert_nothing_is_told(text: str, *secrets: bytes) -> None:
    for secret in (*SECRETS.values(), *secrets):
        for form in (secret.hex(), secret.hex(" "), secret.decode("latin-1"), repr(secret)[2:-1]):
            assert form.lower() not in text.lower()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Any:
    """Whatever happens in these scenarios, no secret goes to a log or a stream."""
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    assert_nothing_is_told(f"{out} {err} {caplog.text}")


@pytest.mark.parametrize("mode", MODES)
async def test_with_the_right_secrets_all_is_well(mode: str) -> None:
    async with attached(mode) as (session, _):
        assert (await session.read(READ)).values[0] == b"HED1000000000007"
        assert_nothing_is_told(" ".join(shown(session, set())))


@pytest.mark.parametrize(
    ("mode", "wrong"),
    [
        *[(mode, "secret") for mode in MODES if not mode.startswith("gmac")],
        *[(mode, key) for mode in CIPHERED for key in ("ek", "ak")],
    ],
)
async def test_a_wrong_secret(mode: str, wrong: str) -> None:
    """One try, one refusal, and a meter that goes on with those who know better."""
    model = virtual_meter(mode)
    guess = b"wrong-password!!" if wrong == "secret" else bytes(range(0x80, 0x90))
    tries: list[bytes] = []

    def prepare(wire: Wire) -> None:
        wire.down.alter = lambda octets: tries.append(octets) or [octets]  # type: ignore[func-returns-value]

    with pytest.raises(HeadendError) as caught:
        async with attached(mode, model=model, prepare=prepare, **{wrong: guess}):
            pass
    assert isinstance(caught.value, SecurityError)
    assert_nothing_is_told(told(caught.value), guess)
    assert sum(octets[8] == 0x60 for octets in tries) == 1 + (
        mode in CIPHERED
    )  # the public client asks for the counter
    async with attached(mode, model=model, counters=Ahead()) as (session, _):
        assert (await session.read(READ)).values[0]


class Ahead(MemoryCounters):
    """Counters beyond those that another head-end has used."""

    def reserve(self, name: str, least: int, count: int) -> int:
        return super().reserve(name, max(least, 5000), count)


@pytest.mark.parametrize("mode", CIPHERED)
async def test_a_wrong_system_title(mode: str) -> None:
    """The title in the AARE is not that under which the meter ciphers."""

    def prepare(wire: Wire) -> None:
        wire.up.alter = lambda octets: [octets.replace(b"HED\0\0\0\0\x07", b"HED\0\0\0\0\x08")]

    with pytest.raises(DecipherFailed) as caught:
        async with attached(mode, prepare=prepare):
            pass
    assert_nothing_is_told(told(caught.value))


@pytest.mark.parametrize("mode", CIPHERED)
@pytest.mark.parametrize("side", ["meter", "head-end"])
async def test_a_message_that_is_said_again(mode: str, side: str) -> None:
    """Whoever repeats what either side has said does not get it taken twice."""
    async with attached(mode) as (session, wire):
        assert (await session.read(READ)).values[0]
        if side == "meter":
            answer = wire.up.passed[-1]
            wire.up.alter = lambda _octets: [answer]
            with pytest.raises(ReplayDetected) as caught:
                await session.read(READ)
            assert not session.sound
            assert_nothing_is_told(told(caught.value))
        else:
            asked = wire.down.passed[-1]
            wire.down.alter = lambda _octets: [asked]
            result = await session.read(READ)
            assert result.values[0] is None
            assert_nothing_is_told(told(result.errors[0]))


@pytest.mark.parametrize("mode", CIPHERED)
async def test_one_octet_altered_anywhere(mode: str) -> None:
    """No alteration of a ciphered answer gives a value: it is refused, or nothing comes of it."""
    async with attached(mode) as (session, wire):
        await session.read(READ)
        length = len(wire.up.passed[-1])
    for at in range(8, length, 3):
        async with attached(mode) as (session, wire):
            wire.up.alter = lambda octets, at=at: [octets[:at] + bytes((octets[at] ^ 0x21,)) + octets[at + 1 :]]  # type: ignore[misc]
            try:
                result = await session.read(READ)
            except HeadendError as error:
                assert_nothing_is_told(told(error))
            else:
                raise AssertionError((at, result))


@pytest.mark.parametrize("mode", CIPHERED)
@pytest.mark.parametrize("asked", ["asked", "not-asked"])
async def test_a_stale_counter(mode: str, asked: str) -> None:
    """A head-end that has lost its counters asks, or is told, which one the meter expects; it does not go on trying."""
    model, tries = virtual_meter(mode), []
    async with attached(mode, model=model, counters=Ahead()) as (session, _):
        assert (await session.read(READ)).values[0]

    def prepare(wire: Wire) -> None:
        wire.down.alter = lambda octets: tries.append(octets) or [octets]

    params = {} if asked == "asked" else {"counter": "none"}
    async with attached(mode, model=model, prepare=prepare, params=params) as (session, _):
        assert (await session.read(READ)).values[0]
    assert [octets[8] for octets in tries].count(0x60) == 2

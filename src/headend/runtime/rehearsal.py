"""A profile against its own virtual meter, in memory: what is read must be what the meter holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from headend.drivers.base import NO_SECRETS, Driver, Secrets, Session
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import AssociationRejected, ConfigError, HeadendError, SecurityError
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.model.url import SCHEMES
from headend.transport.memory import memory_pair

_PLACE: Final = Endpoint(kind=EndpointKind.MEMORY, host="rehearsal")
_SECONDS: Final = 5.0
_KEY: Final = bytes(range(32))
_WAYS: Final[Sequence[Secrets]] = (
    NO_SECRETS,
    {"secret": Secret(b"rehearsal")},
    {"secret": Secret(b"rehearsal"), "ek": Secret(_KEY[:16]), "ak": Secret(_KEY[16:])},
    {"secret": Secret(b"rehearsal"), "ek": Secret(_KEY), "ak": Secret(_KEY[::-1])},
)
"""what a profile may need to be let in: made up, and known to the virtual meter only"""
_REFUSALS: Final = (SecurityError, ConfigError, AssociationRejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """An object that was not read as what it is."""

    ref: str
    quantity: str
    expected: str
    got: str


async def rehearse(profile: MeterProfile, now: Callable[[], int]) -> Sequence[Mismatch]:
    """Build a virtual meter of a profile, read all of it, and compare; `now` in milliseconds.

    Raises ConfigError for a profile of which no virtual meter can be made, and errors of the tree where it cannot be read.
    """
    the_driver = driver(profile.protocol)
    the_driver.check_file(profile)
    at = now()
    kind = MeterKind(profile, lambda: at)
    refused: HeadendError | None = None
    for secrets in _WAYS:
        virtual = VirtualMeter(kind, 1, secrets=secrets)
        try:
            session = await _attach(the_driver, virtual, secrets)
        except _REFUSALS as error:
            refused = refused or error
            continue
        try:
            return await _compare(profile, virtual, session, at)
        finally:
            await session.aclose()
    raise refused or ConfigError(f"{profile.id} lets nobody in")


async def _attach(the_driver: Driver, virtual: VirtualMeter, secrets: Secrets) -> Session:
    near, far = memory_pair()
    profile = virtual.profile
    framing = next(known for protocol, known, *_ in SCHEMES.values() if protocol == profile.protocol)
    meter = Meter(id="rehearsal", protocol=profile.protocol, framing=framing, endpoint=_PLACE)
    the_driver.serve(far, virtual)
    try:
        return await the_driver.attach(near, meter, profile, secrets, timeout=_SECONDS)
    except BaseException:
        near.abort()
        raise


async def _compare(profile: MeterProfile, virtual: VirtualMeter, session: Session, at: int) -> Sequence[Mismatch]:
    if not profile.objects:
        return ()
    result = await session.read(ReadPlan(entries=profile.objects))
    found = []
    for index, entry in enumerate(profile.objects):
        expected = virtual.value(index, at)
        error = result.errors.get(index)
        got = error.message if error is not None else _got(entry, result, index, expected)
        if got:
            found.append(Mismatch(ref=str(entry.ref), quantity=entry.quantity, expected=str(expected), got=got))
    return found


def _got(entry: ObjectEntry, result: ReadResult, index: int, expected: Value) -> str:
    """What was read, where that is something else than expected."""
    exponent = result.exponents[index] if result.exponents else entry.exponent
    raw = result.values[index]
    if not entry.quantity and "value" not in entry.emulate:  # what the protocol's meter may make itself, or leave empty
        return ""
    if entry.quantity == "meter_time":  # shown in the way of the protocol
        return "no value" if raw is None else ""
    got = scale(raw, exponent)
    if got is None:
        return "no value: it does not fit into its type"
    return "" if same(expected, got, 10.0**exponent) else str(got)


def same(expected: Value, got: Value, step: float) -> bool:
    """Equal but for what the wire rounds (`step` is one of its units), cuts off, or holds as a number."""
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return abs(expected - got) <= max(step, abs(expected) * 1e-6)
    first, second = str(expected).strip(), str(got).strip()
    if first == second or (second and first.startswith(second)):
        return True
    return first.lstrip("0") == second.lstrip("0")

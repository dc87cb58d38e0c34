"""Meter profiles made for these tests, a clock that stands, and meters of them."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest

from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import LoadProfile, MeterProfile, ProfileState
from headend.model.reading import Value

NOON = 1_763_726_400_000
"""Friday 2025-11-21T12:00Z"""


def entry(quantity: str = "", *, writable: bool = False, name: str = "", **emulate: Value) -> ObjectEntry:
    return ObjectEntry(
        ref=ObjectRef("test", name or quantity),
        quantity=quantity,
        writable=writable,
        emulate=MappingProxyType({key.rstrip("_"): value for key, value in emulate.items()}),
    )


def profile(*entries: ObjectEntry, load_profiles: tuple[LoadProfile, ...] = ()) -> MeterProfile:
    return MeterProfile(
        id="test-meter",
        vendor="Acme Meters",
        model="M1",
        protocol="test",
        state=ProfileState.EMULATED,
        source="this test",
        objects=entries,
        load_profiles=load_profiles,
    )


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_entry() -> Callable[..., ObjectEntry]:
    return entry


@pytest.fixture
def make_profile() -> Callable[..., MeterProfile]:
    return profile


@pytest.fixture
def three_phase(clock: Clock) -> Callable[..., VirtualMeter]:
    """A three-phase meter with the quantities asked for."""

    def make(*quantities: str, number: int = 7, seed: int = 1, **kind: float | str) -> VirtualMeter:
        entries = [entry(quantity) for quantity in (*quantities, "voltage_l3")]
        return VirtualMeter(MeterKind(profile(*entries), clock, **kind), number, seed)  # type: ignore[arg-type]

    return make

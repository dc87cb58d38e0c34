"""The failure list as a fleet: a meter of each framing for every fault there is, and healthy ones between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from headend.drivers.library import Library
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, FleetMeter, Group
from headend.model.meter import Secret

KINDS: Sequence[tuple[str, str]] = (
    ("generic-dlms-1p", "wrapper"),
    ("generic-dlms-1p", "hdlc"),
    ("eastron-sdm120", "rtu"),
)
"""profile and framing"""


def broken_groups(*, seconds: float = 0.2) -> list[Group]:
    """A group of two meters, the second one healthy, for each kind of meters and each fault that they can have."""
    library = Library()
    groups: list[Group] = []
    for fault in FaultKind:
        for profile_id, framing in KINDS:
            profile = library.get(profile_id)
            if fault is FaultKind.REJECT and profile.protocol != "dlms":
                continue
            counts = fault is FaultKind.INVOCATION_RESET and profile.protocol == "dlms"
            groups.append(
                Group(
                    profile=profile,
                    framing=framing,
                    count=2,
                    first_address=f"127.77.{len(groups)}.1",
                    label=f"{fault.value}-{framing}",
                    name=f"{fault.value}-{framing}-{{number}}",
                    params={"auth": "gmac", "client": "1", "suite": "0", "policy": "3"} if counts else {},
                    secrets={"ek": Secret(bytes(range(16))), "ak": Secret(bytes(range(16, 32)))} if counts else {},
                    faults=[Fault(kind=fault, meters=0.0, seconds=seconds)],
                )
            )
    return groups


@asynccontextmanager
async def broken_fleet(
    *, seconds: float = 0.2
) -> AsyncIterator[tuple[Fleet, Sequence[tuple[FaultKind | None, FleetMeter]]]]:
    """The fleet at work, and of each of its meters what is wrong with it (None: nothing)."""
    fleet = Fleet(broken_groups(seconds=seconds), seed=7)
    await fleet.start()
    try:
        found: list[tuple[FaultKind | None, FleetMeter]] = []
        for placed in fleet.groups:
            (fault,) = placed.group.faults
            placed.afflict({placed.first: (Fault(kind=fault.kind, seconds=seconds),)})
            faulty, healthy = placed.roster()
            found += [(fault.kind, faulty), (None, healthy)]
        yield fleet, found
    finally:
        await fleet.aclose()

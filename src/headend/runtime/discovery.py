"""Discovery put together: what the settings say, the rules as they are, and the parts that it works on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from headend.drivers.ground import Budget
from headend.drivers.library import Library
from headend.drivers.registry import driver, driver_names
from headend.model.profile import MeterProfile
from headend.runtime.errors import first_error
from headend.runtime.folders import counter_file, refusal_file
from headend.runtime.profiles import make_profiles
from headend.runtime.settings import DiscoverySettings, Settings
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.discovery.classification.model_file import shipped
from headend.services.discovery.classify import Classifier
from headend.services.discovery.deriving import Rules
from headend.services.discovery.discoverer import Discoverer, Limits
from headend.services.discovery.sweeping import Pace, Sweeper
from headend.services.lockout import Lockout
from headend.services.profiles.profiles import Profiles
from headend.services.retention import DAY_MS, retain
from headend.services.roster import Roster
from headend.storage.store import Store, wall_millis
from headend.transport.open import open_link


def make_discoverer(
    settings: Settings,
    store: Store,
    bus: Bus,
    roster: Roster,
    lanes: Lanes | None,
    library: Library,
    profiles: Profiles,
) -> Discoverer:
    """Discovery over all installed protocols; nothing runs yet."""
    wanted = settings.discovery
    drivers = [driver(name) for name in driver_names()]
    return Discoverer(
        store=store,
        bus=bus,
        roster=roster,
        lanes=lanes,
        library=library,
        drivers=drivers,
        sweeper=sweeper_of(wanted),
        derive=rules_of(library),
        keep_draft=lambda text, actor: profiles.take_draft(text, actor=actor),
        open_link=open_link,
        lockout=Lockout(refusal_file(settings.data_folder)),
        clock=wall_millis,
        limits=limits_of(wanted),
    )


def sweeper_of(wanted: DiscoverySettings) -> Sweeper:
    """What goes through networks, as the settings say."""
    pace = Pace(
        rate=wanted.rate,
        network_rate=wanted.network_rate,
        window=wanted.window,
        timeout=wanted.timeout,
        banner=wanted.listen_milliseconds / 1000,
    )
    protocols = {name: driver(name).ports for name in driver_names()}
    return Sweeper(protocols, clock=wall_millis, pace=pace, ports=wanted.ports, allowed=wanted.networks)


def limits_of(wanted: DiscoverySettings) -> Limits:
    """What may be spent, as the settings say."""
    return Limits(
        places=wanted.places,
        per_host=wanted.per_host,
        cycle_ms=round(wanted.cycle_minutes * 60_000),
        timeout=wanted.timeout,
        budget=Budget(
            links=wanted.links,
            associations=wanted.associations,
            seconds=wanted.seconds,
            spacing=wanted.spacing_milliseconds / 1000,
        ),
    )


def rules_of(library: Library) -> Callable[[], Rules]:
    """Gives the rules as they are now: made anew when the library has changed."""
    known: list[MeterProfile] = []
    rules: list[Rules] = []

    def now() -> Rules:
        profiles = list(library)
        if not rules or len(known) != len(profiles) or any(a is not b for a, b in zip(known, profiles, strict=True)):
            rules[:] = [Rules(Classifier(profiles, shipped()))]
            known[:] = profiles
        return rules[0]

    return now


@asynccontextmanager
async def standing_alone(
    settings: Settings, store: Store, library: Library, *, jobs: bool = True
) -> AsyncIterator[tuple[Discoverer, Bus]]:
    """Discovery without a head-end around it: for a command. It carries out jobs until the block ends, unless it is not to."""
    bus = Bus()
    roster = Roster(bus, wall_millis)
    roster.load(await asyncio.to_thread(lambda: [stored.meter for stored in store.meters.list(limit=1_000_000)]))
    counters = counter_file(settings.data_folder)
    for name in driver_names():
        driver(name).use_counters(counters)
    profiles = make_profiles(settings, library, store)
    try:
        discoverer = make_discoverer(settings, store, bus, roster, None, library, profiles)
        async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
            if jobs:
                await stack.enter_async_context(discovering(group, discoverer, settings.discovery, store))
            yield discoverer, bus
    except BaseExceptionGroup as group_error:
        raise first_error(group_error) from group_error
    finally:
        counters.close()


@asynccontextmanager
async def discovering(
    group: asyncio.TaskGroup, discoverer: Discoverer, settings: DiscoverySettings, store: Store
) -> AsyncIterator[None]:
    """Let scans go on until the block ends; one that is under way then goes on at the next start."""
    running = group.create_task(discoverer.run(), name="discovery")
    keeping = group.create_task(
        retain(settings.retention_days, lambda day: store.scans.purge(day * DAY_MS), wall_millis, "scans"),
        name="scan-retention",
    )
    try:
        yield
    finally:
        for task in (running, keeping):
            task.cancel()
        await asyncio.wait({running, keeping})

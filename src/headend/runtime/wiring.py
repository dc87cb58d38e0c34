"""Wiring: the one place that knows all parts of a head-end, starts them in order and stops them in order.

Started: database, bus, roster, writer, lanes, poller, broker, sink, listener, web. Stopped the other way round: no new polls and
pushes, sessions released, web closed, what is on the bus written and delivered, database closed; each step within its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog

from headend import tracing
from headend.drivers.base import Secrets
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError
from headend.model.meter import Meter, MeterIdentity, Secret
from headend.northbound.deliveries import Deliveries
from headend.runtime.alarms import alarms_of, watching
from headend.runtime.captures import captures
from headend.runtime.commanding import make_commands
from headend.runtime.database import open_store, sole_owner
from headend.runtime.discovery import discovering, make_discoverer
from headend.runtime.emulators import make_emulators
from headend.runtime.errors import first_error
from headend.runtime.exports import exporting, make_exports
from headend.runtime.folders import counter_file, refusal_file
from headend.runtime.gateway import dialling_in, make_gateway, make_intake
from headend.runtime.history import completing, make_completeness
from headend.runtime.importing import declare, read_declared
from headend.runtime.knowledge import KnowledgeFile
from headend.runtime.listening import hearing
from headend.runtime.mqtt import add_mqtt, embedded_broker
from headend.runtime.profiles import library_of, make_profiles
from headend.runtime.retention import retaining
from headend.runtime.settings import Settings
from headend.runtime.sinks import add_sinks, anything_to_deliver, make_deliveries
from headend.runtime.supervising import keep_delivering, keep_running, make_supervisor, supervised
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.plan import Intervals, Slower
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.discovery.discoverer import Discoverer
from headend.services.gateway.gateway import Gateway
from headend.services.identifier import Identifier
from headend.services.lockout import Lockout
from headend.services.pushes import Pushes
from headend.services.recorder import Recorder
from headend.services.roster import Roster
from headend.services.statistics import Statistician
from headend.services.trial import Trials
from headend.services.writer import Writer
from headend.storage.keeping import Keeper
from headend.storage.ledger import mark
from headend.storage.store import Store, wall_millis
from headend.transport.open import open_link
from headend.web.app import create_app
from headend.web.parts import WebParts
from headend.web.serve import serve as serve_web
from headend.web.settings import WebSettings

PAGE: Final = 1000
FINISH_SECONDS: Final = 2.0
"""for reads under way to end when the head-end stops; a meter that says nothing is not waited for"""
RELEASE_SECONDS: Final = 3.0
"""for all sessions together to be released"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEnd:
    """A running head-end, for those who started it."""

    store: Store
    bus: Bus
    roster: Roster
    lanes: Lanes
    poller: Poller
    gateway: Gateway
    discovery: Discoverer
    writer: Writer
    web_port: int | None
    mqtt_port: int | None
    listening: Sequence[str]
    """where meters may push to"""
    dialled_at: Sequence[str]
    """where they may dial in"""
    console_url: str
    """empty without a web server"""


def all_meters(store: Store) -> list[Meter]:
    """Every meter of the database, page by page."""
    found: list[Meter] = []
    while page := store.meters.list(after=found[-1].id if found else "", limit=PAGE):
        found += [stored.meter for stored in page]
    return found


@contextlib.contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Trace what happens in the block, where the settings say so."""
    if not settings.log.traces:
        yield
        return
    end = tracing.configure(settings.log.traces, version("headend"))
    try:
        yield
    finally:
        end()


def _declare(settings: Settings, store: Store) -> None:
    done = declare(store, read_declared(settings.meters, library_of(settings)))
    if done.added or done.changed:
        log.info("meters of the settings", added=done.added, changed=done.changed)


def save_identity(store: Store, meter_id: str, identity: MeterIdentity) -> None:
    """Keep what a meter said about itself; a change by somebody else at the same time goes first (Conflict)."""
    stored = store.meters.get(meter_id)
    store.meters.put(replace(stored.meter, identity=identity), revision=stored.revision)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[HeadEnd]:
    """A head-end as the settings say, from when it is ready until the block ends.

    Raises the errors of its parts: ConfigError, StorageError; an error of a part that dies later ends the block.
    """
    with sole_owner(settings.data_folder), traced(settings):
        store = await asyncio.to_thread(open_store, settings)
        counters, refusals = counter_file(settings.data_folder), refusal_file(settings.data_folder)
        for name in driver_names():
            driver(name).use_counters(counters)
        try:
            await asyncio.to_thread(store.claim)
            async with _parts(settings, store) as head_end:
                yield head_end
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        finally:
            await asyncio.to_thread(store.close)
            counters.close()
            refusals.close()


async def _secrets_of(store: Store, meter: Meter) -> Secrets:
    def read() -> dict[str, Secret]:
        return {name: store.secrets.get(meter.id, name) for name in store.secrets.names(meter.id)}

    return await asyncio.to_thread(read)


def _web_parts(settings: Settings, store: Store, deliveries: Deliveries, meters: list[Meter]) -> WebParts:
    """The parts that work on meters, put together; nothing runs yet."""
    library = library_of(settings)
    bus = Bus()
    roster = Roster(bus, wall_millis)
    roster.load(meters)

    profile, secrets = library.of, partial(_secrets_of, store)
    lockout = Lockout(refusal_file(settings.data_folder))
    lanes = Lanes(
        roster,
        open_link=open_link,
        driver=driver,
        profile=profile,
        secrets=secrets,
        connects_per_second=settings.poll.connects_per_second,
        connect_timeout=settings.poll.timeout,
        request_timeout=settings.poll.timeout,
        heard=Pushes(bus, profile, wall_millis).heard,
        recovery=settings.recovery.rules,
        networks=[entry.network() for entry in settings.networks],
        lockout=lockout,
    )
    intervals = Intervals(settings.poll.every)
    poller = Poller(
        *(roster, lanes, bus),
        profile=profile,
        clock=wall_millis,
        max_in_flight=settings.poll.in_flight,
        intervals=intervals,
    )
    intake = make_intake(bus, roster, lanes, profile, secrets)
    profiles = make_profiles(settings, library, store, roster, lanes)
    commands = make_commands(settings.commands, store, bus, roster, lanes, profile)
    delivers = anything_to_deliver(settings)
    return WebParts(
        store=store,
        bus=bus,
        roster=roster,
        lanes=lanes,
        poller=poller,
        gateway=make_gateway(settings.gateway, bus, roster, lanes, poller, intake),
        commands=commands,
        completeness=make_completeness(settings, store, bus, roster, lanes, profile, commands),
        captures=captures(settings, roster, lanes, secrets),
        alarms=alarms_of(settings.alarms, roster, bus, store, library.get),
        emulators=make_emulators(settings, library),
        statistics=Statistician(roster, store.statistics.add, wall_millis),
        trials=Trials(
            lanes,
            open_link=open_link,
            driver=driver,
            profile=profile,
            clock=wall_millis,
            timeout=settings.poll.timeout,
            lockout=lockout,
        ),
        writer=Writer(
            bus,
            Keeper(store.readings, store.journal if delivers else None, mark).write,
            clock=wall_millis,
            stored=deliveries.offer if delivers else None,
        ),
        deliveries=deliveries,
        exports=make_exports(store, roster, profile),
        library=library,
        profiles=profiles,
        discovery=make_discoverer(settings, store, bus, roster, lanes, library, profiles),
        version=version("headend"),
        freshness=replace(settings.freshness.rules, every=Slower(intervals, profile).every),
        settings=web_settings(settings),
    )


@asynccontextmanager
async def _parts(settings: Settings, store: Store) -> AsyncIterator[HeadEnd]:
    await asyncio.to_thread(_declare, settings, store)
    deliveries = make_deliveries(settings.delivery, store)
    parts = _web_parts(settings, store, deliveries, await asyncio.to_thread(all_meters, store))
    learned = KnowledgeFile(settings.data_folder, parts.roster)
    learned.load()
    recorder = Recorder(parts.bus, store.events.append)
    identifier = Identifier(parts.roster, parts.lanes, parts.bus, partial(save_identity, store))
    async with contextlib.AsyncExitStack() as stack:
        broker = embedded_broker(settings.mqtt)
        if broker is not None:
            await broker.start()
            stack.push_async_callback(broker.stop)
        await stack.enter_async_context(parts.emulators)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        add_mqtt(settings, parts, deliveries, broker)
        await asyncio.to_thread(add_sinks, settings, parts, deliveries)
        writing = group.create_task(parts.writer.run(), name="writer")
        supervisor = make_supervisor(settings.supervisor, parts)
        delivering = group.create_task(deliveries.run(partial(keep_delivering, supervisor)), name="deliveries")
        recording, identifying, polling, figuring = keep_running(group, supervisor, parts, recorder, identifier)
        alarming = await stack.enter_async_context(contextlib.AsyncExitStack())
        await alarming.enter_async_context(watching(group, parts.alarms, settings.alarms, store))
        await parts.commands.recover()
        commanding = group.create_task(parts.commands.run(), name="commands")
        outward: list[asyncio.Task[None]] = [figuring]
        outward += retaining(group, settings, store)
        outward.append(group.create_task(exporting(settings, parts), name="exports"))
        outward.append(group.create_task(learned.run(), name="knowledge"))
        ears = await stack.enter_async_context(contextlib.AsyncExitStack())
        await ears.enter_async_context(completing(group, parts.completeness, settings, store))
        await ears.enter_async_context(discovering(group, parts.discovery, settings.discovery, store))
        taking_in = group.create_task(parts.gateway.intake.run(), name="intake")
        heard_at = await ears.enter_async_context(hearing(settings.listen, parts.gateway.intake))
        dialled_at = await stack.enter_async_context(dialling_in(parts.gateway, settings.gateway, store))
        web_port: int | None = None
        if settings.web.enabled:
            serving, web_port = await _start_web(group, parts)
            outward.append(serving)
        await ears.enter_async_context(supervised(group, supervisor))
        try:
            yield HeadEnd(
                store=store,
                bus=parts.bus,
                roster=parts.roster,
                lanes=parts.lanes,
                poller=parts.poller,
                gateway=parts.gateway,
                discovery=parts.discovery,
                writer=parts.writer,
                web_port=web_port,
                mqtt_port=broker.port if broker else None,
                listening=heard_at,
                dialled_at=dialled_at,
                console_url=_console_url(settings, web_port),
            )
        finally:
            await ears.aclose()
            parts.gateway.stop()
            parts.gateway.intake.close()
            await _within(taking_in, FINISH_SECONDS)
            identifier.close()
            parts.poller.stop()
            await _within(commanding, 0)
            await _within(polling, FINISH_SECONDS)
            await _within(identifying, 1)
            parts.captures.close()
            await parts.lanes.aclose(RELEASE_SECONDS)
            await alarming.aclose()
            await _ended(outward)
            recorder.close()
            parts.writer.close()
            await asyncio.gather(writing, recording, return_exceptions=True)
            await _ended([delivering])


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _start_web(group: asyncio.TaskGroup, parts: WebParts) -> tuple[asyncio.Task[None], int | None]:
    """The web server and its port; None when it could not listen, which the group raises then."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = group.create_task(serve_web(create_app(parts), parts.settings, listening.set_result), name="web")
    serving.add_done_callback(lambda _task: listening.cancel())
    await asyncio.wait({listening})
    return serving, None if listening.cancelled() else listening.result()


def _console_url(settings: Settings, port: int | None) -> str:
    if port is None:
        return ""
    host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
    return f"{'https' if settings.web.tls_certificate else 'http'}://{host}:{port}/"


async def _within(task: asyncio.Task[None], seconds: float) -> None:
    """Let a task end; cancel it when it takes longer."""
    await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def web_settings(settings: Settings) -> WebSettings:
    """What the web server is told; raises ConfigError for half of a TLS pair."""
    web = settings.web
    if bool(web.tls_certificate) is not bool(web.tls_key):
        raise ConfigError("web.tls_certificate and web.tls_key belong together: one of them is missing")
    return WebSettings(
        host=web.host,
        port=web.port,
        allowed_hosts=web.allowed_hosts,
        cors_origins=web.cors_origins,
        tls_certificate=Path(web.tls_certificate) if web.tls_certificate else None,
        tls_key=Path(web.tls_key) if web.tls_key else None,
        public_read=web.public_read,
        accept_unknown_meters=web.accept_unknown_meters,
        mbmd=web.mbmd,
    )

"""The web application over a real store, bus, roster and lanes, and meters in memory that answer without a wire."""

# ruff: noqa: ARG002 - a driver takes what the contract says, needed or not

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher

from headend.drivers.base import Capability, Layer, Notification, Overheard, Sniff
from headend.drivers.ground import Ground, Probe
from headend.drivers.library import Library
from headend.drivers.recognition import Known as KnownRegistrations
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver, driver_names
from headend.errors import CapabilityError, ConfigError, ConnectRefused, ObjectUndefined
from headend.model.access import Role
from headend.model.discovery import Examination, Sighting
from headend.model.job import Command, Outcome, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import (
    HistoryBlock,
    HistoryColumn,
    HistoryRequest,
    ObjectEntry,
    ObjectInfo,
    ObjectRef,
    ReadPlan,
    ReadResult,
)
from headend.model.profile import LoadProfile, MeterProfile, ProfileState
from headend.model.reading import ReadingBatch, Source
from headend.northbound.deliveries import Deliveries
from headend.runtime.discovery import rules_of
from headend.runtime.exports import make_exports
from headend.runtime.rehearsal import rehearse
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.alarms.service import Alarms
from headend.services.bus import Bus
from headend.services.captures import Captures
from headend.services.commanding.reads import Reads
from headend.services.commands import Commands
from headend.services.discovery.discoverer import Discoverer
from headend.services.discovery.sweeping import Sweeper
from headend.services.gateway.gateway import Gateway
from headend.services.gateway.house import House, Recognition
from headend.services.history.collector import Collector
from headend.services.history.completeness import Completeness
from headend.services.history.kept import Rules
from headend.services.intake import Intake, Known
from headend.services.lockout import Lockout
from headend.services.profiles.profiles import Profiles
from headend.services.recorder import Recorder
from headend.services.roster import Roster
from headend.services.statistics import Statistician
from headend.services.trial import Trials
from headend.services.writer import Writer
from headend.storage.profiles import ProfileFolder
from headend.storage.refusals import RefusalFile
from headend.storage.store import Store
from headend.transport.link import Link
from headend.transport.memory import memory_pair
from headend.transport.open import open_link
from headend.web.app import create_app
from headend.web.parts import WebParts
from headend.web.settings import WebSettings
from tests.new_database import laid
from tests.virtual import emulators_here

KEY = bytes(range(32))
NOW = 1_767_225_600_000
RATINGS = {"nominal_voltage": 230.0}
PASSWORD = "correct horse battery"
LOOPBACK = ("127.0.0.1", 50000)
ELSEWHERE = ("192.0.2.7", 50000)


PROFILE = MeterProfile(
    id="bench",
    vendor="Bench",
    model="B1",
    protocol="modbus",
    state=ProfileState.EMULATED,
    source="tests",
    objects=(ObjectEntry(ref=ObjectRef("bench", "voltage"), quantity="voltage_l1", unit="V", scaler=-1, exponent=-1),),
    load_profiles=(
        LoadProfile(
            ref=ObjectRef("bench", "journal"),
            period_seconds=0,
            capacity=3,
            columns=(ObjectRef("bench", "voltage"),),
            events={2300: "low", 2302: "less low"},
        ),
    ),
)


class BenchSession:
    """A meter without a wire: `voltage` is 2301, every other object is undefined."""

    capabilities = frozenset({Capability.READ, Capability.HISTORY, Capability.OBJECTS, Capability.RELAY})
    sound = True

    async def identify(self) -> MeterIdentity:
        return MeterIdentity(serial="1")

    async def read(self, plan: ReadPlan) -> ReadResult:
        errors = {
            index: ObjectUndefined("no such object")
            for index, entry in enumerate(plan.entries)
            if entry.ref.address != "voltage"
        }
        return ReadResult(values=[None if i in errors else 2301 for i in range(len(plan.entries))], errors=errors)

    async def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        columns = (HistoryColumn(ref=ObjectRef("bench", "voltage"), quantity="voltage_l1", exponent=-1),)
        for row in range(3):
            yield HistoryBlock(columns=columns, times=[NOW + row], rows=[(2300 + row,)], quality=[0])

    async def objects(self) -> Sequence[ObjectInfo]:
        return (ObjectInfo(ref=ObjectRef("bench", "voltage"), name="Voltage", attributes={2: "r"}),)

    async def execute(self, command: Command) -> Outcome:
        return Outcome(verdict=Verdict.CONFIRMED, observed=False)

    async def verify(self, command: Command, since: int) -> Outcome:
        return Outcome(verdict=Verdict.CONFIRMED, observed=False)

    def forget(self) -> None: ...

    def notifications(self) -> Sequence[Notification]:
        return ()

    async def aclose(self) -> None: ...


class BenchDriver:
    name = "bench"
    ports = (7,)
    capabilities = BenchSession.capabilities

    async def attach(self, link: Link, *meter: Any, **options: Any) -> BenchSession:
        return BenchSession()

    def probes(self) -> Sequence[Probe]:
        return ()

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Any = None) -> Examination:
        raise CapabilityError("nothing to examine")

    def parse_ref(self, text: str) -> ObjectRef:
        if not text.isalpha():
            raise ConfigError("expected a word")
        return ObjectRef("bench", text)

    def holds_secret(self, ref: ObjectRef) -> bool:
        return ref.address == "password"

    def check_params(self, params: Mapping[str, Any]) -> None:
        if not str(params.get("unit", 1)).isdigit():
            raise ConfigError("unit: expected a number")

    def serve(self, link: Link, model: Any) -> None:
        raise NotImplementedError

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniff:
        return Sniff.NO

    def spoken(self, secrets: Mapping[str, Any]) -> Sequence[tuple[bytes, bytes]]:
        """The secrets stand in the lines as they are."""
        return [(secret.reveal(), b"*" * len(secret.reveal())) for secret in secrets.values()]

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """Words with commas between."""
        return (ObjectEntry(ref=self.parse_ref(word)) for word in text.split(",") if word)

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
        """Lines have no numbers."""
        return None

    def reseal(self, data: bytes) -> bytes:
        """Lines have no check octets."""
        return data

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """Lines are not overheard."""
        raise CapabilityError("lines are not overheard")

    def explain(self, data: bytes, secrets: Mapping[str, Any]) -> Layer:
        return Layer(name="bench", offset=0, length=len(data), fields=[("first", str(data[0]), 0, 1)])

    def translate(self, data: bytes, secrets: Mapping[str, Any]) -> str:
        raise CapabilityError("bench has no notation in XML")


class Time:
    """The clock of the test."""

    seconds = 0.0

    def millis(self) -> int:
        return NOW + int(self.seconds * 1000)


class World:
    """The head-end around the application."""

    def __init__(self, store: Store, time: Time, settings: WebSettings, folder: Path) -> None:
        self.store = store
        self.access = store.access
        self.clock = time
        self.library = Library(kept=folder / "profiles")
        nowhere = Path("bench.toml")  # its protocol is known to these tests alone
        self.library._fixed[PROFILE.id], self.library._loaded[nowhere] = nowhere, (None, PROFILE)
        self.library.refresh()
        self.bus = Bus()
        self.roster = Roster(self.bus, time.millis)
        self.driver = BenchDriver()
        self.lanes = Lanes(
            self.roster,
            open_link=self._open_link,
            driver=lambda _name: self.driver,
            profile=self._profile,
            secrets=self._secrets,
        )
        self.writer = Writer(self.bus, self._write, clock=time.millis)
        self.recorder = Recorder(self.bus, store.events.append)
        self.deliveries = Deliveries(store.journal, time.millis, keep_hours=72, keep_octets=1 << 30)
        self.alarms = Alarms(
            self.roster, self.bus, store, profile=self.library.get, clock=time.millis, settings={"ratings": RATINGS}
        )
        self.commands = Commands(
            self.lanes,
            self.roster,
            self.bus,
            time.millis,
            store=store,
            reads=Reads(self.bus, time.millis, driver=lambda _name: self.driver, profile=self._profile),
        )
        self._loop = asyncio.get_running_loop()
        self._written = asyncio.Event()
        self._rows = 0
        self._keys: dict[Role, str] = {}
        self.captures = Captures(
            folder / "captures",
            self.roster,
            self.lanes,
            driver=lambda _name: self.driver,
            secrets=self._secrets,
            clock=time.millis,
        )
        self.profiles = Profiles(
            self.library,
            ProfileFolder(folder / "profiles", time.millis),
            audit=store.audit.append,
            rehearse=rehearse,
            clock=time.millis,
            roster=self.roster,
            lanes=self.lanes,
        )
        poller = Poller(self.roster, self.lanes, self.bus, profile=self._profile, clock=time.millis)
        known = Known(roster=self.roster, profile=self._profile, secrets=self._secrets)
        self.gateway = Gateway(
            House(
                roster=self.roster,
                lanes=self.lanes,
                intake=Intake(known, self.bus, lambda _state, _said: None, time.millis),
                bus=self.bus,
                driver=lambda _name: self.driver,
                millis=time.millis,
                dialled_in=poller.connected,
            ),
            Recognition(known=KnownRegistrations(built_in()), drivers=()),
        )
        self.discovery = Discoverer(
            store=store,
            bus=self.bus,
            roster=self.roster,
            lanes=self.lanes,
            library=Library(kept=folder / "profiles"),  # without the one of the test's own
            drivers=[driver(name) for name in driver_names()],
            sweeper=Sweeper({"text": (7,)}, clock=time.millis),
            derive=rules_of(Library()),
            keep_draft=lambda text, actor: self.profiles.take_draft(text, actor=actor),
            open_link=open_link,
            lockout=Lockout(RefusalFile(folder / "refusals.db")),
            clock=time.millis,
        )
        collector = Collector(
            self.roster, self.lanes, self.bus, store.ledger, profile=self._profile, clock=time.millis, rules=Rules()
        )
        self.completeness = Completeness(store.ledger, time.millis, collector)
        self.emulators = emulators_here(folder / "emulators", Library())
        self.app = create_app(
            WebParts(
                store=store,
                emulators=self.emulators,
                bus=self.bus,
                roster=self.roster,
                lanes=self.lanes,
                poller=poller,
                gateway=self.gateway,
                discovery=self.discovery,
                commands=self.commands,
                captures=self.captures,
                completeness=self.completeness,
                alarms=self.alarms,
                writer=self.writer,
                deliveries=self.deliveries,
                exports=make_exports(store, self.roster, self._profile, time.millis),
                statistics=Statistician(self.roster, self.store.statistics.add, time.millis),
                trials=Trials(
                    self.lanes,
                    open_link=self._open_link,
                    driver=lambda _name: self.driver,
                    profile=self._profile,
                    clock=time.millis,
                ),
                library=self.library,
                profiles=self.profiles,
                version="1.2.3",
                settings=settings,
                driver=lambda _name: self.driver,
                clock=lambda: time.seconds,
                millis=time.millis,
            )
        )

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return self.clock.seconds

    @time.setter
    def time(self, seconds: float) -> None:
        self.clock.seconds = seconds

    def _profile(self, meter: Meter) -> MeterProfile | None:
        return self.library.get(meter.profile_id) if meter.profile_id else None

    async def _open_link(self, endpoint: Endpoint, timeout: float) -> Link:
        if endpoint.host == "nobody":
            raise ConnectRefused(f"nobody listens at {endpoint.wire}")
        return memory_pair()[0]

    async def _secrets(self, meter: Meter) -> dict[str, Any]:
        return {}

    def client(
        self, role: Role | None = None, *, peer: tuple[str, int] = LOOPBACK, base: str = "http://localhost"
    ) -> httpx.AsyncClient:
        """A client with a key of a role, or without a credential."""
        headers = {"Authorization": f"Bearer {self.key(role)}"} if role else {}
        transport = httpx.ASGITransport(app=self.app, client=peer)
        return httpx.AsyncClient(transport=transport, base_url=base, headers=headers)

    def key(self, role: Role) -> str:
        """A key with a role."""
        if role not in self._keys:
            self._keys[role] = self.access.create_key(f"key-{role.value}", role)
        return self._keys[role]

    def user(self, name: str, role: Role = Role.VIEWER) -> None:
        self.access.put_user(name, role, PASSWORD)

    def add(self, meter_id: str, **fields: Any) -> Meter:
        """A meter in the store and in the roster."""
        endpoint = fields.pop("endpoint", Endpoint(kind=EndpointKind.TCP, host="bench", port=7))
        values = {"protocol": "modbus", "framing": "tcp", "poll_seconds": 0.0, **fields}
        meter = Meter(id=meter_id, endpoint=endpoint, **values)
        self.store.meters.put(meter)
        self.roster.add(meter)
        return meter

    def _write(self, batches: Sequence[ReadingBatch]) -> None:
        self._rows += self.store.readings.write(batches)
        self._loop.call_soon_threadsafe(self._written.set)

    async def stored(self, readings: int) -> None:
        """Wait until so many readings are stored."""
        while self._rows < readings:
            self._written.clear()
            await self._written.wait()


def batch(meter_id: str, values: Mapping[str, Any], at: int = NOW, source: Source = Source.POLL) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=source,
        received_at=at,
        quantities=tuple(values),
        values=list(values.values()),
        measured_at=(at,) * len(values),
        quality=(0,) * len(values),
    )


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """Everything up, and down again."""
    time = Time()
    with Store.open(laid(folder / "headend.db"), vault_key=KEY, millis=time.millis) as store:
        store.access._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        made = World(store, time, WebSettings(**settings), folder)
        async with made.app.router.lifespan_context(made.app), made.emulators, asyncio.TaskGroup() as tasks:
            tasks.create_task(made.writer.run())
            tasks.create_task(made.recorder.run())
            alarming = tasks.create_task(made.alarms.run())
            await made.alarms.ready.wait()
            try:
                yield made
            finally:
                made.captures.close()
                await made.commands.aclose()
                await made.lanes.aclose()
                made.alarms.close()
                await alarming
                made.writer.close()
                made.recorder.close()

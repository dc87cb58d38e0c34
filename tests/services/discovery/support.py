"""Places in memory that can be discovered: the line-based protocol of the services' tests, with probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from headend.drivers.base import NO_SECRETS, Secrets
from headend.drivers.ground import Budget, Ground, Probe
from headend.drivers.library import Library
from headend.errors import ConfigError, ConnectRefused, LinkError
from headend.model.discovery import Examination, Fact, Hit, Intrusion, PortState, Sighting, Trial, TrialOutcome
from headend.model.event import Event
from headend.model.fingerprint import Classification
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.model.objects import ObjectInfo, ObjectRef
from headend.model.scan import ScanJob
from headend.services.discovery.deriving import Derived
from headend.services.discovery.discoverer import Discoverer, Limits
from headend.services.discovery.fingerprint import build
from headend.services.discovery.running import Swept
from headend.services.discovery.sweeping import Sweeper
from headend.services.lockout import Lockout
from headend.storage.refusals import RefusalFile
from headend.storage.store import Store
from headend.transport.link import Link
from headend.transport.memory import memory_pair
from tests.new_database import laid
from tests.services.support import Site, TextDriver, World, clock

KEY = bytes(32)


class Listener:
    def __init__(self) -> None:
        self.heard = bytearray()
        self.more = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.more.set()

    def link_lost(self, _error: LinkError) -> None:
        self.more.set()


async def lines(ground: Ground, question: str, probe: str) -> list[str]:
    """What is answered to a question on a link of its own, until it is silent."""
    link = await ground.link()
    ear = Listener()
    link.set_receiver(ear)
    link.write(question.encode())
    try:
        async with asyncio.timeout(ground.timeout):
            while ear.heard.count(b"\n") < question.count("\n"):
                ear.more.clear()
                if not link.is_open:
                    break
                await ear.more.wait()
    except TimeoutError:
        pass
    await ground.close()
    ground.step(probe)
    return [line.decode("latin-1") for line in bytes(ear.heard).split(b"\n")]


class Findable(TextDriver):
    """The text protocol, with a probe that asks for units 1 to 3 at once."""

    def __init__(self, units: Sequence[str] = ("1", "2", "3")) -> None:
        super().__init__()
        self.units = units
        self.examined: list[tuple[str, Secrets]] = []
        self.stumbles = ""

    def probes(self) -> Sequence[Probe]:
        return (Probe(name="text-units", framing="", intrusion=Intrusion.ASK, cost=1, run=self.find, ports=(7,)),)

    async def find(self, ground: Ground) -> tuple[Sighting, ...]:
        if self.stumbles == "probe":
            raise KeyError(self.stumbles)
        said = await lines(ground, "".join(f"READ {unit} u\n" for unit in self.units), "text-units")
        answered = {line.split()[0] for line in said if line[:1].isdigit()}
        return tuple(
            Sighting(protocol="text", framing="", params={"unit": unit}) for unit in self.units if unit in answered
        )

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Secrets = NO_SECRETS) -> Examination:
        unit = sighting.params["unit"]
        self.examined.append((f"{ground.endpoint.host}/{unit}", secrets))
        if self.stumbles == "examination":
            raise KeyError(self.stumbles)
        trials: tuple[Trial, ...] = ()
        if "secret" in secrets:
            ground.associate()
            password = secrets["secret"].reveal().decode()
            (answer, *_) = await lines(ground, f"LOGIN {unit} {password}\n", "login")
            outcome = TrialOutcome.ACCEPTED if answer.endswith("OK") else TrialOutcome.REJECTED
            trials = (
                Trial(
                    client=int(sighting.params.get("client", "0")),
                    server=1,
                    referencing="",
                    context="",
                    mechanism="lls",
                    outcome=outcome,
                    result="bad password",
                ),
            )
        (answer, *_) = await lines(ground, f"READ {unit} u\n", "examination")
        return Examination(
            endpoint=ground.endpoint,
            protocol="text",
            framing="",
            params=sighting.params,
            identity=MeterIdentity(serial=f"{ground.endpoint.host}/{unit}", manufacturer="Text"),
            facts=(Fact(name="model_text", value="T1"),),
            trials=trials,
            objects=(ObjectInfo(ref=ObjectRef("text", "u"), quantity="voltage_l1"),),
            values={"u": answer.partition(" ")[2]},
            evidence=tuple(ground.evidence),
            associations=ground.associations,
            stopped=ground.stopped,
        )


def derive(examination: Examination) -> Derived:
    fingerprint = build(examination)
    vendor = "Text" if examination.identity.manufacturer else ""
    return Derived(
        fingerprint=fingerprint,
        classification=Classification(vendor=vendor, model="T1", confidence=0.9, method="rules"),
        draft='[meter]\nvendor = "Text"\n',
        coverage=1.0,
    )


class Net(World):
    """Sites by host on port 7, banners, and what a sweep finds of them."""

    def __init__(self, sites: Mapping[str, Site], **options: Any) -> None:
        self.driver = Findable()
        super().__init__(sites, **options)
        self.driver = Findable()
        self.banners: dict[str, bytes] = {}
        self.opened: list[str] = []
        self.dropping: set[str] = set()
        self.drafts: list[tuple[str, str]] = []

    async def open_link(self, endpoint: Endpoint, timeout: float) -> Link:
        self.opened.append(endpoint.host)
        if endpoint.host not in self.sites:
            raise ConnectRefused(f"nobody listens at {endpoint.wire}")
        if endpoint.host in self.banners:
            near, far = memory_pair()
            far.set_receiver(Listener())
            far.write(self.banners[endpoint.host])
            return near
        near = await super().open_link(endpoint, timeout)
        if endpoint.host in self.dropping:
            self.sites[endpoint.host].links[-1].abort()
        return near

    def keep_draft(self, text: str, actor: str) -> str:
        self.drafts.append((text, actor))
        raise ConfigError("not a meter file")

    def ground(self, host: str, budget: Budget | None = None, timeout: float = 2.0) -> Ground:
        return Ground(
            Endpoint(kind=EndpointKind.TCP, host=host, port=7),
            open_link=self.open_link,
            time=asyncio.get_running_loop().time,
            sleep=asyncio.sleep,
            clock=clock,
            budget=budget,
            timeout=timeout,
        )


class Sweeping(Sweeper):
    """A sweeper whose sweep finds the sites of a net, one host a batch."""

    def __init__(self, net: Net) -> None:
        super().__init__({"text": (7,)}, clock=clock, allowed=("192.0.2.0/24", "198.51.100.0/24"))
        self.net = net
        self.swept: list[int] = []
        self.hold: asyncio.Event | None = None

    def sweep(self, asked: Any) -> Callable[[ScanJob], AsyncIterator[Swept]] | None:
        if asked.targets is None:
            return None

        async def run(job: ScanJob) -> AsyncIterator[Swept]:
            targets = list(asked.targets.walk(0, job.cursor))
            self.swept.append(job.cursor)
            total = asked.targets.count
            for position, host, port, _ in targets:
                state = PortState.OPEN if host in self.net.sites else PortState.SILENT
                hit = Hit(host=host, port=port, state=state, at=clock(), banner=self.net.banners.get(host, b""))
                done = position + 1
                yield Swept(hits=(hit,), cursor=done, done=done, targets=total, seconds_left=float(total - done))
                if self.hold is not None and state is PortState.OPEN:
                    await self.hold.wait()

        return run


@asynccontextmanager
async def discovering(
    net: Net, folder: Path, *, limits: Limits | None = None, running: bool = True, lanes: bool = False
) -> AsyncIterator[tuple[Discoverer, Store, Sweeping]]:
    """A discoverer over a net, with a database in a folder."""
    store = await asyncio.to_thread(Store.open, laid(folder / "h.db"), vault_key=KEY, millis=lambda: 1)
    refusals = RefusalFile(folder / "refusals.db")
    sweeper = Sweeping(net)
    discoverer = Discoverer(
        store=store,
        bus=net.bus,
        roster=net.roster,
        lanes=net.lanes if lanes else None,
        library=Library(),
        drivers=[net.driver],
        sweeper=sweeper,
        derive=lambda: derive,
        keep_draft=net.keep_draft,
        open_link=net.open_link,
        lockout=Lockout(refusals),
        clock=clock,
        limits=limits,
    )
    task = asyncio.create_task(discoverer.run(), name="discovery") if running else None
    try:
        yield discoverer, store, sweeper
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if lanes:
            await net.lanes.aclose()
        await asyncio.to_thread(store.close)
        refusals.close()


async def ended(discoverer: Discoverer, job_id: str) -> ScanJob:
    """A job when it has ended."""
    return await until(discoverer, job_id, lambda job: job.ended)


async def until(discoverer: Discoverer, job_id: str, condition: Callable[[ScanJob], bool]) -> ScanJob:
    """A job when a condition holds of it."""
    for _ in range(10_000):
        job = await discoverer.job(job_id)
        if condition(job):
            return job
        await asyncio.sleep(0.1)
    raise AssertionError(job)


def events(net: Net, *kinds: Any) -> list[Event]:
    return [each for each in net.published() if isinstance(each, Event) and each.type in kinds]


def site_at(values: Mapping[str, int] | None = None, **moods: str) -> Site:
    site = Site(values)
    site.moods = dict(moods)
    return site


__all__ = ["Findable", "Net", "derive", "discovering", "ended", "events", "replace", "site_at"]

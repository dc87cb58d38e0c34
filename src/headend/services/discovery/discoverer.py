"""Discovery as REST, CLI, console and MQTT see it: one object, with the same jobs and devices for all of them.

```text
job = await discoverer.start(ScanRequest(targets="10.0.0.0/16"), actor="user:anna", reason="…")      a ScanJob, queued
job = await discoverer.job(job.id)          jobs(before="", limit=100)          cancel(job.id, actor=…)          report(job.id)
hits = await discoverer.hits(job.id, after=("", 0), limit=1000)                      open places, and what became of them

page = await discoverer.devices(DeviceQuery(state=DeviceState.NEW, vendor="…", search="…", after=0, limit=100))
device = await discoverer.device(device_id)      papers(device_id)      history(device_id)      forget([id], actor=…)
seen = await discoverer.examine(device_id or URL, actor=…, secrets={}, params={}, keep=False)         Seen: devices, or why none
done = await discoverer.adopt([id, …], Adoption(name="…", tags=(…), poll_seconds=60), actor=…)        an Adopted for each
await discoverer.ignore([id, …], actor=…)      unignore(…)      reclassify(ids or None, actor=…)
discoverer.keys                                      credentials of networks and tags; its methods block
```

`run` is the task in which jobs go on, one after the other. Every call that reaches for a network or changes something has an actor,
and is kept in the audit trail. All raise errors of the tree: NotFound, ConfigError, PermissionDenied, Conflict, StorageError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from headend.drivers.base import NO_SECRETS, Driver, Secrets
from headend.drivers.ground import Budget
from headend.drivers.library import Library
from headend.errors import ConfigError
from headend.model.audit import Action
from headend.model.device import Device, DevicePage, DeviceQuery, DeviceState, Noted, Papers, PastFingerprint
from headend.model.discovery import Evidence, Sighting
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind
from headend.model.reading import Value
from headend.model.scan import ScanHit, ScanJob, ScanReport, ScanRequest
from headend.model.url import MeterUrl, address_param, parse_url
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.discovery.adopting import Adopted, Adopter, Adoption
from headend.services.discovery.credentials import Key, KeyRing
from headend.services.discovery.deriving import Derive, finding
from headend.services.discovery.identifying import Identified
from headend.services.discovery.jobs import Jobs
from headend.services.discovery.looking import Looker, Opener
from headend.services.discovery.register import Register
from headend.services.discovery.sweeping import SERIAL, TCP, Sweeper, is_place, place_of
from headend.services.lockout import Lockout
from headend.services.roster import Clock, Roster
from headend.storage.store import Store

REVIEWED: Final = 200
"""devices whose papers are in memory at once when rules are run again"""
LISTEN_SECONDS: Final = 0.3
"""for a banner, where nobody has scanned the place before"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What discovery may take."""

    places: int = 200
    """looked into at once"""
    per_host: int = 1
    """of them at one host"""
    cycle_ms: int = 900_000
    """a place is not looked into again so soon, unless somebody asks for it"""
    timeout: float = 2.0
    """seconds to wait for a connection, or one answer"""
    budget: Budget = field(default_factory=Budget)
    """of one place"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an examination brought: devices; or why there is none, with the evidence."""

    devices: Sequence[Noted] = ()
    nothing: str = ""
    evidence: Sequence[Evidence] = ()


class Discoverer:
    """All of discovery in a running head-end. Made inside the event loop."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        roster: Roster,
        lanes: Lanes | None,
        library: Library,
        drivers: Sequence[Driver],
        sweeper: Sweeper,
        derive: Callable[[], Derive],
        keep_draft: Callable[[str, str], str],
        open_link: Opener,
        lockout: Lockout,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        """`derive` gives the rules as they are now; `keep_draft` as in `Adopter`; `lanes` None: no meter of ours is being read."""
        limits = limits or Limits()
        self.keys = KeyRing(store)
        self._store = store
        self._bus = bus
        self._roster = roster
        self._sweeper = sweeper
        self._derive = derive
        self._clock = clock
        self._adopter = Adopter(store, roster, library, self.keys, keep_draft)
        self._adopting = asyncio.Lock()
        self._looker = Looker(
            drivers,
            open_link=open_link,
            lanes=lanes,
            lockout=lockout,
            clock=clock,
            timeout=limits.timeout,
            budget=limits.budget,
            profiles=library,
        )
        roster.follow(self._looker.follow)
        self._register = Register(store, bus, clock, derive, self._looker.ours)
        self._jobs = Jobs(
            store,
            bus,
            sweeper,
            self._looker,
            self._register,
            self.keys,
            clock,
            places=limits.places,
            per_host=limits.per_host,
            cycle_ms=limits.cycle_ms,
        )

    # scans

    async def run(self) -> None:
        """Carry out jobs until cancelled; those that were under way when the head-end ended go on."""
        await self._jobs.run()

    async def start(self, request: ScanRequest, *, actor: str, reason: str = "") -> ScanJob:
        """Queue a scan; it begins when those before it have ended. Raises ConfigError, PermissionDenied, Conflict."""
        return await self._jobs.start(request, actor=actor, reason=reason)

    async def cancel(self, job_id: str, *, actor: str) -> ScanJob:
        """End a scan; what it has found stays. Raises NotFound, and Conflict for one that has ended."""
        return await self._jobs.cancel(job_id, actor=actor)

    async def job(self, job_id: str) -> ScanJob:
        """How far a scan is, or how it ended; raises NotFound."""
        return await self._jobs.job(job_id)

    async def jobs(self, *, before: str = "", limit: int = 100) -> Sequence[ScanJob]:
        """Scans, newest first, from the first one before that with the id `before`."""
        return await self._jobs.jobs(before=before, limit=limit)

    async def hits(
        self, job_id: str, *, after: tuple[str, int] = ("", 0), limit: int = 1000, outcome: str | None = None
    ) -> Sequence[ScanHit]:
        """Open places of a scan by host and port, beyond `after`; `outcome`: identified, nobody, skipped, empty for waiting."""
        return await self._jobs.hits(job_id, after=after, limit=limit, outcome=outcome)

    async def report(self, job_id: str) -> ScanReport:
        """What a scan has found, target by target; raises NotFound."""
        return await self._jobs.report(job_id)

    # devices

    async def devices(self, query: DeviceQuery) -> DevicePage:
        """The devices that a query chooses, page by page."""
        return await asyncio.to_thread(self._store.devices.list, query)

    async def device(self, device_id: str) -> Device:
        """One device; raises NotFound."""
        return await asyncio.to_thread(self._store.devices.get, device_id)

    async def papers(self, device_id: str) -> Papers:
        """All that is kept of a device: examination with evidence, fingerprint, classification, draft; raises NotFound."""
        return await asyncio.to_thread(self._store.devices.papers, device_id)

    async def history(self, device_id: str) -> Sequence[PastFingerprint]:
        """The fingerprints that a device had, the present one last; raises NotFound."""
        return await asyncio.to_thread(self._store.devices.history, device_id)

    async def examine(
        self,
        target: str,
        *,
        actor: str,
        reason: str = "",
        params: Mapping[str, str] = NO_PARAMS,
        secrets: Secrets = NO_SECRETS,
        credentials: bool = False,
        exhaustive: bool = False,
        keep: bool = False,
    ) -> Seen:
        """Look into one place now, however short a while ago it was: a device by its id, or a meter URL, or `serial:/dev/…`.

        `params` and `secrets` go deeper (a client, its password); `keep` keeps the secrets for the device, and for the meter that
        it may become. Without secrets, `credentials` takes those that are kept for the device, the meter, or its network. Raises
        NotFound, ConfigError, PermissionDenied.
        """
        place, url = await self._place(target)
        endpoint = place.examination.endpoint if isinstance(place, Papers) else place
        await self._sweeper.check_place(endpoint)
        key = Key(params={**url.params, **params} if url else params, secrets=secrets)
        if credentials and not secrets:
            key = await asyncio.to_thread(self._key, target, endpoint, key.params)
        data: dict[str, Value] = {"reason": reason, "place": endpoint.wire, "secrets": ",".join(sorted(key.secrets))}
        subject = f"place:{endpoint.wire}" if url or is_place(target) else f"device:{target}"
        await asyncio.to_thread(self._store.audit.append, actor, Action.DEVICE_EXAMINED, subject, data)
        found = await self._examined(place, url, key, exhaustive=exhaustive)
        noted = await self._register.record([found])
        if keep and secrets:
            for each in noted:
                await asyncio.to_thread(self.keys.put_device, each.device.id, secrets, actor)
        self._register.announce(noted)
        return Seen(devices=noted, nothing=found.nothing, evidence=found.evidence)

    async def adopt(self, ids: Sequence[str], adoption: Adoption, *, actor: str) -> Sequence[Adopted]:
        """Devices become meters, which are read from now on. One that is a meter already stays that meter.

        Raises NotFound for an unknown profile; what keeps a single device from it stands in its line of the answer.
        """
        async with self._adopting:
            done, meters = await asyncio.to_thread(self._adopter.enter, ids, adoption, actor, self._roster.__contains__)
            data: dict[str, Value] = {"devices": len(done), "meters": ",".join(each.id for each in meters[:50])}
            await asyncio.to_thread(self._store.audit.append, actor, Action.DEVICES_ADOPTED, "devices", data)
            for start in range(0, len(meters), REVIEWED):
                self._adopter.announce(meters[start : start + REVIEWED])
                await asyncio.sleep(0)
        return done

    async def ignore(self, ids: Sequence[str], *, actor: str, ignored: bool = True) -> int:
        """Devices are not shown among the new ones, or are again; returns how many. Adopted ones stay what they are."""

        def mark() -> int:
            some = [device for device in map(self._store.devices.get, ids) if device.state is not DeviceState.ADOPTED]
            state = DeviceState.IGNORED if ignored else DeviceState.NEW
            self._store.audit.append(actor, Action.DEVICES_IGNORED, "devices", {"devices": ",".join(ids[:50])})
            return self._store.devices.mark(state, dict.fromkeys([device.id for device in some], ""))

        return await asyncio.to_thread(mark)

    async def forget(self, ids: Sequence[str], *, actor: str) -> None:
        """Remove devices with all that is kept of them, not the meters that they became; raises NotFound."""

        def forget() -> None:
            self._store.audit.append(actor, Action.DEVICES_FORGOTTEN, "devices", {"devices": ",".join(ids[:50])})
            for device_id in ids:
                self._store.devices.forget(device_id)
                self.keys.drop_device(device_id)

        await asyncio.to_thread(forget)

    async def reclassify(self, ids: Sequence[str] | None = None) -> int:
        """Run the rules as they are now over what is stored, of all devices or some; no network. Returns how many changed."""
        changed = after = 0
        while some := await asyncio.to_thread(self._store.devices.some_papers, after, REVIEWED, ids):
            after = some[-1][0].number
            changed += await asyncio.to_thread(self._review, some)
        return changed

    def _review(self, some: Sequence[tuple[Device, Papers]]) -> int:
        derive = self._derive()
        changed = []
        for device, papers in some:
            new = finding(derive, papers.sighting, papers.examination, device.last_seen)
            if new.papers != papers or new.coverage != device.coverage:
                changed.append(new)
        if changed:
            self._store.devices.record(changed)
        return len(changed)

    async def _place(self, target: str) -> tuple[Endpoint | Papers, MeterUrl | None]:
        """Where a target is, or what is kept of the device that it names; and its URL, if it is one of a meter."""
        if not is_place(target):
            return await self.papers(target), None
        endpoint = place_of(target)
        if target.startswith((SERIAL, TCP)):
            return endpoint, None
        url = parse_url(target)
        if url.secrets:
            raise ConfigError("secrets are not given in the URL here", hint="give them beside it")
        return endpoint, url

    async def _examined(
        self, place: Endpoint | Papers, url: MeterUrl | None, key: Key, *, exhaustive: bool
    ) -> Identified:
        """Examine who was found there before, or else search; and at last believe the URL that somebody is there."""
        look, protocol, units = self._looker.look, "", ""
        wanted: Sequence[Sighting] = ()
        if isinstance(place, Papers):
            endpoint, wanted = place.examination.endpoint, [place.sighting]
        else:
            endpoint = place
        if url is not None:
            protocol = url.protocol
            units = url.params.get(address_param(protocol), "")
            known = await asyncio.to_thread(self._store.devices.at, endpoint.wire)
            wanted = [each for each in known if _fits(each, url)]
            if not wanted and endpoint.kind is EndpointKind.UDP:
                wanted = [_said(url)]
        if wanted:
            found = await look(endpoint, key=key, wanted=wanted)
            if _answered(found):
                return found
        found = await look(
            endpoint, listen=LISTEN_SECONDS, exhaustive=exhaustive, key=key, protocol=protocol, units=units
        )
        if url is not None and not found.found and (units or not address_param(protocol)):
            believed = await look(endpoint, key=key, wanted=[_said(url)])
            found = believed if _answered(believed) else found
        return found

    def _key(self, target: str, endpoint: Endpoint, params: Mapping[str, str]) -> Key:
        """What is kept for a device, the meter that it is, or its network; `params` go before those kept."""
        if not is_place(target):
            device = self._store.devices.get(target)
            found = self._roster.find(device.meter_id) if device.meter_id else None
            if found is not None and (mine := self.keys.of_meter(found.meter.id)):
                return Key(params={**found.meter.params, **params}, secrets=mine)
            if own := self.keys.of_device(target):
                return Key(params=params, secrets=own)
        group = self.keys.of_group(endpoint.host)
        return Key(params={**group.params, **params}, secrets=group.secrets)


def _answered(found: Identified) -> bool:
    """Did anybody who was examined say anything?"""
    return any(evidence.received for evidence in found.evidence)


def _said(url: MeterUrl) -> Sighting:
    return Sighting(protocol=url.protocol, framing=url.framing, params=dict(url.params))


def _fits(known: Sighting, url: MeterUrl) -> bool:
    """Does a URL speak of somebody who was sighted, as far as both say the same things?"""
    same = (known.protocol, known.framing) == (url.protocol, url.framing)
    return same and all(url.params.get(name, value) == value for name, value in known.params.items())

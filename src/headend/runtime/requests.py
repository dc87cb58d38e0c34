"""What MQTT requests may ask: reading, and commands through the one door that all commands take.

```text
read {refs?}                    all that is polled, or the objects named        read_register {register | dataId | obis | ref}
read_all {registers?}           several registers by name                       read_address
relay_control {state}           open or close                                   disconnect, reconnect, set-clock, write, …
confirm {job, code}             a command that has to be confirmed              job {job}
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from headend.drivers.base import Driver, Session
from headend.drivers.mapping import to_batch
from headend.errors import ConfigError, HeadendError, NotFound, PermissionDenied
from headend.model.access import Actor
from headend.model.job import Command, CommandKind, Job, JobState
from headend.model.meter import Meter, MeterIdentity
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.model.profile import MeterProfile
from headend.model.quantity import find_quantity
from headend.model.reading import Source, Value
from headend.northbound.topics import Request, UnknownMethod
from headend.runtime.registers import entry_of
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.commanding.reads import MAX_REFS, rows_of
from headend.services.commanding.rules import READS
from headend.services.commands import Commands
from headend.services.roster import Clock, Roster
from headend.web.routes.meters import secret_octets

WAIT_SECONDS: Final = 60.0
"""for the end of a command"""
RELAY: Final = {"open": CommandKind.DISCONNECT, "close": CommandKind.RECONNECT}
OWN: Final = ("read", "read_register", "read_all", "read_address", "relay_control", "confirm", "job")
PENDING: Final = (JobState.PROPOSED, JobState.QUEUED, JobState.RUNNING)


class Requests:
    """Answers requests. `actor` says who a user is, and with which role; the name is empty where nobody vouches for one."""

    def __init__(
        self,
        roster: Roster,
        lanes: Lanes,
        poller: Poller,
        commands: Commands,
        bus: Bus,
        clock: Clock,
        *,
        driver: Callable[[str], Driver],
        profile: Callable[[Meter], MeterProfile | None],
        actor: Callable[[str], Actor],
        allow_commands: bool,
    ) -> None:
        self._roster = roster
        self._lanes = lanes
        self._poller = poller
        self._commands = commands
        self._bus = bus
        self._clock = clock
        self._driver = driver
        self._profile = profile
        self._actor = actor
        self._allow_commands = allow_commands

    async def answer(self, request: Request) -> object:
        """Do what a request asks; raises errors of the tree."""
        meter_id, params = request.meter_id, request.params
        meter = self._roster.state(meter_id).meter
        match request.method:
            case "read":
                return await (self._read_refs(meter, params["refs"]) if params.get("refs") else self._poll(meter_id))
            case "read_register":
                entry = self._entry(meter, params)
                return await self._read_register(meter, entry)
            case "read_all":
                return await self._read_all(meter, params.get("registers"))
            case "read_address":
                return await self._read_address(meter_id)
            case "relay_control":
                state = params.get("state")
                if state not in RELAY:
                    raise ConfigError(f'relay_control: expected the state "open" or "close", got {state!r}')
                told = await self._command(request, RELAY[state], {})
                return {**told, "relay_state": state, "timestamp": self._clock()}
            case "confirm":
                return await self._confirm(request)
            case "job":
                return self._told(await self._job(meter_id, params))
            case method:
                try:
                    kind = CommandKind(method.replace("_", "-"))
                except ValueError:
                    known = ", ".join([*OWN, *(kind.value for kind in CommandKind if kind is not CommandKind.READ)])
                    raise UnknownMethod(f"no method {method!r}; known are {known}") from None
                return await self._command(request, kind, params)

    # --- commands ---

    async def _command(self, request: Request, kind: CommandKind, params: Mapping[str, Any]) -> dict[str, Any]:
        if kind not in READS:
            self._allow()
        given = dict(params)
        secret = given.pop("secret", None)
        if secret is not None and not isinstance(secret, str):
            raise ConfigError('expected "secret" to be a text')
        asked = Command(
            kind=kind, params=_flat(given), secret=None if secret is None else secret_octets(secret, "secret")
        )
        # An id is the caller's own: the same one, for the same meter, is the same command, however often it arrives.
        key = f"{request.meter_id}/{request.id}" if request.id else ""
        job = await self._commands.submit(
            request.meter_id, asked, self._actor(request.user), key=key, seconds=request.deadline
        )
        if job.state is JobState.PROPOSED:
            return {**self._told(job), "confirmation": "required", "code": job.code, "confirm_by": job.confirm_by}
        return self._told(await self._commands.wait(job.id, WAIT_SECONDS))

    async def _confirm(self, request: Request) -> dict[str, Any]:
        """Confirm a command: by the code in the answer to its request, or as another user who may."""
        self._allow()
        job = await self._job(request.meter_id, request.params)
        code = request.params.get("code", "")
        if not isinstance(code, str):
            raise ConfigError('expected "code" to be a text')
        confirmed = await self._commands.confirm(job.id, self._actor(request.user), code)
        return self._told(await self._commands.wait(confirmed.id, WAIT_SECONDS))

    async def _job(self, meter_id: str, params: Mapping[str, Any]) -> Job:
        job_id = params.get("job")
        if not isinstance(job_id, str):
            raise ConfigError('expected "job" to be the text that names a job')
        job = await self._commands.get(job_id)
        if job.meter_id != meter_id:
            raise NotFound(f"no job {job_id!r} of this meter")
        return job

    def _allow(self) -> None:
        if not self._allow_commands:
            raise PermissionDenied("commands over MQTT are off", hint="set mqtt.commands, with users at the broker")

    @staticmethod
    def _told(job: Job) -> dict[str, Any]:
        told: dict[str, Any] = {"job": job.id, "command": job.command.kind.value, "state": job.state.value}
        if job.outcome is not None:
            outcome = job.outcome
            told |= {"verdict": outcome.verdict.value, "detail": outcome.detail, "observed": outcome.observed}
        elif job.note:
            told["detail"] = job.note
        if job.result:
            told["rows"] = list(job.result)
        return told

    # --- reading ---

    async def _poll(self, meter_id: str) -> dict[str, Any]:
        batch = await self._poller.poll_now(meter_id)
        return {
            "values": dict(zip(batch.quantities, batch.values, strict=True)),
            "missing": {gap.quantity or gap.ref: gap.code for gap in batch.missing},
        }

    async def _read_refs(self, meter: Meter, refs: object) -> dict[str, Any]:
        entries = [self._entry(meter, {"ref": ref}) for ref in _texts(refs, "refs")]
        rows = await self._rows(meter.id, entries)
        return {row["ref"]: {name: row[name] for name in ("value", "unit", "error") if name in row} for row in rows}

    def _entry(self, meter: Meter, params: Mapping[str, Any]) -> ObjectEntry:
        return entry_of(self._driver(meter.protocol), self._profile(meter), params)

    async def _read_register(self, meter: Meter, entry: ObjectEntry) -> dict[str, Any]:
        plan, result = await self._read(meter.id, [entry])
        if result.errors:
            raise result.errors[0]
        return rows_of(plan, result)[0] | {"timestamp": self._clock()}

    async def _read_all(self, meter: Meter, names: object) -> dict[str, Any]:
        """Registers under the names by which they were asked for; without names all that is polled."""
        if not names:
            batch = await self._poller.poll_now(meter.id)
            readings: dict[str, Any] = {
                key: {"quantity": key, "value": value, "unit": _unit(key)}
                for key, value in zip(batch.quantities, batch.values, strict=True)
            }
            readings |= {gap.quantity or gap.ref: {"error": gap.code, "detail": gap.reason} for gap in batch.missing}
            return {"readings": readings, "timestamp": self._clock()}
        entries: dict[str, ObjectEntry] = {}
        readings = {}
        for name in _texts(names, "registers"):
            try:
                entries[name] = self._entry(meter, {"register": name})
            except HeadendError as error:
                readings[name] = {"error": error.code, "detail": str(error)}
        if entries:
            readings |= zip(entries, await self._rows(meter.id, list(entries.values())), strict=True)
        return {"readings": readings, "timestamp": self._clock()}

    async def _read_address(self, meter_id: str) -> dict[str, Any]:
        async def work(session: Session) -> MeterIdentity:
            return await session.identify()

        identity = await self._lanes.run_job(meter_id, work)
        known = {name: value for name, value in asdict(identity).items() if value}
        address = identity.meter_address or identity.serial or meter_id
        return {**known, "address": address, "timestamp": self._clock()}

    async def _rows(self, meter_id: str, entries: list[ObjectEntry]) -> list[dict[str, Any]]:
        return rows_of(*await self._read(meter_id, entries))

    async def _read(self, meter_id: str, entries: list[ObjectEntry]) -> tuple[ReadPlan, ReadResult]:
        """Read, and let everybody know what is a reading."""
        plan = ReadPlan(entries=tuple(entries))

        async def work(session: Session) -> ReadResult:
            return await session.read(plan)

        result = await self._lanes.run_job(meter_id, work)
        batch = to_batch(meter_id, plan, result, self._clock(), Source.POLL)
        if batch.quantities:
            self._bus.publish(batch)
        return plan, result


def _unit(key: str) -> str:
    found = find_quantity(key)
    return found.unit if found else ""


def _texts(given: object, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ConfigError(f'expected "{name}" to be a list of texts')
    if len(given) > MAX_REFS:
        raise ConfigError(f'expected at most {MAX_REFS} of "{name}", got {len(given)}')
    return given


def _flat(params: Mapping[str, Any]) -> dict[str, Value]:
    given = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in params.items()}
    if not all(isinstance(value, int | float | str | bool) for value in given.values()):
        raise ConfigError('expected "params" of a command to be numbers, texts and switches')
    return given

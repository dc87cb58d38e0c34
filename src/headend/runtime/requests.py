"""What MQTT requests may ask: reading for everybody who may publish there, acting where the settings allow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headend.drivers.base import Session
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.errors import ConfigError, PermissionDenied
from headend.model.access import Actor, Role
from headend.model.job import Command, CommandKind, Job, Outcome, Verdict
from headend.model.objects import ObjectEntry, ReadPlan
from headend.northbound.topics import Request
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.commands import Commands
from headend.services.roster import Roster

MAX_REFS: Final = 200
WAIT_SECONDS: Final = 60.0
"""for the end of a command"""
ACTOR: Final = Actor("mqtt", Role.DISPATCHER)
"""whoever may publish requests, where commands over MQTT are allowed"""


class Requests:
    """Answers requests by the same doors as everybody: `read` (all of the meter's plan, or `params.refs`) and commands."""

    def __init__(
        self, roster: Roster, lanes: Lanes, poller: Poller, commands: Commands, *, allow_commands: bool
    ) -> None:
        self._roster = roster
        self._lanes = lanes
        self._poller = poller
        self._commands = commands
        self._allow_commands = allow_commands

    async def answer(self, request: Request) -> object:
        """Do what a request asks; raises errors of the tree."""
        if request.method == "read":
            refs = request.params.get("refs")
            return await (self._read(request.meter_id, refs) if refs else self._read_all(request.meter_id))
        known = ["confirm", *(kind.value for kind in CommandKind)]
        if request.method not in known:
            raise ConfigError(f"no method {request.method!r}; known are {', '.join(known)}")
        if not self._allow_commands:
            raise PermissionDenied("commands over MQTT are off", hint="set mqtt.commands, with users at the broker")
        if request.method == "confirm":
            return await self._confirm(request.params)
        kind = CommandKind(request.method)
        asked = Command(kind=kind, params=_flat(request.params))
        job = await self._commands.submit(request.meter_id, asked, ACTOR)
        if job.code:
            return {"job": job.id, "state": job.state.value, "code": job.code}
        return self._told(await self._commands.wait(job.id, WAIT_SECONDS))

    @staticmethod
    def _told(job: Job) -> object:
        outcome = job.outcome or Outcome(verdict=Verdict.NOT_SENT, detail=job.note)
        return {
            "job": job.id,
            "state": job.state.value,
            "verdict": outcome.verdict.value,
            "detail": outcome.detail,
            "observed": outcome.observed,
        }

    async def _confirm(self, params: Mapping[str, Any]) -> object:
        """Confirm a job by the code in the answer to its request."""
        job, code = params.get("job"), params.get("code")
        if not isinstance(job, str) or not isinstance(code, str):
            raise ConfigError('a confirmation needs the texts "job" and "code"')
        confirmed = await self._commands.confirm(job, ACTOR, code)
        return self._told(await self._commands.wait(confirmed.id, WAIT_SECONDS))

    async def _read_all(self, meter_id: str) -> object:
        batch = await self._poller.poll_now(meter_id)
        return {
            "values": dict(zip(batch.quantities, batch.values, strict=True)),
            "missing": {gap.quantity or gap.ref: gap.code for gap in batch.missing},
        }

    async def _read(self, meter_id: str, refs: object) -> object:
        if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
            raise ConfigError('expected "refs" to be a list of object addresses')
        if len(refs) > MAX_REFS:
            raise ConfigError(f'expected at most {MAX_REFS} object addresses in "refs", got {len(refs)}')
        protocol = self._roster.state(meter_id).meter.protocol
        the_driver = driver(protocol)
        parsed = [the_driver.parse_ref(ref.removeprefix(f"{protocol}:")) for ref in refs]
        plan = ReadPlan(entries=tuple(ObjectEntry(ref=ref, scaler=None) for ref in parsed))

        async def work(session: Session) -> object:
            result = await session.read(plan)
            exponents = result.exponents or [0] * len(refs)
            units = result.units or [""] * len(refs)
            return {
                str(ref): {"error": result.errors[index].code}
                if index in result.errors
                else {"value": scale(result.values[index], exponents[index]), "unit": units[index]}
                for index, ref in enumerate(parsed)
            }

        return await self._lanes.run_job(meter_id, work)


def _flat(params: Mapping[str, Any]) -> dict[str, int | float | str | bool]:
    if not all(isinstance(value, int | float | str | bool) for value in params.values()):
        raise ConfigError('expected "params" of a command to be numbers, texts and switches')
    return dict(params)

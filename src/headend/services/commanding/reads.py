"""Reads as jobs: values now, or rows of a load profile. What is a reading goes the way of all readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headend.drivers.base import Driver, Session
from headend.drivers.mapping import history_batch, scale, to_batch
from headend.errors import CapabilityError, ConfigError
from headend.model.job import Command, CommandKind, Outcome, Verdict
from headend.model.meter import Meter
from headend.model.objects import HistoryRequest, ObjectEntry, RawValue, ReadPlan, ReadResult
from headend.model.profile import MeterProfile, entries_of
from headend.model.quantity import base_unit
from headend.model.reading import Source, Value
from headend.services.acquisition.plan import poll_plan
from headend.services.bus import Bus
from headend.services.roster import Clock

MAX_REFS: Final = 200
HISTORY_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a read has brought: its outcome, and what was asked for row by row."""

    outcome: Outcome
    rows: Sequence[Mapping[str, Any]]


class Reads:
    """Reads meters for jobs."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        *,
        driver: Callable[[str], Driver],
        profile: Callable[[Meter], MeterProfile | None],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._driver = driver
        self._profile = profile

    def check(self, meter: Meter, command: Command) -> None:
        """Raise what is wrong with the parameters of a command, as far as that shows without the meter."""
        params = command.params
        match command.kind:
            case CommandKind.READ:
                self._plan(meter, params)
            case CommandKind.READ_HISTORY:
                self._request(meter, params)
            case CommandKind.WRITE | CommandKind.INVOKE:
                the_driver = self._driver(meter.protocol)
                ref = the_driver.parse_ref(self._ref(meter, params.get("ref")))
                if command.kind is CommandKind.WRITE and the_driver.holds_secret(ref):
                    raise ConfigError(f"{ref} holds a secret, which a write would show", hint="change-secret")
                if command.kind is CommandKind.WRITE and "value" not in params:
                    raise ConfigError("a write needs the parameters ref and value")
            case CommandKind.SET_CLOCK:
                _millis(params, "at")
            case CommandKind.CHANGE_SECRET:
                if not isinstance(params.get("name"), str) or command.secret is None:
                    raise ConfigError("change-secret needs the parameter name and a secret")
            case _:
                pass

    async def run(self, session: Session, meter: Meter, command: Command) -> Found:
        """Read what a command asks for; readings are published."""
        if command.kind is CommandKind.READ:
            return await self._read(session, meter, self._plan(meter, command.params))
        return await self._history(session, meter, self._request(meter, command.params))

    async def _read(self, session: Session, meter: Meter, plan: ReadPlan) -> Found:
        result = await session.read(plan)
        batch = to_batch(meter.id, plan, result, self._clock(), Source.POLL)
        if batch.quantities:
            self._bus.publish(batch)
        rows = rows_of(plan, result)
        missing = sum("error" in row for row in rows)
        detail = f"{len(rows) - missing} values" + (f", {missing} missing" if missing else "")
        return Found(Outcome(verdict=Verdict.CONFIRMED, detail=detail), rows)

    async def _history(self, session: Session, meter: Meter, request: HistoryRequest) -> Found:
        rows = 0
        async for block in session.read_history(request):
            rows += len(block.rows)
            batch = history_batch(meter.id, block, self._clock())
            batch.load_profile = request.ref.address
            if batch.quantities:
                await self._bus.room()
                self._bus.publish(batch)
        return Found(Outcome(verdict=Verdict.CONFIRMED, detail=f"{rows} rows"), ())

    def _plan(self, meter: Meter, params: Mapping[str, Value]) -> ReadPlan:
        profile = self._profile(meter)
        refs = str(params.get("refs", "")).split()
        if len(refs) > MAX_REFS:
            raise ConfigError(f"expected at most {MAX_REFS} objects, got {len(refs)}")
        if refs:
            known = entries_of(profile)
            parsed = [self._driver(meter.protocol).parse_ref(self._ref(meter, ref)) for ref in refs]
            return ReadPlan(entries=tuple(known.get(ref) or ObjectEntry(ref=ref, scaler=None) for ref in parsed))
        plan = poll_plan(profile) if profile is not None else None
        if plan is None or not plan.entries:
            raise CapabilityError(f"meter {meter.id!r} has no meter file that says what to read", hint="name refs")
        return plan

    def _request(self, meter: Meter, params: Mapping[str, Value]) -> HistoryRequest:
        ref = self._driver(meter.protocol).parse_ref(self._ref(meter, params.get("ref")))
        return HistoryRequest(ref=ref, start=_millis(params, "start"), end=_millis(params, "end"))

    @staticmethod
    def _ref(meter: Meter, text: object) -> str:
        if not isinstance(text, str):
            raise ConfigError("the command needs the parameter ref")
        return text.removeprefix(f"{meter.protocol}:")


def rows_of(plan: ReadPlan, result: ReadResult) -> list[dict[str, Any]]:
    """What a read has brought, object by object: a value in base units, or an error."""
    exponents = result.exponents or [entry.exponent for entry in plan.entries]
    units = result.units or [base_unit(entry.unit)[0] for entry in plan.entries]
    rows: list[dict[str, Any]] = []
    for index, (entry, raw, exponent, unit) in enumerate(
        zip(plan.entries, result.values, exponents, units, strict=True)
    ):
        row: dict[str, Any] = {"ref": str(entry.ref), "quantity": entry.quantity}
        error = result.errors.get(index)
        if error is not None:
            row |= {"error": error.code, "detail": str(error)}
        else:
            row |= {"value": _plain(raw, exponent), "unit": unit}
        rows.append(row)
    return rows


def _plain(raw: RawValue, exponent: int) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(raw, list):
        return [_plain(item, 0) for item in raw]
    value = scale(raw, exponent)
    return value if not isinstance(value, float) or value - value == 0 else None


def _millis(params: Mapping[str, Value], name: str) -> int | None:
    at = params.get(name)
    if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
        raise ConfigError(f"expected {name!r} in milliseconds, got {at!r}")
    return at

"""Sinks as the settings say: tables `[sinks.NAME]`, what their options are, and the couriers that deliver to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from typing import Any, Final, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import ConfigError, HeadendError, PermissionDenied
from headend.model.access import Actor, Role
from headend.model.journal import Entry
from headend.model.meter import Meter, Secret
from headend.model.profile import MeterProfile
from headend.northbound.courier import Courier
from headend.northbound.deliveries import Deliveries
from headend.northbound.filters import Selection, passing
from headend.northbound.registry import sink_kind
from headend.northbound.resting import Resting
from headend.northbound.sink import Sink, SinkKind, Surroundings
from headend.northbound.topics import Request
from headend.runtime.requests import Requests
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings
from headend.runtime.settings_delivery import DeliverySettings
from headend.services.roster import MeterState
from headend.storage.store import Store, wall_millis
from headend.web.parts import WebParts

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
OWN: Final = "mqtt"
"""the name of the sink that `[mqtt]` describes"""


class SinkTable(BaseModel):
    """What every table `[sinks.NAME]` may say, whatever the kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(description="what the sink speaks")
    enabled: bool = Field(
        default=True, description="deliver; a sink that is off keeps its place while the journal does"
    )
    meters: tuple[str, ...] = Field(
        default=(), description="only these meters: patterns of their ids (`lab-*`) or tags (`tag:solar`); empty: all"
    )
    quantities: tuple[str, ...] = Field(
        default=(), description="only these quantities: patterns of their keys (`active_energy_*`); empty: all"
    )
    history: bool = Field(default=True, description="also rows of load profiles, which are old when they come")
    role: Literal["", "operator", "dispatcher", "admin"] = Field(
        default="", description="what requests from this system may do; empty: it may ask nothing"
    )


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """A sink as the settings want it: options of its kind, and what all sinks have."""

    name: str
    kind: SinkKind
    table: SinkTable
    options: Any


def plan_sinks(settings: Settings) -> list[SinkPlan]:
    """What the settings say of sinks, checked; raises ConfigError that names `sinks.NAME.field`."""
    return [_plan(name, table) for name, table in settings.sinks.items()]


def _plan(name: str, given: Mapping[str, Any]) -> SinkPlan:
    place = f"sinks.{name}"
    if not NAME.fullmatch(name) or name == OWN:
        raise ConfigError(f"{place}: expected a name of small letters, digits, - and _, other than {OWN!r}")
    common = {key: value for key, value in given.items() if key in SinkTable.model_fields}
    table: SinkTable = _checked(TypeAdapter(SinkTable), common, place)
    try:
        kind = sink_kind(table.kind)
    except ConfigError as error:
        raise ConfigError(f"{place}.kind: {error}", hint=error.hint) from error
    rest = {key: value for key, value in given.items() if key not in common}
    known = [each.name for each in fields(kind.options)]
    for key in rest:
        if key not in known:
            others = ", ".join((*SinkTable.model_fields, *known))
            raise ConfigError(f"{place}.{key}: no such setting of a sink of kind {table.kind!r}; known are {others}")
    return SinkPlan(name, kind, table, _checked(TypeAdapter(kind.options), rest, place))


def _checked(adapter: TypeAdapter[Any], given: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401 - options of any kind
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        said = [
            f"{'.'.join((place, *map(str, each['loc'])))}: {each['msg'].lower()}"
            for each in error.errors(include_input=False)
        ]
        raise ConfigError("\n".join(said)) from None


def make_deliveries(settings: DeliverySettings, store: Store) -> Deliveries:
    """What delivers; sinks are added when all they may use stands."""
    return Deliveries(
        store.journal, wall_millis, keep_hours=settings.keep_hours, keep_octets=settings.keep_megabytes << 20
    )


def anything_to_deliver(settings: Settings) -> bool:
    """Whether the settings name a sink, so that a journal is kept."""
    return settings.mqtt.enabled or bool(settings.sinks)


def add_sinks(settings: Settings, parts: WebParts, deliveries: Deliveries) -> None:
    """Add the sinks of the settings; blocks. Raises ConfigError."""
    for plan in plan_sinks(settings):
        if plan.table.enabled:
            surroundings = _surroundings(plan, parts)
            add_sink(settings, parts, deliveries, plan.table, plan.name, plan.kind.make(plan.options, surroundings))
        else:
            deliveries.rest(Resting(plan.name, plan.table.kind, parts.store.journal, wall_millis, parts.bus.publish))
    deliveries.load()


def add_sink(
    settings: Settings,
    parts: WebParts,
    deliveries: Deliveries,
    table: SinkTable,
    name: str,
    sink: Sink,
) -> Courier:
    """Add one sink."""
    meters, chosen = Selection(table.meters), set[str]()

    def follow(meter_id: str, state: MeterState | None) -> None:
        if state is not None and meters.has_meter(state.meter):
            chosen.add(meter_id)

    if meters.patterns:
        parts.roster.follow(follow)

    def find(meter_id: str) -> Meter | None:
        state = parts.roster.find(meter_id)
        return state.meter if state else None

    def count(entries: Sequence[Entry], late: bool) -> None:  # noqa: FBT001 - as the courier says it
        for entry in entries:
            state = parts.roster.find(entry.item.meter_id)
            if state is not None:
                state.messages += 1
                state.messages_late += late

    courier = Courier(
        name,
        table.kind,
        sink,
        parts.store.journal,
        clock=wall_millis,
        publish=parts.bus.publish,
        passes=passing(
            meters, Selection(table.quantities), find, history=table.history, was_chosen=chosen.__contains__
        ),
        confirm_seconds=settings.delivery.confirm_seconds,
        count=count,
    )
    deliveries.add(courier)
    return courier


def _surroundings(plan: SinkPlan, parts: WebParts) -> Surroundings:
    role = Role(plan.table.role) if plan.table.role else None

    def actor(user: str) -> Actor:
        return Actor(f"{plan.name}:{user}" if user else plan.name, role or Role.VIEWER)

    async def refuse(_request: Request) -> object:
        raise PermissionDenied("requests from this sink are off", hint=f"set sinks.{plan.name}.role")

    return Surroundings(
        name=plan.name,
        version=parts.version,
        roster=parts.roster,
        profile=partial(usable_profile, parts.library),
        answer=requests_of(parts, actor).answer if role else refuse,
        clock=wall_millis,
        secret=partial(_secret, f"sinks.{plan.name}"),
        role=role,
        meters=Selection(plan.table.meters).has_meter,
        quantities=Selection(plan.table.quantities).has,
        live_seconds=partial(_live_seconds, parts),
    )


def _live_seconds(parts: WebParts, meter: Meter, quantity: str) -> float:
    return parts.freshness.seconds(parts.roster.find(meter.id), quantity)


def usable_profile(library: Library, meter: Meter) -> MeterProfile | None:
    """The meter file of a meter; None, too, where it is gone or broken: one such meter must not keep a sink from all others."""
    try:
        return library.of(meter)
    except HeadendError:
        return None


def requests_of(parts: WebParts, actor: Callable[[str], Actor], *, commands: bool = True) -> Requests:
    """What answers requests of those whom `actor` makes of the names of users."""
    return Requests(
        parts.roster,
        parts.lanes,
        parts.poller,
        parts.commands,
        parts.bus,
        wall_millis,
        driver=driver,
        profile=parts.library.of,
        actor=actor,
        allow_commands=commands,
    )


def _secret(name: str, place: str) -> Secret:
    return resolve_secret(place, name)


def describe_options(kind: SinkKind) -> Iterator[tuple[str, str, str]]:
    """(name, default, description) of each option of a kind, for the reference page."""
    get_type_hints(kind.options)
    for each in fields(kind.options):
        default = each.default if each.default is not MISSING else None
        if each.default_factory is not MISSING:
            default = each.default_factory()
        required = each.default is MISSING and each.default_factory is MISSING
        yield each.name, "" if required else _shown(default), str(each.metadata.get("description", ""))


def describe_common() -> Iterator[tuple[str, str, str]]:
    """The same of what all kinds have."""
    for name, each in SinkTable.model_fields.items():
        yield name, "" if each.is_required() else _shown(each.default), each.description or ""


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple | list):
        return "[{}]".format(", ".join(f'"{each}"' for each in default))
    if default is None:
        return "absent"
    return f'"{default}"' if isinstance(default, str) else str(default)

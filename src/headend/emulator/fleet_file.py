"""Reading a description of a fleet. Its form is described in `docs/reference/fleets.md`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any, Final
from urllib.parse import urlsplit

from headend.drivers.calling import Dialogue
from headend.drivers.library import Library
from headend.drivers.registrations import Registrations, built_in
from headend.emulator.clock import FleetClock
from headend.emulator.dialling import Dial
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group, wall_clock
from headend.emulator.kinds import Kinds
from headend.emulator.outside import is_here
from headend.emulator.shape import SHAPES
from headend.errors import ConfigError, NotFound
from headend.model.meter import Secret
from headend.model.place import Table, line_of
from headend.model.profile import MeterProfile

SecretResolver = Callable[[str, str], Secret]
"""From `env:NAME` … and the parameter's name to the secret."""

# keys that go to Group, and to MeterKind, as they are: what they must be
_GROUP_KEYS: Final = {
    "count": int,
    "framing": str,
    "first_address": str,
    "port": int,
    "name": str,
    "number": str,
    "label": str,
}
_KIND_KEYS: Final = {
    "load": str,
    "mean_watts": (int, float),
    "nominal_voltage": (int, float),
    "nominal_frequency": (int, float),
    "history_days": (int, float),
    "drift": int,
}
_OTHER_KEYS: Final = {
    *("dial", "registration", "profile", "units", "params", "secrets", "faults"),
    *("objects", "views", "blanked"),
}
# keys that go to Dial
_DIAL_KEYS: Final = {"heartbeat": 0.0, "jitter": 0.0, "spread": 0.0, "retry": 0.001, "most": 0.001}
"""and the least that each may be"""
_NO_REGISTRATION: Final = "none"
_FAULT_KEYS: Final = {"kind", "meters", "chance", "seconds"}


def load_fleet(
    text: str,
    library: Library,
    resolve: SecretResolver,
    origin: str = "fleet",
    *,
    registrations: Registrations | None = None,
    clock: Callable[[], int] = wall_clock,
    empty: bool = False,
) -> Fleet:
    """Parse the text of a fleet file; its registrations are the built-in ones unless others are given.

    `empty`: it may have no group, since some will be added. Raises ConfigError `FILE:LINE: [table] key: expected …, got …`.
    """
    document = _document(text, origin)
    settings = Table(origin, text, "fleet", 0, document.get("fleet", {}))
    settings.allow({"seed"})
    return Fleet(
        load_groups(text, library, resolve, origin, registrations=registrations, empty=empty),
        seed=settings.take("seed", int, 0),
        clock=_clock(Table(origin, text, "clock", 0, document.get("clock", {})), clock),
    )


def _document(text: str, origin: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    Table(origin, text, "", 0, document).allow({"fleet", "clock", "variant", "group"})
    return document


def load_groups(
    text: str,
    library: Library,
    resolve: SecretResolver,
    origin: str = "fleet",
    *,
    registrations: Registrations | None = None,
    empty: bool = False,
) -> Sequence[Group]:
    """The groups of a fleet file alone; raises as `load_fleet` does."""
    document = _document(text, origin)
    groups = document.get("group", [])
    if not isinstance(groups, list) or not (groups or empty):
        raise ConfigError(f"{origin}:{line_of(text, 'group')}: a fleet needs at least one [[group]]")
    kinds = Kinds(library, [Table(origin, text, "variant", *each) for each in enumerate(document.get("variant", []))])
    return [
        group
        for index, values in enumerate(groups)
        for group in _groups(Table(origin, text, "group", index, values), kinds, resolve, registrations or built_in())
    ]


def _clock(table: Table, wall: Callable[[], int]) -> Callable[[], int]:
    """The clock of the fleet: that on the wall, unless it says otherwise."""
    table.allow({"start", "speed"})
    if not table.values:
        return wall
    start = table.values.get("start")
    if start is not None and not (isinstance(start, datetime) and start.tzinfo is not None):
        raise table.wrong("start", "a time such as 2025-01-01T00:00:00Z")
    speed = _given(table, {"speed": (int, float)}).get("speed", 1.0)
    try:
        return FleetClock(start=None if start is None else round(start.timestamp() * 1000), speed=speed, wall=wall)
    except ConfigError as error:
        raise table.wrong("speed", error.hint) from None


def _groups(table: Table, kinds: Kinds, resolve: SecretResolver, registrations: Registrations) -> Iterator[Group]:
    """The groups of a table: one, or for a folder of object lists one for each of them, at consecutive addresses."""
    table.allow({*_GROUP_KEYS, *_KIND_KEYS, *_OTHER_KEYS, *_DIAL_KEYS})
    profiles = kinds.of(table)
    if len(profiles) == 1:
        yield _group(table, profiles[0], resolve, registrations)
        return
    if not table.take("port", int, 0):
        raise table.error("port", "needed, so that all of the meters of a folder have the same")
    count, first = table.take("count", int, len(profiles)), table.take("first_address", str, "127.0.0.1")
    for index, profile in enumerate(profiles[:count]):
        share = count // len(profiles) + (index < count % len(profiles))
        label = f"{table.take('label', str, 'views')}-{profile.id}"
        here = table.but(count=share, first_address=first, label=label)
        yield _group(here, profile, resolve, registrations)
        first = _after(table, first, share)


def _after(table: Table, first: str, count: int) -> str:
    """The address so many behind another."""
    try:
        return str(IPv4Address(first) + count)
    except ValueError:
        raise table.wrong("first_address", "an address in 127.0.0.0/8") from None


def _group(table: Table, profile: MeterProfile, resolve: SecretResolver, registrations: Registrations) -> Group:
    if table.values.get("load", "household") not in SHAPES:
        raise table.wrong("load", "one of " + ", ".join(SHAPES))
    if not 0 <= table.take("port", int, 0) <= 0xFFFF:
        raise table.wrong("port", "0 … 65535")
    units: list[Any] = table.take("units", list, [])
    if not all(type(unit) is int for unit in units) or len(set(units)) != len(units):
        raise table.wrong("units", "different whole numbers")
    params: dict[str, Any] = table.take("params", dict, {})
    return Group(
        profile=profile,
        in_library="profile" in table.values,
        units=tuple(units),
        params={key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in params.items()},
        secrets=_secrets(table, resolve),
        faults=tuple(_fault(table, values) for values in table.take("faults", list, [])),
        kind=_given(table, _KIND_KEYS),
        dial=_dial(table, profile, registrations),
        **_given(table, _GROUP_KEYS),
    )


def _dial(table: Table, profile: MeterProfile, registrations: Registrations) -> Dial | None:
    """Where the meters of a group call, None for one that is called."""
    if "dial" not in table.values:
        for key in ("registration", *_DIAL_KEYS):
            if key in table.values:
                raise table.error(key, 'only meters that dial in have it (dial = "tcp://127.0.0.1:8899")')
        return None
    host, port = _called(table)
    named = table.take("registration", str, profile.registration or _NO_REGISTRATION)
    try:
        dialogue = None if named == _NO_REGISTRATION else Dialogue(registrations.get(named))
    except NotFound as error:
        raise table.wrong("registration", f"a registration, or none ({error.hint})") from None
    seconds = _given(table, dict.fromkeys(_DIAL_KEYS, (int, float)))
    for key, value in seconds.items():
        if value < _DIAL_KEYS[key]:
            raise table.wrong(key, "a positive number")
    return Dial(host=host, port=port, dialogue=dialogue, **seconds)


def _called(table: Table) -> tuple[str, int]:
    """Host and port of `tcp://HOST:PORT`, on this machine."""
    try:
        place = urlsplit(table.take("dial", str))
        port = place.port
    except ValueError:
        port = None
    if port is None or place.scheme != "tcp" or not place.hostname or not is_here(place.hostname):
        raise table.wrong("dial", "tcp://HOST:PORT on this machine, such as tcp://127.0.0.1:8899")
    return place.hostname, port


def _given(table: Table, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that the table has, checked."""
    for key, kind in keys.items():
        if key in table.values and (not isinstance(table.values[key], kind) or isinstance(table.values[key], bool)):
            raise table.wrong(key, "a text" if kind is str else "a number")
    return {key: table.values[key] for key in keys if key in table.values}


def _secrets(table: Table, resolve: SecretResolver) -> Mapping[str, Secret]:
    places = table.values.get("secrets", {})
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise table.error("secrets", "expected a table of env:NAME, file:PATH, hex:… or text:…")
    return {name: resolve(place, name) for name, place in places.items()}


def _fault(table: Table, values: object) -> Fault:
    if not isinstance(values, dict) or not set(values) <= _FAULT_KEYS:
        raise table.wrong("faults", "tables of " + ", ".join(sorted(_FAULT_KEYS)))
    try:
        kind = FaultKind(values.get("kind"))
    except ValueError:
        raise table.wrong("faults", "kind = one of " + ", ".join(kind.value for kind in FaultKind)) from None
    numbers = {key: values[key] for key in _FAULT_KEYS - {"kind"} if key in values}
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers.values()):
        raise table.wrong("faults", "numbers for meters, chance and seconds")
    return Fault(kind=kind, **numbers)

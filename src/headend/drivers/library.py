"""The meter library: one TOML file per meter model, in the package and in folders of the user's own.

The form of the files is described in `docs/reference/meter-files.md`. Files are indexed by name and parsed when first
asked for; a user's file with the id of a built-in one replaces it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import structlog

from headend.drivers.registry import driver
from headend.errors import ConfigError, NotFound
from headend.model import recovery
from headend.model.alarm import RATINGS
from headend.model.alarm_rules import check_change
from headend.model.duration import parse_seconds
from headend.model.job import CommandKind
from headend.model.meter import Meter
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.place import Table, line_of
from headend.model.profile import (
    AccessRule,
    CommandSetup,
    DetectRule,
    FunctionSetup,
    LoadProfile,
    LogicalDevice,
    MeterClient,
    MeterProfile,
    ProfileState,
    ProfileTest,
)
from headend.model.quantity import base_unit, find_quantity
from headend.model.reading import Value
from headend.standards.event_codes import event_tables

log = structlog.get_logger(__name__)

BUILT_IN: Final = Path(str(files("headend"))) / "profiles"
_TOP_KEYS = {
    *("meter", "link", "association", "object", "load_profile", "push", "function", "command"),
    *("client", "logical_device", "detect", "quirk", "test", "alarm"),
}
_METER_KEYS = {
    *("vendor", "model", "protocol", "state", "source", "revision", "note", "registration"),
    *("flag", "firmware", "fingerprint"),
}
_CLIENT_KEYS = {"sap", "params", "secrets", "may_change", "objects", "access"}
_RULE_KEYS = {"ref", "method", "allow"}
_OBJECT_KEYS = {"ref", "quantity", "name", "unit", "scaler", "type", "poll", "every", "writable", "emulate", "note"}
_PUSH_KEYS = {"objects"}
_COMMAND_KEYS = {"kind", "ref", "value", "method"}


class Library:
    """The meter profiles at hand."""

    def __init__(self, folders: Iterable[Path] = (), *, kept: Path | None = None) -> None:
        """`folders` are searched after the built-in profiles, the folder `kept` after them; the last file with an id wins.

        What is changed in `kept` by replacing files there counts at once; the others are looked at once.
        """
        self._fixed: dict[str, Path] = {}
        self._paths: dict[str, Path] = {}
        self._loaded: dict[Path, tuple[object, MeterProfile]] = {}
        self._kept = kept
        self._spoilt: set[tuple[Path, object]] = set()
        self._stamp: object = ()
        for folder in (BUILT_IN, *folders):
            if not folder.is_dir():
                raise ConfigError(f"no folder of meter profiles at {folder}")
            self._fixed.update((path.stem, path) for path in sorted(folder.glob("*.toml")))
        self._look()

    def refresh(self) -> None:
        """Look anew at the folder whose files come and go, however little time has passed since it was changed."""
        self._stamp = ()
        self._look()

    def _look(self) -> None:
        """See what has become of that folder, where it has changed."""
        stamp: object = None
        if self._kept is not None:
            with suppress(OSError):
                stamp = self._kept.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp = stamp
            kept = {} if self._kept is None else {path.stem: path for path in sorted(self._kept.glob("*.toml"))}
            self._paths = {**self._fixed, **kept}

    def ids(self) -> tuple[str, ...]:
        """Ids of all profiles, sorted."""
        self._look()
        return tuple(sorted(self._paths))

    def original(self, profile_id: str) -> Path | None:
        """The file that stands behind one that is kept, if there is one."""
        return self._fixed.get(profile_id)

    def path(self, profile_id: str) -> Path:
        """The file of a profile; raises NotFound."""
        self._look()
        try:
            return self._paths[profile_id]
        except KeyError:
            near = get_close_matches(profile_id.lower(), self.ids(), 1, 0.7)
            near += [known for known in self.ids() if profile_id and profile_id.lower() in known]
            raise NotFound(
                f"no meter profile {profile_id!r}",
                hint=f"did you mean {near[0]}?" if near else "headend profile list shows all",
            ) from None

    def get(self, profile_id: str) -> MeterProfile:
        """A profile by id; raises NotFound, or ConfigError that names file, line and field."""
        path = self.path(profile_id)
        known = self._loaded.get(path)
        stamp = None if path is self._fixed.get(profile_id) else _stamp(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(f"no meter profile {profile_id!r}") from None
        profile = load_profile(text, path.stem, str(path))
        self._loaded[path] = stamp, profile
        return profile

    def of(self, meter: Meter) -> MeterProfile | None:
        """The profile of a meter, None where it has none; raises as `get` does."""
        return self.get(meter.profile_id) if meter.profile_id else None

    def __iter__(self) -> Iterator[MeterProfile]:
        """All profiles; one that is kept, and that a hand has spoilt since, is left out with a warning."""
        for profile_id in self.ids():
            try:
                yield self.get(profile_id)
            except (ConfigError, NotFound) as error:
                path = self._paths.get(profile_id)
                if path is None or path is self._fixed.get(profile_id):
                    raise
                spoilt = path, _stamp(path)
                if spoilt not in self._spoilt:
                    self._spoilt.add(spoilt)
                    log.warning("profile cannot be loaded", profile=profile_id, reason=str(error))


def _stamp(path: Path) -> object:
    """What differs when the file was replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def load_profile(text: str, profile_id: str, origin: str = "") -> MeterProfile:
    """Parse the text of a meter file; `profile_id` is its name without `.toml`.

    Raises ConfigError `FILE:LINE: [table] key: expected …, got …`.
    """
    origin = origin or profile_id
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    top = Table(origin, text, "", 0, document)
    top.allow(_TOP_KEYS)

    def tables(name: str) -> list[Table]:
        found = document.get(name, [])
        if not isinstance(found, list):
            raise ConfigError(f"{origin}:{line_of(text, name)}: write [[{name}]]: there may be several")
        return [Table(origin, text, name, index, values) for index, values in enumerate(found)]

    meter = Table(origin, text, "meter", 0, document.get("meter", {}))
    meter.allow(_METER_KEYS)
    protocol = meter.take("protocol", str)
    try:
        the_driver = driver(protocol)
    except ConfigError as error:
        raise meter.wrong("protocol", error.hint) from None
    objects = tuple(_entry(table, protocol) for table in tables("object"))
    _refuse_twins(origin, text, objects)
    link, association = dict(document.get("link", {})), document.get("association", {})
    renewing = {name: link.pop(name) for name in tuple(link) if name in recovery.BOUNDS}
    for name, value in renewing.items():
        recovery.check(name, value)
    the_driver.check_params({**link, **association})
    return MeterProfile(
        id=profile_id,
        vendor=meter.take("vendor", str),
        model=meter.take("model", str),
        protocol=protocol,
        state=_state(meter),
        source=meter.take("source", str),
        revision=meter.take("revision", int, 1),
        note=meter.take("note", str, ""),
        flag=meter.take("flag", str, ""),
        firmware=meter.take("firmware", str, ""),
        fingerprint=meter.take("fingerprint", str, ""),
        registration=meter.take("registration", str, ""),
        objects=objects,
        load_profiles=tuple(_load_profile(table, protocol) for table in tables("load_profile")),
        push_lists=tuple(_push_list(table, protocol) for table in tables("push")),
        functions=tuple(map(_function, tables("function"))),
        commands=tuple(_command(table, protocol) for table in tables("command")),
        detect=tuple(
            DetectRule(fact=table.take("fact", str), value=table.take("value", str), weight=table.take("weight", int))
            for table in tables("detect")
        ),
        link=link,
        association=association,
        recovery=renewing,
        clients=tuple(_client(table, protocol) for table in tables("client")),
        devices=tuple(_device(table) for table in tables("logical_device")),
        quirks=frozenset(table.take("name", str) for table in tables("quirk")),
        alarm=_alarm(Table(origin, text, "alarm", 0, top.take("alarm", dict, {}))),
        tests=tuple(_test(table) for table in tables("test")),
    )


def _state(meter: Table) -> ProfileState:
    try:
        return ProfileState(meter.take("state", str, "DRAFT"))
    except ValueError:
        raise meter.wrong("state", "DRAFT, EMULATED or FIELD_VERIFIED") from None


def _ref(table: Table, key: str, protocol: str, text: str) -> ObjectRef:
    try:
        return driver(protocol).parse_ref(text)
    except ConfigError as error:
        raise table.wrong(key, f"{error}") from None


def _entry(table: Table, protocol: str) -> ObjectEntry:
    table.allow(_OBJECT_KEYS)
    unit = table.take("unit", str, "")
    quantity = table.take("quantity", str, "")
    scaler: int | None = None
    if table.values.get("scaler") != "meter":
        scaler = table.take("scaler", int, 0, 'a whole number, or "meter"')
    try:
        base, prefix = base_unit(unit)
    except ConfigError as error:
        raise table.wrong("unit", error.hint) from None
    if quantity:
        known = find_quantity(quantity)
        if known is None:
            raise table.wrong("quantity", "a key of the catalogue (headend profile quantities)")
        if unit and known.unit != base:
            raise table.wrong("unit", f"a unit of {known.unit or 'no unit'}, which {quantity} is measured in")
    emulate: Mapping[str, Value] = table.take("emulate", dict, {})
    try:
        every = parse_seconds(table.values.get("every", 0))
    except ConfigError as error:
        raise table.wrong("every", f"{error.hint or 'a span of time'}") from None
    return ObjectEntry(
        ref=_ref(table, "ref", protocol, table.take("ref", str)),
        quantity=quantity,
        name=table.take("name", str, ""),
        unit=unit,
        scaler=scaler,
        exponent=(scaler or 0) + prefix,
        type=table.take("type", str, ""),
        poll=table.take("poll", bool, default=True),
        every=every,
        writable=table.take("writable", bool, default=False),
        emulate=emulate,
        note=table.take("note", str, ""),
    )


def _load_profile(table: Table, protocol: str) -> LoadProfile:
    columns: list[Any] = table.take("columns", list)
    return LoadProfile(
        ref=_ref(table, "ref", protocol, table.take("ref", str)),
        period_seconds=table.take("period_seconds", int),
        capacity=table.take("capacity", int),
        columns=tuple(_ref(table, "columns", protocol, str(column)) for column in columns),
        name=table.take("name", str, ""),
        event_table=_event_table(table),
        events=_events(table),
    )


def _event_table(table: Table) -> str:
    name: str = table.take("event_table", str, "")
    if name and name not in event_tables():
        raise table.wrong("event_table", f"one of {', '.join(event_tables())}")
    return name


def _events(table: Table) -> Mapping[int, str]:
    said: dict[str, Any] = table.take("events", dict, {})
    if not all(code.isdecimal() and isinstance(text, str) for code, text in said.items()):
        raise table.wrong("events", "a text for each code, which is a number")
    return {int(code): text for code, text in said.items()}


def _push_list(table: Table, protocol: str) -> tuple[ObjectRef, ...]:
    table.allow(_PUSH_KEYS)
    objects: list[Any] = table.take("objects", list)
    return tuple(_ref(table, "objects", protocol, str(each)) for each in objects)


def _function(table: Table) -> FunctionSetup:
    said = {key: value for key, value in table.values.items() if key != "ref"}
    return FunctionSetup(ref=table.take("ref", str), said=said)


def _command(table: Table, protocol: str) -> CommandSetup:
    table.allow(_COMMAND_KEYS)
    try:
        kind = CommandKind(table.take("kind", str))
    except ValueError:
        raise table.wrong("kind", "one of " + ", ".join(each.value for each in CommandKind)) from None
    return CommandSetup(
        kind=kind,
        ref=_ref(table, "ref", protocol, table.take("ref", str)),
        value=table.values.get("value", 0),
        method=table.take("method", bool, default=False),
    )


def _client(table: Table, protocol: str) -> MeterClient:
    table.allow(_CLIENT_KEYS)
    params: Mapping[str, Value] = table.take("params", dict, {})
    driver(protocol).check_params(params)
    return MeterClient(
        sap=table.take("sap", int),
        params=params,
        secrets=table.take("secrets", str, ""),
        may_change=table.take("may_change", bool, default=False),
        objects=_texts(table, "objects"),
        rules=tuple(_rule(table, values) for values in table.take("access", list, [])),
    )


def _rule(table: Table, values: object) -> AccessRule:
    if not isinstance(values, dict) or not set(values) <= _RULE_KEYS or len({"ref", "method"} & set(values)) != 1:
        raise table.wrong("access", 'tables of "ref" or "method", and "allow"')
    ref, allow = values.get("ref", values.get("method")), values.get("allow", [])
    if not isinstance(ref, str) or not isinstance(allow, list):
        raise table.wrong("access", 'a text for "ref" or "method", and a list of words for "allow"')
    return AccessRule(ref=ref, allow=tuple(map(str, allow)), method="method" in values)


def _alarm(table: Table) -> Mapping[str, Mapping[str, Value]]:
    """`[alarm]`: ratings by name, and a table for each rule that is changed."""
    layer: dict[str, dict[str, Value]] = {}
    for key, value in table.values.items():
        rule, fields = (key, value) if isinstance(value, dict) else (RATINGS, {key: value})
        try:
            check_change(rule, fields)
        except ConfigError as error:
            raise table.error(key, str(error)) from None
        layer.setdefault(rule, {}).update(fields)
    return layer


def _device(table: Table) -> LogicalDevice:
    table.allow({"sap", "name", "objects"})
    return LogicalDevice(sap=table.take("sap", int), name=table.take("name", str, ""), objects=_texts(table, "objects"))


def _texts(table: Table, key: str) -> tuple[str, ...]:
    found: list[Any] = table.take(key, list, [])
    if not all(isinstance(each, str) for each in found):
        raise table.wrong(key, "a list of texts")
    return tuple(found)


def _test(table: Table) -> ProfileTest:
    return ProfileTest(
        name=table.take("name", str),
        framing=table.take("framing", str, ""),
        request=_hex(table, "request"),
        response=_hex(table, "response"),
        readings=table.take("readings", dict),
    )


def _hex(table: Table, key: str) -> bytes:
    """Hexadecimal with white space and `# notes` to the end of a line."""
    text = table.take(key, str)
    try:
        return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))
    except ValueError:
        raise table.wrong(key, "hexadecimal octets, with # notes") from None


def _refuse_twins(origin: str, text: str, objects: Sequence[ObjectEntry]) -> None:
    seen: dict[ObjectRef, int] = {}
    for index, entry in enumerate(objects):
        if entry.ref in seen:
            first = line_of(text, "object", seen[entry.ref], "ref")
            raise ConfigError(
                f"{origin}:{line_of(text, 'object', index, 'ref')}: [object] ref: {entry.ref} stands at line {first} already"
            )
        seen[entry.ref] = index

"""Virtual meters of a running head-end: templates, and instances of them in a child process.

```text
 put(Template)            what a kind of meters is: a meter file, and keys of a [[group]] of a fleet file
 start("house", 1000)     a group of so many, at loopback addresses of their own        -> Instance
 groups(), meters(…)      what there is, how it is reached, what is wrong with it
 break_, mend, reboot     faults, on open links too; stop and switch_on
 remove("house")          the group is no more
```

What was started is kept in a file, and is there again when the head-end is started the next time, with the same addresses. What
was broken is not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Protocol, Self

import structlog

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.control import EVERYBODY, FleetState, GroupState, MeterState, Selection
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.fleet_file import SecretResolver, load_groups
from headend.emulator.remote import RemoteControl
from headend.errors import ConfigError, Conflict, HeadendError, NotFound

FIRST_ADDRESS: Final = int(IPv4Address("127.100.0.1"))
LAST_ADDRESS: Final = int(IPv4Address("127.199.255.254"))
MOST_METERS: Final = 10_000
"""instances at a time"""
log = structlog.get_logger(__name__)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_OURS: Final = frozenset({"profile", "label", "name", "count", "first_address", "port"})
"""keys of a group that no template has: they are made for each instance"""
_SHIPPED: Final = Path(str(files("headend") / "profiles"))
_KEY: Final = re.compile(r"[a-z_]+")
_ANY_PORT: Final = 4059
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of virtual meters. `settings` are further keys of a `[[group]]`, such as framing, params, load, faults."""

    name: str
    profile: str
    settings: Mapping[str, Any] = field(default_factory=lambda: _NONE, repr=False)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A group of meters that were started from a template."""

    group: str
    template: str
    meters: int
    first_address: str
    port: int
    text: str = field(repr=False)
    """its `[[group]]`, as it was started"""


class FleetProcess(Protocol):
    """A fleet at work in a process of its own."""

    @property
    def control(self) -> RemoteControl:
        """The hands on it."""

    @property
    def runs(self) -> bool:
        """False once it has ended."""

    async def aclose(self) -> None:
        """End it, and wait for that."""


class Emulators:
    """Templates and instances. Calls may come at any time; those that change what there is go one after the other.

    Also raises LinkClosed or ConnectRefused where the child process has ended; the next `start` begins it anew.
    """

    def __init__(
        self,
        folder: Path,
        library: Library,
        *,
        launch: Callable[[Path, Path], Awaitable[FleetProcess]],
        free_port: Callable[[int], int],
        resolve: SecretResolver,
    ) -> None:
        """`folder` keeps templates and instances.

        `launch` runs a fleet file in a process, which also knows the meter files of a folder, and raises LinkClosed when it
        does not come up; `free_port` gives the port that is asked for, or another one where that is taken.
        """
        self._folder = folder
        self._library = library
        self._meter_files = folder / "meter-files"
        self._launch = launch
        self._free_port = free_port
        self._resolve = resolve
        self._process: FleetProcess | None = None
        self._turn = asyncio.Lock()
        self._templates: dict[str, Template] = {}
        self._instances: dict[str, Instance] = {}

    async def __aenter__(self) -> Self:
        """Read what was kept, and start again what was running. A child that does not start costs nobody else anything."""
        await asyncio.to_thread(self._load)
        if self._instances:
            try:
                await self._control()
            except HeadendError as error:
                log.warning("virtual meters do not run", reason=str(error))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is not None:
            await process.aclose()

    # --- templates ---

    def templates(self) -> Sequence[Template]:
        """All templates, by name."""
        return [self._templates[name] for name in sorted(self._templates)]

    def template(self, name: str) -> Template:
        """One template; raises NotFound."""
        if name not in self._templates:
            raise NotFound(f"there is no template {name!r}")
        return self._templates[name]

    async def put(self, template: Template) -> None:
        """Make or replace a template; what was started from it before stays as it is. Raises ConfigError."""
        if not _NAME.fullmatch(template.name):
            raise ConfigError(f"{template.name!r} is no name", hint="small letters, digits and hyphens, at most 40")
        self._check(template)
        async with self._turn:
            self._templates[template.name] = template
            await asyncio.to_thread(self._keep)

    async def delete(self, name: str) -> None:
        """Forget a template; what was started from it runs on. Raises NotFound."""
        self.template(name)
        async with self._turn:
            self._templates.pop(name, None)
            await asyncio.to_thread(self._keep)

    def _check(self, template: Template) -> None:
        wrong = sorted(_OURS & set(template.settings))
        if wrong:
            raise ConfigError(f"template {template.name}: {wrong[0]} is made for each instance, or stands elsewhere")
        self._read(_group_text(template, "check", 1, IPv4Address(FIRST_ADDRESS), 0))

    def _read(self, text: str) -> str:
        """Raise ConfigError unless the text describes groups that can be; returns the framing of the first."""
        (group,) = load_groups(text, self._library, self._resolve, "template")
        driver(group.profile.protocol).check_params(group.params)
        return f"{group.profile.protocol}/{group.framing}"

    # --- instances ---

    def instances(self) -> Sequence[Instance]:
        """What was started, in that order."""
        return list(self._instances.values())

    async def start(self, name: str, count: int = 1, *, group: str = "") -> Instance:
        """Start so many meters of a template, as a group that is called so (or as the template); returns once they answer.

        Raises NotFound, ConfigError for a count that cannot be, Conflict when the group's name is taken.
        """
        template = self.template(name)
        if not 1 <= count <= MOST_METERS - sum(each.meters for each in self._instances.values()):
            raise ConfigError(f"{count} virtual meters more are too many", hint=f"at most {MOST_METERS} at a time")
        if group and not _NAME.fullmatch(group):
            raise ConfigError(f"{group!r} is no name", hint="small letters, digits and hyphens, at most 40")
        async with self._turn:
            if group in self._instances:
                raise Conflict(f"there is a group {group!r} already")
            label = group or next(each for each in _names(name) if each not in self._instances)
            first, port = self._free_address(count), await self._port(template)
            text = _group_text(template, label, count, first, port)
            await asyncio.to_thread(self._lend, template.profile)
            control = await self._control()
            await control.add(text)
            instance = Instance(
                group=label, template=name, meters=count, first_address=str(first), port=port, text=text
            )
            self._instances[label] = instance
            await asyncio.to_thread(self._keep)
            return instance

    async def remove(self, group: str) -> int:
        """Let a group be no more; says how many meters it had. Raises NotFound."""
        async with self._turn:
            if group not in self._instances:
                raise NotFound(f"there is no group {group!r}")
            with contextlib.suppress(NotFound):
                await (await self._control()).remove(group)
            meters = self._instances.pop(group).meters
            await asyncio.to_thread(self._keep)
            return meters

    async def state(self) -> FleetState | None:
        """The fleet as a whole; None while none runs."""
        return await self._process.control.state() if self._process is not None and self._process.runs else None

    async def groups(self) -> Sequence[GroupState]:
        """The groups as they are now; none while no fleet runs."""
        return await self._process.control.groups() if self._process is not None and self._process.runs else []

    async def meters(
        self, selection: Selection = EVERYBODY, *, offset: int = 0, limit: int = 100
    ) -> Sequence[MeterState]:
        """The meters of a selection, a page of them. Raises NotFound for a group that there is not."""
        return await (await self._running()).meters(selection, offset=offset, limit=limit)

    async def count(self, selection: Selection = EVERYBODY) -> int:
        """How many meters a selection has."""
        return await (await self._running()).count(selection)

    async def break_(self, fault: Fault, selection: Selection = EVERYBODY) -> int:
        """Let the share `fault.meters` of these meters have a fault; says how many. Raises ConfigError, NotFound."""
        return await (await self._running()).break_(fault, selection)

    async def mend(self, selection: Selection = EVERYBODY, kinds: Sequence[FaultKind] = ()) -> int:
        """Take faults away, all of them unless kinds are given; says how many meters had any."""
        return await (await self._running()).mend(selection, kinds)

    async def stop(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters off; they stay in the list. Says how many were on."""
        return await (await self._running()).stop(selection)

    async def switch_on(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters on again; says how many were off."""
        return await (await self._running()).start(selection)

    async def reboot(self, selection: Selection = EVERYBODY, seconds: float = 10.0) -> int:
        """Reboot meters; says how many."""
        return await (await self._running()).reboot(selection, seconds)

    async def set_clock(self, *, at: int | None = None, speed: float | None = None) -> FleetState:
        """Let all virtual meters show another time (milliseconds), or let time run faster for them."""
        return await (await self._running()).set_clock(at=at, speed=speed)

    # --- the child ---

    async def _running(self) -> RemoteControl:
        if not self._instances:
            raise NotFound("no virtual meter has been started")
        async with self._turn:
            return await self._control()

    async def _control(self) -> RemoteControl:
        """The control of the child, which is started when there is none."""
        if self._process is None or not self._process.runs:
            await asyncio.to_thread(self._keep)
            self._process = await self._launch(self._folder / "fleet.toml", self._meter_files)
        return self._process.control

    def _lend(self, profile_id: str) -> None:
        """Give the child a copy of a meter file that is not shipped."""
        path = self._library.path(profile_id)
        if path.parent != _SHIPPED:
            (self._meter_files / f"{profile_id}.toml").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")

    def _free_address(self, count: int) -> IPv4Address:
        """The first of so many addresses in a row that nobody has."""
        used = sorted((int(IPv4Address(each.first_address)), each.meters) for each in self._instances.values())
        at = FIRST_ADDRESS
        for first, meters in used:
            if at + count <= first:
                break
            at = max(at, first + meters)
        if at + count > LAST_ADDRESS:
            raise ConfigError("there are no addresses left for so many virtual meters")
        return IPv4Address(at)

    async def _port(self, template: Template) -> int:
        """The port of others of this kind; for the first of them that of the protocol, or one that is free."""
        wanted = self._read(_group_text(template, "check", 1, IPv4Address(FIRST_ADDRESS), 0))
        for each in self._instances.values():
            if self._read(each.text) == wanted:
                return each.port
        ports = driver(wanted.partition("/")[0]).ports
        return await asyncio.to_thread(self._free_port, ports[0] if ports else _ANY_PORT)

    # --- what is kept ---

    def _load(self) -> None:
        try:
            kept = json.loads((self._folder / "emulators.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        self._templates = {each["name"]: Template(**each) for each in kept["templates"]}
        self._instances = {each["group"]: Instance(**each) for each in kept["instances"]}

    def _keep(self) -> None:
        self._meter_files.mkdir(parents=True, exist_ok=True, mode=0o700)
        templates = [
            {**asdict(replace(each, settings={})), "settings": dict(each.settings)} for each in self.templates()
        ]
        kept = {"templates": templates, "instances": [asdict(each) for each in self._instances.values()]}
        for name, text in (
            ("emulators.json", json.dumps(kept, indent=1)),
            ("fleet.toml", "[fleet]\nseed = 1\n\n" + "\n".join(each.text for each in self._instances.values())),
        ):
            fresh = self._folder / f"{name}.new"
            fresh.touch(mode=0o600)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._folder / name)


def _names(name: str) -> Sequence[str]:
    return [name, *(f"{name[:34]}-{number}" for number in range(2, MOST_METERS + 2))]


def _group_text(template: Template, label: str, count: int, first: IPv4Address, port: int) -> str:
    """A `[[group]]` of a fleet file."""
    keys = {
        "profile": template.profile,
        "label": label,
        "name": label + "-{number:05}",
        "count": count,
        "first_address": str(first),
        "port": port,
        **template.settings,
    }
    for key in keys:
        if not _KEY.fullmatch(key):
            raise ConfigError(f"template {template.name}: {key!r} is no key of a group")
    return "[[group]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> str:
    """A value as TOML; raises ConfigError for what TOML has no word for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(each)}" for key, each in value.items()) + " }"
    raise ConfigError(f"a template holds texts, numbers, lists and tables, and no {type(value).__name__}")

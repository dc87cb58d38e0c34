"""Virtual meters in a thread of their own, and the handles by which a test turns their screws."""

from __future__ import annotations

import asyncio
import pkgutil
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

from headend.drivers.library import Library
from headend.drivers.registry import driver, driver_names
from headend.emulator.clock import FleetClock
from headend.emulator.control import MeterState, Selection
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_fleet
from headend.errors import ConfigError, NotFound
from headend.model.meter import Secret
from headend.model.reading import Value
from headend.model.url import format_url, parse_url
from headend.runtime.secrets import resolve_secret

T = TypeVar("T")
SECONDS: Final = 30.0


@cache
def _load_drivers() -> None:
    """Import all of the drivers before there is a second thread.

    What they import when it is needed first may be needed in both threads at once; pytest compiles it there and then, and the
    compiler of Python 3.11 can fail when two threads are in it ("AST constructor recursion depth mismatch").
    """
    for name in driver_names():
        package = import_module(type(driver(name)).__module__.rpartition(".")[0])
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)


class Engine:
    """An event loop in a thread, in which fleets run."""

    def __init__(self) -> None:
        _load_drivers()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="virtual meters", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives that runs there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def call(self, work: Callable[[], T]) -> T:
        """What a function gives that is called there."""
        done: Future[T] = Future()

        def work_there() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                done.set_exception(error)

        self._loop.call_soon_threadsafe(work_there)
        return done.result(SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()


class VirtualFleetHandle:
    """Meters that run: how to reach them, and what can be done to them. Works in tests with and without an event loop."""

    def __init__(self, engine: Engine, fleet: Fleet) -> None:
        self._engine = engine
        self._fleet = fleet

    @property
    def urls(self) -> Sequence[str]:
        """How to reach each meter."""
        return [meter.url for meter in self._fleet.roster()]

    @property
    def meters(self) -> Sequence[MeterState]:
        """Each meter with its name, URL, and what is wrong with it."""
        return self._engine.call(lambda: self._fleet.control.meters(limit=len(self._fleet)))

    @property
    def links(self) -> int:
        """How many connections are open."""
        return self._fleet.links

    def break_(
        self,
        kind: str,
        *,
        share: float = 1.0,
        chance: float = 1.0,
        seconds: float = 2.0,
        name: str = "",
        group: str = "",
    ) -> int:
        """Let a share of the meters have a fault (`silent`, `latency` …), on open connections too; says how many.

        Raises ConfigError for a fault that there is not.
        """
        fault = Fault(kind=_kind(kind), meters=share, chance=chance, seconds=seconds)
        return self._engine.call(lambda: self._fleet.control.break_(fault, Selection(group=group, name=name)))

    def mend(self, *kinds: str, name: str = "", group: str = "") -> int:
        """Take faults away, all of them unless kinds are given; says how many meters had any."""
        wanted = [_kind(kind) for kind in kinds]
        return self._engine.call(lambda: self._fleet.control.mend(Selection(group=group, name=name), wanted))

    def reboot(self, *, seconds: float = 0.0) -> None:
        """All meters drop their connections, and say nothing on new ones for so many seconds."""
        self._engine.call(lambda: self._fleet.control.reboot(seconds=seconds))

    def stop(self) -> None:
        """Switch all meters off."""
        self._engine.call(self._fleet.control.stop)

    def start(self) -> None:
        """Switch them on again."""
        self._engine.call(self._fleet.control.start)

    def set_clock(self, at: datetime | None = None, *, speed: float | None = None) -> None:
        """Let the meters' clocks show a time (UTC if it has no zone), or run at a speed; 0 stands still."""
        millis = None if at is None else _millis(at)
        self._engine.call(lambda: self._fleet.control.set_clock(at=millis, speed=speed))

    def meter(self, number: int = 1) -> VirtualMeterHandle:
        """One of them, from 1."""
        line = next((meter for index, meter in enumerate(self._fleet.roster(), 1) if index == number), None)
        if line is None:
            raise NotFound(f"there is no meter {number} of {len(self._fleet)}")
        return VirtualMeterHandle(self._engine, self._fleet, number, line.url, dict(line.secrets))


@dataclass(frozen=True, slots=True)
class VirtualMeterHandle:
    """A meter that runs. `url` is how to reach it, without secrets; `secrets` are those that it wants."""

    _engine: Engine = field(repr=False)
    _fleet: Fleet = field(repr=False)
    number: int
    url: str
    secrets: Mapping[str, Secret] = field(repr=False)

    @property
    def host(self) -> str:
        """Its address."""
        return parse_url(self.url).endpoint.host

    @property
    def port(self) -> int:
        """Its port."""
        return parse_url(self.url).endpoint.port

    @property
    def bare_url(self) -> str:
        """Its URL without a profile, for who has to find out."""
        url = parse_url(self.url)
        return format_url(url.meter("meter", profile_id=""))

    def value(self, quantity: str) -> Value:
        """What it shows of a quantity now, in its base unit; raises NotFound for one that it does not have."""
        index = self._index(quantity)
        return self._engine.call(lambda: self._fleet.meter(self.number).current_value(index))

    def set(self, quantity: str, value: Value) -> None:
        """Let it show a value (in the base unit) from now on; raises NotFound for a quantity that it does not have."""
        index = self._index(quantity)
        self._engine.call(lambda: self._fleet.meter(self.number).show(index, value))

    def _index(self, quantity: str) -> int:
        objects = self._fleet.meter(self.number).profile.objects
        found = next((index for index, entry in enumerate(objects) if entry.quantity == quantity), None)
        if found is None:
            raise NotFound(f"this virtual meter has no {quantity}")
        return found

    def break_(self, kind: str, *, chance: float = 1.0, seconds: float = 2.0) -> None:
        """Let it have a fault (`silent`, `latency` …), on open connections too. Raises ConfigError."""
        fault = Fault(kind=_kind(kind), chance=chance, seconds=seconds)
        self._engine.call(lambda: self._fleet.control.break_(fault, self._self()))

    def mend(self, *kinds: str) -> None:
        """Take its faults away, all of them unless kinds are given."""
        wanted = [_kind(kind) for kind in kinds]
        self._engine.call(lambda: self._fleet.control.mend(self._self(), wanted))

    def reboot(self, *, seconds: float = 0.0) -> None:
        """It drops its connections, and says nothing on new ones for so many seconds."""
        self._engine.call(lambda: self._fleet.control.reboot(self._self(), seconds))

    def set_clock(self, at: datetime) -> None:
        """Let its own clock show a time (UTC if it has no zone)."""
        self._engine.call(lambda: self._fleet.meter(self.number).set_clock(_millis(at)))

    @property
    def relay_closed(self) -> bool:
        """True while the load is supplied."""
        return self._engine.call(lambda: self._fleet.meter(self.number).relay_closed())

    def _self(self) -> Selection:
        return Selection(numbers=(self.number,))


class Workshop:
    """Makes meters and fleets for one test, and ends them after it."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._fleets: list[Fleet] = []

    def meter(
        self, profile: str | Path, *, secrets: Mapping[str, str] | None = None, **params: object
    ) -> VirtualMeterHandle:
        """One meter of a profile or a meter file. Parameters are those of meter URLs, and keys of a group of a fleet file.

        `secrets` are `text:…`, `hex:…`, `env:NAME` or `file:PATH`. Raises ConfigError, NotFound.
        """
        return self.fleet(profile, count=1, secrets=secrets, **params).meter()

    def fleet(
        self, what: str | Path, *, count: int = 1, secrets: Mapping[str, str] | None = None, **params: object
    ) -> VirtualFleetHandle:
        """The meters of a fleet file (its text, or a path that ends in `.toml` and has groups), or so many of a profile."""
        clock = FleetClock()
        text = str(what)
        if isinstance(what, Path):
            text = what.read_text(encoding="utf-8")
        if "[[group]]" in text:
            fleet = load_fleet(text, Library(), resolve_secret, clock=clock)
        else:
            fleet = Fleet([_group(what, count, secrets or {}, params)], clock=clock)
        if self._engine is None:
            self._engine = Engine()
        self._engine.run(fleet.start())
        self._fleets.append(fleet)
        return VirtualFleetHandle(self._engine, fleet)

    def close(self) -> None:
        """End them all."""
        if self._engine is not None:
            for fleet in self._fleets:
                self._engine.run(fleet.aclose())
            self._engine.close()


_GROUP_KEYS: Final = ("framing", "first_address", "port", "units", "name")
_KIND_KEYS: Final = ("load", "mean_watts", "nominal_voltage", "nominal_frequency", "history_days", "drift")


def _group(what: str | Path, count: int, secrets: Mapping[str, str], params: Mapping[str, Any]) -> Group:
    """A group of one profile; what is no key of a group is a parameter of meter URLs."""
    path = Path(what) if str(what).endswith(".toml") else None
    profile = Library([path.parent] if path is not None else ()).get(path.stem if path is not None else str(what))
    own = {key: params[key] for key in _GROUP_KEYS if key in params}
    rest = {key: str(value) for key, value in params.items() if key not in _GROUP_KEYS and key not in _KIND_KEYS}
    return Group(
        profile=profile,
        count=count,
        in_library=path is None,
        params=rest,
        kind={key: params[key] for key in _KIND_KEYS if key in params},
        secrets={name: resolve_secret(place, name) for name, place in secrets.items()},
        **own,
    )


def _kind(text: str) -> FaultKind:
    try:
        return FaultKind(text)
    except ValueError:
        raise ConfigError(
            f"there is no fault {text!r}", hint="one of " + ", ".join(kind.value for kind in FaultKind)
        ) from None


def _millis(at: datetime) -> int:
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)

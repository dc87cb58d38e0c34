"""`doctor`: looks at everything a head-end needs and explains what is wrong."""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec

import typer

from headend.cli.output import print_json
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError, HeadendError
from headend.northbound.client import broker_from_url
from headend.runtime.database import open_store
from headend.runtime.mqtt import embedded_broker
from headend.runtime.profiles import library_of
from headend.runtime.settings import Settings, settings_of
from headend.runtime.wiring import web_settings

MIN_FREE = 1 << 30
MIN_DESCRIPTORS = 4096
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `problem` is empty when all is well."""

    check: str
    said: str
    problem: str = ""


def doctor(*, config: str | None, data: str | None, as_json: bool) -> None:
    """Run the checks; exit with 2 when one of them found a problem."""
    findings = [_python(), _speed(), _descriptors(), _clock()]
    try:
        settings = settings_of(config, data)
    except HeadendError as error:
        findings.append(Finding("settings", "", str(error)))
    else:
        findings.append(Finding("settings", config or "defaults and environment"))
        checks: tuple[Callable[[Settings], Finding], ...] = (_disk, _database, _profiles, _access, _web, _broker)
        findings += [_guarded(check, settings) for check in checks]
    if as_json:
        print_json([{"check": one.check, "said": one.said, "problem": one.problem} for one in findings])
    else:
        for one in findings:
            typer.echo(f"{'!!' if one.problem else 'ok'}  {one.check}: {one.problem or one.said}")
    wrong = [one for one in findings if one.problem]
    if wrong:
        raise ConfigError(f"{len(wrong)} of {len(findings)} checks found a problem")


def _guarded(check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except HeadendError as error:
        said = f"{error} (try: {error.hint})" if error.hint else str(error)
        return Finding(check.__name__.lstrip("_"), "", said)


def _python() -> Finding:
    return Finding("python", sys.version.split()[0])


def _speed() -> Finding:
    missing = [name for name in ("uvloop", "fastcrc") if find_spec(name) is None]
    said = "uvloop and fastcrc are here" if not missing else f"slower without {', '.join(missing)}: pip install them"
    return Finding("speed", said)


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    problem = (
        "" if hard >= MIN_DESCRIPTORS else f"only {hard} open files allowed: raise `ulimit -n` for thousands of meters"
    )
    return Finding("descriptors", f"{soft} open files, at most {hard}", problem)


def _clock() -> Finding:
    now = datetime.now(UTC)
    problem = "" if now > EARLIEST else f"the clock says {now:%Y-%m-%d}: readings would get wrong times"
    return Finding("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC", problem)


def _disk(settings: Settings) -> Finding:
    folder = settings.data_folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    said = f"{folder}, {free / (1 << 30):.1f} GiB free"
    return Finding("disk", said, "" if free > MIN_FREE else f"only {free >> 20} MiB free for {folder}")


def _database(settings: Settings) -> Finding:
    with open_store(settings) as store:
        damage = store.damage()
        said = f"{store.name}, {store.meters.count()} meters"
    return Finding("database", said, f"{store.name} is damaged: {damage}" if damage else "")


def _profiles(settings: Settings) -> Finding:
    library = library_of(settings)
    protocols = {name: driver(name).name for name in driver_names()}
    return Finding("profiles", f"{len(list(library))} meter files, drivers {', '.join(protocols)}")


def _access(settings: Settings) -> Finding:
    with open_store(settings) as store:
        users = store.access.users()
    beyond = not web_settings(settings).on_loopback
    problem = "nobody can sign in: headend user add NAME --role admin" if beyond and not users else ""
    said = f"{len(users)} users" if users else "no users yet; on this machine reading needs none"
    return Finding("access", said, problem)


def _web(settings: Settings) -> Finding:
    web = web_settings(settings)
    return _listening("web", web.host, web.port)


def _broker(settings: Settings) -> Finding:
    if not settings.mqtt.enabled:
        return Finding("mqtt", "off")
    embedded = embedded_broker(settings.mqtt)
    if embedded is not None:
        return _listening("mqtt", embedded.host, embedded.port)
    host, port, _ = broker_from_url(settings.mqtt.broker)

    async def reach() -> None:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()

    try:
        asyncio.run(reach())
    except OSError as error:
        return Finding("mqtt", "", f"no broker at {host}:{port}: {error.strerror or error}")
    return Finding("mqtt", f"{host}:{port} answers")


def _listening(name: str, host: str, port: int) -> Finding:
    """Whether we could listen there, or somebody (perhaps we) does already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(name, f"{host}:{port} is in use ({error.strerror}); by a running head-end?")
    return Finding(name, f"{host}:{port} is free")

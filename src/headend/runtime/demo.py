"""The demonstration: a fleet of virtual meters in a process of its own, and the settings that read it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headend.errors import LinkClosed
from headend.model.meter import Secret
from headend.model.url import parse_url
from headend.runtime.database import known, open_store, sole_owner
from headend.runtime.gateway import DEFAULT_PORT
from headend.runtime.settings import Settings

SECRET_VARIABLE: Final = "HEADEND_DEMO_SECRET"  # noqa: S105 - the name of a variable
POLL_SECONDS: Final = 5.0
START_SECONDS: Final = 30.0

# (name, profile, share of the meters, framing, first address, port, further keys)
_GROUPS: Final = (
    ("flat-{number:05}", "generic-dlms-1p", 0.33, "wrapper", "127.10.0.1", 4059, ""),
    ("smart-{number:05}", "generic-dlms-functions", 0.05, "wrapper", "127.15.0.1", 4059, ""),
    (
        "shop-{number:05}",
        "generic-dlms-3p",
        0.19,
        "wrapper",
        "127.11.0.1",
        4059,
        f'params = {{ auth = "lls", client = "1" }}\nsecrets = {{ secret = "env:{SECRET_VARIABLE}" }}\nload = "workshop"\n',
    ),
    ("house-{number:05}", "generic-dlms-3p", 0.21, "hdlc", "127.12.0.1", 4060, ""),
    ("panel-{number:05}", "eastron-sdm630", 0.19, "tcp", "127.13.0.1", 5020, "units = [1, 2, 3]\n"),
    ("broken-{number:05}", "generic-dlms-1p", 0.0, "wrapper", "127.14.0.1", 4059, 'faults = [{ kind = "silent" }]\n'),
)


def fleet_text(meters: int) -> str:
    """The description of a fleet of so many meters; one of them is broken, as in life."""
    counts = [int(meters * share) for _, _, share, *_ in _GROUPS]
    counts[-1] = 1
    counts[0] += meters - sum(counts)
    text = "[fleet]\nseed = 20\n"
    for (name, profile, _, framing, address, port, more), count in zip(_GROUPS, counts, strict=True):
        if count > 0:
            text += (
                f'\n[[group]]\nprofile = "{profile}"\ncount = {count}\nframing = "{framing}"\nname = "{name}"\n'
                f'first_address = "{address}"\nport = {_free(port)}\n{more}'
            )
    return text


def _free(port: int) -> int:
    """The port when nobody has it on any address, else one that is free. Nobody listens here, so nobody can come in."""
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return port


def free_port(port: int) -> int:
    """For the demonstration's own listeners: the port that was asked for, or another one."""
    return _free(port) if port else 0


@dataclass(frozen=True, slots=True)
class VirtualFleet:
    """A fleet at work in a process of its own. `ended` raises LinkClosed as soon as that process ends."""

    meter_ids: Sequence[str]
    ended: asyncio.Task[None]


@asynccontextmanager
async def fleet(settings: Settings, meters: int) -> AsyncIterator[VirtualFleet]:
    """Run the fleet in a child process and enter its meters into the database.

    Raises ConfigError when the data folder cannot be had, LinkClosed when the child does not come up.
    """
    path = settings.data_folder / "fleet.toml"
    with sole_owner(settings.data_folder):
        path.write_text(fleet_text(meters), encoding="utf-8")
    secret = secrets.token_hex(4)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "headend.cli.main",
        "emulate",
        str(path),
        "--json",
        "--until-eof",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, SECRET_VARIABLE: secret},
        start_new_session=True,
    )
    try:
        lines = await _roster(child)
        await asyncio.to_thread(_enter, settings, lines, secret)
        ended = asyncio.create_task(_watch(child), name="virtual fleet")
        try:
            yield VirtualFleet([line["name"] for line in lines], ended)
        finally:
            ended.cancel()
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def _roster(child: asyncio.subprocess.Process) -> list[dict[str, str]]:
    if child.stdout is None:
        raise LinkClosed("the virtual fleet has no output")
    try:
        line = await asyncio.wait_for(child.stdout.readline(), START_SECONDS)
    except TimeoutError:
        raise LinkClosed(
            f"the virtual fleet was not ready within {START_SECONDS:g} s",
            hint="the machine is very busy: try again, or with fewer --meters",
        ) from None
    if not line:
        raise LinkClosed("the virtual fleet could not start", hint="what it said itself stands above")
    found: list[dict[str, str]] = json.loads(line)
    return found


async def _watch(child: asyncio.subprocess.Process) -> None:
    code = await child.wait()
    raise LinkClosed(f"the virtual fleet ended by itself (exit code {code})", hint="start the demonstration again")


def _enter(settings: Settings, lines: list[dict[str, str]], secret: str) -> None:
    """Meters that are new, or are reached in another way now, go into the database."""
    with open_store(settings) as store:
        for line in lines:
            url = parse_url(line["url"])
            tags = (line["name"].partition("-")[0], "demo")
            meter = url.meter(line["name"], name=line["name"], poll_seconds=POLL_SECONDS, tags=tags)
            if known(store, meter.id) != meter:
                store.meters.put(meter)
            if url.params.get("auth") == "lls":
                store.secrets.put(meter.id, "secret", Secret(secret.encode()))


def demo_settings(settings: Settings, *, data: str | None, port: int) -> Settings:
    """The settings of the demonstration: loopback only, its own folder, free ports, posted readings welcome."""
    folder = Path(data) if data else settings.data_folder / "demo"
    web = settings.web.model_copy(update={"host": "127.0.0.1", "port": free_port(port), "accept_unknown_meters": True})
    mqtt = settings.mqtt.model_copy(
        update={"embedded_host": "127.0.0.1", "embedded_port": free_port(settings.mqtt.embedded_port)}
    )
    places = (f"tcp://127.0.0.1:{free_port(DEFAULT_PORT)}",)
    gateway = settings.gateway.model_copy(update={"places": places})
    return settings.model_copy(update={"data": str(folder), "web": web, "mqtt": mqtt, "gateway": gateway})

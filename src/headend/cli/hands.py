"""The hands on a fleet that runs elsewhere on this machine."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import typer

from headend.cli.output import print_json, print_table
from headend.emulator.control import Selection
from headend.emulator.remote import RemoteControl, fault_as_json, fault_of
from headend.errors import ConfigError
from headend.runtime.fleet_process import TOKEN_VARIABLE
from headend.transport.loop import run as run_loop


def show(control: str, group: str, name: str, *, limit: int, groups: bool, as_json: bool) -> None:
    """Groups, or meters."""
    if groups:
        found = run_loop(_hands(control).groups())
        rows: list[tuple[object, ...]] = [
            (each.group, each.profile, each.meters, each.stopped, each.faulty, each.first_url) for each in found
        ]
        columns: tuple[str, ...] = ("group", "profile", "meters", "stopped", "faulty", "first")
    else:
        meters = run_loop(_hands(control).meters(Selection(group=group, name=name), limit=limit))
        rows = [
            (
                each.name,
                each.url,
                "runs" if each.running else "stopped",
                ", ".join(one.kind.value for one in each.faults),
            )
            for each in meters
        ]
        columns = ("name", "url", "state", "faults")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def break_(control: str, kind: str, group: str, name: str, *, share: float, chance: float, seconds: float) -> None:
    """Break meters."""
    fault = fault_of({"kind": kind, "meters": share, "chance": chance, "seconds": seconds})
    _say(
        _hands(control).break_(fault, Selection(group=group, name=name)), f"have it now: {fault_as_json(fault)['kind']}"
    )


def mend(control: str, kinds: list[str], group: str, name: str) -> None:
    """Mend meters."""
    wanted = [fault_of({"kind": kind}).kind for kind in kinds]
    _say(_hands(control).mend(Selection(group=group, name=name), wanted), "were mended")


def switch(control: str, group: str, name: str, *, on: bool) -> None:
    """Switch meters off or on."""
    hands, selection = _hands(control), Selection(group=group, name=name)
    _say(hands.start(selection) if on else hands.stop(selection), "were switched on" if on else "were switched off")


def reboot(control: str, group: str, name: str, *, seconds: float) -> None:
    """Reboot meters."""
    _say(_hands(control).reboot(Selection(group=group, name=name), seconds), "reboot")


def clock(control: str, *, at: str, speed: float | None) -> None:
    """Set the clock."""
    try:
        millis = round(datetime.fromisoformat(at).timestamp() * 1000) if at else None
    except ValueError:
        raise ConfigError(f"{at!r} is no time", hint="write it like 2026-10-25T00:59:00Z") from None
    state = run_loop(_hands(control).set_clock(at=millis, speed=speed))
    typer.echo(f"{datetime.fromtimestamp(state.at / 1000, UTC).isoformat(timespec='seconds')}, speed {state.speed:g}")


def _say(doing: Coroutine[Any, Any, int], what: str) -> None:
    typer.echo(f"{run_loop(doing)} meters {what}")


def _hands(control: str) -> RemoteControl:
    host, _, port = control.rpartition(":")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not host or not port.isdecimal():
        raise ConfigError(f"{control!r} is no place", hint="write it like 127.0.0.1:4999")
    if not token:
        raise ConfigError(f"{TOKEN_VARIABLE} is not set", hint="headend emulate --control says the token at its start")
    return RemoteControl(host, int(port), token)

"""`command`: one command to one meter, sent once and looked into where its answer is lost."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Final

import typer

from headend.cli.output import print_json
from headend.drivers.library import Library
from headend.errors import ConfigError, HeadendError
from headend.model.job import Command, CommandKind, Outcome, Verdict
from headend.model.reading import Value
from headend.model.url import parse_url
from headend.runtime.connect import connect
from headend.runtime.folders import library_in
from headend.runtime.secrets import resolve_secret
from headend.services.commanding.rules import CONFIRMED, READS
from headend.transport.loop import run as run_loop

_LOOKS: Final = (1.0, 5.0, 10.0)
"""seconds before each look at what became of a command whose answer was lost"""


def command(
    url: str,
    kind: str,
    params: Sequence[str],
    *,
    secret: str,
    timeout: float,
    folders: list[str] | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Carry out a command; exit code 5 when the meter refuses it, 1 when it is not known what became of it."""
    known = [each.value for each in CommandKind if each not in READS]
    if kind not in known:
        raise ConfigError(f"no command {kind!r}", hint="one of " + ", ".join(known))
    asked = Command(
        kind=CommandKind(kind),
        params=dict(map(_param, params)),
        secret=resolve_secret(secret, "secret") if secret else None,
    )
    place = parse_url(url).endpoint.wire
    if asked.kind in CONFIRMED and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"{kind} is asked for on a terminal", hint="say --yes where it is meant")
        typer.confirm(f"{kind} at {place}?", abort=True, err=True)
    outcome = run_loop(_carry_out(url, asked, timeout, library_in(folders)))
    if as_json:
        print_json({"verdict": outcome.verdict.value, "detail": outcome.detail, "observed": outcome.observed})
    else:
        seen = "" if outcome.observed is None else f" (reads {outcome.observed})"
        typer.echo(": ".join(filter(None, (outcome.verdict.value + seen, outcome.detail))))
    if outcome.verdict is not Verdict.CONFIRMED:
        raise typer.Exit(5 if outcome.verdict is Verdict.REFUSED else 1)


async def _carry_out(url: str, asked: Command, timeout: float, library: Library) -> Outcome:
    async with connect(url, timeout=timeout, library=library) as meter:
        since = time.time_ns() // 1_000_000
        outcome = await meter.session.execute(asked)
    if outcome.verdict is not Verdict.UNKNOWN:
        return outcome
    for seconds in _LOOKS:
        await asyncio.sleep(seconds)
        try:
            async with connect(url, timeout=timeout, library=library) as meter:
                found = await meter.session.verify(asked, since)
        except HeadendError:
            continue
        last = seconds == _LOOKS[-1]
        if found.verdict is Verdict.CONFIRMED or (found.verdict is Verdict.REFUSED and last):
            return found
    return outcome


def _param(text: str) -> tuple[str, Value]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"expected NAME=VALUE, got {text!r}")
    return name, value if name in ("ref", "name") else _value(value)


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text:  # else it is a text of digits, such as 00042
            return number
    return text

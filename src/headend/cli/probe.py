"""`probe`: which objects of a long list a meter answers, and a draft of its meter file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import typer

from headend.cli.output import print_json, print_table, progress
from headend.drivers.base import Session
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import ConfigError, HeadendError
from headend.model.meter import MeterIdentity
from headend.model.objects import ObjectEntry
from headend.model.url import SCHEMES, format_url, parse_url
from headend.runtime.connect import connect
from headend.runtime.folders import library_in
from headend.services.discovery.drafting import draft
from headend.services.discovery.probing import Answer, Probe, ProbeLimits, ProbeReport
from headend.transport.loop import run as run_loop


def probe(
    url: str,
    ranges: list[str],
    *,
    rate: float,
    per_session: int,
    state: str,
    output: str,
    timeout: float,
    folders: list[str] | None,
    as_json: bool,
) -> None:
    """Ask for every candidate, politely; go on where an earlier run stopped."""
    library = library_in(folders)
    parsed = parse_url(url)
    where = format_url(parsed.meter("probed"))
    candidates = _candidates(parsed.protocol, ranges, library)
    notes = _Notes(Path(state) if state else None, where)
    known = notes.read()
    limits = ProbeLimits(rate=rate, per_session=per_session)
    with progress("objects", len(candidates)) as done:
        done(sum(str(entry.ref) in known for entry in candidates))

        def note(answer: Answer) -> None:
            done(1)
            notes.add(answer)

        report, identity = run_loop(_run(url, timeout, library, candidates, note, limits, known))
    if output:
        path_params = {path for *_, path in SCHEMES.values()}
        params = {name: value for name, value in parsed.params.items() if name not in path_params}
        text = draft(parsed.protocol, identity, params, candidates, report.found, source=f"probe of {where}")
        _write(Path(output), text)
    _print(report, as_json=as_json)
    if report.stopped:
        raise HeadendError(
            f"the probe ended early: {report.stopped}", hint="run it again with the same --state" if state else ""
        )


async def _run(
    url: str,
    timeout: float,
    library: Library,
    candidates: Sequence[ObjectEntry],
    note: Callable[[Answer], None],
    limits: ProbeLimits,
    known: dict[str, Answer],
) -> tuple[ProbeReport, MeterIdentity]:
    identity = MeterIdentity()

    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        async with connect(url, timeout=timeout, library=library) as meter:
            yield meter.session

    async with session() as first:
        with suppress(HeadendError):
            identity = await first.identify()
    report = await Probe(session, sleep=asyncio.sleep, note=note, limits=limits, known=known).run(candidates)
    return report, identity


def _candidates(protocol: str, ranges: list[str], library: Library) -> list[ObjectEntry]:
    """What to ask for, each once: the ranges, else the curated list and the objects of all meter files of the protocol."""
    the_driver = driver(protocol)
    found: dict[str, ObjectEntry] = {}
    for text in ranges or [""]:
        for entry in the_driver.candidates(text):
            found.setdefault(str(entry.ref), entry)
    for profile in () if ranges else library:
        if profile.protocol == protocol:
            for entry in profile.objects:
                found.setdefault(str(entry.ref), entry)
    return list(found.values())


class _Notes:
    """What was answered, one JSON object a line, behind a line that says whom it was asked of."""

    def __init__(self, path: Path | None, where: str) -> None:
        self._path = path
        self._where = where

    def read(self) -> dict[str, Answer]:
        """Answers of an earlier run; raises ConfigError for the notes of another meter."""
        if self._path is None or not self._path.exists():
            if self._path is not None:
                _write(self._path, json.dumps({"meter": self._where}) + "\n")
            return {}
        try:
            text = self._path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:  # the last line was being written when the program was killed
                _write(self._path, whole)
            head, *lines = map(json.loads, whole.splitlines())
            if head["meter"] != self._where:
                raise ConfigError(f"{self._path} is of {head['meter']}, not of {self._where}")
            return {line["ref"]: Answer(**line) for line in lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self._path} holds no notes of a probe: {error}") from error

    def add(self, answer: Answer) -> None:
        """One answer more."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(answer)) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _print(report: ProbeReport, *, as_json: bool) -> None:
    if as_json:
        document = dataclasses.asdict(report)
        print_json({**document, "answers": list(document["answers"].values())})
        return
    print_table(("object", "value", "unit"), [(one.ref, one.value, one.unit) for one in report.found])
    typer.echo(
        f"{len(report.found)} of {len(report.answers)} objects answered; "
        f"{report.asked} requests in {report.sessions} sessions",
        err=True,
    )

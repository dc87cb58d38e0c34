"""`profile draft`, `diff`, `test`, `promote`, `export`, `import`: of files, and of what the head-end keeps."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from headend.cli.output import print_json, print_table
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.errors import ConfigError, Conflict, HeadendError
from headend.model.profile import MeterProfile, ProfileState, ProfileTest
from headend.model.url import format_url, parse_url
from headend.runtime.connect import connect
from headend.runtime.database import open_store
from headend.runtime.profiles import kept_in, library_of, make_profiles
from headend.runtime.rehearsal import Mismatch, rehearse
from headend.runtime.settings import settings_of
from headend.services.profiles.comparing import difference, nearest
from headend.services.profiles.exchange import to_csv, to_line
from headend.services.profiles.profiles import Profiles
from headend.services.profiles.recording import drafted, survey
from headend.services.profiles.results import ImportResult
from headend.services.profiles.texts import raised
from headend.services.profiles.transcribing import Tape, transcribe
from headend.services.profiles.trying import ProfileTrial, try_profile
from headend.storage.store import wall_millis
from headend.transport.loop import run as run_loop

_SCHEME: Final = "://"


def draft(
    where: str,
    *,
    output: str,
    keep: str,
    timeout: float,
    folders: list[str] | None,
    config: str | None,
    data: str | None,
) -> None:
    """A draft, of a meter or of a device."""
    if _SCHEME in where:
        text = run_loop(_draft(where, timeout, _library(folders, config, data)))
    else:
        with open_store(settings_of(config, data)) as store:
            papers = store.devices.papers(where)
        text = papers.draft
        if not text:
            raise ConfigError(
                f"there is no draft of the device {where!r}: {papers.examination.stopped or 'it showed nothing'}"
            )
    if keep:
        with _kept(config, data) as profiles:
            profiles.create(keep, text, actor=_shell())
        typer.echo(f"kept as {keep}", err=True)
    if output or not keep:
        _write(output, text)


async def _draft(url: str, timeout: float, library: Library) -> str:
    async with connect(url, timeout=timeout, library=library) as meter:
        found = await survey(meter.meter, meter.profile, meter.session, driver(meter.meter.protocol))
    return drafted(found, f"read at {format_url(parse_url(url).meter('m'))}, {_day()}")


def diff(
    one: str, other: str, *, folders: list[str] | None, config: str | None, data: str | None, as_json: bool
) -> None:
    """What differs."""
    library = _library(folders, config, data)
    profile = _profile(library, one)
    base = _profile(library, other) if other else nearest(profile, library)
    if base is None:
        raise ConfigError(f"the library has nothing like {one}")
    changes = difference(base, profile)
    if as_json:
        rows = [{**asdict(each), "kind": each.kind.value} for each in changes]
        print_json({"base": base.id, "changes": rows})
        return
    typer.echo(f"{one} as compared with {base.id}: {len(changes)} differences", err=True)
    print_table(
        ("what", "table", "of", "key", "before", "after"),
        [(each.kind.value, each.table, each.what, each.key, each.before, each.after) for each in changes],
    )


def test(
    what: str,
    url: str,
    *,
    timeout: float,
    folders: list[str] | None,
    config: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """A profile on a meter; exit code 1 when something is odd."""
    library = _library(folders, config, data)
    trial, _ = run_loop(_try(_profile(library, what), url, timeout, library, verify=False))
    _show_trial(trial, as_json=as_json)
    if not trial.well:
        raise typer.Exit(1)


def promote(
    what: str, url: str, *, timeout: float, folders: list[str] | None, config: str | None, data: str | None
) -> None:
    """One step up, in the file or in the library of the head-end."""
    library = _library(folders, config, data)
    profile = _profile(library, what)
    if profile.state is ProfileState.FIELD_VERIFIED:
        raise Conflict(f"{what} is field verified already")
    tests: Sequence[ProfileTest] = ()
    if profile.state is ProfileState.DRAFT:
        mismatches = run_loop(_rehearse(profile))
        for each in mismatches:
            typer.echo(f"{each.ref}: the virtual meter holds {each.expected}, read was {each.got}", err=True)
        if mismatches:
            raise HeadendError(f"{what} stays a DRAFT: {len(mismatches)} objects do not read back")
        state = ProfileState.EMULATED
    else:
        if not url:
            raise ConfigError("a real meter verifies an EMULATED profile", hint="name its URL")
        trial, tests = run_loop(_try(profile, url, timeout, library, verify=True))
        if trial.stopped or not tests:
            _show_trial(trial, as_json=False)
            raise HeadendError(
                f"{what} stays EMULATED: {trial.stopped or 'no exchange with the meter proves anything'}"
            )
        state = ProfileState.FIELD_VERIFIED
    if _is_file(what):
        text = raised(_read(what), state, tests)
        load_profile(text, Path(what).stem, what)
        _write(what, text)
    else:
        with _kept(config, data) as profiles:
            profiles.raise_to(profile, state, tests, actor=_shell())
    typer.echo(f"{what} is {state.value}" + (f" by {len(tests)} exchanges" if tests else ""))


async def _rehearse(profile: MeterProfile) -> Sequence[Mismatch]:
    return await rehearse(profile, wall_millis)


def export(
    ids: list[str],
    *,
    form: str,
    output: str,
    folders: list[str] | None,
    config: str | None,
    data: str | None,
    everything: bool,
) -> None:
    """JSON by lines, or the CSV of one."""
    library = _library(folders, config, data)
    if everything is bool(ids):
        raise ConfigError("name profiles, or --all")
    if form == "csv":
        if len(ids) != 1:
            raise ConfigError("a CSV is the object map of one profile")
        _write(output, to_csv(library.get(ids[0])))
    elif form == "json":
        chosen = library.ids() if everything else ids
        _write(output, "".join(to_line(library.get(each)).decode() for each in chosen))
    else:
        raise ConfigError(f"no format {form!r}", hint="json or csv")


def take_in(
    file: str,
    *,
    profile_id: str,
    vendor: str,
    model: str,
    config: str | None,
    data: str | None,
    change: bool,
    as_json: bool,
) -> None:
    """Profiles from a file, with what became of each; exit code 1 when one was refused."""
    text = sys.stdin.read() if file == "-" else _read(file)
    with _kept(config, data) as profiles:
        if file.endswith((".csv", ".toml")):
            name = profile_id or Path(file).stem
            if file.endswith(".csv"):
                made = profiles.take_in_csv(text, name, vendor=vendor, model=model, actor=_shell())
            elif change and name in profiles.library.ids():
                made = profiles.update(name, text, actor=_shell())
            else:
                made = profiles.create(name, text, actor=_shell())
            results = [ImportResult(place=file, id=name, outcome="created", revision=made.number)]
        else:
            results = list(profiles.take_in(text.encode(), actor=_shell(), change=change))
    if as_json:
        print_json([asdict(each) for each in results])
    else:
        columns = ("where", "id", "outcome", "revision", "error")
        print_table(columns, [(each.place, each.id, each.outcome, each.revision, each.error) for each in results])
    if any(each.outcome == "refused" for each in results):
        raise typer.Exit(1)


# --- shared ---


async def _try(
    profile: MeterProfile, url: str, timeout: float, library: Library, *, verify: bool
) -> tuple[ProfileTrial, Sequence[ProfileTest]]:
    parsed = parse_url(url)
    if parsed.protocol != profile.protocol:
        raise ConfigError(f"the profile is for {profile.protocol}; the URL speaks {parsed.protocol}")
    if verify and set(parsed.secrets) - {"secret"}:
        raise ConfigError("what the meter says is ciphered: exchanges with it prove nothing to others")
    tape = Tape()
    time = asyncio.get_running_loop().time
    async with connect(url, timeout=timeout, library=library, tap=tape) as meter:
        trial = await try_profile(profile, meter.session, time)
        if not verify or trial.stopped:
            return trial, ()
        return trial, await transcribe(profile, meter.session, tape, parsed.framing, _day())


def _show_trial(trial: ProfileTrial, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(trial), "answered": trial.answered, "well": trial.well})
        return
    rows = [(each.ref, each.quantity, each.value, each.unit, each.error, each.remark) for each in trial.objects]
    print_table(("object", "quantity", "value", "unit", "error", "remark"), rows)
    for plan in trial.plans:
        typer.echo(f"{plan.name}: {plan.objects} objects in {plan.seconds:.3f} s", err=True)
    typer.echo(f"{trial.answered} of {len(trial.objects)} objects answered {trial.stopped}".rstrip(), err=True)


def _library(folders: list[str] | None, config: str | None, data: str | None) -> Library:
    """Built-in, the user's and the kept profiles."""
    if folders:
        return Library([Path(folder) for folder in folders], kept=kept_in(settings_of(config, data).data_folder))
    return library_of(settings_of(config, data))


def _profile(library: Library, what: str) -> MeterProfile:
    return load_profile(_read(what), Path(what).stem, what) if _is_file(what) else library.get(what)


def _is_file(what: str) -> bool:
    return what.endswith(".toml") or "/" in what


@contextmanager
def _kept(config: str | None, data: str | None) -> Iterator[Profiles]:
    """The profiles that the head-end keeps, running or not, with its audit trail."""
    settings = settings_of(config, data)
    with open_store(settings) as store:
        yield make_profiles(settings, library_of(settings), store)


def _shell() -> str:
    return f"shell:{getpass.getuser()}"


def _day() -> str:
    return datetime.now(UTC).date().isoformat()


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name}: {error}") from error


def _write(name: str, text: str) -> None:
    if not name:
        sys.stdout.write(text)
        return
    try:
        with Path(name).open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write {name}: {error.strerror}") from error

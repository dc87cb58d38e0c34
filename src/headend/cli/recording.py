"""`record`: a meter as a meter file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer

from headend.drivers.base import Sniffed
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver, driver_names
from headend.emulator.replay import exchanges
from headend.errors import ConfigError
from headend.runtime.connect import connect
from headend.runtime.folders import library_in
from headend.services.profiles.recording import from_overheard, recorded, survey
from headend.transport.loop import run as run_loop


def record(
    what: str, *, output: str, timeout: float, folders: list[str] | None, profile_id: str, waveforms: bool
) -> None:
    """Ask a meter for everything, and write it down."""
    library = library_in(folders)
    if what.endswith((".pcap", ".pcapng")):
        text = _of_capture(Path(what), profile_id, library, waveforms=waveforms)
    else:
        text = run_loop(_record(what, timeout, library, waveforms=waveforms))
    profile = load_profile(text, Path(output).stem, output)
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    typer.echo(f"{output}: {profile.vendor} {profile.model}, {len(profile.objects)} objects")
    typer.echo(f"  headend emulate {output} --count 10", err=True)


async def _record(url: str, timeout: float, library: Library, *, waveforms: bool) -> str:
    async with connect(url, timeout=timeout, library=library) as meter:
        found = await survey(meter.meter, meter.profile, meter.session, driver(meter.meter.protocol))
    if not found.entries:
        raise ConfigError(
            "the meter has no list of its objects",
            hint="name a profile of its objects: ?profile=ID (headend profile list)",
        )
    return recorded(found, f"recorded from a meter, {_day()}", waveforms=waveforms)


def _of_capture(path: Path, profile_id: str, library: Library, *, waveforms: bool) -> str:
    """Of the meter that answers first in a capture."""
    try:
        exchanged = [(each.request, each.answer) for each in exchanges(path.read_bytes())]
    except OSError as error:
        raise ConfigError(f"cannot read the capture {path}: {error.strerror}") from error
    profile = library.get(profile_id) if profile_id else None
    first = next((request for request, _ in exchanged if request), b"")
    names = [profile.protocol] if profile else [each for each in driver_names() if _begins(each, first)]
    if not names:
        raise ConfigError(f"nobody knows the protocol in {path.name}", hint="name a profile of the meter: --profile ID")
    heard = driver(names[0]).overhear(exchanged, profile)
    if not heard.seen:
        raise ConfigError(
            f"{path.name} holds no value that was read in plain", hint="capture while all of the meter is read"
        )
    source = f"recorded from a capture, {_day()}"
    return recorded(from_overheard(heard, names[0], profile), source, waveforms=waveforms)


def _begins(name: str, octets: bytes) -> bool:
    return isinstance(driver(name).sniff(octets, 0), Sniffed)


def _day() -> str:
    return datetime.now(UTC).date().isoformat()

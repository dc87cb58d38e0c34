"""`record`: a meter as a meter file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer

from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.errors import ConfigError
from headend.runtime.connect import connect
from headend.runtime.folders import library_in
from headend.services.profiles.recording import recorded, survey
from headend.transport.loop import run as run_loop


def record(what: str, *, output: str, timeout: float, folders: list[str] | None, waveforms: bool) -> None:
    """Ask a meter for everything, and write it down."""
    library = library_in(folders)
    text = run_loop(_record(what, timeout, library, waveforms=waveforms))
    profile = load_profile(text, Path(output).stem, output)
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    typer.echo(f"{output}: {profile.vendor} {profile.model}, {len(profile.objects)} objects")
    typer.echo(f"  headend emulate {output} --count 10", err=True)


async def _record(url: str, timeout: float, library: Library, *, waveforms: bool) -> str:
    day = datetime.now(UTC).date().isoformat()
    async with connect(url, timeout=timeout, library=library) as meter:
        found = await survey(meter.meter, meter.profile, meter.session, driver(meter.meter.protocol))
    if not found.entries:
        raise ConfigError(
            "the meter has no list of its objects",
            hint="name a profile of its objects: ?profile=ID (headend profile list)",
        )
    return recorded(found, f"recorded from a meter, {day}", waveforms=waveforms)

"""`scan`, `identify`, `devices` and `adopt`: discovery without a head-end around it, over a database of its own or a kept one."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import typer

from headend.cli.output import print_json, print_table, progress
from headend.drivers.library import Library
from headend.errors import ConfigError, LinkError
from headend.model.device import Device, DeviceQuery, DeviceState, Papers
from headend.model.discovery import Evidence, PortState
from headend.model.scan import ScanJob, ScanRequest, ScanState
from headend.model.url import parse_url
from headend.runtime.database import open_store, sole_owner
from headend.runtime.discovery import standing_alone
from headend.runtime.profiles import library_of
from headend.runtime.secrets import resolve_secrets
from headend.runtime.settings import DiscoverySettings, Settings, StorageSettings, settings_of
from headend.services.discovery.adopting import Adoption
from headend.services.discovery.discoverer import Discoverer
from headend.services.discovery.identity_page import identity_page
from headend.transport.loop import run as run_loop

PAGE: Final = 1000
_LOOK_SECONDS: Final = 0.2
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_COLUMNS: Final = ("device", "url", "vendor", "model", "serial", "confidence", "profile", "state", "note")


def scan(
    targets: list[str],
    *,
    exclude: Sequence[str],
    config: str | None,
    data: str | None,
    reason: str,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - fields of ScanRequest
) -> None:
    """Scan, and print what was found; exit code 1 when the scan failed."""
    request = ScanRequest(targets=_texts(targets), exclude=_texts(exclude), **options)
    settings = settings_of(config, data)

    async def work() -> None:
        async with _discoverer(settings, library_of(settings), kept=bool(config or data)) as discoverer:
            job = await discoverer.start(request, actor=_shell(), reason=reason)
            job = await _finished(discoverer, job)
            await _print_scan(discoverer, job, as_json=as_json)
            if job.state is ScanState.FAILED:
                raise ConfigError(f"the scan failed: {job.error}")
            if job.error:
                typer.echo(job.error, err=True)

    run_loop(work())


def identify(place: str, *, timeout: float, folders: list[str] | None, exhaustive: bool, as_json: bool) -> None:
    """Examine one place; prints each meter that was found there."""
    bare, separator, query = place.partition("?")
    url = "://" in bare
    secrets = resolve_secrets(parse_url(place).secrets) if url and separator else {}
    target = place if url or bare.startswith("serial:") else f"tcp://{place}"
    if secrets:
        kept = [each for each in query.split("&") if each.partition("=")[0] not in secrets]
        target = f"{bare}?{'&'.join(kept)}"
    discovery = DiscoverySettings(networks=_EVERYWHERE, timeout=timeout)
    settings = settings_of(None, None).model_copy(update={"discovery": discovery})
    library = Library([Path(folder) for folder in folders or []])

    async def work() -> None:
        async with _discoverer(settings, library, kept=False, jobs=False) as discoverer:
            seen = await discoverer.examine(target, actor=_shell(), secrets=secrets, exhaustive=exhaustive)
            if not seen.devices:
                if as_json:
                    steps = [{**dataclasses.asdict(each), **_octets(each)} for each in seen.evidence]
                    print_json({"nothing": seen.nothing, "evidence": steps})
                raise LinkError(seen.nothing, hint="" if exhaustive else "--exhaustive tries every probe")
            found = [(each.device, await discoverer.papers(each.device.id)) for each in seen.devices]
            if as_json:
                documents = [_document(device, papers) for device, papers in found]
                print_json(documents[0] if url else documents)
                return
            for device, papers in found:
                _print_identity(device, papers)

    run_loop(work())


def list_devices(
    *,
    state: str,
    vendor: str | None,
    scan_id: str,
    search: str,
    config: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Print the devices that are kept."""
    states = [each.value for each in DeviceState]
    if state and state not in states:
        raise ConfigError(f"no state {state!r} of devices", hint="one of " + ", ".join(states))
    query = DeviceQuery(
        state=DeviceState(state) if state else None, vendor=vendor, scan=scan_id or None, search=search, limit=PAGE
    )
    found: list[Device] = []
    with open_store(settings_of(config, data)) as store:
        while True:
            page = store.devices.list(query)
            found += page.items
            if page.next is None:
                break
            query = dataclasses.replace(query, after=page.next)
    _print_devices(found, as_json=as_json)


def adopt(
    ids: Sequence[str],
    *,
    name: str,
    tags: Sequence[str],
    poll: float,
    profile: str,
    config: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Make meters of devices; exit code 1 when one of them could not be."""
    settings = settings_of(config, data)
    adoption = Adoption(name=name, tags=tuple(tags), poll_seconds=poll, profile_id=profile)

    async def work() -> None:
        async with _discoverer(settings, library_of(settings), kept=True, jobs=False) as discoverer:
            wanted = list(ids)
            if not wanted:
                page = await discoverer.devices(DeviceQuery(state=DeviceState.NEW, limit=1_000_000))
                wanted = [device.id for device in page.items]
            done = await discoverer.adopt(wanted, adoption, actor=_shell())
            if as_json:
                print_json([dataclasses.asdict(each) for each in done])
            else:
                rows = [
                    (each.device_id, each.meter_id, each.error or ("new" if each.new else "known")) for each in done
                ]
                print_table(("device", "meter", "what became of it"), rows)
            if any(each.error for each in done):
                raise typer.Exit(1)

    run_loop(work())


@asynccontextmanager
async def _discoverer(
    settings: Settings, library: Library, *, kept: bool, jobs: bool = True
) -> AsyncIterator[Discoverer]:
    """Discovery over the database that is kept, or over one that is forgotten afterwards."""
    with _settings(settings, kept=kept) as used, open_store(used) as store:
        store.claim()
        async with standing_alone(used, store, library, jobs=jobs) as (discoverer, _):
            yield discoverer


@contextmanager
def _settings(settings: Settings, *, kept: bool) -> Iterator[Settings]:
    """Settings with the database to use. Raises ConfigError where a head-end works on the one that is kept."""
    if kept:
        with sole_owner(settings.data_folder):
            yield settings
        return
    with tempfile.TemporaryDirectory(prefix="headend-") as folder:
        storage = StorageSettings(url=str(Path(folder) / "scan.db"), vault_key=str(Path(folder) / "vault.key"))
        yield settings.model_copy(update={"storage": storage})


async def _finished(discoverer: Discoverer, job: ScanJob) -> ScanJob:
    """The job when it has ended; meanwhile how far it is, on a terminal."""
    with progress("targets and places", None) as done:
        shown = 0
        while not job.ended:
            await asyncio.sleep(_LOOK_SECONDS)
            job = await discoverer.job(job.id)
            now = job.progress.done + job.progress.examined
            done(now - shown)
            shown = now
    return job


async def _print_scan(discoverer: Discoverer, job: ScanJob, *, as_json: bool) -> None:
    found: list[Device] = []
    query = DeviceQuery(scan=job.id, limit=PAGE)
    while True:
        page = await discoverer.devices(query)
        found += page.items
        if page.next is None:
            break
        query = dataclasses.replace(query, after=page.next)
    report = await discoverer.report(job.id)
    if as_json:
        networks = [
            {**dataclasses.asdict(each), "states": {state.value: n for state, n in each.states.items()}}
            for each in report.networks
        ]
        print_json(
            {
                "scan": job.id,
                "state": job.state.value,
                "targets": job.progress.targets,
                "done": job.progress.done,
                "states": {state.value: count for state, count in job.progress.states.items()},
                "examined": job.progress.examined,
                "skipped": job.progress.skipped,
                "networks": networks,
                "nobody": report.nobody,
                "devices": [_line(device) for device in found],
            }
        )
        return
    _print_devices(found, as_json=False)
    states = ", ".join(f"{count} {state.value}" for state, count in job.progress.states.items() if count)
    typer.echo(f"{job.progress.done} targets: {states or 'no answers'}; {len(found)} devices", err=True)
    for why, count in report.nobody.items():
        typer.echo(f"{count} times: {why}", err=True)
    if not job.request.examine:
        hits = await discoverer.hits(job.id, limit=1_000_000)
        print_table(("open", "banner"), [(f"{hit.host}:{hit.port}", hit.banner.hex()) for hit in hits])
    if limited := job.progress.states.get(PortState.LIMITED, 0):
        typer.echo(f"{limited} targets were not tried for want of descriptors or ports here", err=True)


def _print_devices(found: Sequence[Device], *, as_json: bool) -> None:
    if as_json:
        print_json([_line(device) for device in found])
        return
    rows = [
        (
            device.id,
            device.url,
            device.vendor or "unknown",
            device.model,
            device.serial,
            f"{device.confidence:.0%}",
            device.profile_id,
            device.meter_id or device.state.value,
            device.stopped,
        )
        for device in found
    ]
    print_table(_COLUMNS, rows)


def _line(device: Device) -> dict[str, Any]:
    return {**dataclasses.asdict(device), "state": device.state.value}


def _document(device: Device, papers: Papers) -> dict[str, Any]:
    """All that is known of one meter, with the evidence."""
    examination, classification = papers.examination, papers.classification
    return {
        **dataclasses.asdict(examination.identity),
        "url": device.url,
        "stopped": examination.stopped or None,
        "classification": dataclasses.asdict(classification),
        "values": dict(examination.values),
        **identity_page(examination, fingerprint=papers.fingerprint),
    }


def _print_identity(device: Device, papers: Papers) -> None:
    """Tables: who it is, what it is taken for, its facts, and who may associate with it."""
    identity = dataclasses.asdict(papers.examination.identity)
    judged = papers.classification
    rows = [(name.replace("_", " "), value or "-") for name, value in identity.items()]
    rows += [
        ("url", device.url),
        ("taken for", f"{judged.vendor or 'unknown'} {judged.model} ({judged.confidence:.0%})".replace("  ", " ")),
        *(("because", reason.text) for reason in judged.reasons),
        *(("against", reason.text) for reason in judged.against),
        ("profile", judged.profile_id or "-"),
        ("objects", str(len(papers.examination.objects))),
        *(("ended early", why) for why in (papers.examination.stopped,) if why),
    ]
    rows += [(name, value) for name, value in papers.fingerprint.facts.items()]
    print_table(("what", "value"), rows)
    if papers.examination.trials:
        print_table(
            ("client", "server", "context", "mechanism", "outcome", "diagnostic"),
            [
                (
                    each.client,
                    each.server,
                    each.context,
                    each.mechanism,
                    each.outcome.value,
                    each.diagnostic or each.result,
                )
                for each in papers.examination.trials
            ],
        )


def _octets(step: Evidence) -> dict[str, str]:
    return {"sent": step.sent.hex(), "received": step.received.hex()}


def _texts(given: Sequence[str]) -> str:
    """Entries of a command line, and of files that it names."""
    lines = []
    for each in given:
        if not each.startswith("@"):
            lines.append(each)
            continue
        try:
            lines.append(Path(each[1:]).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {each[1:]}: {error}") from error
    return "\n".join(lines)


def _shell() -> str:
    return f"shell:{getpass.getuser()}"

"""Discovery of virtual meters of mixed kinds: scanned, identified, examined, fingerprinted, classified, drafted and stored.

The fleet is a process on one core, discovery one on the other; what is found in the database is counted by the end.

    python -m bench.discovery scan COUNT PORT=TARGETS...
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bench.common import Result, Settings, client, module, server
from headend.drivers.library import Library
from headend.model.device import DeviceQuery
from headend.model.scan import ScanRequest
from headend.runtime.database import open_store
from headend.runtime.demo import free_port
from headend.runtime.discovery import standing_alone
from headend.runtime.settings import DiscoverySettings
from headend.runtime.settings import Settings as HeadendSettings
from headend.services.discovery.identifying import Identified
from headend.transport.loop import run as run_loop

METERS: Final = 10_000
LIMIT_SECONDS: Final = 600.0
WORST_SECONDS: Final = 60.0
KINDS: Final = (
    ("generic-dlms-1p", "wrapper", 4059),
    ("generic-dlms-3p", "wrapper", 4059),
    ("generic-dlms-3p", "hdlc", 4060),
    ("generic-dlms-functions", "wrapper", 4059),
    ("eastron-sdm630", "tcp", 502),
    ("carlogavazzi-em24-e1", "tcp", 502),
    ("siemens-pac3200", "tcp", 502),
    ("abb-b23", "rtu", 4196),
    ("generic-dlt645-3p", "tcp", 8899),
    ("generic-dlt645-1p", "tcp", 8899),
)
"""(meter file, framing, port)"""


def fleet_text(meters: int, ports: dict[int, int]) -> str:
    """A fleet of so many meters, as many of each kind."""
    text = "[fleet]\nseed = 7\n"
    for number, (profile, framing, port) in enumerate(KINDS):
        text += (
            f'\n[[group]]\nprofile = "{profile}"\nframing = "{framing}"\ncount = {meters // len(KINDS)}\n'
            f'first_address = "127.{40 + number}.0.1"\nport = {ports[port]}\n'
        )
    return text


async def _scan(meters: int, networks: list[str]) -> dict[str, Any]:
    """A job for each port, since a virtual fleet takes connections to any address on each of its ports."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = DiscoverySettings(rate=20_000, network_rate=20_000, listen_milliseconds=500)
        settings = HeadendSettings(data=folder, discovery=wanted)
        with open_store(settings) as store:
            async with standing_alone(settings, store, Library()) as (discoverer, _):
                _watch(discoverer, taken)
                began, used = time.monotonic(), time.process_time()
                jobs = [
                    await discoverer.start(ScanRequest(targets=targets, ports=port), actor="bench")
                    for port, _, targets in (each.partition("=") for each in networks)
                ]
                for job in jobs:
                    while not (await discoverer.job(job.id)).ended:  # noqa: ASYNC110 - as those who watch it do
                        await asyncio.sleep(0.2)
                seconds, cpu = time.monotonic() - began, time.process_time() - used
                page = await discoverer.devices(DeviceQuery(limit=meters * 3))
            size = _size(Path(store.name))
    taken.sort()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "devices": page.total,
        "stopped": Counter(device.stopped for device in page.items if device.stopped).most_common(5),
        "models": Counter(f"{d.protocol}+{d.framing} {d.vendor} {d.model} {d.profile_id}" for d in page.items),
        "p50": taken[len(taken) // 2],
        "p99": taken[len(taken) * 99 // 100],
        "max": taken[-1],
        "octets": size / max(page.total, 1),
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _size(database: Path) -> int:
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))


def _watch(discoverer: Any, taken: list[float]) -> None:
    """Note how long each place takes."""
    looker = discoverer._looker
    look = looker.look

    async def timed(*arguments: Any, **more: Any) -> Identified:
        began = time.monotonic()
        try:
            found: Identified = await look(*arguments, **more)
            return found
        finally:
            taken.append(time.monotonic() - began)

    looker.look = timed


def run(settings: Settings) -> list[Result]:
    """All of it once; as many meters as there is time for."""
    meters = METERS if settings.seconds >= 1 else METERS // 20
    ports = {port: free_port(port) for _, _, port in KINDS}
    each = meters // len(KINDS)
    networks: dict[int, list[str]] = {}
    for number, (_, _, port) in enumerate(KINDS):
        first = f"127.{40 + number}"
        networks.setdefault(ports[port], []).append(f"{first}.0.1-{first}.{each // 256}.{each % 256}")
    wanted = [f"{port}={','.join(targets)}" for port, targets in networks.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.toml"
        path.write_text(fleet_text(meters, ports), encoding="utf-8")
        with server(module("headend.cli.main", "emulate", path, "--json", "--until-eof")):
            found = client(module("bench.discovery", "scan", meters, *wanted))
    what = f"{meters:,} virtual meters of {len(KINDS)} kinds"
    share = meters / METERS
    return [
        Result(
            benchmark="discovery", what=f"{what}: found and stored", figure=found["devices"], unit="", target=meters
        ),
        Result(
            benchmark="discovery",
            what=f"{what}: from the start to the last one stored",
            figure=found["seconds"],
            unit="s",
            target=LIMIT_SECONDS * share,
            at_most=True,
            note=f"{found['cpu']:.0f} s of one core; {found['octets'] / 1024:.1f} KiB a meter in the database",
        ),
        Result(
            benchmark="discovery",
            what="one meter, the slowest",
            figure=found["max"],
            unit="s",
            target=WORST_SECONDS,
            at_most=True,
            note=f"median {found['p50']:.2f} s, 99 % within {found['p99']:.2f} s, of 200 at once",
        ),
    ]


if __name__ == "__main__":
    _, count, *asked = sys.argv[1:]
    sys.stdout.write(json.dumps(run_loop(_scan(int(count), asked))) + "\n")

"""`python -m soak [SCENARIO]`: figures to standard output and into soak/results; ends with 1 where something is not as expected."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from soak import failures, together
from soak.dialling_in import Figures, Ports, run

RESULTS = Path(__file__).parent / "results"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def dialling_in(folder: Path, options: argparse.Namespace) -> Figures:
    ports = Ports(gate=free_port(), web=free_port(), mqtt=free_port())
    return await run(folder, ports, options.meters, options.minutes, embedded=options.embedded)


async def everything(folder: Path, options: argparse.Namespace) -> Figures:
    os.environ.setdefault("SOAK_PASSWORD", "12345678")
    ports = together.Everything(
        gate=free_port(), web=free_port(), mqtt=free_port(), gateway=free_port(), dlms=free_port()
    )
    return await together.run(folder, ports, options.minutes)


async def failing(folder: Path, options: argparse.Namespace) -> Figures:
    return await asyncio.to_thread(failures.run, folder, failures.FAILURES[options.scenario])


SCENARIOS = {**dict.fromkeys(failures.FAILURES, failing), "dialling-in": dialling_in, "together": everything}


def soak(options: argparse.Namespace) -> bool:
    """Run one scenario; True when all was as expected."""
    print(f"== {options.scenario}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headend-soak-") as folder:
        figures = asyncio.run(SCENARIOS[options.scenario](Path(folder), options))
    for fault in figures.faults:
        print(f"NOT AS EXPECTED  {fault}", flush=True)
    if options.keep:
        RESULTS.mkdir(exist_ok=True)
        document = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "figures": figures.values,
            "not as expected": figures.faults,
        }
        name = "embedded" if options.embedded else options.scenario
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        (RESULTS / "README.md").write_text(table())
    return not figures.faults


def table() -> str:
    """All figures that are kept, to be read by people."""
    lines = [
        "# Long runs",
        "",
        "Written by `make soak`, from the files beside it; what is run: `docs/reference/benchmarks.md`.",
    ]
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text())
        lines += [
            "",
            f"## {path.stem}",
            "",
            f"{document['at']}, {document['machine']}",
            "",
            "| figure | |",
            "| --- | --- |",
        ]
        lines += [f"| {name} | {value} |" for name, value in document["figures"].items()]
        lines += [f"\n**Not as expected:** {fault}" for fault in document["not as expected"]]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak")
    parser.add_argument("scenario", nargs="?", choices=SCENARIOS, help="without one, all of them one after the other")
    parser.add_argument("--meters", type=int, default=10_000, help="that dial in")
    parser.add_argument("--minutes", type=float, default=5.0, help="of quiet polling")
    parser.add_argument("--keep", action="store_true", help="write the figures into soak/results")
    parser.add_argument("--embedded", action="store_true", help="with the embedded broker, and without the trouble")
    options = parser.parse_args()
    chosen = [options.scenario] if options.scenario else list(SCENARIOS)
    well = [soak(argparse.Namespace(**{**vars(options), "scenario": name})) for name in chosen]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())

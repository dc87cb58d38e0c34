"""`python -m soak`: figures to standard output and into soak/results; ends with 1 where something was not as expected."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from soak.dialling_in import Ports, run

RESULTS = Path(__file__).parent / "results"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak")
    parser.add_argument("--meters", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5.0, help="of quiet polling")
    parser.add_argument("--keep", action="store_true", help="write the figures into soak/results")
    parser.add_argument("--embedded", action="store_true", help="with the embedded broker, and without the trouble")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headend-soak-") as folder:
        ports = Ports(gate=free_port(), web=free_port(), mqtt=free_port())
        figures = asyncio.run(run(Path(folder), ports, options.meters, options.minutes, embedded=options.embedded))
    for fault in figures.faults:
        print(f"NOT AS EXPECTED  {fault}")
    if options.keep:
        RESULTS.mkdir(exist_ok=True)
        document = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "figures": figures.values,
            "not as expected": figures.faults,
        }
        (RESULTS / ("embedded.json" if options.embedded else "dialling-in.json")).write_text(
            json.dumps(document, indent=1) + "\n"
        )
    return 1 if figures.faults else 0


sys.exit(main())

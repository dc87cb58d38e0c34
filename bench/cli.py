"""How long the command line takes to say something: medians of ten runs each, by the clock on the wall."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.common import ROOT, Result, Settings

RUNS = 10
LIMIT_MS = 300


def milliseconds(command: list[str]) -> float:
    since = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return 1000 * (time.perf_counter() - since)


def run(settings: Settings) -> list[Result]:  # noqa: ARG001 # every benchmark is called so
    bare = statistics.median(milliseconds([sys.executable, "-c", "pass"]) for _ in range(RUNS))
    results = []
    for option in ("--version", "--help"):
        command = [sys.executable, "-c", "from headend.cli.main import run; run()", option]
        figure = statistics.median(milliseconds(command) for _ in range(RUNS))
        note = f"a bare interpreter takes {bare:.0f} ms"
        results.append(
            Result(
                benchmark="cli",
                what=f"headend {option}",
                figure=figure,
                unit="ms",
                target=LIMIT_MS,
                at_most=True,
                note=note,
            )
        )
    return results

"""How long the command line takes to start: python -m bench.start."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from bench.common import Result, Settings

RUNS = 11
COMMAND = "from headend.cli.main import run; run()"


def milliseconds(*arguments: str) -> float:
    taken = []
    for _ in range(RUNS):
        since = time.perf_counter()
        subprocess.run([sys.executable, "-c", *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ)
        taken.append((time.perf_counter() - since) * 1000)
    return statistics.median(taken)


def run(settings: Settings) -> list[Result]:
    del settings
    bare = milliseconds("pass")
    return [
        Result(
            benchmark="start",
            what=f"headend {option}",
            figure=milliseconds(COMMAND, option),
            unit="ms",
            target=300,
            at_most=True,
            note=f"a bare interpreter takes {bare:.0f} ms",
        )
        for option in ("--version", "--help")
    ]


if __name__ == "__main__":
    for result in run(Settings()):
        print(result)

"""Run the benchmarks and write their table: python -m bench [--quick] [--growth ROWS] [NAME ...]"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.common import CLIENT_CORE, PEERS, ROOT, Result, Settings, pin

NAMES = (
    "codec",
    "ciphered",
    "exchange",
    "acquisition",
    "polling",
    "planner",
    "modbus",
    "dlt645",
    "storage",
    "postgresql",
    "alarms",
    "emulator",
    "cli",
    "web",
    "mqtt",
    "latency",
    "thingsboard",
    "gateway",
    "scanner",
    "discovery",
)
FOLDER = ROOT / "bench" / "results"
PACKAGES = ("uvloop", "fastcrc", "orjson", "sqlalchemy", "starlette", "fastapi", "uvicorn")


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine() -> dict[str, Any]:
    """What one needs to know to read the figures."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in PACKAGES},
    }


def shown(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def row(result: Result) -> tuple[str, ...]:
    sign = "≤" if result.at_most else "≥"
    value = "" if result.reference is None else shown(result.reference)
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    target = "" if result.target is None else f"{sign} {shown(result.target)}"
    verdict = {True: "pass", False: "**miss**", None: ""}[result.passed]
    against = f"{result.against}: {value}" if result.against else ""
    return (
        result.benchmark,
        result.what,
        f"{shown(result.figure)} {result.unit}",
        against,
        ratio,
        target,
        verdict,
        result.note,
    )


def table(results: list[Result]) -> str:
    head = ("benchmark", "what", "figure", "against", "ratio", "target", "", "note")
    lines = [head, ("---",) * len(head), *map(row, results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def page(kept: dict[str, Any]) -> str:
    """All that is kept, the newest run of each benchmark."""
    results = [Result(**each) for name in NAMES if name in kept for each in kept[name]["rows"]]
    missed = sum(result.passed is False for result in results)
    judged = sum(result.passed is not None for result in results)
    runs = [f"| {name} | {kept[name]['date']} | {kept[name]['load']:.1f} |" for name in NAMES if name in kept]
    machines = []
    for name in NAMES:
        if name in kept and (text := described(kept[name]["machine"])) not in machines:
            machines.append(text)
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`; how to read it: [benchmarks](../../docs/reference/benchmarks.md).",
            f"{judged - missed} of {judged} targets are met.",
            "",
            *machines,
            "",
            table(results),
            "When each was run last, and the load average before it:",
            "",
            "| benchmark | began | load |",
            "| --- | --- | --- |",
            *runs,
            "",
        ]
    )


def described(about: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    first = f"- {about['cpu']}, {about['cores']} cores, {about['kernel']}"
    return f"{first}; Python {about['python']}, SQLite {about['sqlite']}, {packages}"


def keep(name: str, results: list[Result], about: dict[str, Any]) -> None:
    """Keep what a benchmark found, in place of what it found before."""
    path = FOLDER / "latest.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    fields = Result.__dataclass_fields__
    kept[name] = about | {"rows": [{field: getattr(result, field) for field in fields} for result in results]}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (FOLDER / "latest.md").write_text(page(kept), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure; results in bench/results.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these: {', '.join(NAMES)}; the others stay as they are"
    )
    parser.add_argument(
        "--quick", action="store_true", help="once each, for half the time: to see that all of them run"
    )
    parser.add_argument(
        "--growth", type=int, default=0, metavar="ROWS", help="also let a database grow to so many rows"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    if not PEERS.exists():
        parser.error("the other stacks are not installed: `make bench` installs them")
    settings = Settings(growth_rows=given.growth)
    if given.quick:
        settings = Settings(repeats=1, seconds=0.75, growth_rows=given.growth)
    pin(0, CLIENT_CORE)
    begun = time.monotonic()
    results: list[Result] = []
    failed = []
    for name in given.names or NAMES:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": os.getloadavg()[0],
            "machine": machine(),
        }
        print(f"{time.monotonic() - begun:5.0f} s  {name}", file=sys.stderr, flush=True)
        try:
            found = import_module(f"bench.{name}").run(settings)
        except Exception:  # noqa: BLE001 - the others are measured all the same
            traceback.print_exc()
            failed.append(name)
            continue
        results += found
        if not given.quick:
            keep(name, found, about)
    print(table(results))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Run every benchmark in one go: python -m bench [NAME …]. Prints the table and writes bench/results.

`latest.md` is the table for people, `YYYY-MM-DD.json` the same with the machine it was measured on.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bench.common import ROOT, Result, Settings

NAMES = ("codec", "exchange", "polling", "modbus", "ingest", "emulator", "start", "web")
PACKAGES = ("uvloop", "fastcrc", "cryptography", "sqlalchemy", "fastapi", "orjson")
RESULTS = ROOT / "bench" / "results"


def machine() -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load": os.getloadavg()[0],
    }


def shown(result: Result) -> tuple[str, ...]:
    amount = f"{result.figure:,.0f}" if result.figure >= 100 else f"{result.figure:.3g}"
    target = "" if result.target is None else f"{'<=' if result.at_most else '>='} {result.target:,g}"
    if result.target is not None and result.ratio is not None:
        target += "x"
    return (
        result.benchmark,
        result.what,
        f"{amount} {result.unit}",
        result.against,
        "" if result.ratio is None else f"{result.ratio:.2f}x",
        target,
        {True: "met", False: "**missed**", None: ""}[result.passed],
        result.note,
    )


def page(results: list[Result], about: dict[str, object], seconds: float) -> str:
    head = ("benchmark", "what", "Headend", "against", "ratio", "target", "", "note")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(shown(result)) + " |" for result in results]
    where = f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}"
    return (
        f"# Benchmarks\n\nMeasured on {datetime.now(UTC):%Y-%m-%d} in one run of {seconds / 60:.0f} minutes, at a load of "
        f"{about['load']:.2f}, on this machine:\n{where}.\n\nRatios are between figures of this run; rates are of "
        "processor time where the benchmark says so.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    wanted = sys.argv[1:] or [name for name in NAMES if find_spec(f"bench.{name}")]
    about, since, results, failed = machine(), time.perf_counter(), [], []
    for name in wanted:
        print(f"-- {name}", flush=True)
        try:
            found = import_module(f"bench.{name}").run(Settings())
        except Exception as error:  # noqa: BLE001 - one benchmark that cannot run does not end the others
            failed.append(name)
            print(f"   cannot run: {type(error).__name__}: {error}", flush=True)
            continue
        for result in found:
            print("   " + "  ".join(part for part in shown(result) if part), flush=True)
        results += found
    about["load_at_the_end"] = os.getloadavg()[0]
    if not sys.argv[1:]:
        RESULTS.mkdir(exist_ok=True)
        stamp = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json"
        stamp.write_text(json.dumps({"machine": about, "results": [asdict(each) for each in results]}, indent=1) + "\n")
        (RESULTS / "latest.md").write_text(page(results, about, time.perf_counter() - since), encoding="utf-8")
    sys.exit(1 if failed else 0)


main()

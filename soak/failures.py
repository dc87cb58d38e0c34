"""The failures that the head-end has to withstand, at full size: tests of it that are short otherwise, with their figures.

What is asserted, and how, stands in the tests alone; a size comes from the environment, figures from their `record_property`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from soak.dialling_in import Figures

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Failure:
    """Tests, and the size at which they are a soak."""

    tests: tuple[str, ...]
    sizes: Mapping[str, str] = field(default_factory=dict)


FAILURES: Final[Mapping[str, Failure]] = {
    "outages": Failure(
        ("tests/services/history/test_outages.py::test_whatever_fails_every_interval_arrives_once_under_its_own_time",),
        {"HEADEND_OUTAGE_METERS": "1000"},
    ),
    "broker-away": Failure(("tests/scenarios/test_broker_away.py",), {"HEADEND_AWAY_METERS": "1000"}),
    "database-restarts": Failure(("tests/system/test_postgresql.py",), {"HEADEND_DATABASE_CRASHES": "20"}),
    "disk-full": Failure(("tests/system/test_disk_full.py",), {"HEADEND_DISK_FULL": "10"}),
    "kills": Failure(("tests/system/test_killing.py",), {"HEADEND_KILLS": "100"}),
    "changes": Failure(("tests/services/history/test_changes.py",), {"HEADEND_CHANGE_METERS": "20"}),
    "one-bad-meter": Failure(("tests/services/history/test_one_bad_meter.py",), {"HEADEND_BAD_HOURS": "24"}),
}


def run(folder: Path, failure: Failure) -> Figures:
    """Run its tests; a test that fails, or did not run, is not as expected."""
    report = folder / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:randomly",
        "-o",
        "junit_family=xunit1",
        f"--junit-xml={report}",
        *failure.tests,
    ]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **failure.sizes}, check=False)
    figures = Figures()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the process above
        name = str(case.get("name")).removeprefix("test_").replace("_", " ")
        for each in case.iter("property"):
            figures.note(str(each.get("name")), _number(str(each.get("value"))))
        figures.note(f"seconds: {name}", round(float(case.get("time", "0")), 1))
        for kind in ("failure", "error", "skipped"):
            for found in case.iter(kind):
                figures.faults.append(f"{name}: {kind}: {found.get('message', '')[:500]}")
    if not figures.values:
        figures.faults.append("no test ran")
    return figures


def _number(text: str) -> float | str:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text

"""Every fuzz harness, for a while, along the same way each time: `make fuzz` goes others."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parent.parent / "fuzz"
FAMILIES = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.py"))
SECONDS = int(os.environ.get("HEADEND_FUZZ_SECONDS", "4"))
SEED = 20
RUNS = 20_000
"""at most, so that a fast machine goes no further than others"""


def test_every_harness_has_seeds() -> None:
    assert FAMILIES
    for family in FAMILIES:
        assert list((FUZZ / "corpus" / family).iterdir()), family


@pytest.mark.fuzz
@pytest.mark.timeout(2 * SECONDS + 120)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_found(family: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has no wheels for this platform or Python")
    harness, seeds = FUZZ / f"fuzz_{family}.py", FUZZ / "corpus" / family
    # A shell in between: a new process takes over the most memory that its parent has ever had, which libFuzzer would count.
    run = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '"$@"; exit $?',
            "sh",
            sys.executable,
            str(harness),
            f"-max_total_time={SECONDS}",
            f"-seed={SEED}",
            str(seeds),
        ],
        env={**os.environ, "HEADEND_FUZZ_FOUND": str(tmp_path), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert run.returncode == 0, f"{run.stderr[-4000:]}\nthe input is in {tmp_path}"

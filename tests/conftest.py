"""What all tests share: skips that fail under CI, places of the corpus and of the peers."""

from __future__ import annotations

import os
import runpy
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"

# Head-ends of tests that run at the same time must not want the same port.
os.environ.setdefault("HEADEND_GATEWAY__PLACES", '["tcp://127.0.0.1:0"]')

# How long an example takes says nothing on a machine that does other things, too; `timeout` of pytest bounds the whole test.
settings.register_profile("loaded", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")


LONGEST = (
    "tests/system",
    "tests/interop",
    "tests/test_fuzz.py",
    "tests/web",
    "tests/scenarios",
    "tests/cli",
    "tests/storage",
)
"""Whose files take long, the longest first; those of the others are many and short."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, in random order otherwise: then all workers of a run end at about the same time."""

    def place(item: pytest.Item) -> int:
        return next((at for at, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skipped test has failed: the machine lacks something that the Makefile should have installed."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of public captures and tables that HEADEND_CORPUS names; skips where it is absent."""
    named = os.environ.get("HEADEND_CORPUS", "")
    if not named or not Path(named).is_dir():
        pytest.skip("HEADEND_CORPUS names no folder of captures")
    return Path(named)


@pytest.fixture(scope="session")
def postgres() -> Generator[Any]:
    """A PostgreSQL server of this session's own (`tests.postgres_server.Server`); skips where none is installed."""
    from tests.postgres_server import binaries, server  # noqa: PLC0415 # loads the driver, which few tests need

    if binaries() is None:
        pytest.skip("no PostgreSQL server is installed: make test installs it")
    with server() as running:
        yield running


@pytest.fixture(scope="session")
def real_pushes() -> SimpleNamespace:
    """Pushes of real meters, with their published keys: the names of `tests/real_pushes.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("real_pushes.py"))))


@pytest.fixture(scope="session")
def peers_python() -> str:
    """The interpreter that has the independent stacks; skips where it is absent."""
    python = Path(os.environ.get("HEADEND_PEERS_PYTHON", ROOT / ".venv-peers/bin/python"))
    if not python.exists():
        pytest.skip("no .venv-peers with the independent stacks: make test installs it")
    return str(python)


@pytest.fixture(autouse=True)
def _plain_logging() -> Generator[None]:
    """What a test configured is gone with its captured streams."""
    yield
    structlog.reset_defaults()

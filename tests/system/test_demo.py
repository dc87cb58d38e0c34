"""`headend demo`: a fleet, a head-end, a broker and the console in one command."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from tests.ports import free_port

from .served import Process

METERS = 210
WITHIN = 180.0
"""seconds, on a machine that does much else; alone it takes fifteen"""
T = TypeVar("T")


class Demo(Process):
    """The demonstration, from when it has said where its console is."""

    def __init__(self, folder: Path, meters: int = METERS, *more: str) -> None:
        super().__init__("demo", "--meters", str(meters), "--port", "0", "--data", str(folder / "data"), *more)
        with self.ended_unless_ready():
            assert self.child.stdout is not None
            self.told = ""
            while "Ctrl-C" not in self.told:
                line = self.child.stdout.readline()
                assert line, self.said
                self.told += line
            found = re.search(r"Console +(http://127\.0\.0\.1:\d+/)", self.told)
            assert found is not None
            self.url = found.group(1)

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait(self, look: Callable[[], T | None]) -> T:
        until = time.monotonic() + WITHIN
        while (found := look()) is None:
            assert time.monotonic() < until, self.get("api/v1/status")
            time.sleep(0.05)
        return found


def latest(demo: Demo) -> dict[tuple[str, str], tuple[Any, str]]:
    document = demo.get("api/v1/readings/latest")
    columns = document["columns"]
    rows = (dict(zip(columns, row, strict=True)) for row in document["rows"])
    return {(row["meter_id"], row["quantity"]): (row["value"], row["measured_at"]) for row in rows}


def voltages(found: dict[tuple[str, str], tuple[Any, str]]) -> dict[tuple[str, str], Any]:
    return {key: value for key, (value, _) in found.items() if key[1] == "voltage_l1"}


def changes(before: dict[tuple[str, str], tuple[Any, str]], demo: Demo) -> dict[tuple[str, str], Any]:
    """Voltages that are others now."""
    old = voltages(before)
    return {key: value for key, value in voltages(latest(demo)).items() if old.get(key, value) != value}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_meters_are_found_online_live_and_kept(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        # Nobody was entered: whoever is there was found by scans, told by what it said, and adopted.
        demo.wait(lambda: found if (found := demo.get("api/v1/devices?limit=1"))["total"] >= 200 else None)
        scans = demo.get("api/v1/scans")["items"]
        assert sum(scan["progress"]["devices"] for scan in scans) >= 200
        devices = demo.get("api/v1/devices?limit=1000")["items"]
        assert {"Landis+Gyr", "Iskraemeco", "Sagemcom", "Kamstrup", "EDMI", "ZIV", "Eastron"} <= {
            device["vendor"] for device in devices
        }
        assert {device["protocol"] for device in devices} == {"dlms", "modbus"}
        demo.wait(lambda: found if (found := demo.get("api/v1/status"))["online"] >= 200 else None)
        before = demo.wait(lambda: found if len(voltages(found := latest(demo))) >= 200 else None)
        changed = demo.wait(lambda: moved if len(moved := changes(before, demo)) >= 150 else None)
        assert all(195 < value < 265 for value in changed.values())
        stored = demo.get("api/v1/status")["readings_stored"]
        assert "<html" in httpx.get(demo.url).text.lower()
        assert demo.stop(signal.SIGINT) == 0
        left = demo.child.stdout
        assert left is not None
        assert "Stopping" in left.read()
    kept = latest_of(tmp_path)
    assert kept >= stored
    with Demo(tmp_path) as demo:
        assert demo.get("api/v1/meters?limit=1")["total"] >= 200
        again = latest(demo)
        assert set(before) <= set(again)
        assert len(demo.get("api/v1/scans")["items"]) == len(scans)  # who is known is not looked for
        # Registers count on where they were: a virtual meter is a function of time.
        assert all(again[key][0] >= before[key][0] for key in before if key[1] == "active_energy_import_total")
        assert demo.stop() == 0


def latest_of(folder: Path) -> int:
    with sqlite3.connect(folder / "data" / "headend.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM readings").fetchone()
    connection.close()
    return int(count)


def test_a_fleet_that_dies_ends_the_demonstration_with_words(tmp_path: Path) -> None:
    with Demo(tmp_path, 5) as demo:
        (child,) = psutil.Process(demo.child.pid).children()
        child.kill()
        assert demo.child.wait(30) == 3
        assert "the virtual fleet ended by itself (exit code -9)" in demo.said
        assert "try: start the demonstration again" in demo.said


def test_the_fleet_does_not_outlive_a_demonstration_that_is_killed(tmp_path: Path) -> None:
    with Demo(tmp_path, 5) as demo:
        (child,) = psutil.Process(demo.child.pid).children()
        demo.stop(signal.SIGKILL)
        child.wait(20)


def test_a_port_that_is_taken_is_replaced_and_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    with (
        taken() as port,
        Process(
            "demo", "--meters", "3", "--port", str(port), "--data", str(tmp_path / "data"), "--seconds", "0.1"
        ) as demo,
    ):
        assert demo.child.wait(60) == 0
        assert demo.child.stdout is not None
        told = demo.child.stdout.read()
        assert "Console" in told
        assert f":{port}/" not in told
    (tmp_path / "file").write_text("")
    with Process("demo", "--meters", "3", "--port", str(free_port()), "--data", str(tmp_path / "file")) as demo:
        assert demo.child.wait(60) == 2
        assert "try: name another one with --data" in demo.said


@contextmanager
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]

"""What all benchmarks share: results, processor time, processes on cores of their own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers" / "bin" / "python"
SERVER_CORE, CLIENT_CORE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure: `repeats` of every figure, each of `seconds` where it is a matter of time."""

    repeats: int = 3
    seconds: float = 1.5
    growth_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table.

    `figure` is ours, `reference` that of `against`, in the same run. `target` is the least ratio of both (without a
    reference: the least figure, or with `at_most` the greatest).
    """

    benchmark: str
    what: str
    figure: float
    unit: str
    against: str = ""
    reference: float | None = None
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.figure / self.reference if self.reference else None

    @property
    def passed(self) -> bool | None:
        if self.target is None:
            return None
        value = self.figure if self.ratio is None else self.ratio
        return value <= self.target if self.at_most else value >= self.target


# --- processor time of small pieces of work ---


class Contender(Protocol):
    """Something that does a named piece of work a number of times and says how many seconds of its core that took."""

    def seconds(self, work: str, number: int) -> float: ...


class Here:
    """Work in this process."""

    def __init__(self, works: Mapping[str, Callable[[], object]]) -> None:
        self._works = works

    def seconds(self, work: str, number: int) -> float:
        act = self._works[work]
        turns = range(number)
        since = time.process_time()
        for _ in turns:
            act()
        return time.process_time() - since


class There:
    """Work in a peer's process: a script that reads `WORK NUMBER` from its standard input and answers with seconds."""

    def __init__(self, script: str) -> None:
        self._process = start([str(PEERS), str(ROOT / "bench" / "peers" / script)], CLIENT_CORE)

    def begin(self, given: str) -> None:
        """Tell it what it needs in one line, and wait until it is ready."""
        self._process.ask(given)

    def seconds(self, work: str, number: int) -> float:
        return float(self._process.ask(f"{work} {number}"))

    def close(self) -> None:
        self._process.stop()


def per_second(
    contenders: Mapping[str, tuple[Contender, str]], batches: int = 9, least: float = 0.05
) -> dict[str, float]:
    """How often a second each contender does its work: medians of interleaved batches of processor time."""
    numbers: dict[str, int] = {}
    for name, (contender, work) in contenders.items():
        number = 1
        while (seconds := contender.seconds(work, number)) < least:
            number = max(number * 2, int(number * least / max(seconds, 1e-6)))
        numbers[name] = number
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(batches):
        for name, (contender, work) in contenders.items():
            taken[name].append(contender.seconds(work, numbers[name]) / numbers[name])
    return {name: 1 / statistics.median(seconds) for name, seconds in taken.items()}


# --- processes ---


class Process:
    """A child on a core of its own that answers a line with a line."""

    def __init__(self, command: list[str], core: int) -> None:
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        pin(self.child.pid, core)

    @property
    def _out(self) -> IO[str]:
        assert self.child.stdout
        return self.child.stdout

    def line(self) -> str:
        """The next line that the child says; raises when it died instead."""
        said = self._out.readline()
        if not said:
            raise RuntimeError(f"{self.child.args!r} ended with {self.child.wait(5)}")
        return said

    def ask(self, text: str = "") -> str:
        assert self.child.stdin
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()
        return self.line()

    def stop(self) -> None:
        """Close its standard input, which ends it."""
        if self.child.stdin:
            self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(5)
        self._out.close()


def start(command: list[str], core: int) -> Process:
    return Process(command, core)


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def peer(script: str, *arguments: object) -> list[str]:
    """The command that runs a script on another stack."""
    return [str(PEERS), str(ROOT / "bench" / "peers" / script), *map(str, arguments)]


@contextmanager
def server(command: list[str]) -> Iterator[tuple[Process, dict[str, Any]]]:
    """A server process, and the JSON object that it said when it was ready."""
    process = start(command, SERVER_CORE)
    try:
        yield process, json.loads(process.line())
    finally:
        process.stop()


def client(command: list[str]) -> dict[str, Any]:
    """Run a client to its end; the last line that it said, as JSON."""
    process = start(command, CLIENT_CORE)
    try:
        said: dict[str, Any] = json.loads(process.line())
        return said
    finally:
        process.stop()


def interleaved(runs: Mapping[str, Callable[[], dict[str, Any]]], repeats: int) -> dict[str, dict[str, float]]:
    """Run all clients in turn, several times; the median of each figure that each of them says."""
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            said[name].append(run())
    return {
        name: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for name, figures in said.items()
    }


def pin(pid: int, core: int) -> None:
    """Keep a process on a core, where the machine has it."""
    if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
        os.sched_setaffinity(pid, {core})


def resident() -> int:
    """Octets of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def say(**figures: object) -> None:
    """One JSON object to whoever started this process."""
    print(json.dumps(figures), flush=True)


class Meter:
    """Counts what a client in this process does, from `begin` to `end`."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> None:
        self._count, self._wall, self._cpu = self.count, time.perf_counter(), time.process_time()

    def end(self) -> dict[str, float]:
        """Per second of the core, and of the clock on the wall."""
        done = self.count - self._count
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"per_cpu": done / cpu, "per_wall": done / wall, "busy": cpu / wall}

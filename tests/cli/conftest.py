"""Commands in this process (or in one of their own), and virtual meters for them to talk to, in a thread."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from headend.cli.main import run
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.model.meter import Secret

PASSWORD = "Xq7-gw29"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Headend = Callable[..., Said]


@pytest.fixture
def headend(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Any) -> Headend:
    """Runs a command here and now, in an environment without settings."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    def call(*arguments: str, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["headend", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        code = 0
        try:
            run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return Said(code, said.out, said.err)

    return call


COMMAND = [sys.executable, "-m", "headend.cli.main"]


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in a process of its own."""

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
        )

    return call


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="meters")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


@pytest.fixture(scope="session")
def meters(background: Background) -> Iterator[dict[str, str]]:
    """URLs of virtual meters, without their profile: wrapper, hdlc, lls (password in METER_PASSWORD), tcp, rtu."""
    library = Library()
    dlms, modbus = library.get("generic-dlms-3p"), library.get("eastron-sdm630")
    password = Secret(PASSWORD.encode())
    groups = {
        "wrapper": Group(profile=dlms, framing="wrapper"),
        "hdlc": Group(profile=dlms, framing="hdlc"),
        "lls": Group(profile=dlms, params={"auth": "lls", "client": "1"}, secrets={"secret": password}),
        "tcp": Group(profile=modbus, framing="tcp", units=(1,)),
        "rtu": Group(profile=modbus, framing="rtu", units=(7,)),
    }
    fleet = Fleet(list(groups.values()), seed=4)
    background.run(fleet.start())
    yield dict(zip(groups, (line.url for line in fleet.roster()), strict=True))
    background.run(fleet.aclose())

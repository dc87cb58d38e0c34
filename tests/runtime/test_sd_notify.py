"""What systemd hears: on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.runtime.sd_notify import notify, status, watchdog_seconds


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield heard


def test_lines_are_one_datagram(listener: socket.socket) -> None:
    assert notify("READY=1", status("ready\nto  serve"))
    assert listener.recv(1000) == b"READY=1\nSTATUS=ready to serve"


def test_an_abstract_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"headend-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + name)
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("WATCHDOG=1")
        assert heard.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("place", ["", "/nowhere/at/all", "vsock:2:1"])
def test_where_nobody_listens_nothing_happens(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("wanted", "pid", "seconds"), [("60000000", "", 60.0), ("", "", 0.0), ("x", "", 0.0), ("60000000", "1", 0.0)]
)
def test_how_often_the_watchdog_wants_to_hear(
    wanted: str, pid: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", wanted)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert watchdog_seconds() == seconds

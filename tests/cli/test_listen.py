"""`headend listen`: a process that prints what octets of real meters say."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from headend.errors import ConfigError
from headend.runtime.listening import Place, parse_place

from .conftest import Headend

COMMAND = [sys.executable, "-m", "headend.cli.main", "listen"]


@contextmanager
def listening(*arguments: str, keys: dict[str, str] | None = None) -> Iterator[tuple[Any, list[str]]]:
    """The process, and where it listens."""
    env = {**os.environ, **{name.upper(): f"hex:{key}" for name, key in (keys or {}).items()}}
    with subprocess.Popen(
        [*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stderr is not None
            said = child.stderr.readline()
            assert said.startswith("listening at"), said + child.stderr.read()
            yield child, re.findall(r"\w+:[^\s,]+", said)
        finally:
            child.kill()


def port(place: str) -> int:
    return int(place.rpartition(":")[2])


def test_pushes_are_printed_as_json(real_pushes: SimpleNamespace) -> None:
    meter = f"inbound://{real_pushes.KAMSTRUP_TITLE}?ek=env:EK&ak=env:AK"
    arguments = ["tcp://127.0.0.1:0", "udp://:0", "--meter", meter, "--json", "--count", "3"]
    with listening(*arguments, keys=real_pushes.KAMSTRUP_KEYS) as (child, (tcp, udp)):
        with socket.create_connection(("127.0.0.1", port(tcp))) as sender:
            sender.sendall(real_pushes.KAMSTRUP + real_pushes.AIDON)
            lines = [json.loads(child.stdout.readline()) for _ in range(2)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(real_pushes.LANDIS, ("127.0.0.1", port(udp)))
            lines.append(json.loads(child.stdout.readline()))
        assert child.wait(20) == 0
    known, plain, unknown = lines
    assert (known["meter"], known["system_title"]) == (real_pushes.KAMSTRUP_TITLE,) * 2
    assert known["measured_at"] == "2026-03-12T15:24:30.000Z"
    first = next(value for value in known["values"] if value["ref"] == "dlms:3/1-1:1.8.0.255/2")
    assert (first["value"], first["unit"]) == (63074980, "Wh")
    assert (plain["meter"], plain["serial"]) == (None, real_pushes.AIDON_SERIAL)
    told = {value["ref"]: (value["value"], value["unit"]) for value in plain["values"]}
    assert told["dlms:3/1-0:1.7.0.255/2"] == (1362, "W")
    assert told["dlms:3/1-0:32.7.0.255/2"] == (250.0, "V")
    assert (unknown["system_title"], unknown["error"]) == (real_pushes.LANDIS_TITLE, "key-missing")


LOGIN = bytes.fromhex(
    "0001000100010012 0A020C323130363030343032393431005A4C"
)  # LONGi 4G module firmware, LongiWrapper.h
ACKNOWLEDGED = bytes.fromhex("0001000100010012 AA030C323130363030343032393431007004")


def test_logins_are_acknowledged_and_printed(real_pushes: SimpleNamespace) -> None:
    with listening("tcp://127.0.0.1:0", "--json", "--count", "1") as (child, (tcp,)):
        with socket.create_connection(("127.0.0.1", port(tcp)), timeout=20) as sender:
            sender.sendall(LOGIN[:9])
            sender.sendall(LOGIN[9:] + real_pushes.AIDON)
            answer = b""
            while len(answer) < len(ACKNOWLEDGED):
                answer += sender.recv(100)
            lines = [json.loads(child.stdout.readline()) for _ in range(2)]
        assert child.wait(20) == 0
    assert answer == ACKNOWLEDGED
    login, push = sorted(lines, key=lambda line: "registration" not in line)
    assert (login["kind"], login["number"], login["check_ok"]) == ("login", "210600402941", True)
    assert (login["registration"], login["acknowledgement"]) == ("longi", ACKNOWLEDGED.hex())
    assert push["octets"]


def test_a_customer_port_is_printed_for_people(real_pushes: SimpleNamespace) -> None:
    far, near = pty.openpty()
    tty.setraw(far)
    tty.setraw(near)
    try:
        with listening(f"serial:{os.ttyname(near)}?baud=2400&line=8n1", "--count", "1") as (child, _):
            os.write(far, b"\x7e" + real_pushes.AIDON)
            answer = child.stdout.readline()
            assert "unknown: 7359992890941742 hdlc 4/65" in answer
            rest = child.stdout.read()
            assert "dlms:3/1-0:1.7.0.255/2\t\t1362\tW" in rest
    finally:
        os.close(far)
        os.close(near)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tcp://192.0.2.9:4061", Place("tcp", "192.0.2.9", 4061)),
        ("udp://[::1]:0", Place("udp", "::1", 0)),
        ("tcp://", Place("tcp", "127.0.0.1", 4059)),
        ("serial:/dev/ttyUSB0", Place("serial", path="/dev/ttyUSB0")),
        ("serial:///dev/ttyUSB0?baud=115200&line=8e1", Place("serial", path="/dev/ttyUSB0", baud=115200, line="8E1")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "4059", "http://x", "tcp://x:99999", "tcp://x/y", "udp://x?y=1", "serial:ttyUSB0", "serial:/dev/x?baud=fast",
     "serial:/dev/x?line=9N1", "serial:/dev/x?speed=9600"],
)  # fmt: skip
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_place(text)


def test_mistakes_are_told_before_anything_is_heard(headend: Headend) -> None:
    assert headend("listen", "nowhere").code == 2
    said = headend("listen", "tcp://:0", "--meter", "inbound://x?profile=no-such-file")
    assert (said.code, "no-such-file" in said.err) == (2, True)
    said = headend("listen", "tcp://192.0.2.1:0")
    assert (said.code, "192.0.2.1" in said.err) == (2, True)
    said = headend("listen", "udp://192.0.2.1:0")
    assert (said.code, "192.0.2.1" in said.err) == (2, True)


def test_it_ends_when_its_time_is_over(headend: Headend) -> None:
    assert headend("listen", "tcp://:0", "--seconds", "0.05").code == 0

"""What a wire and a peer can do wrong: each has its own error, its own words, and an end within the deadline."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import time

import pytest

from headend.cli.main import run
from headend.drivers.library import Library
from headend.errors import HeadendError
from headend.model.objects import ReadPlan
from headend.runtime.connect import connect

from .conftest import FRAMINGS
from .wire import Fault, Wire

TIMEOUT = 0.25
PATIENCE = 5.0
"""where no time-out is expected, on a machine that does much else"""
DEADLINE = 4.0
"""two attempts of two requests, and a machine that does much else"""

STREAMED = {"wrapper": "remote-protocol", "tcp": "remote-protocol", "hdlc": "link-timeout", "rtu": "link-timeout"}
"""Octets that make no frame end a stream that tells its lengths; with checksums they are noise on the line."""
CODES: dict[Fault, str | dict[str, str]] = {
    Fault.ABSENT: "connect-refused",
    Fault.SILENT: "link-timeout",
    Fault.CLOSES: "link-closed",
    Fault.GARBAGE: STREAMED,
    Fault.HALF: "link-timeout",
    Fault.CHECKSUM: {"hdlc": "link-timeout", "rtu": "link-timeout"},
    Fault.OTHER: {"wrapper": "remote-protocol", "hdlc": "link-timeout", "tcp": "link-timeout", "rtu": "link-timeout"},
    # Noise that comes in pieces larger than any frame ends the stream even where it would be skipped piece by piece.
    Fault.NOISE: STREAMED | dict.fromkeys(("hdlc", "rtu"), "link-timeout remote-protocol"),
    Fault.REFUSES: {"wrapper": "association-rejected"},
}
TABLE = [
    (fault, framing, codes if isinstance(codes, str) else codes[framing])
    for fault, codes in CODES.items()
    for framing in FRAMINGS
    if isinstance(codes, str) or framing in codes
]
WORDS = {
    Fault.ABSENT: ("nobody listens", "check the port"),
    Fault.SILENT: ("no answer", "said nothing"),
    Fault.CLOSES: ("closed the link", "another client"),
    Fault.GARBAGE: ("not a wrapper frame", "does it speak this protocol"),
    Fault.HALF: ("no answer", "spoken before"),
    Fault.OTHER: ("", "does it speak this protocol"),
    Fault.NOISE: ("not a wrapper frame", "does it speak this protocol"),
    Fault.REFUSES: ("application-context-name-not-supported", ""),
}


@pytest.mark.parametrize(("fault", "framing", "code"), TABLE, ids=lambda value: getattr(value, "value", value))
async def test_every_fault_has_its_error(
    fault: Fault, framing: str, code: str, meter_ports: dict[str, int], library: Library
) -> None:
    wire = Wire(framing, "127.0.0.1", meter_ports[framing], fault)
    await wire.start()
    url = FRAMINGS[framing][1].format(wire.port)
    try:
        started = time.monotonic()
        with pytest.raises(HeadendError) as caught:
            await ask(url, library, TIMEOUT if "link-timeout" in code else PATIENCE)
        assert caught.value.code in code.split(), str(caught.value)
        assert time.monotonic() - started < DEADLINE
        # It was the wire: without the fault the meter is read at once.
        await wire.turn(Fault.NONE)
        await ask(url, library, PATIENCE)
    finally:
        await wire.aclose()


async def ask(url: str, library: Library, timeout: float) -> None:
    """Read three objects, or raise why not."""
    async with connect(url, timeout=timeout, library=library) as meter:
        assert meter.profile is not None
        result = await meter.session.read(ReadPlan(entries=meter.profile.objects[:3]))
        for error in result.errors.values():
            raise error


def command(*arguments: str) -> tuple[int, str]:
    """Run a command in this thread; its exit code and what it wrote to standard error."""
    said = io.StringIO()
    sys.argv = ["headend", *arguments]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            run()
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


@pytest.mark.parametrize("fault", WORDS, ids=lambda fault: fault.value)
async def test_the_command_line_says_it_in_its_words(
    fault: Fault, meter_ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    wire = Wire("wrapper", "127.0.0.1", meter_ports["wrapper"], fault)
    await wire.start()
    try:
        url = FRAMINGS["wrapper"][1].format(wire.port)
        # Long enough for the first answers to come, on a machine that does much else, too.
        code, said = await asyncio.to_thread(command, "read", url, "--timeout", "2")
    finally:
        await wire.aclose()
    words, hint = WORDS[fault]
    assert words in said
    assert hint in said
    assert "Traceback" not in said
    assert re.match(r"headend: .+", said)
    assert code == {"connect-refused": 3, "link-timeout": 3, "link-closed": 3, "remote-protocol": 4}.get(
        str(CODES[fault]) if isinstance(CODES[fault], str) else dict(CODES[fault])["wrapper"], 5
    )

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from headend.errors import ConfigError, LinkError
from headend.transport.serial import open_serial, parse_line


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo terminal: the far end as a descriptor, the near one as a path."""
    far, near = os.openpty()
    tty.setraw(near)
    try:
        yield far, os.ttyname(near)
    finally:
        os.close(near)
        with contextlib.suppress(OSError):
            os.close(far)


async def _far_read(far: int, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(far, lambda waiting=ready: waiting.done() or waiting.set_result(None))
        await asyncio.wait_for(ready, 5)
        loop.remove_reader(far)
        data += os.read(far, count - len(data))
    return data


async def test_octets_travel_both_ways(record: Any) -> None:
    with terminal() as (far, path):
        link = await open_serial(path, 9600, 5)
        seen = record(link)
        link.write(b"\x7e\xa0\x07\x03\x21\x93\x0f\x01\x7e")
        assert (await _far_read(far, 9))[0] == 0x7E
        os.write(far, b"\x7e\x00\xff\x7e")
        assert await seen.received(4) == b"\x7e\x00\xff\x7e"
        assert (link.peer, link.octets_in, link.octets_out) == (path, 4, 9)
        await link.aclose()
        assert len(seen.lost) == 1


async def test_speed_and_format_are_set_and_can_change() -> None:
    with terminal() as (far, path):
        link = await open_serial(path, 300, 5, line="8N2")
        flags = termios.tcgetattr(far)
        assert flags[4] == termios.B300
        assert flags[2] & termios.CSTOPB
        await link.set_line(9600, "8N1")
        flags = termios.tcgetattr(far)
        assert flags[4] == termios.B9600
        assert flags[2] & termios.CSIZE == termios.CS8
        assert not flags[2] & termios.CSTOPB
        with pytest.raises(LinkError, match="300 baud 7E1"):
            await link.set_line(300, "7E1")  # a pseudo terminal has no parity
        await link.aclose()
        await link.set_line(300, "7E1")  # a closed port has no line to set


async def test_an_adapter_that_is_pulled_out_is_a_lost_link(record: Any) -> None:
    with terminal() as (far, path):
        link = await open_serial(path, 9600, 5)
        seen = record(link)
        os.close(far)
        assert path in str(await seen.ended())
        assert not link.is_open


async def test_abort_and_close_end_once_in_any_order(record: Any) -> None:
    with terminal() as (_, path):
        link = await open_serial(path, 9600, 5)
        seen = record(link)
        closing = asyncio.create_task(link.aclose())
        await asyncio.sleep(0)
        link.abort()
        await closing
        link.abort()
        await link.aclose()
        assert len(seen.lost) == 1
        link = await open_serial(path, 9600, 5)
        seen = record(link)
        link.write(b"x")
        link.abort()
        link.abort()
        await seen.ended()
        await link.aclose()


async def test_errors_name_the_port_and_what_to_try() -> None:
    with pytest.raises(LinkError, match="no serial port /dev/ttyUSB-none") as caught:
        await open_serial("/dev/ttyUSB-none", 9600, 5)
    assert "ls /dev/tty" in caught.value.hint
    for path in ("/dev/null", "/dev/watchdog", "/etc/hostname", "/dev/tty/../null"):
        with pytest.raises(LinkError, match=f"{path} is not a serial port"):
            await open_serial(path, 9600, 5)
    with terminal() as (_, path):
        link = await open_serial(path, 9600, 5)
        with pytest.raises(LinkError, match="in use by another program"):
            await open_serial(path, 9600, 5)
        await link.aclose()
        with pytest.raises(LinkError, match=f"{path} does not support 300 baud 7E1"):
            await open_serial(path, 300, 5, line="7E1")


@pytest.mark.parametrize("line", ["", "9N1", "8X1", "8N3", "8N1 "])
def test_formats_that_do_not_exist(line: str) -> None:
    with pytest.raises(ConfigError, match="8N1"):
        parse_line(line)

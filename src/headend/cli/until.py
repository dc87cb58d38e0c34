"""Waiting for what ends a command that runs until it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal


def stop_event(*, until_eof: bool = False) -> asyncio.Event:
    """Set by SIGINT, SIGTERM, by SIGHUP unless that is ignored (nohup), and if wanted by the end of standard input.

    Made before anything starts.

    A signal that comes while things start lets them start, and stops them then, in order.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    if until_eof:
        loop.add_reader(0, _read_on, loop, stop)
    return stop


def _read_on(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(0, 4096):
        loop.remove_reader(0)
        stop.set()


async def until_stopped(stop: asyncio.Event, seconds: float = 0.0, *, unless: asyncio.Task[None] | None = None) -> None:
    """Wait for a signal, or for the time to pass; what `unless` raises ends the wait too."""
    waiting = asyncio.create_task(stop.wait(), name="stop")
    awaited = {waiting, unless} if unless is not None else {waiting}
    try:
        await asyncio.wait(awaited, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if unless is not None and unless.done():
        unless.result()

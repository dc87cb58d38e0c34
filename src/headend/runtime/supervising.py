"""The supervisor in a running head-end: what it looks after, and what it tells systemd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from headend.northbound.courier import Courier
from headend.runtime.sd_notify import notify, status, watchdog_seconds
from headend.runtime.settings_recovery import SupervisorSettings
from headend.services.identifier import Identifier
from headend.services.recorder import Recorder
from headend.services.supervisor import Supervisor
from headend.web.parts import WebParts

ALWAYS: Final = 1_000_000
"""restarts within an hour: as many as rests of up to five minutes leave room for"""


def make_supervisor(settings: SupervisorSettings, parts: WebParts) -> Supervisor:
    """The supervisor of these parts; it does nothing yet. While systemd wants to hear of us it looks twice as often as that."""
    watchdog = watchdog_seconds()
    patience = settings.patience(watchdog / 2 if watchdog else 0.0)
    supervisor = Supervisor(parts.roster, parts.bus, parts.lanes.thaw, patience, partial(_alive, watching=watchdog > 0))
    writer = parts.writer
    supervisor.watch(
        "writer",
        lambda: (writer.waiting > 0 and not writer.stuck, writer.acknowledged + writer.refused),
        patience.stuck_seconds,
    )
    return supervisor


def keep_delivering(supervisor: Supervisor, courier: Courier) -> Coroutine[Any, Any, None]:
    """Run a courier, and start it again, over a new connection, when it confirms nothing of what waits.

    However often that is: what is wrong with one system must not end the deliveries to the others.
    """
    kept = supervisor.keep(f"sink {courier.name}", courier.run, restarts_an_hour=ALWAYS)
    supervisor.watch(kept.name, lambda: courier.progress, supervisor.patience.confirm_seconds, kept.restart)
    return kept.run()


def keep_running(
    group: asyncio.TaskGroup, supervisor: Supervisor, parts: WebParts, recorder: Recorder, identifier: Identifier
) -> list[asyncio.Task[None]]:
    """Recorder, identifier, poller and statistics, each started again when it fails.

    The poller, too, when a meter has been due for long and nobody tries it.
    """
    poller = supervisor.keep("poller", parts.poller.run)
    supervisor.watch("poller", parts.poller.standing, supervisor.patience.stuck_seconds, poller.restart)
    kept = (
        supervisor.keep("recorder", recorder.run),
        supervisor.keep("identifier", identifier.run),
        poller,
        supervisor.keep("statistics", parts.statistics.run),
    )
    return [group.create_task(each.run(), name=each.name) for each in kept]


@asynccontextmanager
async def supervised(group: asyncio.TaskGroup, supervisor: Supervisor) -> AsyncIterator[None]:
    """Watch until the block ends; systemd is told that the head-end is ready, and that it stops."""
    watching = group.create_task(supervisor.run(), name="supervisor")
    notify("READY=1", status("ready"))
    try:
        yield
    finally:
        notify("STOPPING=1", status("stops"))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _alive(text: str, *, watching: bool) -> None:
    notify(*(["WATCHDOG=1"] if watching else []), status(text))

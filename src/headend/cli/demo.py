"""`demo`: a virtual fleet and a head-end that reads it, until it is stopped."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Final

import typer

from headend.cli.until import stop_event, until_stopped
from headend.runtime.demo import demo_settings, find, fleet, is_known
from headend.runtime.settings import load_settings
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

if TYPE_CHECKING:
    from headend.runtime.demo import VirtualFleet
    from headend.runtime.wiring import HeadEnd

CHECK_SECONDS: Final = 1.0
STEADY_SECONDS: Final = 20
"""to wait for the last meters to answer, once nobody is looked for any more"""


def demo(*, meters: int, port: int, data: str | None, seconds: float) -> None:
    """Run a virtual fleet and a head-end that finds and reads it."""
    configure_logging(level="error")
    settings = demo_settings(load_settings(None), data=data, port=port)

    async def main() -> None:
        stop = stop_event()
        typer.echo(f"Starting {meters} virtual meters and a head-end that knows none of them …")
        # Loading the head-end takes as long as the fleet takes to start: both at once.
        wiring = asyncio.create_task(asyncio.to_thread(import_module, "headend.runtime.wiring"), name="load")
        async with fleet(settings, meters) as virtual, (await wiring).running(settings) as head_end:
            typer.echo(f"\n  Console   {head_end.console_url}")
            typer.echo(f"  REST      {head_end.console_url}api/v1/meters")
            if head_end.mqtt_port:
                typer.echo(f"  MQTT      127.0.0.1:{head_end.mqtt_port}, topics {settings.mqtt.prefix}/#")
            typer.echo(f"  Data      {settings.data_folder}  (kept for the next start)")
            typer.echo(f"\n  To sign in: headend user add NAME --role admin --data {settings.data_folder}")
            typer.echo("  Ctrl-C ends it.\n")
            finding = asyncio.create_task(_find(head_end, virtual), name="find the fleet")
            await until_stopped(stop, seconds, unless=virtual.ended)
            finding.cancel()
            typer.echo("Stopping …")

    run_loop(main())


async def _find(head_end: HeadEnd, virtual: VirtualFleet) -> None:
    """Let the fleet be found, unless it was at an earlier start, and say how that goes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    if is_known(head_end, virtual):
        typer.echo(f"  {len(head_end.roster)} meters are known from an earlier start")
    else:
        searching = asyncio.create_task(find(head_end, virtual), name="scan")
        while not searching.done():
            await asyncio.wait({searching}, timeout=CHECK_SECONDS)
            typer.echo(f"  {len(head_end.roster)} meters found after {loop.time() - began:.0f} s")
        await searching
    for _ in range(STEADY_SECONDS):
        if _online(head_end) == len(head_end.roster):
            break
        await asyncio.sleep(1)
    typer.echo(f"  {_online(head_end)} of {virtual.meters} meters answer (one is broken, as in life)")


def _online(head_end: HeadEnd) -> int:
    return sum(state.online is True for state in head_end.roster)

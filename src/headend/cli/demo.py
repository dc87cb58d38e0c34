"""`demo`: a virtual fleet and a head-end that reads it, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

import typer

from headend.cli.until import stop_event, until_stopped
from headend.runtime.demo import demo_settings, fleet
from headend.runtime.settings import load_settings
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

if TYPE_CHECKING:
    from headend.runtime.wiring import HeadEnd

SETTLE_SECONDS: Final = 20.0


def demo(*, meters: int, port: int, data: str | None, seconds: float) -> None:
    """Run a virtual fleet and a head-end that reads it."""
    configure_logging(level="error")
    settings = demo_settings(load_settings(None), data=data, port=port)

    async def main() -> None:
        stop = stop_event()
        typer.echo(f"Starting {meters} virtual meters and a head-end that reads them …")
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
            settling = asyncio.create_task(_settle(head_end, virtual.meter_ids), name="settle")
            await until_stopped(stop, seconds, unless=virtual.ended)
            settling.cancel()
            typer.echo("Stopping …")

    run_loop(main())


async def _settle(head_end: HeadEnd, meter_ids: Sequence[str]) -> None:
    """Wait until all but the broken meter answered, and say how many did."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_SECONDS
    while True:
        online = sum(1 for meter_id in meter_ids if head_end.roster.state(meter_id).online)
        if online >= len(meter_ids) - 1 or loop.time() > until:
            break
        await asyncio.sleep(0.1)
    typer.echo(f"  {online} of {len(meter_ids)} meters answer (one is broken, as in life)")

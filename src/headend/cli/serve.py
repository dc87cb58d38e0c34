"""`serve`: the head-end, until it is stopped."""

from __future__ import annotations

import structlog

from headend.cli.until import stop_event, until_stopped
from headend.runtime.settings import settings_of
from headend.runtime.wiring import running
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

log = structlog.get_logger(__name__)


def serve(*, config: str | None, data: str | None) -> None:
    """Run the head-end as its settings say."""
    settings = settings_of(config, data)
    configure_logging(level=settings.log.level, json=settings.log.json_lines)

    async def main() -> None:
        stop = stop_event()
        async with running(settings) as head_end:
            log.info(
                "head-end ready",
                meters=len(head_end.roster),
                console=head_end.console_url,
                mqtt=head_end.mqtt_port,
                listening=list(head_end.listening),
                dialling_in=list(head_end.dialled_at),
                data=str(settings.data_folder),
            )
            await until_stopped(stop)
            log.info("head-end stops")

    run_loop(main())

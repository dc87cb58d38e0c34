"""One meter by its URL: open the link, attach the driver, hand out the session. Used by the CLI and by programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import ConfigError
from headend.model.meter import EndpointKind
from headend.model.url import parse_url
from headend.runtime.connected import Connected
from headend.runtime.folders import counter_file, data_folder, refusal_file
from headend.runtime.secrets import resolve_secrets
from headend.services.lockout import Lockout
from headend.transport.link import Tap
from headend.transport.open import open_link


@asynccontextmanager
async def connect(
    url: str,
    *,
    timeout: float = 5.0,
    library: Library | None = None,
    tap: Tap | None = None,
    data: Path | None = None,
) -> AsyncIterator[Connected]:
    """Open a session with the meter at a URL; `timeout` in seconds is per answer.

    Invocation counters of ciphered meters, and which secrets a meter has refused, are kept in the folder `data`, by default
    that of the running head-end.
    Raises ConfigError for the URL, LinkError, ProtocolError, MeterError or SecurityError for what happens on the way.
    """
    parsed = parse_url(url)
    if parsed.endpoint.kind is EndpointKind.INBOUND:
        raise ConfigError(
            "an inbound meter calls us: it cannot be connected to", hint="run headend serve and read it there"
        )
    the_driver = driver(parsed.protocol)
    the_driver.check_params(parsed.params)
    profile = (library or Library()).get(parsed.profile_id) if parsed.profile_id else None
    meter = parsed.meter(f"{parsed.endpoint.wire}?{urlencode(parsed.params)}")
    secrets = resolve_secrets(parsed.secrets)
    folder = data or data_folder()
    counters, refusals = counter_file(folder), refusal_file(folder)
    the_driver.use_counters(counters)
    try:
        async with Lockout(refusals).trying(meter, secrets):
            link = await open_link(meter.endpoint, timeout)
            link.tap = tap
            try:
                session = await the_driver.attach(link, meter, profile, secrets, timeout=timeout)
            except BaseException:
                link.abort()
                raise
        try:
            yield Connected(meter, profile, session)
        finally:
            await session.aclose()
    finally:
        counters.close()
        refusals.close()

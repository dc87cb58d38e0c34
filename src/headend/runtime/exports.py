"""Exports in a running head-end, and for a command: formats, store and meters put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headend.errors import ConfigError
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.northbound.exports.formats import FORMATS
from headend.runtime.settings import Settings
from headend.runtime.settings_exports import ExportSettings
from headend.services.exporting import MINUTE_SECONDS, Exporter, Order
from headend.services.exports import Document, Exports
from headend.services.roster import Clock, Roster
from headend.storage.store import Store, wall_millis
from headend.web.parts import WebParts


def make_exports(
    store: Store,
    roster: Roster,
    profile: Callable[[Meter], MeterProfile | None],
    clock: Clock = wall_millis,
) -> Exports:
    """Exports of the meters of a roster."""

    def meters(ids: Sequence[str]) -> Sequence[Meter]:
        states = [roster.state(each) for each in ids] if ids else list(roster)
        return [state.meter for state in states]

    return Exports(FORMATS, store.readings, meters, profile, clock)


def order_of(name: str, said: ExportSettings, exports: Exports) -> Order:
    """A scheduled export as the settings say it; raises ConfigError, for what the format cannot say, too."""
    form = exports.format(said.format)
    zone = said.zone or form.zone
    document = Document(
        start=0,
        end=1,
        created_at=0,
        meters=said.meters,
        quantities=said.quantities,
        period_minutes=said.period_minutes,
        zone=zone,
        sender=said.sender,
        receiver=said.receiver,
        limit_kw=said.limit_kw,
    )
    exports.check(form, document)
    return Order(
        name=name,
        format=said.format,
        folder=Path(said.folder).expanduser(),
        document=document,
        hourly=said.every == "hourly",
        delay_ms=round(said.delay_minutes * MINUTE_SECONDS * 1000),
        first=said.first,
    )


async def exporting(settings: Settings, parts: WebParts) -> None:
    """Write the files that the settings ask for, until cancelled; raises ConfigError at once."""
    orders = []
    for name, said in settings.exports.items():
        try:
            orders.append(order_of(name, said, parts.exports))
        except ConfigError as error:
            raise ConfigError(f"exports.{name}: {error}", hint=error.hint) from None
    await Exporter(parts.exports, orders, settings.data_folder / "exports", parts.bus).run()

"""What the web layer needs from the rest of the head-end, and how it is put to FastAPI."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headend.drivers.base import Driver
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.emulators import Emulators
from headend.model.delivery import SinkState, TakesTokens
from headend.model.journal import DeadLetter
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.alarms.service import Alarms
from headend.services.bus import Bus
from headend.services.captures import Captures
from headend.services.commands import Commands
from headend.services.discovery.discoverer import Discoverer
from headend.services.exports import Exports
from headend.services.freshness import Freshness
from headend.services.gateway.gateway import Gateway
from headend.services.history.completeness import Completeness
from headend.services.profiles.profiles import Profiles
from headend.services.roster import Roster
from headend.services.statistics import Statistician
from headend.services.trial import Trials
from headend.services.writer import Writer
from headend.storage.store import Store, wall_millis
from headend.web.settings import WebSettings


class Deliveries(Protocol):
    """What is known of the sinks, by their names; raises NotFound for one that there is not."""

    def states(self) -> Sequence[SinkState]:
        """How all of them are doing."""
        ...

    @property
    def tokens(self) -> TakesTokens | None:
        """The sink that has an access token for each meter, if there is one."""
        ...

    def drop_tokens(self, meter_id: str) -> None:
        """A meter is gone: so are its access tokens; blocks."""

    async def replay(self, name: str, since: int, until: int) -> int:
        """Deliver again what was stored at since <= time < until (milliseconds); returns how many entries."""
        ...

    async def refused(self, name: str) -> Sequence[DeadLetter]:
        """What a sink will never take, the newest first."""
        ...

    async def retry(self, name: str, entry_id: str) -> None:
        """Try a refused entry once more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """The parts of the head-end that routes work on, put together by the runtime. `clock` is monotonic seconds."""

    store: Store
    bus: Bus
    roster: Roster
    lanes: Lanes
    poller: Poller
    commands: Commands
    captures: Captures
    deliveries: Deliveries
    completeness: Completeness
    alarms: Alarms
    gateway: Gateway
    discovery: Discoverer
    emulators: Emulators
    writer: Writer
    exports: Exports
    statistics: Statistician
    trials: Trials
    library: Library
    profiles: Profiles
    version: str
    settings: WebSettings = field(default_factory=WebSettings)
    driver: Callable[[str], Driver] = driver
    clock: Callable[[], float] = time.monotonic
    millis: Callable[[], int] = wall_millis
    freshness: Freshness = field(default_factory=Freshness)

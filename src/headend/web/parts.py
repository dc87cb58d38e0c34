"""What the web layer needs from the rest of the head-end, and how it is put to FastAPI."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headend.drivers.base import Driver
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.emulators import Emulators
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.alarms.service import Alarms
from headend.services.bus import Bus
from headend.services.captures import Captures
from headend.services.commands import Commands
from headend.services.discovery.discoverer import Discoverer
from headend.services.gateway.gateway import Gateway
from headend.services.profiles.profiles import Profiles
from headend.services.roster import Roster
from headend.services.writer import Writer
from headend.storage.store import Store, wall_millis
from headend.web.settings import WebSettings


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
    alarms: Alarms
    gateway: Gateway
    discovery: Discoverer
    emulators: Emulators
    writer: Writer
    library: Library
    profiles: Profiles
    version: str
    settings: WebSettings = field(default_factory=WebSettings)
    driver: Callable[[str], Driver] = driver
    clock: Callable[[], float] = time.monotonic
    millis: Callable[[], int] = wall_millis

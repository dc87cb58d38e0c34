"""What the web layer needs from the rest of the head-end, and how it is put to FastAPI."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headend.drivers.base import Driver
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.model.access import ApiKey, Role, User
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.commands import Commands
from headend.services.roster import Roster
from headend.services.writer import Writer
from headend.storage.store import Store
from headend.web.settings import WebSettings


class AccessStore(Protocol):
    """Users and keys. Calls block: make them from a thread."""

    def check_password(self, name: str, password: str) -> User | None:
        """The user, when the password is right; takes as long when it is not."""

    def check_key(self, key: str) -> ApiKey | None:
        """The key's record, when it is one of ours."""

    def users(self) -> Sequence[User]:
        """All users by name."""

    def put_user(self, name: str, role: Role, password: str | None) -> User:
        """Make or change a user; None keeps the password."""

    def remove_user(self, name: str) -> None:
        """Remove a user; raises NotFound."""

    def keys(self) -> Sequence[ApiKey]:
        """All keys by name."""

    def create_key(self, name: str, role: Role) -> str:
        """Make a key and return it; raises Conflict."""

    def remove_key(self, name: str) -> None:
        """Remove a key; raises NotFound."""


def wall_millis() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """The parts of the head-end that routes work on, put together by the runtime. `clock` is monotonic seconds."""

    store: Store
    access: AccessStore
    bus: Bus
    roster: Roster
    lanes: Lanes
    poller: Poller
    commands: Commands
    writer: Writer
    library: Library
    version: str
    settings: WebSettings = field(default_factory=WebSettings)
    driver: Callable[[str], Driver] = driver
    clock: Callable[[], float] = time.monotonic
    millis: Callable[[], int] = wall_millis

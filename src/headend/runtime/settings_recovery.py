"""Settings of recovery: what the sections `[recovery]` and `[[networks]]` say."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headend.model.recovery import BOUNDS, DEFAULT, MEANINGS, Recovery
from headend.runtime.settings_section import Section
from headend.services.acquisition.networks import Network
from headend.services.freshness import Freshness
from headend.services.supervisor import Patience


def _of(name: str) -> Any:  # noqa: ANN401 - what pydantic calls a field
    low, high = BOUNDS[name]
    return Field(default=getattr(DEFAULT, name), ge=low, le=high, description=MEANINGS[name])


class NetworkEntry(Section):
    """A network of meters, or of each cell of a kind, and how much it bears at once."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    cidr: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    at_once: int = Field(default=0, ge=0)
    connects_per_second: float = Field(default=0.0, ge=0)
    links: int = Field(default=0, ge=0)
    recovery: dict[str, int | float] = Field(default={})

    def network(self) -> Network:
        """The same, as lanes take it; raises ConfigError."""
        return Network.named(
            self.name,
            self.cidr,
            self.tags,
            at_once=self.at_once,
            connects_per_second=self.connects_per_second,
            links=self.links,
            recovery=self.recovery,
        )


class FreshnessSettings(Section):
    """Until when a value counts as one of the present: three times its period, and at least so long."""

    least: float = Field(default=60.0, gt=0, le=86_400, description="seconds that a value is shown as live at least")
    unpolled: float = Field(
        default=3600.0, gt=0, le=86_400 * 31, description="seconds that a value of a meter that is not polled is"
    )

    @property
    def rules(self) -> Freshness:
        """The same, as services take it."""
        return Freshness(least=self.least, unpolled=self.unpolled)


class SupervisorSettings(Section):
    """What the supervisor puts up with before it acts."""

    look_seconds: float = Field(default=5.0, gt=0, le=600, description="how often it looks")
    stuck_seconds: float = Field(
        default=120.0,
        gt=0,
        le=86_400,
        description="seconds that a meter may be due, or readings wait, and nothing is done",
    )
    confirm_seconds: float = Field(
        default=900.0,
        gt=0,
        le=86_400,
        description="seconds that a sink that is connected may confirm nothing that waits",
    )
    rest_seconds: float = Field(
        default=1.0,
        gt=0,
        le=600,
        description="rest before a part that failed is started again; twice as long each time",
    )
    restarts_an_hour: int = Field(
        default=6, ge=0, le=1000, description="a part that fails more often within an hour ends the process"
    )
    frozen_reads: int = Field(
        default=10, ge=2, le=100_000, description="reads with the same values after which a meter counts as frozen"
    )
    frozen_seconds: float = Field(default=600.0, gt=0, le=86_400 * 31, description="that they span at least")
    frozen_watt_hours: float = Field(
        default=100.0, gt=0, description="energy that must have flowed meanwhile, at the power that the meter tells"
    )

    def patience(self, look_at_least: float) -> Patience:
        """The same, as the supervisor takes it; it looks every so many seconds at the latest (0: as set)."""
        said = self.model_dump()
        if look_at_least:
            said["look_seconds"] = min(self.look_seconds, look_at_least)
        return Patience(**said)


class RecoverySettings(Section):
    """What is done about failures of meters and wires; the table `link` of a meter file may change each for its model."""

    retries: int = _of("retries")
    retry_seconds: float = _of("retry_seconds")
    reopenings: int = _of("reopenings")
    reopen_seconds: float = _of("reopen_seconds")
    reopen_after: int = _of("reopen_after")
    open_after: int = _of("open_after")
    pause_seconds: float = _of("pause_seconds")
    pause_cap_seconds: float = _of("pause_cap_seconds")
    jitter: float = _of("jitter")
    trials: int = _of("trials")
    reopenings_an_hour: int = _of("reopenings_an_hour")
    renew_reads: int = _of("renew_reads")
    renew_seconds: float = _of("renew_seconds")

    @property
    def rules(self) -> Recovery:
        """The same, as lanes take it."""
        return Recovery(**self.model_dump())

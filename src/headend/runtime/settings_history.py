"""Settings of load profiles: what the section `[ledger]` says."""

from __future__ import annotations

from pydantic import Field, field_validator

from headend.model.intervals import zone_of
from headend.runtime.settings_section import Section
from headend.services.history.clocks import ClockRules
from headend.services.history.kept import Rules


class LedgerSettings(Section):
    """Load profiles that are kept complete."""

    enabled: bool = Field(
        default=True,
        description="read the load profiles of all meters whose meter file has any, and keep them complete",
    )
    backfill_days: float = Field(
        default=31.0, gt=0, le=3660, description="how far back a meter is asked that is new, as far as it remembers"
    )
    at_once: int = Field(default=100, ge=1, le=10_000, description="load profiles that are read at a time")
    settle_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="pause between the end of an interval and asking for it"
    )
    spread_seconds: float = Field(
        default=120.0, ge=0, le=3600, description="over so many seconds meters of the same period are spread"
    )
    rows: int = Field(
        default=96, ge=1, le=10_000, description="rows that one request asks for; live reads go in between"
    )
    time_zone: str = Field(
        default="UTC",
        description="where meters stand that do not say so (tag `zone:NAME`, parameter `zone`): its midnight begins their days",
    )

    clocks: bool = Field(default=True, description="measure the clocks of meters that are asked, as `clock_offset`")
    set_clocks: bool = Field(
        default=False, description="set clocks that are off, by a command of `policy:clock`, each once a day at most"
    )
    clock_above: float = Field(default=20.0, ge=1, le=86_400, description="seconds; what is off by less is left alone")
    clock_below: float = Field(
        default=1800.0, ge=1, le=86_400, description="seconds; what is off by more is told and not set"
    )
    clock_boundary: float = Field(
        default=120.0, ge=0, le=3600, description="seconds; so near to the end of an interval no clock is set"
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            zone_of(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("a time zone like Europe/Berlin") from None
        return name

    @property
    def clock_rules(self) -> ClockRules:
        """What is done about clocks."""
        return ClockRules(
            set_clocks=self.set_clocks,
            above_seconds=self.clock_above,
            below_seconds=self.clock_below,
            boundary_seconds=self.clock_boundary,
        )

    @property
    def rules(self) -> Rules:
        """The same, as the collector takes it."""
        return Rules(
            backfill_days=self.backfill_days,
            at_once=self.at_once,
            settle_seconds=self.settle_seconds,
            spread_seconds=self.spread_seconds,
            rows=self.rows,
            zone=self.time_zone,
        )

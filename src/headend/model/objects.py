"""What can be read on a meter: references, profile entries, read plans, and what a read brought."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from headend.errors import ConfigError, HeadendError
from headend.model.meter import NO_PARAMS
from headend.model.reading import Value

RawValue: TypeAlias = Value | bytes | list["RawValue"] | None
"""A value as the protocol gives it, not yet scaled; None where the meter said null."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A protocol and its own canonical address: `dlms:3/1-0:1.8.0.255/2`, `modbus:input/0x0156/f32`.

    Made by `Driver.parse_ref`, which checks and canonicalises the address; opaque to everybody else.
    """

    protocol: str
    address: str

    def __str__(self) -> str:
        return f"{self.protocol}:{self.address}"

    @classmethod
    def split(cls, text: str) -> ObjectRef:
        """Split canonical text; raises ConfigError without a protocol."""
        protocol, colon, address = text.partition(":")
        if not colon or not address:
            raise ConfigError(f"expected PROTOCOL:ADDRESS, got {text!r}")
        return cls(protocol, address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEntry:
    """One object of a meter profile.

    The value on the wire times 10**`scaler` is in `unit`; `exponent` is the power of ten from the wire to the base unit of
    `quantity` (scaler plus the prefix of the unit: kWh is 3). `scaler` None means: ask the meter. `type` is the wire
    type where the reference does not hold it (DLMS: `uint32`). `emulate` says how a virtual meter makes the value.
    """

    ref: ObjectRef
    quantity: str = ""
    name: str = ""
    unit: str = ""
    scaler: int | None = 0
    exponent: int = 0
    type: str = ""
    poll: bool = True
    every: float = 0.0
    """seconds between reads, where the meter is polled more often; 0: each time"""
    writable: bool = False
    emulate: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadPlan:
    """Entries to read in one go. Compared and hashed by identity, so that prepared requests are found at once."""

    entries: tuple[ObjectEntry, ...]


@dataclass(slots=True, kw_only=True)
class ReadResult:
    """What `Session.read` brought, in the order of the plan's entries.

    `errors` maps the index of an entry to why its value is missing (its place in `values` holds None). `exponents`
    overrides the entries' exponents where the meter told its own scaler and unit; the same object for every read of a
    session. `measured_at` is the meter's own time in milliseconds, where the protocol gives one.
    """

    values: Sequence[RawValue]
    errors: Mapping[int, HeadendError] = field(default_factory=dict)
    exponents: Sequence[int] | None = None
    units: Sequence[str] | None = None
    """base units as the meter tells them, in the order of the entries; empty text where it has none"""
    measured_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One line of a meter's own object list (or of its profile, where the protocol has none)."""

    ref: ObjectRef
    name: str = ""
    quantity: str = ""
    unit: str = ""
    class_id: int | None = None
    class_name: str = ""
    version: int | None = None
    history: bool = False
    """its value is a load profile: read it with `read_history`"""
    value: bool = True
    """it is one plain value, and no table or structure"""
    attributes: Mapping[int, str] = field(default_factory=dict)
    """attribute id -> access: r, w, rw, none (with a trailing * where authentication is needed)"""
    methods: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """Which rows of a load profile: by half-open time range in milliseconds, or by entry (1 = oldest), or all."""

    ref: ObjectRef
    start: int | None = None
    end: int | None = None
    first_entry: int | None = None
    last_entry: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryColumn:
    """One captured column; `exponent` as in ObjectEntry, `quantity` empty where the catalogue has none."""

    ref: ObjectRef
    quantity: str = ""
    unit: str = ""
    exponent: int = 0


class RowFlag(enum.IntFlag):
    """What a row says of the time since the row before."""

    POWER_DOWN = 1
    """the meter was without supply"""
    CLOCK_SET = 2
    """its clock was set"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBlock:
    """Rows of a load profile as they arrived: `times` in milliseconds (None where the meter gave none), values unscaled.

    `flags` is empty where the rows say nothing of themselves; `period` are the milliseconds between rows as the meter tells
    them, 0 where it does not.
    """

    columns: tuple[HistoryColumn, ...]
    times: Sequence[int | None]
    rows: Sequence[tuple[RawValue, ...]]
    quality: Sequence[int]
    flags: Sequence[RowFlag] = ()
    period: int = 0

"""A meter profile: everything known about one meter model, used to detect, read, emulate and test it.

The TOML form is described in `docs/reference/meter-files.md`; `headend.drivers.library` reads the files.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from headend.model.job import CommandKind
from headend.model.meter import NO_PARAMS
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.reading import Value
from headend.standards.event_codes import event_tables


class ProfileState(enum.Enum):
    """How far a profile can be trusted."""

    DRAFT = "DRAFT"
    """from documents or discovery, never run"""
    EMULATED = "EMULATED"
    """round-trips against its own virtual meter"""
    FIELD_VERIFIED = "FIELD_VERIFIED"
    """has a captured transcript of the real meter"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectRule:
    """A fact that speaks for this model, with its weight (1 … 100); `value` is an exact text or a `/regular expression/`."""

    fact: str
    value: str
    weight: int

    def fits(self, value: str) -> bool:
        """Is this what the rule wants the fact to be?"""
        if len(self.value) > 1 and self.value[0] == self.value[-1] == "/":
            return re.search(self.value[1:-1], value) is not None
        return self.value == value


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProfile:
    """A load profile of the meter: which objects it captures, every how many seconds, how many rows it keeps."""

    ref: ObjectRef
    period_seconds: int
    capacity: int
    columns: tuple[ObjectRef, ...]
    name: str = ""
    event_table: str = ""
    """of an event log: the table that says what its codes mean"""
    events: Mapping[int, str] = field(default_factory=dict, hash=False)
    """what codes mean that are not in the table, or mean something else on this model"""

    @property
    def is_event_log(self) -> bool:
        """True where it is known what the codes in its rows mean."""
        return bool(self.event_table or self.events)

    def told_by(self, row: Iterable[object]) -> str:
        """What a row of an event log tells, in words."""
        code = event_code(row)
        return "" if code is None else self.event_text(code)

    def event_text(self, code: int) -> str:
        """What happened, in words; empty for a code that nothing is known of."""
        return self.events.get(code) or event_tables().get(self.event_table, {}).get(code, "")


def event_code(row: Iterable[object]) -> int | None:
    """The code in a row of an event log: its first whole number."""
    return next((value for value in row if type(value) is int), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSetup:
    """An object that does something by itself, and how it is set up when the meter is new: what the driver knows by `ref`."""

    ref: str
    said: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSetup:
    """How a meter of this model carries out a command: by a value that is written, or by a method that is invoked with one."""

    kind: CommandKind
    ref: ObjectRef
    value: Value = 0
    method: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What a client may do with the attributes (or methods) that a pattern names, in the driver's words."""

    ref: str
    allow: tuple[str, ...]
    method: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterClient:
    """A client that a virtual meter lets in. Its secrets are those whose names end in `_` and `secrets`."""

    sap: int
    params: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    secrets: str = ""
    may_change: bool = False
    objects: tuple[str, ...] = ()
    """patterns of what it sees; without any, everything"""
    rules: tuple[AccessRule, ...] = ()
    """exceptions; the last one that fits counts"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalDevice:
    """A logical device of a virtual meter, beside the one that its parameters name."""

    sap: int
    name: str = ""
    objects: tuple[str, ...] = ()
    """patterns of what it holds; without any, everything"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object of which a list tells the name and version, and perhaps what attributes hold, as octets on the wire."""

    ref: str
    version: int = 0
    values: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTest:
    """An annotated exchange and the readings it must give (quantity -> value in base units)."""

    name: str
    request: bytes
    response: bytes
    readings: Mapping[str, Value]
    framing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeterProfile:
    """One meter model. `link` and `association` are parameters for the driver; a meter's own `params` override them."""

    id: str
    vendor: str
    model: str
    protocol: str
    state: ProfileState
    source: str
    revision: int = 1
    objects: tuple[ObjectEntry, ...] = ()
    load_profiles: tuple[LoadProfile, ...] = ()
    push_lists: tuple[tuple[ObjectRef, ...], ...] = ()
    """what the meter pushes without saying what it is, list by list, in the order of the values"""
    listed: tuple[ListedObject, ...] = ()
    """what a virtual meter has besides, as it was found in a list"""
    is_whole: bool = False
    """a virtual meter has these objects and no others that go without saying"""
    functions: tuple[FunctionSetup, ...] = ()
    commands: tuple[CommandSetup, ...] = ()
    detect: tuple[DetectRule, ...] = ()
    link: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    association: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    recovery: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    """what the model changes of how failures are dealt with; stands in the table of the link"""
    clients: tuple[MeterClient, ...] = ()
    devices: tuple[LogicalDevice, ...] = ()
    quirks: frozenset[str] = frozenset()
    alarm: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """what the model changes of the rules of alarms, and `ratings`: what it is made for"""
    tests: tuple[ProfileTest, ...] = ()
    note: str = ""
    flag: str = ""
    """FLAG identifier of the maker, where it is known"""
    firmware: str = ""
    """the version, or what a family of versions begins with, that it was made from"""
    fingerprint: str = ""
    """digest of the fingerprint of the meter that it was made from"""
    registration: str = ""
    """with whose login and heartbeats it dials in; empty when it has none, or does not dial in"""


@lru_cache(maxsize=1024)
def event_log(profile: MeterProfile | None, ref: ObjectRef) -> LoadProfile | None:
    """The load profile of that name, if it is an event log of which it is known what its codes mean."""
    known = profile.load_profiles if profile is not None else ()
    return next((each for each in known if each.ref == ref and each.is_event_log), None)


def entries_of(profile: MeterProfile | None) -> Mapping[ObjectRef, ObjectEntry]:
    """The objects of a meter file by reference, none without one; one mapping for all its meters: nobody changes it."""
    return {entry.ref: entry for entry in profile.objects} if profile is not None else {}

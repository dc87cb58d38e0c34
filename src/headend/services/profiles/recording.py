"""A meter as a meter file: what it has, how it is read, and for a recording what it holds now. It only reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headend.drivers.base import Driver, Overheard, Session
from headend.drivers.mapping import scale
from headend.drivers.meter_text import object_table, write
from headend.errors import CapabilityError, HeadendError, MeterError
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import (
    HistoryBlock,
    HistoryColumn,
    HistoryRequest,
    ObjectEntry,
    ObjectInfo,
    ObjectRef,
    RawValue,
    ReadPlan,
)
from headend.model.profile import MeterProfile, entries_of
from headend.model.quantity import Kind, find_quantity
from headend.services.discovery.drafting import UNKNOWN, Claims, is_value, known_unit, listed_object, model_params
from headend.services.profiles.redacting import Redactor

AT_ONCE: Final = 24
_DAYS: Final = 30
"""of rows that a load profile is taken to keep whose capacity is not told"""
_IDENTITIES: Final = frozenset({"serial_number", "logical_device_name"})
_OF_MODEL: Final = frozenset({"firmware_version", "meter_model", "meter_name", "manufacturer", "meter_code"})
_WHO: Final = {
    "serial_number": "serial",
    "logical_device_name": "logical_device_name",
    "firmware_version": "firmware",
    "manufacturer": "manufacturer",
    "meter_model": "model",
}
_NOWHERE: Final = Endpoint(kind=EndpointKind.MEMORY, host="capture")
_LIVING: Final = frozenset({"meter_time", "relay_closed"})
"""quantities that a virtual meter makes itself in any case"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one object answered: raw, its power of ten and base unit, or the error."""

    raw: RawValue = None
    exponent: int = 0
    unit: str = ""
    error: HeadendError | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A load profile: its columns without the clock, seconds between rows (0: not told)."""

    ref: ObjectRef
    columns: tuple[HistoryColumn, ...]
    sample: tuple[RawValue, ...]
    period_seconds: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All that a meter shows to those who only read. `infos` are empty for objects that come from a profile."""

    meter: Meter
    profile: MeterProfile | None
    identity: MeterIdentity
    entries: tuple[ObjectEntry, ...]
    infos: Mapping[ObjectRef, ObjectInfo]
    seen: Mapping[ObjectRef, Seen]
    layouts: tuple[Layout, ...]


async def survey(meter: Meter, profile: MeterProfile | None, session: Session, driver: Driver) -> Survey:
    """Ask a meter for its list, who it is, every value, and the beginning of its load profiles; raises LinkError and the like."""
    identity = MeterIdentity()
    try:
        identity = await session.identify()
    except (MeterError, CapabilityError):
        identity = meter.identity
    infos = await session.objects()
    listed = {info.ref: info for info in infos if info.class_id is not None}
    if listed:
        values = [info for info in listed.values() if is_value(info) and not driver.holds_secret(info.ref)]
        known = entries_of(profile)
        entries = [known.get(info.ref) or ObjectEntry(ref=info.ref, scaler=None) for info in values]
    else:
        entries = (
            list(profile.objects) if profile is not None else [ObjectEntry(ref=info.ref, scaler=None) for info in infos]
        )
    seen: dict[ObjectRef, Seen] = {}
    for start in range(0, len(entries), AT_ONCE):
        seen |= await _read(session, entries[start : start + AT_ONCE])
    tables = [info.ref for info in infos if info.history]
    layouts = [layout for ref in tables if session.sound and (layout := await _layout(session, ref)) is not None]
    return Survey(meter, profile, identity, tuple(entries), listed, seen, tuple(layouts))


def from_overheard(heard: Overheard, protocol: str, profile: MeterProfile | None) -> Survey:
    """A survey of what a meter told somebody else; who it is only as far as that was among it."""
    meter = Meter(id="m", protocol=protocol, framing=heard.framing, endpoint=_NOWHERE, params=heard.params)
    known = entries_of(profile)
    entries = tuple(known.get(ref) or ObjectEntry(ref=ref, scaler=None) for ref in heard.seen)
    seen = {ref: Seen(raw, exponent, unit) for ref, (raw, exponent, unit) in heard.seen.items()}
    texts: dict[str, str] = {}
    for entry in entries:
        info = heard.infos.get(entry.ref)
        name = _WHO.get(entry.quantity or (info.quantity if info else ""))
        value = scale(seen[entry.ref].raw, 0)
        if name and value is not None:
            texts[name] = str(value)
    texts.setdefault("meter_address", heard.params.get("address", ""))
    identity = MeterIdentity(**texts)
    return Survey(meter, profile, identity, entries, heard.infos, seen, ())


def drafted(found: Survey, source: str) -> str:
    """The text of a meter file in the state DRAFT: which objects there are, not what they hold."""
    claims = Claims()
    objects = []
    for entry in found.entries:
        seen, info = found.seen[entry.ref], found.infos.get(entry.ref)
        if seen.error is not None or isinstance(seen.raw, list):
            continue
        if info is None or entry.scaler is not None:
            objects.append(object_table(entry))
        else:
            table = listed_object(info, "", claims)
            fits = not table.get("quantity") or _unit_fits(table["quantity"], seen.unit)
            objects.append(table if fits else {name: each for name, each in table.items() if name != "quantity"})
    return _file(found, objects, source, "Drafted from what one meter answers: read it before it is used.")


def recorded(found: Survey, source: str, *, waveforms: bool = False) -> str:
    """The text of a meter file that emulates the meter as it was, without what tells which one it was.

    Values are as they were; with `waveforms` amounts live as those of any virtual meter.
    """
    redactor, claims = Redactor(found.identity), Claims()
    objects = []
    for entry in found.entries:
        seen = found.seen[entry.ref]
        if seen.error is None and not isinstance(seen.raw, list):
            objects.append(_recorded(entry, found.infos.get(entry.ref), seen, redactor, claims, waveforms=waveforms))
    return _file(found, objects, source, "Recorded from a meter; numbers that tell which one it was are taken out.")


def _recorded(
    entry: ObjectEntry, info: ObjectInfo | None, seen: Seen, redactor: Redactor, claims: Claims, *, waveforms: bool
) -> dict[str, Any]:
    table = object_table(entry)
    if info is not None and entry.scaler is None:
        unit, _ = known_unit(seen.unit)
        key = claims.take(info.quantity, unit) if _unit_fits(info.quantity, seen.unit) else ""
        scaled = {"unit": unit, "scaler": seen.exponent} if unit or seen.exponent else {}
        named = {"quantity": key} if key else {"name": info.name or info.class_name}
        kept = {name: each for name, each in {**named, **scaled}.items() if each}
        polled = {} if key and _is_amount(key) else {"poll": False}
        table = {"ref": entry.ref.address, **kept, "type": wire_type(seen.raw), **polled}
    if entry.emulate and "value" not in entry.emulate and not entry.quantity:  # the meter file knows how it is made
        return table
    table.pop("emulate", None)
    quantity = str(table.get("quantity", ""))
    if quantity in _LIVING or (waveforms and _is_amount(quantity)):
        return {name: each for name, each in table.items() if name != "type" or quantity not in _LIVING}
    return {**table, "emulate": {"value": _value(seen, quantity, redactor)}}


def _value(seen: Seen, quantity: str, redactor: Redactor) -> object:
    """What the virtual meter holds, in the base unit."""
    value = scale(seen.raw, seen.exponent)
    if isinstance(seen.raw, bytes) and not _is_text(seen.raw):
        return redactor.octets(seen.raw)
    if quantity in _IDENTITIES and value is not None:
        return redactor.identity(str(value))
    if isinstance(value, str):
        return value if quantity in _OF_MODEL else redactor.text(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _is_amount(quantity):
        return redactor.whole(value)
    return 0 if value is None else value


def wire_type(raw: RawValue) -> str:
    """A type that holds such a value, where the address of an object does not say it."""
    if isinstance(raw, bool):
        return "boolean"
    if isinstance(raw, int):
        wide = "64" if not -(1 << 31) <= raw < 1 << 32 else "32"
        return f"int{wide}" if raw < 0 else f"uint{wide}"
    if isinstance(raw, float):
        return "float32" if _is_single(raw) else "float64"
    return "visible_string" if isinstance(raw, str) else "octet_string"


# --- reading ---


async def _read(session: Session, entries: Sequence[ObjectEntry]) -> dict[ObjectRef, Seen]:
    """Some objects together; each alone where the meter refuses them together."""
    try:
        result = await session.read(ReadPlan(entries=tuple(entries)))
    except (MeterError, CapabilityError) as error:
        if len(entries) == 1:
            return {entries[0].ref: Seen(error=error)}
        alone = [await _read(session, [entry]) for entry in entries]
        return {ref: seen for each in alone for ref, seen in each.items()}
    found = {}
    for index, entry in enumerate(entries):
        exponent = result.exponents[index] if result.exponents else entry.exponent
        unit = result.units[index] if result.units else ""
        found[entry.ref] = Seen(result.values[index], exponent, unit, result.errors.get(index))
    return found


async def _layout(session: Session, ref: ObjectRef) -> Layout | None:
    """From the oldest rows; None for a load profile that is empty, or not shown."""
    blocks: list[HistoryBlock] = []
    try:
        async for block in session.read_history(HistoryRequest(ref=ref, first_entry=1, last_entry=2)):
            blocks.append(block)
            if sum(len(each.rows) for each in blocks) > 2:
                break
    except HeadendError:  # which may have cost the session: all that matters has been read by then
        return None
    rows = [(at, row) for block in blocks for at, row in zip(block.times, block.rows, strict=True)]
    if not rows:
        return None
    times = [at for at, _ in rows[:2] if at is not None]
    period = abs(times[1] - times[0]) // 1000 if len(times) == 2 else 0
    return Layout(ref, blocks[0].columns, tuple(rows[0][1]), period)


# --- the file ---


def _file(found: Survey, objects: list[dict[str, Any]], source: str, remark: str) -> str:
    identity, profile, params = found.identity, found.profile, model_params(found.meter.params)
    tables = list(_load_profiles(found, objects)) if found.infos else []
    failed = sum(each.error is not None for each in found.seen.values())
    lines = [remark, f"{len(objects)} objects answered" + (f", {failed} refused." if failed else ".")]
    lines += [f"Not described: {layout.ref.address}" for layout in found.layouts if not _fits(layout, objects)]
    link: dict[str, Any] = {
        **({**profile.link, **profile.recovery} if profile else {}),
        **({} if found.infos else params),
    }
    association: dict[str, Any] = {**(profile.association if profile else {}), **(params if found.infos else {})}
    document = {
        "meter": {
            "vendor": (profile.vendor if profile else "") or identity.manufacturer or UNKNOWN,
            "model": (profile.model if profile else "") or identity.model or UNKNOWN,
            "protocol": found.meter.protocol,
            "state": "DRAFT",
            "source": source,
            **({"firmware": identity.firmware} if identity.firmware else {}),
        },
        **({"link": link} if link else {}),
        **({"association": association} if association else {}),
        "object": objects,
        **({"load_profile": tables} if tables else {}),
        **({"quirk": [{"name": name} for name in sorted(profile.quirks)]} if profile and profile.quirks else {}),
    }
    return write(document, "\n".join(lines))


def _fits(layout: Layout, objects: Sequence[Mapping[str, Any]]) -> bool:
    return layout.period_seconds > 0 and _clock(objects) != ""


def _clock(objects: Sequence[Mapping[str, Any]]) -> str:
    return next((each["ref"] for each in objects if each.get("quantity") == "meter_time"), "")


def _load_profiles(found: Survey, objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those whose rows come regularly; a column that is no object yet becomes one."""
    refs = {each["ref"] for each in objects}
    for layout in found.layouts:
        if not _fits(layout, objects):
            continue
        for column, raw in zip(layout.columns, layout.sample, strict=True):
            if column.ref.address not in refs and not isinstance(raw, list):
                refs.add(column.ref.address)
                scaled = {"unit": known_unit(column.unit)[0], "scaler": column.exponent}
                kept = {name: each for name, each in scaled.items() if each}
                objects.append({"ref": column.ref.address, **kept, "type": wire_type(raw), "poll": False})
        columns = [column.ref.address for column in layout.columns if column.ref.address in refs]
        yield {
            "ref": layout.ref.address,
            "period_seconds": layout.period_seconds,
            "capacity": max(1, _DAYS * 86_400 // layout.period_seconds),
            "columns": [_clock(objects), *columns],
        }


def _unit_fits(key: str, unit: str) -> bool:
    quantity = find_quantity(key) if key else None
    return quantity is None or not unit or quantity.unit == unit


def _is_amount(key: str) -> bool:
    quantity = find_quantity(key) if key else None
    return quantity is not None and quantity.kind is not Kind.STATUS


def _is_text(octets: bytes) -> bool:
    try:
        return octets.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _is_single(number: float) -> bool:
    try:
        return bool(struct.unpack(">f", struct.pack(">f", number))[0] == number)
    except OverflowError:
        return False

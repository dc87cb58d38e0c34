"""Profiles for other systems: JSON by a schema, the object map as CSV, both ways. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from headend.drivers.base import Capability
from headend.drivers.library import load_profile
from headend.drivers.meter_text import document_of, write
from headend.errors import ConfigError, HeadendError
from headend.model.job import CommandKind
from headend.model.objects import ObjectEntry
from headend.model.profile import MeterProfile
from headend.model.quantity import find_quantity
from headend.model.url import SECRET_PARAMS
from headend.services.profiles.schema import SCHEMA, check

COLUMNS: Final = (
    *("ref", "obis", "quantity", "name", "unit", "scaler", "type"),
    *("kind", "direction", "phase", "tariff", "poll", "writable", "note", "every"),
)
"""of the CSV, in this order for good: new ones come behind"""
_DIRECTIONS: Final = frozenset({"import", "export", "q1", "q2", "q3", "q4", "abs", "net"})
_OBIS: Final = re.compile(r"\d+-\d+:\d+\.\d+\.\d+\.\d+")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
_RISKY: Final = ("=", "+", "-", "@", "\t", "\r", "'")
"""with these a spreadsheet begins a formula; and what guards against it"""
_TABLES: Final = {"functions": "function", "clients": "client", "logical_devices": "logical_device"}


def to_document(profile: MeterProfile) -> dict[str, Any]:
    """A profile as JSON by the schema, without secrets."""
    said = document_of(profile)
    meter = said["meter"]
    return {
        "schema": SCHEMA,
        "id": profile.id,
        "revision": profile.revision,
        "state": profile.state.value,
        "identity": {
            name: meter.get(name, "") for name in ("vendor", "model", "protocol", "flag", "firmware", "registration")
        },
        "obis_map": [_object(entry) for entry in profile.objects],
        "link": _open({**profile.link, **profile.recovery}),
        "association": _open(profile.association),
        "load_profiles": [
            {
                "ref": str(each.ref),
                "name": each.name,
                "period_seconds": each.period_seconds,
                "capacity": each.capacity,
                "columns": [str(ref) for ref in each.columns],
                **({"event_table": each.event_table} if each.event_table else {}),
                **({"events": {str(code): text for code, text in each.events.items()}} if each.events else {}),
            }
            for each in profile.load_profiles
        ],
        "push_lists": [[str(ref) for ref in each] for each in profile.push_lists],
        "capabilities": capabilities(profile),
        "commands": [
            {"kind": each.kind.value, "ref": str(each.ref), "value": each.value, "method": each.method}
            for each in profile.commands
        ],
        "detect": said.get("detect", []),
        "quirks": sorted(profile.quirks),
        "alarm": said.get("alarm", {}),
        "provenance": {"source": profile.source, "note": profile.note, "fingerprint": profile.fingerprint},
        "emulation": {
            "objects": {str(entry.ref): dict(entry.emulate) for entry in profile.objects if entry.emulate},
            **{name: _without_secrets(said.get(table, [])) for name, table in _TABLES.items()},
        },
        "tests": said.get("test", []),
    }


def to_line(profile: MeterProfile) -> bytes:
    """The same as a line of NDJSON."""
    return orjson.dumps(to_document(profile), option=orjson.OPT_APPEND_NEWLINE)


def from_document(document: object) -> tuple[str, str]:
    """The id and the text of a meter file; raises ConfigError that names the place in the document."""
    if isinstance(document, Mapping) and "schema" in document and document["schema"] != SCHEMA:
        raise ConfigError(f"schema: expected {SCHEMA!r}, got {document['schema']!r}")
    check(document)
    assert isinstance(document, dict)  # noqa: S101 - the schema says so
    identity, provenance = document["identity"], document["provenance"]
    protocol = identity["protocol"]

    def address(ref: str) -> str:
        name, _, rest = ref.partition(":")
        if name != protocol:
            raise ConfigError(f"{ref}: expected an object of {protocol}")
        return rest

    emulation = document.get("emulation", {})
    made = emulation.get("objects", {})
    tables = {
        "link": document.get("link"),
        "association": document.get("association"),
        "object": [
            _object_table(each, address(each["ref"]), made.get(each["ref"], {})) for each in document["obis_map"]
        ],
        "load_profile": [
            {**each, "ref": address(each["ref"]), "columns": list(map(address, each["columns"]))}
            for each in document.get("load_profiles", [])
        ],
        "command": [{**each, "ref": address(each["ref"])} for each in document.get("commands", [])],
        "push": [{"objects": list(map(address, each))} for each in document.get("push_lists", [])],
        "detect": document.get("detect"),
        "alarm": document.get("alarm"),
        "quirk": [{"name": name} for name in document.get("quirks", [])],
        "test": document.get("tests"),
        **{table: emulation.get(name) for name, table in _TABLES.items()},
    }
    meter = {
        **{name: identity[name] for name in ("vendor", "model", "protocol")},
        "state": document["state"],
        "source": provenance["source"],
        "revision": document["revision"],
        **{name: identity[name] for name in ("flag", "firmware", "registration") if identity.get(name)},
        **{name: provenance[name] for name in ("note", "fingerprint") if provenance.get(name)},
    }
    text = write({"meter": meter, **{name: table for name, table in tables.items() if table}})
    _load(text, document["id"])
    return document["id"], text


def capabilities(profile: MeterProfile) -> list[str]:
    """What the model can do, as far as its file tells."""
    quantities = {entry.quantity for entry in profile.objects}
    kinds = {each.kind for each in profile.commands}
    has = {
        Capability.READ: bool(profile.objects),
        Capability.HISTORY: bool(profile.load_profiles),
        Capability.RELAY: "relay_closed" in quantities or CommandKind.DISCONNECT in kinds,
        Capability.CLOCK: "meter_time" in quantities or CommandKind.SET_CLOCK in kinds,
        Capability.WRITE: any(entry.writable for entry in profile.objects),
        Capability.PUSH: bool(profile.push_lists),
    }
    return [each.value for each, there in has.items() if there]


# --- CSV ---


def to_csv(profile: MeterProfile) -> str:
    """The object map by RFC 4180; no cell is a formula for a spreadsheet."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in profile.objects:
        row = _object(entry)
        writer.writerow([_guarded(_cell(row[name])) for name in COLUMNS])
    return out.getvalue()


def from_csv(text: str, profile_id: str, *, vendor: str, model: str, source: str) -> str:
    """The text of a meter file in the state DRAFT from an object map; raises ConfigError that names the line."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restkey="")
    names = reader.fieldnames or []
    if "ref" not in names or (unknown := [name for name in names if name not in COLUMNS]):
        wrong = "" if "ref" in names else "there is no column ref"
        raise ConfigError(
            f"line 1: {wrong or 'unknown columns: ' + ', '.join(unknown)}", hint="columns: " + ", ".join(COLUMNS)
        )
    protocol, objects = "", []
    try:
        for row in reader:
            place = f"line {reader.line_num}"
            if "" in row:
                raise ConfigError(f"{place}: more cells than columns")
            cells = {name: _unguarded(cell or "") for name, cell in row.items()}
            named, _, address = cells["ref"].partition(":")
            if not address or named != (protocol or named):
                raise ConfigError(f"{place}: ref: expected {protocol or 'PROTOCOL'}:ADDRESS, got {cells['ref']!r}")
            protocol = named
            table = _from_cells(cells, address, place)
            _load(write({"meter": _made_of(protocol, vendor, model, source), "object": [table]}), profile_id, place)
            objects.append(table)
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num}: {error}") from None
    if not objects:
        raise ConfigError("the object map names no object")
    made = write({"meter": _made_of(protocol, vendor, model, source), "object": objects})
    _load(made, profile_id)
    return made


# --- many ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One of many profiles that came: its id and text, or why it is none. `place` says where it stood."""

    place: str
    id: str = ""
    text: str = ""
    error: str = ""


def items(data: bytes) -> Iterator[Item]:
    """The profiles of a JSON document, of a JSON array of them, or of lines of JSON (NDJSON); a wrong one spoils no other."""
    whole = data.strip().removeprefix(b"\xef\xbb\xbf")
    if not whole:
        return
    try:
        found = orjson.loads(whole)
    except orjson.JSONDecodeError:
        for number, line in enumerate(whole.splitlines(), 1):
            if line.strip():
                yield _line(line, f"line {number}")
        return
    for number, each in enumerate(found if isinstance(found, list) else [found], 1):
        yield _item(each, f"profile {number}")


def _line(line: bytes, place: str) -> Item:
    try:
        return _item(orjson.loads(line), place)
    except orjson.JSONDecodeError as error:
        return Item(place=place, error=f"this is no JSON: {error}")


def _item(document: object, place: str) -> Item:
    named = document.get("id") if isinstance(document, Mapping) else ""
    try:
        profile_id, text = from_document(document)
    except HeadendError as error:
        return Item(place=place, id=named if isinstance(named, str) else "", error=error.message)
    return Item(place=place, id=profile_id, text=text)


# --- one object ---


def _object(entry: ObjectEntry) -> dict[str, Any]:
    quantity = find_quantity(entry.quantity) if entry.quantity else None
    code = _OBIS.search(entry.ref.address)
    words = entry.quantity.split("_")
    return {
        "ref": str(entry.ref),
        "obis": code[0] if code else quantity.obis if quantity else "",
        "quantity": entry.quantity,
        "name": entry.name,
        "unit": entry.unit,
        "scaler": "meter" if entry.scaler is None else entry.scaler,
        "type": entry.type,
        "kind": quantity.kind.value if quantity else "",
        "direction": next((word for word in words if word in _DIRECTIONS), ""),
        "phase": quantity.phase if quantity else "",
        "tariff": quantity.tariff if quantity else 0,
        "poll": entry.poll,
        "writable": entry.writable,
        "note": entry.note,
        "every": int(entry.every) if entry.every.is_integer() else entry.every,
    }


def _object_table(said: Mapping[str, Any], address: str, emulate: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the map as a table of a meter file, without what follows from the rest of it."""
    usual = {
        "quantity": "",
        "name": "",
        "unit": "",
        "scaler": 0,
        "type": "",
        "poll": True,
        "writable": False,
        "note": "",
        "every": 0,
    }
    table = {name: said[name] for name, default in usual.items() if said.get(name, default) != default}
    return {"ref": address, **table, **({"emulate": emulate} if emulate else {})}


def _from_cells(cells: Mapping[str, str], address: str, place: str) -> dict[str, Any]:
    said: dict[str, Any] = {name: cells[name] for name in ("quantity", "name", "unit", "type", "note") if name in cells}
    scaler = cells.get("scaler", "")
    try:
        said["scaler"] = "meter" if scaler == "meter" else int(scaler or 0)
    except ValueError:
        raise ConfigError(f'{place}: scaler: expected a whole number, or "meter", got {scaler!r}') from None
    try:
        said["every"] = float(cells.get("every", "") or 0)
    except ValueError:
        raise ConfigError(f"{place}: every: expected seconds, got {cells['every']!r}") from None
    for name, default in (("poll", True), ("writable", False)):
        cell = cells.get(name, "").lower()
        if cell not in ("", "true", "false"):
            raise ConfigError(f"{place}: {name}: expected true or false, got {cell!r}")
        said[name] = cell == "true" if cell else default
    return _object_table(said, address, {})


def _made_of(protocol: str, vendor: str, model: str, source: str) -> dict[str, Any]:
    return {"vendor": vendor, "model": model, "protocol": protocol, "state": "DRAFT", "source": source}


def _load(text: str, profile_id: str, place: str = "") -> None:
    """Raise what is wrong with it, without the line of a text that nobody has seen."""
    try:
        load_profile(text, profile_id)
    except ConfigError as error:
        message = re.sub(rf"^{re.escape(profile_id)}:\d+: ", "", error.message)
        raise ConfigError(f"{place}: {message}" if place else message, hint=error.hint) from None


def _open(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in SECRET_PARAMS}


def _without_secrets(tables: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, **({"params": _open(each["params"])} if "params" in each else {})} for each in tables]


def _cell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_RISKY) and not _NUMBER.fullmatch(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RISKY) else cell

"""The text of a meter file: what `headend.drivers.library` reads, written. Pure.

A document is what tomllib makes of a meter file. `write(document_of(profile))` is a file that loads as the same profile.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from headend.errors import ConfigError
from headend.model.alarm import RATINGS
from headend.model.objects import ObjectEntry
from headend.model.place import line_of
from headend.model.profile import LoadProfile, MeterClient, MeterProfile, ProfileTest

Document: TypeAlias = Mapping[str, Any]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _./:*,+-]*")
_ORDER: Final = (
    *("meter", "link", "association", "detect", "object", "load_profile", "function", "command", "push"),
    *("alarm", "client", "logical_device", "quirk", "test"),
)


def write(document: Document, remark: str = "") -> str:
    """The text; `remark` stands in front of it as a comment."""
    blocks = ["\n".join(f"# {line}".rstrip() for line in remark.splitlines())] if remark else []
    names = [name for name in _ORDER if name in document] + [name for name in document if name not in _ORDER]
    for name in names:
        value = document[name]
        if isinstance(value, Mapping):
            blocks += _table(name, value)
        else:
            blocks += ["\n".join([f"[[{_key(name)}]]", *_lines(each)]) for each in value]
    return "\n\n".join(blocks) + "\n"


def _table(name: str, values: Document) -> Iterator[str]:
    """A table, and those within it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner}
    if plain or not inner:
        yield "\n".join([f"[{name}]", *_lines(plain)])
    for key, value in inner.items():
        yield from _table(f"{name}.{_key(key)}", value)


def _lines(values: Document) -> Iterator[str]:
    return (f"{_key(key)} = {_value(value)}" for key, value in values.items())


@lru_cache(maxsize=256)
def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _text(text: str) -> str:
    """A basic string of TOML: one of JSON, without the delete character, and without halves of characters."""
    if _PLAIN.fullmatch(text):  # as most are
        return f'"{text}"'
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")


def set_meter_key(text: str, key: str, value: str | int) -> str:
    """The text of a meter file with one key of `[meter]` changed, everything else as it was; raises ConfigError."""
    lines = text.split("\n")
    at = line_of(text, "meter", 0, key) - 1
    line = f"{key} = {_value(value)}"
    if re.match(rf"\s*{key}\s*=", lines[at]):
        comment = re.search(r"\s+#[^\"']*$", lines[at])
        lines[at] = line + (comment[0] if comment else "")
    else:
        lines.insert(at + 1, line)
    changed = "\n".join(lines)
    try:
        if tomllib.loads(changed)["meter"][key] == value:
            return changed
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        pass
    raise ConfigError(
        f"{key} cannot be changed in the text", hint=f"write [meter] as a table, and {key} in a line of its own"
    )


# --- from a profile ---


def document_of(profile: MeterProfile) -> dict[str, Any]:
    """A profile as a document, without what is as it is by default."""
    meter = {
        "vendor": profile.vendor,
        "model": profile.model,
        "protocol": profile.protocol,
        "state": profile.state.value,
        "source": profile.source,
        "revision": profile.revision,
        **_said(
            flag=profile.flag,
            firmware=profile.firmware,
            fingerprint=profile.fingerprint,
            note=profile.note,
            registration=profile.registration,
        ),
    }
    alarm = {
        **profile.alarm.get(RATINGS, {}),
        **{rule: dict(each) for rule, each in profile.alarm.items() if rule != RATINGS},
    }
    tables = {
        "link": dict(profile.link),
        "association": dict(profile.association),
        "object": [object_table(entry) for entry in profile.objects],
        "load_profile": [_load_profile(each) for each in profile.load_profiles],
        "function": [{"ref": each.ref, **each.said} for each in profile.functions],
        "command": [
            {"kind": each.kind.value, "ref": each.ref.address, "value": each.value, **_said(method=each.method)}
            for each in profile.commands
        ],
        "push": [{"objects": [ref.address for ref in each]} for each in profile.push_lists],
        "alarm": alarm,
        "client": [_client(each) for each in profile.clients],
        "logical_device": [
            {"sap": each.sap, **_said(name=each.name, objects=list(each.objects))} for each in profile.devices
        ],
        "detect": [{"fact": each.fact, "value": each.value, "weight": each.weight} for each in profile.detect],
        "quirk": [{"name": name} for name in sorted(profile.quirks)],
        "test": [exchange_table(each) for each in profile.tests],
    }
    return {"meter": meter, **_said(**tables)}


def object_table(entry: ObjectEntry) -> dict[str, Any]:
    """An object as a table of a meter file."""
    return {
        "ref": entry.ref.address,
        **_said(quantity=entry.quantity, name=entry.name, unit=entry.unit),
        **_said(scaler="meter" if entry.scaler is None else entry.scaler, type=entry.type),
        **({} if entry.poll else {"poll": False}),
        **_said(every=int(entry.every) if entry.every.is_integer() else entry.every),
        **_said(writable=entry.writable, emulate=dict(entry.emulate), note=entry.note),
    }


def _said(**values: object) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value}


def _load_profile(each: LoadProfile) -> dict[str, Any]:
    return {
        "ref": each.ref.address,
        **_said(name=each.name, event_table=each.event_table),
        "period_seconds": each.period_seconds,
        "capacity": each.capacity,
        "columns": [ref.address for ref in each.columns],
        **_said(events={str(code): text for code, text in each.events.items()}),
    }


def _client(each: MeterClient) -> dict[str, Any]:
    rules = [{"method" if rule.method else "ref": rule.ref, "allow": list(rule.allow)} for rule in each.rules]
    params = dict(each.params)
    return {
        "sap": each.sap,
        **_said(
            params=params, secrets=each.secrets, may_change=each.may_change, objects=list(each.objects), access=rules
        ),
    }


def exchange_table(each: ProfileTest) -> dict[str, Any]:
    """An exchange as a table of a meter file."""
    return {
        "name": each.name,
        **_said(framing=each.framing),
        "request": each.request.hex(" ").upper(),
        "response": each.response.hex(" ").upper(),
        "readings": dict(each.readings),
    }

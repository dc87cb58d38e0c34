"""Checking a JSON document against a JSON Schema, as far as the schema of this package goes. Pure.

Known are `type`, `const`, `enum`, `pattern`, `minimum`, `required`, `properties`, `additionalProperties`, `items` and `$ref`
to `#/$defs/…`: what a schema uses beside them is no constraint here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

from headend.errors import ConfigError

SCHEMA: Final = "headend-profile/1"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def profile_schema() -> Mapping[str, Any]:
    """The JSON Schema of an exported profile."""
    data = (files("headend.services.profiles") / "headend-profile-1.schema.json").read_bytes()
    schema: Mapping[str, Any] = orjson.loads(data)
    return schema


def check(value: object, schema: Mapping[str, Any] | None = None) -> None:
    """Raises ConfigError that names the place: `obis_map[3].unit: expected string, got 5`."""
    root = profile_schema() if schema is None else schema
    _check(value, root, root, "")


def _check(value: object, rule: Mapping[str, Any], root: Mapping[str, Any], place: str) -> None:
    if "$ref" in rule:
        rule = root["$defs"][rule["$ref"].rpartition("/")[2]]
    kinds = rule.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        raise _wrong(place, " or ".join(kinds), value)
    if "const" in rule and value != rule["const"]:
        raise _wrong(place, repr(rule["const"]), value)
    if "enum" in rule and value not in rule["enum"]:
        raise _wrong(place, "one of " + ", ".join(map(str, rule["enum"])), value)
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        raise _wrong(place, f"a text like {rule['pattern']}", value)
    if isinstance(value, int | float) and value < rule.get("minimum", value):
        raise _wrong(place, f"at least {rule['minimum']}", value)
    if isinstance(value, list) and "items" in rule:
        for index, each in enumerate(value):
            _check(each, rule["items"], root, f"{place}[{index}]")
    if isinstance(value, dict):
        _check_members(value, rule, root, place)


def _check_members(value: Mapping[str, object], rule: Mapping[str, Any], root: Mapping[str, Any], place: str) -> None:
    for name in rule.get("required", ()):
        if name not in value:
            raise ConfigError(f"{place or 'the profile'}: {name} is missing")
    known, others = rule.get("properties", {}), rule.get("additionalProperties", True)
    for name, each in value.items():
        inner = f"{place}.{name}" if place else name
        if name in known:
            _check(each, known[name], root, inner)
        elif others is False:
            raise ConfigError(f"{inner}: this is no part of {SCHEMA}", hint="one of " + ", ".join(sorted(known)))
        elif isinstance(others, Mapping):
            _check(each, others, root, inner)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _wrong(place: str, expected: str, value: object) -> ConfigError:
    shown = repr(value)
    return ConfigError(
        f"{place or 'the profile'}: expected {expected}, got {shown[:60]}{'…' if len(shown) > 60 else ''}"
    )

"""What discovery learns, as JSON and back: nothing is lost, so that rules can be run again years later.

Octets are hexadecimal, enumerations their values, dataclasses objects by the names of their fields. A field that an older
JSON does not hold has its default.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from headend.errors import ConfigError
from headend.model.discovery import Evidence, Examination, Fact, PortState, Sighting, Trial, TrialOutcome
from headend.model.fingerprint import Candidate, Classification, Fingerprint, Reason
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.model.objects import ObjectInfo, ObjectRef
from headend.model.scan import ScanProgress, ScanRequest

_NUMBERED: Final = orjson.OPT_NON_STR_KEYS


def to_json(thing: object) -> bytes:
    """The JSON of any of the things below."""
    try:
        return orjson.dumps(thing, default=_plain, option=_NUMBERED)
    except orjson.JSONEncodeError:  # half of a character (a lone surrogate), or an integer beyond 64 bits
        return json.dumps(_tree(thing)).encode()


def examination_from(data: bytes) -> Examination:
    """The examination of a JSON; raises ConfigError."""
    document = _loads(data)
    try:
        return Examination(
            **{
                **document,
                "endpoint": endpoint_from(document["endpoint"]),
                "identity": MeterIdentity(**document["identity"]),
                "facts": tuple(Fact(**{**each, "evidence": tuple(each["evidence"])}) for each in document["facts"]),
                "trials": tuple(map(_trial, document["trials"])),
                "objects": tuple(map(_object, document["objects"])),
                "evidence": tuple(map(_evidence, document["evidence"])),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no examination: {error}") from error


def sighting_from(data: bytes) -> Sighting:
    """Likewise."""
    document = _loads(data)
    try:
        where = document.get("endpoint")
        endpoint = endpoint_from(where) if where else None
        return Sighting(**{**document, "evidence": tuple(document["evidence"]), "endpoint": endpoint})
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no sighting: {error}") from error


def fingerprint_from(data: bytes) -> Fingerprint:
    """Likewise."""
    document = _loads(data)
    try:
        objects = tuple((class_id, version, name) for class_id, version, name in document["objects"])
        return Fingerprint(**{**document, "objects": objects})
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no fingerprint: {error}") from error


def classification_from(data: bytes) -> Classification:
    """Likewise."""
    document = _loads(data)
    try:
        parts = {name: tuple(Reason(**each) for each in document[name]) for name in ("reasons", "against")}
        runners_up = tuple(Candidate(**each) for each in document["runners_up"])
        return Classification(**{**document, **parts, "runners_up": runners_up})
    except (KeyError, TypeError) as error:
        raise ConfigError(f"this is no classification: {error}") from error


def request_from(document: Mapping[str, Any]) -> ScanRequest:
    """Likewise, of what JSON holds."""
    return ScanRequest(**document)


def progress_from(document: Mapping[str, Any]) -> ScanProgress:
    """Likewise, of what JSON holds."""
    states = {PortState(name): count for name, count in document["states"].items()}
    return ScanProgress(**{**document, "states": states})


def endpoint_from(document: Mapping[str, Any]) -> Endpoint:
    """Likewise, of what JSON holds."""
    return Endpoint(**{**document, "kind": EndpointKind(document["kind"])})


def _trial(document: dict[str, Any]) -> Trial:
    return Trial(**{**document, "outcome": TrialOutcome(document["outcome"]), "evidence": tuple(document["evidence"])})


def _object(document: dict[str, Any]) -> ObjectInfo:
    tables = {
        name: {int(number): text for number, text in document[name].items()} for name in ("attributes", "methods")
    }
    return ObjectInfo(**{**document, "ref": ObjectRef(**document["ref"]), **tables})


def _evidence(document: dict[str, Any]) -> Evidence:
    octets = {name: bytes.fromhex(document[name]) for name in ("sent", "received")}
    return Evidence(**{**document, **octets})


def _plain(thing: object) -> object:
    """What orjson does not know."""
    if isinstance(thing, bytes):
        return thing.hex()
    if isinstance(thing, Mapping):
        return dict(thing)
    raise TypeError(f"{type(thing).__name__} has no JSON")


def _tree(thing: object) -> object:
    """The same as JSON's own types."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {each.name: _tree(getattr(thing, each.name)) for each in dataclasses.fields(thing)}
    if isinstance(thing, Mapping):
        return {getattr(name, "value", name): _tree(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_tree(each) for each in thing]
    if isinstance(thing, bytes):
        return thing.hex()
    return getattr(thing, "value", thing)


def _loads(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            document = json.loads(data)
        except ValueError as error:
            raise ConfigError(f"this is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError("expected a JSON object")
    return document

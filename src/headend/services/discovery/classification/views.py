"""Labelled object lists: JSON files that each hold what one meter showed, with its maker, its model and where it is from.

A file holds `vendor`, `model`, `source`, `source_kind`, `licence` and `objects`, each with `class_id`, `version` and `obis`
(`1.0.1.8.0.255`). Lists without a maker, those of specifications, and those merged of several meters are nobody's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headend.errors import ConfigError
from headend.model.fingerprint import Fingerprint
from headend.model.meter import NO_PARAMS
from headend.services.discovery.classification.features import features
from headend.standards.vendors import vendor_name

SPECIFICATION: Final = "companion_profile"
MERGED: Final = "manufacturer_merged_list"
"""Kinds of lists that are no meter's."""
CARRIED: Final = ("GPL", "MIT", "Apache", "BSD", "see repository")
"""Licences, by a word in them, from whose files facts may be carried. One without a licence holds what nobody may carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One object list, and all that it was seen on: equal lists of one maker are one sample."""

    vendor: str
    models: tuple[str, ...]
    firmwares: tuple[str, ...]
    objects: tuple[tuple[int, int, str], ...]
    features: frozenset[str]
    facts: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    sources: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def fingerprint(self, facts: Mapping[str, str] = NO_PARAMS) -> Fingerprint:
        """Its object list alone, as of a meter whose identity is blanked, with what `facts` add."""
        return Fingerprint(digest="", facts={"protocol": "dlms", **facts}, objects=self.objects)

    @property
    def may_be_carried(self) -> bool:
        """Does the licence of each of its files allow that facts of it are handed on?"""
        return all(any(word in licence for word in CARRIED) for licence in self.licences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What a folder holds: distinct lists, and how many files there were of which kind."""

    samples: tuple[Sample, ...]
    specifications: tuple[Sample, ...]
    """lists of specifications: whoever keeps to one looks like this, so they are nobody's"""
    files: int
    nobody: int
    """files that are no meter's"""
    ambiguous: int
    """distinct lists that were left out because several makers have them"""

    @property
    def digest(self) -> str:
        """SHA-256 over the labels and objects of all samples."""
        return digest(self.samples)


def digest(samples: Iterable[Sample]) -> str:
    """SHA-256 over labels and objects, in an order that does not depend on the files."""
    lines = sorted(json.dumps([s.vendor, s.models, s.firmwares, s.objects], ensure_ascii=True) for s in samples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_views(folder: Path) -> Views:
    """Read all labelled lists of a folder; raises ConfigError that names the file."""
    paths = [path for path in sorted(folder.glob("*.json")) if path.name != "index.json"]
    if not paths:
        raise ConfigError(f"no object lists (*.json) in {folder}")
    groups: dict[frozenset[tuple[int, str]], list[tuple[Path, Mapping[str, Any]]]] = {}
    nobody = 0
    specifications: list[Sample] = []
    for path in paths:
        view = _read(path)
        kind = view.get("source_kind")
        if kind == SPECIFICATION:
            specifications.append(_sample([(path, {**view, "vendor": ""})]))
        if not view.get("vendor") or kind in (SPECIFICATION, MERGED):
            nobody += 1
            continue
        groups.setdefault(frozenset((class_id, name) for class_id, _, name in _objects(view)), []).append((path, view))
    own = [views for views in groups.values() if len({vendor_name(view["vendor"]) for _, view in views}) == 1]
    samples = sorted((_sample(views) for views in own), key=lambda each: each.files)
    return Views(
        samples=tuple(samples),
        specifications=tuple(specifications),
        files=len(paths),
        nobody=nobody,
        ambiguous=len(groups) - len(own),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        view = json.loads(path.read_text(encoding="utf-8"))
        _objects(view)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: no object list: {error!r}") from None
    if not isinstance(view, dict):
        raise ConfigError(f"{path}: no object list: expected a table")
    return view


def _sample(views: Sequence[tuple[Path, Mapping[str, Any]]]) -> Sample:
    def all_of(key: str) -> tuple[str, ...]:
        return tuple(sorted({str(view.get(key) or "") for _, view in views} - {""}))

    _, first = views[0]
    objects = _objects(first)
    return Sample(
        vendor=vendor_name(first["vendor"]),
        models=tuple(sorted({_model_name(str(view.get("model") or "")) for _, view in views})),
        firmwares=all_of("firmware"),
        objects=objects,
        features=features(objects),
        facts=_facts(first),
        sources=all_of("source"),
        licences=tuple(sorted({str(view.get("licence") or "none") for _, view in views})),
        files=tuple(path.name for path, _ in views),
    )


def _model_name(label: str) -> str:
    """A designation without what stands in brackets; empty for `unknown`."""
    plain = label.partition("(")[0].strip()
    return "" if plain.lower().startswith("unknown") else plain


def _objects(view: Mapping[str, Any]) -> tuple[tuple[int, int, str], ...]:
    """Sorted; a version that is not told is -1."""
    return tuple(
        sorted({(int(each["class_id"]), _version(each), _code(str(each["obis"]))) for each in view["objects"]})
    )


def _version(entry: Mapping[str, Any]) -> int:
    version = entry.get("version")
    return version if isinstance(version, int) else -1


def _code(obis: str) -> str:
    a, b, c, d, e, f = obis.split(".")
    return f"{a}-{b}:{c}.{d}.{e}.{f}"


def _facts(view: Mapping[str, Any]) -> dict[str, str]:
    """How the meter behaves, as far as its list shows it: sizes and conformance of the association, parameters of HDLC."""
    settings = view.get("settings") or {}
    found: dict[str, str] = {}
    if settings.get("use_ln") in ("true", "false"):
        found["referencing"] = "ln" if settings["use_ln"] == "true" else "sn"
    if settings.get("conformance_response"):
        found["conformance"] = str(settings["conformance_response"]).replace(" ", "").lower()
    if settings.get("max_pdu"):
        found["max_pdu"] = str(settings["max_pdu"])
    for entry in view["objects"]:
        values = entry.get("attr_values_hex") or {}
        if entry["class_id"] == 15 and entry["obis"] == "0.0.40.0.0.255":
            found |= _of_association(values.get("5", ""))
        elif entry["class_id"] == 23:
            found |= _of_hdlc(values)
    return found


def _of_association(context: str) -> dict[str, str]:
    """XDLMS context info: a structure of conformance (24 bits), two sizes, the version, and two more."""
    if len(context) < 30 or not context.startswith("02060418"):
        return {}
    return {
        "conformance": context[8:14].lower(),
        "max_pdu": str(int(context[16:20], 16)),
        "dlms_version": str(int(context[28:30], 16)),
    }


def _of_hdlc(values: Mapping[str, str]) -> dict[str, str]:
    names = {
        "3": "hdlc_window_transmit",
        "4": "hdlc_window_receive",
        "5": "hdlc_max_info_transmit",
        "6": "hdlc_max_info_receive",
    }
    return {names[key]: str(int.from_bytes(bytes.fromhex(value)[1:])) for key, value in values.items() if key in names}

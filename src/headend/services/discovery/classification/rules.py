"""The detect rules of meter files, and the types that their names tell: which meter file a fingerprint fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from headend.errors import ConfigError
from headend.model.profile import DetectRule, MeterProfile
from headend.services.discovery.classification.witness import Witness
from headend.standards.vendors import vendor_name

TYPE_FACTS: Final[Sequence[str]] = ("device_id_product", "model_text", "server_id")
"""Facts whose text may hold the designation of a type."""
TYPE_RELIABILITY: Final = 0.7
_UNKNOWN: Final = frozenset({"", "unknown"})
_NOT_WRITTEN: Final = re.compile(r"[^A-Z0-9]")


@dataclass(frozen=True, slots=True)
class _Rule:
    fact: str
    pattern: re.Pattern[str] | None
    value: str
    weight: int

    def fits(self, text: str) -> bool:
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        return text == self.value

    @property
    def said(self) -> str:
        return f"/{self.pattern.pattern}/" if self.pattern is not None else self.value


@dataclass(frozen=True, slots=True)
class _Entry:
    profile_id: str
    vendor: str
    model: str
    protocol: str
    rules: tuple[_Rule, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A meter file that fits: the witness for its maker, what its rules found, and what they did not."""

    witness: Witness
    met: tuple[str, ...]
    missed: tuple[str, ...]
    """rules whose fact is there, with another value"""


class RuleBook:
    """The rules of all meter files, ready to be asked."""

    def __init__(self, profiles: Iterable[MeterProfile]) -> None:
        """Raises ConfigError for a rule that cannot be one."""
        self._entries = tuple(_entry(profile) for profile in profiles)

    def fits(self, facts: Mapping[str, str]) -> list[Fit]:
        """The meter files that the facts speak for, the best one first."""
        known = {
            name: value.lower() if name.endswith("system_title") else value for name, value in facts.items() if value
        }
        texts = {name: _written(_readable(name, known[name])) for name in TYPE_FACTS if name in known}
        found = [fit for entry in self._entries for fit in _fit(entry, known, texts)]
        return sorted(found, key=lambda fit: (-fit.witness.reliability, len(fit.missed), fit.witness.profile_id))


def _fit(entry: _Entry, facts: Mapping[str, str], texts: Mapping[str, str]) -> Iterator[Fit]:
    if facts.get("protocol", entry.protocol) != entry.protocol:
        return
    there = [(rule, rule.fits(facts[rule.fact])) for rule in entry.rules if rule.fact in facts]
    met = [
        (rule.fact, rule.weight / 100, f"{rule.fact} is {facts[rule.fact]!r}: {rule.said}")
        for rule, fits in there
        if fits
    ]
    named = ((fact, name) for name in entry.types for fact, text in texts.items() if name in text)
    met += [
        (fact, TYPE_RELIABILITY + min(len(name), 20) / 100, f"{fact} names the type {name}")
        for fact, name in islice(named, 1)
    ]
    if not met:
        return
    doubt = 1.0
    for _fact, weight, _text in met:
        doubt *= 1.0 - min(weight, 0.99)
    strongest = max(met, key=lambda each: each[1])
    said = tuple(text for _fact, _weight, text in met)
    yield Fit(
        witness=Witness(
            vendor=entry.vendor,
            reliability=1.0 - doubt,
            text=f"meter file {entry.profile_id}: {'; '.join(said)}",
            fact=strongest[0],
            method="rules",
            model=entry.model,
            profile_id=entry.profile_id,
        ),
        met=said,
        missed=tuple(f"{rule.fact} is {facts[rule.fact]!r}, not {rule.said}" for rule, fits in there if not fits),
    )


def _entry(profile: MeterProfile) -> _Entry:
    types = sorted((_written(part) for part in profile.model.split("/")), key=lambda part: -len(part))
    return _Entry(
        profile_id=profile.id,
        vendor="" if profile.vendor.lower() in _UNKNOWN else vendor_name(profile.vendor),
        model=profile.model,
        protocol=profile.protocol,
        rules=tuple(_rule(profile.id, rule) for rule in profile.detect),
        types=tuple(part for part in types if len(part) >= 4 and any(letter.isdigit() for letter in part)),
    )


def _rule(profile_id: str, rule: DetectRule) -> _Rule:
    if not 1 <= rule.weight <= 100:
        raise ConfigError(f"{profile_id}: [detect] weight: expected 1 to 100, got {rule.weight}")
    value = rule.value
    if len(value) < 2 or value[0] != "/" or value[-1] != "/":
        return _Rule(rule.fact, None, value.lower() if rule.fact == "system_title" else value, rule.weight)
    try:
        return _Rule(rule.fact, re.compile(value[1:-1]), value, rule.weight)
    except re.error as error:
        raise ConfigError(f"{profile_id}: [detect] value: {value} is no regular expression: {error}") from None


def _readable(fact: str, text: str) -> str:
    if fact != "server_id":
        return text
    try:
        return bytes.fromhex(text).decode("latin-1")
    except ValueError:
        return text


def _written(text: str) -> str:
    """A designation as it is compared: capitals and digits alone, for everybody writes the rest differently."""
    return _NOT_WRITTEN.sub("", text.upper())

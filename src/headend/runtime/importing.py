"""Many meters at once: what a list of them says, checked as a whole, into the database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import ConfigError, HeadendError
from headend.model.meter import EndpointKind, Meter, Secret
from headend.model.url import MeterUrl, parse_url
from headend.runtime.secrets import resolve_secrets
from headend.runtime.settings import MeterEntry
from headend.storage.store import Store

DECLARED: Final = "declared"
"""The tag of meters that the settings declare."""
MOST: Final = 1_000_000
_NO_ID: Final = re.compile(r"[^A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many meters were new, were otherwise before, and were as they are now."""

    added: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A meter of a list, and where its secrets are."""

    meter: Meter
    places: Mapping[str, str]


def read_list(text: str, library: Library, *, poll_seconds: float, tags: Sequence[str] = ()) -> Sequence[Listed]:
    """The meters of a JSON list of objects with `url` and `name`, or of lines with a URL and a name.

    The id is made of the name, or else of the address. Raises ConfigError that says which meter is wrong.
    """
    return _listed(((place, url, name, poll_seconds, tags) for place, url, name in _rows(text)), library)


def read_declared(entries: Sequence[MeterEntry], library: Library) -> Sequence[Listed]:
    """The meters that the settings declare, each with the tag DECLARED; raises ConfigError that says which one is wrong."""
    rows = (
        (f"meters {n}", each.url, each.name, each.poll, (*each.tags, DECLARED)) for n, each in enumerate(entries, 1)
    )
    return _listed(rows, library)


def declare(store: Store, listed: Sequence[Listed]) -> Imported:
    """Bring the meters that were ever declared in step with those that are now; removes none that people have entered."""
    done = enter(store, listed, {})
    declared = {each.meter.id for each in listed}
    for stored in store.meters.list(tag=DECLARED, limit=MOST):
        if stored.meter.id not in declared:
            store.meters.delete(stored.meter.id, keep_history=True)
    return done


def _listed(rows: Iterable[tuple[str, str, str, float, Sequence[str]]], library: Library) -> Sequence[Listed]:
    found: dict[str, Listed] = {}
    for place, url_text, name, poll_seconds, tags in rows:
        try:
            url = parse_url(url_text)
            _check(url, library)
        except HeadendError as error:
            raise ConfigError(f"{place}: {error.message}", hint=error.hint) from None
        meter_id = _NO_ID.sub("-", name or url.endpoint.path or url.endpoint.host).strip("-._:")[:64] or "meter"
        if meter_id in found:
            raise ConfigError(f"{place}: there is a meter {meter_id!r} before it", hint="give each a name of its own")
        meter = url.meter(meter_id, name=name, poll_seconds=poll_seconds, tags=tuple(dict.fromkeys(tags)))
        found[meter_id] = Listed(meter=meter, places=url.secrets)
    return list(found.values())


def enter(store: Store, listed: Sequence[Listed], secrets: Mapping[str, Secret]) -> Imported:
    """Put them into the database with their secrets, and those that all of them have; raises KeyMissing before it begins."""
    own = {each.meter.id: resolve_secrets(each.places) for each in listed if each.places}
    added, changed = store.meters.put_all(each.meter for each in listed)
    for each in listed:
        for name, secret in {**secrets, **own.get(each.meter.id, {})}.items():
            store.secrets.put(each.meter.id, name, secret)
    return Imported(added=len(added), changed=len(changed), same=len(listed) - len(added) - len(changed))


def _rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Place, URL and name of each meter."""
    if not text.lstrip().startswith("["):
        for number, line in enumerate(text.splitlines(), 1):
            url, _, name = line.partition("#")[0].strip().partition(" ")
            if url:
                yield f"line {number}", url, name.strip()
        return
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the list of meters is no JSON: {error}") from None
    for number, row in enumerate(document, 1):
        said = row if isinstance(row, dict) else {"url": row}
        reach, called = said.get("url"), said.get("name", "")
        if not isinstance(reach, str) or not isinstance(called, str):
            raise ConfigError(f"meter {number}: expected an object with url and name, as texts")
        yield f"meter {number}", reach, called


def _check(url: MeterUrl, library: Library) -> None:
    if url.protocol or url.endpoint.kind is not EndpointKind.INBOUND:
        driver(url.protocol).check_params(url.params)
    if url.profile_id and library.get(url.profile_id).protocol != url.protocol:
        raise ConfigError(f"the profile {url.profile_id!r} is not for {url.protocol}")

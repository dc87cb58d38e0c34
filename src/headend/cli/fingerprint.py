"""`fingerprint`: what an examined meter is, from the JSON that `identify` wrote, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import typer

from headend.cli.output import print_json, print_table
from headend.errors import ConfigError
from headend.model.discovery import Examination
from headend.model.discovery_json import examination_from, fingerprint_from
from headend.model.fingerprint import Fingerprint
from headend.services.discovery.fingerprint import build, compare, stability
from headend.services.discovery.identity_page import SCHEMA, comparison_page, fingerprint_of, identity_page
from headend.services.discovery.normalise import normalise
from headend.services.discovery.report import matrix

_DEPTH: Final = 3
"""of objects in objects, in which examinations and fingerprints are looked for"""


def show(path: str, *, as_json: bool) -> None:
    """Facts, what is not observable, the association matrix and how many objects are understood."""
    fingerprint, examination = _read(path)
    if as_json:
        print_json(
            identity_page(examination)
            if examination is not None
            else {"digest": fingerprint.digest, "facts": dict(fingerprint.facts)}
        )
        return
    typer.echo(f"digest\t{fingerprint.digest}")
    rows = [(name, value, stability(name).value) for name, value in fingerprint.facts.items()]
    rows += [(name, f"not observable: {why}", stability(name).value) for name, why in fingerprint.unobserved.items()]
    print_table(("fact", "value", "stability"), rows)
    if examination is None:
        return
    report = matrix(examination)
    if report.trials:
        typer.echo()
        print_table(*report.to_table())
    coverage = normalise(examination.protocol, examination.objects).coverage
    if coverage.objects:
        typer.echo(
            f"\n{coverage.objects} objects: {coverage.understood} understood, {coverage.own} of the manufacturer's own; "
            f"{coverage.mapped} of {coverage.measurements} measurements have a quantity"
        )


def diff(before: str, after: str, *, as_json: bool) -> None:
    """What one fingerprint is to the other, and each difference."""
    found = compare(_read(before)[0], _read(after)[0])
    if as_json:
        print_json(comparison_page(found))
        return
    typer.echo(f"{found.text} ({found.similarity:.0%} alike)")
    print_table(
        ("change", "name", "before", "after"),
        [(each.kind.value, each.name, each.before, each.after or each.note) for each in found.changes],
    )


def _read(path: str) -> tuple[Fingerprint, Examination | None]:
    """The fingerprint in a file, and the examination that it follows from where that is there, too."""
    try:
        document: Any = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    parts = list(_parts(document, _DEPTH))
    for each in parts:
        if {"endpoint", "facts", "trials"} <= each.keys():
            examination = examination_from(orjson.dumps(each))
            return build(examination), examination
    for each in parts:
        if each.get("schema") == SCHEMA:
            return fingerprint_of(each), None
    for each in parts:
        if {"digest", "facts", "objects"} <= each.keys():
            return fingerprint_from(orjson.dumps(each)), None
    raise ConfigError(f"{path} holds neither an examination nor a fingerprint", hint="headend identify URL --json")


def _parts(document: Any, depth: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - whatever JSON holds
    """The objects in a document, the outer ones first; of lists only those of one element, which are no choice."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if isinstance(document, dict):
        yield document
        if depth:
            for value in document.values():
                yield from _parts(value, depth - 1)

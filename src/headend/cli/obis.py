"""`obis`: what an OBIS code stands for, by the standard and by countries that mean something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import typer

from headend.cli.output import print_json, print_table
from headend.errors import ConfigError
from headend.model.quantity import find_quantity
from headend.services.discovery.normalise import Row, Status, explain
from headend.standards.obis import Obis
from headend.standards.variants import find_variant, variants

_OCTETS: Final = re.compile(r"[0-9A-Fa-f]{12}")
"""a logical name as it goes over the wire"""


def obis(codes: Sequence[str], *, class_id: int, country: str, vendor: str, as_json: bool) -> None:
    """Explain codes, one after the other."""
    variant = find_variant(country=country, vendor=vendor)
    parsed = [_parse(code) for code in codes]
    if as_json:
        print_json([_document(code, class_id, variant) for code in parsed])
        return
    for number, code in enumerate(parsed):
        if number:
            typer.echo()
        print_table(("OBIS code", "meaning"), list(_lines(code, class_id, variant)))


def _parse(text: str) -> Obis:
    """A code as people or the wire write it, or that of a quantity; raises ConfigError."""
    quantity = find_quantity(text)
    if quantity is not None and quantity.obis:
        return Obis.parse(quantity.obis)
    if quantity is not None:
        raise ConfigError(f"the quantity {text} has no OBIS code")
    octets = text.removeprefix("0x")
    return Obis.from_bytes(bytes.fromhex(octets)) if _OCTETS.fullmatch(octets) else Obis.parse(text)


def _document(code: Obis, class_id: int, variant: str) -> dict[str, Any]:
    row = explain(code, class_id, variant)
    others = {name: _plain(other) for name, other in _others(code, class_id, row)}
    return {**_plain(row), "elsewhere": others}


def _plain(row: Row) -> dict[str, Any]:
    document = row.to_json()
    del document["ref"]
    return document


def _lines(code: Obis, class_id: int, variant: str) -> Iterator[tuple[str, str]]:
    row = explain(code, class_id, variant)
    yield str(code), row.meaning + (" (nearest meaning)" if row.status is Status.UNMAPPED else "")
    quantity = find_quantity(row.quantity) if row.quantity else None
    for name, value in (
        ("quantity", row.quantity or (f"{row.key} (not in the catalogue)" if row.key else "")),
        ("unit", row.unit),
        ("direction", row.direction),
        ("phase", row.phase),
        ("tariff", str(row.tariff or "")),
        ("processing", row.processing),
        ("kind", f"{row.kind}, {quantity.kind.value}" if quantity is not None else row.kind),
        ("by", variants()[row.variant].title if row.variant else ""),
    ):
        if value:
            yield name, value
    for name, other in _others(code, class_id, row):
        yield f"in {variants()[name].title}", other.meaning + (f", {other.unit}" if other.unit else "")


def _others(code: Obis, class_id: int, row: Row) -> Iterator[tuple[str, Row]]:
    """What variants mean by it that is not the same."""
    for name in variants():
        other = explain(code, class_id, name)
        if other.variant == name and other.meaning != row.meaning:
            yield name, other

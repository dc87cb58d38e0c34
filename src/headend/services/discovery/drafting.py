"""Drafting a meter file from what a meter has answered. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from headend.errors import ConfigError
from headend.model.meter import MeterIdentity
from headend.model.objects import ObjectEntry
from headend.model.quantity import base_unit, find_quantity
from headend.services.discovery.probing import Answer


def draft(
    protocol: str,
    identity: MeterIdentity,
    params: Mapping[str, str],
    candidates: Iterable[ObjectEntry],
    answers: Sequence[Answer],
    *,
    source: str,
) -> str:
    """The text of a meter file in the state DRAFT: one object for each answer, with the quantity where the unit fits.

    Two objects that claim the same quantity: the first has it, the other one only its name.
    """
    entries = {str(entry.ref): entry for entry in candidates}
    lines = [
        "[meter]",
        f"vendor = {_text(identity.manufacturer or 'unknown')}",
        f"model = {_text(identity.model or identity.logical_device_name or 'unknown')}",
        f"protocol = {_text(protocol)}",
        'state = "DRAFT"',
        f"source = {_text(source)}",
    ]
    if params:
        lines += ["", "[link]", *(f"{name} = {_text(value)}" for name, value in sorted(params.items()))]
    claimed: set[str] = set()
    for answer in answers:
        lines += ["", *_object(answer, entries.get(answer.ref), claimed)]
    return "\n".join(lines) + "\n"


def _object(answer: Answer, entry: ObjectEntry | None, claimed: set[str]) -> list[str]:
    lines = ["[[object]]", f"ref = {_text(answer.ref.partition(':')[2])}"]
    quantity = find_quantity(entry.quantity) if entry is not None and entry.quantity else None
    unit, base = _unit(answer.unit)
    if quantity is not None and (not unit or base == quantity.unit) and quantity.key not in claimed:
        claimed.add(quantity.key)
        lines.append(f"quantity = {_text(quantity.key)}")
    if unit:
        lines.append(f"unit = {_text(unit)}")
    if entry is not None and entry.scaler is None:
        lines.append('scaler = "meter"')
    elif entry is not None and entry.scaler:
        lines.append(f"scaler = {entry.scaler}")
    if entry is not None and entry.name:
        lines.append(f"name = {_text(entry.name)}")
    lines.append(f"note = {_text(f'answered {answer.value}')}")
    return lines


def _unit(symbol: str) -> tuple[str, str]:
    """A unit and its base unit; empty for one that meter files do not know."""
    try:
        return symbol, base_unit(symbol)[0]
    except ConfigError:
        return "", ""


def _text(text: str) -> str:
    """A basic string of TOML, which the strings of JSON are."""
    return json.dumps(text, ensure_ascii=False)

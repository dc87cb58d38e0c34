"""Meter files that lists of measurements make: registers of DLMS/COSEM by name or OBIS code. Pure.

The same list makes the same file, so that all meters that are read in the same way share one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headend.errors import ConfigError
from headend.model.profile import MeterProfile
from headend.model.quantity import find_quantity, for_obis
from headend.standards.obis import Obis

PREFIX: Final = "measured-"
"""what the ids of such files begin with"""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAMES: Final = {
    "active_power": "1-0:1.7.0.255",
    "active_energy": "1-0:1.8.0.255",
    "active_energy_import": "1-0:1.8.0.255",
    "active_energy_export": "1-0:2.8.0.255",
}
"""names beside those of the catalogue"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A register that is read: under which name it was asked for, and what its values are called."""

    name: str
    obis: str
    quantity: str
    enabled: bool = True
    every: float = 0.0
    """seconds, where it is read less often than its meter; otherwise 0"""


def measurement(name: str, obis: str = "") -> Measurement:
    """What a name stands for, or an OBIS code under that name; raises ConfigError for what no quantity is known of."""
    if not _NAME.fullmatch(name or obis.replace(":", ".")):
        raise ConfigError(f"{name!r} cannot be the name of a measurement", hint="letters, digits, _ . and -")
    known = find_quantity(name)
    code = obis or _NAMES.get(name, known.obis if known else "")
    if not code:
        raise ConfigError(
            f"no measurement {name!r} is known", hint="give its OBIS code, or a key of the catalogue of quantities"
        )
    parsed = Obis.parse(code)
    found = for_obis(parsed)
    if found is None:
        raise ConfigError(f"no quantity is known for {parsed}", hint="describe the meter in a meter file")
    return Measurement(name=name or found.key, obis=str(parsed), quantity=found.key)


def file_of(measurements: Sequence[Measurement]) -> tuple[str, str]:
    """The id and the text of the meter file by which these are read; raises ConfigError where one is there twice."""
    for field in ("name", "quantity"):
        seen = [getattr(each, field) for each in measurements]
        if twice := next((each for each in seen if seen.count(each) > 1), ""):
            raise ConfigError(f"the measurement {twice!r} is there twice")
    lines = [
        "[meter]",
        'vendor = "Any"',
        'model = "DLMS registers"',
        'protocol = "dlms"',
        'state = "DRAFT"',
        'source = "a list of measurements"',
    ]
    for each in measurements:
        lines += ["", "[[object]]", f'ref = "3/{each.obis}/2"', f'quantity = "{each.quantity}"', 'scaler = "meter"']
        lines += [f"name = {json.dumps(each.name)}", f"poll = {json.dumps(each.enabled)}"]
        if each.every:
            lines.append(f"every = {each.every:g}")
    text = "\n".join(lines) + "\n"
    return f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:12]}", text


def measurements_of(profile: MeterProfile) -> list[Measurement]:
    """What is read by a meter file; without a code where its protocol has none."""
    return [
        Measurement(
            name=(entry.name if profile.id.startswith(PREFIX) else "") or entry.quantity,
            obis=entry.ref.address.split("/")[1] if profile.protocol == "dlms" else "",
            quantity=entry.quantity,
            enabled=entry.poll,
            every=entry.every,
        )
        for entry in profile.objects
        if entry.quantity
    ]

"""What any OBIS code means, also where no table has it: by patterns, by variants of countries, else by its value groups.

`find_code` knows the codes that are often used, one by one; here is the grammar behind them. Where a group is the
manufacturer's or the table ends, the nearest meaning is given, and says that it is no more than that.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from headend.standards.codes import find_code
from headend.standards.cosem import find_class
from headend.standards.obis import Obis, parse_pattern
from headend.standards.tables import read_table
from headend.standards.variants import variants

ELECTRICITY: Final = 1
CURRENT: Final = 255
"""group F of what is not of a billing period"""
_LAST: Final = 101
_LAST_TEXTS: Final = range(_LAST, 126)
_GENERIC: Final = frozenset({1, 3, 4, 5, 7, 21, 61, 62, 63})
"""classes that hold anything: the logical name has to say what"""
_HOLDS_VALUES: Final = frozenset({0, 1, 3, 4, 5})
"""classes whose objects are one value; 0 is not known"""
_REGISTERS: Final = frozenset({3, 4, 5})
_PROFILES: Final = frozenset({7, 61, 62})
_COUNTRY: Final = 94
_SERVICE: Final = 96
_OWN_SERVICES: Final = range(50, 100)
"""groups D of service entries that are the manufacturer's"""
_OWN_C: Final = 240
_OWN_C_END: Final = 200
_LAST_MEDIUM: Final = 15
_OWN_CLASS: Final = 8192
"""from which on a class is the manufacturer's or the country's"""
_ENDS: Final = ("u_l1", "u_l2", "u_l3", "", "i_l1", "i_l2", "i_l3", "i_n")
"""what an angle is between (IEC 62056-6-1, 5.4.5): the digits of group E"""
_MEASURED: Final = range(1, 93)
"""group C of what is measured of electricity"""
_PHASES: Final = (("", 0), ("l1", 20), ("l2", 40), ("l3", 60))
_OWN_CHANNEL: Final = 65
"""group B from which on a channel is the utility's or the manufacturer's"""
_OWN: Final = 128
"""groups C, D, E and F from which on a value is the manufacturer's"""
_HARMONICS: Final = frozenset({"current", "voltage"})
_RATES: Final = range(1, 64)
_WAVES: Final = range(1, 121)
_SHAPES: Final[Mapping[int, str]] = {
    124: "thd",
    125: "tdd",
    126: "harmonics",
    127: "distortion",
}


class Grade(enum.Enum):
    """How well a logical name is understood."""

    CODE = "code"
    """the standard, or the variant, says what it is"""
    CLASS = "class"
    """its class says what it is"""
    NEAREST = "nearest"
    """only where it belongs"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a logical name stands for. `key` names what is measured, in the grammar of the catalogue of quantities.

    `period` is group F of a value that belongs to a billing period, and `processing` the words of group D. `variant` is the
    country or companion standard that says so; empty for the standard itself.
    """

    text: str
    kind: str
    grade: Grade
    key: str = ""
    unit: str = ""
    direction: str = ""
    phase: str = ""
    tariff: int = 0
    processing: str = ""
    period: int | None = None
    variant: str = ""
    own: bool = False
    """of a range that the standard leaves to manufacturers and utilities, and nobody has published it"""


@dataclass(frozen=True, slots=True)
class _Row:
    groups: tuple[frozenset[int], ...]
    kind: str
    text: str
    key: str
    unit: str
    variant: str

    def fits(self, obis: Obis) -> bool:
        values = (obis.a, obis.b, obis.c, obis.d, obis.e, obis.f)
        return all(value in allowed for value, allowed in zip(values, self.groups, strict=True))


@lru_cache(maxsize=65536)
def meaning(obis: Obis, class_id: int = 0, variant: str = "") -> Meaning:
    """What a logical name means; `class_id` of its object helps where the name says little, and 0 is not known."""
    for row in _rows(variant).get(obis.c, ()):
        if row.fits(obis):
            return _of_row(row, obis, class_id)
    cosem_class = find_class(class_id)
    name = _words(cosem_class.name) if cosem_class is not None else ""
    measured = _measured(obis) or _listed(obis)
    if measured is not None and class_id in _HOLDS_VALUES:
        return measured
    if measured is not None:
        text = f"{name} of {measured.text}" if name else measured.text
        return Meaning(text=text, kind=_kind(obis, class_id), grade=Grade.CODE, variant=measured.variant)
    if name and class_id not in _GENERIC:
        kind = "manufacturer" if class_id >= _OWN_CLASS else "config"
        return Meaning(text=name, kind=kind, grade=Grade.CLASS)
    held = f", a {name.lower()}" if name else ""
    own = _is_own(obis)
    kind = "manufacturer" if own else _kind(obis, class_id)
    return Meaning(text=_nearest(obis, own=own) + held, kind=kind, grade=Grade.NEAREST, own=own)


@cache
def _rows(variant: str) -> Mapping[int, Sequence[_Row]]:
    """The rows of a variant, of its base, and then those of the standard, by group C."""
    found: dict[int, list[_Row]] = {}
    base = variants()[variant].base if variant in variants() else ""
    for name in dict.fromkeys((variant, base, "")):
        for row in read_table("obis_meanings"):
            if row["variant"] == name:
                groups = parse_pattern(row["pattern"])
                made = _Row(groups, row["kind"], row["meaning"], row["quantity"] or "", row["unit"] or "", name)
                for c in groups[2]:
                    found.setdefault(c, []).append(made)
    return found


def _of_row(row: _Row, obis: Obis, class_id: int) -> Meaning:
    cosem_class = find_class(class_id)
    words = (
        _words(cosem_class.name) if cosem_class is not None else _groups("abstract").get(obis.c, {}).get("meaning", "")
    )
    text = row.text.format(b=obis.b, c=obis.c, d=obis.d, e=obis.e, n=obis.e + 1, **{"class": words})
    phase = next((phase for phase in ("l1", "l2", "l3") if row.key.endswith(f"_{phase}")), "")
    key = row.key.format(b=obis.b, e=obis.e)
    return Meaning(
        text=text[:1].upper() + text[1:] + _period_text(obis.f),
        kind=row.kind,
        grade=Grade.CODE,
        key=key,
        unit=row.unit,
        phase=phase,
        tariff=obis.e if "{e}" in row.key else 0,
        period=_period(obis.f),
        variant=row.variant,
    )


def _measured(obis: Obis) -> Meaning | None:
    """What is measured of electricity, by groups C, D and E; None where one of them says something else."""
    if obis.a != ELECTRICITY or obis.c not in _MEASURED or obis.b >= _OWN_CHANNEL:
        return None
    if (obis.c, obis.d) == (81, 7):
        return _angle(obis)
    found = _channel(obis.c)
    how = _groups("D").get(obis.d)
    if found is None or how is None or obis.e >= _OWN or (_OWN <= obis.f < CURRENT):
        return None
    row, phase = found
    unit = _unit(row["unit"], how["unit"])
    what = row["other"]
    if what:
        return _plain(obis, row, how, phase, unit)
    tariff = obis.e if obis.e in _RATES else 0
    word = "energy" if how["unit"] == "+h" else "power"
    label = row["meaning"].format(word=word)
    where = phase or "total"
    end = f"_t{tariff}" if tariff else f"_{where}"
    if tariff and phase:
        end = f"_{phase}_t{tariff}"
    return Meaning(
        text=_text(label, phase, how["meaning"], f"rate {tariff}" if tariff else "", obis.f),
        kind=_measured_kind(obis.d),
        grade=Grade.CODE,
        key=f"{row['word']}_{how['word']}_{row['direction']}{end}",
        unit=unit,
        direction=row["direction"],
        phase=phase,
        tariff=tariff,
        processing=how["meaning"],
        period=_period(obis.f),
    )


def _angle(obis: Obis) -> Meaning | None:
    """Group E of an angle: from the thing of its second digit to that of its first."""
    to, of = divmod(obis.e, 10)
    if max(to, of) >= len(_ENDS) or not _ENDS[to] or not _ENDS[of] or obis.f != CURRENT:
        return None
    key = f"phase_angle_{_ENDS[of]}_{_ENDS[to]}"
    words = [f"{end[0].upper()}({end[2:].upper()})" for end in (_ENDS[of], _ENDS[to])]
    text = f"Angle from {words[1]} to {words[0]}"
    return Meaning(
        text=text, kind="measurement", grade=Grade.CODE, key=key, unit="deg", processing="instantaneous value"
    )


def _listed(obis: Obis) -> Meaning | None:
    """A code that the table of frequent codes holds."""
    code = find_code(obis) or (find_code(Obis(obis.a, 0, *_tail(obis))) if obis.b < _OWN_CHANNEL else None)
    if code is None or code.kind == "manufacturer":
        return None
    measured = code.kind in ("measurement", "power_quality")
    text = code.key.replace("_", " ")
    return Meaning(
        text=text[:1].upper() + text[1:],
        kind=code.kind,
        grade=Grade.CODE,
        key=code.key if measured else "",
        unit=code.unit,
        direction=code.direction,
        phase=code.phase,
        tariff=code.tariff,
        processing=code.aggregation.replace("_", " "),
    )


def _tail(obis: Obis) -> tuple[int, int, int, int]:
    return obis.c, obis.d, obis.e, obis.f


def _plain(obis: Obis, row: Mapping[str, str], how: Mapping[str, str], phase: str, unit: str) -> Meaning:
    """Values without rates: currents, voltages, factors, frequency. Group E is a harmonic of the first two."""
    stem, form = row["other"], how["other"]
    wave = ""
    if obis.e and stem in _HARMONICS and obis.e in _WAVES:
        wave, unit = f"h{obis.e}", ""
    elif obis.e in _SHAPES:
        wave, unit = _SHAPES[obis.e], "%"
    middle = "_".join(part for part in (stem, wave, form) if part)
    alone = stem == "frequency" and not phase
    tariff = obis.e if not wave and obis.e in _RATES else 0
    end = "" if alone else f"_{phase or 'total'}"
    return Meaning(
        text=_text(
            row["meaning"], phase, how["meaning"], _wave_text(wave) or (f"rate {tariff}" if tariff else ""), obis.f
        ),
        kind=_measured_kind(obis.d),
        grade=Grade.CODE,
        key=middle + end + (f"_t{tariff}" if tariff else ""),
        unit=unit,
        direction=row["direction"],
        phase=phase if phase in ("l1", "l2", "l3", "neutral") else "",
        tariff=tariff,
        processing=how["meaning"],
        period=_period(obis.f),
    )


@cache
def _groups(group: str) -> Mapping[int, Mapping[str, str]]:
    return {int(row["value"]): row for row in read_table("obis_groups") if row["group"] == group}


def _channel(c: int) -> tuple[Mapping[str, str], str] | None:
    """The row of a value of group C, and its phase."""
    rows = _groups("C")
    if c in rows and (c <= 20 or c > 80):
        return rows[c], rows[c]["phase"]
    for phase, more in _PHASES[1:]:
        if more < c <= more + 20:
            return rows[c - more], phase
    return None


def _unit(base: str, how: str) -> str:
    if how == "+h":
        return f"{base}h" if base not in ("1", "Hz") else ""
    return how or base


def _text(label: str, phase: str, how: str, more: str, f: int) -> str:
    shown = {"sum": "", "": ""}.get(phase, f" {phase.upper() if phase.startswith('l') else phase}")
    plain = "" if how == "instantaneous value" else how
    return ", ".join(part for part in (label + shown, plain, more) if part) + _period_text(f)


def _wave_text(wave: str) -> str:
    names = {
        "thd": "total harmonic distortion",
        "tdd": "total demand distortion",
        "harmonics": "all harmonics",
        "distortion": "all harmonics to nominal",
        "": "",
    }
    return names.get(wave, f"harmonic {wave[1:]}")


def _period(f: int) -> int | None:
    return f if f < _OWN else None


def _period_text(f: int) -> str:
    if f in _LAST_TEXTS:
        return f", billing period {f - _LAST + 1} before" if f > _LAST else ", last billing period"
    return f", billing period {f}" if f < 100 else ""


def _measured_kind(d: int) -> str:
    return "power_quality" if 31 <= d <= 45 else "measurement"


def _is_own(obis: Obis) -> bool:
    """Whether one of the groups is of those that the standard leaves to others (IEC 62056-6-1, 4.2 and table 14)."""
    service = obis.c == _SERVICE and obis.d in _OWN_SERVICES
    return (
        obis.a > _LAST_MEDIUM
        or obis.b >= _OWN_CHANNEL
        or _OWN <= obis.c < _OWN_C_END
        or obis.c == _OWN_C
        or _OWN <= obis.d < CURRENT
        or _OWN <= obis.e < CURRENT
        or _OWN <= obis.f < CURRENT
        or service
    )


def _nearest(obis: Obis, *, own: bool) -> str:
    """Where an unknown code belongs: whose it is, of which medium, and what group C says."""
    medium = _groups("A").get(obis.a, {}).get("meaning", "")
    owner = "manufacturer specific" if own else ""
    if obis.c == _COUNTRY:
        country = _groups("country").get(obis.d, {}).get("meaning", "")
        return f"Specific to {country}" if country else "Specific to a country"
    about = _groups("abstract").get(obis.c, {}).get("meaning", "")
    if obis.a == ELECTRICITY and obis.c in _MEASURED:
        found = _channel(obis.c)
        about = found[0]["meaning"].format(word="power").lower() if found is not None else ""
    elif obis.a not in (0, ELECTRICITY) and 0 < obis.c < 93:
        about = ""
    text = ", ".join(part for part in (medium, about, owner) if part) or "unknown"
    return text[:1].upper() + text[1:]


def _kind(obis: Obis, class_id: int) -> str:
    """Of what only its class tells: registers may hold a measurement."""
    if class_id in _REGISTERS:
        return "measurement"
    if class_id in _PROFILES:
        return "profile"
    return "manufacturer" if obis.c != _COUNTRY else "config"


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]

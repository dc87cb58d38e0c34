"""Virtual meters from the object lists of real ones, and variants of a meter file: the many vendors of a fleet.

A listing is JSON: `vendor`, `model`, perhaps `vendor_flag`, `firmware`, `ldn`, and `objects`, of each `class_id`, `version`, `obis`
and perhaps `attr_values_hex`, what attributes hold as octets on the wire.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from headend.drivers.registry import driver
from headend.emulator.values import evaluator
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.model.profile import ListedObject, MeterProfile, ProfileState
from headend.model.reading import Value
from headend.standards.flag import find_manufacturer, manufacturers

_NOBODY: Final = 3 * "X"
_HEX: Final = re.compile("(?:[0-9A-Fa-f]{2})+")
_USUAL_VERSIONS: Final = {7: 1, 15: 1}
"""of classes whose version a list leaves out"""
_IDENTIFIERS: Final = {
    "logical_device_name": "1/0-0:42.0.0.255",
    "serial_number": "1/0-0:96.1.0.255",
    "firmware_version": "1/1-0:0.2.0.255",
}


def listing(path: Path, *, blanked: bool = False) -> MeterProfile:
    """The profile of virtual meters with the objects of a listing; raises ConfigError that names the file.

    `blanked`: the objects that tell who they are hold nothing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return of_listing(document, path.stem, blanked=blanked)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not an object list ({type(error).__name__})", hint="see fleets.md") from None


def of_listing(document: Mapping[str, Any], name: str, *, blanked: bool = False) -> MeterProfile:
    """The same, of what such a file says."""
    vendor = str(document.get("vendor") or "Unknown")
    flag = str(document.get("vendor_flag") or document.get("ldn", "")[:3] or _flag(vendor)).upper()[:3]
    listed: dict[str, ListedObject] = {}
    for each in document["objects"]:
        made = _listed(each)
        if made is not None:
            listed.setdefault(made.ref, made)
    profile = MeterProfile(
        id=name,
        vendor=vendor,
        model=str(document.get("model") or name),
        protocol="dlms",
        state=ProfileState.EMULATED,
        source=str(document.get("source") or name),
        listed=tuple(listed.values()),
        is_whole=True,
        flag=flag,
        firmware=str(document.get("firmware") or ""),
    )
    profile = driver(profile.protocol).imitate(profile)
    entries = [_emulated(entry) for entry in profile.objects]
    if blanked:
        entries = [
            replace(entry, emulate={"value": ""}) if entry.quantity in _IDENTIFIERS else entry for entry in entries
        ]
        nothing = [replace(each, values={}) if _identifies(each.ref) else each for each in profile.listed]
        profile = replace(profile, listed=tuple(nothing))
    return replace(profile, objects=tuple(entries))


def _flag(vendor: str) -> str:
    """The FLAG identifier of a vendor that the list gives none for: that of a maker whose name has its first word."""
    word = re.split(r"[^A-Za-z+]", vendor)[0].lower()
    found = (flag for flag, name in manufacturers().items() if word in name.lower().replace(",", " ").split())
    return next(found, _NOBODY)


def _listed(each: Mapping[str, Any]) -> ListedObject | None:
    """An object of a list; None for one whose name has places that anything may be in."""
    groups = str(each["obis"]).split(".")
    if len(groups) != 6 or not all(group.isdigit() and int(group) <= 0xFF for group in groups):
        return None
    a, b, c, d, e, f = groups
    class_id, version = int(each["class_id"]), each.get("version")
    if not 1 <= class_id <= 0xFFFF:
        return None
    told = (each.get("attr_values_hex") or {}).items()
    values = {
        int(key): bytes.fromhex(octets) for key, octets in told if _HEX.fullmatch(str(octets))
    }  # not what was cut
    return ListedObject(
        ref=f"{class_id}/{a}-{b}:{c}.{d}.{e}.{f}",
        version=_USUAL_VERSIONS.get(class_id, 0) if version is None else int(version),
        values=values,
    )


def _emulated(entry: ObjectEntry) -> ObjectEntry:
    """The entry, whose value somebody can make."""
    try:
        evaluator(entry, "household")
    except ConfigError:
        return replace(entry, emulate={"value": 0})
    return entry


def _identifies(ref: str) -> bool:
    return any(ref == place for place in _IDENTIFIERS.values()) or ref.startswith("1/0-0:96.1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A kind of meters that differs from those of a meter file in who they are, and in some of their objects."""

    base: MeterProfile
    vendor: str
    model: str
    flag: str = ""
    firmware: str = ""
    logical_device_name: str = ""
    serial: str = ""
    remove: Sequence[str] = ()
    """patterns of references, as `3/1-0:2.8.*`"""
    add: Sequence[str] = ()
    """references of objects, as `3/1-0:5.8.0.255`"""
    association: Mapping[str, Value] = field(default_factory=dict)

    def profile(self) -> MeterProfile:
        """The meter file of it; raises ConfigError for an object or a parameter that cannot be."""
        base = self.base
        said = {
            "logical_device_name": self.logical_device_name or (f"{self.flag}{{number:013}}" if self.flag else ""),
            "serial_number": self.serial,
            "firmware_version": self.firmware,
            "manufacturer": self.vendor,
            "meter_model": self.model,
        }
        if self.flag and find_manufacturer(self.flag) is None:
            raise ConfigError(f"nobody has the FLAG identifier {self.flag!r}")
        objects = tuple(
            replace(entry, emulate={"value": said[entry.quantity]}) if said.get(entry.quantity) else entry
            for entry in base.objects
            if not self._lacks(entry.ref.address)
        )
        left = {entry.ref for entry in objects}
        tables = [table for table in base.load_profiles if not self._lacks(table.ref.address)]
        tables = [
            replace(table, columns=tuple(column for column in table.columns if column in left)) for table in tables
        ]
        known = {entry.ref.address.rpartition("/")[0] for entry in objects}
        more = tuple(ListedObject(ref=ref) for ref in self.add if ref not in known)
        profile = replace(
            base,
            vendor=self.vendor,
            model=self.model,
            flag=self.flag or base.flag,
            firmware=self.firmware or base.firmware,
            objects=objects,
            load_profiles=tuple(table for table in tables if table.columns),
            listed=(*base.listed, *more),
            association={**base.association, **self.association},
        )
        the_driver = driver(profile.protocol)
        the_driver.check_params({**profile.link, **profile.association})
        profile = the_driver.imitate(profile) if more else profile
        return replace(profile, objects=tuple(_emulated(entry) for entry in profile.objects))

    def _lacks(self, address: str) -> bool:
        return any(fnmatchcase(address, pattern) or fnmatchcase(address, f"{pattern}/*") for pattern in self.remove)

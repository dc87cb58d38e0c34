"""Which object of a meter a request means: a register by name, a data identifier, an OBIS code or a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headend.drivers.base import Driver
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.model.profile import MeterProfile
from headend.model.quantity import for_obis
from headend.northbound.ivy import quantity_of, quantity_of_data_id
from headend.northbound.topics import UnknownRegister
from headend.standards.obis import Obis

KEYS = ("register", "dataId", "obis", "ref")


def entry_of(driver: Driver, profile: MeterProfile | None, params: Mapping[str, Any]) -> ObjectEntry:
    """The object that one of `register`, `dataId`, `obis` and `ref` names; raises ConfigError, UnknownRegister."""
    given = [(key, params[key]) for key in KEYS if params.get(key) not in (None, "")]
    if len(given) != 1:
        raise ConfigError(f"expected one of {', '.join(KEYS)}")
    key, value = given[0]
    text = str(value).strip()
    entries = profile.objects if profile else ()
    if key == "register":
        quantity = quantity_of(text)
        found = next((each for each in entries if each.quantity == quantity), None) if quantity else None
        found = found or next((each for each in entries if each.name and each.name.casefold() == text.casefold()), None)
    elif key == "dataId":
        text = _data_id(value)
        quantity = quantity_of_data_id(text)
        found = next((each for each in entries if each.quantity == quantity), None) if quantity else None
        written = _by_ref(driver, entries, text)
        found = written if written in entries else found or written
    elif key == "obis":
        found = _by_obis(entries, text)
    else:
        found = _by_ref(driver, entries, text.removeprefix(f"{driver.name}:"))
    if found is None:
        raise UnknownRegister(f"no {key} {text!r} in the meter's file")
    return found


def _by_ref(driver: Driver, entries: tuple[ObjectEntry, ...], text: str) -> ObjectEntry | None:
    """What the meter's file says of a reference, or what the meter itself will say; None where it is no reference."""
    try:
        ref = driver.parse_ref(text)
    except ConfigError:
        return None
    return next((each for each in entries if each.ref == ref), None) or ObjectEntry(ref=ref, scaler=None)


def _by_obis(entries: tuple[ObjectEntry, ...], text: str) -> ObjectEntry | None:
    try:
        obis = Obis.parse(text)
    except ConfigError as error:
        raise UnknownRegister(str(error)) from None
    named = next((each for each in entries if f"/{obis}/" in f"/{each.ref.address}/"), None)
    quantity = for_obis(obis)
    return named or next((each for each in entries if quantity and each.quantity == quantity.key), None)


def _data_id(value: object) -> str:
    """Eight hexadecimal digits: `02010100`, `0x02010100`, `02-01-01-00`, or the number itself."""
    if isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:08X}"
    else:
        text = str(value).strip().lower().removeprefix("0x").replace("-", "").upper().rjust(8, "0")
    if len(text) != 8 or set(text) - set("0123456789ABCDEF"):
        raise UnknownRegister(f"expected a data identifier of eight hexadecimal digits, got {value!r}")
    return text

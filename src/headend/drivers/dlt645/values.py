"""Between the octets of a data item and the values of readings: formats, powers of ten and base units of the tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.refs import TIME, DataRef
from headend.drivers.mapping import scale
from headend.errors import ConfigError, LocalProtocolError, ObjectUndefined
from headend.model.quantity import base_unit, find_quantity, for_obis
from headend.protocols.dlt645.formats import Format, Layout, Number, parse_format
from headend.protocols.dlt645.moment import Moment
from headend.standards.dlt645 import Register, Version, find_register
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headend.model.objects import ObjectEntry, ObjectRef, RawValue
    from headend.model.profile import MeterProfile
    from headend.model.quantity import Quantity
    from headend.model.reading import Value
    from headend.protocols.dlt645.formats import Value as FormatValue

_QUANTITIES: Final = {
    "comm_address": "serial_number",
    "meter_number": "serial_number",
    "meter_model": "meter_model",
    "manufacturer_code": "manufacturer",
    "prepay_energy_remaining": "credit_energy",
    "prepay_credit_remaining": "credit_balance",
    "clock_datetime": "meter_time",
    "active_demand_present": "active_demand_present_import_total",
    "reactive_demand_present": "reactive_demand_present_import_total",
    "apparent_demand_present": "apparent_demand_present_import_total",
}
"""Keys of the tables that the catalogue has another name for, and that have no OBIS code of their own."""
_NO_QUANTITY: Final = frozenset({"clock_date", "clock_time", "active_power_avg_1min"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a data identifier holds: its parts (None: octets), the power of ten of the first one, and its base unit."""

    parts: tuple[Format, ...] | None
    exponent: int = 0
    unit: str = ""
    block: bool = False

    def values(self, octets: bytes) -> Sequence[FormatValue]:
        """All values, numbers unscaled; raises DecodeError."""
        if self.parts is None:
            return (octets,)
        return _layout(self.parts, None if self.block else 1).decode(octets)

    def pick(self, ref: DataRef, octets: bytes, position: int | None = None) -> RawValue:
        """What `ref` names among them; of a block, the item at `position` unless the reference says which.

        Raises DecodeError, and ObjectUndefined where a block is shorter.
        """
        values, width = self.values(octets), len(self.parts or (0,))
        item = ref.item if ref.item is not None else position
        part = 1 if ref.part == TIME else 0
        if part >= width:
            raise ConfigError(f"{ref}: there is no time beside this value")
        if item is None and self.block:
            return [_scaled(value, 0 if part else self.exponent) for value in values[part::width]]
        if (item or 0) * width + part >= len(values):
            raise ObjectUndefined(f"{ref}: the meter gives {len(values) // width} of them")
        value = values[(item or 0) * width + part]
        if ref.bit is None:
            return _plain(value)
        if not isinstance(value, int):
            raise ConfigError(f"{ref}: this is no word of bits")
        return bool(value >> ref.bit & 1) == (ref.part[:3] == "bit")


@lru_cache(maxsize=512)
def _layout(parts: tuple[Format, ...], items: int | None) -> Layout:
    return Layout(parts, items)


def _plain(value: FormatValue) -> RawValue:
    return moment_text(value) if isinstance(value, Moment) else value


def _scaled(value: FormatValue, exponent: int) -> RawValue:
    """An item of a list, which nobody scales later."""
    return scale(_plain(value), exponent) if isinstance(value, int | float) else _plain(value)


def moment_text(moment: Moment) -> str:
    """What a moment tells: `2024-02-29 23:59:59`, `2024-02-29`, `23:59`; `*` for what comes every time in between."""
    date, time = str(moment).split(" ")
    told = [date] if date.strip("*-") else []
    while time.endswith(":*"):
        time = time[:-2]
    return " ".join([*told, *([time] if time != "*" else [])])


@lru_cache(maxsize=8192)
def meaning(di: int, version: Version, written: str = "") -> Meaning:
    """What an identifier holds, by the tables or as a meter file writes it (`-XX.XX` is signed); raises ConfigError."""
    register = find_register(di, version)
    if written:
        parts = _parts(written.removeprefix("-"), signed=written.startswith("-"))
        return Meaning(parts, exponent=_decimals(written))
    if register is None or (register.format == "OCTETS"):
        return Meaning(None)
    exponent, unit = _scale(register)
    return Meaning(_parts(register.format, signed=register.signed), exponent, unit, block=register.items > 1)


def _parts(text: str, *, signed: bool) -> tuple[Format, ...]:
    try:
        formats = [parse_format(part, signed=signed) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return tuple(each.scaled(-each.exponent) if isinstance(each, Number) else each for each in formats)


def _decimals(text: str) -> int:
    """The power of ten of the first part."""
    return -len(text.split(",", maxsplit=1)[0].partition(".")[2])


def _scale(register: Register) -> tuple[int, str]:
    """Power of ten to the base unit, and that; amounts in units that no reading has stay as they are."""
    try:
        base, prefix = base_unit(register.unit)
    except ConfigError:
        base, prefix = "", 0
    return _decimals(register.format) + prefix, base


@lru_cache(maxsize=256)
def entries_of(profile: MeterProfile | None) -> Mapping[ObjectRef, ObjectEntry]:
    """The objects of a meter file by their references."""
    return MappingProxyType({entry.ref: entry for entry in profile.objects} if profile else {})


def entry_meaning(entry: ObjectEntry, ref: DataRef) -> Meaning:
    """The same for an object of a meter file."""
    return meaning(ref.di, ref.version, entry.type)


def entry_exponent(entry: ObjectEntry, ref: DataRef) -> int:
    """The power of ten of an object: that of its meter file where that tells it, else that of the tables."""
    known = entry_meaning(entry, ref)
    if ref.part or (known.block and ref.item is None):
        return 0
    return entry.exponent if entry.scaler is not None else known.exponent


def encode_value(format_: Format, value: Value | None, exponent: int, ref: DataRef) -> bytes:
    """The octets of a value in base units; raises ConfigError where they cannot hold it."""
    held: FormatValue = value
    if isinstance(format_, Number) and isinstance(value, int | float):
        held = round(value / 10**exponent if exponent >= 0 else value * 10**-exponent)
    try:
        return format_.encode(held)
    except LocalProtocolError as error:
        raise ConfigError(f"{value!r} does not fit into {ref} ({format_})") from error


def rolled(form: Number, value: float, exponent: int) -> int:
    """A value in base units as a register holds it, which begins anew at zero when its digits do not suffice."""
    raw: int = round(value / 10**exponent if exponent >= 0 else value * 10**-exponent)
    limit: int = 10 ** (2 * form.size)
    held = abs(raw) % (limit // 10 * 8 if form.signed else limit)
    return -held if raw < 0 and form.signed else held


@lru_cache(maxsize=1024)
def quantity_of(register: Register) -> Quantity | None:
    """What a reading of a register is a reading of; None when the catalogue has no such thing."""
    if register.key in _NO_QUANTITY or register.items > 1:
        return None
    found = find_quantity(_QUANTITIES.get(register.key, register.key))
    if found is None and register.obis:
        found = for_obis(Obis.parse(register.obis))
    return found if found is not None and found.unit in ("", _scale(register)[1]) else None


@lru_cache(maxsize=8192)
def block_of(di: int, version: Version) -> tuple[int, int] | None:
    """The block that an identifier can be read with, and its place there; None when there is none."""
    register = find_register(di, version)
    if register is None or register.items > 1:
        return None
    shifts = (8, 0) if version is Version.V2007 else (0,)
    mask = 0xFF if version is Version.V2007 else 0x0F
    for shift in shifts:
        block = find_register(di | mask << shift, version)
        if block is not None and block.items > 1 and block.format == register.format and block.unit == register.unit:
            first = find_register(di & ~(mask << shift), version)
            return block.di, (di >> shift & mask) - (0 if first is not None else 1)
    return None

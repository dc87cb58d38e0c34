"""What a virtual meter shows: the octets of each data identifier, computed when somebody asks.

What a meter file names it has; blocks, the registers of settlements and freezes, clock, status words and event records follow
from that. The image of a meter file is shared by all its meters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.meter.memory import (
    Event,
    Memory,
    last_times,
    local,
    memory_of,
    millis,
    settlement,
)
from headend.drivers.dlt645.refs import TIME, DataRef, data_ref
from headend.drivers.dlt645.values import block_of, entry_exponent, entry_meaning, meaning, rolled
from headend.errors import ConfigError, LocalProtocolError
from headend.protocols.dlt645.formats import Digits, Number, Text, Time, parse_format
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.responses import ErrorBit
from headend.standards.dlt645 import Register, Version, find_register

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from headend.drivers.base import MeterModel
    from headend.model.objects import ObjectEntry
    from headend.model.profile import MeterProfile
    from headend.model.reading import Value
    from headend.protocols.dlt645.formats import Format

_SLOT: Final = 900_000
_MONTHLY: Final = Moment(day=1, hour=0, minute=0)
_DAILY: Final = Moment(hour=0, minute=0)
_HOURLY: Final = Moment(minute=0)
_FREEZES: Final = {4: _HOURLY, 6: _DAILY, 7: _MONTHLY}
"""DI2 of freezes that a meter makes by itself."""
_FREEZE_TIMED: Final = 0
_FREEZE_INSTANT: Final = 1
_BY_COMMAND: Final = (_FREEZE_TIMED, _FREEZE_INSTANT)
"""DI2 of those that a command makes: before that they are FF."""
_MINUTE: Final = parse_format("YYMMDDhhmm")
_SECOND: Final = parse_format("YYMMDDhhmmss")
_FREEZE_END: Final = b"\xaa"
_ADDRESS: Final = 0x04000401
_RELAY_OPEN: Final = 1 << 4
_RELAY_COMMANDED: Final = 1 << 6
_ALARM: Final = 1 << 7
_KEPT: Final = 1 << 12


class Refused(Exception):
    """The meter answers with an error word."""

    def __init__(self, error: ErrorBit) -> None:
        self.error = error


class Shown:
    """One object of a meter file: where it is, and how its value becomes octets."""

    __slots__ = ("entry", "exponent", "format", "index", "ref")

    def __init__(self, index: int, entry: ObjectEntry) -> None:
        self.index = index
        self.entry = entry
        self.ref: DataRef = data_ref(entry.ref.address)
        parts = entry_meaning(entry, self.ref).parts
        if parts is None:
            raise ConfigError(f"{entry.ref}: a virtual meter does not know its format", hint='type = "XXXX.XX"')
        self.format: Format = parts[min(1 if self.ref.part == TIME else 0, len(parts) - 1)]
        self.exponent = entry_exponent(entry, self.ref)

    def encode(self, value: Value) -> bytes:
        """The octets of a value: what counts rolls over, as real registers do, and texts are cut off."""
        form = self.format
        if isinstance(form, Time) and value == 0:  # nothing has happened yet
            return form.encode(None)
        if isinstance(form, Number):
            number = value if isinstance(value, int | float) else int(value) if value.isdecimal() else 0
            return form.encode(rolled(form, number, self.exponent))
        if isinstance(form, Text):
            value = str(value).encode("ascii", "replace").decode()[: form.size]
        elif isinstance(form, Digits):
            value = "".join(filter(str.isdecimal, str(value)))[-2 * form.size :]
        try:
            return form.encode(value)
        except LocalProtocolError:
            raise Refused(ErrorBit.OTHER) from None


class Image:
    """The objects of a meter file by their identifiers."""

    def __init__(self, profile: MeterProfile) -> None:
        """Raises ConfigError for objects whose format nobody knows."""
        self.objects: dict[tuple[Version, int], dict[tuple[int | None, str], Shown]] = {}
        for index, entry in enumerate(profile.objects):
            shown = Shown(index, entry)
            self.objects.setdefault((shown.ref.version, shown.ref.di), {})[shown.ref.item, shown.ref.part] = shown

    def has(self, di: int, version: Version) -> bool:
        """The meter file names the identifier."""
        return (version, di) in self.objects

    def main(self, di: int, version: Version) -> Shown | None:
        """The object that is the value of an identifier."""
        return self.objects.get((version, di), {}).get((None, ""))


@lru_cache(maxsize=512)
def image_of(profile: MeterProfile) -> Image:
    """The image of a meter file, made once."""
    return Image(profile)


class Face:
    """What one meter shows at the moment of a request."""

    def __init__(self, model: MeterModel) -> None:
        self.model = model
        self.image = image_of(model.profile)
        self.memory: Memory = memory_of(model)
        self.zone: tzinfo = self.memory.zone
        self.at = model.now()
        self.now: datetime = local(self.at, self.zone)

    def read(self, di: int, version: Version) -> bytes:
        """The octets of an identifier; raises Refused."""
        clock = _CLOCKS.get((version, di))
        if clock is not None and (self.image.has(di, version) or di in _ALWAYS):
            return self.clock(clock)
        if di == _ADDRESS and version is Version.V2007:
            return self.memory.address.octets
        octets = self._computed(di) if version is Version.V2007 else self._of_month(di)
        if octets is None:
            octets = self._objects(di, version, self.at)
        if octets is None:
            octets = self._block(di, version, self.at)
        if octets is None:
            raise Refused(ErrorBit.NO_SUCH_DATA)
        return octets

    def _computed(self, di: int) -> bytes | None:
        """What follows from what the meter does: words, events, settlements, freezes."""
        group = di >> 24
        if di >> 8 == 0x040005:
            return self._status(di & 0xFF)
        if di >> 16 == 0x0330:
            return self._event(di >> 8 & 0xFF, di & 0xFF)
        if group in (0, 1) and 1 <= di & 0xFF <= 12:
            then = millis(settlement(di & 0xFF, self.now), self.zone)
            return self._then(di & ~0xFF, then if group == 0 else then - 1)
        if group == 5:
            return self._freeze(di >> 16 & 0xFF, di >> 8 & 0xFF, di & 0xFF)
        return None

    def _of_month(self, di: int) -> bytes | None:
        """The last month and the one before in 1997: 94xx and 98xx are 90xx then."""
        back = {0x9400: 1, 0x9500: 1, 0x9800: 2, 0x9900: 2}.get(di & 0xFF00)
        if back is None:
            return None
        then = millis(settlement(back, self.now), self.zone)
        return self._then(di & 0x91FF, then, Version.V1997)

    def _then(self, di: int, then: int, version: Version = Version.V2007) -> bytes | None:
        """An identifier as it was at a time."""
        octets = self._objects(di, version, then)
        return self._block(di, version, then) if octets is None else octets

    def _objects(self, di: int, version: Version, then: int) -> bytes | None:
        """What the meter file names itself."""
        found = self.image.objects.get((version, di))
        if not found:
            return None
        main = found.get((None, ""))
        if main is None:
            return self._pieces(di, version, found, then)
        octets = main.encode(self._value(main, then))
        parts = entry_meaning(main.entry, main.ref).parts or ()
        if len(parts) > 1:
            octets += _MINUTE.encode(Moment.from_datetime(local(then - then % _SLOT, self.zone)))
        return octets

    def _pieces(
        self, di: int, version: Version, found: Mapping[tuple[int | None, str], Shown], then: int
    ) -> bytes | None:
        """Items of a block, or bits of a word, that the meter file names alone."""
        known = meaning(di, version)
        if any(shown.ref.bit is not None for shown in found.values()):
            word = 0
            for shown in found.values():
                bit = shown.ref.bit
                if bit is not None and bool(self._value(shown, then)) == (shown.ref.part[:3] == "bit"):
                    word |= 1 << bit
            return (known.parts or ())[0].encode(word)
        items = {shown.ref.item: shown for shown in found.values() if shown.ref.item is not None}
        if not items:
            return None
        count = max(items) + 1
        empty = (known.parts or ())[0].encode(0)
        return b"".join(
            items[place].encode(self._value(items[place], then)) if place in items else empty for place in range(count)
        )

    def _block(self, di: int, version: Version, then: int) -> bytes | None:
        """The items of a block that the meter has; phases that it does not have are FF."""
        block = find_register(di, version)
        if block is None or block.items < 2:
            return None
        items = _items(block)
        if not any(self.image.has(item, version) for item in items):
            return None
        tariffs = "tariffs" in block.name
        octets = []
        for item in items:
            one = self._objects(item, version, then)
            if one is None and tariffs:
                break
            octets.append(b"\xff" * block.item_length if one is None else one)
        return b"".join(octets)

    def _value(self, shown: Shown, then: int) -> Value:
        """The value at a time, since the registers were cleared."""
        value = self.model.current_value(shown.index) if then == self.at else self.model.value(shown.index, then)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return value
        group = shown.ref.di >> 24 if shown.ref.version is Version.V2007 else shown.ref.di >> 12
        cleared, reset = self.memory.cleared_at, self.memory.demand_reset_at
        if group in (0x00, 0x9) and cleared is not None and not _is_balance(shown.ref.di):
            before = self.model.value(shown.index, cleared)
            return max(0, value - before) if then >= cleared and isinstance(before, int | float) else 0
        if (
            group in (0x01, 0xA)
            and reset is not None
            and reset >= millis(settlement(1, local(then, self.zone)), self.zone)
        ):
            return 0 if then >= reset else value
        return value

    # --- what a meter does by itself ---

    def clock(self, form: str) -> bytes:
        """What the clock shows."""
        return parse_format(form).encode(Moment.from_datetime(self.now))

    def _status(self, word: int) -> bytes | None:
        """Status words 1 to 7, or all (FF)."""
        if word == 0xFF:
            return b"".join(self._status(each) or b"" for each in range(1, 8))
        if not 1 <= word <= 7:
            return None
        bits = 0
        if word == 3:
            memory, closed = self.memory, self.model.relay_closed()
            bits |= 0 if closed else _RELAY_OPEN
            bits |= 0 if closed or memory.armed else _RELAY_COMMANDED
            bits |= (_ALARM if memory.alarm else 0) | (_KEPT if memory.kept else 0)
        return bits.to_bytes(2, "little")

    def _event(self, kind: int, back: int) -> bytes | None:
        """How often something was done to the meter, or the record of it."""
        register = find_register(0x03300000 | kind << 8 | back)
        if register is None:
            return None
        records = self.memory.events.get(kind, [])
        if back == 0:
            return bytes.fromhex(f"{len(records) % 1_000_000:06}")[::-1]
        if back > len(records):
            return b"\xff" * register.length
        record = records[back - 1]
        when = _SECOND.encode(Moment.from_datetime(local(record.at, self.zone)))
        octets = record.operator + record.more if kind == Event.CLOCK_SET else when + record.operator + record.more
        return octets.ljust(register.length, b"\xff")[: register.length]

    def _freeze(self, kind: int, what: int, back: int) -> bytes | None:
        """What was kept by a freeze: its time, the energies of a direction, or all of it."""
        then = self._frozen_at(kind, back)
        if then is None:
            register = find_register(0x05000000 | kind << 16 | what << 8 | back)
            return b"\xff" * register.item_length if register and kind in _BY_COMMAND else None
        if what == 0x00:
            return _MINUTE.encode(Moment.from_datetime(local(then, self.zone)))
        if what == 0xFF:
            pieces = [self._freeze(kind, each, back) for each in range(9)]
            return b"".join(piece + _FREEZE_END for piece in pieces if piece is not None)
        return self._then(what << 16 | 0xFF00, then) if what <= 8 else None

    def _frozen_at(self, kind: int, back: int) -> int | None:
        if kind == _FREEZE_INSTANT:
            freezes = self.memory.freezes
            return freezes[back - 1] if 1 <= back <= len(freezes) else None
        pattern = self.memory.timed if kind == _FREEZE_TIMED else _FREEZES.get(kind)
        if pattern is None:
            return None
        for count, shown in enumerate(last_times(pattern, self.now), 1):
            if count == back:
                return millis(shown, self.zone)
        return None


@lru_cache(maxsize=512)
def _items(block: Register) -> tuple[int, ...]:
    """The identifiers in a block, in their order."""
    if block.version is Version.V1997:
        around = [block.di & ~0xF | digit for digit in range(0x0F)]
    else:
        around = [block.di & ~0xFF00 | octet << 8 for octet in range(0x40)]
        around += [block.di & ~0xFF | octet for octet in range(0x40)]
    found = {}
    for di in around:
        place = block_of(di, block.version)
        if place is not None and place[0] == block.di:
            found[place[1]] = di
    return tuple(found[place] for place in sorted(found))


def _is_balance(di: int) -> bool:
    return di >> 16 == 0x0090


_CLOCKS: Final = {
    (Version.V2007, 0x0400010C): "YYMMDDWWhhmmss",
    (Version.V2007, 0x04000101): "YYMMDDWW",
    (Version.V2007, 0x04000102): "hhmmss",
    (Version.V1997, 0xC010): "YYMMDDWW",
    (Version.V1997, 0xC011): "hhmmss",
}
_ALWAYS: Final = frozenset({0x04000101, 0x04000102, 0xC010, 0xC011})

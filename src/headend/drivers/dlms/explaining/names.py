"""Which objects short names stand for: those that every meter has, and those of an object list that was heard. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.dlms.explaining.words import attribute_text, class_text, method_text
from headend.errors import DecodeError
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.short_names import RESERVED, Member, ShortNames, ShortObject, to_short_names

_VERSION: Final = 2
_STANDARD: Final = ShortNames(
    ShortObject(name, class_id, _VERSION, obis) for (class_id, obis), name in RESERVED.items()
)
_SINGLE: Final = b"\x01\x00"
"""How the list of results begins that holds one value."""
_LONGEST: Final = 0x100000


class Names:
    """The names of one meter, as far as its answers have told them."""

    __slots__ = ("_blocks", "_told")

    def __init__(self) -> None:
        self._told = ShortNames(())
        self._blocks = b""

    def find(self, name: int) -> Member | None:
        """What a short name stands for."""
        return self._told.member(name) or _STANDARD.member(name)

    def text(self, name: int) -> str:
        """A short name, and what it stands for where that is known."""
        member = self.find(name)
        if member is None:
            return f"{name:04X}"
        target, number = member.target, member.number
        what = method_text(target.class_id, number) if member.is_method else attribute_text(target.class_id, number)
        kind = "method" if member.is_method else "attribute"
        return f"{name:04X} ({class_text(target.class_id)} {target.logical_name}, {kind} {what})"

    def hear(self, data: bytes) -> None:
        """A value that a meter has told, which may be its object list."""
        try:
            told = to_short_names(decode_data(data)[0])
        except DecodeError:
            return
        if told.objects:
            self._told = told

    def hear_block(self, raw_data: bytes, number: int, *, last: bool) -> None:
        """The same for a block of an answer."""
        before = b"" if number == 1 else self._blocks
        self._blocks = (before + raw_data)[:_LONGEST]
        if last and self._blocks.startswith(_SINGLE):
            self.hear(self._blocks[len(_SINGLE) :])

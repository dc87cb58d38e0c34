"""Who a meter is, taken out of what it says: digits become the number of whatever virtual meter says them. Pure."""

from __future__ import annotations

import re
from typing import Final

from headend.model.meter import MeterIdentity

HEX: Final = "hex:"
"""in front of octets that are no text, in an `emulate` value"""
_DIGITS: Final = re.compile(r"\d+")
_LEAST_OWN: Final = 4
"""digits of a number of the meter's own: fewer are found everywhere"""
_LEAST: Final = 6
"""digits that tell something of somebody wherever they stand: telephone numbers, numbers of contracts"""
_SHORT: Final = 4
"""octets that tell nobody"""


class Redactor:
    """The same number becomes the same everywhere; `{number:08}` is filled in by the virtual meter with a number of its own."""

    def __init__(self, identity: MeterIdentity) -> None:
        said = (identity.serial, identity.logical_device_name, identity.meter_address)
        self._own = tuple(run for text in said for run in _DIGITS.findall(text) if len(run) >= _LEAST_OWN)
        self._texts = tuple(text for text in said if len(text) >= _LEAST_OWN)

    def identity(self, text: str) -> str:
        """A text that says which meter it is: letters stay, of digits how many there are."""
        return _DIGITS.sub(lambda found: _number(found[0]), text)

    def text(self, text: str) -> str:
        """Any other text: the meter's own numbers, and long ones, are taken out."""
        if any(own in text for own in self._texts):
            return self.identity(text)
        return _DIGITS.sub(lambda found: _number(found[0]) if self._tells(found[0]) else found[0], text)

    def whole(self, value: int) -> int | str:
        """A number, which may be the meter's own."""
        digits = str(abs(value))
        is_own = len(digits) >= _LEAST_OWN and any(own.lstrip("0") == digits for own in self._own)
        return _number(digits) if is_own else value

    def octets(self, octets: bytes) -> str:
        """Octets that are no text: short ones as they are, of others how many there are."""
        return HEX + (octets if len(octets) <= _SHORT else bytes(len(octets))).hex()

    def _tells(self, run: str) -> bool:
        if len(run) >= _LEAST:
            return True
        return len(run) >= _LEAST_OWN and any(run in own or own in run for own in self._own)


def _number(digits: str) -> str:
    return f"{{number:0{len(digits)}}}"

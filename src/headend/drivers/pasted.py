"""Octets as people paste them, and the driver that understands them best. Pure but for loading drivers."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Final

from headend.drivers.base import NO_SECRETS, Driver, Layer, Secrets, Sniffed
from headend.drivers.registration_layers import explain_mixed, explain_opening
from headend.drivers.registrations import built_in
from headend.errors import ConfigError

_NOISE: Final = re.compile(r"0[xX]|\\x|[\s:,;_|\-.'\"{}()\[\]]")
_OFFSET: Final = re.compile(r"\s*(?:0[xX])?([0-9a-fA-F]{4,16})(?::|\s\s|\t|\s*$|(?<=[0-9a-fA-F]{6})\s)")
_TOKEN: Final = re.compile(r"(\s*)([0-9a-fA-F]+)(?=\s|$)")
_BASE64: Final = "base64:"
_SHORT_BASE64: Final = 16
_LINE: Final = 16
"""Octets in a line of a hexdump whose successor does not tell."""


def read_hex(text: str) -> bytes:
    """Octets in hexadecimal: in any grouping, with 0x or commas, or a hexdump with offsets and text beside the octets.

    What begins with `base64:` is that, and so is long text that can be nothing else.
    """
    if text.lstrip().startswith(_BASE64):
        try:
            return b64decode("".join(text.split())[len(_BASE64) :], validate=True)
        except ValueError:
            raise ConfigError("base64: expected octets in base64") from None
    lines = [line for line in text.splitlines() if line.strip()]
    dump = _hexdump(lines)
    if dump is not None:
        return dump
    digits = _NOISE.sub("", text)
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = _base64("".join(text.split()))
        if data:
            return data
        wrong = next((char for char in digits if char not in "0123456789abcdefABCDEF"), None)
        said = f"{wrong!r} is no hexadecimal digit" if wrong else "an odd number of digits"
        raise ConfigError(f"hex: expected octets in hexadecimal: {said}") from None
    if not data:
        raise ConfigError("hex: expected octets in hexadecimal, got nothing")
    return data


def _base64(text: str) -> bytes:
    """What long text holds that is base64 and has far too many other letters for a slip in hexadecimal."""
    others = sum(char not in "0123456789abcdefABCDEF" for char in text)
    if len(text) < _SHORT_BASE64 or 8 * others < len(text):
        return b""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _hexdump(lines: list[str]) -> bytes | None:
    """The octets of a hexdump whose every line begins with its offset; None when this is no hexdump."""
    found = [_OFFSET.match(line) for line in lines]
    offsets = [int(each[1], 16) for each in found if each]
    if not offsets or len(offsets) != len(lines) or offsets[0] != 0 or offsets != sorted(set(offsets)):
        return None
    data = b""
    for line, match, following in zip(lines, found, (*offsets[1:], None), strict=True):
        wanted = following - len(data) if following is not None else _LINE
        data += _octets(line[match.end() :] if match else "", wanted, exact=following is not None)
        if following is not None and len(data) != following:
            return None
    return data or None


def _octets(line: str, wanted: int, *, exact: bool) -> bytes:
    """The octets of one line; the last line ends where a wide gap or something else follows."""
    data = b""
    at = 0
    while len(data) < wanted and (token := _TOKEN.match(line, at)):
        wide = len(token[1]) > 2 and bool(data)
        if len(token[2]) % 2 or (wide and not exact):
            break
        data += bytes.fromhex(token[2])
        at = token.end()
    return data[:wanted]


def explain_any(data: bytes, drivers: Iterable[Driver], secrets: Secrets = NO_SECRETS) -> tuple[str, Layer]:
    """The name and the explanation of the driver that finds nothing wrong, knows the beginning, or sees most in it.

    Logins and heartbeats of meters that dial in are told apart from what stands between them.
    """
    drivers = list(drivers)

    def explain(octets: bytes) -> tuple[str, Layer]:
        return _explain_best(octets, drivers, secrets)

    mixed = explain_mixed(data, built_in(), explain)
    if mixed is not None:
        return mixed
    name, layer = explain(data)
    opening = explain_opening(data, built_in()) if data and next(errors(layer), "") else None
    return (name, layer) if opening is None else ("", opening)


def _explain_best(data: bytes, drivers: Iterable[Driver], secrets: Secrets) -> tuple[str, Layer]:
    explained = [
        (isinstance(driver.sniff(data), Sniffed), driver.name, driver.explain(data, secrets)) for driver in drivers
    ]
    _, name, layer = min(explained, key=lambda each: (bool(next(errors(each[2]), "")), not each[0], -_seen(each[2])))
    return name, layer


def errors(layer: Layer) -> Iterator[str]:
    """Everything that is wrong in a layer and below it, outermost first."""
    if layer.error:
        yield layer.error
    for inner in layer.layers:
        yield from errors(inner)


def _seen(layer: Layer) -> int:
    return 1 + len(layer.fields) + sum(map(_seen, layer.layers))

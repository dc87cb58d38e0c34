"""Makers in what a meter says about itself: manufacturer ids in names and titles, and texts. Pure.

How far an id of three letters is believed depends on what stands around it: one of eleven triples of letters is registered,
so a text that only begins with a word proves little, and a name of the form of IDIS proves much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from headend.errors import DecodeError
from headend.services.discovery.classification.witness import Witness
from headend.standards.flag import from_mbus, from_octets
from headend.standards.vendors import vendor_in_text, vendor_of_flag

IDIS_TYPES: Final = range(99, 108)
"""Device types of IDIS, in system titles as an octet and in names as three digits: 99 data concentrator, 100 … meters."""

_NAMES: Final = (
    (re.compile(r"[A-Z]{3}(099|10[0-7])\d{6,10}"), 0.99, "a name of IDIS"),
    (re.compile(r"[A-Z]{3}\d{4,13}"), 0.97, "an id and a number"),
    (re.compile(r"[A-Z]{3}[ _/-]?[0-9A-Z_ ./-]*\d[0-9A-Z_ ./-]*"), 0.95, "an id and a designation"),
    (re.compile(r"[A-Z]{3}"), 0.8, "an id alone"),
    (re.compile(r"[A-Z]{3}(?![A-Za-z]).*"), 0.85, "an id and something else"),
    (re.compile(r"[A-Za-z]{3}\d{4,13}"), 0.8, "an id in small letters and a number"),
    (re.compile(r"[A-Za-z]{3}.*"), 0.35, "a word that may begin with an id"),
)
_EXAMPLES: Final = frozenset({"4142434445464748", "4d4d4d0000bc614e", "4d4d4d0000000001"})
"""System titles of the examples in the standards: who uses them did not set its own."""
_SIGN_ON: Final = re.compile(r"/?([A-Za-z]{3})[0-9A-Z]")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")

_TEXTS: Final = (
    ("manufacturer_text", 0.96, "the maker that it names"),
    ("device_id_vendor", 0.97, "the maker in its device identification"),
    ("device_id_product", 0.9, "the product in its device identification"),
    ("server_id", 0.85, "the text of its server id"),
    ("model_text", 0.9, "the type that it names"),
)


def identify(facts: Mapping[str, str]) -> Iterator[Witness]:
    """Whom the identifiers speak for, strongest kinds first."""
    yield from _of_name(facts.get("logical_device_name", ""), facts.get("logical_device_name_flag", ""))
    yield from _of_title(facts.get("system_title", ""), facts.get("system_title_flag", ""))
    yield from _of_sign_on(facts.get("identification", ""))
    for fact, reliability, what in _TEXTS:
        text = facts.get(fact, "")
        if fact == "server_id" and _HEX.fullmatch(text):
            text = _printed(bytes.fromhex(text))
        found = vendor_in_text(text)
        if found:
            vendor, word = found
            yield _witness(vendor, "", reliability, f"{what}: {word!r} in {_shown(text)}", fact)
        elif text and fact == "manufacturer_text":
            yield from _of_text_with_id(text)


def _of_name(name: str, flag: str) -> Iterator[Witness]:
    """The logical device name: three letters of the maker first; then whatever it likes."""
    text = _readable(name).strip("\x00 ")
    if text and text[:3] != name.strip("\x00 ")[:3]:
        yield from _of_flag(text[:3], 0.85, f"logical device name {name} is an id and octets", "logical_device_name")
        return
    for form, reliability, what in _NAMES:
        if form.fullmatch(text):
            yield from _of_flag(
                text[:3].upper(), reliability, f"logical device name {text} is {what}", "logical_device_name"
            )
            return
    if not text and flag:
        yield from _of_flag(flag.upper(), 0.85, f"logical device name begins with {flag}", "logical_device_name_flag")


def _of_title(title: str, flag: str) -> Iterator[Witness]:
    """The system title: three letters and five octets; in Italy two octets of M-Bus instead of the letters."""
    try:
        octets = bytes.fromhex(title)
    except ValueError:
        octets = b""
    if len(octets) != 8:
        if flag:
            yield from _of_flag(flag.upper(), 0.9, f"system title begins with {flag}", "system_title_flag")
        return
    if title.lower() in _EXAMPLES:
        return
    letters = octets[:3].decode("latin-1")
    if letters.isascii() and letters.isupper() and letters.isalpha():
        idis = octets[3] in IDIS_TYPES
        form = f"device type {octets[3]} of IDIS" if idis else "five octets of its own"
        yield from _of_flag(
            letters, 0.985 if idis else 0.97, f"system title {title}: {letters} and {form}", "system_title"
        )
    elif from_octets(octets) is None:
        yield from _packed(octets, title)
    else:
        yield from _of_flag(letters.upper(), 0.6, f"system title {title}: letters {letters}", "system_title")


def _packed(octets: bytes, title: str) -> Iterator[Witness]:
    """The Italian form: the manufacturer code of M-Bus in two octets, in one order or the other."""
    found: dict[str, int] = {}
    for code in (octets[0] << 8 | octets[1], octets[1] << 8 | octets[0]):
        try:
            flag = from_mbus(code) if code < 0x8000 else ""
        except DecodeError:
            continue
        if vendor_of_flag(flag):
            found.setdefault(flag, code)
    for flag in found:
        reliability = 0.6 if len(found) == 1 else 0.35
        yield from _of_flag(flag, reliability, f"system title {title}: {flag} as a code of M-Bus", "system_title")


def _of_sign_on(text: str) -> Iterator[Witness]:
    """The line with which a meter signs on (IEC 62056-21): `/`, three letters, a digit for its speed, its type."""
    found = _SIGN_ON.match(text)
    if found:
        reliability = 0.97 if found[1][:2].isupper() else 0.85
        yield from _of_flag(found[1].upper(), reliability, f"signs on as {_shown(text)}", "identification")


def _of_text_with_id(text: str) -> Iterator[Witness]:
    """A text that names no maker but may begin with an id, as `KFM_001`."""
    for form, reliability, what in _NAMES[:3]:
        if form.fullmatch(text):
            yield from _of_flag(text[:3], reliability - 0.1, f"{_shown(text)} is {what}", "manufacturer_text")
            return


def _of_flag(flag: str, reliability: float, text: str, fact: str) -> Iterator[Witness]:
    vendor = vendor_of_flag(flag) if flag else None
    if vendor:
        yield _witness(vendor, flag, reliability, f"{text}; {flag} is {vendor}", fact)
    elif flag:
        yield _witness("", flag, 0.0, f"{text}; {flag} is not a registered id", fact)


def _witness(vendor: str, flag: str, reliability: float, text: str, fact: str) -> Witness:
    return Witness(vendor=vendor, flag=flag, reliability=reliability, text=text, fact=fact, method="identifier")


def _readable(text: str) -> str:
    """Hexadecimal that begins with three letters as text, with a full stop for what cannot be printed; anything else as it is."""
    if len(text) >= 6 and _HEX.fullmatch(text):
        octets = bytes.fromhex(text)
        if all(0x41 <= octet <= 0x5A for octet in octets[:3]):
            return _printed(octets)
    return text


def _printed(octets: bytes) -> str:
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in octets)


def _shown(text: str) -> str:
    """A text for people: short, and without what cannot be printed."""
    return repr(text if len(text) <= 40 else text[:40] + "…")

"""Ciphered, signed and block-transferred APDUs as far as they can be read without a key (IEC 62056-5-3, 5.3 and 9.5). Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.dlms.explaining.scribe import Scribe
from headend.drivers.dlms.explaining.words import date_time_text, hex_text, system_title
from headend.errors import DecodeError

_AUTHENTICATED: Final = 0x10
_ENCRYPTED: Final = 0x20
_BROADCAST: Final = 0x40
_COMPRESSED: Final = 0x80
_HEADER: Final = 5
"""Security control and invocation counter."""
_TAG: Final = 12
_KEY_IDS: Final = {0: "global unicast encryption key", 1: "global broadcast encryption key"}
_AGREEMENTS: Final = {b"\x01": "one-pass Diffie-Hellman C(1e, 1s)", b"\x02": "static unified model C(0e, 2s)"}


def walk_general(scribe: Scribe, tag: int) -> None:
    """General ciphering in its forms, and general signing; the tag has been read."""
    if tag in {0xDB, 0xDC}:
        scribe.string("system title", system_title)
        walk_ciphered(scribe, tag)
        return
    scribe.string("transaction id")
    scribe.string("originator system title", system_title)
    scribe.string("recipient system title", system_title)
    scribe.string("date-time", lambda octets: date_time_text(octets) if len(octets) == 12 else octets.hex())
    scribe.string("other information")
    if tag == 0xDF:
        start = scribe.reader.offset
        content = scribe.reader.string("content")
        scribe.note("content", f"{len(content)} octets", start)
        if content:
            scribe.layers.append(
                scribe.explain(scribe.octets.part(scribe.reader.offset - len(content), scribe.reader.offset))
            )
        scribe.string("signature", hex_text)
        return
    if scribe.flag("key information"):
        _key_information(scribe)
    walk_ciphered(scribe, tag)


def _key_information(scribe: Scribe) -> None:
    names = {0: "identified key", 1: "wrapped key", 2: "agreed key"}
    start = scribe.reader.offset
    choice = scribe.number("key", 1, lambda value: names.get(value, str(value)))
    if choice == 0:
        scribe.number("key id", 1, lambda value: f"{value} ({_KEY_IDS.get(value, 'unknown')})")
    elif choice == 1:
        scribe.number("key-encrypting key id", 1, lambda value: "0 (master key)" if value == 0 else str(value))
        scribe.string("wrapped key", lambda octets: f"{len(octets)} octets")
    elif choice == 2:
        scribe.string("key parameters", lambda octets: _AGREEMENTS.get(octets, octets.hex()))
        scribe.string("key ciphered data", hex_text)
    else:
        raise DecodeError("key information", offset=start, expected="00, 01 or 02", got=f"{choice:02X}")


def walk_ciphered(scribe: Scribe, _tag: int) -> None:
    """A length, security control, invocation counter, and what is ciphered or only authenticated."""
    reader = scribe.reader
    start = reader.offset
    length = reader.length("length of the ciphered APDU")
    scribe.note("length", str(length), start)
    if length < _HEADER:
        raise DecodeError("ciphered APDU", offset=start, expected=f"at least {_HEADER} octets", got=str(length))
    control = scribe.number("security control", 1, _control)
    scribe.number("invocation counter", 4)
    begin, end = reader.offset, reader.offset + length - _HEADER
    if control & _AUTHENTICATED and end - begin < _TAG:
        raise DecodeError("authentication tag", offset=begin, expected=f"{_TAG} octets", got=str(end - begin))
    inner = end - _TAG if control & _AUTHENTICATED else end
    if control & (_ENCRYPTED | _COMPRESSED):
        what = "ciphered" if control & _ENCRYPTED else "compressed"
        reader.octets(inner - begin, "ciphertext")
        scribe.note("ciphertext", f"{inner - begin} octets, {what}: give the key to read them", begin)
    elif inner > begin:
        reader.octets(inner - begin, "plain APDU")
        scribe.note("plain APDU", f"{inner - begin} octets, authenticated only", begin)
        scribe.layers.append(scribe.explain(scribe.octets.part(begin, inner)))
    if inner < end:
        scribe.take(_TAG, "authentication tag")


def _control(value: int) -> str:
    bits = [
        "authenticated" if value & _AUTHENTICATED else "not authenticated",
        "encrypted" if value & _ENCRYPTED else "not encrypted",
        "broadcast key" if value & _BROADCAST else "unicast key",
        *(["compressed"] if value & _COMPRESSED else []),
    ]
    return f"{value:02X} (suite {value & 0x0F}, {', '.join(bits)})"


def walk_block(scribe: Scribe, _tag: int) -> None:
    """One block of a general block transfer; the tag has been read."""
    scribe.number("block control", 1, _block_control)
    scribe.number("block number", 2)
    scribe.number("block number acknowledged", 2)
    scribe.string("block data", lambda octets: f"{len(octets)} octets")


def _block_control(value: int) -> str:
    last = "last block" if value & 0x80 else "more blocks follow"
    streaming = "streaming" if value & 0x40 else "not streaming"
    return f"{value:02X} ({last}, {streaming}, window {value & 0x3F})"

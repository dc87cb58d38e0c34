"""Ciphered, signed and block-transferred APDUs; deciphered where there is a key (IEC 62056-5-3, 5.3 and 9.5). Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from headend.drivers.dlms.explaining.dialogue import Agreement, Opened, Sealed
from headend.drivers.dlms.explaining.scribe import Octets, Scribe
from headend.drivers.dlms.explaining.words import date_time_text, hex_text, system_title
from headend.errors import DecodeError
from headend.protocols.dlms.security.ciphering import DEDICATED, PLAIN_OF_DEDICATED, PLAIN_OF_GLOBAL
from headend.protocols.dlms.security.control import AUTHENTICATED, BROADCAST, COMPRESSED, ENCRYPTED, SUITE

_HEADER: Final = 5
"""Security control and invocation counter."""
_TAG: Final = 12
_KEY_IDS: Final = {0: "global unicast encryption key", 1: "global broadcast encryption key"}
_AGREEMENTS: Final = {b"\x01": "one-pass Diffie-Hellman C(1e, 1s)", b"\x02": "static unified model C(0e, 2s)"}
_ASKED: Final = frozenset({0x01, 0x05, 0x06, 0x16, 0xC0, 0xC1, 0xC3})
"""Plain APDUs that clients send; the others come from meters."""
_ENCRYPTED_ONLY: Final = "encrypted without an authentication tag, as some meters push: what was altered is not noticed"
_SUITE_1: Final = (
    "security suite 1 in an APDU that needs no more than suite 0, as some meters push: AES with 128 bits all the same"
)


def walk_service(scribe: Scribe, tag: int) -> None:
    """A glo- or ded- variant of a service; the tag has been read."""
    plain = PLAIN_OF_GLOBAL.get(tag, PLAIN_OF_DEDICATED.get(tag, 0))
    senders = ("client_title",) if plain in _ASKED else ("server_title",)
    dedicated = "dk" if tag in DEDICATED.values() else ""
    _walk_sealed(scribe, Sealed(senders=senders, key=dedicated, inner=plain))


def walk_general(scribe: Scribe, tag: int) -> None:
    """General ciphering in its forms, and general signing; the tag has been read."""
    if tag in {0xDB, 0xDC}:
        title = scribe.string("system title", system_title)
        if not title:
            start = scribe.reader.offset - 1
            scribe.note("peculiarity", "no system title in a general APDU, as some meters send it", start)
        _walk_sealed(scribe, Sealed(title=title, key="dk" if tag == 0xDC else ""))
        return
    transaction_id = scribe.string("transaction id")
    originator = scribe.string("originator system title", system_title)
    recipient = scribe.string("recipient system title", system_title)
    scribe.string("date-time", lambda octets: date_time_text(octets) if len(octets) == 12 else octets.hex())
    scribe.string("other information")
    if tag == 0xDF:
        _walk_signed(scribe, originator)
        return
    more = scribe.reader.data[1 : scribe.reader.offset]
    envelope = Sealed(title=originator, more=more)
    if scribe.flag("key information"):
        envelope = _key_information(scribe, envelope, recipient, transaction_id)
    _walk_sealed(scribe, envelope)


def _walk_signed(scribe: Scribe, originator: bytes) -> None:
    """What is signed, and the signature over it and over the header as they are encoded."""
    reader = scribe.reader
    start = reader.offset
    content = reader.string("content")
    scribe.note("content", f"{len(content)} octets", start)
    end = reader.offset
    if content:
        scribe.layers.append(scribe.explain(scribe.octets.part(end - len(content), end)))
    signature = reader.string("signature")
    verdict, wrong = scribe.dialogue.signed(originator, reader.data[1:end], signature)
    scribe.note("signature", f"{hex_text(signature)} ({verdict})", end)
    if wrong:
        raise DecodeError("signature wrong: somebody else has signed, or octets were altered", offset=end)


def _key_information(scribe: Scribe, envelope: Sealed, recipient: bytes, transaction_id: bytes) -> Sealed:
    names = {0: "identified key", 1: "wrapped key", 2: "agreed key"}
    start = scribe.reader.offset
    choice = scribe.number("key", 1, lambda value: names.get(value, str(value)))
    if choice == 0:
        number = scribe.number("key id", 1, lambda value: f"{value} ({_KEY_IDS.get(value, 'unknown')})")
        return replace(envelope, key="bk" if number == 1 else "ek")
    if choice == 1:
        scribe.number("key-encrypting key id", 1, lambda value: "0 (master key)" if value == 0 else str(value))
        return replace(envelope, wrapped=scribe.string("wrapped key", lambda octets: f"{len(octets)} octets"))
    if choice == 2:
        parameters = scribe.string("key parameters", lambda octets: _AGREEMENTS.get(octets, octets.hex()))
        ephemeral = scribe.string("key ciphered data", hex_text)
        return replace(envelope, agreement=Agreement(parameters, ephemeral, recipient, transaction_id))
    raise DecodeError("key information", offset=start, expected="00, 01 or 02", got=f"{choice:02X}")


def _walk_sealed(scribe: Scribe, envelope: Sealed) -> None:
    """A length, security control, invocation counter, and what is ciphered or only authenticated."""
    reader = scribe.reader
    start, cut = reader.offset, None
    try:
        length = reader.length("length of the ciphered APDU")
    except DecodeError as error:
        cut, length = error, _cut_length(scribe, start)
        if length < _HEADER:
            raise
    scribe.note("length", str(length) if cut is None else f"more than the {length} octets that are there", start)
    if length < _HEADER:
        raise DecodeError("ciphered APDU", offset=start, expected=f"at least {_HEADER} octets", got=str(length))
    control = scribe.number("security control", 1, _control)
    _name_peculiarities(scribe, control, envelope)
    scribe.number("invocation counter", 4)
    _walk_content(scribe, envelope, control, length - _HEADER, whole=cut is None)
    if cut is not None:
        raise cut


def _cut_length(scribe: Scribe, start: int) -> int:
    """How much there is of something whose length tells more; moves behind the length."""
    reader = scribe.reader
    first = reader.data[start] if start < reader.end else 0
    reader.offset = start + 1 + (first & 0x7F if first & 0x80 else 0)
    return reader.left


def _walk_content(scribe: Scribe, envelope: Sealed, control: int, length: int, *, whole: bool) -> None:
    """What is ciphered or only authenticated, and the tag; of what is not whole the tag is missing."""
    reader = scribe.reader
    begin, end = reader.offset, reader.offset + length
    tagged = bool(control & AUTHENTICATED) and whole
    if tagged and length < _TAG:
        raise DecodeError("authentication tag", offset=begin, expected=f"{_TAG} octets", got=str(length))
    inner = end - _TAG if tagged else end
    content = reader.octets(inner - begin, "ciphertext")
    tag = reader.octets(end - inner, "authentication tag")
    sealed = reader.data[begin - _HEADER : end]
    if not whole:
        sealed = bytes((control & ~AUTHENTICATED,)) + sealed[1:]
    opened = scribe.dialogue.open(replace(envelope, content=sealed))
    if control & (ENCRYPTED | COMPRESSED):
        scribe.note("ciphertext", f"{len(content)} octets, {_told(opened, control)}", begin, inner)
    elif content:
        scribe.note("plain APDU", f"{len(content)} octets, authenticated only", begin, inner)
    plain = opened.plain if control & (ENCRYPTED | COMPRESSED) else content
    if plain:
        scribe.dialogue.opened(scribe.octets.data, plain, begin)
        scribe.layers.append(scribe.explain(Octets.like(plain, scribe.octets.part(begin, inner))))
    if tag:
        scribe.note("authentication tag", f"{tag.hex()} ({opened.verdict or 'not verified'})", inner)
    if opened.error:
        raise DecodeError(opened.error, offset=begin if opened.plain is None else inner)


def _told(opened: Opened, control: int) -> str:
    if opened.why:
        return f"ciphered: {opened.why}" if control & ENCRYPTED else opened.why
    return f"deciphered with {opened.name}" if opened.plain is not None else "ciphered"


def _name_peculiarities(scribe: Scribe, control: int, envelope: Sealed) -> None:
    at = scribe.reader.offset - 1
    if control & ENCRYPTED and not control & AUTHENTICATED:
        scribe.note("peculiarity", _ENCRYPTED_ONLY, at)
    if control & SUITE == 1 and envelope.agreement is None and envelope.title and not envelope.more:
        scribe.note("peculiarity", _SUITE_1, at)


def _control(value: int) -> str:
    bits = [
        "authenticated" if value & AUTHENTICATED else "not authenticated",
        "encrypted" if value & ENCRYPTED else "not encrypted",
        "broadcast key" if value & BROADCAST else "unicast key",
        *(["compressed"] if value & COMPRESSED else []),
    ]
    return f"{value:02X} (suite {value & SUITE}, {', '.join(bits)})"


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

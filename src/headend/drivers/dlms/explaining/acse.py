"""AARQ, AARE, RLRQ, RLRE element by element (IEC 62056-5-3, 7.2.4), and the initiate APDUs in them. Pure.

What authenticates the client (a password, mostly) and dedicated keys are not shown, only how long they are.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.scribe import Octets, Scribe, words
from headend.drivers.dlms.explaining.tags import NESTED
from headend.drivers.dlms.explaining.words import flag_names, octets_text, system_title
from headend.errors import DecodeError, RemoteProtocolError
from headend.protocols.dlms.acse import ApplicationContext, AssociationResult, Diagnostic, DiagnosticSource, Mechanism
from headend.protocols.dlms.initiate import VAA_LN, VAA_SN, Conformance

_OID: Final = b"\x60\x85\x74\x05\x08"
"""2.16.756.5.8, the DLMS UA."""
_CONTEXTS: Final = {
    ApplicationContext.LN: "logical names, no ciphering",
    ApplicationContext.SN: "short names, no ciphering",
    ApplicationContext.LN_CIPHERED: "logical names, with ciphering",
    ApplicationContext.SN_CIPHERED: "short names, with ciphering",
}
_MECHANISMS: Final = {
    Mechanism.NONE: "lowest level: none",
    Mechanism.LLS: "low level: password",
    Mechanism.HLS: "high level, of the manufacturer",
    Mechanism.HLS_MD5: "high level, MD5",
    Mechanism.HLS_SHA1: "high level, SHA-1",
    Mechanism.HLS_GMAC: "high level, GMAC",
    Mechanism.HLS_SHA256: "high level, SHA-256",
    Mechanism.HLS_ECDSA: "high level, ECDSA",
}
_PROVIDER: Final = {0: "null", 1: "no-reason-given", 2: "no-common-acse-version"}
_REQUEST_REASONS: Final = {0: "normal", 1: "urgent", 30: "user-defined"}
_RESPONSE_REASONS: Final = {0: "normal", 1: "not-finished", 30: "user-defined"}
_TITLES: Final = {(0x60, 0xA6): "client_title", (0x61, 0xA4): "server_title"}
"""Elements that tell a system title, by APDU and tag."""


def walk_acse(scribe: Scribe, tag: int) -> None:
    """The elements of AARQ, AARE, RLRQ or RLRE; the tag has been read."""
    apdu, known = tag, _ELEMENTS[tag]
    reader = scribe.reader
    start = reader.offset
    length = reader.length("length")
    scribe.note("length", str(length), start)
    end = reader.offset + length
    while reader.offset < end:
        start = reader.offset
        tag = reader.u8("element")
        content = reader.string(f"element {tag:02X}")
        name, show = known.get(tag, (f"element {tag:02X}", bytes.hex))
        try:
            scribe.note(name, show(content), start)
        except RemoteProtocolError as error:
            raise DecodeError(name, offset=start, expected=error.expected, got=error.got) from None
        if tag == 0xBE and len(content) > 2:
            scribe.layers.append(scribe.explain(scribe.octets.part(reader.offset - len(content) + 2, reader.offset)))
        elif tag in {0xA4, 0xA6} and len(content) > 2:
            scribe.dialogue.learn_title(_TITLES.get((apdu, tag), ""), content[2:])
    if reader.offset > end:
        raise DecodeError("element", offset=start, expected=f"an end at octet {end}", got=str(reader.offset))


def _object(names: dict[int, str], arc: int) -> Callable[[bytes], str]:
    """Shows an object identifier of the DLMS UA, with tag and length of its own or without."""

    def show(content: bytes) -> str:
        oid = content[2:] if content[:1] == b"\x06" else content
        if len(oid) != 7 or oid[:5] != _OID or oid[5] != arc:
            raise DecodeError("object identifier", expected=f"2.16.756.5.8.{arc}.x", got=content.hex())
        return f"2.16.756.5.8.{arc}.{oid[6]} ({names.get(oid[6], 'unknown')})"

    return show


def _inner(content: bytes) -> bytes:
    """The octets of an explicitly tagged string."""
    if len(content) < 2 or content[1] != len(content) - 2:
        raise DecodeError("string", expected="a tag, a length and as many octets", got=f"{len(content)} octets")
    return content[2:]


def _title(content: bytes) -> str:
    return system_title(_inner(content))


def _hidden(content: bytes) -> str:
    return f"{len(_inner(content))} octets, not shown"


def _text(content: bytes) -> str:
    return octets_text(_inner(content))


def _requirements(content: bytes) -> str:
    return "authentication" if content == b"\x07\x80" else content.hex()


def _integer(content: bytes) -> int:
    if len(content) != 3 or content[:2] != b"\x02\x01":
        raise DecodeError("integer", expected="0201xx", got=content.hex())
    return content[2]


def _named(names: type[enum.IntEnum], value: int) -> str:
    try:
        return f"{value} ({words(names(value).name)})"
    except ValueError:
        return str(value)


def _result(content: bytes) -> str:
    return _named(AssociationResult, _integer(content))


def _diagnostic(content: bytes) -> str:
    if len(content) != 5:
        raise DecodeError("diagnostic", expected="5 octets", got=str(len(content)))
    value = _integer(content[2:])
    if content[0] & 0x1F == DiagnosticSource.USER:
        return f"of the user: {_named(Diagnostic, value)}"
    return f"of the provider: {value} ({_PROVIDER.get(value, 'unknown')})"


def _information(content: bytes) -> str:
    return f"{len(_inner(content))} octets"


def _reason(names: dict[int, str]) -> Callable[[bytes], str]:
    def show(content: bytes) -> str:
        if len(content) != 1:
            raise DecodeError("reason", expected="one octet", got=str(len(content)))
        return f"{content[0]} ({names.get(content[0], 'unknown')})"

    return show


_CONTEXT: Final = ("application context name", _object({int(key): text for key, text in _CONTEXTS.items()}, 1))
_MECHANISM: Final = _object({int(key): text for key, text in _MECHANISMS.items()}, 2)
_USER_INFORMATION: Final = ("user information", _information)

_AARQ: Final[dict[int, tuple[str, Callable[[bytes], str]]]] = {
    0x80: ("protocol version", bytes.hex),
    0xA1: _CONTEXT,
    0xA2: ("called AP title", _text),
    0xA3: ("called AE qualifier", _text),
    0xA4: ("called AP invocation id", bytes.hex),
    0xA5: ("called AE invocation id", bytes.hex),
    0xA6: ("calling AP title (system title)", _title),
    0xA7: ("calling AE qualifier", _text),
    0xA8: ("calling AP invocation id", bytes.hex),
    0xA9: ("calling AE invocation id", bytes.hex),
    0x8A: ("sender ACSE requirements", _requirements),
    0x8B: ("mechanism name", _MECHANISM),
    0xAC: ("calling authentication value", _hidden),
    0xBD: ("implementation information", bytes.hex),
    0xBE: _USER_INFORMATION,
}
_AARE: Final[dict[int, tuple[str, Callable[[bytes], str]]]] = {
    0x80: ("protocol version", bytes.hex),
    0xA1: _CONTEXT,
    0xA2: ("result", _result),
    0xA3: ("result source diagnostic", _diagnostic),
    0xA4: ("responding AP title (system title)", _title),
    0xA5: ("responding AE qualifier", _text),
    0xA6: ("responding AP invocation id", bytes.hex),
    0xA7: ("responding AE invocation id", bytes.hex),
    0x88: ("responder ACSE requirements", _requirements),
    0x89: ("mechanism name", _MECHANISM),
    0xAA: ("responding authentication value (challenge)", _text),
    0xBD: ("implementation information", bytes.hex),
    0xBE: _USER_INFORMATION,
}
_RLRQ: Final = {0x80: ("reason", _reason(_REQUEST_REASONS)), 0xBE: _USER_INFORMATION}
_RLRE: Final = {0x80: ("reason", _reason(_RESPONSE_REASONS)), 0xBE: _USER_INFORMATION}
_ELEMENTS: Final = {0x60: _AARQ, 0x61: _AARE, 0x62: _RLRQ, 0x63: _RLRE}


def initiate_layer(octets: Octets, dialogue: Dialogue) -> Layer:
    """initiate-request or initiate-response."""
    scribe = Scribe(octets, dialogue=dialogue)
    name = NESTED[octets.data[0]]
    error = ""
    try:
        scribe.number("tag", 1, lambda tag: f"{tag:02X} ({name})")
        _walk_initiate(scribe, asks=octets.data[0] == 0x01)
        scribe.reader.finish(name)
    except RemoteProtocolError as problem:
        error = octets.say(problem)
    return scribe.layer(f"{name} (IEC 62056-5-3)", error)


def _walk_initiate(scribe: Scribe, *, asks: bool) -> None:
    if asks:
        key = b""
        if scribe.flag("dedicated key"):
            key = scribe.string("key", lambda octets: f"{len(octets)} octets, not shown")
        scribe.dialogue.learn_dedicated(key)
        if scribe.flag("response allowed", "told", "yes (default)"):
            scribe.flag("response allowed")
    if scribe.flag("quality of service", "told", "not told"):
        scribe.number("quality of service")
    scribe.number("DLMS version")
    _conformance(scribe, "proposed" if asks else "negotiated")
    scribe.number(f"maximum PDU of the {'client' if asks else 'server'}", 2, _pdu)
    if not asks:
        names = {VAA_LN: "logical names", VAA_SN: "short names"}
        scribe.number("VAA name", 2, lambda value: f"{value:04X} ({names.get(value, 'unknown')})")


def _pdu(size: int) -> str:
    return f"{size} octets" if size else "0 (no limit)"


def _conformance(scribe: Scribe, which: str) -> None:
    """[APPLICATION 31] with its tag in two octets, or in one as older meters do; then one field for its bits."""
    reader = scribe.reader
    start = reader.offset
    head = 4 if reader.data[start : start + 2] == b"\x5f\x1f" else 3
    tag = reader.octets(head, "conformance block")
    if tag not in {b"\x5f\x1f\x04\x00", b"\x5f\x04\x00"}:
        raise DecodeError("conformance block", offset=start, expected="5f1f0400", got=tag.hex())
    bits = int.from_bytes(reader.octets(3, "conformance block"), "big")
    known = Conformance(bits & int(~Conformance(0)))
    scribe.note(f"{which} conformance", f"{bits:06X}: {flag_names(known) or 'nothing'}", start)

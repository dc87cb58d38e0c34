"""ACSE: AARQ, AARE, RLRQ, RLRE in BER (IEC 62056-5-3, 7.2.4), as a meter and a head-end exchange them.

Each APDU is a sequence of tagged elements. The ones that DLMS gives a meaning are fields; the others (AE qualifiers,
invocation identifiers, implementation information) are kept in `others` as (tag, content) pairs. Elements are encoded in
the order of their numbers, so an APDU that keeps to the standard is encoded again octet by octet. Decoding takes elements
in any order and forgives what meters are known to get wrong; what it cannot read raises DecodeError.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

_OID_PREFIX: Final = b"\x60\x85\x74\x05\x08"
"""2.16.756.5.8: joint-iso-ccitt, country, Switzerland, DLMS UA."""
_CONTEXT_ARC: Final = 1
_MECHANISM_ARC: Final = 2
_AUTHENTICATION_REQUIRED: Final = b"\x07\x80"
"""ACSE requirements: the authentication functional unit."""

_CONTEXT_NAME: Final = 0xA1
_USER_INFORMATION: Final = 0xBE


class ApplicationContext(enum.IntEnum):
    """Application context names."""

    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4


class Mechanism(enum.IntEnum):
    """Authentication mechanism names."""

    NONE = 0
    LLS = 1
    HLS = 2
    HLS_MD5 = 3
    HLS_SHA1 = 4
    HLS_GMAC = 5
    HLS_SHA256 = 6
    HLS_ECDSA = 7


class AssociationResult(enum.IntEnum):
    """Result of an AARE."""

    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class DiagnosticSource(enum.IntEnum):
    """Which half of ACSE speaks in the result-source-diagnostic."""

    USER = 1
    PROVIDER = 2


class Diagnostic(enum.IntEnum):
    """acse-service-user diagnostics; of the provider's only 0, 1 and 2 (no common ACSE version) exist."""

    NULL = 0
    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AP_TITLE_NOT_RECOGNIZED = 3
    CALLING_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 4
    CALLING_AE_QUALIFIER_NOT_RECOGNIZED = 5
    CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 6
    CALLED_AP_TITLE_NOT_RECOGNIZED = 7
    CALLED_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 8
    CALLED_AE_QUALIFIER_NOT_RECOGNIZED = 9
    CALLED_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 10
    AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED = 11
    AUTHENTICATION_MECHANISM_NAME_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


Element: TypeAlias = tuple[int, bytes]
"""Tag and content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aarq:
    """Association request. `calling_ap_title` is the system title of the client, `user_information` an initiate APDU."""

    TAG: ClassVar[int] = 0x60

    application_context: int = ApplicationContext.LN
    mechanism: int | None = None
    calling_ap_title: bytes = b""
    authentication_value: bytes = field(default=b"", repr=False)
    user_information: bytes = field(default=b"", repr=False)
    acse_requirements: bytes | None = None
    others: tuple[Element, ...] = ()

    def encode(self) -> bytes:
        """The APDU. A mechanism brings the ACSE requirement of authentication with it."""
        elements = [(_CONTEXT_NAME, _tlv(0x06, _oid(_CONTEXT_ARC, self.application_context))), *self.others]
        if self.calling_ap_title:
            elements.append((0xA6, _tlv(0x04, self.calling_ap_title)))
        elements += _authentication(
            (0x8A, 0x8B, 0xAC), self.acse_requirements, self.mechanism, self.authentication_value
        )
        if self.user_information:
            elements.append((_USER_INFORMATION, _tlv(0x04, self.user_information)))
        return _encode(self.TAG, elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aare:
    """Association response. `responding_ap_title` is the system title of the meter."""

    TAG: ClassVar[int] = 0x61

    application_context: int = ApplicationContext.LN
    result: int = AssociationResult.ACCEPTED
    diagnostic_source: int = DiagnosticSource.USER
    diagnostic: int = Diagnostic.NULL
    responding_ap_title: bytes = b""
    mechanism: int | None = None
    authentication_value: bytes = field(default=b"", repr=False)
    user_information: bytes = field(default=b"", repr=False)
    acse_requirements: bytes | None = None
    others: tuple[Element, ...] = ()

    def encode(self) -> bytes:
        """The APDU."""
        diagnostic = _tlv(0xA0 | self.diagnostic_source, bytes((0x02, 0x01, self.diagnostic)))
        elements = [
            (_CONTEXT_NAME, _tlv(0x06, _oid(_CONTEXT_ARC, self.application_context))),
            (0xA2, bytes((0x02, 0x01, self.result))),
            (0xA3, diagnostic),
            *self.others,
        ]
        if self.responding_ap_title:
            elements.append((0xA4, _tlv(0x04, self.responding_ap_title)))
        elements += _authentication(
            (0x88, 0x89, 0xAA), self.acse_requirements, self.mechanism, self.authentication_value
        )
        if self.user_information:
            elements.append((_USER_INFORMATION, _tlv(0x04, self.user_information)))
        return _encode(self.TAG, elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlrq:
    """Release request; reason 0 is normal."""

    TAG: ClassVar[int] = 0x62

    reason: int | None = 0
    user_information: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The APDU."""
        return _encode(self.TAG, _release(self.reason, self.user_information))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlre:
    """Release response; reason 0 is normal."""

    TAG: ClassVar[int] = 0x63

    reason: int | None = 0
    user_information: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The APDU."""
        return _encode(self.TAG, _release(self.reason, self.user_information))


def decode_aarq(reader: Reader) -> Aarq:
    """Decode after the tag."""
    found = _elements(reader, "AARQ")
    return Aarq(
        application_context=_arc(found, _CONTEXT_NAME, _CONTEXT_ARC, "application context name"),
        calling_ap_title=_string(found, 0xA6, "calling AP title"),
        acse_requirements=found.pop(0x8A, None),
        mechanism=_arc(found, 0x8B, _MECHANISM_ARC, "mechanism name") if 0x8B in found else None,
        authentication_value=_string(found, 0xAC, "calling authentication value"),
        user_information=_string(found, _USER_INFORMATION, "user information"),
        others=tuple(found.items()),
    )


def decode_aare(reader: Reader) -> Aare:
    """Decode after the tag."""
    found = _elements(reader, "AARE")
    source, diagnostic = _diagnostic(found)
    return Aare(
        application_context=_arc(found, _CONTEXT_NAME, _CONTEXT_ARC, "application context name"),
        result=_integer(found.pop(0xA2, b""), "association result"),
        diagnostic_source=source,
        diagnostic=diagnostic,
        responding_ap_title=_string(found, 0xA4, "responding AP title"),
        acse_requirements=found.pop(0x88, None),
        mechanism=_arc(found, 0x89, _MECHANISM_ARC, "mechanism name") if 0x89 in found else None,
        authentication_value=_string(found, 0xAA, "responding authentication value"),
        user_information=_string(found, _USER_INFORMATION, "user information"),
        others=tuple(found.items()),
    )


def decode_rlrq(reader: Reader) -> Rlrq:
    """Decode after the tag."""
    reason, user_information = _decode_release(reader, "RLRQ")
    return Rlrq(reason=reason, user_information=user_information)


def decode_rlre(reader: Reader) -> Rlre:
    """Decode after the tag."""
    reason, user_information = _decode_release(reader, "RLRE")
    return Rlre(reason=reason, user_information=user_information)


def _tlv(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + encode_length(len(content)) + content


def _encode(tag: int, elements: list[Element]) -> bytes:
    """Elements in the order of their numbers, whether they are constructed or not."""
    ordered = sorted(elements, key=lambda element: element[0] & 0x1F)
    return _tlv(tag, b"".join(_tlv(*element) for element in ordered))


def _oid(arc: int, number: int) -> bytes:
    return _OID_PREFIX + bytes((arc, number))


def _authentication(
    tags: tuple[int, int, int], requirements: bytes | None, mechanism: int | None, value: bytes
) -> list[Element]:
    """ACSE requirements, mechanism name and authentication value, as far as they are there."""
    elements: list[Element] = []
    if requirements is None and mechanism is not None:
        requirements = _AUTHENTICATION_REQUIRED
    if requirements is not None:
        elements.append((tags[0], requirements))
    if mechanism is not None:
        elements.append((tags[1], _oid(_MECHANISM_ARC, mechanism)))
    if value:
        elements.append((tags[2], _tlv(0x80, value)))
    return elements


def _release(reason: int | None, user_information: bytes) -> list[Element]:
    elements: list[Element] = [] if reason is None else [(0x80, bytes((reason,)))]
    if user_information:
        elements.append((_USER_INFORMATION, _tlv(0x04, user_information)))
    return elements


def _elements(reader: Reader, what: str) -> dict[int, bytes]:
    """The elements by tag. An element that comes twice is refused: there is no telling which one is meant."""
    length = reader.length(what)
    inner = Reader(reader.data, reader.offset, reader.offset + length)
    reader.offset += length
    found: dict[int, bytes] = {}
    while inner.left:
        offset = inner.offset
        tag = inner.u8(what)
        if tag in found:
            raise DecodeError(f"{what} has an element twice", offset=offset, got=f"{tag:02x}")
        found[tag] = inner.string(f"element {tag:02x} of the {what}")
    return found


def _arc(found: dict[int, bytes], tag: int, arc: int, what: str) -> int:
    """The last arc of an object identifier of the DLMS UA, with or without tag and length of its own."""
    content = found.pop(tag, b"")
    if content[:1] == b"\x06":
        content = content[2:]
    if len(content) != len(_OID_PREFIX) + 2 or content[:-1] != _OID_PREFIX + bytes((arc,)):
        raise DecodeError(what, expected=f"2.16.756.5.8.{arc}.x", got=content.hex() or "nothing")
    return content[-1]


def _string(found: dict[int, bytes], tag: int, what: str) -> bytes:
    """The octets inside an explicitly tagged string, or nothing."""
    content = found.pop(tag, b"")
    if not content:
        return b""
    reader = Reader(content)
    reader.u8(what)
    value = reader.string(what)
    reader.finish(what)
    return value


def _integer(content: bytes, what: str) -> int:
    """An INTEGER of one octet, with tag and length."""
    if len(content) != 3 or content[:2] != b"\x02\x01":
        raise DecodeError(what, expected="0201xx", got=content.hex() or "nothing")
    return content[2]


def _diagnostic(found: dict[int, bytes]) -> tuple[int, int]:
    """Source (user or provider) and number of the result-source-diagnostic."""
    what = "result-source-diagnostic"
    reader = Reader(found.pop(0xA3, b""))
    source = reader.u8(what) & 0x1F
    if source not in {DiagnosticSource.USER, DiagnosticSource.PROVIDER}:
        raise DecodeError(what, expected="a1 or a2", got=f"{source:02x}")
    return source, _integer(reader.string(what), what)


def _decode_release(reader: Reader, what: str) -> tuple[int | None, bytes]:
    found = _elements(reader, what)
    reason = found.pop(0x80, None)
    if reason is not None and len(reason) != 1:
        raise DecodeError(f"reason of the {what}", expected="one octet", got=reason.hex() or "nothing")
    return reason[0] if reason else None, _string(found, _USER_INFORMATION, "user information")

"""APDUs that carry other APDUs: glo- and ded- variants of each service, general ciphering, general signing.

A service-specific variant has a tag of its own for each service. The general ones carry any APDU:

```text
 C8 … 21 …   tag, length, sealed                                          key and titles known from the association
 DB, DC      tag, system title of the sender, sealed                      the same keys, for any APDU
 DD          tag, transaction, titles, …, key information, sealed         with the key, or with what it follows from
 DF          tag, transaction, titles, …, content, signature
```
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

_SHORT_NAME: Final = (0x01, 0x05, 0x06, 0x08, 0x0C, 0x0D, 0x0E, 0x16, 0x18)
"""initiate, read, write and their answers, confirmed-service-error, unconfirmed-write, information-report"""
_LOGICAL_NAME: Final = (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC7)
"""get, set, event-notification, action and their answers"""

GLOBAL: Final[dict[int, int]] = {tag: tag + 0x20 for tag in _SHORT_NAME} | {tag: tag + 0x08 for tag in _LOGICAL_NAME}
"""Tag of an APDU that is ciphered with a global key, by the tag of the plain one."""
DEDICATED: Final[dict[int, int]] = {tag: tag + 0x40 for tag in _SHORT_NAME} | {tag: tag + 0x10 for tag in _LOGICAL_NAME}
"""The same for the dedicated key."""
PLAIN_OF_GLOBAL: Final = {ciphered: plain for plain, ciphered in GLOBAL.items()}
PLAIN_OF_DEDICATED: Final = {ciphered: plain for plain, ciphered in DEDICATED.items()}

GENERAL_GLOBAL: Final = 0xDB
GENERAL_DEDICATED: Final = 0xDC


class KeyKind(enum.Enum):
    """Where the key of general-ciphering comes from."""

    IDENTIFIED = "identified"
    WRAPPED = "wrapped"
    ONE_PASS = "one-pass"  # noqa: S105 - a scheme, not a password
    STATIC = "static"


AGREED: Final = frozenset({KeyKind.ONE_PASS, KeyKind.STATIC})
"""Kinds that need key agreement, which suite 0 does not have."""


class Scheme(enum.IntEnum):
    """How a key is agreed (key-parameters of an agreed key)."""

    ONE_PASS = 1
    STATIC_UNIFIED = 2


@dataclass(frozen=True, slots=True)
class IdentifiedKey:
    """A key that both sides have: 0 is the global unicast key, 1 the global broadcast key."""

    key_id: int


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key under another one: 0 is the master key."""

    kek_id: int
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AgreedKey:
    """What a key follows from: scheme, and for one pass the ephemeral public key with its signature."""

    parameters: bytes
    ciphered: bytes


KeyInformation: TypeAlias = IdentifiedKey | WrappedKey | AgreedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Who speaks to whom, and in which transaction."""

    transaction_id: bytes = b""
    originator: bytes = b""
    recipient: bytes = b""
    date_time: bytes = b""
    other: bytes = b""

    def encode(self) -> bytes:
        """Five octet strings; also what general-ciphering authenticates beside the content."""
        parts = (self.transaction_id, self.originator, self.recipient, self.date_time, self.other)
        return b"".join(_string(part) for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralCiphering:
    """general-ciphering: `sealed` begins with the security control."""

    TAG: ClassVar[int] = 0xDD

    header: Header
    key: KeyInformation | None = None
    sealed: bytes

    def encode(self) -> bytes:
        """The APDU."""
        return b"\xdd" + self.header.encode() + _encode_key(self.key) + _string(self.sealed)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralSigning:
    """general-signing: a signature over header and content, as they are encoded."""

    TAG: ClassVar[int] = 0xDF

    header: Header
    content: bytes
    signature: bytes = b""

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return self.header.encode() + _string(self.content)

    def encode(self) -> bytes:
        """The APDU."""
        return b"\xdf" + self.signed + _string(self.signature)


def encode_service(tag: int, sealed: bytes) -> bytes:
    """A service-specific ciphered APDU; `tag` is from GLOBAL or DEDICATED."""
    length = len(sealed)
    return (bytes((tag, length)) if length < 0x80 else bytes((tag,)) + encode_length(length)) + sealed


def encode_general(tag: int, system_title: bytes, sealed: bytes) -> bytes:
    """general-glo-ciphering DB or general-ded-ciphering DC."""
    length = len(sealed)
    if length < 0x80:
        return b"%c%c%b%c%b" % (tag, len(system_title), system_title, length, sealed)
    return bytes((tag, len(system_title))) + system_title + _string(sealed)


def decode_service(apdu: bytes) -> bytes:
    """What a service-specific ciphered APDU carries: security control, counter, content."""
    if len(apdu) > 1 and len(apdu) - 2 == apdu[1] < 0x80:
        return apdu[2:]  # the common case
    reader = Reader(apdu, 1)
    sealed = reader.string("ciphered APDU")
    reader.finish("ciphered APDU")
    return sealed


def decode_general(apdu: bytes) -> tuple[bytes, bytes]:
    """System title of the sender, which may be empty, and what a general-glo or general-ded APDU carries."""
    if len(apdu) > 11 and apdu[1] == 8 and len(apdu) - 11 == apdu[10] < 0x80:
        return apdu[2:10], apdu[11:]  # the common case
    reader = Reader(apdu, 1)
    title, sealed = reader.string("system title"), reader.string("ciphered APDU")
    reader.finish("ciphered APDU")
    if len(title) not in (0, 8):
        raise DecodeError("system title", offset=1, expected="8 octets", got=str(len(title)))
    return title, sealed


def decode_general_ciphering(reader: Reader) -> GeneralCiphering:
    """Decode after the tag."""
    header = _decode_header(reader)
    key = _decode_key(reader) if reader.flag("key information") else None
    sealed = reader.string("ciphered service")
    reader.finish("general-ciphering")
    return GeneralCiphering(header=header, key=key, sealed=sealed)


def decode_general_signing(reader: Reader) -> GeneralSigning:
    """Decode after the tag."""
    header = _decode_header(reader)
    content, signature = reader.string("content"), reader.string("signature")
    reader.finish("general-signing")
    return GeneralSigning(header=header, content=content, signature=signature)


def _string(octets: bytes) -> bytes:
    return encode_length(len(octets)) + octets


def _decode_header(reader: Reader) -> Header:
    return Header(
        transaction_id=reader.string("transaction id"),
        originator=reader.string("system title of the originator"),
        recipient=reader.string("system title of the recipient"),
        date_time=reader.string("date and time"),
        other=reader.string("other information"),
    )


def _encode_key(key: KeyInformation | None) -> bytes:
    if key is None:
        return b"\x00"
    if isinstance(key, IdentifiedKey):
        return bytes((0x01, 0x00, key.key_id))
    if isinstance(key, WrappedKey):
        return bytes((0x01, 0x01, key.kek_id)) + _string(key.wrapped)
    return b"\x01\x02" + _string(key.parameters) + _string(key.ciphered)


def _decode_key(reader: Reader) -> KeyInformation:
    offset = reader.offset
    choice = reader.u8("key information")
    if choice == 0x00:
        return IdentifiedKey(reader.u8("key id"))
    if choice == 0x01:
        return WrappedKey(reader.u8("key-encrypting key id"), reader.string("wrapped key"))
    if choice == 0x02:
        return AgreedKey(reader.string("key parameters"), reader.string("key ciphered data"))
    raise DecodeError("key information", offset=offset, expected="00, 01 or 02", got=f"{choice:02x}")

"""xDLMS InitiateRequest and InitiateResponse (IEC 62056-5-3, 7.2): what both sides can do, negotiated once per association."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, Final

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

DLMS_VERSION: Final = 6
VAA_LN: Final = 0x0007
VAA_SN: Final = 0xFA00
_CONFORMANCE_TAG: Final = b"\x5f\x1f\x04\x00"
_CONFORMANCE_TAG_SHORT: Final = b"\x5f\x04\x00"


class Conformance(enum.IntFlag):
    """The conformance block: 24 bits, the first of the standard is the most significant here."""

    GENERAL_PROTECTION = 0x400000
    GENERAL_BLOCK_TRANSFER = 0x200000
    READ = 0x100000
    WRITE = 0x080000
    UNCONFIRMED_WRITE = 0x040000
    DELTA_VALUE_ENCODING = 0x020000
    ATTRIBUTE0_WITH_SET = 0x008000
    PRIORITY_MANAGEMENT = 0x004000
    ATTRIBUTE0_WITH_GET = 0x002000
    BLOCK_TRANSFER_WITH_GET = 0x001000
    BLOCK_TRANSFER_WITH_SET = 0x000800
    BLOCK_TRANSFER_WITH_ACTION = 0x000400
    MULTIPLE_REFERENCES = 0x000200
    INFORMATION_REPORT = 0x000100
    DATA_NOTIFICATION = 0x000080
    ACCESS = 0x000040
    PARAMETERIZED_ACCESS = 0x000020
    GET = 0x000010
    SET = 0x000008
    SELECTIVE_ACCESS = 0x000004
    EVENT_NOTIFICATION = 0x000002
    ACTION = 0x000001


NO_CONFORMANCE: Final = Conformance(0)


def _encode_conformance(conformance: Conformance) -> bytes:
    return _CONFORMANCE_TAG + int(conformance).to_bytes(3, "big")


def _decode_conformance(reader: Reader) -> Conformance:
    """[APPLICATION 31] with its tag in two octets, or in one as older meters do."""
    start = reader.offset
    for tag in (_CONFORMANCE_TAG, _CONFORMANCE_TAG_SHORT):
        if reader.data[start : start + len(tag)] == tag:
            reader.octets(len(tag), "conformance")
            return Conformance(int.from_bytes(reader.octets(3, "conformance"), "big"))
    got = reader.data[start : start + 4].hex()
    raise DecodeError("conformance block", offset=start, expected="5f1f0400", got=got)


def _optional_octet(reader: Reader, what: str) -> int | None:
    return reader.u8(what) if reader.flag(what) else None


def _encode_optional(value: int | None) -> bytes:
    return b"\x00" if value is None else bytes((0x01, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class InitiateRequest:
    """What the client proposes. `max_receive_pdu` 0 means that it knows no limit."""

    TAG: ClassVar[int] = 0x01

    conformance: Conformance
    max_receive_pdu: int = 0xFFFF
    dedicated_key: bytes = field(default=b"", repr=False)
    response_allowed: bool = True
    quality_of_service: int | None = None
    dlms_version: int = DLMS_VERSION

    def encode(self) -> bytes:
        """The APDU, as it stands in the user-information of an AARQ."""
        key = self.dedicated_key
        return b"".join(
            (
                b"\x01",
                b"\x01" + encode_length(len(key)) + key if key else b"\x00",
                b"\x00" if self.response_allowed else b"\x01\x00",
                _encode_optional(self.quality_of_service),
                bytes((self.dlms_version,)),
                _encode_conformance(self.conformance),
                self.max_receive_pdu.to_bytes(2, "big"),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InitiateResponse:
    """What the server grants: the conformance both have, and the longest APDU that it takes (0: no limit)."""

    TAG: ClassVar[int] = 0x08

    conformance: Conformance
    max_receive_pdu: int = 0xFFFF
    quality_of_service: int | None = None
    dlms_version: int = DLMS_VERSION
    vaa_name: int = VAA_LN

    def encode(self) -> bytes:
        """The APDU, as it stands in the user-information of an AARE."""
        return b"".join(
            (
                b"\x08",
                _encode_optional(self.quality_of_service),
                bytes((self.dlms_version,)),
                _encode_conformance(self.conformance),
                self.max_receive_pdu.to_bytes(2, "big"),
                self.vaa_name.to_bytes(2, "big"),
            )
        )


def decode_initiate_request(reader: Reader) -> InitiateRequest:
    """Decode after the tag."""
    key = reader.string("dedicated key") if reader.flag("dedicated key") else b""
    response_allowed = _optional_octet(reader, "response allowed") != 0
    quality = _optional_octet(reader, "quality of service")
    version = reader.u8("DLMS version")
    conformance = _decode_conformance(reader)
    max_pdu = reader.u16("maximum PDU of the client")
    return InitiateRequest(
        conformance=conformance,
        max_receive_pdu=max_pdu,
        dedicated_key=key,
        response_allowed=response_allowed,
        quality_of_service=quality,
        dlms_version=version,
    )


def decode_initiate_response(reader: Reader) -> InitiateResponse:
    """Decode after the tag."""
    quality = _optional_octet(reader, "quality of service")
    version = reader.u8("DLMS version")
    conformance = _decode_conformance(reader)
    max_pdu = reader.u16("maximum PDU of the server")
    vaa_name = reader.u16("VAA name")
    return InitiateResponse(
        conformance=conformance,
        max_receive_pdu=max_pdu,
        quality_of_service=quality,
        dlms_version=version,
        vaa_name=vaa_name,
    )

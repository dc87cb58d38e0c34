"""What the first octet of an APDU says (IEC 62056-5-3, 8.2 and 9.5)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_PLAIN: Final = {
    0x05: "read-request",
    0x06: "write-request",
    0x0C: "read-response",
    0x0D: "write-response",
    0x0E: "confirmed-service-error",
    0x0F: "data-notification",
    0x16: "unconfirmed-write-request",
    0x18: "information-report-request",
    0x60: "AARQ",
    0x61: "AARE",
    0x62: "RLRQ",
    0x63: "RLRE",
    0xC0: "get-request",
    0xC1: "set-request",
    0xC2: "event-notification-request",
    0xC3: "action-request",
    0xC4: "get-response",
    0xC5: "set-response",
    0xC7: "action-response",
    0xD8: "exception-response",
    0xD9: "access-request",
    0xDA: "access-response",
    0xE0: "general-block-transfer",
}

NESTED: Final = MappingProxyType({0x01: "initiate-request", 0x08: "initiate-response"})
"""APDUs that stand in others only: in AARQ and AARE, or ciphered."""

SERVICE_CIPHERED: Final = MappingProxyType(
    {
        0x21: "glo-initiate-request",
        0x25: "glo-read-request",
        0x26: "glo-write-request",
        0x28: "glo-initiate-response",
        0x2C: "glo-read-response",
        0x2D: "glo-write-response",
        0x2E: "glo-confirmed-service-error",
        0x36: "glo-unconfirmed-write-request",
        0x38: "glo-information-report-request",
        0x41: "ded-initiate-request",
        0x45: "ded-read-request",
        0x46: "ded-write-request",
        0x48: "ded-initiate-response",
        0x4C: "ded-read-response",
        0x4D: "ded-write-response",
        0x4E: "ded-confirmed-service-error",
        0x56: "ded-unconfirmed-write-request",
        0x58: "ded-information-report-request",
        0xC8: "glo-get-request",
        0xC9: "glo-set-request",
        0xCA: "glo-event-notification-request",
        0xCB: "glo-action-request",
        0xCC: "glo-get-response",
        0xCD: "glo-set-response",
        0xCF: "glo-action-response",
        0xD0: "ded-get-request",
        0xD1: "ded-set-request",
        0xD2: "ded-event-notification-request",
        0xD3: "ded-action-request",
        0xD4: "ded-get-response",
        0xD5: "ded-set-response",
        0xD7: "ded-action-response",
    }
)
"""Ciphered APDUs that say which service they hold."""

GENERAL_CIPHERED: Final = MappingProxyType(
    {
        0xDB: "general-glo-ciphering",
        0xDC: "general-ded-ciphering",
        0xDD: "general-ciphering",
        0xDF: "general-signing",
    }
)

APDU_NAMES: Final = MappingProxyType({**_PLAIN, **SERVICE_CIPHERED, **GENERAL_CIPHERED})

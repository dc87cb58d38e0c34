"""The conformance block of DLMS (IEC 62056-5-3, 7.3.1): the services that a meter and a client agree on, by bit."""

from __future__ import annotations

from typing import Final

from headend.errors import DecodeError

BITS: Final = (
    "",
    "general-protection",
    "general-block-transfer",
    "read",
    "write",
    "unconfirmed-write",
    "delta-value-encoding",
    "",
    "attribute0-with-set",
    "priority-management",
    "attribute0-with-get",
    "block-transfer-with-get",
    "block-transfer-with-set",
    "block-transfer-with-action",
    "multiple-references",
    "information-report",
    "data-notification",
    "access",
    "parameterized-access",
    "get",
    "set",
    "selective-access",
    "event-notification",
    "action",
)
"""Names of the bits, the first and most significant first; reserved ones have none."""


def conformance_names(text: str) -> tuple[str, ...]:
    """The names of the bits that are set in three octets in hexadecimal; raises DecodeError."""
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != 3:
        raise DecodeError("conformance", expected="three octets in hexadecimal", got=repr(text[:16]))
    value = int.from_bytes(octets, "big")
    return tuple(name or f"reserved-{bit}" for bit, name in enumerate(BITS) if value >> (23 - bit) & 1)

"""Security policy: how requests and responses of an association are protected at least (IC 64, attribute 2).

Version 0 of the class has 0 nothing, 1 authenticated, 2 encrypted, 3 both, for all messages alike. Version 1 has a bit for
each direction: 2, 3, 4 say that requests are authenticated, encrypted, signed; 5, 6, 7 say it of responses. No number but 0
exists in both versions, and 0 means the same in both.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headend.errors import CapabilityError, ConfigError, DecipherFailed
from headend.protocols.dlms.security.control import AUTHENTICATED, ENCRYPTED, PROTECTION, SIGNED

_WORDS: Final = {AUTHENTICATED: "authenticated", ENCRYPTED: "encrypted", SIGNED: "signed"}
_EVERYTHING: Final = PROTECTION | SIGNED


class Policy(NamedTuple):
    """Bits of the security control, and SIGNED, that requests and responses need."""

    request: int
    response: int


def policy_of(number: int) -> Policy:
    """The policy of either version; raises ConfigError."""
    if 0 <= number <= 3:
        return Policy(number << 4, number << 4)
    if number & ~0xFC:
        raise ConfigError(f"security policy {number}", hint="0 to 3, or bits 2 to 7 as version 1 has them")
    return Policy(number << 2 & _EVERYTHING, number >> 1 & _EVERYTHING)


def policy_number(policy: Policy, version: int) -> int:
    """A policy as a version of the class writes it; raises CapabilityError for what version 0 has no number for."""
    if version:
        return policy.request >> 2 | policy.response << 1
    if policy.request != policy.response or policy.request & ~PROTECTION:
        raise CapabilityError("version 0 of the security setup has no such policy")
    return policy.request >> 4


def check_protection(needed: int, control: int) -> None:
    """Refuse what is less protected than the policy needs, in bits of the control and SIGNED; raises DecipherFailed."""
    missing = needed & ~control
    if missing:
        words = [word for bit, word in _WORDS.items() if missing & bit]
        raise DecipherFailed(f"an APDU is not {' and '.join(words)}, as the security policy demands")

"""Security suites: which algorithms and key lengths go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from headend.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite. The curve and the hash of suite 0 serve HLS with ECDSA only, which it borrows from suite 1."""

    number: int
    key_length: int
    curve: ec.EllipticCurve
    hash: hashes.SHA256 | hashes.SHA384
    algorithm_id: bytes
    """AES-GCM with this key length, as it enters the derivation of keys"""
    wrap_id: bytes
    """AES key wrap, the same"""

    @property
    def scalar_length(self) -> int:
        """Octets of a private key, of a coordinate, and of either half of a signature."""
        return self.curve.key_size // 8


SUITES: Final = (
    Suite(0, 16, ec.SECP256R1(), hashes.SHA256(), bytes.fromhex("60857405080300"), bytes.fromhex("60857405080302")),
    Suite(1, 16, ec.SECP256R1(), hashes.SHA256(), bytes.fromhex("60857405080300"), bytes.fromhex("60857405080302")),
    Suite(2, 32, ec.SECP384R1(), hashes.SHA384(), bytes.fromhex("60857405080301"), bytes.fromhex("60857405080303")),
)


def check_key(suite: Suite, octets: bytes, name: str) -> bytes:
    """The key itself when its length fits; raises ConfigError, which names the key and never shows it."""
    if len(octets) != suite.key_length:
        raise ConfigError(f"{name} of security suite {suite.number}: {suite.key_length} octets, not {len(octets)}")
    return octets

"""Keys: wrapping (RFC 3394), private and public keys, signatures, key agreement and derivation (NIST SP 800-56A).

Private keys are scalars that the caller has drawn; signatures are deterministic (RFC 6979). So there is no randomness here.
Public keys are x ‖ y, signatures r ‖ s, all of the length of the suite's curve.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from headend.errors import ConfigError, DecipherFailed, DecodeError
from headend.protocols.dlms.security.suite import Suite

_SHORTEST_WRAPPED: Final = 24


def wrap_key(master_key: bytes, key: bytes) -> bytes:
    """A key under the master key."""
    try:
        return aes_key_wrap(master_key, key)
    except ValueError:
        raise ConfigError("a key of a length that cannot be wrapped, or that cannot wrap") from None


def unwrap_key(master_key: bytes, wrapped: bytes) -> bytes:
    """The key that was wrapped; raises DecipherFailed when it is not whole."""
    if len(wrapped) < _SHORTEST_WRAPPED or len(wrapped) % 8:
        raise DecipherFailed(f"a wrapped key of {len(wrapped)} octets")
    try:
        return aes_key_unwrap(master_key, wrapped)
    except InvalidUnwrap:
        raise DecipherFailed("a wrapped key does not hold", hint="check mk") from None
    except ValueError:
        raise ConfigError("a master key has 16 or 32 octets") from None


def private_key(suite: Suite, scalar: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key of a scalar; raises ConfigError for a number that is none."""
    if len(scalar) != suite.scalar_length:
        raise ConfigError(f"a private key of suite {suite.number} has {suite.scalar_length} octets, not {len(scalar)}")
    try:
        return ec.derive_private_key(int.from_bytes(scalar, "big"), suite.curve)
    except ValueError:
        raise ConfigError(f"not a private key of suite {suite.number}") from None


def public_octets(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key that belongs to a private one."""
    numbers = key.public_key().public_numbers()
    length = key.key_size // 8
    return numbers.x.to_bytes(length, "big") + numbers.y.to_bytes(length, "big")


def public_key(suite: Suite, octets: bytes) -> ec.EllipticCurvePublicKey:
    """A public key from the wire; raises DecodeError for a point that is not on the curve."""
    if len(octets) != 2 * suite.scalar_length:
        expected = f"{2 * suite.scalar_length} octets"
        raise DecodeError("public key", offset=0, expected=expected, got=str(len(octets)))
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(suite.curve, b"\x04" + octets)
    except ValueError:
        raise DecodeError("public key", offset=0, expected="a point on the curve") from None


def sign(suite: Suite, key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """The signature of a message."""
    der = key.sign(message, ec.ECDSA(suite.hash, deterministic_signing=True))
    return b"".join(half.to_bytes(suite.scalar_length, "big") for half in decode_dss_signature(der))


def is_signed(suite: Suite, key: ec.EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """True when the signature is that of the message."""
    length = suite.scalar_length
    if len(signature) != 2 * length:
        return False
    der = encode_dss_signature(int.from_bytes(signature[:length], "big"), int.from_bytes(signature[length:], "big"))
    try:
        key.verify(der, message, ec.ECDSA(suite.hash))
    except InvalidSignature:
        return False
    return True


def agree(
    suite: Suite,
    own: ec.EllipticCurvePrivateKey,
    peer: ec.EllipticCurvePublicKey,
    party_u: bytes,
    party_v: bytes,
    *,
    transaction_id: bytes = b"",
) -> bytes:
    """The key that both sides get; `party_u` is the system title of the side that begins.

    C(2e, 0s): both keys are ephemeral. C(1e, 1s): that of the side that begins is ephemeral, the other static. C(0e, 2s):
    both are static, and the transaction id makes the derived key a new one.
    """
    told = bytes((len(transaction_id),)) + transaction_id if transaction_id else b""
    return derive_key(suite, own.exchange(ec.ECDH(), peer), party_u + told, party_v)


def derive_key(suite: Suite, shared_secret: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """A block cipher key from a shared secret."""
    info = suite.algorithm_id + party_u + party_v
    return ConcatKDFHash(suite.hash, suite.key_length, info).derive(shared_secret)

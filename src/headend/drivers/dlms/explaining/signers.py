"""Public keys, or the certificates that hold them; the signatures of general-signing. Pure.

The cryptography is loaded when there is a key.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from headend.errors import ConfigError, HeadendError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_PEM: Final = re.compile(rb"-----BEGIN [^-]+-----(.+?)-----END", re.DOTALL)
_SUITES: Final = {256: 1, 384: 2}
"""Security suite by bits of the curve."""


def read_public(name: str, octets: bytes) -> EllipticCurvePublicKey:
    """The key of a certificate (X.509 in PEM or DER), of a public-key file, or of its point; raises ConfigError."""
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - ditto
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - ditto
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415 - ditto

    from headend.protocols.dlms.security.keys import public_key  # noqa: PLC0415 - ditto
    from headend.protocols.dlms.security.suite import SUITES  # noqa: PLC0415 - ditto

    try:
        point = octets.removeprefix(b"\x04") if len(octets) in {65, 97} else octets
        if len(point) in {64, 96}:
            return public_key(SUITES[1 if len(point) == 64 else 2], point)
        found = _PEM.search(octets)
        der = b64decode(b"".join(found[1].split()), validate=True) if found else octets
        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm, HeadendError):
        raise ConfigError(f"{name}: expected a certificate (X.509) or a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size not in _SUITES:
        raise ConfigError(f"{name}: expected a key of curve P-256 or P-384")
    return key


def is_signed_by(key: EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """True when the owner of the key has signed the message."""
    from headend.protocols.dlms.security.keys import is_signed  # noqa: PLC0415 - see above
    from headend.protocols.dlms.security.suite import SUITES  # noqa: PLC0415 - ditto

    return is_signed(SUITES[_SUITES[key.curve.key_size]], key, message, signature)

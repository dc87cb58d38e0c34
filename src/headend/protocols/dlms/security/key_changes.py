"""Changes of symmetric keys (methods of IC 64): keys wrapped under the master key, and keys on which both sides agree.

An agreement is C(2e, 0s): each side offers an ephemeral public key, and signs it together with the number of the key that it
is for.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING

from headend.errors import AuthenticationFailed, DecodeError
from headend.protocols.dlms.security.keys import agree, is_signed, public_key, public_octets, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.protocols.dlms.security.suite import Suite


class KeyId(enum.IntEnum):
    """Which key is transferred or agreed on."""

    GLOBAL_UNICAST = 0
    GLOBAL_BROADCAST = 1
    AUTHENTICATION = 2
    MASTER = 3


def make_offer(
    suite: Suite, key_id: KeyId, ephemeral: ec.EllipticCurvePrivateKey, signing: ec.EllipticCurvePrivateKey
) -> bytes:
    """Our ephemeral public key with its signature."""
    point = public_octets(ephemeral)
    return point + sign(suite, signing, bytes((key_id,)) + point)


def take_offer(
    suite: Suite, key_id: KeyId, offer: bytes, signing: ec.EllipticCurvePublicKey
) -> ec.EllipticCurvePublicKey:
    """The ephemeral public key of the other side; raises DecodeError, or AuthenticationFailed when it is somebody else's."""
    length = 2 * suite.scalar_length
    if len(offer) != 2 * length:
        raise DecodeError("key agreement data", expected=f"{2 * length} octets", got=str(len(offer)))
    point, signature = offer[:length], offer[length:]
    if not is_signed(suite, signing, bytes((key_id,)) + point, signature):
        raise AuthenticationFailed("an ephemeral key is not signed by the other side", hint="check its public key")
    return public_key(suite, point)


def agreed_key(
    suite: Suite,
    key_id: KeyId,
    own: ec.EllipticCurvePrivateKey,
    peer: ec.EllipticCurvePublicKey,
    *,
    client_title: bytes,
    meter_title: bytes,
) -> bytes:
    """The key on which both sides agree; the client begins."""
    if key_id is KeyId.MASTER:
        suite = replace(suite, algorithm_id=suite.wrap_id)
    return agree(suite, own, peer, client_title, meter_title)

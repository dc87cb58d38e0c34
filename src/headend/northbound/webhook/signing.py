"""Signatures of Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, one for each secret that is in use. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from headend.errors import ConfigError
from headend.model.meter import Secret

PREFIX: Final = "whsec_"


def key_of(secret: Secret, place: str) -> Secret:
    """The octets of `whsec_BASE64`; raises ConfigError, never showing it."""
    text = secret.reveal().decode("ascii", "replace").strip()
    try:
        octets = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not text.startswith(PREFIX) or not 24 <= len(octets) <= 64:
        raise ConfigError(f"{place}: expected whsec_ and 24 to 64 octets in base64")
    return Secret(octets)


def signed(keys: Sequence[Secret], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message; none without a key."""
    if not keys:
        return {}
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    marks = (base64.b64encode(hmac.digest(key.reveal(), content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }

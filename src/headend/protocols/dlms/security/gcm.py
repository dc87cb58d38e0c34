"""AES-GCM as DLMS uses it: authentication, encryption or both, tags of twelve octets, system title and counter as IV.

```text
 SC  IC(4)  content                   tag(12)     IV = system title ‖ IC
 10         plaintext                 yes         AAD = SC ‖ AK ‖ more ‖ plaintext, nothing encrypted
 20         ciphertext                no          AAD empty
 30         ciphertext                yes         AAD = SC ‖ AK ‖ more
```

`more` is empty but in general-ciphering. The one-shot AEAD knows tags of sixteen octets only, so what is received is
deciphered by its counter mode, enciphered again, and released only after the twelve octets of the tag agree.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headend.errors import ConfigError, DecipherFailed, DecodeError, LocalProtocolError
from headend.protocols.dlms.security.control import AUTHENTICATED, ENCRYPTED, PROTECTION, check_control

TAG_LENGTH: Final = 12
HEAD_LENGTH: Final = 5
"""Security control and invocation counter."""
OVERHEAD: Final = HEAD_LENGTH + TAG_LENGTH
SYSTEM_TITLE_LENGTH: Final = 8

_FULL_TAG: Final = 16


class GcmKey:
    """A block cipher key with its authentication key, ready for use; shows neither."""

    __slots__ = ("_authentication", "_encrypt", "_usual", "length")

    def __init__(self, cipher_key: bytes, authentication_key: bytes = b"") -> None:
        if len(cipher_key) not in (16, 32):
            raise ConfigError(f"a block cipher key has 16 or 32 octets, not {len(cipher_key)}")
        self.length = len(cipher_key)
        self._authentication = authentication_key
        self._usual = -1  # the control octet that was checked last
        self._encrypt = AESGCM(cipher_key).encrypt

    def with_cipher_key(self, cipher_key: bytes) -> GcmKey:
        """Another block cipher key with the same authentication key; raises DecodeError when its length differs."""
        if len(cipher_key) != self.length:
            raise DecodeError("block cipher key", expected=f"{self.length} octets", got=str(len(cipher_key)))
        return GcmKey(cipher_key, self._authentication)

    def seal(self, control: int, system_title: bytes, counter: int, plaintext: bytes, more: bytes = b"") -> bytes:
        """Security control, counter, content and tag."""
        head = (control << 32 | counter).to_bytes(5, "big")
        iv = system_title + head[1:]
        protection = control & PROTECTION
        if protection == PROTECTION:
            return head + self._encrypt(iv, plaintext, head[:1] + self._authentication + more)[:-4]
        if protection == ENCRYPTED:
            return head + self._encrypt(iv, plaintext, None)[:-_FULL_TAG]
        if protection == AUTHENTICATED:
            tag = self._encrypt(iv, b"", head[:1] + self._authentication + more + plaintext)
            return head + plaintext + tag[:TAG_LENGTH]
        raise LocalProtocolError("nothing is ciphered without authentication or encryption")

    def open(self, system_title: bytes, sealed: bytes, more: bytes = b"") -> Opened:
        """What was sealed; raises DecodeError for what cannot be, DecipherFailed when the tag does not hold."""
        if len(sealed) < HEAD_LENGTH:
            raise DecodeError("ciphered content", offset=0, expected="5 octets or more", got=str(len(sealed)))
        control = sealed[0]
        if self._usual != control:
            check_control(control, self.length)
            self._usual = control
        iv = system_title + sealed[1:HEAD_LENGTH]
        counter = int.from_bytes(sealed[1:HEAD_LENGTH], "big")
        if not control & AUTHENTICATED:
            return Opened(control, counter, self._encrypt(iv, sealed[HEAD_LENGTH:], None)[:-_FULL_TAG])
        content, tag = sealed[HEAD_LENGTH:-TAG_LENGTH], sealed[-TAG_LENGTH:]
        if len(sealed) < OVERHEAD:
            raise DecodeError("ciphered content", offset=0, expected="17 octets or more", got=str(len(sealed)))
        associated = sealed[:1] + self._authentication + more
        if control & ENCRYPTED:
            content = self._encrypt(iv, content, None)[:-_FULL_TAG]
            good = self._encrypt(iv, content, associated)[-_FULL_TAG:-4]
        else:
            good = self._encrypt(iv, b"", associated + content)[:TAG_LENGTH]
        if not compare_digest(good, tag):
            raise DecipherFailed(
                "the authentication tag of a ciphered APDU does not hold",
                hint="check ek, ak, the security suite and the system titles",
            )
        return Opened(control, counter, content)


class Opened(NamedTuple):
    """Security control, invocation counter and plaintext."""

    control: int
    counter: int
    plaintext: bytes

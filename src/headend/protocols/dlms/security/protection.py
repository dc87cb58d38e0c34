"""The ciphering of one association, for both roles: the `Protection` that a `DlmsConnection` is given.

Initiate APDUs go under the global key. What follows goes under the dedicated key when the client has sent one, and by the
general APDUs when both sides do general protection. A meter answers as it was asked, and not less protected. Refusals
(exception-response, confirmed-service-error) are sent and taken plain, because the other side may have no key that fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import DecipherFailed, DecodeError, RemoteProtocolError, SecurityError
from headend.protocols.base import Role
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.ciphering import (
    DEDICATED,
    GENERAL_DEDICATED,
    GENERAL_GLOBAL,
    GLOBAL,
    PLAIN_OF_DEDICATED,
    PLAIN_OF_GLOBAL,
    decode_general,
    decode_service,
    encode_general,
    encode_service,
)
from headend.protocols.dlms.security.control import AUTHENTICATED, BROADCAST, PROTECTION, refuse_compression
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.policy import check_protection

if TYPE_CHECKING:
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.policy import Policy
    from headend.protocols.dlms.security.suite import Suite

_REFUSALS: Final = frozenset({ExceptionResponse.TAG, ConfirmedServiceError.TAG})
_INITIATE: Final = frozenset({InitiateRequest.TAG, InitiateResponse.TAG})

OVERHEAD: Final = 30
"""tag, system title with length, length of three octets, control, counter, authentication tag"""


class _Stream:
    """A key with the counters of both directions."""

    __slots__ = ("key", "received", "sent")

    def __init__(self, key: GcmKey, sent: OwnCounter, received: ReceivedCounter) -> None:
        self.key = key
        self.sent = sent
        self.received = received


class Ciphering:
    """See `headend.protocols.dlms.events.Protection`. Shows no key."""

    __slots__ = (
        "_control",
        "_dedicated",
        "_general",
        "_global",
        "_needed",
        "_own",
        "_peer",
        "_role",
        "_suite",
        "_title",
        "_use",
        "overhead",
        "request_protection",
    )

    def __init__(
        self,
        role: Role,
        suite: Suite,
        policy: Policy,
        *,
        key: GcmKey,
        system_title: bytes,
        sent: OwnCounter,
        received: ReceivedCounter,
    ) -> None:
        """`key` is the global unicast key; its counters outlive the association."""
        client = role is Role.CLIENT
        self._role = role
        own, needed = policy if client else (policy.response, policy.request)
        self._own, self._needed = own & PROTECTION, needed & PROTECTION
        self._suite = suite.number
        self._control = self._own | suite.number if self._own else 0
        self._title = system_title
        self.overhead = OVERHEAD
        """what `protect` adds at most"""
        self._peer = b""
        self._global = self._use = _Stream(key, sent, received)
        self._dedicated: _Stream | None = None
        self._general = False
        self.request_protection = 0
        """server: bits of the security control that the last request had"""

    def peer(self, system_title: bytes) -> None:
        """The other side has told its title; a new association begins."""
        self._peer = system_title
        self._dedicated = None
        self._use, self._general = self._global, False

    def unprotect_initiate(self, apdu: bytes, system_title: bytes) -> bytes:
        """The plain initiate APDU of a new association. One that does not hold leaves the association of before as it was."""
        before = self._peer, self._dedicated, self._use, self._general
        self.peer(system_title)
        try:
            return self.unprotect(apdu)
        except (SecurityError, RemoteProtocolError):
            self._peer, self._dedicated, self._use, self._general = before
            raise

    def agreed(self, conformance: Conformance, dedicated_key: bytes) -> None:
        """The association stands: from now on the dedicated key is used if there is one, which counts from 0."""
        if dedicated_key:
            key = self._global.key.with_cipher_key(dedicated_key)
            self._dedicated = _Stream(key, OwnCounter(MemoryCounters(), ""), ReceivedCounter())
        if self._role is Role.CLIENT:
            self._use = self._dedicated or self._global
            self._general = Conformance.GENERAL_PROTECTION in conformance

    def protect(self, apdu: bytes) -> bytes:
        """The APDU, ciphered as the policy wants it."""
        tag, control = apdu[0], self._control
        if not control or tag in _REFUSALS:
            return apdu
        use = self._global if tag in _INITIATE else self._use
        dedicated = use is self._dedicated
        ciphered = (DEDICATED if dedicated else GLOBAL).get(tag)
        sealed = use.key.seal(control, self._title, use.sent.take(), apdu)
        if ciphered is None or (self._general and tag not in _INITIATE):
            return encode_general(GENERAL_DEDICATED if dedicated else GENERAL_GLOBAL, self._title, sealed)
        return encode_service(ciphered, sealed)

    def unprotect(self, apdu: bytes) -> bytes:
        """The plain APDU; raises DecipherFailed, ReplayDetected, DecodeError for what is no APDU, CapabilityError for V.44."""
        tag = apdu[0]
        title, plain_tag, general = self._peer, PLAIN_OF_GLOBAL.get(tag), False
        if plain_tag is not None:
            use, sealed = self._global, decode_service(apdu)
        elif tag in PLAIN_OF_DEDICATED:
            use, plain_tag, sealed = self._require_dedicated(), PLAIN_OF_DEDICATED[tag], decode_service(apdu)
        elif tag in (GENERAL_GLOBAL, GENERAL_DEDICATED):
            use = self._global if tag == GENERAL_GLOBAL else self._require_dedicated()
            sender, sealed = decode_general(apdu)
            general, title = True, self._sender(sender)
        else:
            if tag not in _REFUSALS:
                check_protection(self._needed, 0)
            self._answer_as(0)
            return apdu
        if len(title) != 8:
            raise DecipherFailed("a ciphered APDU from a side that has not told its system title")
        try:
            control, counter, plaintext = use.key.open(title, sealed)
        except DecodeError:
            refuse_compression(sealed)
            raise
        if control & BROADCAST:
            raise DecipherFailed("a ciphered APDU under the broadcast key, which this association does not use")
        if self._needed & ~control:
            check_protection(self._needed, control)
        if not plaintext or (plain_tag is not None and plaintext[0] != plain_tag):
            expected = "an APDU" if plain_tag is None else f"{plain_tag:02x}"
            if not control & AUTHENTICATED:
                raise DecipherFailed("an encrypted APDU does not hold an APDU", hint="check ek and the security suite")
            raise DecodeError("deciphered APDU", offset=0, expected=expected, got=plaintext[:1].hex() or "nothing")
        use.received.accept(counter)
        if self._role is Role.SERVER:
            self._use, self._general = use, general
            self._answer_as(control)
        return plaintext

    def _answer_as(self, control: int) -> None:
        """Server: an answer is protected as the policy wants it, and by what its request has beyond the policy."""
        if self._role is Role.SERVER:
            self.request_protection = control & PROTECTION
            own = self._own | control & PROTECTION & ~self._needed
            self._control = own | self._suite if own else 0

    def answer_with(self, bits: int) -> bool:
        """Server: protect this answer and all that follow at least so well; False when that cannot be."""
        if bits & ~PROTECTION:
            return False
        if bits & ~self._own:
            self._own |= bits
            self._control |= bits | self._suite
        return True

    def _require_dedicated(self) -> _Stream:
        if self._dedicated is None:
            raise DecipherFailed("an APDU under a dedicated key, and there is none")
        return self._dedicated

    def _sender(self, title: bytes) -> bytes:
        """The title of the sender: as the association knows it, or as the APDU tells when there is no association."""
        if title and self._peer and title != self._peer:
            raise DecipherFailed("a ciphered APDU from another system title than that of the association")
        return self._peer or title

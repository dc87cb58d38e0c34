"""general-ciphering and general-signing in an association, for both roles, beside the ciphering by global and dedicated keys.

What is signed is signed first and ciphered then; the other way round is taken too. Keys of general-ciphering:

```text
identified   the global unicast key; 1 is the broadcast key
wrapped      one for each association and direction, under the master key
one pass     C(1e, 1s): one for each association and direction, from an ephemeral key of the sender, which it signs,
             and the static key of the other side
static       C(0e, 2s): one for each APDU, from the static keys of both and the transaction id
```

All of them use the invocation counters of the global key: a counter that never goes back needs no memory of the keys that there
were. A meter answers as it was asked, and in the transaction of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import (
    CapabilityError,
    DecipherFailed,
    DecodeError,
    RemoteProtocolError,
    SecurityError,
)
from headend.protocols.base import Role
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.notification import NOTIFICATION_TAGS
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.ciphering import (
    GeneralCiphering,
    GeneralSigning,
    Header,
    IdentifiedKey,
    KeyKind,
    decode_general_ciphering,
    decode_general_signing,
)
from headend.protocols.dlms.security.control import BROADCAST, PROTECTION, SIGNED, refuse_compression
from headend.protocols.dlms.security.counters import ReceivedCounter
from headend.protocols.dlms.security.gcm import SYSTEM_TITLE_LENGTH
from headend.protocols.dlms.security.general_keys import BROADCAST_KEY, GeneralKeys, needed
from headend.protocols.dlms.security.keys import (
    is_signed,
    sign,
)
from headend.protocols.dlms.security.policy import check_protection
from headend.protocols.dlms.security.protection import OVERHEAD, Ciphering

if TYPE_CHECKING:
    from headend.protocols.dlms.security.counters import OwnCounter
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.general_keys import KeyMaterial
    from headend.protocols.dlms.security.policy import Policy
    from headend.protocols.dlms.security.suite import Suite

_TRANSACTION: Final = 8
_LAST_TRANSACTION: Final = (1 << 8 * _TRANSACTION) - 1
_UNSIGNED: Final = frozenset(
    {ExceptionResponse.TAG, ConfirmedServiceError.TAG, InitiateRequest.TAG, InitiateResponse.TAG}
)
_ENVELOPES: Final = frozenset({GeneralCiphering.TAG, GeneralSigning.TAG})
_HEADER: Final = 1 + 3 * (1 + 8) + 2
"""Tag, transaction id, both titles, no time and nothing else."""
_LENGTH: Final = 3


class GeneralProtection(Ciphering):
    """See `Ciphering`. A client ciphers by `kind` of key, without one by global and dedicated keys, and signs by its policy."""

    __slots__ = (
        *("_gcm", "_keys", "_kind", "_material", "_must_sign", "_needs_signature"),
        *("_of_suite", "_signed", "_signs", "_transaction", "_wanted"),
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
        material: KeyMaterial,
        kind: KeyKind | None = None,
        signed: ReceivedCounter | None = None,
    ) -> None:
        """`key` is the global unicast key; its counters outlive the association, and so does `signed`, which a server needs.

        It is the last transaction that was signed and not ciphered: nothing else tells that such an APDU came before.
        """
        super().__init__(role, suite, policy, key=key, system_title=system_title, sent=sent, received=received)
        own, needed = policy if role is Role.CLIENT else (policy.response, policy.request)
        self._of_suite = suite
        self._gcm = key
        self._material = material
        self._wanted = kind
        self._kind: KeyKind | None = None
        self._must_sign, self._needs_signature = bool(own & SIGNED), bool(needed & SIGNED)
        self._signs = self._must_sign
        self._transaction = b""
        self._signed = signed or ReceivedCounter()
        self._keys = self._new_keys()
        self._measure()

    def peer(self, system_title: bytes) -> None:
        """The other side has told its title; a new association begins."""
        super().peer(system_title)
        self._kind, self._signs = None, self._must_sign
        self._transaction = b""
        self._keys = self._new_keys()
        self._measure()

    def _new_keys(self) -> GeneralKeys:
        return GeneralKeys(self._role, self._of_suite, self._gcm, self._material, self._title)

    def unprotect_initiate(self, apdu: bytes, system_title: bytes) -> bytes:
        """The plain initiate APDU of a new association. One that does not hold leaves the association of before as it was."""
        before = self._kind, self._signs, self._transaction, self._keys
        try:
            return super().unprotect_initiate(apdu, system_title)
        except (SecurityError, RemoteProtocolError):
            self._kind, self._signs, self._transaction, self._keys = before
            self._measure()
            raise

    def agreed(self, conformance: Conformance, dedicated_key: bytes) -> None:
        """The association stands; raises CapabilityError where the meter does no general protection and it is wanted."""
        super().agreed(conformance, dedicated_key)
        if self._role is Role.CLIENT:
            if (self._wanted or self._must_sign) and Conformance.GENERAL_PROTECTION not in conformance:
                raise CapabilityError("the meter does not do general protection", hint="ciphering=global, or policy=3")
            self._kind = self._wanted
            self._measure()

    def _measure(self) -> None:
        """What protection adds at most, as it is now."""
        half = self._of_suite.scalar_length
        ciphered = OVERHEAD
        if self._kind is not None:
            key = {KeyKind.WRAPPED: self._of_suite.key_length + 8, KeyKind.ONE_PASS: 4 * half}.get(self._kind, 0)
            ciphered = _HEADER + 2 + 2 + _LENGTH + key + _LENGTH + 17
        self.overhead = ciphered + (_HEADER + 2 * _LENGTH + 2 * half if self._signs else 0)

    # --- what is sent ---

    def protect(self, apdu: bytes) -> bytes:
        """The APDU, signed and ciphered as the policy wants it."""
        if apdu[0] in _UNSIGNED:
            return super().protect(apdu)
        if self._role is Role.CLIENT and (self._signs or self._kind):
            self._transaction = self._new_transaction()
        elif self._signs and not self._control and apdu[0] in NOTIFICATION_TAGS:
            return self._sign(apdu, self._new_transaction())  # nothing but its number tells that a push came before
        if self._signs:
            apdu = self._sign(apdu, self._transaction)
        if self._kind is None or not self._control:
            return super().protect(apdu)
        header = self._header(self._transaction)
        information, key = self._keys.to_send(self._kind, self._peer, self._transaction)
        sealed = key.seal(self._control, self._title, self._global.sent.take(), apdu, header.encode())
        return GeneralCiphering(header=header, key=information, sealed=sealed).encode()

    def _new_transaction(self) -> bytes:
        """One more than the last; where nothing is ciphered a number that no association has had, against replays."""
        last = int.from_bytes(self._transaction, "big")
        number = last + 1 & _LAST_TRANSACTION if self._control else self._global.sent.take()
        return number.to_bytes(_TRANSACTION, "big")

    def _header(self, transaction: bytes) -> Header:
        return Header(transaction_id=transaction, originator=self._title, recipient=self._peer)

    def _sign(self, apdu: bytes, transaction: bytes) -> bytes:
        unsigned = GeneralSigning(header=self._header(transaction), content=apdu)
        signature = sign(self._of_suite, needed(self._material.signing, "signing key"), unsigned.signed)
        return GeneralSigning(header=unsigned.header, content=apdu, signature=signature).encode()

    # --- what is received ---

    def unprotect(self, apdu: bytes) -> bytes:
        """The plain APDU; raises DecipherFailed, ReplayDetected, or DecodeError for what is no APDU."""
        signed, kind = False, None
        if apdu[0] == GeneralSigning.TAG:
            apdu, signed = self._verify(apdu, inside=False), True
        if apdu[0] == GeneralCiphering.TAG:
            kind, apdu = self._open(apdu)
            inside = True
        else:
            inside = apdu[0] not in _UNSIGNED
            apdu = super().unprotect(apdu)
        if apdu[0] == GeneralSigning.TAG and not signed:
            apdu, signed = self._verify(apdu, inside=inside), True
        if apdu[0] in _ENVELOPES:
            raise DecodeError("deciphered APDU", offset=0, expected="an APDU", got=f"{apdu[0]:02x}")
        if self._needs_signature and not signed and apdu[0] not in _UNSIGNED:
            check_protection(SIGNED, 0)
        if self._role is Role.SERVER:
            self.request_protection |= SIGNED if signed else 0
            self._kind = kind
            self._signs = self._must_sign or (signed and self._material.signing is not None)
            self._measure()
        return apdu

    def _verify(self, apdu: bytes, *, inside: bool) -> bytes:
        """The content of a signed APDU; one that is not ciphered also must not come twice."""
        message = decode_general_signing(Reader(apdu, 1))
        if not message.content:
            raise DecodeError("signed APDU", offset=0, expected="an APDU", got="nothing")
        self._check_titles(message.header)
        self._check_transaction(message.header, message.content)
        key = needed(self._material.peer_signing, "signing key of the other side")
        if not is_signed(self._of_suite, key, message.signed, message.signature):
            raise DecipherFailed(
                "the signature of an APDU does not hold", hint="check the public key of the other side, and the suite"
            )
        if self._role is Role.SERVER and not inside:
            self._signed.accept(int.from_bytes(message.header.transaction_id, "big"))
        self._begin(message.header)
        return message.content

    def _open(self, apdu: bytes) -> tuple[KeyKind, bytes]:
        """What general-ciphering carries, and how its key was told."""
        message = decode_general_ciphering(Reader(apdu, 1))
        header = message.header
        self._check_titles(header)
        kind, used = self._keys.received(message.key or IdentifiedKey(0), header)
        try:
            control, counter, plaintext = used.key.open(header.originator, message.sealed, header.encode())
        except DecodeError:
            refuse_compression(message.sealed)
            raise
        broadcast = isinstance(message.key, IdentifiedKey) and message.key.key_id == BROADCAST_KEY
        if bool(control & BROADCAST) is not broadcast:
            raise DecipherFailed("the security control and the key information name different keys")
        check_protection(self._needed, control)
        if not plaintext:
            raise DecodeError("deciphered APDU", offset=0, expected="an APDU", got="nothing")
        self._check_transaction(header, plaintext)
        self._global.received.accept(counter)
        self._answer_as(control)
        self._begin(header)
        self._keys.remember(kind, used)
        return kind, plaintext

    def _begin(self, header: Header) -> None:
        """A meter answers in the transaction of the request, once that is known to be genuine."""
        if self._role is Role.SERVER:
            self._transaction = header.transaction_id

    def _check_titles(self, header: Header) -> None:
        """From whom it must be, and for whom."""
        if len(header.originator) != SYSTEM_TITLE_LENGTH or self._peer not in (b"", header.originator):
            raise DecipherFailed("an APDU from another system title than that of the association")
        if header.recipient not in (b"", self._title):
            raise DecipherFailed("an APDU for another system title than ours")

    def _check_transaction(self, header: Header, content: bytes) -> None:
        if self._role is Role.SERVER:
            if len(header.transaction_id) > _LONGEST_TRANSACTION:
                raise DecodeError("transaction id", expected="at most 16 octets", got=str(len(header.transaction_id)))
        elif header.transaction_id != self._transaction and content[0] not in _UNASKED:
            raise DecipherFailed("an APDU of another transaction than the one that we have begun")

    def answer_with(self, bits: int) -> bool:
        """Server: protect this answer and all that follow at least so well; False when that cannot be."""
        if bits & SIGNED:
            if self._material.signing is None:
                return False
            self._must_sign = self._signs = True
            self._measure()
        return super().answer_with(bits & PROTECTION)


_LONGEST_TRANSACTION: Final = 16
_UNASKED: Final = NOTIFICATION_TAGS | {GeneralSigning.TAG}
"""What may belong to no transaction of ours; of what is signed the content is asked."""

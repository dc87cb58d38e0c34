"""The keys of general-ciphering: which one an APDU to be sent has, and which one was meant in an APDU that came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from headend.errors import ConfigError, DecipherFailed, DecodeError, KeyMissing
from headend.protocols.base import Role
from headend.protocols.dlms.security.ciphering import AGREED, AgreedKey, IdentifiedKey, KeyKind, Scheme, WrappedKey
from headend.protocols.dlms.security.control import SIGNED
from headend.protocols.dlms.security.keys import (
    agree,
    is_signed,
    private_key,
    public_key,
    public_octets,
    sign,
    unwrap_key,
    wrap_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.protocols.dlms.security.ciphering import Header, KeyInformation
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.policy import Policy
    from headend.protocols.dlms.security.suite import Suite

_T = TypeVar("_T")
BROADCAST_KEY: Final = 1
"""The number by which a key is identified as the broadcast key; 0 is the global unicast key."""
_TOLD: Final = frozenset({KeyKind.WRAPPED, KeyKind.ONE_PASS})
"""Keys that come with an APDU."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The keys of one side beside the global ones, as far as it has them. `draw` gives octets that nobody can foretell."""

    draw: Callable[[int], bytes]
    master: bytes = field(default=b"", repr=False)
    broadcast: bytes = field(default=b"", repr=False)
    signing: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)
    agreement: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)
    peer_signing: ec.EllipticCurvePublicKey | None = None
    peer_agreement: ec.EllipticCurvePublicKey | None = None

    def missing(self, kind: KeyKind | None, policy: Policy) -> str:
        """The name of a key that is needed and not there; nothing when all are."""
        wanted: dict[str, object] = {}
        if kind is KeyKind.WRAPPED:
            wanted["master key"] = self.master
        if kind in AGREED:
            wanted |= {"key agreement key": self.agreement, "key agreement key of the other side": self.peer_agreement}
        if kind is KeyKind.ONE_PASS or (policy.request | policy.response) & SIGNED:
            wanted |= {"signing key": self.signing, "signing key of the other side": self.peer_signing}
        return next((name for name, key in wanted.items() if not key), "")


class UsedKey(NamedTuple):
    """A key, and what tells the other side which one it is."""

    information: KeyInformation
    key: GcmKey


class GeneralKeys:
    """The keys of one association: those that were chosen for what we send, and the one of what came last."""

    __slots__ = ("_chosen", "_gcm", "_known", "_material", "_role", "_suite", "_title")

    def __init__(self, role: Role, suite: Suite, gcm: GcmKey, material: KeyMaterial, title: bytes) -> None:
        """`gcm` is the global unicast key, `title` our own system title."""
        self._role = role
        self._suite = suite
        self._gcm = gcm
        self._material = material
        self._title = title
        self._chosen: dict[KeyKind, UsedKey] = {}
        self._known: UsedKey | None = None

    def to_send(self, kind: KeyKind, peer: bytes, transaction: bytes) -> UsedKey:
        """The key for an APDU to another title in a transaction; raises KeyMissing."""
        if kind is KeyKind.IDENTIFIED:
            return UsedKey(IdentifiedKey(0), self._gcm)
        if kind is KeyKind.STATIC:
            parameters = AgreedKey(bytes((Scheme.STATIC_UNIFIED,)), b"")
            return UsedKey(parameters, self._static(self._title, peer, transaction))
        used = self._chosen.get(kind)
        if used is None:
            used = self._chosen[kind] = self._wrap() if kind is KeyKind.WRAPPED else self._one_pass(peer)
        return used

    def _wrap(self) -> UsedKey:
        key = self._material.draw(self._suite.key_length)
        wrapped = wrap_key(needed(self._material.master, "master key"), key)
        return UsedKey(WrappedKey(0, wrapped), self._gcm.with_cipher_key(key))

    def _one_pass(self, title: bytes) -> UsedKey:
        """An ephemeral key of ours with the static one of the other side."""
        material, suite = self._material, self._suite
        signing = needed(material.signing, "signing key")
        peer = needed(material.peer_agreement, "key agreement key of the other side")
        ephemeral = self._draw_pair()
        point = public_octets(ephemeral)
        key = agree(suite, ephemeral, peer, self._title, title)
        information = AgreedKey(bytes((Scheme.ONE_PASS,)), point + sign(suite, signing, point))
        return UsedKey(information, self._gcm.with_cipher_key(key))

    def _draw_pair(self) -> ec.EllipticCurvePrivateKey:
        while True:
            try:
                return private_key(self._suite, self._material.draw(self._suite.scalar_length))
            except ConfigError:  # a number above the order of the curve, which is rare
                continue

    def _static(self, party_u: bytes, party_v: bytes, transaction_id: bytes) -> GcmKey:
        material = self._material
        own = needed(material.agreement, "key agreement key")
        peer = needed(material.peer_agreement, "key agreement key of the other side")
        key = agree(self._suite, own, peer, party_u, party_v, transaction_id=transaction_id)
        return self._gcm.with_cipher_key(key)

    def received(self, information: KeyInformation, header: Header) -> tuple[KeyKind, UsedKey]:
        """The key of an APDU; `remember` it when that has proved genuine. Raises DecipherFailed, DecodeError or KeyMissing."""
        if isinstance(information, IdentifiedKey):
            return KeyKind.IDENTIFIED, UsedKey(information, self._identified(information))
        kind = _kind_of(information)
        if kind in AGREED and not self._suite.number:
            raise DecipherFailed("an agreed key, which security suite 0 does not have")
        known = self._known
        if kind is KeyKind.STATIC:
            return kind, UsedKey(information, self._static(header.originator, self._title, header.transaction_id))
        if known is None or known.information != information:
            key = self._unwrap(information) if isinstance(information, WrappedKey) else self._agree(information, header)
            known = UsedKey(information, self._gcm.with_cipher_key(key))
        return kind, known

    def _identified(self, information: IdentifiedKey) -> GcmKey:
        if information.key_id == 0:
            return self._gcm
        if information.key_id == BROADCAST_KEY and self._role is Role.CLIENT and self._material.broadcast:
            return self._gcm.with_cipher_key(self._material.broadcast)
        raise DecipherFailed(f"an APDU under key {information.key_id}, which is not known here")

    def _unwrap(self, information: WrappedKey) -> bytes:
        if information.kek_id:
            raise DecipherFailed(f"a key under key-encrypting key {information.kek_id}, which is not known here")
        return unwrap_key(needed(self._material.master, "master key"), information.wrapped)

    def _agree(self, information: AgreedKey, header: Header) -> bytes:
        """The ephemeral key of the other side, which must be signed, with our static one."""
        suite, material = self._suite, self._material
        length = 2 * suite.scalar_length
        point, signature = information.ciphered[:length], information.ciphered[length:]
        signer = needed(material.peer_signing, "signing key of the other side")
        if not is_signed(suite, signer, point, signature):
            raise DecipherFailed("an ephemeral key is not signed by the other side", hint="check its public key")
        own = needed(material.agreement, "key agreement key")
        return agree(suite, own, public_key(suite, point), header.originator, self._title)

    def remember(self, kind: KeyKind, used: UsedKey) -> None:
        """The key of a genuine APDU: what comes next has probably the same."""
        if kind in _TOLD:
            self._known = used


def _kind_of(information: KeyInformation) -> KeyKind:
    """Raises DecodeError for a scheme that is none."""
    if isinstance(information, WrappedKey):
        return KeyKind.WRAPPED
    if isinstance(information, AgreedKey):
        if information.parameters == bytes((Scheme.ONE_PASS,)):
            return KeyKind.ONE_PASS
        if information.parameters == bytes((Scheme.STATIC_UNIFIED,)) and not information.ciphered:
            return KeyKind.STATIC
        raise DecodeError("key parameters", expected="01 or 02", got=information.parameters[:8].hex())
    return KeyKind.IDENTIFIED


def needed(key: _T | None, name: str) -> _T:
    """A key that must be there; raises KeyMissing."""
    if not key:
        raise KeyMissing(f"there is no {name}")
    return key

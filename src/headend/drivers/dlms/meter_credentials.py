"""The key pairs and certificates of a virtual meter (class 64, version 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from headend.drivers.dlms.meter_objects import Refused
from headend.model.reading import from_millis
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.security.certificates import Certificate, Entity, KeyUse, make_request, read_certificate

if TYPE_CHECKING:
    from headend.protocols.dlms.security.suite import Suite

_MOST: Final = 32
"""Certificates that a meter keeps."""
_PAIRS: Final = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)


class Credentials:
    """A key pair for each use, another one that waits for its certificate, and the certificates of everybody. Shows no key."""

    __slots__ = ("_title", "_waiting", "certificates", "pairs", "suite")

    def __init__(self, suite: Suite, title: bytes) -> None:
        self.suite = suite
        self.pairs: dict[KeyUse, ec.EllipticCurvePrivateKey] = {}
        self.certificates: list[Certificate] = []
        self._title = title
        self._waiting: dict[KeyUse, ec.EllipticCurvePrivateKey] = {}

    def generate(self, use: KeyUse) -> None:
        """Make a key pair, which is used as soon as its certificate is imported; at once when there is none yet."""
        if use not in _PAIRS:
            raise Refused(DataAccessResult.OTHER_REASON)
        made = ec.generate_private_key(self.suite.curve)
        if use in self.pairs:
            self._waiting[use] = made
        else:
            self.pairs[use] = made

    def request(self, use: KeyUse) -> bytes:
        """A request for the certificate of the pair that was generated last."""
        pair = self._waiting.get(use) or self.pairs.get(use)
        if pair is None:
            raise Refused(DataAccessResult.OTHER_REASON)
        return make_request(self.suite, pair, self._title, use)

    def take(self, der: bytes, now: int) -> None:
        """Import a certificate, which must be valid now; once there is an authority, one that it has issued."""
        certificate = read_certificate(self.suite, der)
        authorities = [known for known in self.certificates if known.authority]
        trusted = not authorities or any(certificate.is_issued_by(authority) for authority in authorities)
        if certificate.authority and not authorities:
            trusted = certificate.is_issued_by(certificate)
        if not trusted or not certificate.is_valid(from_millis(now)):
            raise Refused(DataAccessResult.OTHER_REASON)
        if certificate.title == self._title and not certificate.authority:
            self._use(certificate)
        kept = [known for known in self.certificates if not _replaces(certificate, known)]
        if len(kept) >= _MOST:
            raise Refused(DataAccessResult.OTHER_REASON)
        self.certificates = [*kept, certificate]

    def _use(self, certificate: Certificate) -> None:
        """A certificate of our own: the pair that it is for is used from now on."""
        use = certificate.use
        for pairs in (self._waiting, self.pairs):
            pair = pairs.get(use)
            if pair is not None and pair.public_key() == certificate.key:
                self.pairs[use] = pair
                self._waiting.pop(use, None)
                return
        raise Refused(DataAccessResult.OTHER_REASON)

    def entity_of(self, certificate: Certificate, client_title: bytes) -> Entity:
        """Whose certificate it is."""
        if certificate.authority:
            return Entity.AUTHORITY
        if certificate.title == self._title:
            return Entity.SERVER
        return Entity.CLIENT if certificate.title == client_title else Entity.OTHER

    def certified(self, title: bytes, use: KeyUse) -> ec.EllipticCurvePublicKey | None:
        """The public key of somebody, as certified."""
        for certificate in reversed(self.certificates):
            if (certificate.title, certificate.use, certificate.authority) == (title, use, False):
                return certificate.key
        return None


def _replaces(new: Certificate, old: Certificate) -> bool:
    """True for certificates of one holder for one use, and for the same one."""
    if new.authority or old.authority or not new.title:
        return new.der == old.der
    return (new.title, new.use) == (old.title, old.use)

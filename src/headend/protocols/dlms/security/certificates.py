"""Certificates of suites 1 and 2: X.509 whose common name is a system title, and PKCS #10 requests for them.

Certificates are DER on the wire. A certificate is for one use: its key signs, or agrees on keys.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from headend.errors import DecodeError

if TYPE_CHECKING:
    from datetime import datetime

    from headend.protocols.dlms.security.suite import Suite

_TITLE: Final = 8
_MALFORMED: Final = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),  # OverflowError: of a negative serial number
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises for octets that it cannot read."""


class KeyUse(enum.IntEnum):
    """What a key pair is for (certificate_type of IC 64)."""

    DIGITAL_SIGNATURE = 0
    KEY_AGREEMENT = 1
    TLS = 2
    OTHER = 3


class Entity(enum.IntEnum):
    """Whose certificate it is (certificate_entity of IC 64)."""

    SERVER = 0
    CLIENT = 1
    AUTHORITY = 2
    OTHER = 3


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. `title` is the system title in its common name, empty where that is another name."""

    der: bytes = field(repr=False)
    title: bytes
    use: KeyUse
    authority: bool
    serial: bytes
    issuer: bytes
    subject: bytes
    key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def is_valid(self, at: datetime) -> bool:
        """True at a time in its validity."""
        parsed = x509.load_der_x509_certificate(self.der)
        return parsed.not_valid_before_utc <= at <= parsed.not_valid_after_utc

    def is_issued_by(self, authority: Certificate) -> bool:
        """True when the key of an authority has signed it."""
        try:
            x509.load_der_x509_certificate(self.der).verify_directly_issued_by(
                x509.load_der_x509_certificate(authority.der)
            )
        except (*_MALFORMED, InvalidSignature):
            return False
        return authority.authority


def read_certificate(suite: Suite, der: bytes) -> Certificate:
    """Decode a certificate; raises DecodeError for what is none, or one of another curve."""
    try:
        parsed = x509.load_der_x509_certificate(der)
        key, extensions = parsed.public_key(), parsed.extensions
        return Certificate(
            der,
            _title_in(parsed.subject),
            _use_of(extensions),
            _is_authority(extensions),
            parsed.serial_number.to_bytes(parsed.serial_number.bit_length() // 8 + 1, "big"),
            parsed.issuer.public_bytes(),
            parsed.subject.public_bytes(),
            _of_curve(suite, key),
        )
    except _MALFORMED as error:
        raise DecodeError("certificate", expected="X.509 in DER", got=type(error).__name__) from error


def make_request(suite: Suite, key: ec.EllipticCurvePrivateKey, title: bytes, use: KeyUse) -> bytes:
    """A request for a certificate, which proves that we have the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(title))
    return builder.add_extension(_usage(use), critical=True).sign(key, suite.hash).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Requested:
    """What a request for a certificate asks for."""

    title: bytes
    use: KeyUse
    key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)


def read_request(suite: Suite, der: bytes) -> Requested:
    """Decode a request; raises DecodeError for what is none, or does not prove that its sender has the key."""
    try:
        parsed = x509.load_der_x509_csr(der)
        if not parsed.is_signature_valid:
            raise DecodeError("certificate request", expected="a signature by its own key")
        return Requested(_title_in(parsed.subject), _use_of(parsed.extensions), _of_curve(suite, parsed.public_key()))
    except _MALFORMED as error:
        raise DecodeError("certificate request", expected="PKCS #10 in DER", got=type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues certificates: a key and the certificate of it, None for the certificate that it issues for itself."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: Certificate | None = None

    def issue(
        self,
        suite: Suite,
        asked: Requested,
        serial: int,
        validity: tuple[datetime, datetime],
        *,
        authority: bool = False,
    ) -> Certificate:
        """A certificate; `authority` is one whose key issues others."""
        subject = _name(asked.title)
        issuer = subject
        if self.certificate is not None:
            issuer = x509.load_der_x509_certificate(self.certificate.der).subject
        builder = x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=subject,
            public_key=asked.key,
            serial_number=serial,
            not_valid_before=validity[0],
            not_valid_after=validity[1],
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        builder = builder.add_extension(_usage(asked.use, authority=authority), critical=True)
        return read_certificate(suite, builder.sign(self.key, suite.hash).public_bytes(Encoding.DER))


def _name(title: bytes) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title.hex().upper())])


def _title_in(name: x509.Name) -> bytes:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        title = bytes.fromhex(str(found[0].value)) if found else b""
    except ValueError:
        return b""
    return title if len(title) == _TITLE else b""


def _usage(use: KeyUse, *, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=use is not KeyUse.KEY_AGREEMENT and not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=use in (KeyUse.KEY_AGREEMENT, KeyUse.TLS),
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _use_of(extensions: x509.Extensions) -> KeyUse:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return KeyUse.OTHER
    if usage.digital_signature and usage.key_agreement:
        return KeyUse.TLS
    if usage.key_agreement:
        return KeyUse.KEY_AGREEMENT
    return KeyUse.DIGITAL_SIGNATURE if usage.digital_signature else KeyUse.OTHER


def _is_authority(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _of_curve(suite: Suite, key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != suite.curve.name:
        raise ValueError("a key of another kind")
    return key

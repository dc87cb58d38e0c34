"""general-signing in words, verified: the octets are assembled by hand after IEC 62056-5-3, the signatures made by the library.

Nobody has published an example, so the witness is ECDSA itself over what the standard says is signed: all octets between
the tag and the signature.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from headend.drivers.base import Layer
from headend.drivers.dlms import driver
from headend.errors import ConfigError
from headend.model.meter import Secret

from .layers import check_places, errors, field, names

METER = bytes.fromhex("4d4d4d0000000001")
CLIENT = bytes.fromhex("4d4d4d0000bc614e")
PUSH = bytes.fromhex("0f00000001000101020309060100010700ff060000055302020f00161b")
KEY = ec.derive_private_key(0x1234567, ec.SECP256R1())
LARGE = ec.derive_private_key(0x7654321, ec.SECP384R1())
OTHER = ec.derive_private_key(0x9999999, ec.SECP256R1())


def signed(key: ec.EllipticCurvePrivateKey, content: bytes = PUSH) -> bytes:
    """The APDU: transaction, originator, recipient, no date-time, nothing else, content; then the signature."""
    message = (
        b"\x08\1\2\3\4\5\6\7\x08" + b"\x08" + METER + b"\x08" + CLIENT + b"\0\0" + bytes((len(content),)) + content
    )
    size = key.key_size // 8
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384() if size == 48 else hashes.SHA256())))
    return b"\xdf" + message + bytes((2 * size,)) + r.to_bytes(size, "big") + s.to_bytes(size, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def certificate(key: ec.EllipticCurvePrivateKey, encoding: Encoding) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, METER.hex().upper())])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    made = made.not_valid_before(begin).not_valid_after(begin + timedelta(days=3650))
    return made.sign(key, hashes.SHA256()).public_bytes(encoding)


def explain(octets: bytes, **keys: bytes) -> Layer:
    layer = driver.explain(octets, {name: Secret(value) for name, value in keys.items()})
    check_places(layer, len(octets))
    return layer


@pytest.mark.parametrize("key", [KEY, LARGE])
def test_keys_and_certificates_verify(key: ec.EllipticCurvePrivateKey) -> None:
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = certificate(key, Encoding.PEM)
    one_line = b" ".join(pem.split(b"\n"))
    for signer in (point(key), point(key)[1:], spki, certificate(key, Encoding.DER), pem, one_line):
        layer = explain(signed(key), server_signer=signer)
        assert errors(layer) == []
        assert field(layer, "signature").endswith("(verified with server_signer)")
        assert names(layer)[:2] == ["general-signing", "data-notification"]


def test_the_signer_is_told_by_the_system_title() -> None:
    titles = {"server_title": METER, "client_title": CLIENT}
    layer = explain(signed(KEY), client_signer=point(OTHER), server_signer=point(KEY), **titles)
    assert field(layer, "signature").endswith("(verified with server_signer)")
    layer = explain(signed(KEY), client_signer=point(KEY), **titles)
    assert field(layer, "signature").endswith("(not verified: give server_signer)")
    assert errors(layer) == []
    layer = explain(signed(KEY))
    assert field(layer, "signature").endswith("(not verified: give client_signer or server_signer)")


@pytest.mark.parametrize("at", [3, 12, 35, -1])
def test_what_was_altered_does_not_verify(at: int) -> None:
    octets = bytearray(signed(KEY))
    octets[at] ^= 1
    layer = explain(bytes(octets), server_signer=point(KEY))
    assert field(layer, "signature").endswith("(wrong)")
    assert "signature wrong: somebody else has signed, or octets were altered (at octet 60)" in errors(layer)


def test_somebody_else_has_signed() -> None:
    for key in (OTHER, LARGE):
        assert "signature wrong" in errors(explain(signed(key), server_signer=point(KEY)))[0]


def test_keys_that_cannot_be() -> None:
    modulus = rsa.generate_private_key(65537, 2048).public_key()
    other_curve = ec.derive_private_key(5, ec.SECP521R1()).public_key()
    for octets, said in (
        (b"", "expected a certificate"),
        (bytes(64), "expected a certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----", "expected a certificate"),
        (modulus.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "P-256 or P-384"),
        (other_curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "P-256 or P-384"),
    ):
        with pytest.raises(ConfigError, match=said):
            explain(signed(KEY), server_signer=octets)

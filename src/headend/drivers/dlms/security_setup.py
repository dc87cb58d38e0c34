"""The security setup of a meter (class 64), from the head-end's side: keys, policy, key pairs and certificates.

Nothing here is done unless somebody calls it by name: each call changes what a meter lets in, and what went wrong cannot be
taken back from afar. Each is verified: keys by a new association under them, in which the session goes on, everything else
by reading back.

Whoever transfers keys should have stored the new ones beside the old ones before. When an error comes after the request was
sent, the meter may have either.
"""

from __future__ import annotations

import secrets as randomness
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headend.drivers.dlms.refs import CosemRef
from headend.drivers.dlms.security import key_material
from headend.errors import CapabilityError, ConfigError, DecodeError, KeyMissing, ObjectUndefined, ServiceRefused
from headend.model.meter import Secret
from headend.protocols.dlms.axdr import array, decode_data, encode_data, enum, octet_string, structure
from headend.protocols.dlms.security.certificates import Entity, KeyUse, read_certificate, read_request
from headend.protocols.dlms.security.key_changes import KeyId, agreed_key, make_offer, take_offer
from headend.protocols.dlms.security.keys import private_key, wrap_key
from headend.protocols.dlms.security.suite import SUITES, check_key
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.drivers.dlms.access import Access
    from headend.protocols.dlms.axdr import Data
    from headend.protocols.dlms.security.suite import Suite

SECURITY_SETUP: Final = CosemRef(64, Obis(0, 0, 43, 0, 0, 255), 2)
NAMES: Final = {
    KeyId.GLOBAL_UNICAST: "ek",
    KeyId.GLOBAL_BROADCAST: "bk",
    KeyId.AUTHENTICATION: "ak",
    KeyId.MASTER: "mk",
}
"""Keys by the names of their secrets."""
_POLICY, _CERTIFICATES = 2, 6
_ACTIVATE, _TRANSFER, _AGREE, _GENERATE, _REQUEST, _IMPORT, _EXPORT, _REMOVE = range(1, 9)
_BY_ENTITY: Final = 0
_DRAWS: Final = 64


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a meter shows of one of its certificates; serial number, issuer and subject as it writes them."""

    entity: int
    use: int
    serial: bytes
    issuer: bytes
    subject: bytes


class SecuritySetup:
    """The security setup of a meter that has associated with us."""

    def __init__(self, access: Access, obis: Obis | None = None) -> None:
        self._access = access
        self._ref = SECURITY_SETUP if obis is None else SECURITY_SETUP._replace(obis=obis)

    @property
    def _suite(self) -> Suite:
        return SUITES[self._access.parameters.security.suite]

    # --- policy ---

    async def policy(self) -> int:
        """The security policy, as the version of the meter's security setup writes it."""
        policy = await self._access.get(self._ref.other(_POLICY))
        if isinstance(policy, bool) or not isinstance(policy, int):
            raise DecodeError(f"{self._ref}: security policy", expected="a number", got=type(policy).__name__)
        return policy

    async def activate_policy(self, policy: int) -> None:
        """Make the policy stronger; a meter does not make it weaker again. The next association must keep to it."""
        await self._act(_ACTIVATE, enum(policy))
        shown = await self.policy()
        if shown != policy:
            raise ServiceRefused(f"the meter shows security policy {shown}, not {policy}", reason="not-verified")

    # --- symmetric keys ---

    async def transfer_keys(self, keys: Mapping[KeyId, Secret]) -> None:
        """Give the meter other keys, wrapped under the master key `mk`, and go on under them."""
        await self.give_keys(keys)
        await self._access.associate_anew({NAMES[key_id]: key for key_id, key in keys.items()})

    async def give_keys(self, keys: Mapping[KeyId, Secret]) -> None:
        """Give the meter other keys, wrapped under the master key `mk`; the next association must be under them."""
        master = self._access.secrets.get("mk")
        if master is None:
            raise KeyMissing("keys are transferred under the master key", hint="give it as mk=env:NAME")
        if not keys:
            raise ConfigError("no keys to transfer")
        wrapped = [structure(enum(key_id), octet_string(self._wrapped(master, key_id, keys))) for key_id in keys]
        await self._act(_TRANSFER, array(*wrapped))

    def _wrapped(self, master: Secret, key_id: KeyId, keys: Mapping[KeyId, Secret]) -> bytes:
        return wrap_key(master.reveal(), check_key(self._suite, keys[key_id].reveal(), NAMES[key_id]))

    async def agree_keys(self, *key_ids: KeyId) -> dict[KeyId, Secret]:
        """Agree with the meter on new keys, C(2e, 0s), go on under them, and return them: nobody else has them.

        Needs the signing keys of both sides, and suite 1 or 2.
        """
        suite, material = self._suite, key_material(self._access.parameters, self._access.secrets, self._suite)
        signing, peer = material.signing, material.peer_signing
        if not suite.number:
            raise CapabilityError("security suite 0 agrees on no keys", hint="suite=1 or suite=2")
        if signing is None or peer is None:
            raise KeyMissing("key agreement is signed by both sides", hint="signing=env:NAME and meter_key=HEX")
        ephemerals = {key_id: self._draw_pair() for key_id in key_ids}
        offers = [
            structure(enum(key_id), octet_string(make_offer(suite, key_id, ephemeral, signing)))
            for key_id, ephemeral in ephemerals.items()
        ]
        answers = _pairs(await self._ask(_AGREE, array(*offers)))
        if set(answers) != set(key_ids):
            raise DecodeError("answer to a key agreement", expected="an offer for each key", got=str(len(answers)))
        agreed = {}
        for key_id, ephemeral in ephemerals.items():
            theirs = take_offer(suite, key_id, answers[key_id], peer)
            titles = {
                "client_title": self._access.parameters.security.client_title,
                "meter_title": self._access.system_title,
            }
            agreed[key_id] = Secret(agreed_key(suite, key_id, ephemeral, theirs, **titles))
        await self._access.associate_anew({NAMES[key_id]: key for key_id, key in agreed.items()})
        return agreed

    def _draw_pair(self) -> ec.EllipticCurvePrivateKey:
        for _ in range(_DRAWS):
            try:
                return private_key(self._suite, randomness.token_bytes(self._suite.scalar_length))
            except ConfigError:  # a number above the order of the curve, which is rare
                continue
        raise ConfigError("no key could be drawn")

    # --- key pairs and certificates ---

    async def certificates(self) -> list[CertificateInfo]:
        """The certificates that the meter has."""
        listed = await self._access.get(self._ref.other(_CERTIFICATES))
        found = []
        for entry in listed if isinstance(listed, list) else [listed]:
            match entry:
                case [int(entity), int(use), bytes(serial), bytes(issuer), bytes(subject), _]:
                    found.append(CertificateInfo(entity, use, serial, issuer, subject))
                case _:
                    raise DecodeError("certificate_info", expected="two numbers and four octet-strings")
        return found

    async def generate_key_pair(self, use: KeyUse) -> None:
        """Let the meter make a key pair; its public key comes with `request_certificate`."""
        await self._act(_GENERATE, enum(use))

    async def request_certificate(self, use: KeyUse) -> bytes:
        """The meter's request for a certificate (PKCS #10), which is checked: it is the meter's, and the meter has the key."""
        der = _octets(await self._ask(_REQUEST, enum(use)))
        asked = read_request(self._suite, der)
        if asked.title != self._access.system_title:
            raise DecodeError("certificate request", expected="the meter's system title", got=asked.title.hex())
        return der

    async def import_certificate(self, der: bytes) -> None:
        """Give the meter a certificate, and see that it shows it."""
        certificate = read_certificate(self._suite, der)
        await self._act(_IMPORT, octet_string(der))
        if not any(each.subject == certificate.subject for each in await self.certificates()):
            raise ServiceRefused("the meter does not show the certificate that it has taken", reason="not-verified")

    async def export_certificate(self, entity: Entity, use: KeyUse, title: bytes) -> bytes:
        """A certificate of the meter; raises MeterError when it has none such."""
        der = _octets(await self._ask(_EXPORT, _identified(entity, use, title)))
        read_certificate(self._suite, der)
        return der

    async def remove_certificate(self, entity: Entity, use: KeyUse, title: bytes) -> None:
        """Let the meter forget a certificate, and see that it has."""
        before = await self.certificates()
        await self._act(_REMOVE, _identified(entity, use, title))
        if len(await self.certificates()) != len(before) - 1:
            raise ServiceRefused("the meter still shows the certificate", reason="not-verified")

    # --- how it is asked ---

    async def _act(self, method: int, data: Data) -> None:
        await self._access.invoke(self._ref.other(method), encode_data(data))

    async def _ask(self, method: int, data: Data) -> Any:  # noqa: ANN401 - whatever the method returns
        ref = self._ref.other(method)
        returned = await self._access.invoke(ref, encode_data(data))
        if returned is None:
            raise ObjectUndefined(f"ACTION {ref} has returned nothing")
        value, end = decode_data(returned)
        if end != len(returned):
            raise DecodeError(f"ACTION {ref}: octets follow the value", offset=end)
        return value


def _identified(entity: Entity, use: KeyUse, title: bytes) -> Data:
    return structure(enum(_BY_ENTITY), structure(enum(entity), enum(use), octet_string(title)))


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeError("certificate", expected="octet-string", got=type(value).__name__)
    return value


def _pairs(value: object) -> dict[int, bytes]:
    """key_agreement_data: numbers of keys, and what belongs to each."""
    found: dict[int, bytes] = {}
    for each in value if isinstance(value, list) else [value]:
        match each:
            case [int(number), bytes(octets)]:
                found[number] = octets
            case _:
                raise DecodeError("key agreement data", expected="a number and an octet-string")
    return found

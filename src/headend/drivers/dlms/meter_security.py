"""The security of a virtual meter: keys and counters, which outlive associations, and what one association makes of them."""

from __future__ import annotations

import hmac
import secrets as randomness
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.dlms.manufacturer import hls_function
from headend.drivers.dlms.meter_credentials import Credentials
from headend.errors import ConfigError, DecodeError, KeyMissing
from headend.protocols.base import Role
from headend.protocols.dlms.acse import ApplicationContext, Diagnostic, Mechanism
from headend.protocols.dlms.security.authentication import (
    HLS,
    LONGEST_CHALLENGE,
    SHORTEST_CHALLENGE,
    TITLED,
    Authentication,
    EcdsaAuthentication,
    GmacAuthentication,
    HashAuthentication,
    OwnAuthentication,
)
from headend.protocols.dlms.security.certificates import KeyUse
from headend.protocols.dlms.security.counters import LAST, MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.general import GeneralProtection
from headend.protocols.dlms.security.general_keys import KeyMaterial
from headend.protocols.dlms.security.keys import private_key, public_key
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.suite import SUITES, Suite, check_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.drivers.base import MeterModel
    from headend.drivers.dlms.meter_clients import Client
    from headend.model.meter import Secret
    from headend.protocols.dlms.events import AssociationRequest

CIPHERED: Final = frozenset({ApplicationContext.LN_CIPHERED, ApplicationContext.SN_CIPHERED})
_EVERYTHING: Final = 3
"""Policy where keys are given and nothing else is said: authenticated and encrypted, as for a head-end."""
_MILLENNIUM: Final = 1_577_836_800_000
_STEP: Final = 250
"""A meter's counter begins at the quarters of a second since 2020, so that it grows over a restart of the process."""
_MOST_KEYS: Final = 64
"""Keys of old whose counters are known still."""
_TITLE_LENGTH: Final = 8
_PAIRS: Final = {KeyUse.DIGITAL_SIGNATURE: "meter_secret", KeyUse.KEY_AGREEMENT: "meter_agreement"}
_CALLING_AE_INVOCATION_ID: Final = 0xA9
_USER_LENGTH: Final = 3


class Keys(NamedTuple):
    """The keys of a client in the meter, and both counters under the cipher key."""

    gcm: GcmKey
    sent: OwnCounter
    received: ReceivedCounter


class Setup:
    """What a meter keeps of the security with one client. What is changed here holds from the next association on.

    Shows no key.
    """

    __slots__ = (
        "_keys", "_model", "client", "client_title", "counters", "credentials", "policy", "secrets", "signed", "suite", "title",
        "users",
    )  # fmt: skip

    def __init__(self, model: MeterModel, client: Client) -> None:
        """Raises KeyMissing, or ConfigError for a key or a policy that cannot be."""
        self.client = client
        self._model = model
        self.users: dict[int, str] = {}  # who may use the client; nobody in particular when it is empty
        self.title = title_of(model)
        self.client_title = b""
        self.signed = ReceivedCounter()  # the last transaction of the client that was signed and not ciphered
        self.suite: Suite = SUITES[client.suite]
        names = ("secret", "ek", "ak", "bk", "mk", "signing", "agreement", "meter_secret", "meter_agreement")
        found = {name: client.secret(model, name) for name in names}
        self.secrets: dict[str, Secret] = {name: secret for name, secret in found.items() if secret is not None}
        has_key = "ek" in self.secrets
        self.policy: int = client.policy if client.policy is not None else _EVERYTHING if has_key else 0
        policy_of(self.policy)
        if "mk" in self.secrets:
            check_key(self.suite, self.reveal("mk"), "mk")
        self.credentials = Credentials(self.suite, self.title)
        for use, name in _PAIRS.items():
            if name in self.secrets:
                self.credentials.pairs[use] = private_key(self.suite, self.reveal(name))
        self._keys: Keys | None = None
        self.counters: dict[Secret, tuple[OwnCounter, ReceivedCounter]] = {}  # by key, also of keys of old
        if has_key or self.policy or client.mechanism is Mechanism.HLS_GMAC:
            self._keys = self.make_keys()

    def make_keys(self) -> Keys:
        """The global keys, counting anew; raises KeyMissing or ConfigError.

        Clients that share keys share the counters: no counter may come twice under one key.
        """
        ek, ak = (check_key(self.suite, self.reveal(name), name) for name in ("ek", "ak"))
        keyring, key = self._model.keyring, self.secrets["ek"]
        for setup in (self, *(keyring.values() if isinstance(keyring, dict) else ())):
            if key in setup.counters:
                self.counters[key] = setup.counters[key]
        if key not in self.counters:
            sent = OwnCounter(MemoryCounters(), "")
            sent.raise_to(min(max(self.now() - _MILLENNIUM, 0) // _STEP, LAST // 2))
            self.counters[key] = sent, ReceivedCounter()
            if len(self.counters) > _MOST_KEYS:
                del self.counters[next(iter(self.counters))]
        return Keys(GcmKey(ek, ak), *self.counters[key])

    def count_anew(self) -> None:
        """Forget how far the counters have come, as a meter does that has lost its memory."""
        for key in self.counters:
            sent = OwnCounter(MemoryCounters(), "")
            sent.raise_to(1)
            self.counters[key] = sent, ReceivedCounter()
        if self._keys is not None:
            self._keys = Keys(self._keys.gcm, *self.counters[self.secrets["ek"]])

    def now(self) -> int:
        """The meter's own clock."""
        return self._model.now()

    @property
    def signing_key(self) -> ec.EllipticCurvePrivateKey | None:
        """What the meter signs with."""
        return self.credentials.pairs.get(KeyUse.DIGITAL_SIGNATURE)

    def client_key(self, title: bytes, use: KeyUse) -> ec.EllipticCurvePublicKey | None:
        """A public key of the client: certified, or given, or that of the private key in a secret of the client's."""
        certified = self.credentials.certified(title, use)
        if certified is not None:
            return certified
        name, octets, secret = "client_key", self.client.client_key, "signing"
        if use is KeyUse.KEY_AGREEMENT:
            name, octets, secret = "client_agree_key", self.client.client_agree_key, "agreement"
        elif self.client.mechanism is Mechanism.HLS_ECDSA:
            secret = "secret"  # noqa: S105 - the name of it
        if octets:
            try:
                return public_key(self.suite, octets)
            except DecodeError as error:
                raise ConfigError(f"parameter {name!r} of DLMS: {error}") from None
        return private_key(self.suite, self.reveal(secret)).public_key() if secret in self.secrets else None

    def activate(self, policy: int) -> None:
        """Take over another policy; raises KeyMissing where that needs keys and there are none."""
        if policy and self._keys is None:
            self._keys = self.make_keys()
        self.policy = policy

    @property
    def keys(self) -> Keys | None:
        """The global keys, None when the client has none."""
        return self._keys

    def change(self, changed: dict[str, Secret]) -> None:
        """Take over other keys, which count anew; raises ConfigError for one of a wrong length, and changes nothing then."""
        before = self.secrets
        self.secrets = before | changed
        try:
            if {"ek", "ak"} & changed.keys() and {"ek", "ak"} <= self.secrets.keys():
                self._keys = self.make_keys()
        except ConfigError:
            self.secrets = before
            raise

    def reveal(self, name: str) -> bytes:
        """A secret; raises KeyMissing."""
        try:
            return self.secrets[name].reveal()
        except KeyError:
            full = name + self.client.suffix
            raise KeyMissing(f"this virtual meter needs {full!r}", hint=f"give it as secret {full}") from None

    def make_ciphering(self, client_title: bytes) -> GeneralProtection | None:
        """The ciphering of one association; None without keys."""
        if self._keys is None:
            return None
        policy = policy_of(self.policy)
        gcm, sent, received = self._keys
        return GeneralProtection(
            *(Role.SERVER, self.suite, policy),
            key=gcm,
            system_title=self.title,
            sent=sent,
            received=received,
            material=self._material(client_title),
            signed=self.signed,
        )

    def _material(self, client_title: bytes) -> KeyMaterial:
        """The keys of the meter beside the global ones, as far as it has them."""
        master = self.secrets.get("mk")
        return KeyMaterial(
            randomness.token_bytes,
            master=b"" if master is None else master.reveal(),
            signing=self.signing_key,
            agreement=self.credentials.pairs.get(KeyUse.KEY_AGREEMENT),
            peer_signing=self.client_key(client_title, KeyUse.DIGITAL_SIGNATURE),
            peer_agreement=self.client_key(client_title, KeyUse.KEY_AGREEMENT),
        )

    def make_authentication(self, client_title: bytes = b"") -> Authentication | None:
        """How both sides prove themselves; None without high level security. Raises KeyMissing or ConfigError."""
        client, mechanism = self.client, self.client.mechanism
        if mechanism not in HLS:
            return None
        if mechanism is Mechanism.HLS_GMAC:
            keys = self._keys or self.make_keys()
            return GmacAuthentication(self.suite, keys.gcm, keys.sent)
        if mechanism is Mechanism.HLS:
            return OwnAuthentication(self.reveal("secret"), hls_function(client.hls))
        if mechanism is not Mechanism.HLS_ECDSA:
            return HashAuthentication(mechanism, self.reveal("secret"))
        own, peer = self.signing_key, self.client_key(client_title, KeyUse.DIGITAL_SIGNATURE)
        if own is None or peer is None:
            self.reveal("meter_secret" if own is None else "secret")
            raise KeyMissing("this virtual meter has no key to check the client's signature with", hint="client_key")
        return EcdsaAuthentication(self.suite, own, peer)


def setup_of(model: MeterModel, client: Client) -> Setup | None:
    """The security of a meter with a client, made when first asked for; None where there is none."""
    keyring = model.keyring
    found: Setup | None = keyring.get(client.sap) if isinstance(keyring, dict) else None
    if found is None and client.is_secured(model):
        found = make_setup(model, client)
    return found


def make_setup(model: MeterModel, client: Client) -> Setup:
    """What a meter keeps of its dealings with a client, secured or not; raises KeyMissing or ConfigError."""
    keyring = model.keyring
    if not isinstance(keyring, dict):
        keyring = model.keyring = {}
    found: Setup | None = keyring.get(client.sap)
    if found is None:
        found = Setup(model, client)
        found.make_authentication()  # what is missing or wrong is said now
        keyring[client.sap] = found
    return found


def title_of(model: MeterModel) -> bytes:
    """The system title: the one of its identity, or made of its name."""
    identity = model.identity
    try:
        title = bytes.fromhex(identity.system_title)
    except ValueError:
        title = b""
    if len(title) == _TITLE_LENGTH:
        return title
    return identity.logical_device_name.encode("latin-1", "replace")[:3].ljust(3, b"X") + bytes(4) + b"\x01"


def refuse_client(
    request: AssociationRequest, client: Client, setup: Setup | None, model: MeterModel
) -> Diagnostic | None:
    """Why a client may not associate, None when it may; high level security goes on from there."""
    mechanism = request.mechanism or Mechanism.NONE
    if mechanism != client.mechanism:
        if mechanism == Mechanism.NONE:
            return Diagnostic.AUTHENTICATION_REQUIRED
        return Diagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED
    if mechanism == Mechanism.LLS:
        secret = client.secret(model, "secret") if setup is None else setup.secrets.get("secret")
        if secret is None or not hmac.compare_digest(secret.reveal(), request.authentication_value):
            return Diagnostic.AUTHENTICATION_FAILURE
    elif mechanism in HLS:
        if not SHORTEST_CHALLENGE <= len(request.authentication_value) <= LONGEST_CHALLENGE:
            return Diagnostic.AUTHENTICATION_FAILURE
        if mechanism in TITLED and len(request.system_title) != _TITLE_LENGTH:
            return Diagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED
    if setup is not None and setup.users and user_of(request) not in setup.users:
        return Diagnostic.CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED
    return _refuse_ciphering(request, setup)


def user_of(request: AssociationRequest) -> int | None:
    """The user that a client tells in the AARQ (calling-AE-invocation-identifier); None when it tells none."""
    for tag, content in request.others:
        if tag == _CALLING_AE_INVOCATION_ID and content[:2] == b"\x02\x01" and len(content) == _USER_LENGTH:
            return content[2]
    return None


def _refuse_ciphering(request: AssociationRequest, setup: Setup | None) -> Diagnostic | None:
    """Ciphering needs keys, a security policy needs ciphering, and a dedicated key has the length of the suite."""
    ciphered = request.application_context in CIPHERED
    keys = setup is not None and setup.keys is not None
    if ciphered and not keys:
        return Diagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    if setup is not None and setup.policy and not ciphered:
        return Diagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    dedicated = request.initiate.dedicated_key
    if setup is not None and ciphered and len(dedicated) not in (0, setup.suite.key_length):
        return Diagnostic.NO_REASON_GIVEN
    return None

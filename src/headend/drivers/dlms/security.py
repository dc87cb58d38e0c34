"""From parameters and secrets to the security of one association, and where its invocation counter begins."""

from __future__ import annotations

import asyncio
import hmac
import secrets as randomness
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.access import Access
from headend.drivers.dlms.manufacturer import hls_function
from headend.drivers.dlms.opening import open_mode_e
from headend.drivers.dlms.short_conversation import make_conversation
from headend.errors import ConfigError, DecodeError, KeyMissing, LinkClosed, LinkTimeout
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism, Rlrq
from headend.protocols.dlms.security.authentication import (
    HLS,
    Authentication,
    EcdsaAuthentication,
    GmacAuthentication,
    HashAuthentication,
    OwnAuthentication,
)
from headend.protocols.dlms.security.ciphering import AGREED
from headend.protocols.dlms.security.control import SIGNED
from headend.protocols.dlms.security.counters import KeptCounter, MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.general import GeneralProtection
from headend.protocols.dlms.security.general_keys import KeyMaterial
from headend.protocols.dlms.security.keys import private_key, public_key
from headend.protocols.dlms.security.policy import Policy, policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES, Suite, check_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.drivers.base import Secrets
    from headend.drivers.dlms.parameters import Parameters
    from headend.model.meter import Secret
    from headend.protocols.base import CounterStore
    from headend.transport.link import Link

PUBLIC_CLIENT: Final = 16
"""Reads the invocation counter, without a password."""
_CHALLENGE: Final = 16
_EVERYTHING: Final = 3
"""Policy where keys are given and nothing else is said: authenticated and encrypted."""
_WHERE: Final = {
    "master key": "give it as mk=env:NAME",
    "signing key": "give it as signing=env:NAME",
    "signing key of the other side": "give it as meter_key=HEX",
    "key agreement key": "give it as agreement=env:NAME",
    "key agreement key of the other side": "give it as meter_agree_key=HEX",
}
_ENOUGH: Final = 64
"""Counters for an association and a few reads; with fewer left, more are reserved before it."""


class Counters:
    """Invocation counters of all meters: ours, and those of pushes, in a store that outlives the process; theirs while it runs.

    Ours belong to a key and a system title, as the initialisation vectors do that are made of them: meters that share a key
    share the counter. The store keeps them by a fingerprint of the key, which does not tell it.
    """

    __slots__ = ("_pushed", "_received", "_sent", "store")

    def __init__(self, store: CounterStore | None = None) -> None:
        self.store: CounterStore = MemoryCounters() if store is None else store
        self._received: dict[str, tuple[Secret, ReceivedCounter]] = {}
        self._sent: dict[str, OwnCounter] = {}
        self._pushed: dict[str, KeptCounter] = {}

    def sent(self, key: Secret, title: bytes) -> tuple[str, OwnCounter]:
        """Our counter under a key and a system title, and its name in the store."""
        name = f"{_fingerprint(key)}/{title.hex()}"
        counter = self._sent.get(name)
        if counter is None:
            counter = self._sent[name] = OwnCounter(self.store, name)
        return name, counter

    def received(self, name: str, key: Secret) -> ReceivedCounter:
        """The last counter of a meter under a key; another key counts anew."""
        known = self._received.get(name)
        if known is None or known[0] != key:
            known = self._received[name] = key, ReceivedCounter()
        return known[1]

    def pushed(self, key: Secret, title: bytes) -> KeptCounter:
        """The last counter of what is pushed under a key and a system title. Pushes overtake answers, so it is another one."""
        name = f"{_fingerprint(key)}/{title.hex()}/pushed"
        counter = self._pushed.get(name)
        if counter is None:
            counter = self._pushed[name] = KeptCounter(self.store, name)
        return counter


def _fingerprint(key: Secret) -> str:
    """Half of a keyed hash: tells two keys apart, and neither what they are."""
    return hmac.digest(key.reveal(), b"headend invocation counter", "sha256")[:16].hex()


class Asked:
    """Whether a meter was asked for the counter that it expects, which the store remembers."""

    __slots__ = ("_name", "_store")

    def __init__(self, store: CounterStore, name: str) -> None:
        self._store = store
        self._name = name

    def __bool__(self) -> bool:
        return self._store.load(self._name) is not None

    def note(self, counter: int) -> None:
        """It was, and has said this."""
        self._store.reserve(self._name, counter, 1)


class Security:
    """What one association needs: how it is ciphered, how both sides prove themselves, and our counter."""

    __slots__ = ("_key_length", "asked", "authentication", "protection", "sent", "title")

    def __init__(
        self,
        title: bytes,
        sent: OwnCounter | None,
        asked: Asked | None,
        protection: Ciphering | None,
        authentication: Authentication | None,
        *,
        key_length: int,
    ) -> None:
        """`sent` is None where no counter is needed. `key_length` is that of a dedicated key, 0 for none."""
        self.title = title
        self.sent = sent
        self.asked = asked
        self.protection = protection
        self.authentication = authentication
        self._key_length = key_length

    @property
    def dedicated(self) -> bool:
        """True when the association has a key of its own."""
        return self._key_length > 0

    async def prepare(self) -> None:
        """Reserve counters before they are needed, where the event loop does not wait for the disk."""
        if self.sent is not None and self.sent.left < _ENOUGH:
            self.sent.begin(await asyncio.to_thread(self.sent.reserve))

    def expected(self, counter: int | None) -> bool:
        """The meter says that it expects another counter: True when the next request will have it."""
        if counter is None or self.sent is None:
            return False
        self.sent.raise_to(counter)
        return True

    def new_challenge(self) -> bytes:
        """Octets that nobody can foretell; none without high level security."""
        return randomness.token_bytes(_CHALLENGE) if self.authentication is not None else b""

    def new_dedicated_key(self) -> bytes:
        """A key for one association; none where none is wanted."""
        return randomness.token_bytes(self._key_length)


def make_security(parameters: Parameters, secrets: Secrets, counters: Counters, meter_id: str) -> Security | None:
    """The security of a meter, None when it has none; raises KeyMissing or ConfigError before any byte is sent."""
    asked, mechanism = parameters.security, parameters.mechanism
    number = asked.policy if asked.policy is not None else _EVERYTHING if "ek" in secrets else 0
    policy = policy_of(number)
    if not number and mechanism not in HLS:
        return None
    if parameters.preset is not None:
        raise ConfigError("a pre-established association is not ciphered", hint="leave out preset, or the keys")
    suite = SUITES[asked.suite]
    key = sent = known = protection = None
    if number or mechanism is Mechanism.HLS_GMAC:
        key = GcmKey(_key(suite, secrets, "ek"), _key(suite, secrets, "ak"))
        name, sent = counters.sent(secrets["ek"], asked.client_title)
        known = Asked(counters.store, f"{name} {meter_id}")
    if key is not None and sent is not None and policy != Policy(0, 0):
        received = counters.received(f"{meter_id}/{asked.client_title.hex()}", secrets["ek"])
        protection = _protection(parameters, secrets, policy, key, sent, received)
    authentication = _authentication(parameters, secrets, suite, key, sent) if mechanism in HLS else None
    dedicated = suite.key_length if protection is not None and asked.dedicated else 0
    return Security(asked.client_title, sent, known, protection, authentication, key_length=dedicated)


def _protection(
    parameters: Parameters, secrets: Secrets, policy: Policy, key: GcmKey, sent: OwnCounter, received: ReceivedCounter
) -> Ciphering:
    """The ciphering by global and dedicated keys, and where it is asked for general-ciphering and general-signing."""
    asked = parameters.security
    suite, kind, title = SUITES[asked.suite], asked.key_kind, asked.client_title
    if kind is None and not (policy.request | policy.response) & SIGNED:
        return Ciphering(Role.CLIENT, suite, policy, key=key, system_title=title, sent=sent, received=received)
    if not suite.number and (kind in AGREED or (policy.request | policy.response) & SIGNED):
        raise ConfigError("security suite 0 has no keys to sign with, or to agree on keys", hint="suite=1 or suite=2")
    material = key_material(parameters, secrets, suite)
    missing = material.missing(kind, policy)
    if missing:
        raise KeyMissing(f"this meter needs a {missing}", hint=_WHERE[missing])
    return GeneralProtection(
        *(Role.CLIENT, suite, policy),
        key=key,
        system_title=title,
        sent=sent,
        received=received,
        material=material,
        kind=kind,
    )


def key_material(parameters: Parameters, secrets: Secrets, suite: Suite) -> KeyMaterial:
    """The keys that there are beside the global ones."""
    asked = parameters.security

    def own(name: str) -> ec.EllipticCurvePrivateKey | None:
        return private_key(suite, secrets[name].reveal()) if name in secrets else None

    def peer(name: str, octets: bytes) -> ec.EllipticCurvePublicKey | None:
        try:
            return public_key(suite, octets) if octets else None
        except DecodeError as error:
            raise ConfigError(f"parameter {name!r} of DLMS: {error}") from None

    return KeyMaterial(
        randomness.token_bytes,
        master=_key(suite, secrets, "mk") if "mk" in secrets else b"",
        broadcast=_key(suite, secrets, "bk") if "bk" in secrets else b"",
        signing=own("secret" if parameters.mechanism is Mechanism.HLS_ECDSA else "signing"),
        agreement=own("agreement"),
        peer_signing=peer("meter_key", asked.meter_key),
        peer_agreement=peer("meter_agree_key", asked.meter_agree_key),
    )


def _authentication(
    parameters: Parameters, secrets: Secrets, suite: Suite, key: GcmKey | None, sent: OwnCounter | None
) -> Authentication:
    mechanism = parameters.mechanism
    if mechanism is Mechanism.HLS_GMAC and key is not None and sent is not None:
        return GmacAuthentication(suite, key, sent)
    secret = _reveal(secrets, "secret")
    if mechanism is Mechanism.HLS:
        return OwnAuthentication(secret, hls_function(parameters.security.hls))
    if mechanism is not Mechanism.HLS_ECDSA:
        return HashAuthentication(mechanism, secret)
    if not parameters.security.meter_key:
        raise ConfigError("authentication ecdsa needs the public key of the meter", hint="give it as meter_key=HEX")
    try:
        peer = public_key(suite, parameters.security.meter_key)
    except DecodeError as error:
        raise ConfigError(f"parameter 'meter_key' of DLMS: {error}") from None
    return EcdsaAuthentication(suite, private_key(suite, secret), peer)


def _key(suite: Suite, secrets: Secrets, name: str) -> bytes:
    return check_key(suite, _reveal(secrets, name), name)


def _reveal(secrets: Secrets, name: str) -> bytes:
    secret = secrets.get(name)
    if secret is None:
        raise KeyMissing(f"this meter needs {name!r}", hint=f"give it as {name}=env:NAME")
    return secret.reveal()


async def begin_counter(
    security: Security, link: Link, parameters: Parameters, *, buffered: bytes, timeout: float
) -> bytes:
    """Let our counter begin after the last one that the meter has accepted; a meter is asked once in its life with a key.

    Returns octets that are still to be read. Raises MeterError when the meter does not tell its counter, SecurityError when
    that is not to be believed.
    """
    ref = parameters.security.counter
    if security.sent is None or security.asked is None or ref is None or security.asked:
        return buffered
    addressing = replace(parameters.addressing, client=PUBLIC_CLIENT)
    public = replace(parameters, addressing=addressing, mechanism=Mechanism.NONE)
    conversation = make_conversation(link, public)
    access = Access(conversation, public, {}, timeout)
    if parameters.opening is not None:
        await open_mode_e(link, parameters.opening, timeout)
    conversation.start(buffered)
    try:
        await conversation.open(timeout)
        await access.associate()
        counter = await access.get(ref)
        with suppress(LinkTimeout, LinkClosed):
            await conversation.ask(Rlrq(), timeout)
            await conversation.close(timeout)
    finally:
        conversation.stop()
    if isinstance(counter, bool) or not isinstance(counter, int) or counter < 0:
        raise DecodeError(f"{ref}: invocation counter", expected="an unsigned number", got=type(counter).__name__)
    security.sent.raise_to(counter + 1)
    await asyncio.to_thread(security.asked.note, counter)
    return b""

"""From parameters and secrets to the security of one association, and where its invocation counter begins."""

from __future__ import annotations

import secrets as randomness
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.access import Access
from headend.drivers.dlms.conversation import Conversation
from headend.drivers.dlms.manufacturer import hls_function
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
from headend.protocols.dlms.security.counters import CounterStore, MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.keys import private_key, public_key
from headend.protocols.dlms.security.policy import Policy, policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES, Suite, check_key

if TYPE_CHECKING:
    from headend.drivers.base import Secrets
    from headend.drivers.dlms.parameters import Parameters
    from headend.model.meter import Secret
    from headend.transport.link import Link

PUBLIC_CLIENT: Final = 16
"""Reads the invocation counter, without a password."""
_CHALLENGE: Final = 16
_EVERYTHING: Final = 3
"""Policy where keys are given and nothing else is said: authenticated and encrypted."""


class Counters:
    """Invocation counters of all meters: ours in a store that outlives the process, theirs while it runs."""

    __slots__ = ("_received", "store")

    def __init__(self, store: CounterStore | None = None) -> None:
        self.store: CounterStore = MemoryCounters() if store is None else store
        self._received: dict[str, tuple[Secret, ReceivedCounter]] = {}

    def received(self, name: str, key: Secret) -> ReceivedCounter:
        """The last counter of a meter under a key; another key counts anew."""
        known = self._received.get(name)
        if known is None or known[0] != key:
            known = self._received[name] = key, ReceivedCounter()
        return known[1]


class Security:
    """What one association needs: how it is ciphered, how both sides prove themselves, and our counter."""

    __slots__ = ("_key_length", "authentication", "counts", "protection", "sent", "title")

    def __init__(
        self,
        title: bytes,
        sent: OwnCounter,
        protection: Ciphering | None,
        authentication: Authentication | None,
        *,
        counts: bool,
        key_length: int,
    ) -> None:
        """`counts`: our counter is needed. `key_length` is that of a dedicated key, 0 for none."""
        self.title = title
        self.sent = sent
        self.protection = protection
        self.authentication = authentication
        self.counts = counts
        self._key_length = key_length

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
    suite = SUITES[asked.suite]
    name = f"{meter_id}/{asked.client_title.hex()}"
    sent = OwnCounter(counters.store, name)
    key = None
    if number or mechanism is Mechanism.HLS_GMAC:
        key = GcmKey(_key(suite, secrets, "ek"), _key(suite, secrets, "ak"))
    protection = None
    if key is not None and policy != Policy(0, 0):
        received = counters.received(name, secrets["ek"])
        protection = Ciphering(
            Role.CLIENT, suite, policy, key=key, system_title=asked.client_title, sent=sent, received=received
        )
    authentication = _authentication(parameters, secrets, suite, key, sent) if mechanism in HLS else None
    dedicated = suite.key_length if protection is not None and asked.dedicated else 0
    return Security(asked.client_title, sent, protection, authentication, counts=key is not None, key_length=dedicated)


def _authentication(
    parameters: Parameters, secrets: Secrets, suite: Suite, key: GcmKey | None, sent: OwnCounter
) -> Authentication:
    mechanism = parameters.mechanism
    if mechanism is Mechanism.HLS_GMAC and key is not None:
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
    """Let our counter begin after the last one that the meter has accepted, unless we know better.

    Returns octets that are still to be read. Raises MeterError when the meter does not tell its counter.
    """
    ref = parameters.security.counter
    if not security.counts or security.sent.next or ref is None:
        return buffered
    addressing = replace(parameters.addressing, client=PUBLIC_CLIENT)
    public = replace(parameters, addressing=addressing, mechanism=Mechanism.NONE)
    conversation = Conversation(link, addressing.make_framing())
    access = Access(conversation, public, {}, timeout)
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
    return b""

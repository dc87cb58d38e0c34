"""High level security: both sides prove in passes 3 and 4 that they know a secret, each over the challenge of the other.

```text
 AARQ      CtoS, title C   ─▶          HLS 3, 4   hash(challenge ‖ secret)
           ◀─ AARE         StoC, title S          HLS 5      SC ‖ IC ‖ GMAC(SC ‖ AK ‖ challenge)
 ACTION    f(StoC)         ─▶          HLS 6      SHA-256(secret ‖ titles ‖ challenges)
           ◀─ response     f(CtoS)                HLS 7      ECDSA(titles ‖ challenges)
```

Titles and challenges of HLS 6 and 7 are those of the side that proves first: its title, the other's, the challenge it
answers, its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.constant_time import bytes_eq

from headend.errors import AuthenticationFailed, ConfigError, DecodeError
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, MethodDescriptor
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.control import AUTHENTICATED
from headend.protocols.dlms.security.gcm import HEAD_LENGTH, OVERHEAD
from headend.protocols.dlms.security.keys import is_signed, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric import ec

    from headend.protocols.dlms.security.counters import OwnCounter
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.suite import Suite

REPLY_TO_HLS: Final = MethodDescriptor(15, bytes.fromhex("0000280000ff"), 1)
"""reply_to_HLS_authentication of the current association."""
SHORTEST_CHALLENGE: Final = 8
LONGEST_CHALLENGE: Final = 64
HLS: Final = frozenset(Mechanism) - {Mechanism.NONE, Mechanism.LLS}

TITLED: Final = frozenset({Mechanism.HLS_GMAC, Mechanism.HLS_SHA256, Mechanism.HLS_ECDSA})
"""Mechanisms that need the system titles of both sides."""


class Said(NamedTuple):
    """What AARQ and AARE have said."""

    client_title: bytes
    server_title: bytes
    client_challenge: bytes
    server_challenge: bytes

    def check(self, mechanism: Mechanism) -> None:
        """Refuse challenges that prove nothing, and titles that are missing; raises AuthenticationFailed."""
        for challenge in (self.client_challenge, self.server_challenge):
            if not SHORTEST_CHALLENGE <= len(challenge) <= LONGEST_CHALLENGE:
                raise AuthenticationFailed(f"a challenge of {len(challenge)} octets instead of 8 to 64")
        if self.client_challenge == self.server_challenge:
            raise AuthenticationFailed("both challenges are the same: somebody is mirroring")
        if mechanism in TITLED and not len(self.client_title) == len(self.server_title) == 8:
            raise AuthenticationFailed("this authentication needs the system titles of both sides")

    def of(self, prover: Role) -> tuple[bytes, bytes, bytes, bytes]:
        """Title of the prover and of the other, the challenge that the prover answers, and its own."""
        if prover is Role.CLIENT:
            return self.client_title, self.server_title, self.server_challenge, self.client_challenge
        return self.server_title, self.client_title, self.client_challenge, self.server_challenge


class HashAuthentication:
    """HLS 3, 4 and 6: a hash over challenge and secret."""

    __slots__ = ("_secret", "mechanism")

    def __init__(self, mechanism: Mechanism, secret: bytes) -> None:
        if mechanism not in _HASHES:
            raise ConfigError(f"{mechanism.name} is not made with a hash")
        self.mechanism = mechanism
        self._secret = secret

    def prove(self, prover: Role, said: Said) -> bytes:
        """f(StoC) of a client, f(CtoS) of a server."""
        title, other_title, challenge, own_challenge = said.of(prover)
        digest = hashes.Hash(_HASHES[self.mechanism]())
        if self.mechanism is Mechanism.HLS_SHA256:
            digest.update(self._secret + title + other_title + challenge + own_challenge)
        else:
            digest.update(challenge + self._secret)
        return digest.finalize()

    def is_proof(self, prover: Role, said: Said, proof: bytes) -> bool:
        """True when the other side knows the secret."""
        return bytes_eq(self.prove(prover, said), proof)


class GmacAuthentication:
    """HLS 5: an authentication tag over the challenge, with the global key and a counter of its own messages."""

    __slots__ = ("_control", "_counter", "_key", "mechanism")

    def __init__(self, suite: Suite, key: GcmKey, counter: OwnCounter) -> None:
        self.mechanism = Mechanism.HLS_GMAC
        self._control = AUTHENTICATED | suite.number
        self._key = key
        self._counter = counter

    def prove(self, prover: Role, said: Said) -> bytes:
        """f(StoC) of a client, f(CtoS) of a server."""
        title, _, challenge, _ = said.of(prover)
        return self._tag(title, self._counter.take(), challenge)

    def is_proof(self, prover: Role, said: Said, proof: bytes) -> bool:
        """True when the other side has the keys."""
        title, _, challenge, _ = said.of(prover)
        counter = int.from_bytes(proof[1:HEAD_LENGTH], "big")
        return len(proof) == OVERHEAD and bytes_eq(self._tag(title, counter, challenge), proof)

    def _tag(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        sealed = self._key.seal(self._control, title, counter, challenge)
        return sealed[:HEAD_LENGTH] + sealed[HEAD_LENGTH + len(challenge) :]


class EcdsaAuthentication:
    """HLS 7: signatures over titles and challenges."""

    __slots__ = ("_own", "_peer", "_suite", "mechanism")

    def __init__(self, suite: Suite, own: ec.EllipticCurvePrivateKey, peer: ec.EllipticCurvePublicKey) -> None:
        self.mechanism = Mechanism.HLS_ECDSA
        self._suite = suite
        self._own = own
        self._peer = peer

    def prove(self, prover: Role, said: Said) -> bytes:
        """f(StoC) of a client, f(CtoS) of a server."""
        return sign(self._suite, self._own, b"".join(said.of(prover)))

    def is_proof(self, prover: Role, said: Said, proof: bytes) -> bool:
        """True when the other side has the private key."""
        return is_signed(self._suite, self._peer, b"".join(said.of(prover)), proof)


class OwnAuthentication:
    """HLS 2: whatever the manufacturer has thought of, as a function of challenge and secret."""

    __slots__ = ("_function", "_secret", "mechanism")

    def __init__(self, secret: bytes, function: Callable[[bytes, bytes], bytes]) -> None:
        self.mechanism = Mechanism.HLS
        self._secret = secret
        self._function = function

    def prove(self, prover: Role, said: Said) -> bytes:
        """f(StoC) of a client, f(CtoS) of a server."""
        return self._function(said.of(prover)[2], self._secret)

    def is_proof(self, prover: Role, said: Said, proof: bytes) -> bool:
        """True when the other side knows the secret."""
        return bytes_eq(self.prove(prover, said), proof)


Authentication: TypeAlias = HashAuthentication | GmacAuthentication | EcdsaAuthentication | OwnAuthentication


def pass_3(authentication: Authentication, said: Said, invoke_id_and_priority: int) -> ActionRequestNormal:
    """Client: the request that proves who we are; raises AuthenticationFailed for challenges that prove nothing."""
    said.check(authentication.mechanism)
    proof = authentication.prove(Role.CLIENT, said)
    return ActionRequestNormal(invoke_id_and_priority, REPLY_TO_HLS, _octet_string(proof))


def check_pass_4(authentication: Authentication, said: Said, response: ActionResponseNormal) -> None:
    """Client: raises AuthenticationFailed unless the meter takes our proof and gives its own."""
    if response.result != ActionResult.SUCCESS:
        raise AuthenticationFailed(
            "the meter refuses our proof in the authentication",
            hint="check the keys or the password, and the system titles; do not try at random",
        )
    if not authentication.is_proof(Role.SERVER, said, _proof(response.return_parameters)):
        raise AuthenticationFailed("the meter does not prove who it is", hint="check the keys and its system title")


def answer_pass_3(authentication: Authentication, said: Said, request: ActionRequestNormal) -> ActionResponseNormal:
    """Server: the proof of the meter when the client has given a good one, otherwise a refusal."""
    invoke = request.invoke_id_and_priority
    try:
        said.check(authentication.mechanism)
        good = authentication.is_proof(Role.CLIENT, said, _proof(request.parameters))
    except AuthenticationFailed:
        good = False
    if not good:
        return ActionResponseNormal(invoke, ActionResult.READ_WRITE_DENIED)
    return ActionResponseNormal(invoke, ActionResult.SUCCESS, _octet_string(authentication.prove(Role.SERVER, said)))


_HASHES: Final[dict[Mechanism, type[hashes.HashAlgorithm]]] = {
    Mechanism.HLS_MD5: hashes.MD5,
    Mechanism.HLS_SHA1: hashes.SHA1,
    Mechanism.HLS_SHA256: hashes.SHA256,
}


def _octet_string(octets: bytes) -> bytes:
    return b"\x09" + encode_length(len(octets)) + octets


def _proof(data: object) -> bytes:
    """The octets of an encoded octet string; nothing for anything else."""
    if not isinstance(data, bytes) or data[:1] != b"\x09":
        return b""
    reader = Reader(data, 1)
    try:
        proof = reader.string("proof")
    except DecodeError:
        return b""
    return b"" if reader.left else proof

"""What is known of the two sides that are heard: keys that were given, titles and keys that they tell each other. Pure.

The cryptography is loaded when there is something to open with a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.explaining.names import Names
from headend.drivers.dlms.explaining.signers import is_signed_by, read_public
from headend.drivers.dlms.explaining.tags import APDU_NAMES, NESTED
from headend.errors import ConfigError, DecipherFailed, HeadendError
from headend.protocols.dlms.security.control import (
    AUTHENTICATED,
    BROADCAST,
    COMPRESSED,
    ENCRYPTED,
    KEY_LENGTHS,
    SUITE,
)

if TYPE_CHECKING:
    from headend.drivers.base import Secrets
    from headend.protocols.dlms.security.suite import Suite

KEYS: Final[Mapping[str, str]] = {
    "ek": "global unicast encryption key",
    "ak": "authentication key",
    "bk": "global broadcast encryption key",
    "dk": "dedicated key, where the AARQ was not recorded",
    "mk": "master key, which wraps other keys",
    "ka": "private key-agreement key of the recipient, or for two static keys of either side",
    "ka_peer": "certificate or public key-agreement key of the other side, for two static keys",
    "client_title": "system title of the client, where the AARQ was not recorded",
    "server_title": "system title of the meter, where the AARE was not recorded",
    "client_signer": "certificate or public signing key of the client",
    "server_signer": "certificate or public signing key of the meter",
}
"""What a decoder may be given, by name."""

_TITLES: Final[tuple[str, ...]] = ("client_title", "server_title")
_SIGNERS: Final[tuple[str, ...]] = ("client_signer", "server_signer")
_PUBLIC: Final = (*_SIGNERS, "ka_peer")
_TITLE_LENGTH: Final = 8
_TAG: Final = 12
_HEAD: Final = 5
_SUITES: Final = 3
_ONE_PASS, _STATIC = b"\x01", b"\x02"


class Dialogue:
    """Follows both directions of what is explained; shows no key."""

    __slots__ = ("_keys", "_plain", "_public", "_starts", "_titles", "heard", "names")

    def __init__(self, secrets: Secrets | None = None) -> None:
        """`secrets` are named as `KEYS` names them; raises ConfigError for another name or an impossible length."""
        given = dict(secrets or {})
        self._public = {name: read_public(name, given.pop(name).reveal()) for name in _PUBLIC if name in given}
        self._keys: dict[str, bytes] = {}
        for name, secret in given.items():
            octets = secret.reveal()
            lengths = _lengths(name)
            if len(octets) not in lengths:
                expected = " or ".join(map(str, lengths))
                raise ConfigError(f"{name}: expected {expected} octets, got {len(octets)}")
            self._keys[name] = octets
        self._titles: dict[str, bytes] = {name: self._keys.pop(name) for name in _TITLES if name in self._keys}
        self._plain: dict[bytes, bytes] = {}
        self._starts: dict[bytes, int] = {}
        self.heard: list[bytes] = []
        """APDUs in their order, as they came; those in others or in blocks are not among them"""
        self.names = Names()

    def title(self, name: str) -> bytes:
        """The title of `client_title` or `server_title`; empty when nobody told it."""
        return self._titles.get(name, b"")

    def learn_title(self, name: str, octets: bytes) -> None:
        """An AARQ or AARE tells a system title."""
        if len(octets) == _TITLE_LENGTH:
            self._titles[name] = octets

    def learn_dedicated(self, octets: bytes) -> None:
        """An initiate-request tells the dedicated key of the association, or that there is none."""
        self._keys.pop("dk", None)
        if len(octets) in KEY_LENGTHS.values():
            self._keys["dk"] = octets

    def plain(self, ciphered: bytes) -> bytes | None:
        """What a ciphered APDU was found to hold."""
        return self._plain.get(ciphered)

    def deciphered(self) -> Iterable[bytes]:
        """Everything that was deciphered."""
        return self._plain.values()

    def opening(self, ciphered: bytes) -> tuple[int, bytes]:
        """Where in a ciphered APDU its contents begin, and what they are; nothing for one that was not opened."""
        return self._starts.get(ciphered, 0), self._plain.get(ciphered, b"")

    def opened(self, ciphered: bytes, plain: bytes, start: int) -> None:
        """Remember what a ciphered APDU holds from `start` on."""
        self._plain[ciphered], self._starts[ciphered] = plain, start

    def signed(self, originator: bytes, message: bytes, signature: bytes) -> tuple[str, bool]:
        """Who has signed, in words, and whether the signature is wrong for everybody who is known here."""
        own = [name for name in _TITLES if self._titles.get(name) == originator]
        names = [f"{name.partition('_')[0]}_signer" for name in own] or list(_SIGNERS)
        keys = {name: self._public[name] for name in names if name in self._public}
        if not keys:
            return f"not verified: give {' or '.join(names)}", False
        signer = next((name for name, key in keys.items() if is_signed_by(key, message, signature)), "")
        return (f"verified with {signer}", False) if signer else ("wrong", True)

    def open(self, sealed: Sealed) -> Opened:
        """Decipher and verify as far as keys and titles reach; says why where they do not."""
        name, key, why = self._cipher_key(sealed)
        if why:
            return Opened(why=why)
        titles = [sealed.title] if sealed.title else [self.title(each) for each in sealed.senders if self.title(each)]
        if not titles:
            wanted = " or ".join(sealed.senders)
            return Opened(why=f"the system title of the sender is not known: give {wanted}")
        suite = sealed.content[0] & SUITE
        if KEY_LENGTHS.get(suite) != len(key):
            wants = KEY_LENGTHS.get(suite)
            said = f"wants keys of {wants} octets" if wants else "is not known"
            hint = " in hexadecimal digits: write hex: before them" if len(key) == 32 and key.isalnum() else ""
            return Opened(why=f"security suite {suite} {said}, {name} has {len(key)}{hint}")
        attempts = [self._attempt(sealed, name, key, title) for title in titles]
        return min(attempts, key=lambda each: (each.plain is None, bool(each.error)))

    def _attempt(self, sealed: Sealed, name: str, key: bytes, title: bytes) -> Opened:
        from headend.protocols.dlms.security.gcm import GcmKey  # noqa: PLC0415 - see above

        control, authentication = sealed.content[0], self._keys.get("ak", b"")
        if control & COMPRESSED:
            return Opened(why="compressed, which is not undone here")
        tagged = bool(control & AUTHENTICATED)
        content = sealed.content[_HEAD : len(sealed.content) - _TAG if tagged else None]
        verdict = "none" if not tagged else "not verified: ak is not given"
        if tagged and authentication:
            try:
                GcmKey(key, authentication).open(title, sealed.content, sealed.more)
                verdict = "verified"
            except DecipherFailed:
                verdict = "wrong"
        plain = content
        if control & ENCRYPTED:
            alone = bytes((control & SUITE | ENCRYPTED,)) + sealed.content[1:_HEAD] + content
            plain = GcmKey(key).open(title, alone).plaintext
        if not _is_apdu(plain, sealed.inner) and verdict != "verified":
            said = f"what {name} deciphers is no APDU: the key or the system title is another one"
            return Opened(name=name, verdict=verdict, error=said)
        error = "authentication tag wrong: ak or the system title is another one, or octets were altered"
        return Opened(name=name, plain=plain, verdict=verdict, error=error if verdict == "wrong" else "")

    def _cipher_key(self, sealed: Sealed) -> tuple[str, bytes, str]:
        """Name and octets of the key, or why there is none."""
        if sealed.agreement is not None:
            return self._agreed_key(sealed)
        if sealed.wrapped:
            return self._unwrapped_key(sealed.wrapped)
        name = sealed.key or ("bk" if sealed.content[0] & BROADCAST else "ek")
        key = self._keys.get(name)
        if key is None:
            return name, b"", f"give {name}, the {KEYS[name].partition(',')[0]}, to read them"
        return name, key, ""

    def _unwrapped_key(self, wrapped: bytes) -> tuple[str, bytes, str]:
        from headend.protocols.dlms.security.keys import unwrap_key  # noqa: PLC0415 - see above

        name = "the wrapped key"
        if "mk" not in self._keys:
            return name, b"", "give mk, the master key, to read them"
        try:
            return name, unwrap_key(self._keys["mk"], wrapped), ""
        except HeadendError as error:
            return name, b"", str(error)

    def _agreed_key(self, sealed: Sealed) -> tuple[str, bytes, str]:
        """A key that follows from `ka`; without that, ek is taken as the key that was agreed."""
        agreement = sealed.agreement
        if agreement is None or "ka" not in self._keys:
            key = self._keys.get("ek", b"")
            return "ek", key, "" if key else "give ka, the private key of the recipient, or the agreed key as ek"
        from headend.protocols.dlms.security.keys import agree, private_key, public_key  # noqa: PLC0415 - see above

        suite = _suite(sealed.content[0] & SUITE)
        static = agreement.parameters == _STATIC
        if suite is None or not (static or agreement.parameters == _ONE_PASS):
            return "ka", b"", "a key that is agreed in another way than C(1e, 1s) and C(0e, 2s): give it as ek"
        if static and "ka_peer" not in self._public:
            return "ka", b"", "give ka_peer, the public key-agreement key of the other side"
        told = agreement.transaction_id if static else b""
        try:
            own = private_key(suite, self._keys["ka"])
            point = agreement.ephemeral[: 2 * suite.scalar_length]
            peer = self._public["ka_peer"] if static else public_key(suite, point)
            key = agree(suite, own, peer, sealed.title, agreement.recipient, transaction_id=told)
        except HeadendError as error:
            return "ka", b"", str(error)
        except ValueError:  # keys of two curves
            return "ka", b"", "ka and ka_peer belong to different security suites"
        return "the agreed key", key, ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a general-ciphering APDU says of a key that is agreed."""

    parameters: bytes
    ephemeral: bytes
    recipient: bytes
    transaction_id: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Something ciphered: `content` begins with the security control.

    `title` is that of the sender when the APDU tells it, else it is one of `senders`. `key` names the key when it is not
    that of the security control; `inner` is the tag that must come out, 0 for any.
    """

    content: bytes = b""
    title: bytes = b""
    senders: tuple[str, ...] = ("server_title", "client_title")
    key: str = ""
    more: bytes = b""
    inner: int = 0
    wrapped: bytes = b""
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What came out. `why` says what is missing to read it, `error` what is wrong with it."""

    name: str = ""
    plain: bytes | None = None
    verdict: str = ""
    why: str = ""
    error: str = ""


def _lengths(name: str) -> tuple[int, ...]:
    if name in _TITLES:
        return (_TITLE_LENGTH,)
    if name == "ka":
        return (32, 48)
    if name not in KEYS:
        raise ConfigError(f"no key of DLMS is called {name!r}", hint=f"there are {', '.join(KEYS)}")
    return (16, 32)


def _suite(number: int) -> Suite | None:
    from headend.protocols.dlms.security.suite import SUITES  # noqa: PLC0415 - see above

    return SUITES[number] if number < _SUITES else None


def _is_apdu(plain: bytes, inner: int) -> bool:
    if inner:
        return plain[:1] == bytes((inner,))
    return bool(plain) and (plain[0] in APDU_NAMES or plain[0] in NESTED)

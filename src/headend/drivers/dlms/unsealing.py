"""A push of a known meter without its protection: no association, so keys, titles and policy come from what is known of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.errors import CapabilityError, DecipherFailed, DecodeError, KeyMissing, ReplayDetected
from headend.model.meter import Secret
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.ciphering import (
    GENERAL_DEDICATED,
    GENERAL_GLOBAL,
    PLAIN_OF_DEDICATED,
    PLAIN_OF_GLOBAL,
    AgreedKey,
    GeneralCiphering,
    GeneralSigning,
    IdentifiedKey,
    KeyInformation,
    WrappedKey,
    decode_general,
    decode_general_ciphering,
    decode_general_signing,
    decode_service,
)
from headend.protocols.dlms.security.control import AUTHENTICATED, BROADCAST, SIGNED
from headend.protocols.dlms.security.gcm import SYSTEM_TITLE_LENGTH, GcmKey
from headend.protocols.dlms.security.keys import is_signed, public_key, unwrap_key
from headend.protocols.dlms.security.policy import check_protection, policy_of
from headend.protocols.dlms.security.suite import SUITES

if TYPE_CHECKING:
    from headend.drivers.base import Push, Secrets
    from headend.drivers.dlms.parameters import SecurityParameters
    from headend.drivers.dlms.security import Counters
    from headend.model.meter import Meter
    from headend.protocols.dlms.security.counters import ReceivedCounter

_EVERYTHING: Final = 3
"""Policy where keys are given and nothing else is said, as for sessions."""
_LAST: Final = 0xFFFFFFFFFFFFFF
"""The greatest transaction id that counts, of seven octets."""
_DEPTH: Final = 3
"""Protections within each other; more is no push."""


def is_sealed(apdu: bytes) -> bool:
    """True for an APDU that has to be deciphered."""
    tag = apdu[0]
    general = (GENERAL_GLOBAL, GENERAL_DEDICATED, GeneralCiphering.TAG, GeneralSigning.TAG)
    return tag in general or tag in PLAIN_OF_GLOBAL or tag in PLAIN_OF_DEDICATED


def unseal(push: Push, meter: Meter, security: SecurityParameters, secrets: Secrets, counters: Counters) -> Push:
    """The push in plain. Raises DecipherFailed, ReplayDetected, KeyMissing, or CapabilityError for what is not done.

    A meter with keys must cipher as its policy says: whoever knows its name could speak for it otherwise.
    """
    number = security.policy if security.policy is not None else _EVERYTHING if "ek" in secrets else 0
    apdu, control = push.octets, 0
    title = b""
    opened: list[tuple[ReceivedCounter, int]] = []
    signed: list[tuple[ReceivedCounter, int]] = []
    for _ in range(_DEPTH):
        if not is_sealed(apdu):
            break
        if apdu[0] == GeneralSigning.TAG:
            title, transaction, key_octets, apdu = _verified(apdu, meter, security)
            signed.append((counters.pushed(key_octets, title), transaction))
            control |= SIGNED
            continue
        title, sealed, key_octets, more = _parts(apdu, meter, secrets)
        key = GcmKey(key_octets.reveal(), _authentication_key(sealed, secrets))
        found, counter, plain = key.open(title, sealed, more)
        if found & BROADCAST:
            raise DecipherFailed("a push under the broadcast key, which is not known")
        expected = PLAIN_OF_GLOBAL.get(apdu[0])
        if not plain or (expected is not None and plain[0] != expected):
            raise DecodeError("deciphered APDU", offset=0, expected="an APDU", got=plain[:1].hex() or "nothing")
        opened.append((counters.pushed(key_octets, title), counter))
        control |= found
        apdu = plain
    else:
        raise DecodeError("APDU", offset=0, expected=f"at most {_DEPTH} protections", got="more")
    try:
        check_protection(policy_of(number).response, control)
    except DecipherFailed as error:
        error.hint = "the meter's parameter policy says how its messages are protected at least"
        raise
    # What is signed alone has no counter but its transaction id, which must grow as one; the innermost was counted first.
    for received, counter in reversed(opened or signed):
        if counter > _LAST:
            raise ReplayDetected("a push that is signed alone, and whose transaction id does not count")
        received.accept(counter)
    identity = replace(push.identity, system_title=title.hex()) if title else push.identity
    return replace(push, octets=apdu, identity=identity)


def _verified(apdu: bytes, meter: Meter, security: SecurityParameters) -> tuple[bytes, int, Secret, bytes]:
    """System title, transaction id, key of the signature, and what is signed."""
    message = decode_general_signing(Reader(apdu, 1))
    title = message.header.originator
    if title != bytes.fromhex(meter.identity.system_title) and meter.identity.system_title:
        raise DecipherFailed("a push of another system title than that of the meter")
    if len(title) != SYSTEM_TITLE_LENGTH or not message.content:
        raise DecodeError("signed push", offset=0, expected="a system title and an APDU", got=title.hex() or "nothing")
    if not security.meter_key or not security.suite:
        raise KeyMissing(
            "a signed push, and it is not known what the meter signs with", hint="give meter_key=HEX, and suite=1 or 2"
        )
    suite = SUITES[security.suite]
    if not is_signed(suite, public_key(suite, security.meter_key), message.signed, message.signature):
        raise DecipherFailed("the signature of a push does not hold", hint="check meter_key and the security suite")
    number = int.from_bytes(message.header.transaction_id, "big")
    return title, number, Secret(security.meter_key), message.content


def _parts(apdu: bytes, meter: Meter, secrets: Secrets) -> tuple[bytes, bytes, Secret, bytes]:
    """System title, sealed content, key, and what is authenticated beside the content."""
    tag, known = apdu[0], bytes.fromhex(meter.identity.system_title)
    if tag in PLAIN_OF_DEDICATED or tag == GENERAL_DEDICATED:
        raise DecipherFailed("a push under a dedicated key, which belongs to an association")
    more = b""
    if tag in PLAIN_OF_GLOBAL:
        title, sealed, key = known, decode_service(apdu), secrets.get("ek")
    elif tag == GENERAL_GLOBAL:
        title, sealed = decode_general(apdu)
        key = secrets.get("ek")
    else:
        general = decode_general_ciphering(Reader(apdu, 1))
        title, sealed, more = general.header.originator, general.sealed, general.header.encode()
        key = _named_key(general.key, secrets)
    if known and title and title != known:
        raise DecipherFailed("a push of another system title than that of the meter")
    title = title or known
    if len(title) != SYSTEM_TITLE_LENGTH:
        raise DecipherFailed("a ciphered push of a meter whose system title is not known", hint="identify it once")
    if key is None:
        raise KeyMissing("a ciphered push, and the meter has no 'ek'", hint="give it as ek=env:NAME")
    return title, sealed, key, more


def _named_key(key: KeyInformation | None, secrets: Secrets) -> Secret | None:
    """The key that general-ciphering names; no name, or 0, is the global unicast key."""
    if key is None or key == IdentifiedKey(0):
        return secrets.get("ek")
    if isinstance(key, WrappedKey) and not key.kek_id:
        if "mk" not in secrets:
            raise KeyMissing("a push under a wrapped key, and the meter has no 'mk'", hint="give it as mk=env:NAME")
        return type(secrets["mk"])(unwrap_key(secrets["mk"].reveal(), key.wrapped))
    if isinstance(key, AgreedKey):
        raise CapabilityError("a push under an agreed key, which nobody has agreed on here")
    raise DecipherFailed("a push under a key that is not known")


def _authentication_key(sealed: bytes, secrets: Secrets) -> bytes:
    if not sealed[:1] or not sealed[0] & AUTHENTICATED:
        return b""
    if "ak" not in secrets:
        raise KeyMissing("an authenticated push, and the meter has no 'ak'", hint="give it as ak=env:NAME")
    return secrets["ak"].reveal()

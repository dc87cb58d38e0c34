"""general-ciphering and general-signing between both roles, certificates, requests for them, and offers of keys.

First octet: bits 0-2 the kind of key (0 none, which is global), bit 3 signed, bit 4 the answer is altered and not the request,
bits 6 and 7 what follows: 0 pairs of octets, where the genuine APDU is altered and how; 1 an APDU as it comes; 2 a certificate
or a request, 3 an offer.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import CapabilityError, DecodeError, RemoteProtocolError, SecurityError
    from headend.protocols.base import Role
    from headend.protocols.dlms.initiate import Conformance
    from headend.protocols.dlms.security.certificates import read_certificate, read_request
    from headend.protocols.dlms.security.ciphering import KeyKind
    from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.general import GeneralProtection
    from headend.protocols.dlms.security.general_keys import KeyMaterial
    from headend.protocols.dlms.security.key_changes import KeyId, make_offer, take_offer
    from headend.protocols.dlms.security.keys import private_key
    from headend.protocols.dlms.security.policy import policy_of
    from headend.protocols.dlms.security.suite import SUITES

SUITE = SUITES[1]
REFUSALS = (RemoteProtocolError, SecurityError, CapabilityError)
TITLES = {Role.CLIENT: b"HDE00001", Role.SERVER: b"MTR00001"}
KINDS = (None, *KeyKind)
EVERYTHING, SIGNED = 0x6C, 0xFC
GET, ANSWER = bytes.fromhex("c001c100030100010800ff0200"), bytes.fromhex("c401c1000600bc5ea8")
SIGNING = {role: private_key(SUITE, bytes(31) + bytes((5 + index,))) for index, role in enumerate(Role)}
AGREEMENT = {role: private_key(SUITE, bytes(31) + bytes((9 + index,))) for index, role in enumerate(Role)}
EPHEMERAL = private_key(SUITE, bytes(31) + b"\x11")
OFFER = make_offer(SUITE, KeyId.GLOBAL_UNICAST, EPHEMERAL, SIGNING[Role.SERVER])


def protection(role: Role, policy: int, kind: KeyKind | None) -> GeneralProtection:
    """One side, associated, with all keys."""
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    made = GeneralProtection(
        role,
        SUITE,
        policy_of(policy),
        key=GcmKey(bytes(range(16)), bytes(range(0xD0, 0xE0))),
        system_title=TITLES[role],
        sent=OwnCounter(MemoryCounters(), ""),
        received=ReceivedCounter(),
        material=KeyMaterial(
            lambda count: bytes(count - 1) + b"\x07",
            master=bytes(range(0x80, 0x90)),
            signing=SIGNING[role],
            agreement=AGREEMENT[role],
            peer_signing=SIGNING[other].public_key(),
            peer_agreement=AGREEMENT[other].public_key(),
        ),
        kind=kind,
    )
    made.peer(TITLES[other])
    made.agreed(Conformance.GENERAL_PROTECTION, b"")
    return made


def altered(apdu: bytes, pairs: bytes) -> bytes:
    """Octets turned at the places that are named; a turn by 0 cuts the rest off."""
    octets = bytearray(apdu)
    for place, turn in zip(pairs[::2], pairs[1::2], strict=False):
        at = place * len(apdu) // 256
        if not turn:
            del octets[at:]
        elif at < len(octets):
            octets[at] ^= turn
    return bytes(octets)


def is_ciphered(role: Role, kind: KeyKind | None, apdu: bytes) -> bool:
    """True for what somebody with the keys has ciphered, signed or not: its counter is spent, also when it is refused."""
    fresh = protection(role, EVERYTHING, kind if role is Role.CLIENT else None)
    if role is Role.CLIENT:
        fresh.protect(GET)
    try:
        fresh.unprotect(apdu)
    except REFUSALS:
        return False
    return True


def conversation(choice: int, rest: bytes) -> None:
    """What is altered is refused, or means the same; and what is refused changes nothing, unless it lacks but a signature."""
    kind = KINDS[(choice & 0x07) % len(KINDS)]
    policy = SIGNED if choice & 0x08 else EVERYTHING
    client, meter = protection(Role.CLIENT, policy, kind), protection(Role.SERVER, policy, None)
    plain, genuine, listener = GET, client.protect(GET), meter
    if choice & 0x10:
        assert meter.unprotect(genuine) == GET
        plain, genuine, listener = ANSWER, meter.protect(ANSWER), client
    said = rest if choice & 0x40 else altered(genuine, rest)
    if said and said != genuine:
        try:
            found = listener.unprotect(said)
        except REFUSALS:
            role = Role.CLIENT if listener is client else Role.SERVER
            if not (policy == SIGNED and is_ciphered(role, kind, said)):
                assert listener.unprotect(genuine) == plain
        else:
            assert found == plain or said[:1] in (b"\x0e", b"\xd8")


def certificates(data: bytes) -> None:
    """Whatever can be read has a key of the curve."""
    with contextlib.suppress(DecodeError):
        assert read_certificate(SUITE, data).key.curve.name == "secp256r1"
    with contextlib.suppress(DecodeError):
        assert read_request(SUITE, data).key.curve.name == "secp256r1"


def offers(pairs: bytes) -> None:
    """An offer that was altered is refused."""
    offer = altered(OFFER, pairs)
    if offer != OFFER:
        with contextlib.suppress(DecodeError, SecurityError):
            take_offer(SUITE, KeyId.GLOBAL_UNICAST, offer, SIGNING[Role.SERVER].public_key())
            raise AssertionError("an offer of somebody else")


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice = data[0]
    if choice < 0x80:
        conversation(choice, data[1:])
    elif choice < 0xC0:
        certificates(data[1:])
    else:
        offers(data[1:])


if __name__ == "__main__":
    harness.fuzz("general", one_input)

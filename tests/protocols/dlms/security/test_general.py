"""general-ciphering and general-signing: the pair of our own two roles, and what the Green Book's examples tell of it.

The keys of the book's examples of general-ciphering follow from its tables and decipher its APDUs (see test_vectors); the tags
that are published with them verify with no known form of the associated data, and there is no example of general-signing.
What is authenticated agrees with what gurux-dlms makes (see tests/interop/test_keys.py); what is signed is shown by the pair alone.
"""

from __future__ import annotations

from typing import Any

import pytest

from headend.errors import (
    CapabilityError,
    DecipherFailed,
    DecodeError,
    HeadendError,
    KeyMissing,
    ReplayDetected,
    SecurityError,
)
from headend.protocols.base import Role
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.ciphering import (
    AgreedKey,
    GeneralCiphering,
    GeneralSigning,
    Header,
    IdentifiedKey,
    KeyKind,
    WrappedKey,
    decode_general_ciphering,
    decode_general_signing,
)
from headend.protocols.dlms.security.control import SIGNED
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.general import GeneralProtection
from headend.protocols.dlms.security.general_keys import KeyMaterial
from headend.protocols.dlms.security.keys import private_key
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.suite import SUITES

CLIENT, METER = b"HDE\x00\x00\x00\x00\x01", b"ACM\x00\x00\x00\x00\x01"
GET, ANSWER = bytes.fromhex("c001c100030100010800ff0200"), bytes.fromhex("c401c1000600bc5ea8")
PUSH = bytes.fromhex("0f00000001000600000001")
ALL, SIGNED_ALL = 0x6C, 0xFC


class Draw:
    """Octets one after the other, as a generator of random ones gives them."""

    def __init__(self, start: int) -> None:
        self.next = start

    def __call__(self, count: int) -> bytes:
        self.next += 1
        return bytes(count - 1) + bytes([self.next])


def scalars(suite: int) -> dict[str, Any]:
    names = ("client_signs", "client_agrees", "meter_signs", "meter_agrees")
    return {
        name: private_key(SUITES[suite], number.to_bytes(SUITES[suite].scalar_length, "big"))
        for number, name in enumerate(names, 5)
    }


def material(role: Role, suite: int, **others: Any) -> KeyMaterial:
    keys = scalars(suite)
    own, peer = ("client", "meter") if role is Role.CLIENT else ("meter", "client")
    length = SUITES[suite].key_length
    values = {
        "master": bytes(range(0x80, 0x80 + length)),
        "signing": keys[f"{own}_signs"],
        "agreement": keys[f"{own}_agrees"],
        "peer_signing": keys[f"{peer}_signs"].public_key(),
        "peer_agreement": keys[f"{peer}_agrees"].public_key(),
    }
    return KeyMaterial(Draw(0x20 if role is Role.CLIENT else 0x40), **(values | others))


def protection(
    role: Role, suite: int = 1, policy: int = ALL, kind: KeyKind | None = None, **others: Any
) -> GeneralProtection:
    length = SUITES[suite].key_length
    made = GeneralProtection(
        *(role, SUITES[suite], policy_of(policy)),
        key=GcmKey(bytes(range(length)), bytes(range(0xD0, 0xD0 + length))),
        system_title=CLIENT if role is Role.CLIENT else METER,
        sent=OwnCounter(MemoryCounters(), ""),
        received=ReceivedCounter(),
        material=material(role, suite, **others),
        kind=kind,
    )
    made.peer(METER if role is Role.CLIENT else CLIENT)
    made.agreed(Conformance.GENERAL_PROTECTION, b"")
    return made


def pair(suite: int, policy: int, kind: KeyKind | None) -> tuple[GeneralProtection, GeneralProtection]:
    return protection(Role.CLIENT, suite, policy, kind), protection(Role.SERVER, suite, policy)


def ciphering(apdu: bytes) -> GeneralCiphering:
    assert apdu[0] == GeneralCiphering.TAG
    return decode_general_ciphering(Reader(apdu, 1))


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("policy", [0x24, 0x48, ALL, SIGNED_ALL, 0x30 | ALL, 0x90])
@pytest.mark.parametrize("kind", [None, *KeyKind])
def test_both_sides_understand_each_other(suite: int, policy: int, kind: KeyKind | None) -> None:
    if not suite and (kind in (KeyKind.ONE_PASS, KeyKind.STATIC)):
        return
    client, meter = pair(suite, policy, kind)
    seen = set()
    for _ in range(3):
        request = client.protect(GET)
        assert meter.unprotect(request) == GET
        assert len(request) <= len(GET) + client.overhead
        answer = meter.protect(ANSWER)
        assert len(answer) <= len(ANSWER) + meter.overhead
        assert client.unprotect(answer) == ANSWER
        seen |= {request, answer}
        for apdu in (request, answer):
            assert apdu[0] == (0xDF if policy == 0x90 else 0xDB if kind is None and policy & 0x10 else apdu[0])
            if kind is not None and policy != 0x90:
                assert apdu[0] == 0xDD
    assert len(seen) == 6


def test_what_goes_over_the_wire() -> None:
    """Header and key information, octet by octet."""
    header = "dd 08 0000000000000001 08 4844450000000001 08 41434d0000000001 00 00"
    for kind, information in {
        KeyKind.IDENTIFIED: "01 00 00",
        KeyKind.WRAPPED: "01 01 00 18",
        KeyKind.ONE_PASS: "01 02 01 01 81 80",
        KeyKind.STATIC: "01 02 01 02 00",
    }.items():
        client, meter = pair(1, ALL, kind)
        request = client.protect(GET)
        assert request.hex().startswith((header + information).replace(" ", ""))
        assert request[-len(GET) - 12 - 5 - 1 :].hex().startswith("1e3100000000")  # authenticated, encrypted, suite 1
        meter.unprotect(request)
        answered = ciphering(meter.protect(ANSWER)).header
        assert answered == Header(transaction_id=bytes(7) + b"\x01", originator=METER, recipient=CLIENT)


def test_one_key_for_an_association_or_for_each_apdu() -> None:
    for kind, same in ((KeyKind.WRAPPED, True), (KeyKind.ONE_PASS, True), (KeyKind.STATIC, True)):
        client, _ = pair(1, ALL, kind)
        first, second = ciphering(client.protect(GET)), ciphering(client.protect(GET))
        assert (first.key == second.key) is same
        assert first.header.transaction_id != second.header.transaction_id
        assert first.sealed[1:5] != second.sealed[1:5]  # the counter grows whatever the key is
        client.peer(METER)
        client.agreed(Conformance.GENERAL_PROTECTION, b"")
        third = ciphering(client.protect(GET))
        assert (third.key == first.key) is (kind is KeyKind.STATIC)
        assert third.sealed[1:5] > second.sealed[1:5]


def test_the_key_of_the_static_scheme_changes_with_the_transaction() -> None:
    client, meter = pair(1, ALL, KeyKind.STATIC)
    request = ciphering(client.protect(GET))
    moved = Header(transaction_id=bytes(7) + b"\x02", originator=CLIENT, recipient=METER)
    with pytest.raises(DecipherFailed):
        meter.unprotect(GeneralCiphering(header=moved, key=request.key, sealed=request.sealed).encode())


@pytest.mark.parametrize("kind", list(KeyKind))
def test_what_was_altered_is_refused(kind: KeyKind) -> None:
    """Any one octet: of the header, which is authenticated too, of the key information, of the content, of the tag."""
    client, meter = pair(1, ALL, kind)
    request = client.protect(GET)
    for at in range(len(request)):
        altered = bytearray(request)
        altered[at] ^= 1
        with pytest.raises(HeadendError):
            meter.unprotect(bytes(altered))
    assert meter.unprotect(request) == GET  # none of them has used up the counter
    with pytest.raises(ReplayDetected):
        meter.unprotect(request)


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize("title", [b"", b"HDE", b"HDE\x00\x00\x00\x00\x02", bytes(129)])
def test_a_title_that_is_not_that_of_the_association(kind: KeyKind, title: bytes) -> None:
    """It is refused before anything is made of it, and no key that follows from it is kept."""
    client, meter = pair(1, ALL, kind)
    request = client.protect(GET)
    forged = ciphering(request)
    header = Header(transaction_id=forged.header.transaction_id, originator=title, recipient=METER)
    for peer in (CLIENT, b""):
        meter._peer = peer
        with pytest.raises(DecipherFailed):
            meter.unprotect(GeneralCiphering(header=header, key=forged.key, sealed=forged.sealed).encode())
    meter._peer = CLIENT
    assert meter.unprotect(request) == GET


@pytest.mark.parametrize("policy", [ALL, SIGNED_ALL, 0x90])
def test_what_is_refused_does_not_change_the_transaction_of_the_answer(policy: int) -> None:
    """A meter answers what was asked, whatever somebody has said again or forged meanwhile."""
    client, meter = pair(1, policy, None if policy == 0x90 else KeyKind.IDENTIFIED)
    old = client.protect(GET)
    meter.unprotect(old)
    request = client.protect(GET)
    meter.unprotect(request)
    later = client.protect(GET)
    for forged in (old, later[:-1] + bytes((later[-1] ^ 1,))):
        with pytest.raises(SecurityError):
            meter.unprotect(forged)
    client._transaction = decode_transaction(request)
    assert client.unprotect(meter.protect(ANSWER)) == ANSWER


def decode_transaction(apdu: bytes) -> bytes:
    return apdu[2 : 2 + apdu[1]] if apdu[0] in {0xDD, 0xDF} else b""


def test_a_replay_under_an_old_key_is_refused() -> None:
    client, meter = pair(1, ALL, KeyKind.WRAPPED)
    old = client.protect(GET)
    meter.unprotect(old)
    meter.peer(CLIENT)  # another association, in which the client chooses another key
    with pytest.raises(ReplayDetected):
        meter.unprotect(old)


def test_answers_of_another_transaction_are_refused() -> None:
    client, meter = pair(1, ALL, KeyKind.IDENTIFIED)
    meter.unprotect(client.protect(GET))
    answer = meter.protect(ANSWER)
    client.protect(GET)
    with pytest.raises(DecipherFailed, match="another transaction"):
        client.unprotect(answer)


def test_notifications_belong_to_no_transaction() -> None:
    for policy in (ALL, SIGNED_ALL):
        client, meter = pair(1, policy, KeyKind.IDENTIFIED)
        request = client.protect(GET)
        meter.unprotect(request)
        pushed = meter.protect(PUSH)
        client.protect(GET)
        assert client.unprotect(pushed) == PUSH


def test_each_push_that_is_signed_alone_has_a_number_that_grows() -> None:
    client, meter = pair(1, 0x90, None)
    meter.unprotect(client.protect(GET))
    pushes = [meter.protect(PUSH) for _ in range(3)]
    numbers = [decode_general_signing(Reader(push, 1)).header.transaction_id for push in pushes]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)
    assert all(client.unprotect(push) == PUSH for push in pushes)
    assert client.unprotect(meter.protect(ANSWER)) == ANSWER, "in the transaction of the request"


def test_from_whom_and_for_whom() -> None:
    client, meter = pair(1, ALL, KeyKind.IDENTIFIED)
    stranger = protection(Role.CLIENT, 1, ALL, KeyKind.IDENTIFIED)
    stranger._title = b"HDE\x00\x00\x00\x00\x02"
    with pytest.raises(DecipherFailed, match="from another system title"):
        meter.unprotect(stranger.protect(GET))
    client._peer = b"ACM\x00\x00\x00\x00\x02"
    with pytest.raises(DecipherFailed, match="for another system title"):
        meter.unprotect(client.protect(GET))


def test_policies_hold_for_general_ciphering_too() -> None:
    for kind in KeyKind:
        client, meter = protection(Role.CLIENT, 1, 0x24, kind), protection(Role.SERVER, 1, ALL)
        with pytest.raises(DecipherFailed, match="not encrypted"):
            meter.unprotect(client.protect(GET))
    client, meter = protection(Role.CLIENT, 1, ALL), protection(Role.SERVER, 1, SIGNED_ALL)
    with pytest.raises(DecipherFailed, match="not signed"):
        meter.unprotect(client.protect(GET))


def test_a_meter_answers_as_it_was_asked() -> None:
    meter = protection(Role.SERVER, 1, 0)
    asks = [
        (protection(Role.CLIENT, 1, 0), b"\xc4"),
        (protection(Role.CLIENT, 1, ALL), b"\xdb"),
        (protection(Role.CLIENT, 1, ALL, KeyKind.STATIC), b"\xdd"),
        (protection(Role.CLIENT, 1, 0x90), b"\xdf"),
    ]
    sent = asks[1][0]._global.sent
    for client, tag in asks:
        client._global.sent = sent
        assert meter.unprotect(client.protect(GET)) == GET
        bits = 0x30 if tag in (b"\xdb", b"\xdd") else SIGNED if tag == b"\xdf" else 0
        assert meter.request_protection == bits
        assert meter.protect(ANSWER)[:1] == tag


def test_answers_that_rights_want_signed() -> None:
    meter = protection(Role.SERVER, 1, ALL)
    client = protection(Role.CLIENT, 1, ALL)
    meter.unprotect(client.protect(GET))
    assert meter.answer_with(SIGNED | 0x10)
    answer = meter.protect(ANSWER)
    assert client.unprotect(answer) == ANSWER
    cannot = protection(Role.SERVER, 1, ALL, signing=None)
    assert not cannot.answer_with(SIGNED)


# --- signatures ---


def test_signed_in_plain_must_not_come_twice() -> None:
    client, meter = pair(1, 0x90, None)
    request = client.protect(GET)
    signing = decode_general_signing(Reader(request, 1))
    assert signing.content == GET
    assert meter.unprotect(request) == GET
    with pytest.raises(ReplayDetected):
        meter.unprotect(request)
    for each in (client, meter):  # nor in another association, in which nothing else tells it
        each.peer(METER if each is client else CLIENT)
        each.agreed(Conformance.GENERAL_PROTECTION, b"")
    with pytest.raises(ReplayDetected):
        meter.unprotect(request)
    assert meter.unprotect(client.protect(GET)) == GET


def test_signatures_that_do_not_hold() -> None:
    client, meter = pair(1, 0x90, None)
    request = client.protect(GET)
    for at in range(len(request)):
        altered = bytearray(request)
        altered[at] ^= 1
        with pytest.raises(HeadendError):
            meter.unprotect(bytes(altered))
    empty = GeneralSigning(header=Header(originator=CLIENT), content=b"", signature=bytes(64))
    with pytest.raises(DecodeError):
        meter.unprotect(empty.encode())
    twice = GeneralSigning(header=Header(originator=CLIENT), content=request, signature=b"")
    with pytest.raises(HeadendError):
        meter.unprotect(twice.encode())


def test_signed_around_what_is_ciphered() -> None:
    """The other way round than we do it: the signature covers the ciphered APDU."""
    client, meter = pair(1, ALL, KeyKind.IDENTIFIED)
    inner = client.protect(GET)
    signer = protection(Role.CLIENT, 1, 0x90)
    assert meter.unprotect(signer.protect(inner)) == GET
    assert meter.request_protection == 0x30 | SIGNED


def test_envelopes_in_envelopes_in_envelopes() -> None:
    client, meter = pair(1, ALL, KeyKind.IDENTIFIED)
    with pytest.raises(DecodeError, match="expected an APDU"):
        meter.unprotect(client.protect(client.protect(GET)))


# --- keys that are missing, or that are none ---


@pytest.mark.parametrize(
    ("kind", "policy", "without"),
    [
        (KeyKind.WRAPPED, ALL, "master"),
        (KeyKind.ONE_PASS, ALL, "signing"),
        (KeyKind.ONE_PASS, ALL, "peer_agreement"),
        (KeyKind.STATIC, ALL, "agreement"),
        (None, SIGNED_ALL, "signing"),
    ],
)
def test_keys_that_are_missing(kind: KeyKind | None, policy: int, without: str) -> None:
    nothing = {without: b"" if without == "master" else None}
    lacking = material(Role.CLIENT, 1, **nothing)
    assert lacking.missing(kind, policy_of(policy))
    assert not material(Role.CLIENT, 1).missing(kind, policy_of(policy))
    client = protection(Role.CLIENT, 1, policy, kind, **nothing)
    with pytest.raises(KeyMissing):
        client.protect(GET)


@pytest.mark.parametrize(
    "key",
    [
        IdentifiedKey(1),
        IdentifiedKey(2),
        WrappedKey(1, bytes(24)),
        WrappedKey(0, bytes(24)),
        WrappedKey(0, b"short"),
        AgreedKey(b"\x01", b""),
        AgreedKey(b"\x01", bytes(128)),
        AgreedKey(b"\x02", b"\x00"),
        AgreedKey(b"\x03", b""),
        AgreedKey(b"", b""),
    ],
)
def test_key_information_that_leads_to_no_key(key: Any) -> None:
    client, meter = pair(1, ALL, KeyKind.IDENTIFIED)
    request = ciphering(client.protect(GET))
    with pytest.raises(HeadendError):
        meter.unprotect(GeneralCiphering(header=request.header, key=key, sealed=request.sealed).encode())
    without = GeneralCiphering(header=request.header, sealed=request.sealed)
    assert meter.unprotect(without.encode()) == GET  # no key information: the global unicast key


def test_suite_0_agrees_on_no_keys() -> None:
    client, meter = pair(0, ALL, KeyKind.IDENTIFIED)
    request = ciphering(client.protect(GET))
    agreed = GeneralCiphering(header=request.header, key=AgreedKey(b"\x02", b""), sealed=request.sealed)
    with pytest.raises(DecipherFailed, match="suite 0"):
        meter.unprotect(agreed.encode())


def test_pushes_under_the_broadcast_key() -> None:
    broadcast = bytes(range(0x50, 0x60))
    client = protection(Role.CLIENT, 1, ALL, broadcast=broadcast)
    header = Header(transaction_id=b"\x01", originator=METER)
    key = GcmKey(broadcast, bytes(range(0xD0, 0xE0)))
    for control, good in ((0x71, True), (0x31, False)):  # with and without the bit of the broadcast key
        sealed = key.seal(control, METER, 7, PUSH, header.encode())
        apdu = GeneralCiphering(header=header, key=IdentifiedKey(1), sealed=sealed).encode()
        if good:
            assert client.unprotect(apdu) == PUSH
        else:
            with pytest.raises(DecipherFailed, match="different keys"):
                client.unprotect(apdu)


def test_a_meter_without_general_protection() -> None:
    client = protection(Role.CLIENT, 1, ALL, KeyKind.IDENTIFIED)
    with pytest.raises(CapabilityError, match="general protection"):
        client.agreed(Conformance.GET, b"")


def test_a_forged_association_leaves_the_one_that_stands() -> None:
    client, meter = pair(1, 0x90, None)
    request = client.protect(GET)
    meter.unprotect(request)
    with pytest.raises(HeadendError):
        meter.unprotect_initiate(bytes.fromhex("2103300000"), CLIENT)
    with pytest.raises(ReplayDetected):
        meter.unprotect(request)


@pytest.mark.parametrize("kind", [None, KeyKind.IDENTIFIED])
def test_compression_is_named_and_refused(kind: KeyKind | None) -> None:
    """V.44, bit 7 of the security control."""
    client, meter = pair(1, ALL, kind)
    request = bytearray(client.protect(GET))
    request[-len(GET) - 17] |= 0x80
    with pytest.raises(CapabilityError, match=r"V\.44"):
        meter.unprotect(bytes(request))
    broken = bytearray(client.protect(GET))
    broken[-len(GET) - 17] = 0x0F
    with pytest.raises(DecodeError):
        meter.unprotect(bytes(broken))


def test_nothing_shows_a_key() -> None:
    shown = repr(material(Role.CLIENT, 1)) + repr(protection(Role.CLIENT))
    assert "8081" not in shown
    assert "x80" not in shown

"""What the examples of the standard do not show: refusals, alterations, ends of counters, and every round trip."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import (
    AuthenticationFailed,
    CapabilityError,
    ConfigError,
    DecipherFailed,
    DecodeError,
    LocalProtocolError,
    RemoteProtocolError,
    ReplayDetected,
    SecurityError,
)
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security import ciphering
from headend.protocols.dlms.security.authentication import (
    Authentication,
    EcdsaAuthentication,
    GmacAuthentication,
    HashAuthentication,
    OwnAuthentication,
    Said,
    answer_pass_3,
    check_pass_4,
    pass_3,
)
from headend.protocols.dlms.security.control import SIGNED
from headend.protocols.dlms.security.counters import (
    BLOCK,
    HIGHEST_CLAIM,
    LAST,
    MemoryCounters,
    OwnCounter,
    ReceivedCounter,
)
from headend.protocols.dlms.security.gcm import OVERHEAD, GcmKey
from headend.protocols.dlms.security.keys import (
    agree,
    is_signed,
    private_key,
    public_key,
    public_octets,
    sign,
    unwrap_key,
    wrap_key,
)
from headend.protocols.dlms.security.policy import Policy, check_protection, policy_number, policy_of
from headend.protocols.dlms.security.suite import SUITES, check_key

TITLE, OTHER = b"HDE00001", b"MTR00001"
KEYS = {16: GcmKey(bytes(range(16)), bytes(range(0xD0, 0xE0))), 32: GcmKey(bytes(range(32)), bytes(range(0xC0, 0xE0)))}
octets = st.binary(max_size=300)


# --- AES-GCM ---


@given(
    octets,
    octets,
    st.sampled_from([0x10, 0x20, 0x30]),
    st.sampled_from([(0, 16), (1, 16), (2, 32)]),
    st.integers(0, LAST),
)
def test_what_is_sealed_can_be_opened(
    plaintext: bytes, more: bytes, protection: int, suite: tuple[int, int], counter: int
) -> None:
    key, control = KEYS[suite[1]], protection | suite[0]
    sealed = key.seal(control, TITLE, counter, plaintext, more)
    assert len(sealed) <= len(plaintext) + OVERHEAD
    assert key.open(TITLE, sealed, more) == (control, counter, plaintext)


@given(octets, st.sampled_from([0x10, 0x30]), st.data())
def test_what_is_altered_is_not_released(plaintext: bytes, control: int, data: Any) -> None:
    key = KEYS[16]
    sealed = bytearray(key.seal(control, TITLE, 7, plaintext, b"more"))
    at = data.draw(st.integers(1, len(sealed) - 1))  # the control octet has tests of its own
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DecipherFailed):
        key.open(TITLE, bytes(sealed), b"more")


@pytest.mark.parametrize("control", [0x10, 0x30])
def test_what_is_authenticated_beside_the_content(control: int) -> None:
    sealed = KEYS[16].seal(control, TITLE, 7, b"content", b"more")
    for key, title, octets_, more in [
        (KEYS[16], OTHER, sealed, b"more"),
        (KEYS[16], TITLE, sealed, b"less"),
        (KEYS[16], TITLE, bytes((control | 1,)) + sealed[1:], b"more"),
        (KEYS[16], TITLE, bytes((control | 0x40,)) + sealed[1:], b"more"),
        (GcmKey(bytes(range(16)), bytes(16)), TITLE, sealed, b"more"),
        (GcmKey(bytes(16), bytes(range(0xD0, 0xE0))), TITLE, sealed, b"more"),
    ]:
        with pytest.raises(DecipherFailed):
            key.open(title, octets_, more)


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"\x30\x00\x00\x00",  # no whole counter
        b"\x30" + bytes(15),  # no whole tag
        b"\x10" + bytes(15),
        b"\x00" + bytes(30),  # nothing protected
        b"\xb0" + bytes(30),  # compressed
        b"\x32" + bytes(30),  # a suite with longer keys
        b"\x3f" + bytes(30),  # a suite that does not exist
    ],
)
def test_what_cannot_be_sealed_content(sealed: bytes) -> None:
    with pytest.raises(DecodeError):
        KEYS[16].open(TITLE, sealed)


def test_keys_do_not_show() -> None:
    for secret in (KEYS[16], HashAuthentication(Mechanism.HLS_MD5, b"\x01\x02\x03\x04secret")):
        assert "secret" not in repr(secret)
        assert "01020304" not in repr(secret)
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(secret, protocol=1)
    wrapped = ciphering.WrappedKey(0, b"secret")
    assert "secret" not in repr(wrapped)
    with pytest.raises(ConfigError, match="not 15") as caught:
        GcmKey(b"123456789012345")
    assert "12345678" not in str(caught.value)
    with pytest.raises(LocalProtocolError):
        KEYS[16].seal(0x00, TITLE, 1, b"")


def test_suites() -> None:
    assert check_key(SUITES[0], bytes(16), "ek") == bytes(16)
    with pytest.raises(ConfigError, match="ek of security suite 2: 32 octets, not 16"):
        check_key(SUITES[2], bytes(16), "ek")
    assert [(suite.key_length, suite.scalar_length) for suite in SUITES] == [(16, 32), (16, 32), (32, 48)]


# --- APDUs that carry others ---


@given(octets, st.sampled_from(sorted(ciphering.PLAIN_OF_GLOBAL | ciphering.PLAIN_OF_DEDICATED)))
def test_service_specific_apdus(content: bytes, tag: int) -> None:
    apdu = ciphering.encode_service(tag, content)
    assert apdu[0] == tag
    assert ciphering.decode_service(apdu) == content
    with pytest.raises(DecodeError):
        ciphering.decode_service(apdu + b"\x00")
    with pytest.raises(DecodeError):
        ciphering.decode_service(apdu[:-1])


@pytest.mark.parametrize("length", [0, 127, 128, 255, 256, 70_000])
def test_lengths(length: int) -> None:
    assert ciphering.decode_service(ciphering.encode_service(0xC8, bytes(length))) == bytes(length)
    for wrong in (b"\xc8", b"\xc8\x01", b"\xc8\x00\x00"):
        with pytest.raises(DecodeError):
            ciphering.decode_service(wrong)


def test_titles() -> None:
    with pytest.raises(DecodeError, match="system title"):
        ciphering.decode_general(b"\xdb\x07" + bytes(7) + b"\x00")


def test_tags() -> None:
    """A few of IEC 62056-5-3, 7.3.13, and that no two are the same."""
    assert (ciphering.GLOBAL[0xC0], ciphering.GLOBAL[0xC7], ciphering.GLOBAL[0x01], ciphering.GLOBAL[0x08]) == (
        *(200, 207),
        *(33, 40),
    )
    assert (ciphering.DEDICATED[0xC0], ciphering.DEDICATED[0xC7], ciphering.DEDICATED[0x01]) == (208, 215, 65)
    every = [*ciphering.GLOBAL, *ciphering.GLOBAL.values(), *ciphering.DEDICATED.values()]
    assert len(set(every)) == len(every) == 48


@given(octets, st.sampled_from([b"", TITLE]))
def test_general_apdus(content: bytes, title: bytes) -> None:
    apdu = ciphering.encode_general(ciphering.GENERAL_GLOBAL, title, content)
    assert ciphering.decode_general(apdu) == (title, content)
    for wrong in (apdu[:-1], apdu + b"\x00", b"\xdb", b"\xdb\x07" + bytes(9)):
        with pytest.raises(DecodeError):
            ciphering.decode_general(wrong)


KEY_INFORMATION = st.one_of(
    st.none(),
    st.builds(ciphering.IdentifiedKey, st.integers(0, 255)),
    st.builds(ciphering.WrappedKey, st.integers(0, 255), octets),
    st.builds(ciphering.AgreedKey, octets, octets),
)
HEADERS = st.builds(
    ciphering.Header, transaction_id=octets, originator=octets, recipient=octets, date_time=octets, other=octets
)


@given(HEADERS, KEY_INFORMATION, octets)
def test_general_ciphering(header: ciphering.Header, key: Any, sealed: bytes) -> None:
    made = ciphering.GeneralCiphering(header=header, key=key, sealed=sealed)
    apdu = made.encode()
    assert ciphering.decode_general_ciphering(Reader(apdu, 1)) == made
    for wrong in (apdu[:-1], apdu + b"\x00"):
        with pytest.raises(DecodeError):
            ciphering.decode_general_ciphering(Reader(wrong, 1))


def test_key_information_of_another_kind() -> None:
    with pytest.raises(DecodeError, match="key information"):
        ciphering.decode_general_ciphering(Reader(b"\xdd" + bytes(5) + b"\x01\x03\x00\x00", 1))


@given(HEADERS, octets)
def test_general_signing(header: ciphering.Header, content: bytes) -> None:
    own = private_key(SUITES[1], bytes(31) + b"\x05")
    unsigned = ciphering.GeneralSigning(header=header, content=content)
    signature = sign(SUITES[1], own, unsigned.signed)
    made = ciphering.GeneralSigning(header=header, content=content, signature=signature)
    apdu = made.encode()
    assert ciphering.decode_general_signing(Reader(apdu, 1)) == made
    assert is_signed(SUITES[1], own.public_key(), made.signed, made.signature)
    with pytest.raises(DecodeError):
        ciphering.decode_general_signing(Reader(apdu + b"\x00", 1))


@given(st.binary(max_size=60))
def test_decoders_refuse_in_their_own_words(noise: bytes) -> None:
    for decode in (
        lambda: ciphering.decode_service(b"\xc8" + noise),
        lambda: ciphering.decode_general(b"\xdb" + noise),
        lambda: ciphering.decode_general_ciphering(Reader(noise)),
        lambda: ciphering.decode_general_signing(Reader(noise)),
        lambda: KEYS[16].open(TITLE, noise),
    ):
        with contextlib.suppress(RemoteProtocolError, SecurityError):
            decode()


# --- counters and policies ---


def test_own_counters_never_repeat() -> None:
    store = MemoryCounters()
    assert store.load("m") is None
    own = OwnCounter(store, "m")
    assert [own.take() for _ in range(3)] == [0, 1, 2]
    assert store.load("m") == BLOCK
    again = OwnCounter(store, "m")  # as after a crash
    assert again.take() == BLOCK
    again.raise_to(5000)
    again.raise_to(10)
    assert again.take() == 5000
    assert store.load("m") == 5000 + BLOCK
    assert store.reserve("m", 3, 1) == 5000 + BLOCK
    assert OwnCounter(store, "other").take() == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["take", "raise", "reserve", "begin"]), st.integers(0, 2000)))
)
def test_own_counters_of_one_name_never_meet(steps: list[tuple[int, str, int]]) -> None:
    """Two sessions under one key with one counter would give both messages away, however blocks are reserved ahead."""
    store = MemoryCounters()
    owners = [OwnCounter(store, "m") for _ in range(3)]
    ahead: list[list[int]] = [[], [], []]
    taken: list[list[int]] = [[], [], []]
    for who, act, number in steps:
        own = owners[who]
        if act == "raise":
            own.raise_to(number)
        elif act == "reserve":
            ahead[who].append(own.reserve())
        elif act == "begin" and ahead[who]:
            own.begin(ahead[who].pop(number % len(ahead[who])))
        else:
            taken[who] += [own.take() for _ in range(100)]
    assert all(each == sorted(each) for each in taken)
    everything = [counter for each in taken for counter in each]
    assert len(set(everything)) == len(everything)


def test_the_end_of_a_counter() -> None:
    store = MemoryCounters()
    store.reserve("m", LAST - 1, 1)  # as after years of messages
    own = OwnCounter(store, "m")
    assert own.take() == LAST
    for counter in (own, own, OwnCounter(store, "m")):
        with pytest.raises(SecurityError, match="come to its end"):
            counter.take()


@pytest.mark.parametrize("claim", [HIGHEST_CLAIM + 2, LAST, LAST + 1])
def test_a_claim_that_would_use_up_the_key_is_not_believed(claim: int) -> None:
    """What a meter says of the counter that it expects is not authenticated: one forged answer would end a key."""
    store = MemoryCounters()
    own = OwnCounter(store, "m")
    own.raise_to(HIGHEST_CLAIM)
    assert own.take() == HIGHEST_CLAIM
    with pytest.raises(SecurityError, match="not believed") as refused:
        own.raise_to(claim)
    assert "change its keys" in refused.value.hint
    assert own.take() == HIGHEST_CLAIM + 1
    assert store.load("m") == HIGHEST_CLAIM + BLOCK


def test_our_own_counter_may_pass_what_claims_may_not() -> None:
    store = MemoryCounters()
    store.reserve("m", HIGHEST_CLAIM, BLOCK)
    own = OwnCounter(store, "m")
    own.raise_to(HIGHEST_CLAIM + 10)  # no news: nothing to believe
    assert own.take() == HIGHEST_CLAIM + BLOCK


def test_received_counters_grow() -> None:
    received = ReceivedCounter()
    received.accept(0)
    received.accept(9)
    for old in (9, 8, 0):
        with pytest.raises(ReplayDetected):
            received.accept(old)
    assert received.last == 9


def test_policies() -> None:
    assert [policy_of(number) for number in range(4)] == [(0, 0), (0x10, 0x10), (0x20, 0x20), (0x30, 0x30)]
    assert policy_of(0x04) == Policy(request=0x10, response=0)
    assert policy_of(0x40) == Policy(request=0, response=0x20)
    assert policy_of(0x6C) == Policy(request=0x30, response=0x30)
    for number in (5, 256, -1):
        with pytest.raises(ConfigError):
            policy_of(number)
    assert policy_of(0x10) == Policy(request=SIGNED, response=0)
    assert policy_of(0xFC) == Policy(request=0x30 | SIGNED, response=0x30 | SIGNED)
    for number in (0, 4, 0x10, 0x6C, 0xFC):
        assert policy_number(policy_of(number), 1) == number
    assert [policy_number(policy_of(number), 0) for number in range(4)] == [0, 1, 2, 3]
    for number in (4, 0x90):
        with pytest.raises(CapabilityError):
            policy_number(policy_of(number), 0)
    check_protection(0x10, 0x30)
    with pytest.raises(DecipherFailed, match="not authenticated and encrypted"):
        check_protection(0x30, 0x00)
    with pytest.raises(DecipherFailed, match="not encrypted"):
        check_protection(0x30, 0x10)
    with pytest.raises(DecipherFailed, match="not signed"):
        check_protection(SIGNED, 0)


# --- keys ---


def test_wrapped_keys() -> None:
    wrapped = wrap_key(bytes(16), bytes(32))
    with pytest.raises(DecipherFailed):
        unwrap_key(bytes(15) + b"\x01", wrapped)
    with pytest.raises(DecipherFailed):
        unwrap_key(bytes(16), wrapped[:-1])
    with pytest.raises(ConfigError):
        unwrap_key(bytes(15), wrapped)
    with pytest.raises(ConfigError):
        wrap_key(bytes(16), bytes(15))


@pytest.mark.parametrize("suite", SUITES, ids=["0", "1", "2"])
def test_both_sides_agree_on_a_key(suite: Any) -> None:
    mine = private_key(suite, (7).to_bytes(suite.scalar_length, "big"))
    yours = private_key(suite, (11).to_bytes(suite.scalar_length, "big"))
    a = agree(suite, mine, public_key(suite, public_octets(yours)), TITLE, OTHER)
    b = agree(suite, yours, public_key(suite, public_octets(mine)), TITLE, OTHER)
    assert a == b
    assert len(a) == suite.key_length
    assert a != agree(suite, mine, public_key(suite, public_octets(yours)), OTHER, TITLE)


def test_numbers_and_points_that_are_no_keys() -> None:
    for scalar in (bytes(31), bytes(32), b"\xff" * 32):
        with pytest.raises(ConfigError):
            private_key(SUITES[1], scalar)
    for point in (bytes(63), bytes(63) + b"\x01"):
        with pytest.raises(DecodeError):
            public_key(SUITES[1], point)
    own = private_key(SUITES[1], bytes(31) + b"\x02")
    assert not is_signed(SUITES[1], own.public_key(), b"", bytes(63))
    assert not is_signed(SUITES[1], own.public_key(), b"", bytes(64))


# --- high level security ---

SAID = Said(TITLE, OTHER, b"client challenge", b"server challenge")
OWN, PEER = (private_key(SUITES[1], number.to_bytes(32, "big")) for number in (3, 4))


def ecdsa(role: Role) -> Authentication:
    own, peer = (OWN, PEER) if role is Role.CLIENT else (PEER, OWN)
    return EcdsaAuthentication(SUITES[1], own, peer.public_key())


def gmac() -> Authentication:
    return GmacAuthentication(SUITES[0], KEYS[16], OwnCounter(MemoryCounters(), ""))


PAIRS: dict[str, tuple[Authentication, Authentication]] = {
    "own": tuple(OwnAuthentication(b"k", lambda challenge, secret: challenge[::-1] + secret) for _ in range(2)),  # type: ignore[dict-item]
    "md5": tuple(HashAuthentication(Mechanism.HLS_MD5, b"secret") for _ in range(2)),  # type: ignore[dict-item]
    "sha1": tuple(HashAuthentication(Mechanism.HLS_SHA1, b"secret") for _ in range(2)),  # type: ignore[dict-item]
    "sha256": tuple(HashAuthentication(Mechanism.HLS_SHA256, b"secret") for _ in range(2)),  # type: ignore[dict-item]
    "gmac": (gmac(), gmac()),
    "ecdsa": (ecdsa(Role.CLIENT), ecdsa(Role.SERVER)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_sides_prove_themselves(name: str) -> None:
    client, server = PAIRS[name]
    request = pass_3(client, SAID, 0xC1)
    response = answer_pass_3(server, SAID, request)
    assert response.result is ActionResult.SUCCESS
    check_pass_4(client, SAID, response)
    # the proof of one side does not serve the other, nor another challenge
    mirrored = ActionResponseNormal(0xC1, ActionResult.SUCCESS, request.parameters)
    with pytest.raises(AuthenticationFailed, match="does not prove"):
        check_pass_4(client, SAID, mirrored)
    other = SAID._replace(client_challenge=b"another challenge", server_challenge=b"still another one")
    assert answer_pass_3(server, other, request).result is ActionResult.READ_WRITE_DENIED
    with pytest.raises(AuthenticationFailed):
        check_pass_4(client, other, response)


def test_known_hashes() -> None:
    """Recomputed with the openssl command: printf 'server challengesecret' | openssl md5, and so on."""
    said = SAID
    assert (
        HashAuthentication(Mechanism.HLS_MD5, b"secret").prove(Role.CLIENT, said).hex()
        == "1190cac5da1f68fd065736c671f3e258"
    )
    assert (
        HashAuthentication(Mechanism.HLS_SHA1, b"secret").prove(Role.CLIENT, said).hex()
        == "2ab8411677e722cd5570db541ac0bac5c366aaeb"
    )
    assert HashAuthentication(Mechanism.HLS_SHA256, b"secret").prove(Role.CLIENT, said).hex() == (
        "0ea995e9a557d3a15e5d06294f2bdf498f254b3eff017c437e3dae825d8fbfa4"
    )
    with pytest.raises(ConfigError):
        HashAuthentication(Mechanism.HLS_GMAC, b"secret")


@pytest.mark.parametrize(
    ("said", "mechanism"),
    [
        (SAID._replace(client_challenge=b"short"), Mechanism.HLS_MD5),
        (SAID._replace(server_challenge=bytes(65)), Mechanism.HLS_MD5),
        (SAID._replace(server_challenge=SAID.client_challenge), Mechanism.HLS_MD5),
        (SAID._replace(server_title=b""), Mechanism.HLS_SHA256),
        (SAID._replace(client_title=b"short"), Mechanism.HLS_SHA256),
    ],
)
def test_challenges_that_prove_nothing(said: Said, mechanism: Mechanism) -> None:
    authentication = HashAuthentication(mechanism, b"secret")
    with pytest.raises(AuthenticationFailed):
        pass_3(authentication, said, 0xC1)
    request = pass_3(authentication, SAID, 0xC1)
    assert answer_pass_3(authentication, said, request).result is ActionResult.READ_WRITE_DENIED


@pytest.mark.parametrize("parameters", [None, b"\x09", b"\x09\x05ab", b"\x09\x01ab", b"\x12\x00\x01"])
@pytest.mark.parametrize("name", PAIRS)
def test_what_is_no_proof(name: str, parameters: bytes | None) -> None:
    client, server = PAIRS[name]
    request = ActionRequestNormal(0xC1, pass_3(client, SAID, 0xC1).method, parameters)
    assert answer_pass_3(server, SAID, request).result is ActionResult.READ_WRITE_DENIED
    with pytest.raises(AuthenticationFailed):
        check_pass_4(client, SAID, ActionResponseNormal(0xC1, ActionResult.SUCCESS, parameters))


def test_a_meter_that_refuses() -> None:
    client, _ = PAIRS["gmac"]
    with pytest.raises(AuthenticationFailed, match="refuses our proof"):
        check_pass_4(client, SAID, ActionResponseNormal(0xC1, ActionResult.READ_WRITE_DENIED))
    refused = ActionResponseNormal(0xC1, ActionResult.SUCCESS, DataAccessResult.OTHER_REASON)
    with pytest.raises(AuthenticationFailed, match="does not prove"):
        check_pass_4(client, SAID, refused)

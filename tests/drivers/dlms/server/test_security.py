"""A virtual meter with keys: all mechanisms, suites and kinds of ciphering, and everybody else refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.manufacturer import hls_function, register_hls
from headend.errors import (
    AuthenticationFailed,
    CapabilityError,
    ConfigError,
    DecipherFailed,
    HeadendError,
    KeyMissing,
    ReplayDetected,
    SecurityError,
)
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.protocols.dlms.security.keys import private_key, public_octets
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.wrapper import wrap
from headend.transport.memory import memory_pair

Open = Callable[..., Awaitable[DlmsSession]]

TITLE = "4844450000000007"
GET_ENERGY = "c001c100030100010800ff0200"
ENERGY = "c401c1000600bc5ea8"
LOST = "d80101"
DECIPHERING = "d80105"


def keys_of(suite: int) -> dict[str, bytes]:
    length = SUITES[suite].key_length
    return {"ek": bytes(range(length)), "ak": bytes(range(0xC0, 0xC0 + length))}


def key_pairs(suite: int) -> tuple[dict[str, bytes], str]:
    """Private keys of both sides, and the public one of the meter."""
    length = SUITES[suite].scalar_length
    scalars = {"secret": bytes(length - 1) + b"\x07", "meter_secret": bytes(length - 1) + b"\x09"}
    return scalars, public_octets(private_key(SUITES[suite], scalars["meter_secret"])).hex()


@pytest.fixture
async def open_session(make_meter: Any) -> AsyncIterator[Open]:
    """Joins a session to a meter with the same parameters and secrets, but for `others` that the head-end has wrong."""
    sessions: list[DlmsSession] = []

    async def make(
        secrets: dict[str, bytes],
        *,
        framing: str = "wrapper",
        others: dict[str, bytes] | None = None,
        meter: Any = None,
        own: DlmsDriver | None = None,
        meter_params: dict[str, str] | None = None,
        **params: str,
    ) -> DlmsSession:
        near, far = memory_pair()
        if meter is None:
            meter = make_meter(**{**params, **(meter_params or {})})
        meter.secrets = {name: Secret(octets) for name, octets in secrets.items()}
        driver.serve(far, meter)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params=params)
        ours = {name: Secret(octets) for name, octets in {**secrets, **(others or {})}.items()}
        try:
            session = await (own or DlmsDriver()).attach(near, known, meter.profile, ours)
        except BaseException:
            near.abort()
            raise
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        await session.aclose()


async def use(session: DlmsSession, profile: Any) -> None:
    """Read, write, invoke, and read the object list and a load profile."""
    for _ in range(2):
        found = await session.read(ReadPlan(entries=profile.objects))
        assert not found.errors
        assert found.values[:3] == [12_345_000, 2302, 4200]
    assert len(await session.objects()) > 10
    ref = profile.load_profiles[0].ref
    blocks = [block async for block in session.read_history(HistoryRequest(ref=ref))]
    assert sum(len(block.rows) for block in blocks) == 10
    write = Command(kind=CommandKind.WRITE, params={"ref": "1/0-0:96.50.0.255", "value": 42})
    invoke = Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.10.255/1"})
    for command in (write, invoke):
        assert (await session.execute(command)).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize("max_pdu", ["90", "65535"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general", "general-dedicated"])
async def test_every_suite_and_kind_of_ciphering(
    open_session: Open, profile: Any, framing: str, suite: int, ciphering: str, max_pdu: str
) -> None:
    session = await open_session(
        keys_of(suite), framing=framing, auth="gmac", suite=str(suite), ciphering=ciphering, max_pdu=max_pdu
    )
    await use(session, profile)


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("policy", ["0", "3"])
@pytest.mark.parametrize("auth", ["lls", "md5", "sha1", "gmac", "sha256", "ecdsa", "hls", "none"])
async def test_every_mechanism(open_session: Open, profile: Any, auth: str, policy: str, suite: int) -> None:
    register_hls("acme", lambda challenge, secret: hashlib.blake2s(challenge, key=secret).digest())
    scalars, meter_key = key_pairs(suite)
    secrets = keys_of(suite) | (scalars if auth == "ecdsa" else {"secret": b"12345678"})
    params = {"auth": auth, "policy": policy, "suite": str(suite), "meter_key": meter_key, "hls": "acme"}
    session = await open_session(secrets, **params)
    await use(session, profile)


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general", "general-dedicated"])
async def test_short_names_ciphered_and_in_blocks(
    open_session: Open, profile: Any, framing: str, suite: int, ciphering: str
) -> None:
    params = {"auth": "gmac", "suite": str(suite), "ciphering": ciphering, "max_pdu": "90", "ref": "sn"}
    await use(await open_session(keys_of(suite), framing=framing, **params), profile)


@pytest.mark.parametrize("auth", ["lls", "md5", "sha1", "gmac", "sha256", "ecdsa", "hls", "none"])
async def test_every_mechanism_by_short_names(open_session: Open, profile: Any, auth: str) -> None:
    register_hls("acme", lambda challenge, secret: hashlib.blake2s(challenge, key=secret).digest())
    scalars, meter_key = key_pairs(1)
    secrets = keys_of(1) | (scalars if auth == "ecdsa" else {"secret": b"12345678"})
    params = {"auth": auth, "suite": "1", "meter_key": meter_key, "hls": "acme", "ref": "sn"}
    await use(await open_session(secrets, **params), profile)
    if auth not in ("none", "gmac"):
        wrong = {"secret": bytes(31) + b"\x05" if auth == "ecdsa" else b"12345679"}
        with pytest.raises(AuthenticationFailed):
            await open_session(secrets, others=wrong, **params)


@pytest.mark.parametrize("policy", ["1", "2", "4", "8", "12", "32", "64", "96", "100", "108"])
async def test_policies_by_direction(open_session: Open, profile: Any, policy: str) -> None:
    await use(await open_session(keys_of(0), auth="gmac", policy=policy), profile)


async def test_ecdsa_with_the_public_key_of_a_client(open_session: Open, profile: Any) -> None:
    scalars, meter_key = key_pairs(0)
    client_key = public_octets(private_key(SUITES[0], scalars["secret"])).hex()
    params = {"auth": "ecdsa", "policy": "0", "meter_key": meter_key, "client_key": client_key}
    await use(await open_session(scalars, **params), profile)
    with pytest.raises(AuthenticationFailed, match="refuses our proof"):
        await open_session(scalars, others={"secret": bytes(31) + b"\x05"}, **params)


@pytest.mark.parametrize("auth", ["md5", "sha1", "sha256"])
async def test_a_wrong_password_is_refused_in_the_third_pass(open_session: Open, auth: str) -> None:
    with pytest.raises(AuthenticationFailed, match="refuses our proof"):
        await open_session({"secret": b"12345678"}, others={"secret": b"12345679"}, auth=auth)


@pytest.mark.parametrize("policy", ["0", "1", "2", "3"])
@pytest.mark.parametrize("wrong", ["ek", "ak"])
async def test_a_wrong_key_is_refused(open_session: Open, wrong: str, policy: str) -> None:
    with pytest.raises((AuthenticationFailed, DecipherFailed)) as caught:
        await open_session(keys_of(0), others={wrong: bytes(16)}, auth="gmac", policy=policy)
    assert isinstance(caught.value, SecurityError)


async def test_a_client_that_protects_less_than_the_policy_wants_is_refused(open_session: Open) -> None:
    for policy in ("0", "1", "2"):
        with pytest.raises(HeadendError) as caught:
            await open_session(keys_of(0), auth="gmac", policy=policy, meter_params={"policy": "3"})
        assert not caught.value.retryable
    # more than the policy is welcome, and answered in kind
    await open_session(keys_of(0), auth="gmac", policy="3", meter_params={"policy": "1"})


async def test_what_is_missing_or_wrong_is_said_at_once(open_session: Open) -> None:
    for secrets, params, error in (
        ({}, {"auth": "gmac"}, KeyMissing),
        ({}, {"auth": "md5"}, KeyMissing),
        (keys_of(0), {"auth": "ecdsa"}, KeyMissing),
        (keys_of(1), {"auth": "gmac", "suite": "2"}, ConfigError),
        ({"secret": b"x"}, {"auth": "hls", "hls": "nobody's"}, ConfigError),
        ({**keys_of(0), **key_pairs(0)[0]}, {"auth": "ecdsa", "client_key": "00"}, ConfigError),
        ({"secret": b"x"}, {"auth": "md5", "policy": "3"}, KeyMissing),
    ):
        with pytest.raises(error):
            await open_session(secrets, **params)


def general(suite: int) -> tuple[dict[str, bytes], dict[str, str]]:
    """Secrets and parameters for general-ciphering and general-signing."""
    known = SUITES[suite]
    names = ("signing", "agreement", "meter_secret", "meter_agreement")
    scalars = {name: number.to_bytes(known.scalar_length, "big") for number, name in enumerate(names, 3)}
    points = {name: public_octets(private_key(known, scalar)).hex() for name, scalar in scalars.items()}
    secrets = {**keys_of(suite), **scalars, "mk": bytes(range(0x80, 0x80 + known.key_length))}
    return secrets, {"meter_key": points["meter_secret"], "meter_agree_key": points["meter_agreement"]}


@pytest.mark.parametrize("max_pdu", ["700", "65535"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("policy", ["3", "252"])
@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("key_info", ["identified", "wrapped", "one-pass", "static"])
async def test_general_ciphering_and_signing(
    open_session: Open, profile: Any, key_info: str, suite: int, policy: str, framing: str, max_pdu: str
) -> None:
    secrets, params = general(suite)
    params |= {"auth": "gmac", "suite": str(suite), "ciphering": "general-ciphering", "key_info": key_info}
    params |= {"policy": policy, "max_pdu": max_pdu}
    if not suite and (key_info in ("one-pass", "static") or policy == "252"):
        with pytest.raises(ConfigError, match="suite 0"):
            await open_session(secrets, framing=framing, **params)
        return
    await use(await open_session(secrets, framing=framing, **params), profile)


@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general", "general-dedicated"])
@pytest.mark.parametrize("auth", ["gmac", "ecdsa", "sha256"])
async def test_signatures_with_every_kind_of_ciphering(
    open_session: Open, profile: Any, auth: str, ciphering: str
) -> None:
    secrets, params = general(1)
    secrets["secret"] = secrets.pop("signing") if auth == "ecdsa" else b"12345678"
    params |= {"auth": auth, "suite": "1", "ciphering": ciphering, "policy": "252"}
    if auth != "ecdsa":
        secrets["signing"] = general(1)[0]["signing"]
    await use(await open_session(secrets, **params), profile)


async def test_keys_of_the_other_side_given_in_parameters(open_session: Open, profile: Any) -> None:
    """The meter is told public keys of the client, as a real one is, and not its secrets."""
    secrets, params = general(1)
    points = {name: public_octets(private_key(SUITES[1], secrets[name])).hex() for name in ("signing", "agreement")}
    params |= {"auth": "gmac", "suite": "1", "ciphering": "general-ciphering", "key_info": "one-pass", "policy": "252"}
    ours = {name: secrets.pop(name) for name in ("signing", "agreement")}
    told = {"client_key": points["signing"], "client_agree_key": points["agreement"]}
    await use(await open_session(secrets, others=ours, meter_params=told, **params), profile)
    somebody = {**ours, "signing": bytes(31) + b"\x55"}
    with pytest.raises(SecurityError):
        await open_session(secrets, others=somebody, meter_params=told, **params)


@pytest.mark.parametrize("missing", ["signing", "agreement", "mk", "meter_key", "meter_agree_key"])
async def test_keys_for_general_protection_that_are_missing(open_session: Open, missing: str) -> None:
    secrets, params = general(1)
    params |= {"auth": "gmac", "suite": "1", "ciphering": "general-ciphering", "policy": "252"}
    params["key_info"] = "wrapped" if missing == "mk" else "one-pass"
    ours = {name: octets for name, octets in secrets.items() if name != missing}
    params.pop(missing, None)
    with pytest.raises(KeyMissing):
        await open_session(ours, **params)


async def test_a_compressed_answer_is_named(open_session: Open, make_meter: Any) -> None:
    session = await open_session(keys_of(0), auth="gmac")
    conversation = session._conversation
    request = asyncio.ensure_future(session.read(ReadPlan(entries=make_meter().profile.objects[:1])))
    await asyncio.sleep(0)
    sealed = b"\xb0" + bytes(4) + bytes(20)
    conversation.data_received(wrap(b"\xcc" + bytes([len(sealed)]) + sealed, 1, 1))
    with pytest.raises(CapabilityError, match=r"V\.44"):
        await request
    assert not session.sound


async def test_a_compressed_request_is_refused(associated: Any, sealer: Sealer) -> None:
    good = bytes.fromhex(sealer.service(0xC8, GET_ENERGY))
    assert await associated.ask((good[:2] + b"\xb0" + good[3:]).hex()) == DECIPHERING
    assert (await associated.ask(good.hex())).startswith("cc")


def test_a_manufacturers_mechanism_that_nobody_knows() -> None:
    with pytest.raises(ConfigError, match="nobody has registered"):
        hls_function("unheard of")


async def test_the_meter_says_which_counter_it_expects(open_session: Open, make_meter: Any, profile: Any) -> None:
    """A head-end that has forgotten its counter, and does not ask for it, is told once and goes on."""
    meter = make_meter(auth="gmac")
    first = await open_session(keys_of(0), meter=meter, auth="gmac", counter="none")
    await use(first, profile)
    await first.aclose()
    await use(await open_session(keys_of(0), meter=meter, auth="gmac", counter="none"), profile)


# --- octet by octet, with nothing of ours on the head-end's side ---


class Sealer:
    """Suite 0 by hand."""

    def __init__(self) -> None:
        keys = keys_of(0)
        self.ek, self.ak = keys["ek"], keys["ak"]
        self.counter = 0

    def seal(self, apdu: str, counter: int | None = None, title: str = TITLE) -> bytes:
        self.counter += 1
        head = (self.counter if counter is None else counter).to_bytes(4, "big")
        sealed = AESGCM(self.ek).encrypt(bytes.fromhex(title) + head, bytes.fromhex(apdu), b"\x30" + self.ak)[:-4]
        return b"\x30" + head + sealed

    def service(self, tag: int, apdu: str, counter: int | None = None) -> str:
        sealed = self.seal(apdu, counter)
        return (bytes((tag, len(sealed))) + sealed).hex()

    def aarq(self, counter: int | None = None, mechanism: int = 1, value: str = "3132333435363738") -> str:
        initiate = self.service(0x21, "01000000065f1f0400407e1fffff", counter)
        content = (
            "a109060760857405080103"
            f"a60a0408{TITLE}"
            f"8a0207808b07608574050802{mechanism:02x}ac{len(value) // 2 + 2:02x}80{len(value) // 2:02x}{value}"
            f"be{len(initiate) // 2 + 2:02x}04{len(initiate) // 2:02x}{initiate}"
        )
        return f"60{len(content) // 2:02x}{content}"

    def open(self, answer: str, title: bytes) -> str:
        octets = bytes.fromhex(answer)[2:]
        assert octets[0] == 0x30
        counted = AESGCM(self.ek).encrypt(title + octets[1:5], octets[5:-12], None)[:-16]
        assert AESGCM(self.ek).encrypt(title + octets[1:5], counted, b"\x30" + self.ak)[:-4] == octets[5:]
        return counted.hex()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer()


@pytest.fixture
def secured(make_meter: Any) -> Any:
    meter = make_meter()
    meter.secrets = {"secret": Secret(b"12345678"), **{name: Secret(key) for name, key in keys_of(0).items()}}
    return meter


@pytest.fixture
async def associated(secured: Any, connect: Any, sealer: Sealer) -> Any:
    head_end = connect(secured)
    aare = await head_end.ask(sealer.aarq())
    assert aare.startswith("6148a109060760857405080103a203020100a305a103020100a40a0408")
    return head_end


METER_TITLE = b"ACM\x00\x00\x00\x00\x01"


async def test_requests_and_answers_by_hand(associated: Any, sealer: Sealer) -> None:
    for _ in range(2):
        answer = await associated.ask(sealer.service(0xC8, GET_ENERGY))
        assert answer.startswith("cc")
        assert sealer.open(answer, METER_TITLE) == ENERGY
    general = sealer.seal(GET_ENERGY)
    answer = await associated.ask(f"db08{TITLE}{len(general):02x}{general.hex()}")
    assert answer.startswith("db0841434d0000000001")
    assert sealer.open(answer[18:], METER_TITLE) == ENERGY


async def test_counters_that_are_stale_or_replayed_are_refused(associated: Any, sealer: Sealer) -> None:
    request = sealer.service(0xC8, GET_ENERGY)
    assert (await associated.ask(request)).startswith("cc")
    assert await associated.ask(request) == "d8010600000003"
    assert await associated.ask(sealer.service(0xC8, GET_ENERGY, 1)) == "d8010600000003"
    assert (await associated.ask(sealer.service(0xC8, GET_ENERGY, 3))).startswith("cc")
    # over associations too
    sealer.counter = 0
    assert await associated.ask(sealer.aarq()) == "d8010600000004"
    assert await associated.ask(sealer.service(0xC8, GET_ENERGY, 9)) == LOST
    assert (await associated.ask(sealer.aarq(4))).startswith("61")


async def test_what_does_not_decipher_is_refused(associated: Any, sealer: Sealer) -> None:
    good = bytes.fromhex(sealer.service(0xC8, GET_ENERGY))
    for at in (7, len(good) - 1):  # content, tag
        bad = bytearray(good)
        bad[at] ^= 1
        assert await associated.ask(bad.hex()) == DECIPHERING
    wrong_title = sealer.seal(GET_ENERGY, title="4844450000000008")
    assert await associated.ask(f"c8{len(wrong_title):02x}{wrong_title.hex()}") == DECIPHERING
    assert await associated.ask(f"db084844450000000008{len(wrong_title):02x}{wrong_title.hex()}") == DECIPHERING
    assert await associated.ask(sealer.service(0xD0, GET_ENERGY)) == DECIPHERING  # there is no dedicated key
    assert await associated.ask(GET_ENERGY) == DECIPHERING  # plain, against the policy
    assert (await associated.ask(good.hex())).startswith("cc")  # nothing of it has used up the counter


async def test_a_plain_context_under_a_policy_is_refused(secured: Any, connect: Any, aarq_lls: str) -> None:
    head_end = connect(secured)
    assert (await head_end.ask(aarq_lls)).endswith("a305a103020102")  # application context not supported
    assert await head_end.ask(GET_ENERGY) == LOST


async def test_a_ciphered_association_with_the_wrong_password(secured: Any, connect: Any, sealer: Sealer) -> None:
    head_end = connect(secured)
    assert (await head_end.ask(sealer.aarq(value="3132333435363739"))).endswith("a305a10302010d")
    assert await head_end.ask(sealer.service(0xC8, GET_ENERGY)) == LOST


# --- high level security, before the proof ---


def md5(octets: bytes) -> str:
    return hashlib.md5(octets).hexdigest()  # noqa: S324 - that is what the mechanism uses


def aarq_md5(challenge: bytes) -> str:
    length = len(challenge)
    content = (
        "a109060760857405080101"
        f"8a0207808b0760857405080203ac{length + 2:02x}80{length:02x}{challenge.hex()}"
        "be10040e01000000065f1f0400007e1fffff"
    )
    return f"60{len(content) // 2:02x}{content}"


@pytest.fixture
async def challenged(make_meter: Any, connect: Any) -> Any:
    meter = make_meter(auth="md5")
    return connect(meter)


async def test_only_the_proof_is_taken_until_it_is_given(challenged: Any) -> None:
    aare = bytes.fromhex(await challenged.ask(aarq_md5(b"challenge")))
    at = aare.index(b"\xaa\x12\x80\x10") + 4
    challenge = aare[at : at + 16]
    assert b"\xa3\x05\xa1\x03\x02\x01\x0e" in aare  # authentication required
    for request in (GET_ENERGY, "c101c100010000603200ff02000600000001", "c301c10046000060030aff01010f00"):
        assert await challenged.ask(request) == LOST
    proof = md5(challenge + b"12345678")
    ours = md5(b"challenge" + b"12345678")
    assert await challenged.ask(f"c301c1000f0000280000ff01010910{proof}") == f"c701c1000100 0910{ours}".replace(" ", "")
    assert await challenged.ask(GET_ENERGY) == ENERGY
    # a proof is not taken twice
    assert (await challenged.ask(f"c301c1000f0000280000ff01010910{proof}")).startswith("c701c1")
    assert await challenged.ask("6203800100") == "6303800100"
    assert await challenged.ask(f"c301c1000f0000280000ff01010910{proof}") == LOST


async def test_one_proof_for_each_challenge(challenged: Any) -> None:
    aare = bytes.fromhex(await challenged.ask(aarq_md5(b"challenge")))
    at = aare.index(b"\xaa\x12\x80\x10") + 4
    assert await challenged.ask(f"c301c1000f0000280000ff01010910{bytes(16).hex()}") == "c701c10300"
    proof = md5(aare[at : at + 16] + b"12345678")
    assert await challenged.ask(f"c301c1000f0000280000ff01010910{proof}") == LOST
    again = bytes.fromhex(await challenged.ask(aarq_md5(b"challenge")))
    assert again[at : at + 16] != aare[at : at + 16]


@pytest.mark.parametrize("challenge", [b"", b"7 octet", bytes(65)])
async def test_challenges_that_prove_nothing_are_refused(challenged: Any, challenge: bytes) -> None:
    assert (await challenged.ask(aarq_md5(challenge))).endswith("a305a10302010d")


async def test_a_mirrored_challenge_proves_nothing(challenged: Any) -> None:
    """The proof for the meter's challenge is not to be had from the meter itself."""
    aare = bytes.fromhex(await challenged.ask(aarq_md5(b"challenge")))
    at = aare.index(b"\xaa\x12\x80\x10") + 4
    other = await challenged.ask(aarq_md5(aare[at : at + 16]))
    assert other.startswith("61")
    assert await challenged.ask(f"c301c1000f0000280000ff01010910{bytes(16).hex()}") == "c701c10300"


async def test_titles_that_a_mechanism_needs(make_meter: Any, connect: Any) -> None:
    head_end = connect(make_meter(auth="sha256"))
    aarq = aarq_md5(b"challenge").replace("0760857405080203", "0760857405080206")
    assert (await head_end.ask(aarq)).endswith("a305a103020103")


def test_nothing_shows_a_key(secured: Any) -> None:
    from headend.drivers.dlms.meter_clients import Client  # noqa: PLC0415 - only here
    from headend.drivers.dlms.meter_security import setup_of  # noqa: PLC0415 - only here

    setup = setup_of(secured, Client(1))
    shown = repr(setup) + repr(setup and setup.secrets) + repr(setup and setup.keys)
    for octets in keys_of(0).values():
        assert octets.hex() not in shown
        assert repr(octets)[2:-1] not in shown


def test_a_secret_of_another_length_leaves_the_keys_as_they_were(secured: Any) -> None:
    from headend.drivers.dlms.meter_clients import Client  # noqa: PLC0415 - only here
    from headend.drivers.dlms.meter_security import setup_of  # noqa: PLC0415 - only here

    setup = setup_of(secured, Client(1))
    assert setup is not None
    before = setup.keys
    with pytest.raises(ConfigError):
        setup.change({"ek": Secret(b"short")})
    assert setup.keys is before
    setup.change({"ek": Secret(bytes(16))})
    assert setup.keys is not before


async def test_replays_in_a_session_of_ours(open_session: Open, make_meter: Any) -> None:
    meter = make_meter(auth="gmac")
    await open_session(keys_of(0), meter=meter, auth="gmac", counter="none", ciphering="dedicated")
    meter.keyring[1].keys.received.last = 0xFFFFFFFF
    with pytest.raises((ReplayDetected, SecurityError)):
        await open_session(keys_of(0), meter=meter, auth="gmac", counter="none")

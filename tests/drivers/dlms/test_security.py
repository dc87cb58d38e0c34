"""Sessions with high level security and ciphering against a meter that proves itself, or does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.parameters import check_params
from headend.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConfigError,
    DecipherFailed,
    DecodeError,
    HeadendError,
    KeyMissing,
    RemoteProtocolError,
    ReplayDetected,
    SecurityError,
    ServiceRefused,
)
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan
from headend.protocols.base import Role
from headend.protocols.dlms.acse import ApplicationContext, Mechanism
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNextPblock, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ExceptionResponse
from headend.protocols.dlms.apdu.get import GetResponseNormal
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import InitiateResponse
from headend.protocols.dlms.security.authentication import (
    Authentication,
    EcdsaAuthentication,
    GmacAuthentication,
    HashAuthentication,
    Said,
    answer_pass_3,
)
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.keys import private_key, public_octets
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.wrapper import wrap
from headend.storage.counters import CounterFile
from headend.transport.memory import memory_pair

from .conftest import EVERYTHING, ScriptedMeter

TITLE = b"MTR00001"
ENERGY, COUNTER = "3/1-0:1.8.0.255/2", "1/0-0:43.1.0.255/2"
EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
KEYS = {"ek": EK, "ak": AK}
SCALAR, METER_SCALAR = bytes(31) + b"\x07", bytes(31) + b"\x09"
METER_KEY = public_octets(private_key(SUITES[0], METER_SCALAR)).hex()
Connect = Callable[..., Awaitable[tuple[DlmsSession, "SecuredMeter"]]]


class SecuredMeter(ScriptedMeter):
    """Answers associations with a challenge, and the third pass with the fourth."""

    def secure(self, authentication: Authentication | None, policy: int) -> None:
        self.authentication = authentication
        self.conformance = EVERYTHING
        self.data = {ENERGY: b"\x06\x00\x00\x00\x2a", COUNTER: b"\x06\x00\x00\x03\xe8"}
        self.said = Said(b"", TITLE, b"", b"challenge of the meter")
        self.requests: list[AssociationRequest] = []
        self.sent, self.received = OwnCounter(MemoryCounters(), ""), ReceivedCounter()
        if policy:
            protection = Ciphering(
                Role.SERVER,
                SUITES[0],
                policy_of(policy),
                key=GcmKey(EK, AK),
                system_title=TITLE,
                sent=self.sent,
                received=self.received,
            )
            self.connection = DlmsConnection(Role.SERVER, self.framing, protection=protection)

    def answer(self, event: Any) -> Any:
        if isinstance(event, AssociationRequest):
            self.requests.append(event)
            self.said = self.said._replace(client_title=event.system_title, client_challenge=event.authentication_value)
            return AssociationResponse(
                initiate=InitiateResponse(conformance=self.conformance),
                application_context=event.application_context,
                mechanism=event.mechanism,
                authentication_value=self.said.server_challenge if event.mechanism else b"",
                system_title=TITLE,
            )
        if isinstance(event, ActionRequestNormal) and self.authentication is not None:
            return answer_pass_3(self.authentication, self.said, event)
        return super().answer(event)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    sessions: list[DlmsSession] = []

    async def make(
        authentication: Authentication | None = None,
        *,
        policy: int = 0,
        script: Callable[[SecuredMeter, Any], Any] | None = None,
        own: DlmsDriver | None = None,
        secrets: dict[str, bytes] | None = None,
        meter_id: str = "m",
        **params: str,
    ) -> tuple[DlmsSession, SecuredMeter]:
        near, far = memory_pair()
        scripted = SecuredMeter(far, "wrapper")
        scripted.secure(authentication, policy)
        if script is not None:
            scripted.script = lambda event: script(scripted, event)
        meter = Meter(
            id=meter_id,
            protocol="dlms",
            framing="wrapper",
            endpoint=Endpoint(kind=EndpointKind.MEMORY, host="memory"),
            params={"client": "1"} | {name.rstrip("_"): value for name, value in params.items()},
        )
        known = {name: Secret(octets) for name, octets in (secrets or {}).items()}
        try:
            session = await (own or DlmsDriver()).attach(near, meter, None, known)
        except BaseException:
            near.abort()
            raise
        sessions.append(session)
        return session, scripted

    yield make
    for session in sessions:
        await session.aclose()


def gmac() -> GmacAuthentication:
    return GmacAuthentication(SUITES[0], GcmKey(EK, AK), OwnCounter(MemoryCounters(), ""))


async def energy(session: DlmsSession) -> Any:
    refs = tuple(ObjectEntry(ref=DlmsDriver().parse_ref(ref), scaler=0) for ref in (ENERGY, ENERGY))
    result = await session.read(ReadPlan(entries=refs[:1]))
    return result.values[0] if not result.errors else result.errors[0]


@pytest.mark.parametrize("policy", [0, 3])
@pytest.mark.parametrize("auth", ["md5", "sha1", "sha256", "ecdsa", "gmac"])
async def test_every_mechanism(connect: Connect, auth: str, policy: int) -> None:
    own, peer = (private_key(SUITES[0], scalar) for scalar in (METER_SCALAR, SCALAR))
    known: dict[str, Authentication] = {
        "md5": HashAuthentication(Mechanism.HLS_MD5, b"secret"),
        "sha1": HashAuthentication(Mechanism.HLS_SHA1, b"secret"),
        "sha256": HashAuthentication(Mechanism.HLS_SHA256, b"secret"),
        "ecdsa": EcdsaAuthentication(SUITES[0], own, peer.public_key()),
        "gmac": gmac(),
    }
    session, meter = await connect(
        known[auth],
        policy=policy,
        auth=auth,
        policy_=str(policy),
        secrets={"secret": SCALAR if auth == "ecdsa" else b"secret", **KEYS},
        counter="none",
        meter_key=METER_KEY,
    )
    assert await energy(session) == 42
    (request,) = meter.requests
    assert request.application_context == (ApplicationContext.LN_CIPHERED if policy else ApplicationContext.LN)
    assert len(request.authentication_value) == 16
    assert request.system_title == b"HDE\x00\x00\x00\x00\x01"


async def test_a_meter_that_does_not_prove_itself(connect: Connect) -> None:
    ours = HashAuthentication(Mechanism.HLS_MD5, b"secret")

    def lie(_meter: SecuredMeter, event: Any) -> Any:
        if isinstance(event, ActionRequestNormal):
            return [ActionResponseNormal(event.invoke_id_and_priority, ActionResult.SUCCESS, b"\x09\x01x")]
        return None

    def confuse(_meter: SecuredMeter, event: Any) -> Any:
        return [ActionResponseNextPblock(event.invoke_id_and_priority, 1)] if hasattr(event, "method") else None

    secrets = {"secret": b"secret"}
    with pytest.raises(AuthenticationFailed, match="does not prove"):
        await connect(ours, script=lie, auth="md5", secrets=secrets)
    with pytest.raises(RemoteProtocolError):
        await connect(ours, script=confuse, auth="md5", secrets=secrets)
    with pytest.raises(AuthenticationFailed, match="refuses our proof"):
        await connect(ours, auth="md5", secrets={"secret": b"other"})


async def test_the_counter_is_asked_once_and_kept(connect: Connect) -> None:
    own = DlmsDriver()
    for _ in range(2):
        session, meter = await connect(gmac(), auth="gmac", policy_="0", secrets=KEYS, own=own)
        assert await energy(session) == 42
        await session.aclose()
    assert [request.mechanism for request in meter.requests] == [Mechanism.HLS_GMAC]  # nobody else the second time
    _, sent = own.counters.sent(Secret(EK), bytes.fromhex("4844450000000001"))
    assert sent.next > 1001


@pytest.mark.parametrize(
    ("value", "error"),
    [(b"\x09\x01x", DecodeError), (b"\x03\x01", DecodeError), (DataAccessResult.READ_WRITE_DENIED, AccessDenied)],
)
async def test_a_counter_that_is_not_told(connect: Connect, value: Any, error: type[HeadendError]) -> None:
    def script(_meter: SecuredMeter, event: Any) -> Any:
        return [GetResponseNormal(event.invoke_id_and_priority, value)] if hasattr(event, "attribute") else None

    with pytest.raises(error):
        await connect(gmac(), auth="gmac", policy_="0", secrets=KEYS, script=script)


async def test_a_meter_that_names_the_counter_it_expects(connect: Connect) -> None:
    refused = []

    def once(_meter: SecuredMeter, event: Any) -> Any:
        if isinstance(event, AssociationRequest) and not refused:
            refused.append(event)
            return [ExceptionResponse(1, 6, 5000)]
        return None

    own = DlmsDriver()
    session, meter = await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=once, own=own, counter="none")
    assert await energy(session) == 42
    assert meter.received.last >= 5000

    def always(_meter: SecuredMeter, event: Any) -> Any:
        return [ExceptionResponse(1, 6, 5)] if isinstance(event, AssociationRequest) else None

    with pytest.raises(ReplayDetected, match="expects 5"):
        await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=always, counter="none")


@pytest.mark.parametrize("claim", [0xF0000001, 0xFFFFFFFF])
async def test_a_counter_that_nobody_believes(connect: Connect, claim: int) -> None:
    """Public client and exception-response are not authenticated: whoever answers there must not use up our key."""

    def script(meter: SecuredMeter, event: Any) -> Any:
        meter.data[COUNTER] = b"\x06" + claim.to_bytes(4, "big")
        if isinstance(event, AssociationRequest) and event.mechanism:
            return [ExceptionResponse(1, 6, claim)]
        return None

    own = DlmsDriver()
    with pytest.raises(SecurityError, match="not believed"):
        await connect(gmac(), policy=0, auth="gmac", policy_="0", secrets=KEYS, script=script, own=own)
    with pytest.raises(SecurityError, match="not believed"):
        await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, own=own, counter="none")
    _, sent = own.counters.sent(Secret(EK), bytes.fromhex("4844450000000001"))
    assert sent.next < 1000


async def test_a_counter_that_falls_behind_in_a_session(connect: Connect) -> None:
    """Another client with our key and title: a read is repeated with the counter that the meter expects, once."""
    expected: list[int] = []

    def script(meter: SecuredMeter, event: Any) -> Any:
        if isinstance(event, AssociationRequest | ActionRequestNormal) and not hasattr(event, "attribute"):
            return None
        if expected:
            return [ExceptionResponse(1, 6, expected.pop(0))]
        assert meter.received.last >= 0
        return None

    session, meter = await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, counter="none")
    expected += [70_000]
    assert await energy(session) == 42
    assert meter.received.last == 70_000
    expected += [80_000, 90_000]
    assert type(await energy(session)) is ReplayDetected
    assert await energy(session) == 42
    assert meter.received.last > 80_000


async def test_a_command_is_not_repeated_for_its_counter(connect: Connect) -> None:
    """Its refusal may be forged, and the command obeyed: nobody switches twice."""
    refusing = False

    def script(_meter: SecuredMeter, event: Any) -> Any:
        return [ExceptionResponse(1, 6, 70_000)] if refusing and isinstance(event, ActionRequestNormal) else None

    session, meter = await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, counter="none")
    refusing = True
    outcome = await session.execute(Command(kind=CommandKind.DISCONNECT))
    assert outcome.verdict is Verdict.REFUSED
    assert "another invocation counter" in outcome.detail
    assert sum(isinstance(event, ActionRequestNormal) for event in meter.heard) == 2  # the proof, and this one
    assert await energy(session) == 42
    assert meter.received.last == 70_000


@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general"])
async def test_a_plain_push_does_not_end_a_ciphered_session(connect: Connect, ciphering: str) -> None:
    """It is dropped, because anybody may have sent it, and the head-end is told."""
    plain = DataNotification(1, b"", b"\x06\x00\x00\x00\x01").encode()
    forged = b"\xca\x11" + bytes(17)  # an event-notification under the global key, and not under ours

    def script(meter: SecuredMeter, event: Any) -> Any:
        if not hasattr(event, "attribute"):
            return None
        pushes = [wrap(plain, 1, 1), wrap(forged, 1, 1), wrap(plain, 1, 102) + wrap(plain, 1, 1)]
        genuine = DataNotification(2, b"", b"\x11\x07")
        return [*pushes, genuine, meter.answer(event), wrap(plain, 1, 1)]

    session, _ = await connect(
        gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, counter="none", ciphering=ciphering
    )
    for _ in range(2):
        assert await energy(session) == 42
    assert session.sound
    genuine, other, refused = session.notifications()
    assert genuine.kind == other.kind == "push"
    assert genuine.body == other.body == 7
    assert refused.kind == "refused"
    assert "dropped" in str(refused.body)
    assert not session.notifications()


async def test_a_plain_push_is_welcome_where_the_policy_demands_nothing(connect: Connect) -> None:
    """Requests are protected, answers are not (policy version 1)."""

    def script(meter: SecuredMeter, event: Any) -> Any:
        push = DataNotification(1, b"", b"\x11\x07").encode()
        return [wrap(push, 1, 1), meter.answer(event)] if hasattr(event, "attribute") else None

    session, _ = await connect(policy=0x0C, policy_="12", secrets=KEYS, script=script, counter="none")
    assert await energy(session) == 42
    assert [said.body for said in session.notifications()] == [7]


async def test_meters_with_one_key_share_its_counter(connect: Connect, tmp_path: Path) -> None:
    """The initialisation vector is our title and the counter, whichever meter it is for. A restart changes nothing."""
    seen: list[int] = []
    for _ in range(2):
        own, store = DlmsDriver(), CounterFile(tmp_path / "counters.db")
        own.use_counters(store)
        for name in ("first", "second"):
            session, meter = await connect(
                gmac(), policy=3, auth="gmac", secrets=KEYS, own=own, counter="none", meter_id=name
            )
            assert await energy(session) == 42
            seen.append(meter.received.last)
        store.close()
    assert seen == sorted(set(seen))
    octets = (tmp_path / "counters.db").read_bytes()
    assert EK not in octets
    assert EK.hex().encode() not in octets


async def test_a_meter_is_asked_for_its_counter_once_in_its_life(connect: Connect, tmp_path: Path) -> None:
    asked = []
    for _ in range(2):
        own, store = DlmsDriver(), CounterFile(tmp_path / "counters.db")
        own.use_counters(store)
        session, meter = await connect(gmac(), auth="gmac", policy_="0", secrets=KEYS, own=own)
        assert await energy(session) == 42
        asked.append(len(meter.requests))
        store.close()
    assert asked == [2, 1]


async def test_refusals_in_a_ciphered_association(connect: Connect) -> None:
    answers: list[Any] = []

    def script(_meter: SecuredMeter, event: Any) -> Any:
        return [answers.pop()] if answers and hasattr(event, "attribute") else None

    session, _ = await connect(
        gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, counter="none", ciphering="dedicated"
    )
    for refusal, error in [(ExceptionResponse(1, 5), DecipherFailed), (ExceptionResponse(2, 2), ServiceRefused)]:
        answers.append(refusal)
        assert type(await energy(session)) is error
        assert await energy(session) == 42
    assert session.sound


async def test_a_plain_answer_ends_a_ciphered_session(connect: Connect) -> None:
    def script(_meter: SecuredMeter, event: Any) -> Any:
        if hasattr(event, "attribute"):
            return [wrap(GetResponseNormal(event.invoke_id_and_priority, b"\x11\x01").encode(), 1, 1)]
        return None

    session, _ = await connect(gmac(), policy=3, auth="gmac", secrets=KEYS, script=script, counter="none")
    with pytest.raises(DecipherFailed):
        await energy(session)
    assert not session.sound


@pytest.mark.parametrize(
    ("params", "secrets", "error", "words"),
    [
        ({"auth": "gmac"}, {}, KeyMissing, "'ek'"),
        ({"auth": "gmac"}, {"ek": EK}, KeyMissing, "'ak'"),
        ({"auth": "gmac"}, {"ek": EK[1:], "ak": AK}, ConfigError, "ek of security suite 0: 16 octets, not 15"),
        ({"auth": "gmac", "suite": "2"}, KEYS, ConfigError, "32 octets"),
        ({"policy_": "1"}, {}, KeyMissing, "'ek'"),
        ({"policy_": "16"}, KEYS, ConfigError, "no keys to sign with"),
        ({"auth": "sha256"}, {}, KeyMissing, "'secret'"),
        ({"auth": "ecdsa"}, {"secret": SCALAR}, ConfigError, "public key"),
        ({"auth": "ecdsa", "meter_key": "00"}, {"secret": SCALAR}, ConfigError, "meter_key"),
        ({"auth": "ecdsa", "meter_key": METER_KEY}, {"secret": b"short"}, ConfigError, "32 octets, not 5"),
        ({"client_title": "4844"}, {}, ConfigError, "client_title"),
    ],
)
async def test_what_is_missing_or_wrong(
    connect: Connect, params: dict[str, str], secrets: dict[str, bytes], error: type[HeadendError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await connect(secrets=secrets, **params)


@pytest.mark.parametrize(
    "params",
    [{"client_title": "xyz"}, {"meter_key": "0"}, {"counter": "1/2/3/4"}, {"suite": "3"}, {"policy": 999}],
)
def test_parameters_out_of_range(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_params(params)


def test_another_key_counts_anew() -> None:
    counters = DlmsDriver().counters
    first = counters.received("m", Secret(EK))
    assert counters.received("m", Secret(EK)) is first
    assert counters.received("m", Secret(AK)) is not first

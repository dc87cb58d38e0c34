"""The DLMS driver reads, browses and commands a meter made of another stack, over wrapper and HDLC, with and without LLS.

Each test meets a meter with logical names and one with short names.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headend.drivers.base import Session
from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.dlms.together import write_all
from headend.drivers.knowledge import Knowledge
from headend.errors import AccessDenied, AuthenticationFailed, DecipherFailed, HeadendError, ObjectUndefined
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ObjectEntry, ReadPlan
from headend.model.reading import to_millis
from headend.transport.open import open_link

pytestmark = pytest.mark.peers

PEERS = Path(__file__).parent / "peers"
SCRIPTS = {"ln": "gurux_meter.py", "sn": "gurux_short_meter.py"}
PROFILE = driver.parse_ref("7/1-0:99.1.0.255/2")
START = to_millis(datetime(2024, 1, 1, tzinfo=UTC))
PERIOD = 900_000
Open = Callable[..., Awaitable[Session]]


@pytest.fixture(scope="module")
def start_meter(peers_python: str) -> Iterator[Callable[..., int]]:
    """Starts a meter with some names and options, once for all tests that do not change it; returns its port."""
    processes: dict[tuple[str, ...], tuple[subprocess.Popen[str], int]] = {}

    def start(*options: str) -> int:
        if options not in processes:
            script = str(PEERS / SCRIPTS[options[0]])
            process = subprocess.Popen([peers_python, script, *options[1:]], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            processes[options] = process, int(process.stdout.readline().split()[1])
        return processes[options][1]

    yield start
    for process, _ in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture(params=["ln", "sn"])
def ref(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_session(start_meter: Callable[..., int], ref: str) -> AsyncIterator[Open]:
    sessions: list[Session] = []

    async def open_one(
        *options: str,
        framing: str = "wrapper",
        secret: bytes = b"",
        keys: dict[str, bytes] | None = None,
        own: DlmsDriver | None = None,
        knowledge: Knowledge | None = None,
        **params: str,
    ) -> Session:
        port = start_meter(ref, "--framing", framing, *options)
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port)
        meter = Meter(id="peer", protocol="dlms", framing=framing, endpoint=endpoint, params={"ref": ref, **params})
        link = await open_link(endpoint, 5)
        try:
            secrets = {name: Secret(key) for name, key in (keys or {}).items()}
            session = await (own or driver).attach(
                link, meter, None, secrets or {"secret": Secret(secret)}, knowledge=knowledge
            )
        except BaseException:
            link.abort()
            raise
        sessions.append(session)
        return session

    yield open_one
    for session in sessions:
        await session.aclose()


def plan(*refs: str) -> ReadPlan:
    return ReadPlan(entries=tuple(ObjectEntry(ref=driver.parse_ref(ref), scaler=None) for ref in refs))


REGISTERS = plan(
    "3/1-0:1.8.0.255",
    "3/1-0:2.8.0.255",
    "3/1-0:32.7.0.255",
    "1/0-0:42.0.0.255",
    "3/1-0:9.9.9.255",
    "70/0-0:96.3.10.255",
)


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize(("auth", "secret"), [("none", b""), ("lls", b"12345678")])
@pytest.mark.parametrize("options", [(), ("--refuse-lists",), ("--max-pdu", "64")])
async def test_reading(open_session: Open, framing: str, auth: str, secret: bytes, options: tuple[str, ...]) -> None:
    session = await open_session("--auth", auth, *options, framing=framing, secret=secret, auth=auth)
    for _ in range(20):  # more often than there are invoke ids
        result = await session.read(REGISTERS)
        assert list(result.values) == [1234567, 4321, 2302, b"GRX1234567890123", None, True]
        assert {index: type(error) for index, error in result.errors.items()} == {4: ObjectUndefined}
        assert result.exponents is not None
        assert result.units is not None
        assert list(result.exponents)[:3] == [0, 1, -1]
        assert list(result.units)[:3] == ["Wh", "Wh", "V"]


@pytest.mark.parametrize("options", [(), ("--max-pdu", "64")])
async def test_scalers_are_asked_in_two_associations(open_session: Open, ref: str, options: tuple[str, ...]) -> None:
    """What the meter has told twice alike is known in the third; with short names their list is asked each time."""
    knowledge, found = Knowledge(), []
    registers = plan("3/1-0:1.8.0.255", "3/1-0:2.8.0.255", "3/1-0:32.7.0.255", "3/1-0:31.7.0.255", "3/1-0:14.7.0.255")
    for _ in range(4):
        before = knowledge.requests
        session = await open_session(*options, knowledge=knowledge)
        result = await session.read(registers)
        assert list(result.values) == [1234567, 4321, 2302, 999, 5001]
        assert list(result.exponents or ()) == [0, 1, -1, -2, -2]
        await session.aclose()
        found.append(knowledge.requests - before)
    assert found == ([2, 2, 1, 1] if ref == "ln" else [3, 3, 2, 2])


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_identity_and_object_list(open_session: Open, framing: str) -> None:
    session = await open_session("--max-pdu", "128", framing=framing)
    identity = await session.identify()
    assert (identity.serial, identity.manufacturer, identity.firmware) == ("00012345", "GRX", "peer 1.0")
    assert identity.logical_device_name == "GRX1234567890123"
    listed = {info.ref.address: info for info in await session.objects()}
    assert len(listed) == 12
    register = listed["3/1-0:1.8.0.255/2"]
    assert register.quantity == "active_energy_import_total"
    assert register.attributes == {1: "r", 2: "rw", 3: "r"}
    assert register.methods == {1: "x"}
    assert listed["7/1-0:99.1.0.255/2"].history


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize(
    "options", [(), ("--refuse-selectors", "1"), ("--refuse-selectors", "1", "2"), ("--max-pdu", "300")]
)
async def test_load_profile_by_time(open_session: Open, framing: str, options: tuple[str, ...]) -> None:
    session = await open_session(*options, framing=framing)
    request = HistoryRequest(ref=PROFILE, start=START + 100 * PERIOD, end=START + 140 * PERIOD)
    blocks = [block async for block in session.read_history(request)]
    assert [at for block in blocks for at in block.times] == [START + i * PERIOD for i in range(100, 140)]
    assert [row for block in blocks for row in block.rows] == [(1000 + i, 2000 - i) for i in range(100, 140)]
    columns = blocks[0].columns
    assert [column.quantity for column in columns] == ["active_energy_import_total", "active_energy_export_total"]
    assert [(column.unit, column.exponent) for column in columns] == [("Wh", 0), ("Wh", 1)]
    empty = HistoryRequest(ref=PROFILE, start=START - 10 * PERIOD, end=START)
    assert [block async for block in session.read_history(empty)] == []


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_load_profile_by_entry_and_whole(open_session: Open, framing: str) -> None:
    session = await open_session("--max-pdu", "512", framing=framing)
    request = HistoryRequest(ref=PROFILE, first_entry=3, last_entry=5)
    rows = [row async for block in session.read_history(request) for row in block.rows]
    assert rows == [(1002, 1998), (1003, 1997), (1004, 1996)]
    blocks = [block async for block in session.read_history(HistoryRequest(ref=PROFILE))]
    assert len(blocks) > 10
    assert sum(len(block.rows) for block in blocks) == 400
    # giving up half way leaves the session as it was
    async for _ in session.read_history(HistoryRequest(ref=PROFILE)):
        break
    assert (await session.read(REGISTERS)).values[0] == 1234567


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_commands(open_session: Open, framing: str) -> None:
    session = await open_session("--rows", "1", framing=framing)  # a meter of its own
    relay = plan("70/0-0:96.3.10.255")
    for kind, closed in [(CommandKind.DISCONNECT, False), (CommandKind.RECONNECT, True)]:
        outcome = await session.execute(Command(kind=kind))
        assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED, closed)
        assert (await session.read(relay)).values == [closed]
        for asked, verdict in [(kind, Verdict.CONFIRMED), (CommandKind.INVOKE, Verdict.UNKNOWN)]:
            assert (await session.verify(Command(kind=asked), 0)).verdict is verdict
    assert (await session.verify(Command(kind=CommandKind.DISCONNECT), 0)).verdict is Verdict.REFUSED
    at = to_millis(datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC))
    outcome = await session.execute(Command(kind=CommandKind.SET_CLOCK, params={"at": at}))
    assert outcome.verdict is Verdict.CONFIRMED
    assert str(outcome.observed).startswith("2030-05-06 07:08:")
    now, clock = to_millis(datetime.now(UTC)), Command(kind=CommandKind.SET_CLOCK, params={"at": at})
    assert (await session.verify(clock, now)).verdict is Verdict.CONFIRMED
    assert (await session.verify(clock, now - 60_000)).verdict is Verdict.REFUSED
    assert (await session.verify(Command(kind=CommandKind.SET_CLOCK), now)).verdict is Verdict.REFUSED
    write = Command(kind=CommandKind.WRITE, params={"ref": "1/0-0:96.1.0.255/2", "value": "00099"})
    assert (await session.execute(write)).verdict is Verdict.CONFIRMED
    assert (await session.verify(write, 0)).verdict is Verdict.CONFIRMED
    refused = Command(kind=CommandKind.WRITE, params={"ref": "3/1-0:1.8.0.255/2", "value": 1})
    assert (await session.execute(refused)).verdict is Verdict.REFUSED
    assert (await session.verify(refused, 0)).verdict is Verdict.REFUSED
    invoked = Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.10.255/1"})
    assert (await session.execute(invoked)).verdict is Verdict.CONFIRMED
    assert (await session.read(relay)).values == [False]


@pytest.mark.parametrize("ref", ["ln"], indirect=True)
async def test_a_reset_is_acknowledged_and_a_change_of_the_password_refused(open_session: Open) -> None:
    options, params = ("--auth", "lls", "--rows", "3"), {"auth": "lls"}  # a meter of its own
    session = await open_session(*options, secret=b"12345678", **params)
    change = Command(kind=CommandKind.CHANGE_SECRET, params={"name": "secret"}, secret=Secret(b"open-sesame"))
    assert (await session.execute(Command(kind=CommandKind.RESET_DEMAND))).verdict is Verdict.CONFIRMED
    outcome = await session.execute(change)
    assert outcome.verdict is Verdict.REFUSED
    assert "read-write-denied" in outcome.detail
    assert session.sound
    assert (await session.identify()).serial == "00012345"


async def test_a_wrong_password(open_session: Open) -> None:
    with pytest.raises(AuthenticationFailed, match="authentication-failure"):
        await open_session("--auth", "lls", secret=b"87654321", auth="lls")


def keys_of(suite: int) -> dict[str, bytes]:
    length = 32 if suite == 2 else 16
    return {"ek": bytes(range(length)), "ak": bytes(range(0xC0, 0xC0 + length))}


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_a_pre_established_association(open_session: Open, ref: str, framing: str) -> None:
    conformance = {"ln": "00121d", "sn": "181a20"}[ref]
    session = await open_session("--preset", framing=framing, preset=conformance)
    await check_everything(session)


SIZES = ("200", "65535")
"""Of the longest APDU: long answers come in blocks, and whole."""


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general", "general-dedicated"])
async def test_reading_ciphered(open_session: Open, framing: str, suite: int, ciphering: str) -> None:
    params = {"auth": "gmac", "client": "1", "suite": str(suite), "ciphering": ciphering}
    for max_pdu in SIZES:
        own = DlmsDriver()
        options = ("--auth", "gmac", "--suite", str(suite), "--max-pdu", max_pdu)
        session = await open_session(*options, framing=framing, keys=keys_of(suite), own=own, **params)
        await check_everything(session)
        assert len(await session.objects()) == 13
        assert (await session.identify()).system_title == b"GRX00001".hex()
        await session.aclose()
        session = await open_session(*options, framing=framing, keys=keys_of(suite), own=own, **params)
        assert list((await session.read(REGISTERS)).values)[:2] == [1234567, 4321]  # the counter is known
        await session.aclose()


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("auth", ["md5", "sha1", "sha256"])
async def test_proving_ourselves_by_a_hash(open_session: Open, framing: str, auth: str) -> None:
    params = {"auth": auth, "client": "1"}
    session = await open_session("--auth", auth, framing=framing, secret=b"12345678", **params)
    await check_everything(session)
    with pytest.raises(AuthenticationFailed):
        await open_session("--auth", auth, framing=framing, secret=b"87654321", **params)


@pytest.mark.parametrize("ref", ["ln"])
@pytest.mark.parametrize("auth", ["none", "lls", "md5", "sha1", "sha256"])
@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("max_pdu", SIZES)
async def test_ciphering_and_proving_ourselves_otherwise(
    open_session: Open, auth: str, suite: int, framing: str, max_pdu: str
) -> None:
    """Not by GMAC, or not at all."""
    own, secret = DlmsDriver(), {} if auth == "none" else {"secret": b"12345678"}
    options = ("--auth", auth, "--ciphered", "--suite", str(suite), "--max-pdu", max_pdu)
    for ciphering in ("global", "dedicated", "general", "general-dedicated"):
        params = {"auth": auth, "client": "1", "suite": str(suite), "ciphering": ciphering}
        session = await open_session(*options, framing=framing, keys=keys_of(suite) | secret, own=own, **params)
        await check_everything(session)
        await session.aclose()


async def check_everything(session: Session) -> None:
    """Registers, load profile by range and by entry, writing, a method."""
    result = await session.read(REGISTERS)
    assert list(result.values) == [1234567, 4321, 2302, b"GRX1234567890123", None, True]
    ranged = HistoryRequest(ref=PROFILE, start=START + 100 * PERIOD, end=START + 120 * PERIOD)
    rows = [row async for block in session.read_history(ranged) for row in block.rows]
    assert rows == [(1000 + i, 2000 - i) for i in range(100, 120)]
    entries = HistoryRequest(ref=PROFILE, first_entry=3, last_entry=5)
    rows = [row async for block in session.read_history(entries) for row in block.rows]
    assert rows == [(1002, 1998), (1003, 1997), (1004, 1996)]
    write = Command(kind=CommandKind.WRITE, params={"ref": "1/1-0:0.2.0.255/2", "value": "peer 1.1"})
    for command in (write, Command(kind=CommandKind.RECONNECT)):
        assert (await session.execute(command)).verdict is Verdict.CONFIRMED


async def test_a_counter_that_the_meter_has_heard_already(open_session: Open) -> None:
    """Without the counter object: the meter says which counter it expects, and gets it in another association."""
    params = {"auth": "gmac", "client": "1", "counter": "none"}
    session = await open_session("--auth", "gmac", keys=keys_of(0), own=DlmsDriver(), **params)
    result = await session.read(REGISTERS)
    assert list(result.values) == [1234567, 4321, 2302, b"GRX1234567890123", None, True]


@pytest.mark.parametrize("wrong", ["ek", "ak"])
async def test_a_wrong_key(open_session: Open, wrong: str) -> None:
    keys = keys_of(0) | {wrong: bytes(16)}
    with pytest.raises((AuthenticationFailed, DecipherFailed)) as caught:
        await open_session("--auth", "gmac", keys=keys, own=DlmsDriver(), auth="gmac", client="1")
    assert isinstance(caught.value, HeadendError)
    assert not caught.value.retryable


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_a_long_write_in_blocks(open_session: Open, framing: str) -> None:
    """A text of two hundred octets for a meter that takes sixty-four at once."""
    session = await open_session("--max-pdu", "64", "--rows", "2", framing=framing)  # a meter of its own
    text = "0123456789" * 20
    write = Command(kind=CommandKind.WRITE, params={"ref": "1/0-0:96.1.0.255/2", "value": text})
    assert (await session.execute(write)).verdict is Verdict.CONFIRMED
    assert (await session.read(plan("1/0-0:96.1.0.255"))).values == [text.encode()]


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("ciphering", ["none", "global", "general-dedicated"])
@pytest.mark.parametrize("ref", ["ln"], indirect=True)
async def test_long_writes_and_methods(open_session: Open, framing: str, ciphering: str) -> None:
    """Texts of three hundred octets for a meter that takes a hundred at once, and lists."""
    options, params, keys = ("--max-pdu", "100", "--rows", "3"), {}, None  # a meter of its own
    if ciphering != "none":
        options += ("--auth", "gmac")
        params, keys = {"auth": "gmac", "client": "1", "ciphering": ciphering}, keys_of(0)
    session = await open_session(*options, framing=framing, keys=keys, own=DlmsDriver(), **params)
    assert isinstance(session, DlmsSession)
    access, text = session.access, b"0123456789" * 30
    data = b"\x09\x82\x01\x2c" + text
    serial, firmware, energy, script = (
        cosem_ref(ref) for ref in ("1/0-0:96.1.0.255", "1/1-0:0.2.0.255", "3/1-0:1.8.0.255", "9/0-0:10.0.0.255/1")
    )
    await access.set(serial, data)
    assert await access.get(serial) == text
    # the script table of this meter gives back a short parameter, and the length of a long one
    assert await access.invoke(script, b"\x09\x02AB") == b"\x09\x02AB"
    assert await access.invoke(script, data) == b"\x06\x00\x00\x01\x2c"
    written = await write_all(access, [(serial, b"\x09\x01A"), (energy, b"\x11\x05"), (firmware, b"\x09\x01B")])
    assert [type(each) for each in written] == [type(None), AccessDenied, type(None)]
    assert await access.read_refs(serial, firmware) == [b"A", b"B"]

"""Freezing, resetting, clearing and changes of secrets, and commands as a meter file sets them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headend.drivers.base import Capability
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.library import Library, load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import AuthenticationFailed, CapabilityError, ConfigError, HeadendError, ObjectUndefined
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest
from headend.model.profile import MeterProfile
from headend.transport.memory import memory_pair

NOON = 1_763_726_400_000
BILLING = "7/0-0:98.1.0.255/2"
KEYS = {name: Secret(bytes([number]) * 16) for number, name in enumerate(("ek", "ak", "mk"), 1)}


class Site:
    def __init__(self, profile: MeterProfile, secrets: dict[str, Secret], **params: str) -> None:
        self.profile = profile
        self.params = params
        self.clock = NOON
        self.meter = VirtualMeter(MeterKind(profile, lambda: self.clock), 7, 0, params, secrets)
        self.driver = DlmsDriver()
        self.sessions: list[DlmsSession] = []

    async def open(self, **secrets: Secret) -> DlmsSession:
        near, far = memory_pair()
        self.driver.serve(far, self.meter)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        known = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params=self.params)
        try:
            session = await self.driver.attach(near, known, self.profile, secrets, timeout=5)
        except BaseException:
            near.abort()
            raise
        self.sessions.append(session)
        return session


Make = Callable[..., Site]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    sites: list[Site] = []
    library = Library()

    def site(profile: MeterProfile | str = "generic-dlms-functions", /, *, keys: Any = None, **params: str) -> Site:
        found = library.get(profile) if isinstance(profile, str) else profile
        sites.append(Site(found, keys or {}, **params))
        return sites[-1]

    yield site
    for each in sites:
        for session in each.sessions:
            await session.aclose()


async def rows(session: DlmsSession, ref: str = BILLING) -> int:
    request = HistoryRequest(ref=DlmsDriver().parse_ref(ref))
    return sum([len(block.rows) async for block in session.read_history(request)])


def command(kind: CommandKind, **params: Any) -> Command:
    secret = params.pop("secret", None)
    return Command(kind=kind, params=params, secret=secret)


FREEZE = command(CommandKind.FREEZE)


async def test_a_freeze_is_a_row_more_and_is_found_by_its_time(make: Make) -> None:
    site = make()
    session = await site.open()
    assert {Capability.FREEZE, Capability.RESET, Capability.RELAY} <= session.capabilities
    before = await rows(session)
    assert (await session.verify(FREEZE, NOON)).verdict is not Verdict.CONFIRMED
    outcome = await session.execute(FREEZE)
    assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED, before + 1)
    assert await rows(session) == before + 1
    request = HistoryRequest(ref=DlmsDriver().parse_ref(BILLING), first_entry=before + 1, last_entry=before + 1)
    times = [at async for block in session.read_history(request) for at in block.times]
    assert times == [NOON]
    with pytest.raises(ObjectUndefined):
        await session.execute(command(CommandKind.FREEZE, ref="7/0-0:98.2.0.255"))
    with pytest.raises(ConfigError, match="freezes nothing"):
        await session.execute(command(CommandKind.FREEZE, ref="3/1-0:1.8.0.255"))


async def test_the_end_of_a_billing_period_is_script_1_of_the_standard_table(make: Make) -> None:
    session = await make().open()
    before = await rows(session)
    assert (await session.execute(command(CommandKind.RESET_DEMAND))).verdict is Verdict.CONFIRMED
    assert await rows(session) == before + 1
    assert (await session.verify(command(CommandKind.RESET_DEMAND), NOON)).verdict is Verdict.UNKNOWN
    assert (await session.execute(command(CommandKind.RESET_DEMAND, script=9))).verdict is Verdict.REFUSED
    assert (await session.execute(command(CommandKind.CLEAR_METER))).verdict is Verdict.REFUSED
    assert await rows(session) == before + 1
    with pytest.raises(ConfigError):
        await session.execute(command(CommandKind.RESET_DEMAND, script="all"))


async def test_a_log_is_cleared(make: Make) -> None:
    session = await make().open()
    await session.execute(FREEZE)
    clear = command(CommandKind.CLEAR_EVENTS, ref=BILLING)
    assert (await session.execute(clear)).verdict is Verdict.CONFIRMED
    assert await rows(session) <= 1
    assert (await session.verify(clear, NOON)).verdict is Verdict.CONFIRMED
    with pytest.raises(ConfigError, match="ref"):
        await session.execute(command(CommandKind.CLEAR_EVENTS))


@pytest.mark.parametrize(("mode", "by_hand"), [(1, True), (2, False), (4, False), (5, True)])
async def test_a_relay_that_is_closed_by_hand_only_is_allowed_to(make: Make, mode: int, *, by_hand: bool) -> None:
    session = await make().open()
    relay = "70/0-0:96.3.10.255"
    assert (
        await session.execute(command(CommandKind.WRITE, ref=f"{relay}/4", value=mode))
    ).verdict is Verdict.CONFIRMED
    assert (await session.execute(command(CommandKind.DISCONNECT))).verdict is Verdict.CONFIRMED
    allow = command(CommandKind.ALLOW_RECONNECT)
    if not by_hand:
        with pytest.raises(CapabilityError, match="from afar"):
            await session.execute(allow)
        return
    assert (await session.verify(allow, NOON)).verdict is Verdict.REFUSED
    outcome = await session.execute(allow)
    assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED, 2)
    assert (await session.verify(allow, NOON)).verdict is Verdict.CONFIRMED
    assert (await session.verify(command(CommandKind.DISCONNECT), NOON)).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(("mode", "closes"), [(1, False), (2, True), (3, False), (4, True), (5, False), (6, False)])
async def test_what_a_reconnection_from_afar_does_in_each_control_mode(make: Make, mode: int, *, closes: bool) -> None:
    """Blue Book, disconnect control: the transition d, to ready for reconnection, in 1, 3, 5 and 6; a, to connected, in 2 and 4."""
    session = await make().open()
    relay, reconnect = "70/0-0:96.3.10.255", command(CommandKind.RECONNECT)
    await session.execute(command(CommandKind.WRITE, ref=f"{relay}/4", value=mode))
    assert (await session.execute(reconnect)).verdict is Verdict.CONFIRMED  # it is closed
    assert (await session.execute(command(CommandKind.DISCONNECT))).verdict is Verdict.CONFIRMED
    before = await session.verify(reconnect, NOON)
    assert (before.verdict, "should be" in before.detail) == (Verdict.REFUSED, True)
    for outcome in (await session.execute(reconnect), await session.verify(reconnect, NOON)):
        assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED if closes else Verdict.REFUSED, closes)
        assert ("somebody at the meter" in outcome.detail) is not closes


@pytest.mark.parametrize("auth", ["lls", "md5", "sha256"])
async def test_a_password_is_changed_and_the_session_goes_on_under_it(make: Make, auth: str) -> None:
    old, new = Secret(b"12345678"), Secret(b"open-sesame")
    site = make("generic-dlms-1p", keys={"secret": old}, auth=auth, client="1")
    session = await site.open(secret=old)
    assert Capability.SECRETS in session.capabilities
    outcome = await session.execute(command(CommandKind.CHANGE_SECRET, name="secret", secret=new))
    assert outcome.verdict is Verdict.CONFIRMED
    assert session.sound
    assert (await session.identify()).serial
    with pytest.raises(AuthenticationFailed):
        await site.open(secret=old)
    assert (await (await site.open(secret=new)).identify()).serial
    refused = await session.execute(command(CommandKind.CHANGE_SECRET, name="secret", secret=Secret(bytes(500))))
    assert refused.verdict is Verdict.REFUSED
    assert "sesame" not in f"{outcome} {refused}"


@pytest.mark.parametrize("name", ["ek", "ak", "mk"])
async def test_a_key_is_changed_and_the_session_goes_on_under_it(make: Make, name: str) -> None:
    site = make("generic-dlms-1p", keys=KEYS, auth="gmac", client="1")
    session = await site.open(**KEYS)
    new = Secret(bytes(range(16)))
    outcome = await session.execute(command(CommandKind.CHANGE_SECRET, name=name, secret=new))
    assert outcome.verdict is Verdict.CONFIRMED
    assert (await session.identify()).serial
    await (await site.open(**{**KEYS, name: new})).identify()
    if name != "mk":
        with pytest.raises(HeadendError):
            await (await site.open(**KEYS)).identify()


async def test_secrets_that_cannot_be_changed(make: Make) -> None:
    plain = await make("generic-dlms-1p").open()
    assert Capability.SECRETS not in plain.capabilities
    change = command(CommandKind.CHANGE_SECRET, name="secret", secret=Secret(b"x"))
    with pytest.raises(CapabilityError):
        await plain.execute(change)
    session = await make("generic-dlms-1p", keys={"secret": Secret(b"1")}, auth="lls", client="1").open(
        secret=Secret(b"1")
    )
    with pytest.raises(ConfigError, match="no secret"):
        await session.execute(command(CommandKind.CHANGE_SECRET, name="signing", secret=Secret(b"x")))
    with pytest.raises(ConfigError):
        await session.execute(command(CommandKind.CHANGE_SECRET, name="secret"))
    for ref in ("15/0-0:40.0.0.255/7", "64/0-0:43.0.0.255/2"):
        with pytest.raises(ConfigError, match="holds a secret"):
            await session.execute(command(CommandKind.WRITE, ref=ref, value="12345678"))


BY_SCRIPT = """
[[command]]
kind = "disconnect"
ref = "9/0-0:10.0.106.255/1"
method = true
value = 1
[[command]]
kind = "reconnect"
ref = "9/0-0:10.0.106.255/1"
method = true
value = 2
[[command]]
kind = "reset-demand"
ref = "1/0-0:96.14.1.255/2"
value = 3
"""


async def test_a_relay_behind_a_script_table_and_a_reset_by_a_write(make: Make) -> None:
    text = Library().path("generic-dlms-functions").read_text() + BY_SCRIPT
    site = make(load_profile(text, "scripted", "test"))
    session = await site.open()
    from_afar = command(CommandKind.WRITE, ref="70/0-0:96.3.10.255/4", value=4)
    assert (await session.execute(from_afar)).verdict is Verdict.CONFIRMED
    for kind, closed in ((CommandKind.DISCONNECT, False), (CommandKind.RECONNECT, True)):
        outcome = await session.execute(command(kind))
        assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED, closed)
        assert site.meter.relay_closed() is closed
        assert (await session.verify(command(kind), NOON)).verdict is Verdict.CONFIRMED
    assert (await session.execute(command(CommandKind.RESET_DEMAND))).verdict is Verdict.CONFIRMED
    written = command(CommandKind.WRITE, ref="1/0-0:96.14.1.255/2", value=3)
    assert (await session.verify(written, NOON)).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(
    ("line", "words"),
    [('kind = "explode"', "one of"), ('kind = "freeze"\nref = "x"', "ref"), ('kind = "freeze"\nway = 1', "way")],
)
def test_a_command_of_a_meter_file_that_is_wrong(line: str, words: str) -> None:
    text = f'[meter]\nvendor="a"\nmodel="b"\nprotocol="dlms"\nsource="t"\n[[command]]\n{line}\n'
    with pytest.raises(ConfigError, match=words):
        load_profile(text, "a-b", "test")

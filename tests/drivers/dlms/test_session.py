"""What a session does when a meter does not just answer: refuses, forgets, is silent, pushes, lies, or goes away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from headend.drivers.base import Capability
from headend.drivers.dlms import driver
from headend.drivers.dlms.conversation import MAX_NOTIFICATIONS
from headend.drivers.dlms.refs import cosem_ref
from headend.errors import (
    AccessDenied,
    AssociationRejected,
    AuthenticationFailed,
    CapabilityError,
    ConfigError,
    DecodeError,
    KeyMissing,
    LinkClosed,
    LinkTimeout,
    ObjectUndefined,
    RemoteProtocolError,
    ServiceRefused,
)
from headend.model.job import Command, CommandKind, Verdict
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.profile import MeterProfile, ProfileState
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism, Rlrq
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNextPblock, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.exception import ExceptionResponse
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal, GetResponseWithList
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseDatablock, SetResponseNormal
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.gateway import GatewayFraming
from headend.protocols.wrapper import wrap

ENERGY, VOLTAGE, CLOCK = "3/1-0:1.8.0.255/2", "3/1-0:32.7.0.255/2", "8/0-0:1.0.0.255/2"
DATA = {
    ENERGY: bytes.fromhex("0600 12d687"),
    "3/1-0:1.8.0.255/3": bytes.fromhex("0202 0f03 161e"),
    VOLTAGE: bytes.fromhex("12 08fe"),
    "3/1-0:32.7.0.255/3": bytes.fromhex("0202 0fff 1623"),
    CLOCK: bytes.fromhex("090c 07e9090307 0a340e00 ffc400".replace(" ", "")),
    "70/0-0:96.3.10.255/2": b"\x03\x01",
    "1/0-0:96.1.0.255/2": b"\x09\x03ABC",
}
LOST = ExceptionResponse(1, 1)


def plan(*refs: str, scaler: int | None = None) -> ReadPlan:
    return ReadPlan(entries=tuple(ObjectEntry(ref=driver.parse_ref(ref), scaler=scaler) for ref in refs))


def known(meter: Any) -> None:
    meter.data = dict(DATA)


FRAMED = ["wrapper", "hdlc"]
"""Framings that show where an APDU ends, also one that nobody can read."""


@pytest.fixture(params=[*FRAMED, "apdu"])
def framing(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("split", [0, 1, 5])
async def test_values_scalers_and_units(attach: Any, framing: str, split: int) -> None:
    session, meter = await attach(framing, prepare=known, line={"split": split})
    several = plan(ENERGY, VOLTAGE, CLOCK, "1/0-0:96.1.0.255/2", "3/1-0:9.9.9.255/2")
    for _ in range(3):
        result = await session.read(several)
        assert list(result.values) == [1234567, 2302, "2025-09-03 10:52:14+01:00", b"ABC", None]
        assert list(result.exponents) == [3, -1, 0, 0, 0]
        assert list(result.units) == ["Wh", "V", "", "", ""]
        assert type(result.errors[4]) is ObjectUndefined
    assert sum(isinstance(event, GetRequestWithList) for event in meter.heard) == 4  # scalers only once


@pytest.mark.parametrize("framing", FRAMED)
async def test_one_attribute(attach: Any, framing: str) -> None:
    session, meter = await attach(framing, prepare=known)
    one = plan(ENERGY, scaler=0)
    result = await session.read(one)
    assert (list(result.values), dict(result.errors), result.exponents) == ([1234567], {}, None)
    meter.data[ENERGY] = DataAccessResult.READ_WRITE_DENIED
    assert type((await session.read(one)).errors[0]) is AccessDenied
    meter.data[ENERGY] = b"\x06\x00"
    assert isinstance((await session.read(one)).errors[0], DecodeError)
    meter.data[ENERGY] = b"\x11\x01\x11"
    assert isinstance((await session.read(one)).errors[0], DecodeError)
    assert session.sound


async def test_a_meter_that_takes_no_lists(attach: Any, framing: str) -> None:
    def prepare(meter: Any) -> None:
        known(meter)
        meter.conformance &= ~Conformance.MULTIPLE_REFERENCES

    session, meter = await attach(framing, prepare=prepare)
    assert list((await session.read(plan(ENERGY, VOLTAGE, scaler=0))).values) == [1234567, 2302]
    assert not any(isinstance(event, GetRequestWithList) for event in meter.heard)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _event: ExceptionResponse(1, 2),
        lambda event: GetResponseNormal(event.invoke_id_and_priority, DataAccessResult.OTHER_REASON),
        lambda event: GetResponseWithList(event.invoke_id_and_priority, (b"\x11\x01",)),
        lambda event: GetResponseWithList(event.invoke_id_and_priority, (b"\xee", b"\x11\x05")),  # no such tag
        lambda event: GetResponseWithList(event.invoke_id_and_priority, (b"\x11\x05", b"\x12\x00")),  # cut short
        lambda event: GetResponseWithList(
            event.invoke_id_and_priority, (b"\x11\x05", b"\x11\x05\x00")
        ),  # an octet too many
        lambda event: GetResponseWithList(
            event.invoke_id_and_priority, (DataAccessResult.OTHER_REASON, DataAccessResult.READ_WRITE_DENIED)
        ),
    ],
)
@pytest.mark.parametrize("split", [0, 5])
@pytest.mark.parametrize("framing", FRAMED)
async def test_a_meter_that_has_promised_lists_and_does_not_take_them(
    attach: Any, framing: str, answer: Any, split: int
) -> None:
    session, meter = await attach(framing, prepare=known, line={"split": split})
    meter.script = lambda event: [answer(event)] if isinstance(event, GetRequestWithList) else None
    for _ in range(2):
        assert list((await session.read(plan(ENERGY, VOLTAGE, scaler=0))).values) == [1234567, 2302]
    assert sum(isinstance(event, GetRequestWithList) for event in meter.heard) == 1


async def test_a_meter_that_is_not_to_be_asked_for_lists(attach: Any) -> None:
    session, meter = await attach(prepare=known, lists="no")
    assert Conformance.MULTIPLE_REFERENCES not in meter.heard[0].initiate.conformance
    assert list((await session.read(plan(ENERGY, VOLTAGE, scaler=0))).values) == [1234567, 2302]
    assert [type(event) for event in meter.heard[1:]] == [GetRequestNormal] * 2


async def test_a_list_of_what_the_meter_does_not_have(attach: Any) -> None:
    """All refused, and the first of it alone as well: the meter keeps its promise, and is asked for lists again."""
    session, meter = await attach(prepare=known)
    nothing = plan("3/1-0:9.9.9.255/2", "3/1-0:9.9.8.255/2", scaler=0)
    for _ in range(2):
        assert set(map(type, (await session.read(nothing)).errors.values())) == {ObjectUndefined}
    assert [type(event) for event in meter.heard[1:]] == [GetRequestWithList, GetRequestNormal] * 2


async def test_a_scaler_that_the_meter_does_not_tell(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.data["3/1-0:1.8.0.255/3"] = DataAccessResult.READ_WRITE_DENIED
    meter.data["3/1-0:32.7.0.255/3"] = b"\x02\x02\x0f\x63\x16\x23"
    meter.data["3/1-0:31.7.0.255/2"], meter.data["3/1-0:31.7.0.255/3"] = b"\x11\x01", b"\x00"
    result = await session.read(plan(ENERGY, VOLTAGE, "3/1-0:31.7.0.255/2", "1/0-0:96.1.0.255/2"))
    assert list(result.values) == [None, None, None, b"ABC"]
    assert [type(result.errors[index]) for index in range(3)] == [AccessDenied, DecodeError, DecodeError]


async def test_an_unknown_unit(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.data["3/1-0:1.8.0.255/3"] = bytes.fromhex("0202 0f01 16c8")
    meter.data["3/1-0:32.7.0.255/3"] = bytes.fromhex("0202 0f00 1606")  # minutes: no power of ten leads to seconds
    result = await session.read(plan(ENERGY, VOLTAGE))
    assert (list(result.exponents), list(result.units)) == ([1, 0], ["", "min"])


async def test_many_plans(attach: Any) -> None:
    session, _ = await attach(prepare=known)
    for _ in range(70):
        assert list((await session.read(plan(ENERGY))).values) == [1234567]


@pytest.mark.parametrize("refusals", [1, 2])
async def test_a_forgotten_association_is_made_again(attach: Any, framing: str, refusals: int) -> None:
    session, meter = await attach(framing, prepare=known)
    left = refusals

    def script(event: Any) -> list[Any] | None:
        nonlocal left
        if isinstance(event, AssociationRequest) or not left:
            return None
        left -= 1
        return [LOST]

    meter.script = script
    assert list((await session.read(plan(ENERGY, scaler=0))).values) == [1234567]
    assert sum(isinstance(event, AssociationRequest) for event in meter.heard) == refusals


async def test_a_meter_that_refuses_for_good_is_not_asked_to_associate_again_and_again(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.script = lambda event: [LOST] if isinstance(event, GetRequestNormal) else None
    for _ in range(3):
        assert type((await session.read(plan(ENERGY, scaler=0))).errors[0]) is ServiceRefused
    assert sum(isinstance(event, AssociationRequest) for event in meter.heard) == 2
    assert session.sound


@pytest.mark.parametrize("framing", FRAMED)
async def test_pushes_and_events_in_the_middle_of_reads(attach: Any, framing: str) -> None:
    session, meter = await attach(framing, prepare=known)
    push = DataNotification(1, bytes.fromhex("07e90903070a340e00ffc400"), b"\x02\x01\x11\x05")
    event = EventNotification(cosem_ref(ENERGY).attribute, b"\x11\x07")
    odd = DataNotification(2, b"", b"\x63")
    if framing == "hdlc":
        meter.script = lambda _event: meter.framing.send_unsolicited(push.encode()) or None
    else:
        meter.script = lambda heard: [push, event, odd, meter.answer(heard)]
    assert list((await session.read(plan(ENERGY, scaler=0))).values) == [1234567]
    taken = session.notifications()
    assert (taken[0].kind, taken[0].body, taken[0].measured_at) == ("push", [5], 1756893134000)
    if framing == "wrapper":
        assert (taken[1].kind, taken[1].values) == ("event", {driver.parse_ref(ENERGY): 7})
        assert (taken[2].body, taken[2].measured_at) == (b"\x63", None)
    assert session.notifications() == []


async def test_of_many_pushes_the_last_ones_are_kept(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    pushes = [DataNotification(1, b"", b"\x12" + number.to_bytes(2, "big")) for number in range(MAX_NOTIFICATIONS + 5)]
    meter.script = lambda heard: [*pushes, meter.answer(heard)]
    assert list((await session.read(plan(ENERGY, scaler=0))).values) == [1234567]
    assert [said.body for said in session.notifications()] == list(range(5, MAX_NOTIFICATIONS + 5))


async def test_silence_ends_the_session_and_a_late_answer_meets_nothing(attach: Any, silence: Any) -> None:
    session, meter = await attach(prepare=known, timeout=0.05)
    meter.script = lambda event: silence if isinstance(event, GetRequestNormal) else None
    with pytest.raises(LinkTimeout, match="no answer from memory:meter"):
        await session.read(plan(ENERGY, scaler=0))
    assert not session.sound
    late = GetResponseNormal(meter.heard[-1].invoke_id_and_priority, b"\x06\x00\x00\x00\x00")
    meter.say(late)
    with pytest.raises(LinkTimeout):
        await session.read(plan(ENERGY, scaler=0))


async def test_hdlc_repeats_once(attach: Any, silence: Any) -> None:
    session, meter = await attach("hdlc", prepare=known, timeout=0.2)
    whole, swallowed = meter.data_received, []

    def swallow_first(data: bytes) -> None:
        meter.data_received = whole
        swallowed.append(data)

    meter.data_received = swallow_first
    assert list((await session.read(plan(ENERGY, scaler=0))).values) == [1234567]
    assert len(swallowed) == 1
    meter.script = lambda _event: silence
    with pytest.raises(LinkTimeout):
        await session.read(plan(ENERGY, scaler=0))
    assert not session.sound


async def test_hdlc_over_a_bad_line(attach: Any) -> None:
    session, _ = await attach("hdlc", prepare=known, timeout=1.0, line={"corruption": 0.05, "seed": 3})
    for _ in range(30):
        assert list((await session.read(plan(ENERGY, scaler=0))).values) == [1234567]


async def test_noise_is_told_when_nothing_else_comes(attach: Any) -> None:
    session, meter = await attach("hdlc", prepare=known, timeout=0.2)
    meter.script = lambda _event: [bytes.fromhex("7ea00a030293ffffffff00007e")]
    with pytest.raises(LinkTimeout) as raised:
        await session.read(plan(ENERGY, scaler=0))
    assert "damaged frames" in raised.value.hint


async def test_an_abandoned_request_ends_the_session(attach: Any, silence: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.script = lambda _event: silence
    task = asyncio.ensure_future(session.read(plan(ENERGY, scaler=0)))
    while len(meter.heard) < 2:  # noqa: ASYNC110 - the memory link needs some turns of the loop, nothing else
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not session.sound


@pytest.mark.parametrize("rubbish", [b"rubbish!", wrap(b"\xff\x00", 1, 16), wrap(b"\xc4\x01\xcf\x00\x00", 1, 16)])
async def test_rubbish_ends_the_session(attach: Any, rubbish: bytes) -> None:
    session, meter = await attach(prepare=known)
    meter.script = lambda _event: [rubbish]
    with pytest.raises(RemoteProtocolError):
        await session.read(plan(ENERGY, scaler=0))
    assert not session.sound


async def test_a_meter_that_hangs_up(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.script = lambda _event: [] if meter.link.abort() is None else None
    with pytest.raises(LinkClosed):
        await session.read(plan(ENERGY, scaler=0))
    assert not session.sound


async def test_an_hdlc_meter_that_releases_the_link(attach: Any) -> None:
    session, meter = await attach("hdlc", prepare=known, timeout=0.3)
    meter.script = lambda _event: [] if meter.connection.close() is None else None
    with pytest.raises(LinkClosed, match="released the link"):
        await session.read(plan(ENERGY, scaler=0))


async def test_lls(attach: Any) -> None:
    _, meter = await attach(prepare=known, auth="lls", secret=b"12345678")
    request = meter.heard[0]
    assert (request.mechanism, request.authentication_value) == (Mechanism.LLS, b"12345678")
    with pytest.raises(KeyMissing):
        await attach(prepare=known, auth="lls")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (AssociationResponse(result=1, diagnostic=13), AuthenticationFailed),
        (AssociationResponse(result=2, diagnostic=1), AssociationRejected),
        (ExceptionResponse(1, 2), ServiceRefused),
    ],
)
async def test_refused_associations(attach: Any, framing: str, answer: Any, error: type[Exception]) -> None:
    def prepare(meter: Any) -> None:
        meter.script = lambda _event: [answer]

    with pytest.raises(error):
        await attach(framing, prepare=prepare)


async def test_identity(attach: Any) -> None:
    session, meter = await attach(prepare=known, physical="17")
    meter.data["1/0-0:42.0.0.255/2"] = b"\x09\x10YTL1020000000000"
    meter.data["1/0-0:0.2.1.255/2"] = b"\x0a\x02V2"
    identity = await session.identify()
    assert (identity.manufacturer, identity.serial, identity.firmware) == ("YTL", "ABC", "V2")
    assert (identity.logical_device_name, identity.meter_address) == ("YTL1020000000000", "1/17")


@pytest.mark.parametrize(("version", "shown"), [(1, ("r", "rw*", "x*")), (3, ("r", "rw*", "x*"))])
async def test_the_object_list(attach: Any, version: int, shown: tuple[str, ...]) -> None:
    modes = {1: "1601 1606 1602", 3: "1601 1607 1605"}[version].split()
    rights = f"0202 0102 0203 0f01 {modes[0]} 00 0203 0f02 {modes[1]} 00 0101 0202 0f01 {modes[2]}"
    association = f"0204 12000f 11{version:02x} 0906 0000280000ff 0202 0100 0100"
    register = f"0204 120003 1100 0906 0100010800ff {rights}"
    session, meter = await attach(prepare=known)
    meter.data["15/0-0:40.0.0.255/2"] = bytes.fromhex(f"0102 {association} {register}")
    listed = await session.objects()
    assert [info.ref.address for info in listed] == ["15/0-0:40.0.0.255/2", ENERGY]
    assert (listed[1].attributes, listed[1].methods) == ({1: shown[0], 2: shown[1]}, {1: shown[2]})
    assert (listed[1].quantity, listed[1].class_name) == ("active_energy_import_total", "Register")
    meter.data["15/0-0:40.0.0.255/2"] = bytes.fromhex(f"0101 {register}")
    assert len(await session.objects()) == 2  # asked once
    session.forget()
    assert len(await session.objects()) == 1
    session.forget()
    meter.data["15/0-0:40.0.0.255/2"] = b"\x00"
    with pytest.raises(DecodeError):
        await session.objects()


async def test_commands(attach: Any) -> None:
    session, meter = await attach(prepare=known)

    def follow(event: Any) -> None:
        if isinstance(event, ActionRequestNormal):
            meter.data["70/0-0:96.3.10.255/2"] = bytes((0x03, event.method.method_id == 2))

    meter.script = follow
    for kind, closed in [(CommandKind.DISCONNECT, False), (CommandKind.RECONNECT, True)]:
        outcome = await session.execute(Command(kind=kind))
        assert (outcome.verdict, outcome.observed) == (Verdict.CONFIRMED, closed)
    outcome = await session.execute(Command(kind=CommandKind.SET_CLOCK, params={"at": 1_900_000_000_000}))
    assert outcome.verdict is Verdict.CONFIRMED
    assert meter.data[CLOCK][-3:] == bytes.fromhex("ffc400")  # as its own clock shows it: an hour east of Greenwich
    outcome = await session.execute(Command(kind=CommandKind.SET_CLOCK))
    assert outcome.verdict is Verdict.CONFIRMED
    write = {"ref": f"dlms:{VOLTAGE}", "value": 99}
    assert (await session.execute(Command(kind=CommandKind.WRITE, params=write))).observed == 99
    assert meter.data[VOLTAGE] == b"\x12\x00\x63"
    invoke = Command(kind=CommandKind.INVOKE, params={"ref": "3/1-0:1.8.0.255/1", "value": 1})
    assert (await session.execute(invoke)).verdict is Verdict.CONFIRMED
    assert meter.heard[-1].parameters == b"\x0f\x01"


@pytest.mark.parametrize(
    "command",
    [
        Command(kind=CommandKind.WRITE, params={"ref": VOLTAGE}),
        Command(kind=CommandKind.WRITE, params={"value": 1}),
        Command(kind=CommandKind.WRITE, params={"ref": VOLTAGE, "value": 70000}),
        Command(kind=CommandKind.INVOKE, params={"ref": VOLTAGE, "value": 300}),
        Command(kind=CommandKind.SET_CLOCK, params={"at": "noon"}),
    ],
)
async def test_commands_that_make_no_sense(attach: Any, command: Command) -> None:
    session, meter = await attach(prepare=known)
    with pytest.raises(ConfigError):
        await session.execute(command)
    assert not any(isinstance(event, SetRequestNormal | ActionRequestNormal) for event in meter.heard)


async def test_a_command_that_is_refused_or_shows_no_effect(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    outcome = await session.execute(Command(kind=CommandKind.DISCONNECT))
    assert (outcome.verdict, outcome.observed) == (Verdict.UNKNOWN, True)
    meter.script = lambda event: [ExceptionResponse(1, 2)] if isinstance(event, ActionRequestNormal) else None
    assert (await session.execute(Command(kind=CommandKind.RECONNECT))).verdict is Verdict.REFUSED
    meter.script = lambda event: (
        [ActionResponseNormal(event.invoke_id_and_priority, ActionResult.OBJECT_UNAVAILABLE)]
        if isinstance(event, ActionRequestNormal)
        else None
    )
    assert "object-unavailable" in (await session.execute(Command(kind=CommandKind.RECONNECT))).detail
    invoke = Command(kind=CommandKind.INVOKE, params={"ref": "3/1-0:1.8.0.255/1"})
    assert (await session.execute(invoke)).verdict is Verdict.REFUSED
    meter.script = lambda _event: None
    del meter.data["70/0-0:96.3.10.255/2"]
    outcome = await session.execute(Command(kind=CommandKind.DISCONNECT))
    assert (outcome.verdict, outcome.detail.split(":")[0]) == (Verdict.UNKNOWN, "done, not read back")


@pytest.mark.parametrize("kind", [CommandKind.DISCONNECT, CommandKind.INVOKE])
async def test_a_command_without_an_answer_is_unknown_and_not_repeated(
    attach: Any, silence: Any, kind: CommandKind
) -> None:
    session, meter = await attach(prepare=known, timeout=0.05)
    meter.script = lambda event: silence if isinstance(event, ActionRequestNormal) else None
    outcome = await session.execute(Command(kind=kind, params={"ref": "70/0-0:96.3.10.255/1"}))
    assert outcome.verdict is Verdict.UNKNOWN
    assert sum(isinstance(event, ActionRequestNormal) for event in meter.heard) == 1


@pytest.mark.parametrize(
    ("command", "request_type", "answer"),
    [
        (
            Command(kind=CommandKind.INVOKE, params={"ref": "3/1-0:1.8.0.255/1"}),
            ActionRequestNormal,
            ActionResponseNextPblock(0xC0, 1),
        ),
        (
            Command(kind=CommandKind.WRITE, params={"ref": VOLTAGE, "value": 1}),
            SetRequestNormal,
            SetResponseDatablock(0xC0, 1),
        ),
    ],
)
async def test_answers_of_another_kind(attach: Any, command: Command, request_type: Any, answer: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.script = lambda event: (
        [replace(answer, invoke_id_and_priority=event.invoke_id_and_priority)]
        if isinstance(event, request_type)
        else None
    )
    assert (await session.execute(command)).verdict is Verdict.UNKNOWN


async def test_writing_switches_and_texts(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    switch = {"ref": "70/0-0:96.3.10.255/2", "value": 0}
    assert (await session.execute(Command(kind=CommandKind.WRITE, params=switch))).observed is False
    text = {"ref": "1/0-0:96.1.0.255/2", "value": "XYZ"}
    assert (await session.execute(Command(kind=CommandKind.WRITE, params=text))).observed == "XYZ"
    with pytest.raises(ObjectUndefined):
        await session.execute(Command(kind=CommandKind.WRITE, params={"ref": "3/1-0:9.9.9.255/2", "value": 1}))
    refused = SetResponseNormal(0xC0, DataAccessResult.READ_WRITE_DENIED)
    meter.script = lambda event: (
        [replace(refused, invoke_id_and_priority=event.invoke_id_and_priority)]
        if isinstance(event, SetRequestNormal)
        else None
    )
    assert (await session.execute(Command(kind=CommandKind.WRITE, params=text))).verdict is Verdict.REFUSED


async def test_a_clock_that_holds_no_time(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.data[CLOCK] = b"\x11\x01"
    assert list((await session.read(plan(CLOCK))).values) == [1]
    with pytest.raises(CapabilityError, match="no date-time"):
        await session.execute(Command(kind=CommandKind.SET_CLOCK))


async def test_a_lost_session_sends_nothing(attach: Any) -> None:
    session, meter = await attach(prepare=known)
    meter.link.abort()
    while session.sound:  # noqa: ASYNC110 - the memory link needs some turns of the loop, nothing else
        await asyncio.sleep(0)
    with pytest.raises(LinkClosed):
        await session.objects()


async def test_a_meter_file_without_a_relay(attach: Any) -> None:
    profile = MeterProfile(
        id="x", vendor="v", model="m", protocol="dlms", state=ProfileState.DRAFT, source="s",
        objects=(ObjectEntry(ref=driver.parse_ref(VOLTAGE), scaler=-1, exponent=-1, unit="V"),),
    )  # fmt: skip
    session, meter = await attach(prepare=known, profile=profile)
    assert Capability.RELAY not in session.capabilities
    with pytest.raises(CapabilityError):
        await session.execute(Command(kind=CommandKind.DISCONNECT))
    await session.execute(Command(kind=CommandKind.WRITE, params={"ref": VOLTAGE, "value": 231.5}))
    assert meter.data[VOLTAGE] == b"\x12\x09\x0b"


async def test_closing_releases_and_is_quick(attach: Any, framing: str, silence: Any) -> None:
    session, meter = await attach(framing, prepare=known)
    await session.aclose()
    await session.aclose()
    assert meter.heard[-1] == Rlrq()
    assert not session.sound
    session, meter = await attach(framing, prepare=known)
    meter.script = lambda _event: silence
    started = asyncio.get_running_loop().time()
    await session.aclose()
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_meter_behind_a_gateway(attach: Any, framing: str) -> None:
    def behind(meter: Any) -> None:
        known(meter)
        meter.framing = GatewayFraming(meter.framing, network=3, device=b"000012")
        meter.connection = DlmsConnection(Role.SERVER, meter.framing)

    session, meter = await attach(framing, prepare=behind, network="3", device="000012")
    for _ in range(2):
        assert list((await session.read(plan(ENERGY, VOLTAGE))).values) == [1234567, 2302]
    assert not any(isinstance(event, Exception) for event in meter.heard)

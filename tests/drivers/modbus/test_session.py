"""The session against the driver's own meter role, and against answers written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headend.drivers.base import Capability
from headend.drivers.library import Library, load_profile
from headend.drivers.mapping import to_batch
from headend.drivers.modbus import driver
from headend.errors import (
    Busy,
    CapabilityError,
    ConfigError,
    LinkTimeout,
    LocalProtocolError,
    ObjectUndefined,
    RemoteProtocolError,
    ServiceRefused,
)
from headend.model.job import Command, CommandKind, Verdict
from headend.model.objects import HistoryRequest, ReadPlan
from headend.model.profile import MeterProfile
from headend.model.reading import Source
from headend.transport.memory import MemoryLink

from .conftest import FixedMeter

FRAMINGS = pytest.mark.parametrize("framing", ["tcp", "rtu"])
PlanOf = Callable[[MeterProfile], ReadPlan]


class Scripted:
    """A far end that gives prepared answers, whatever it is asked; `{tid}` octets are those of the request."""

    def __init__(self, link: MemoryLink, *answers: str) -> None:
        self._link = link
        self._answers = list(answers)
        self.requests: list[bytes] = []
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.requests.append(data)
        answer = self._answers.pop(0).replace("TID", data[:2].hex())
        self._link.write(bytes.fromhex(answer))

    def link_lost(self, error: Any) -> None:
        pass


@FRAMINGS
@pytest.mark.parametrize("split", [0, 1], ids=["whole", "octet by octet"])
async def test_a_poll_from_registers_to_readings(
    bench: Any, acme: Any, plan_of: PlanOf, framing: str, split: int
) -> None:
    session = await bench.session(acme, framing, split=split)
    plan = plan_of(acme.profile)
    for _ in range(2):
        result = await session.read(plan)
        assert result.errors == {}
        assert result.values == [230.5, -123456, 4998, 123456, 15, 11.5, "A17", "M1", True, False, True]
    batch = to_batch("m", plan, result, 1000, Source.POLL)
    assert dict(zip(batch.quantities, batch.values, strict=True)) == {
        "voltage_l1": 230.5,
        "active_power_total": -12345.6,
        "frequency": 49.98,
        "active_energy_import_total": 1234560,
        "serial_number": "A17",
        "meter_model": "M1",
    }
    assert len(bench.sent) == 2 * 6  # coils, discrete, holding in two neighbourhoods, input in two
    assert session.sound


async def test_request_octets_are_those_of_the_standard(bench: Any, acme: Any) -> None:
    session = await bench.session(acme)
    plan = ReadPlan(entries=acme.profile.objects[:2])
    await session.read(plan)
    assert bench.sent == [bytes.fromhex("0001 0000 0006 01 04 0000 0006")]


async def test_values_that_are_not_available_are_missing(bench: Any) -> None:
    profile = load_profile(
        """
        [meter]
        vendor = "ABB"
        model = "B21"
        protocol = "modbus"
        source = "test"
        [[object]]
        ref = "holding/0x5B00/u32"
        quantity = "voltage_l1"
        unit = "V"
        scaler = -1
        [[object]]
        ref = "holding/0x5B02/u32"
        quantity = "voltage_l2"
        unit = "V"
        scaler = -1
        [[quirk]]
        name = "not-available-patterns"
        """,
        "abb",
    )
    near, far = bench.pair()
    Scripted(far, "TID 0000 000B 01 03 08 00000903 FFFFFFFF")
    session = await bench.attach(near, profile)
    plan = ReadPlan(entries=profile.objects)
    batch = to_batch("m", plan, await session.read(plan), 0, Source.POLL)
    assert list(batch.values) == [230.7]
    assert [(gone.quantity, gone.code) for gone in batch.missing] == [("voltage_l2", "null")]


async def test_a_refused_block_is_halved_until_the_refused_value_is_found(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    exception, volts, hertz = (
        "TID 0000 0003 01 84 02",
        "TID 0000 0007 01 04 04 43668000",
        "TID 0000 0005 01 04 02 1388",
    )
    once = (exception, volts, exception, exception, hertz)
    far_end = Scripted(far, *once, *once, volts, hertz)
    session = await bench.attach(near, acme.profile)
    plan = ReadPlan(entries=acme.profile.objects[:3])
    result = await session.read(plan)
    assert result.values == [230.5, None, 5000]
    assert isinstance(result.errors[1], ObjectUndefined)
    for _ in range(2):
        again = await session.read(plan)
        assert again.values == result.values
        assert {at: str(error) for at, error in again.errors.items()} == {1: str(result.errors[1])}
    asked = [(request[9], request[11]) for request in far_end.requests]
    assert asked == 2 * [(0, 7), (0, 2), (4, 3), (4, 2), (6, 1)] + [(0, 2), (6, 1)]


async def test_too_long_a_read_is_halved_too(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0000 0003 01 84 03", "TID 0000 0007 01 04 04 43668000", "TID 0000 0007 01 04 04 00010000")
    session = await bench.attach(near, acme.profile)
    result = await session.read(ReadPlan(entries=acme.profile.objects[:2]))
    assert (result.values, result.errors) == ([230.5, 65536 >> 16], {})


@pytest.mark.parametrize(("code", "error"), [("06", Busy), ("04", ServiceRefused), ("01", ServiceRefused)])
async def test_other_refusals_are_errors_of_the_entries(bench: Any, acme: Any, code: str, error: type) -> None:
    near, far = bench.pair()
    Scripted(far, f"TID 0000 0003 01 84 {code}", "TID 0000 000F 01 04 0C" + "00" * 12)
    session = await bench.attach(near, acme.profile)
    plan = ReadPlan(entries=acme.profile.objects[:2])
    result = await session.read(plan)
    assert [type(found) for found in result.errors.values()] == [error, error]
    assert session.sound
    assert (await session.read(plan)).errors == {}


async def test_a_gateway_that_cannot_reach_the_unit_is_a_time_out(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0000 0003 01 84 0B")
    session = await bench.attach(near, acme.profile)
    with pytest.raises(LinkTimeout, match="gateway target"):
        await session.read(ReadPlan(entries=acme.profile.objects[:2]))
    assert not session.sound


@FRAMINGS
async def test_silence_ends_the_session(bench: Any, profile: MeterProfile, framing: str) -> None:
    near, far = bench.pair()
    far.set_receiver(Scripted(far, ""))
    session = await bench.attach(near, profile, framing, timeout=0.01)
    plan = ReadPlan(entries=profile.objects[:1])
    with pytest.raises(LinkTimeout) as caught:
        await session.read(plan)
    assert "said nothing" in caught.value.hint
    assert not session.sound
    with pytest.raises(LinkTimeout):
        await session.read(plan)


async def test_a_time_out_tells_of_noise(bench: Any, profile: MeterProfile) -> None:
    near, far = bench.pair()
    Scripted(far, "FFEEDD")
    session = await bench.attach(near, profile, "rtu", timeout=0.01)
    with pytest.raises(LinkTimeout) as caught:
        await session.read(ReadPlan(entries=profile.objects[:1]))
    assert "3 octets of noise" in caught.value.hint


async def test_broken_octets_end_the_session(bench: Any, profile: MeterProfile) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0007 0005 01 04 02 0000")
    session = await bench.attach(near, profile)
    with pytest.raises(RemoteProtocolError, match="protocol id"):
        await session.read(ReadPlan(entries=profile.objects[:1]))
    assert not session.sound


async def test_answers_of_other_units_are_not_taken(bench: Any, profile: MeterProfile) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0000 0007 02 04 04 3F800000  FFFF 0000 0007 01 04 04 3F800000  TID 0000 0007 01 04 04 43668000")
    session = await bench.attach(near, profile)
    assert (await session.read(ReadPlan(entries=profile.objects[:1]))).values == [230.5]


async def test_units_share_a_wire(bench: Any, profile: MeterProfile, fixed_meter: Any) -> None:
    near, far = bench.pair()
    values = [230.5, 0, 50, 0, 15, 0, "A", "M", True, False, True]
    for unit in (1, 2, 3):
        driver.serve(far, fixed_meter(profile, [float(unit), *values[1:]], {"unit": str(unit)}))
    plan = ReadPlan(entries=profile.objects[:1])
    for unit in (3, 1, 2):
        session = await bench.attach(near, profile, unit=str(unit))
        assert (await session.read(plan)).values == [float(unit)]
    silent = await bench.attach(near, profile, unit="9")
    with pytest.raises(LinkTimeout, match="gateway target failed to respond"):
        await silent.read(plan)


async def test_one_call_at_a_time(bench: Any, profile: MeterProfile) -> None:
    near, far = bench.pair()
    Scripted(far, "", "")
    session = await bench.attach(near, profile)
    plan = ReadPlan(entries=profile.objects[:1])
    first = asyncio.ensure_future(session.read(plan))
    await asyncio.sleep(0)
    with pytest.raises(LocalProtocolError, match="in flight"):
        await session.read(plan)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_ad_hoc_plans_do_not_pile_up(bench: Any, acme: Any) -> None:
    session = await bench.session(acme)
    for _ in range(70):
        await session.read(ReadPlan(entries=acme.profile.objects[:1]))
    assert len(session._plans) <= 64


# -- identity


async def test_identity_registers_of_the_profile_come_first(bench: Any, acme: Any) -> None:
    identity = await (await bench.session(acme)).identify()
    assert (identity.serial, identity.model, identity.manufacturer, identity.meter_address) == ("A17", "M1", "", "1")
    assert len(bench.sent) == 1


async def test_identity_registers_without_a_value_stay_empty(bench: Any, acme: Any) -> None:
    acme.values[6] = ""
    identity = await (await bench.session(acme)).identify()
    assert (identity.serial, identity.model) == ("", "M1")


async def test_device_identification(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    driver.serve(far, acme)
    identity = await (await bench.attach(near, None)).identify()
    assert (identity.manufacturer, identity.model, identity.firmware) == ("Acme", "M1", "2.1")
    assert bench.sent == [bytes.fromhex("0001 0000 0005 01 2B 0E 01 00")]


async def test_device_identification_in_pieces(bench: Any) -> None:
    near, far = bench.pair()
    far_end = Scripted(
        far, "TID 0000 000D 01 2B 0E 01 01 FF 02 01 00 03 414243", "TID 0000 000C 01 2B 0E 01 01 00 00 01 02 02 5632"
    )
    identity = await (await bench.attach(near, None)).identify()
    assert (identity.manufacturer, identity.firmware) == ("ABC", "V2")
    assert far_end.requests[1][7:] == bytes.fromhex("2B 0E 01 02")


async def test_report_server_id_where_there_is_no_device_identification(bench: Any) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0000 0003 01 AB 01", "TID 0000 000B 01 11 08 07 FF 53444D000031")
    identity = await (await bench.attach(near, None)).identify()
    assert (identity.model, identity.meter_address) == ("SDM 1", "1")


async def test_a_meter_that_does_not_say_who_it_is(bench: Any) -> None:
    near, far = bench.pair()
    Scripted(far, "TID 0000 0003 01 AB 01", "TID 0000 0003 01 91 01")
    identity = await (await bench.attach(near, None, unit="1")).identify()
    assert identity.model == identity.serial == ""


async def test_a_silent_meter_cannot_be_identified(bench: Any) -> None:
    near, far = bench.pair()
    Scripted(far, "")
    session = await bench.attach(near, None, timeout=0.01)
    with pytest.raises(LinkTimeout):
        await session.identify()
    assert not session.sound


# -- commands


def write(ref: str, value: object) -> Command:
    return Command(kind=CommandKind.WRITE, params={"ref": ref, "value": value})  # type: ignore[dict-item]


@FRAMINGS
@pytest.mark.parametrize(
    ("ref", "value", "index", "request_"),
    [
        ("modbus:holding/0x0010/u16", 30, 4, "06 0010 001E"),
        ("holding/0x0011/f32", 5750.0, 5, "10 0011 0002 04 40B80000"),  # 5.75 kW
        ("coil/0x0001", False, 8, "05 0001 0000"),
        ("coil/0x0001", True, 8, "05 0001 FF00"),
    ],
)
async def test_writes_are_read_back(
    bench: Any, acme: Any, framing: str, ref: str, value: object, index: int, request_: str
) -> None:
    session = await bench.session(acme, framing)
    outcome = await session.execute(write(ref, value))
    assert outcome.verdict is Verdict.CONFIRMED
    assert acme.values[index] == value
    assert bytes.fromhex(request_) in bench.sent[0]
    assert len(bench.sent) == 2
    assert (await session.verify(write(ref, value), 0)).verdict is Verdict.CONFIRMED
    acme.values[index] = not value if isinstance(value, bool) else acme.values[index] + 1
    assert (await session.verify(write(ref, value), 0)).verdict is Verdict.REFUSED
    assert (await session.verify(Command(kind=CommandKind.INVOKE), 0)).verdict is Verdict.UNKNOWN
    assert len(bench.sent) == 4


async def test_a_write_that_the_meter_refuses(bench: Any, acme: Any) -> None:
    acme.frozen.add(4)
    outcome = await (await bench.session(acme)).execute(write("holding/0x0010/u16", 30))
    assert outcome.verdict is Verdict.REFUSED
    assert "illegal data address" in outcome.detail


ECHO = "TID 0000 0006 01 06 0010 001E"


@pytest.mark.parametrize(
    ("answers", "detail"),
    [
        ([""], "no answer"),
        (["TID 0000 0006 01 06 0010 0000"], "echo"),
        ([ECHO, ""], "not read back"),
        ([ECHO, "TID 0000 0003 01 83 02"], "not read back"),
        ([ECHO, "TID 0000 0003 01 83 04"], "not read back"),
        ([ECHO, "TID 0000 0005 01 03 02 0000"], "reads otherwise"),
    ],
)
async def test_writes_of_unknown_outcome(bench: Any, acme: Any, answers: list[str], detail: str) -> None:
    near, far = bench.pair()
    Scripted(far, *answers)
    session = await bench.attach(near, acme.profile, timeout=0.01)
    outcome = await session.execute(write("holding/0x0010/u16", 30))
    assert outcome.verdict is Verdict.UNKNOWN
    assert detail in outcome.detail


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Command(kind=CommandKind.DISCONNECT), CapabilityError),
        (Command(kind=CommandKind.WRITE), ConfigError),
        (write("input/0x0000/f32", 1), CapabilityError),
        (write("coil/0x0003", 1), CapabilityError),
        (write("holding/0x0020/text4", "x"), CapabilityError),
        (write("holding/0x0099/u16", 1), CapabilityError),
        (write("holding/0x0010/u16", 70000), ConfigError),
        (write("nowhere/1/u16", 1), ConfigError),
    ],
)
async def test_commands_that_never_reach_the_wire(bench: Any, acme: Any, command: Command, error: type) -> None:
    session = await bench.session(acme)
    with pytest.raises(error):
        await session.execute(command)
    assert bench.sent == []


@FRAMINGS
async def test_commands_that_a_meter_file_names(bench: Any, framing: str) -> None:
    """SDM630 Modbus protocol v1.8: 461457, F0 10, "00 00: reset the Maximum demand", two octets, by function 10."""
    session = await bench.session(FixedMeter(Library().get("eastron-sdm630"), []), framing)
    assert Capability.RESET in session.capabilities
    assert Capability.RELAY not in session.capabilities
    reset = Command(kind=CommandKind.RESET_DEMAND)
    outcome = await session.execute(reset)
    assert (outcome.verdict, outcome.detail) == (Verdict.CONFIRMED, "the meter has acknowledged")
    assert bytes.fromhex("01 10 F010 0001 02 0000") in bench.sent[0]
    assert (await session.verify(reset, 0)).verdict is Verdict.UNKNOWN
    assert len(bench.sent) == 1


async def test_a_relay_behind_a_coil(bench: Any) -> None:
    text = '[meter]\nvendor="a"\nmodel="b"\nprotocol="modbus"\nsource="t"\n'
    for kind, value in (("disconnect", 0), ("reconnect", 1)):
        text += f'[[command]]\nkind = "{kind}"\nref = "coil/0x0003"\nvalue = {value}\n'
    near, far = bench.pair()
    Scripted(far, "TID 0000 0006 01 05 0003 0000", "TID 0000 0004 01 01 01 00", "TID 0000 0003 01 85 02")
    session = await bench.attach(near, load_profile(text, "a-b"))
    assert Capability.RELAY in session.capabilities
    assert (await session.execute(Command(kind=CommandKind.DISCONNECT))).verdict is Verdict.CONFIRMED
    assert (await session.verify(Command(kind=CommandKind.DISCONNECT), 0)).verdict is Verdict.CONFIRMED
    assert (await session.execute(Command(kind=CommandKind.RECONNECT))).verdict is Verdict.REFUSED


async def test_without_a_profile_raw_values_are_written(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    driver.serve(far, acme)
    session = await bench.attach(near, None)
    outcome = await session.execute(write("holding/0x0011/f32", 2.5))
    assert (outcome.verdict, outcome.observed, acme.values[5]) == (Verdict.CONFIRMED, 2.5, 2500.0)


# -- the rest of the contract


async def test_objects_and_capabilities(bench: Any, acme: Any) -> None:
    session = await bench.session(acme)
    assert session.capabilities == {Capability.READ, Capability.WRITE, Capability.OBJECTS}
    objects = await session.objects()
    assert [str(info.ref) for info in objects][:2] == ["modbus:input/0x0000/f32", "modbus:input/0x0004/i32-little"]
    assert objects[4].attributes == {0: "rw"}
    assert session.notifications() == ()
    with pytest.raises(CapabilityError):
        session.read_history(HistoryRequest(ref=objects[0].ref))
    await session.aclose()
    await session.aclose()
    assert not session.sound


async def test_without_a_profile_there_is_no_object_list(bench: Any) -> None:
    session = await bench.attach(bench.pair()[0], None)
    assert Capability.OBJECTS not in session.capabilities
    with pytest.raises(CapabilityError, match="object list"):
        await session.objects()


async def test_a_profile_without_writable_objects_cannot_be_written(bench: Any) -> None:
    profile = load_profile('[meter]\nvendor="a"\nmodel="b"\nprotocol="modbus"\nsource="t"', "a-b")
    session = await bench.attach(bench.pair()[0], profile)
    assert Capability.WRITE not in session.capabilities
    with pytest.raises(CapabilityError):
        await session.execute(write("holding/0/u16", 1))


async def test_an_unknown_framing_is_refused(bench: Any, profile: MeterProfile) -> None:
    with pytest.raises(ConfigError, match="framing"):
        await bench.attach(bench.pair()[0], profile, "ascii")


async def test_a_lost_link_fails_the_request(bench: Any, profile: MeterProfile) -> None:
    near, far = bench.pair()
    session = await bench.attach(near, profile)
    reading = asyncio.ensure_future(session.read(ReadPlan(entries=profile.objects[:1])))
    await asyncio.sleep(0)
    far.abort()
    with pytest.raises(Exception, match="closed"):
        await reading
    assert not session.sound

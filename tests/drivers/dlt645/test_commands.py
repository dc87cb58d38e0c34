"""Commands: what is sent, what the virtual meter does, what is found by reading back, and what is not known."""

from __future__ import annotations

import time
from typing import Any

import pytest

from headend.drivers.base import Capability
from headend.errors import CapabilityError, ConfigError, KeyMissing
from headend.model.job import Verdict
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.requests import Control
from headend.standards.dlt645 import Version

CONFIRMED, REFUSED, UNKNOWN = Verdict.CONFIRMED, Verdict.REFUSED, Verdict.UNKNOWN


@pytest.fixture(autouse=True)
def _now(bench: Any) -> None:
    """Commands know the time of the world: so do the meters here."""
    bench.clock = time.time_ns() // 1_000_000


def controls(bench: Any) -> list[Control]:
    """The commands to relays that were sent."""
    return [Control.from_octets(bytes.fromhex(data), Version.V2007) for _, code, data in bench.asked if code == 0x1C]


async def test_the_relay(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42", operator="12345678")
    outcome = await session.execute(bench.command("disconnect"))
    assert (outcome.verdict, outcome.observed) == (CONFIRMED, "open")
    assert not meter.relay_closed()
    outcome = await session.execute(bench.command("allow-reconnect"))
    assert (outcome.verdict, outcome.observed) == (CONFIRMED, "open")
    assert not meter.relay_closed()
    outcome = await session.execute(bench.command("reconnect"))
    assert (outcome.verdict, outcome.observed) == (CONFIRMED, "closed")
    assert meter.relay_closed()
    assert [each.command for each in controls(bench)] == [0x1A, 0x1B, 0x1C]
    assert {each.operator.hex() for each in controls(bench)} == {"78563412"}


async def test_a_captured_command_to_the_relay_is_understood_by_the_meter(bench: Any) -> None:
    """Level 02, password 020637, operator 00000001, trip, valid until 2099-12-30 (olivenet-iot and others)."""
    meter = bench.meter(number=151230011061, secret=b"020637")
    bench.near.write(
        bytes.fromhex("68 61 10 01 30 12 15 68 1C 10 35 6A 39 35 34 33 33 33 4D 33 33 33 33 63 45 CC 2C 16")
    )
    session = await bench.attach("generic-dlt645-3p", address="151230011061")
    await session.read(bench.plan("04000503"))
    assert not meter.relay_closed()


async def test_verifying_reads_and_changes_nothing(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    since = bench.clock
    for kind, before in (
        ("disconnect", REFUSED),
        ("reconnect", CONFIRMED),
        ("reset-demand", REFUSED),
        ("freeze", REFUSED),
    ):
        assert (await session.verify(bench.command(kind), since)).verdict is before
    assert {code for _, code, _ in bench.asked} <= {0x11, 0x12}
    meter.switch_relay(closed=False)
    assert (await session.verify(bench.command("disconnect"), since)).verdict is CONFIRMED
    assert (await session.verify(bench.command("change-secret", b"111111"), since)).verdict is UNKNOWN


async def test_a_lost_answer_is_unknown_sent_once_and_found_out_by_reading(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42", timeout=0.1)
    bench.damage(loss=1.0)
    since = bench.clock
    outcome = await session.execute(bench.command("disconnect"))
    assert outcome.verdict is UNKNOWN
    assert len(controls(bench)) == 1
    assert not session.sound
    assert not meter.relay_closed()
    later = type(bench)()
    later.join(meter)
    fresh = await later.attach("generic-dlt645-3p", address="42")
    assert (await fresh.verify(later.command("disconnect"), since)).verdict is CONFIRMED
    assert controls(later) == []
    await later.aclose()


async def test_a_wrong_password_is_refused_with_the_reason_of_the_meter(bench: Any) -> None:
    meter = bench.meter(secret=b"123456")
    session = await bench.attach("generic-dlt645-3p", address="42", secret=b"654321")
    outcome = await session.execute(bench.command("disconnect"))
    assert outcome.verdict is REFUSED
    assert "wrong password" in outcome.detail
    assert "654321" not in outcome.detail
    assert meter.relay_closed()
    assert len(bench.sent) == 1
    assert session.sound


async def test_a_level_that_is_not_enough(bench: Any) -> None:
    bench.meter(level="4")
    session = await bench.attach("generic-dlt645-3p", address="42", level="4")
    assert (await session.execute(bench.command("clear-meter"))).verdict is REFUSED
    assert (await session.execute(bench.command("write", ref="04000306", value=5))).verdict is CONFIRMED


async def test_without_a_password_nothing_is_sent(bench: Any) -> None:
    bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42", secret=None)
    with pytest.raises(KeyMissing):
        await session.execute(bench.command("disconnect"))
    assert bench.sent == []


@pytest.mark.parametrize("password", [b"12345", b"abcdef", b"1234567", b"\x12\x34"])
async def test_passwords_that_cannot_be(bench: Any, password: bytes) -> None:
    with pytest.raises(ConfigError, match="six digits"):
        await bench.attach("generic-dlt645-3p", secret=password)


@pytest.mark.parametrize(
    ("profile", "clock", "codes"),
    [
        ("generic-dlt645-3p", "usual", [0x14]),
        ("generic-dlt645-3p", "separate", [0x14, 0x14]),
        ("generic-dlt645-1997", "usual", [0x04, 0x04]),
    ],
)
async def test_the_clock(bench: Any, profile: str, clock: str, codes: list[int]) -> None:
    meter = bench.meter(profile)
    session = await bench.attach(profile, address="42", clock=clock)
    wanted = bench.clock - 7_200_000
    outcome = await session.execute(bench.command("set-clock", at=wanted))
    assert outcome.verdict is CONFIRMED
    assert abs(meter.now() - wanted) < 2000
    assert [code for _, code, _ in bench.asked][: len(codes)] == codes
    assert (await session.verify(bench.command("set-clock"), bench.clock)).verdict is REFUSED


async def test_the_clock_by_broadcast_moves_by_minutes_at_most(bench: Any) -> None:
    bench.clock = bench.clock // 86_400_000 * 86_400_000 + 4 * 3_600_000  # noon in China
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42", clock="broadcast", secret=None)
    await session.execute(bench.command("set-clock", at=bench.clock + 3_600_000))
    assert bench.asked[0][:2] == ("999999999999", 0x08)
    assert abs(meter.now() - bench.clock) < 2000
    await session.execute(bench.command("set-clock", at=bench.clock + 60_000))
    assert abs(meter.now() - bench.clock - 60_000) < 2000


async def test_freezing(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    plan = bench.plan("05010101/0")
    assert (await session.read(plan)).values == [None]
    index = next(i for i, e in enumerate(meter.profile.objects) if e.quantity == "active_energy_import_total")
    kept = meter.value(index, bench.clock)
    assert (await session.execute(bench.command("freeze"))).verdict is CONFIRMED
    bench.clock += 3 * 3_600_000
    assert abs((await session.read(plan)).values[0] * 10 - kept) <= 5
    outcome = await session.execute(bench.command("freeze", value="99990100"))
    assert outcome.verdict is CONFIRMED
    assert bench.asked[-1][1:] == (0x16, "00019999")
    result = await session.read(bench.plan("05000001"))
    assert result.values[0][11:] == "01:00"


async def test_clearing(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    plan = bench.plan("01010000", "00010000")
    demand, energy = (await session.read(plan)).values
    assert demand > 0 < energy
    assert (await session.execute(bench.command("reset-demand"))).verdict is CONFIRMED
    assert (await session.read(plan)).values == [0, energy]
    assert (await session.execute(bench.command("clear-meter"))).verdict is CONFIRMED
    assert (await session.read(plan)).values == [0, 0]
    bench.clock += 3_600_000
    assert 0 < (await session.read(plan)).values[1] < energy
    assert meter.relay_closed()
    counts = bench.plan("03300100", "03300200", "03300300")
    assert (await session.read(counts)).values == [1, 0, 0]
    assert (await session.execute(bench.command("clear-events", ref="03300100"))).verdict is CONFIRMED
    assert bench.asked[-4][1:] == (0x1B, "02000000" + "00000000" + "ff013003")
    assert (await session.read(counts)).values == [0, 0, 1]


async def test_a_meter_that_keeps_no_record_of_it_has_acknowledged(bench: Any) -> None:
    bench.script(
        {
            bench.frame("42", 0x19, "02000000" + "00000000"): bench.frame("42", 0x99),
            bench.frame("42", 0x11, "01023003"): bench.frame("42", 0xD1, "02"),
        }
    )
    session = await bench.attach(address="42")
    outcome = await session.execute(bench.command("reset-demand"))
    assert (outcome.verdict, outcome.detail) == (CONFIRMED, "the meter has acknowledged")


async def test_the_password_is_changed_and_used_from_then_on(bench: Any) -> None:
    meter = bench.meter(secret=b"123456")
    session = await bench.attach("generic-dlt645-3p", address="42", secret=b"123456")
    outcome = await session.execute(bench.command("change-secret", b"654321", name="secret"))
    assert outcome.verdict is CONFIRMED
    assert bench.asked[0][1:] == (0x18, "030c0004" + "02563412" + "02214365")
    assert (await session.execute(bench.command("disconnect"))).verdict is CONFIRMED
    assert not meter.relay_closed()
    assert "654321" not in repr(session._commander._password)


async def test_writing(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    outcome = await session.execute(bench.command("write", ref="dlt645:04000306", value=150))
    assert (outcome.verdict, outcome.observed) == (CONFIRMED, 150)
    assert bench.asked[0][1:] == (0x14, "06030004" + "02000000" + "00000000" + "500100")
    outcome = await session.execute(bench.command("write", ref="04000306", value="hex:600100"))
    assert outcome.observed == 160
    assert (
        next(meter.value(i, bench.clock) for i, e in enumerate(meter.profile.objects) if "04000306" in str(e.ref))
        == 160
    )
    sent = len(bench.sent)
    for ref, value, error in (
        ("00010000", 1, CapabilityError), ("04000306", 10_000_000, ConfigError), ("04000306", "hex:0", ConfigError),
    ):  # fmt: skip
        with pytest.raises(error):
            await session.execute(bench.command("write", ref=ref, value=value))
    assert len(bench.sent) == sent


async def test_a_write_that_the_meter_refuses(bench: Any) -> None:
    bench.script(
        {bench.frame("42", 0x14, "06030004" + "02000000" + "00000000" + "050000"): bench.frame("42", 0xD4, "04")}
    )
    session = await bench.attach(address="42")
    outcome = await session.execute(bench.command("write", ref="04000306", value=5))
    assert outcome.verdict is REFUSED
    assert "not authorised" in outcome.detail


@pytest.mark.parametrize(
    ("name", "value", "code", "data"),
    [("alarm", 1, 0x1C, "2a"), ("alarm", 0, 0x1C, "2b"), ("keep-power", 1, 0x1C, "3a"), ("keep-power", 0, 0x1C, "3b"),
     ("baud", 9600, 0x17, "20"), ("output", 1, 0x1D, "01")],
)  # fmt: skip
async def test_what_can_be_invoked(bench: Any, name: str, value: int, code: int, data: str) -> None:
    bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    assert (await session.execute(bench.command("invoke", ref=name, value=value))).verdict is CONFIRMED
    _, sent, octets = bench.asked[0]
    assert sent == code
    assert (octets[16:18] if code == 0x1C else octets) == data


async def test_who_must_be_kept_supplied_is_not_switched_off(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    await session.execute(bench.command("invoke", ref="dlt645:keep-power", value=1))
    assert (await session.execute(bench.command("disconnect"))).verdict is REFUSED
    assert meter.relay_closed()


async def test_commands_that_1997_does_not_have_cost_no_octet(bench: Any) -> None:
    bench.meter("generic-dlt645-1997")
    session = await bench.attach("generic-dlt645-1997", address="42")
    assert Capability.RELAY not in session.capabilities
    for kind in ("disconnect", "freeze", "clear-meter"):
        with pytest.raises(CapabilityError):
            await session.execute(bench.command(kind))
    assert bench.sent == []
    assert (await session.execute(bench.command("reset-demand"))).verdict is CONFIRMED
    assert bench.asked[0][1:] == (0x10, "")


async def test_the_validity_of_a_command_ends(bench: Any) -> None:
    bench.meter()
    bench.clock += 2 * 3_600_000  # the meter's clock is ahead of the command's end
    session = await bench.attach("generic-dlt645-3p", address="42")
    assert (await session.execute(bench.command("disconnect"))).verdict is REFUSED
    assert isinstance(controls(bench)[0].valid_until, Moment)

"""Reading: against captured octets where there are any, else against the virtual meter and what is sent to it."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.base import Capability
from headend.drivers.knowledge import Knowledge
from headend.drivers.mapping import scale
from headend.errors import CapabilityError, ConfigError, LinkTimeout, ObjectUndefined
from headend.model.objects import HistoryRequest, ObjectRef
from headend.standards.dlt645 import Version, find_register

ADDRESS = "000000000161"


async def test_captured_answers_give_their_values(bench: Any) -> None:
    """Frames of one meter, captured (wenku, "DLT645-2007 common frames", and repositories that repeat them)."""
    bench.script(
        {
            "68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16": "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16",
            "68 61 01 00 00 00 00 68 11 04 33 34 34 35 17 16": "68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16",
            "68 61 01 00 00 00 00 68 11 04 33 34 35 35 18 16": "68 61 01 00 00 00 00 68 91 07 33 34 35 35 CC 7C 33 16 16",
            "68 61 01 00 00 00 00 68 11 04 33 33 39 35 1B 16": "68 61 01 00 00 00 00 68 91 06 33 33 39 35 34 38 09 16",
        }
    )
    session = await bench.attach(address="161")
    result = await session.read(bench.plan("00010000", "02010100", "02020100", "02060000"))
    assert result.values == [26, 1001, 4999, 501]
    assert result.exponents == [1, -1, -3, -3]
    assert result.units == ["Wh", "V", "A", ""]
    assert [scale(raw, power) for raw, power in zip(result.values, result.exponents, strict=True)] == [
        *(260, 100.1, 4.999, 0.501)
    ]


async def test_phases_that_do_not_exist_have_no_value(bench: Any) -> None:
    """FF FF, as a single-phase meter (231214000134) was captured to answer."""
    bench.script(
        {
            bench.frame("231214000134", 0x11, "00010102"): "68 34 01 00 14 12 23 68 91 06 33 34 34 35 A4 56 AF 16",
            bench.frame("231214000134", 0x11, "00020102"): "68 34 01 00 14 12 23 68 91 06 33 35 34 35 32 32 1A 16",
        }
    )
    session = await bench.attach(address="231214000134", blocks="no")
    result = await session.read(bench.plan("02010100", "02010200"))
    assert result.values == [2371, None]
    assert not result.errors


async def test_captured_answers_of_1997(bench: Any) -> None:
    """Frames of the meter 000000063295, captured (KTS-Intek/DLT645)."""
    bench.script(
        {
            "68 95 32 06 00 00 00 68 01 02 33 C3 96 16": "68 95 32 06 00 00 00 68 81 06 33 C3 6B 33 33 33 1E 16",
            "68 95 32 06 00 00 00 68 01 02 43 C3 A6 16": "68 95 32 06 00 00 00 68 81 06 43 C3 48 33 33 33 0B 16",
            "68 95 32 06 00 00 00 68 01 02 44 E9 CD 16": "68 95 32 06 00 00 00 68 81 04 44 E9 33 33 B5 16",
            "68 95 32 06 00 00 00 68 01 02 53 C3 B6 16": "68 95 32 06 00 00 00 68 C1 01 35 94 16",
        }
    )
    session = await bench.attach(address="63295", version="1997")
    result = await session.read(bench.plan("9000", "9010", "B611", "9020"))
    assert result.values == [38, 15, 0, None]
    assert isinstance(result.errors[3], ObjectUndefined)
    assert "no such data" in str(result.errors[3])


async def test_names_of_2007_are_spoken_as_a_meter_of_1997_has_them(bench: Any) -> None:
    bench.script({"68 95 32 06 00 00 00 68 01 02 43 C3 A6 16": "68 95 32 06 00 00 00 68 81 06 43 C3 48 33 33 33 0B 16"})
    session = await bench.attach(address="63295", version="1997")
    result = await session.read(bench.plan("00010000"))
    assert (result.values, result.exponents) == ([15], [1])


async def test_names_of_1997_are_not_spoken_to_a_meter_of_2007(bench: Any) -> None:
    session = await bench.attach(address="42")
    result = await session.read(bench.plan("9010", "C021"))
    assert result.values == [None, None]
    assert "no name in DL/T 645-2007" in str(result.errors[1])
    assert bench.sent == []


async def test_values_of_a_block_are_read_together(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    plan = bench.plan("02010100", "00010000", "02010300", "00010200", "02800002", "02010200")
    result = await session.read(plan)
    assert [data for _, _, data in bench.asked] == ["00ff0102", "00ff0100", "02008002"]
    wanted = [
        "voltage_l1",
        "active_energy_import_total",
        "voltage_l3",
        "active_energy_import_t2",
        "frequency",
        "voltage_l2",
    ]
    indexes = {entry.quantity: index for index, entry in enumerate(meter.profile.objects)}
    for key, raw, power in zip(wanted, result.values, result.exponents, strict=True):
        assert abs(scale(raw, power) - meter.value(indexes[key], bench.clock)) <= 10**power / 2 + 1e-9, key


async def test_a_block_that_the_meter_does_not_have_is_asked_for_in_pieces_and_never_again(bench: Any) -> None:
    say = {bench.frame("42", 0x11, "00ff0102"): bench.frame("42", 0xD1, "02")}
    for phase in (1, 2):
        say[bench.frame("42", 0x11, f"000{phase}0102")] = bench.frame("42", 0x91, f"000{phase}0102" + "3022")
    bench.script(say)
    session = await bench.attach(address="42")
    plan = bench.plan("02010100", "02010200")
    for _ in range(2):
        assert (await session.read(plan)).values == [2230, 2230]
    assert [data[2:4] for _, _, data in bench.asked] == ["ff", "01", "02", "01", "02"]


async def test_what_a_block_is_too_short_for_is_asked_for_alone(bench: Any) -> None:
    block = "00ff0100" + "78563412" + "11000000"
    bench.script(
        {
            bench.frame("42", 0x11, "00ff0100"): bench.frame("42", 0x91, block),
            bench.frame("42", 0x11, "00030100"): bench.frame("42", 0x91, "0003010033000000"),
        }
    )
    session = await bench.attach(address="42")
    plan = bench.plan("00010000", "00010100", "00010300")
    for _ in range(2):
        assert (await session.read(plan)).values == [12345678, 11, 33]
        assert [data for _, _, data in bench.asked[-2:]] == ["00ff0100", "00030100"]


async def test_long_answers_come_in_parts(bench: Any) -> None:
    """As the standard has it (7.2.4): B1, then 92 with its sequence number, the last part without the bit."""
    bench.script(
        {
            bench.frame("42", 0x11, "01000306"): bench.frame("42", 0xB1, "01000306" + "aabb"),
            bench.frame("42", 0x12, "0100030601"): bench.frame("42", 0xB2, "01000306" + "cc" + "01"),
            bench.frame("42", 0x12, "0100030602"): bench.frame("42", 0x92, "01000306" + "dd" + "02"),
        }
    )
    session = await bench.attach(address="42")
    assert (await session.read(bench.plan("06030001"))).values == [bytes.fromhex("aabbccdd")]


async def test_wildcards_give_way_to_the_address_of_the_answer(bench: Any) -> None:
    bench.meter("generic-dlt645-1p", number=7)
    session = await bench.attach("generic-dlt645-1p")
    for _ in range(2):
        await session.read(bench.plan("00010000"))
    assert [address for address, _, _ in bench.asked] == ["AAAAAAAAAAAA", "000000000007"]


async def test_who_it_is(bench: Any) -> None:
    bench.meter("generic-dlt645-1p", number=7)
    session = await bench.attach("generic-dlt645-1p")
    found = await session.identify()
    assert (found.serial, found.model, found.firmware) == ("000000000007", "DDZY-1P", "1.4.2")
    assert (found.manufacturer, found.meter_address) == ("Generic", "000000000007")
    assert bench.asked[0] == ("AAAAAAAAAAAA", 0x13, "")


async def test_several_meters_on_one_line(bench: Any) -> None:
    meters = {number: bench.meter("generic-dlt645-1p", number=number) for number in (7, 8)}
    session = await bench.attach("generic-dlt645-1p", address="8")
    result = await session.read(bench.plan("04000402", "00010000"))
    index = next(i for i, e in enumerate(meters[8].profile.objects) if e.quantity == "active_energy_import_total")
    assert result.values[0] == "000000000008"
    assert abs(result.values[1] * 10 - meters[8].value(index, bench.clock)) <= 5


async def test_wildcards_on_a_line_of_several_meters_are_answered_by_nobody_that_is_understood(bench: Any) -> None:
    for number in (7, 8):
        bench.meter("generic-dlt645-1p", number=number)
    session = await bench.attach("generic-dlt645-1p", timeout=0.1)
    with pytest.raises(LinkTimeout):
        await session.read(bench.plan("00010000"))


@pytest.mark.parametrize(("profile", "control"), [("generic-dlt645-3p", 0x11), ("generic-dlt645-1997", 0x01)])
async def test_the_version_is_found_out_once(bench: Any, profile: str, control: int) -> None:
    meter = bench.meter(profile)
    session = await bench.attach(address="42", version="auto", timeout=0.1)
    for _ in range(2):
        result = await session.read(bench.plan("02010300"))
    index = next(i for i, e in enumerate(meter.profile.objects) if e.quantity == "voltage_l3")
    power = result.exponents[0] if result.exponents else 0
    assert abs(scale(result.values[0], power) - meter.value(index, bench.clock)) <= 0.5
    assert [code for _, code, _ in bench.asked[-2:]] == [control] * 2
    assert len(bench.asked) == (3 if control == 0x11 else 4)


async def test_nobody_answers_in_either_version(bench: Any) -> None:
    session = await bench.attach(address="42", version="auto", timeout=0.05)
    with pytest.raises(LinkTimeout, match="neither as 2007 nor as 1997"):
        await session.read(bench.plan("00010000"))
    assert not session.sound


async def test_load_records_by_time(bench: Any) -> None:
    meter = bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    ref = meter.profile.load_profiles[0].ref
    hour = 3_600_000
    blocks = [
        block
        async for block in session.read_history(HistoryRequest(ref=ref, start=bench.clock - 5 * hour, end=bench.clock))
    ]
    times = [at for block in blocks for at in block.times]
    assert times == list(range(bench.clock - 5 * hour, bench.clock, 900_000))
    columns = blocks[0].columns
    assert [column.ref for column in columns] == list(meter.profile.load_profiles[0].columns)
    indexes = {entry.ref: index for index, entry in enumerate(meter.profile.objects)}
    at, row = blocks[0].times[3], blocks[0].rows[3]
    for column, raw in zip(columns, row, strict=True):
        expected = meter.value(indexes[column.ref], at)
        assert abs(scale(raw, column.exponent) - expected) <= 10**column.exponent / 2 + 1e-9, column.ref


async def test_load_records_by_entry_and_of_one_class(bench: Any) -> None:
    bench.meter()
    session = await bench.attach("generic-dlt645-3p", address="42")
    request = HistoryRequest(ref=ObjectRef("dlt645", "06010001"), first_entry=11, last_entry=30)
    blocks = [block async for block in session.read_history(request)]
    assert sum(len(block.rows) for block in blocks) == 20
    assert {column.quantity for column in blocks[0].columns} == {
        *("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3", "frequency")
    }


async def test_load_records_that_the_meter_does_not_have_are_none(bench: Any) -> None:
    bench.meter("generic-dlt645-1p")
    session = await bench.attach("generic-dlt645-1p", address="42")
    request = HistoryRequest(ref=ObjectRef("dlt645", "06000001"), start=bench.clock + 1, end=bench.clock + 2)
    assert [block async for block in session.read_history(request)] == []
    with pytest.raises(ConfigError, match="no load record"):
        _ = [block async for block in session.read_history(HistoryRequest(ref=ObjectRef("dlt645", "00010000")))]


async def test_meters_of_1997_keep_no_load_records(bench: Any) -> None:
    bench.meter("generic-dlt645-1997")
    session = await bench.attach("generic-dlt645-1997", address="42")
    assert Capability.HISTORY not in session.capabilities
    with pytest.raises(CapabilityError):
        session.read_history(HistoryRequest(ref=ObjectRef("dlt645", "06000001")))


async def test_octets_that_are_no_digits_are_an_error_of_their_value_alone(bench: Any) -> None:
    """An answer with a nibble 0E, published with 600888/dlt645 as what a decoder must refuse."""
    bench.script(
        {
            bench.frame(
                "910004360618", 0x11, "00000100"
            ): "68 18 06 36 04 00 91 68 91 08 33 33 34 33 33 33 41 33 F9 16",
            bench.frame("910004360618", 0x11, "00010102"): bench.frame("910004360618", 0x91, "00010102" + "3022"),
        }
    )
    session = await bench.attach(address="910004360618")
    result = await session.read(bench.plan("00010000", "02010100"))
    assert list(result.errors) == [0]
    assert result.values == [None, 2230]


@pytest.mark.parametrize("profile", ["generic-dlt645-3p", "generic-dlt645-prepaid"])
async def test_parts_of_items_and_words(bench: Any, profile: str) -> None:
    meter = bench.meter(profile)
    session = await bench.attach(profile, address="42")
    refs = ("01010000/time", "04000503/bit4", "04000503/not4", "05060101/0", "05060001", "0001FF00", "00010001")
    result = await session.read(bench.plan(*refs))
    assert not result.errors
    assert result.values[0].startswith("2025-11-21 12:00")
    assert result.values[1:3] == [False, True]
    index = next(i for i, e in enumerate(meter.profile.objects) if e.quantity == "active_energy_import_total")
    midnight, first = 1_763_654_400_000, 1_761_926_400_000
    """in China: of the day, and of the month"""
    assert abs(result.values[3] * 10 - meter.value(index, midnight)) <= 5
    assert result.values[4] == "2025-11-21 00:00"
    assert len(result.values[5]) == 5
    assert abs(result.values[6] * 10 - meter.value(index, first)) <= 5


def corpus() -> list[dict[str, Any]]:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    frames: list[dict[str, Any]] = json.loads(Path(folder, "dlt645_frames.json").read_text(encoding="utf-8"))
    return frames


@pytest.mark.corpus
async def test_every_captured_answer_gives_its_stated_value(bench: Any) -> None:
    """All answers of physical meters that are at hand, each to the read that it answers."""
    read = 0
    for frame in corpus():
        octets, value = bytes.fromhex(frame["hex"]), (frame["decoded"] or {}).get("value")
        version = {"91": "2007", "81": "1997"}.get(frame["control"])
        if version is None or frame["provenance"] not in ("real_capture", "likely_real") or not isinstance(value, str):
            continue
        fresh = type(bench)()
        control, width = (0x11, 4) if version == "2007" else (0x01, 2)
        di = bytes((octet - 0x33) & 0xFF for octet in octets[10 : 10 + width])
        fresh.script({fresh.frame(frame["address"], control, di.hex()): frame["hex"]})
        session = await fresh.attach(address=frame["address"], version=version)
        ref = di[::-1].hex()
        register = find_register(int(ref, 16), Version(int(version)))
        if register is None:
            continue
        result = await session.read(fresh.plan(ref))
        decimals = len(register.format.partition(".")[2])
        expected = None if value.startswith("not_present") else value
        if isinstance(result.values[0], int):
            assert Decimal(result.values[0]).scaleb(-decimals) == Decimal(expected), frame
            read += 1
        elif expected is None:
            assert result.values == [None]
        else:
            assert result.values == [expected], frame
        await fresh.aclose()
    assert read > 25


async def test_a_block_that_two_sessions_did_not_find_is_not_asked_for_in_the_third(bench: Any) -> None:
    say = {bench.frame("42", 0x11, "00ff0102"): bench.frame("42", 0xD1, "02")}
    for phase in (1, 2):
        say[bench.frame("42", 0x11, f"000{phase}0102")] = bench.frame("42", 0x91, f"000{phase}0102" + "3022")
    plan, knowledge = bench.plan("02010100", "02010200"), Knowledge()
    for _ in range(3):
        bench.connect()
        bench.script(say)
        session = await bench.attach(address="42", knowledge=knowledge)
        assert (await session.read(plan)).values == [2230, 2230]
    assert [data[2:4] for _, _, data in bench.asked] == ["ff", "01", "02", "ff", "01", "02", "01", "02"]
    assert knowledge.facts == {"no_blocks": ["201FF00"]}

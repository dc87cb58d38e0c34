"""The rows of a load profile: whole, by entry, by range, by column, and in blocks that are made when they are asked for."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from headend.drivers.library import load_profile

BUFFER = "c001c100070100630100ff02"
CLOCK, ENERGY, VOLTAGE = (
    f"0204{class_id}0906{name}0f02120000"
    for class_id, name in (("120008", "0000010000ff"), ("120003", "0100010800ff"), ("120003", "0100200700ff"))
)


def row(entry: int, columns: str = "tev") -> str:
    """Row `entry` of ten; the last one is of 12:15."""
    hour, minute = divmod(12 * 60 + 15 - (10 - entry) * 15, 60)
    cells = {
        "t": "090c07e90b1505" + bytes((hour, minute)).hex() + "0000000000",
        "e": "06" + pack(">I", 100 * entry).hex(),
        "v": "12" + pack(">H", 2000 + entry).hex(),
    }
    return f"02{len(columns):02x}" + "".join(cells[column] for column in columns)


def buffer(*entries: int, columns: str = "tev") -> str:
    return f"c401c10001{len(entries):02x}" + "".join(row(entry, columns) for entry in entries)


def by_entry(first: int, last: int, first_column: int = 1, last_column: int = 0) -> str:
    return "0102020406" + pack(">IBIBHBH", first, 6, last, 0x12, first_column, 0x12, last_column).hex()


def by_range(start: str, end: str, columns: tuple[str, ...] = (), restricting: str = CLOCK, tag: str = "090c") -> str:
    return f"01010204{restricting}{tag}{start}{tag}{end}01{len(columns):02x}" + "".join(columns)


def moment(hour: int, minute: int, deviation: str = "8000") -> str:
    return f"07e90b15ff{hour:02x}{minute:02x}0000{deviation}ff"


async def test_the_whole_buffer(head_end: Any) -> None:
    assert await head_end.ask(BUFFER + "00") == buffer(*range(1, 11))


@pytest.mark.parametrize(
    ("selection", "entries", "columns"),
    [
        ((1, 3), (1, 2, 3), "tev"),
        ((9, 0), (9, 10), "tev"),
        ((9, 99), (9, 10), "tev"),
        ((0, 1), (1,), "tev"),
        ((11, 12), (), "tev"),
        ((5, 4), (), "tev"),
        ((10, 0, 2, 3), (10,), "ev"),
        ((10, 0, 2, 2), (10,), "e"),
        ((10, 0, 3, 0), (10,), "v"),
        ((10, 0, 0, 0), (10,), "tev"),
    ],
)
async def test_by_entry(head_end: Any, selection: tuple[int, ...], entries: tuple[int, ...], columns: str) -> None:
    assert await head_end.ask(BUFFER + by_entry(*selection)) == buffer(*entries, columns=columns)


@pytest.mark.parametrize(
    ("selection", "entries", "columns"),
    [
        (by_range(moment(11, 45), moment(12, 15)), (8, 9, 10), "tev"),
        (by_range(moment(11, 46), moment(12, 14)), (9,), "tev"),
        (by_range(moment(12, 46, "ffc4"), moment(13, 14, "ffc4")), (9,), "tev"),
        (by_range(moment(12, 16), moment(12, 17)), (), "tev"),
        (by_range("ff" * 9 + "8000ff", moment(10, 15)), (1, 2), "tev"),
        (by_range(moment(12, 0), "ff" * 9 + "8000ff"), (9, 10), "tev"),
        (by_range(moment(12, 15), moment(12, 15), tag="19"), (10,), "tev"),
        (by_range(moment(12, 15), moment(12, 15), (VOLTAGE, CLOCK)), (10,), "vt"),
    ],
)
async def test_by_range(head_end: Any, selection: str, entries: tuple[int, ...], columns: str) -> None:
    assert await head_end.ask(BUFFER + selection) == buffer(*entries, columns=columns)


@pytest.mark.parametrize(
    ("selection", "result"),
    [
        ("010200", 12),  # no structure
        ("010500", 12),  # no such selector
        (by_range(moment(1, 1), moment(2, 2), restricting=ENERGY), 250),
        (by_range(moment(1, 1), moment(2, 2), restricting=CLOCK.replace("0f02", "0f03")), 250),
        (by_range(moment(25, 1), moment(2, 2)), 250),
        (by_range("07e90b15", "07e90b15", tag="0904"), 12),
        (by_range(moment(1, 1), moment(2, 2), (CLOCK.replace("0f02", "0f03"),)), 11),
    ],
)
async def test_impossible_selections(head_end: Any, selection: str, result: int) -> None:
    assert await head_end.ask(BUFFER + selection) == f"c401c101{result:02x}"


async def test_in_a_list(head_end: Any) -> None:
    items = BUFFER[6:] + by_entry(10, 10) + "00030100200700ff0200" + BUFFER[6:] + "010200"
    assert await head_end.ask("c003c103" + items) == "c403c103" + "00" + buffer(10)[8:] + "001208fe" + "010c"


async def test_rows_are_made_when_their_block_is_asked_for(meter: Any, connect: Any, aarq_none: str) -> None:
    head_end = connect(meter, 16)
    await head_end.ask(aarq_none[:-4] + "0050")
    head, received = await head_end.ask(BUFFER + "00"), b""
    assert meter.rows_made < 5
    number = 1
    while True:
        block = bytes.fromhex(head)
        assert len(block) <= 0x50
        assert block[:3] == b"\xc4\x02\xc1"
        assert int.from_bytes(block[4:8], "big") == number
        assert block[9] == len(block) - 10
        received += block[10:]
        if block[3]:
            break
        head = await head_end.ask(f"c002c1{number:08x}")
        number += 1
    assert received.hex() == buffer(*range(1, 11))[8:]
    assert meter.rows_made == 10
    assert await head_end.ask(f"c002c1{number:08x}") == f"c402c101{number:08x}0110"  # no long GET in progress


async def test_a_request_gives_up_the_blocks_of_the_one_before(meter: Any, connect: Any, aarq_none: str) -> None:
    head_end = connect(meter, 16)
    await head_end.ask(aarq_none[:-4] + "0050")
    assert (await head_end.ask(BUFFER + "00")).startswith("c402c10000000001")
    for _ in range(2):
        assert await head_end.ask("c001c200030100200700ff0200") == "c401c2001208fe"
    assert await head_end.ask("c002c100000001") == "c402c101000000010110"


async def test_a_client_without_block_transfer_gets_no_long_answer(meter: Any, connect: Any) -> None:
    head_end = connect(meter, 16)
    await head_end.ask("601da109060760857405080101be10040e01000000065f1f04000000100050")
    assert await head_end.ask(BUFFER + "00") == "c401c101fa"


async def test_a_column_that_is_no_object_is_null(meter: Any, connect: Any, aarq_none: str) -> None:
    text = """
[meter]
vendor = "Acme"
model = "A3"
protocol = "dlms"
source = "test"
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 100
columns = ["3/1-0:1.8.0.255/2", "8/0-0:1.0.0.255/2"]
"""
    meter.profile = load_profile(text, "acme-a3", "test")
    head_end = connect(meter, 16)
    await head_end.ask(aarq_none)
    assert await head_end.ask(BUFFER + by_entry(10, 10)) == "c401c1000101020200" + row(10, "t")[4:]

"""GET, SET and ACTION on every kind of object, in the octets of the standard."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.library import load_profile
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.classes import AccessRight, to_object_list
from headend.protocols.wrapper import wrap

TIME = "07e90b15050c110a00000000"
"""2025-11-21 12:17:10, Friday"""
QUARTER = "07e90b15050c0f0000000000"
NAME = "41434d30303030303132333435363738"


def get(address: str) -> str:
    return f"c001c1{cosem_ref(address).attribute.encode().hex()}00"


def put(address: str, data: str) -> str:
    return f"c101c1{cosem_ref(address).attribute.encode().hex()}00{data}"


def act(address: str, data: str = "0f00") -> str:
    return f"c301c1{cosem_ref(address).method.encode().hex()}" + (f"01{data}" if data else "00")


READS = {
    "3/1-0:1.8.0.255/1": "09060100010800ff",
    "3/1-0:1.8.0.255/2": "0600bc5ea8",  # 12345000 in 10 Wh
    "3/1-0:1.8.0.255/3": "02020f01161e",
    "3/1-0:32.7.0.255/2": "1208fe",  # 230.2 V: 230.15 V is rounded to the even digit
    "3/1-0:32.7.0.255/3": "02020fff1623",
    "3/1-0:1.7.0.255/2": "0500001068",
    "3/1-0:31.7.0.255/2": "173fc00000",
    "3/1-0:31.7.0.255/3": "02020f001621",
    "4/1-0:1.6.0.255/2": "0500001388",
    "4/1-0:1.6.0.255/3": "02020f00161b",
    "4/1-0:1.6.0.255/4": "1100",
    "4/1-0:1.6.0.255/5": "090c" + QUARTER,
    "5/1-0:1.4.0.255/2": "0500001004",
    "5/1-0:1.4.0.255/3": "00",
    "5/1-0:1.4.0.255/4": "02020f00161b",
    "5/1-0:1.4.0.255/7": "090c" + QUARTER,
    "5/1-0:1.4.0.255/8": "0600000384",
    "5/1-0:1.4.0.255/9": "120001",
    "1/0-0:96.1.0.255/2": "09083132333435363738",
    "1/0-0:96.13.0.255/2": "0a0568656c6c6f",
    "1/0-0:96.5.0.255/2": "0405b0",
    "71/0-0:17.0.0.255/3": "0600000009",
    "1/0-0:42.0.0.255/2": "0910" + NAME,
    "17/0-0:41.0.0.255/2": "010102021200010910" + NAME,
    "8/0-0:1.0.0.255/2": "090c" + TIME,
    "8/0-0:1.0.0.255/3": "100000",
    "8/0-0:1.0.0.255/4": "1100",
    "8/0-0:1.0.0.255/5": "090cffffffffffffffffff8000ff",
    "8/0-0:1.0.0.255/6": "090cffffffffffffffffff8000ff",
    "8/0-0:1.0.0.255/7": "0f00",
    "8/0-0:1.0.0.255/8": "0300",
    "8/0-0:1.0.0.255/9": "1601",
    "70/0-0:96.3.10.255/2": "0301",
    "70/0-0:96.3.10.255/3": "1601",
    "70/0-0:96.3.10.255/4": "1604",
    "15/0-0:40.0.0.255/3": "02020f01120001",
    "15/0-0:40.0.0.255/4": "090760857405080101",
    "15/0-0:40.0.0.255/5": "02060418005e1f12ffff1204b011060f000900",
    "15/0-0:40.0.0.255/6": "090760857405080201",
    "15/0-0:40.0.0.255/8": "1602",
    "7/1-0:99.1.0.255/3": (
        "0103"
        "020412000809060000010000ff0f02120000"
        "020412000309060100010800ff0f02120000"
        "020412000309060100200700ff0f02120000"
    ),
    "7/1-0:99.1.0.255/4": "0600000384",
    "7/1-0:99.1.0.255/5": "1601",
    "7/1-0:99.1.0.255/6": "020412000009060000000000000f00120000",
    "7/1-0:99.1.0.255/7": "060000000a",
    "7/1-0:99.1.0.255/8": "0600000064",
}
REFUSED = {
    "3/1-0:9.9.9.255/2": 4,  # undefined
    "1/1-0:1.8.0.255/2": 9,  # another class
    "3/1-0:1.8.0.255/9": 3,  # the class has no such attribute
    "71/0-0:17.0.0.255/2": 11,  # the class has it, the meter has not
    "15/0-0:40.0.0.255/7": 3,  # the secret
}


@pytest.mark.parametrize("address", READS)
async def test_attributes(head_end: Any, address: str) -> None:
    assert await head_end.ask(get(address)) == "c401c100" + READS[address]


@pytest.mark.parametrize("address", REFUSED)
async def test_attributes_that_cannot_be_read(head_end: Any, address: str) -> None:
    assert await head_end.ask(get(address)) == f"c401c101{REFUSED[address]:02x}"


async def test_a_list_holds_values_and_reasons(head_end: Any) -> None:
    known, unknown = "3/1-0:32.7.0.255/2", "3/1-0:9.9.9.255/2"
    items = [get(address)[6:] for address in (known, unknown, known)]
    assert await head_end.ask("c003c203" + "".join(items)) == "c403c203" + "001208fe" + "0104" + "001208fe"
    assert await head_end.ask("c003c202" + items[0] * 2) == "c403c202" + "001208fe" * 2
    assert await head_end.ask("c003c200") == "c403c200"


async def test_selective_access_to_what_has_none_is_refused(head_end: Any) -> None:
    assert await head_end.ask(get("3/1-0:1.8.0.255/2")[:-2] + "010200") == "c401c1010d"


@pytest.mark.parametrize("value", [6553.55, -1.0, float("nan"), float("inf"), "many", "9" * 400])
async def test_a_value_that_does_not_fit_its_type_is_null(head_end: Any, meter: Any, value: float | str) -> None:
    meter.values[1] = value
    assert await head_end.ask(get("3/1-0:32.7.0.255/2")) == "c401c10000"


async def test_a_model_that_fails_is_another_reason(head_end: Any, meter: Any) -> None:
    meter.broken = {1}
    assert await head_end.ask(get("3/1-0:32.7.0.255/2")) == "c401c101fa"
    assert await head_end.ask("c003c201" + get("3/1-0:32.7.0.255/2")[6:]) == "c403c20101fa"
    assert await head_end.say(wrap(bytes.fromhex(get("7/1-0:99.1.0.255/2")), 1, 1)) == b""
    assert head_end.lost


async def test_numbers_in_texts(head_end: Any, meter: Any) -> None:
    meter.values[9] = "0042"
    assert await head_end.ask(get("1/0-0:96.50.0.255/2")) == "c401c100060000002a"
    meter.values[7], meter.values[8] = "perhaps", 1e300
    assert await head_end.ask(get("1/0-0:96.5.0.255/2")) == "c401c10000"
    assert await head_end.ask(get("3/1-0:31.7.0.255/2")) == "c401c10000"


async def test_the_object_list(head_end: Any, meter: Any, connect: Any, aarq_none: str) -> None:
    answer = bytes.fromhex(await head_end.ask(get("15/0-0:40.0.0.255/2")))
    shown = {str(entry.logical_name): entry for entry in to_object_list(decode_data(answer, 4)[0], 0)}
    assert shown["0-0:40.0.0.255"].version == 0
    assert set(shown) == {str(cosem_ref(address).obis) for address in READS} | {"0-0:96.50.0.255"}
    read, write = AccessRight.READ, AccessRight.READ | AccessRight.WRITE
    assert shown["1-0:1.8.0.255"].attributes == {1: read, 2: read, 3: read}
    assert shown["1-0:1.6.0.255"].attributes == {1: read, 2: write, 3: read, 4: read, 5: read}
    assert shown["1-0:1.6.0.255"].methods == {1: read}
    assert shown["0-0:40.0.0.255"].attributes[7] is AccessRight.WRITE
    assert shown["1-0:99.1.0.255"].version == 1
    assert shown["1-0:99.1.0.255"].selectors == {2: (1, 2)}
    public = connect(meter, 16)
    await public.ask(aarq_none)
    answer = bytes.fromhex(await public.ask(get("15/0-0:40.0.0.255/2")))
    for entry in to_object_list(decode_data(answer, 4)[0], 0):
        assert AccessRight.WRITE not in {*entry.attributes.values()}
        assert set(entry.methods.values()) <= {AccessRight.NONE}


@pytest.mark.parametrize(
    ("address", "data", "result"),
    [
        ("1/0-0:96.50.0.255/2", "060000002a", 0),
        ("1/0-0:96.50.0.255/2", "12002a", 12),  # another type
        ("1/0-0:96.50.0.255/2", "06000000", 12),  # cut short
        ("1/0-0:96.50.0.255/2", "060000002a00", 12),  # more than a value
        ("1/0-0:96.50.0.255/1", "0906000060320001", 3),
        ("1/0-0:96.13.0.255/2", "0a03627965", 0),
        ("3/1-0:1.8.0.255/2", "0600000001", 3),
        ("3/1-0:1.8.0.255/9", "0600000001", 3),
        ("3/1-0:9.9.9.255/2", "0600000001", 4),
        ("15/0-0:40.0.0.255/7", "0900", 250),
        ("8/0-0:1.0.0.255/2", "090c07e80101ff00000000800000", 0),
        ("8/0-0:1.0.0.255/2", "1907e80101ff00000000800000", 0),
        ("8/0-0:1.0.0.255/2", "090cffff0101ff00000000800000", 250),
        ("8/0-0:1.0.0.255/2", "090407e80101", 250),
        ("8/0-0:1.0.0.255/2", "0600000001", 12),
        ("8/0-0:1.0.0.255/3", "10003c", 0),
        ("8/0-0:1.0.0.255/3", "12003c", 12),
        ("8/0-0:1.0.0.255/4", "1100", 3),
        ("70/0-0:96.3.10.255/2", "0300", 3),
    ],
)
async def test_writing(head_end: Any, address: str, data: str, result: int) -> None:
    before = await head_end.ask(get(address))
    assert await head_end.ask(put(address, data)) == f"c501c1{result:02x}"
    after = await head_end.ask(get(address))
    if result:
        assert after == before
    elif data[:2] != "19":
        assert after[8:16] == data[:8]


async def test_what_was_written_reaches_the_meter_in_base_units(head_end: Any, meter: Any) -> None:
    assert await head_end.ask(put("8/0-0:1.0.0.255/2", "090c07e801010100000000ffc400")) == "c501c100"
    assert meter.clock == 1_704_063_600_000  # 2024-01-01 00:00 in Central Europe
    assert await head_end.ask(put("4/1-0:1.6.0.255/2", "0500000064")) == "c501c100"
    assert meter.values[3] == 100
    meter.locked = True
    assert await head_end.ask(put("4/1-0:1.6.0.255/2", "0500000065")) == "c501c103"
    assert meter.values[3] == 100


async def test_writing_with_selective_access_is_refused(head_end: Any) -> None:
    request = put("1/0-0:96.50.0.255/2", "060000002a").replace("ff0200", "ff02010200")
    assert await head_end.ask(request) == "c501c10d"


MESSAGE = cosem_ref("1/0-0:96.13.0.255/2").attribute.encode().hex()
LIMIT = cosem_ref("1/0-0:96.50.0.255/2").attribute.encode().hex()
UNDEFINED = cosem_ref("3/1-0:9.9.9.255/2").attribute.encode().hex()


async def test_writing_in_blocks(head_end: Any, meter: Any) -> None:
    assert await head_end.ask(f"c102c1{MESSAGE}00 00 00000001 04 0a05 6865") == "c502c100000001"
    assert await head_end.ask("c103c1 00 00000002 02 6c70") == "c502c100000002"
    assert await head_end.ask("c103c1 01 00000003 01 21") == "c503c10000000003"
    assert meter.values[6] == "help!"
    assert await head_end.ask(f"c102c1{MESSAGE}00 01 00000001 04 0a02 6f6b") == "c503c10000000001"
    assert meter.values[6] == "ok"
    assert await head_end.ask(f"c102c1{MESSAGE}00 01 00000001 04 0a09 6f6b") == "c503c10c00000001"  # cut short


async def test_writing_a_list(head_end: Any, meter: Any) -> None:
    targets = f"03 {MESSAGE}00 {UNDEFINED}00 {LIMIT}00"
    values = "03 0a026f6b 1100 060000002a"
    assert await head_end.ask(f"c104c1 {targets} {values}") == "c505c1" + "03000400"
    assert (meter.values[6], meter.values[9]) == ("ok", 42)
    assert await head_end.ask(f"c105c1 {targets} 00 00000001 06 03 0a01 21 1100") == "c502c100000001"
    assert await head_end.ask("c103c1 01 00000002 05 060000002b") == "c504c1" + "03000400" + "00000002"
    assert (meter.values[6], meter.values[9]) == ("!", 43)


async def test_invoking_a_list(head_end: Any, meter: Any) -> None:
    relay, clock = (
        cosem_ref(address).method.encode().hex() for address in ("70/0-0:96.3.10.255/1", "8/0-0:1.0.0.254/1")
    )
    assert await head_end.ask(f"c303c1 02 {relay} {clock} 02 0f00 00") == "c703c1" + "02" + "0000" + "0400"
    assert not meter.closed
    meter.closed = True
    assert await head_end.ask(f"c304c1 {relay} 00 00000001 01 0f") == "c704c100000001"
    assert await head_end.ask("c306c1 01 00000002 01 00") == "c701c10000"
    assert not meter.closed
    meter.closed = True
    assert await head_end.ask(f"c305c1 02 {relay} {clock} 00 00000001 02 020f") == "c704c100000001"
    assert await head_end.ask("c306c1 01 00000002 02 0000") == "c703c1" + "02" + "0000" + "0400"
    assert not meter.closed


async def test_lists_and_blocks_that_do_not_fit_together(head_end: Any, meter: Any) -> None:
    before = list(meter.values)
    assert await head_end.ask(f"c104c1 02 {MESSAGE}00 {LIMIT}00 01 0a026f6b") == "d80103"  # two for one
    assert await head_end.ask(f"c105c1 02 {MESSAGE}00 {LIMIT}00 01 00000001 05 01 0a026f6b") == "d80103"
    assert await head_end.ask("c103c1 01 00000002 01 00") == "c503c11200000002"  # no transfer is left
    assert await head_end.ask(f"c305c1 01 {MESSAGE} 01 00000001 03 02 0000") == "d80103"
    assert await head_end.ask("c306c1 01 00000002 01 00") == "c701c11000"
    assert meter.values == before


async def test_lists_and_blocks_that_were_not_agreed_on(meter: Any, connect: Any, aarq_lls: str) -> None:
    few = aarq_lls.replace("007e1f", "00001f")  # neither blocks nor lists
    head_end = connect(meter)
    assert (await head_end.ask(few)).startswith("6129")
    assert await head_end.ask(f"c102c1{LIMIT}00 01 00000001 05 060000002a") == "d80202"
    assert await head_end.ask(f"c104c1 01 {LIMIT}00 01 060000002a") == "d80202"
    assert await head_end.ask(f"c303c1 01 {LIMIT} 01 00") == "d80202"
    assert meter.values[9] == 7


async def test_the_relay(head_end: Any, meter: Any) -> None:
    assert await head_end.ask(act("70/0-0:96.3.10.255/1")) == "c701c10000"
    assert not meter.closed
    assert await head_end.ask(get("70/0-0:96.3.10.255/2")) == "c401c1000300"
    assert await head_end.ask(get("70/0-0:96.3.10.255/3")) == "c401c1001600"
    assert await head_end.ask(act("70/0-0:96.3.10.255/2", "")) == "c701c10000"
    assert meter.closed


@pytest.mark.parametrize(
    ("address", "data", "result", "moved"),
    [
        ("8/0-0:1.0.0.255/1", "0f00", 0, -130),
        ("8/0-0:1.0.0.255/2", "0f00", 0, -130),
        ("8/0-0:1.0.0.255/3", "0f00", 0, -10),
        ("8/0-0:1.0.0.255/6", "10ffe2", 0, -30),
        ("8/0-0:1.0.0.255/6", "100400", 250, 0),
        ("8/0-0:1.0.0.255/6", "0f01", 12, 0),
        ("8/0-0:1.0.0.255/6", "", 12, 0),
        ("8/0-0:1.0.0.255/4", "0f00", 250, 0),
        ("8/0-0:1.0.0.254/1", "0f00", 4, 0),
        ("3/1-0:1.8.0.255/1", "0f00", 3, 0),
        ("7/1-0:99.1.0.255/1", "0f00", 0, 0),
        ("7/1-0:99.1.0.255/3", "0f00", 3, 0),
        ("8/0-0:1.0.0.255/1", "0f", 12, 0),
    ],
)
async def test_methods(head_end: Any, meter: Any, address: str, data: str, result: int, moved: int) -> None:
    before = meter.clock
    assert await head_end.ask(act(address, data)) == f"c701c1{result:02x}00"
    assert meter.clock == before + moved * 1000


async def test_resetting_a_register(head_end: Any, meter: Any) -> None:
    assert await head_end.ask(act("4/1-0:1.6.0.255/1")) == "c701c10000"
    assert meter.values[3] == 0
    meter.locked = True
    assert await head_end.ask(act("4/1-0:1.6.0.255/1")) == "c701c10300"


async def test_the_clock_of_a_zone_with_summer_time(meter: Any, connect: Any, aarq_none: str) -> None:
    text = """
[meter]
vendor = "Acme"
model = "A2"
protocol = "dlms"
source = "test"
[association]
zone = "Europe/Berlin"
[[object]]
ref = "70/0-0:96.3.11.255/2"
quantity = "relay_closed"
[[object]]
ref = "1/0-0:42.0.0.255/2"
quantity = "logical_device_name"
emulate = { value = "other name" }
"""
    meter.profile = load_profile(text, "acme-a2", "test")
    meter.values = [1, "ACM-OTHER"]
    head_end = connect(meter, 16)
    await head_end.ask(aarq_none)
    assert await head_end.ask(get("8/0-0:1.0.0.255/2")) == "c401c100090c07e90b15050d110a00ffc400"
    assert await head_end.ask(get("8/0-0:1.0.0.255/3")) == "c401c10010ffc4"
    assert await head_end.ask(get("8/0-0:1.0.0.255/7")) == "c401c1000f3c"
    assert await head_end.ask(get("8/0-0:1.0.0.255/8")) == "c401c1000301"
    meter.clock -= 120 * 86_400_000
    assert await head_end.ask(get("8/0-0:1.0.0.255/2")) == "c401c100090c07e90718040e110a00ff8880"
    assert await head_end.ask(get("8/0-0:1.0.0.255/3")) == "c401c10010ffc4"
    assert await head_end.ask(get("8/0-0:1.0.0.255/4")) == "c401c1001180"
    assert await head_end.ask(get("70/0-0:96.3.10.255/2")) == "c401c10104"
    assert await head_end.ask(get("70/0-0:96.3.11.255/2")) == "c401c1000301"
    assert await head_end.ask(get("1/0-0:42.0.0.255/2")) == "c401c1000909" + b"ACM-OTHER".hex()
    meter.clock = 10**17
    assert await head_end.ask(get("8/0-0:1.0.0.255/2")) == "c401c10000"

"""Event records, written by hand after the tables of DL/T 645-2007, and those of a virtual meter."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from headend.drivers.dlt645.events import decode_event, is_event
from headend.drivers.library import Library, load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import DecodeError
from headend.model.objects import HistoryBlock, HistoryRequest, ObjectRef
from headend.model.reading import to_millis

METER = "910004360618"
OUTAGES = ObjectRef("dlt645", "03110001")
LIBRARY = Library()
CHINA = ZoneInfo("Asia/Shanghai")
OLDER = to_millis(datetime(2025, 11, 19, 7, 0, 0, tzinfo=CHINA))
NEWER = to_millis(datetime(2025, 11, 20, 8, 30, 15, tzinfo=CHINA))


async def history(session: Any, **wanted: Any) -> list[HistoryBlock]:
    return [block async for block in session.read_history(HistoryRequest(ref=OUTAGES, **wanted))]


@pytest.mark.parametrize("third", ["FF" * 12, "00" * 12, None])
async def test_outages_from_the_oldest_on(bench: Any, third: str | None) -> None:
    """The newest record is the first; behind the last one there are FF, zeros, or nothing."""
    said = {"01": "153008201125" + "153108201125", "02": "000007191125" + "000107191125"}
    if third is not None:
        said["03"] = third
    answers = {
        bench.frame(METER, 0x11, f"{back}001103"): bench.frame(METER, 0x91, f"{back}001103{octets}")
        for back, octets in said.items()
    }
    refused = {bench.frame(METER, 0x11, "03001103"): bench.frame(METER, 0xD1, "02")}
    bench.script(refused | answers)
    session = await bench.attach(address=METER)
    (block,) = await history(session)
    assert list(block.times) == [OLDER, NEWER]
    assert list(block.rows) == [(0x1100, "until 2025-11-19 07:01:00"), (0x1100, "until 2025-11-20 08:31:15")]
    (newer,) = await history(session, start=OLDER + 1)
    assert list(newer.times) == [NEWER]
    assert await history(session, start=NEWER + 1) == []


@pytest.mark.parametrize(
    ("di", "octets", "time", "text"),
    [
        (
            0x03300001,
            "153008201125 78563412 02010004 03010004" + "FF" * 32,
            "2025-11-20 08:30:15",
            "12345678 04000102 04000103",
        ),
        (
            0x03300401,
            "78563412 000007191125 153008201125",
            "2025-11-20 08:30:15",
            "operator 12345678, before 2025-11-19 07:00:00",
        ),
        (0x03060001, "153008201125 153108201125", "2025-11-20 08:30:15", "until 2025-11-20 08:31:15"),
        (0x03110001, "153008201125 FFFFFFFFFFFF", "2025-11-20 08:30:15", "until ?"),
        (0x03050001, "153008201125 500400 153108201125", "2025-11-20 08:30:15", "500400153108201125"),
    ],
)
def test_what_records_say(di: int, octets: str, time: str, text: str) -> None:
    assert is_event(di)
    record = decode_event(di, bytes.fromhex(octets))
    assert record is not None
    assert (str(record.time), record.text.endswith(text)) == (time, True)


@pytest.mark.parametrize("di", [0x03110000, 0x03110002, 0x03300000, 0x03100000, 0x02010100, 0x03FF0001])
def test_what_is_no_event_log(di: int) -> None:
    assert not is_event(di)


@pytest.mark.parametrize("octets", ["", "1530082011", "153008201325", "1530082011FA"])
def test_times_that_cannot_be(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_event(0x03300001, bytes.fromhex(octets))


LOG = """
[[load_profile]]
ref = "03300401"
name = "clock"
period_seconds = 0
capacity = 10
columns = []
event_table = "dlt645"
"""


async def test_a_virtual_meter_keeps_a_record_of_setting_its_clock(bench: Any) -> None:
    text = LIBRARY.path("generic-dlt645-1p").read_text(encoding="utf-8") + LOG
    profile = load_profile(text, "with-log", "this test")
    bench.join(VirtualMeter(MeterKind(profile, lambda: bench.clock), 42, 0, {"address": "42"}, {}))
    session = await bench.attach(profile, address="42", operator="12345678", clock="whole")
    await session.execute(bench.command("set-clock", at=bench.clock + 60_000))
    log = profile.load_profiles[-1]
    (block,) = [block async for block in session.read_history(HistoryRequest(ref=log.ref))]
    ((code, text),) = block.rows
    assert log.event_text(int(code)) == "clock set"
    assert str(text).startswith("operator 12345678, before 2025-11-21 12:00")

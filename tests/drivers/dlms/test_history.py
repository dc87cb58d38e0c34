"""Load profiles of meters that keep to the standard, and of those that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from headend.drivers.dlms import driver
from headend.errors import ConfigError, RemoteProtocolError, ServiceRefused
from headend.model.objects import HistoryRequest, ObjectEntry
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import Quality, from_millis, to_millis
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.axdr import NULL, Data, array, encode_data, octet_string, structure, uint16, uint32
from headend.protocols.dlms.clock import CosemDateTime
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.selective import EntryDescriptor, RangeDescriptor, from_selection

REF = driver.parse_ref("7/1-0:99.1.0.255/2")
START = to_millis(datetime(2025, 3, 1, tzinfo=UTC))
PERIOD = 900_000
BERLIN = ZoneInfo("Europe/Berlin")
CAPTURED = bytes.fromhex(
    "0103 0204 120008 0906 0000010000ff 0f02 120000"
    "0204 120003 0906 0100010800ff 0f02 120000"
    "0204 120001 0906 0000600a01ff 0f02 120000"
)
CLOCK_AT_PLUS_ONE = CosemDateTime.from_utc(from_millis(START), 60).to_bytes()


def moment(row: int, status: int = 0, offset: int = 60) -> bytes:
    return CosemDateTime.from_utc(from_millis(START + row * PERIOD), offset, status=status).to_bytes()


def rows(numbers: Any) -> list[Data]:
    return [structure(octet_string(moment(i)), uint32(1000 + i), uint16(i & 3)) for i in numbers]


def moment_of(value: Data) -> datetime | None:
    return None if value.value is None else CosemDateTime.from_bytes(value.value).to_utc(BERLIN)


class Profile:
    """The load profile of a scripted meter: rows by number, and which selections it refuses or ignores."""

    def __init__(
        self,
        meter: Any,
        count: int = 200,
        *,
        order: int = 1,
        refuse: tuple[int, ...] = (),
        ignore: tuple[int, ...] = (),
    ) -> None:
        self.meter = meter
        self.rows = rows(range(count))[::order]
        self.refuse = refuse
        self.ignore = ignore
        self.asked: list[Any] = []
        meter.data = {
            "7/1-0:99.1.0.255/3": CAPTURED,
            "7/1-0:99.1.0.255/4": b"\x06\x00\x00\x03\x84",
            "7/1-0:99.1.0.255/7": b"\x06" + count.to_bytes(4, "big"),
            "3/1-0:1.8.0.255/3": bytes.fromhex("0202 0f01 161e"),
            "8/0-0:1.0.0.255/2": b"\x09\x0c" + CLOCK_AT_PLUS_ONE,
        }
        meter.script = self.answer

    def answer(self, event: Any) -> list[Any] | None:
        if not isinstance(event, GetRequestNormal) or event.attribute[0::2] != (7, 2):
            return None
        chosen = event.access and from_selection(event.access)
        self.asked.append(chosen)
        selected = self.rows
        if chosen and chosen.selector in self.refuse:
            return [GetResponseNormal(event.invoke_id_and_priority, DataAccessResult.OTHER_REASON)]
        if chosen and chosen.selector in self.ignore:
            chosen = None
        if isinstance(chosen, RangeDescriptor):
            first, last = (moment_of(value) for value in (chosen.from_value, chosen.to_value))
            selected = [row for row in self.rows if (at := moment_of(row.value[0])) is None or first <= at <= last]
        elif isinstance(chosen, EntryDescriptor):
            selected = self.rows[chosen.from_entry - 1 : chosen.to_entry or None]
        return [GetResponseNormal(event.invoke_id_and_priority, encode_data(array(*selected)))]


async def collect(session: Any, **window: int) -> tuple[list[Any], list[Any], list[int]]:
    times, found, quality = [], [], []
    async for block in session.read_history(HistoryRequest(ref=REF, **window)):
        times += block.times
        found += block.rows
        quality += block.quality
    return times, found, quality


@pytest.fixture(params=[0xFFFF, 100])
def max_pdu(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("refuse", [(), (1,), (1, 2)])
async def test_a_range(attach: Any, max_pdu: str, refuse: tuple[int, ...]) -> None:
    session, meter = await attach(max_pdu=max_pdu)
    profile = Profile(meter, refuse=refuse)
    times, found, quality = await collect(session, start=START + 10 * PERIOD, end=START + 20 * PERIOD)
    assert times == [START + i * PERIOD for i in range(10, 20)]
    assert found == [(1000 + i, i & 3) for i in range(10, 20)]
    assert quality == [int(Quality.CLOCK_INVALID) if i & 2 else 0 for i in range(10, 20)], "bit 1 of the status"
    restricted = profile.asked[0]
    assert isinstance(restricted, RangeDescriptor)
    assert CosemDateTime.from_bytes(restricted.from_value.value).deviation == -60  # as the meter's clock shows it
    assert len(profile.asked) <= 1 + 2 + 2 * 8 + 1
    assert (profile.asked[-1] is None) == (refuse == (1, 2))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"start": START + 190 * PERIOD}, range(190, 200)),
        ({"end": START + 5 * PERIOD}, range(5)),
        ({"start": START - PERIOD, "end": START}, ()),
        ({"start": START + 200 * PERIOD}, ()),
        ({"first_entry": 4, "last_entry": 6}, range(3, 6)),
        ({"last_entry": 2}, range(2)),
        ({"first_entry": 199}, range(198, 200)),
        ({}, range(200)),
    ],
)
@pytest.mark.parametrize(
    "lies",
    [
        {},
        {"refuse": (1,)},
        {"refuse": (1, 2)},
        {"ignore": (1,)},
        {"refuse": (1,), "ignore": (2,)},
    ],
)
async def test_windows(
    attach: Any, max_pdu: str, window: dict[str, int], expected: Any, lies: dict[str, tuple[int, ...]]
) -> None:
    """Also of meters that have promised selective access, and refuse it, or answer with all that they have."""
    session, meter = await attach(max_pdu=max_pdu)
    Profile(meter, **lies)
    if lies.get("ignore") == (2,) and "last_entry" not in window and "first_entry" in window:
        return  # up to the newest: how many rows are too many, nobody knows
    assert (await collect(session, **window))[1] == [(1000 + i, i & 3) for i in expected]


async def test_newest_first(attach: Any) -> None:
    session, meter = await attach()
    profile = Profile(meter, order=-1, refuse=(1,))
    times, _, _ = await collect(session, start=START + 10 * PERIOD, end=START + 12 * PERIOD)
    assert times == [START + 11 * PERIOD, START + 10 * PERIOD]
    assert profile.asked[-1] is None


@pytest.mark.parametrize("entries", [b"\x06\x00\x00\x00\x00", b"\x09\x00", DataAccessResult.OBJECT_UNDEFINED])
async def test_entries_in_use(attach: Any, entries: Any) -> None:
    session, meter = await attach()
    profile = Profile(meter, 0, refuse=(1,))
    meter.data["7/1-0:99.1.0.255/7"] = entries
    assert (await collect(session, start=START))[1] == []
    assert (profile.asked[-1] is None) == (entries != b"\x06\x00\x00\x00\x00")


async def test_entries_without_a_time(attach: Any) -> None:
    session, meter = await attach()
    profile = Profile(meter, refuse=(1,))
    profile.rows = [structure(octet_string(b"\xff" * 12), uint32(1), uint16(0))] * 3
    assert (await collect(session, start=START))[1] == []
    assert (await collect(session))[0] == [None] * 3


async def test_no_selective_access(attach: Any) -> None:
    def prepare(meter: Any) -> None:
        meter.conformance &= ~Conformance.SELECTIVE_ACCESS

    session, meter = await attach(prepare=prepare)
    profile = Profile(meter)
    assert len((await collect(session, start=START, end=START + 3 * PERIOD))[0]) == 3
    assert (await collect(session, first_entry=3, last_entry=4))[1] == [(1002, 2), (1003, 3)]
    assert profile.asked == [None] * 2


async def test_everything_refused(attach: Any) -> None:
    session, meter = await attach()
    Profile(meter)
    whole = meter.script
    meter.script = lambda event: (
        [GetResponseNormal(event.invoke_id_and_priority, DataAccessResult.HARDWARE_FAULT)]
        if isinstance(event, GetRequestNormal) and event.attribute.class_id == 7
        else whole(event)
    )
    for window in ({}, {"start": START}, {"first_entry": 1}):
        with pytest.raises(ServiceRefused, match="hardware-fault"):
            await collect(session, **window)
    assert session.sound


async def test_columns(attach: Any) -> None:
    session, meter = await attach()
    Profile(meter)
    block = await anext(session.read_history(HistoryRequest(ref=REF)))
    energy, status = block.columns
    assert (energy.quantity, energy.unit, energy.exponent) == ("active_energy_import_total", "Wh", 1)
    assert (status.quantity, status.unit, status.exponent) == ("", "", 0)


async def test_a_scaler_of_the_meter_file_goes_first(attach: Any) -> None:
    entry = ObjectEntry(
        ref=driver.parse_ref("3/1-0:1.8.0.255/2"),
        quantity="active_energy_import_total",
        unit="kWh",
        scaler=-2,
        exponent=1,
    )
    profile = MeterProfile(
        id="x", vendor="v", model="m", protocol="dlms", state=ProfileState.DRAFT, source="s", objects=(entry,)
    )
    session, meter = await attach(profile=profile)
    Profile(meter)
    meter.data["3/1-0:1.8.0.255/3"] = DataAccessResult.READ_WRITE_DENIED
    block = await anext(session.read_history(HistoryRequest(ref=REF)))
    assert (block.columns[0].quantity, block.columns[0].unit, block.columns[0].exponent) == (entry.quantity, "Wh", 1)


async def test_without_a_scaler_there_is_no_quantity(attach: Any) -> None:
    session, meter = await attach()
    Profile(meter)
    meter.data["3/1-0:1.8.0.255/3"] = DataAccessResult.READ_WRITE_DENIED
    block = await anext(session.read_history(HistoryRequest(ref=REF)))
    assert block.columns[0].quantity == ""


async def test_null_data_and_the_clock_status(attach: Any) -> None:
    session, meter = await attach()
    profile = Profile(meter)
    profile.rows = [
        structure(octet_string(moment(0, status=0x01)), uint32(5), uint16(7)),
        structure(NULL, NULL, uint16(8)),
        structure(octet_string(moment(5, status=0xFF)), uint32(6), NULL),
    ]
    times, found, quality = await collect(session, start=START, end=START + 10 * PERIOD)
    assert times == [START, START + PERIOD, START + 5 * PERIOD]
    assert found == [(5, 7), (5, 8), (6, 8)]
    assert quality[0] == Quality.CLOCK_INVALID
    assert quality[2] == 0


async def test_a_meter_that_tells_no_deviation(attach: Any) -> None:
    session, meter = await attach(zone="Europe/Berlin")
    profile = Profile(meter)
    meter.data["8/0-0:1.0.0.255/2"] = b"\x09\x0c" + CLOCK_AT_PLUS_ONE[:9] + b"\x80\x00\x00"
    summer = to_millis(datetime(2025, 7, 1, tzinfo=UTC))
    await collect(session, start=summer)
    octets = profile.asked[0].from_value.value
    assert (octets[:4].hex(), octets[5:7].hex(), octets[9:11].hex()) == ("07e90701", "0200", "8000")
    local = CosemDateTime.from_utc(from_millis(START), 60).to_bytes()[:9] + b"\x80\x00\x00"
    profile.rows = [structure(octet_string(local), uint32(1), uint16(0))]
    assert (await collect(session))[0] == [START]


@pytest.mark.parametrize(
    ("buffer", "complaint"),
    [
        (encode_data(array(structure(uint32(1), uint32(2)))), "does not fit the capture objects"),
        (encode_data(array(*rows([1, 2])))[:-1], "in the middle of a row"),
        (encode_data(array(uint32(1))), "a structure for each row"),
        (encode_data(uint32(1)), "array or compact-array"),
    ],
)
async def test_a_buffer_that_cannot_be_read(attach: Any, buffer: bytes, complaint: str) -> None:
    session, meter = await attach()
    Profile(meter)
    meter.data["7/1-0:99.1.0.255/2"] = buffer
    meter.script = lambda _event: None
    with pytest.raises(RemoteProtocolError, match=complaint):
        await collect(session)


@pytest.mark.parametrize("objects", [b"\x01\x00", DataAccessResult.HARDWARE_FAULT])
async def test_a_profile_that_captures_nothing(attach: Any, objects: Any) -> None:
    session, meter = await attach()
    Profile(meter)
    meter.data["7/1-0:99.1.0.255/3"] = objects
    with pytest.raises(ServiceRefused):
        await collect(session)


async def test_a_profile_without_a_clock(attach: Any) -> None:
    session, meter = await attach()
    profile = Profile(meter)
    meter.data["7/1-0:99.1.0.255/3"] = bytes.fromhex("0101 0204 120003 0906 0100010800ff 0f02 120000")
    profile.rows = [structure(uint32(1)), structure(uint32(2))]
    assert await collect(session) == ([None, None], [(1,), (2,)], [0, 0])
    with pytest.raises(ConfigError, match="captures no time"):
        await collect(session, start=START)


async def test_what_is_no_load_profile(attach: Any) -> None:
    session, _ = await attach()
    with pytest.raises(ConfigError, match="is no load profile"):
        await anext(session.read_history(HistoryRequest(ref=driver.parse_ref("3/1-0:1.8.0.255/2"))))

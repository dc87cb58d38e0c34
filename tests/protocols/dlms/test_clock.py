"""COSEM clock values: vectors of real meters and of the standard's rules, wildcards, deviations, zones."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlms.clock import (
    DST_BEGIN,
    LAST_DAY,
    ClockStatus,
    CosemDate,
    CosemDateTime,
    CosemTime,
    Deviation,
    EpochReader,
    decode_date_time,
)

BERLIN = ZoneInfo("Europe/Berlin")
# A Norwegian meter's push: Monday, no hundredths, no deviation, status not specified.
PUSH = bytes.fromhex("07e30c1001073b28ff8000ff")
# Central European Summer Time: deviation -120 minutes, daylight saving time in force.
SUMMER = bytes.fromhex("07e80705050d1e0000ff8880")


def moment(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[arg-type,misc] # year to microsecond


def test_fields_of_a_push() -> None:
    value = decode_date_time(b"\x09\x0c" + PUSH, 2)
    assert value.date == CosemDate(2019, 12, 16, 1)
    assert value.time == CosemTime(7, 59, 40, None)
    assert (value.deviation, value.status) == (None, None)
    assert str(value) == "2019-12-16 07:59:40"


@pytest.mark.parametrize(
    ("octets", "zone", "expected"),
    [
        (PUSH, None, None),
        (PUSH, UTC, moment(2019, 12, 16, 7, 59, 40)),
        (PUSH, timezone(timedelta(hours=1)), moment(2019, 12, 16, 6, 59, 40)),
        (PUSH, BERLIN, moment(2019, 12, 16, 6, 59, 40)),
        (SUMMER, None, moment(2024, 7, 5, 11, 30)),
        (SUMMER, BERLIN, moment(2024, 7, 5, 11, 30)),
        # India, UTC+5:30, deviation -330; hundredths 50
        (bytes.fromhex("07e8010101000000 32feb600"), None, moment(2023, 12, 31, 18, 30, 0, 500_000)),
        # second not specified
        (bytes.fromhex("07e8010101000fff ff000000"), None, moment(2024, 1, 1, 0, 15)),
        # west of Greenwich: deviation +300
        (bytes.fromhex("07e8010101000000 00012c00"), None, moment(2024, 1, 1, 5)),
        # a deviation that no zone has counts as not specified
        (bytes.fromhex("07e8010101000000 007fff00"), None, None),
        (bytes.fromhex("07e8010101000000 007fff00"), UTC, moment(2024, 1, 1)),
    ],
)
def test_moment(octets: bytes, zone: timezone | ZoneInfo | None, expected: datetime | None) -> None:
    assert decode_date_time(octets).to_utc(zone) == expected


@pytest.mark.parametrize(
    "octets",
    [
        "ffff0101ff000000 00000000",  # any year
        "07e8ff01ff000000 00000000",  # any month
        "07e8fe01ff000000 00000000",  # beginning of daylight saving time
        "07e801feff000000 00000000",  # last day
        "07e8021eff000000 00000000",  # 30 February
        "07e80101ffff0000 00000000",  # any hour
        "07e80101ff00ff00 00000000",  # any minute
        "07e80101ff180000 00000000",
        "07e80101ff003c00 00000000",
        "07e80101ff00003c 00000000",
        "000000000000000000000000",  # a meter's "never"
        "270f0c1fff173b3b 00fc4000",
    ],
)
def test_what_is_no_moment(octets: str) -> None:
    assert decode_date_time(bytes.fromhex(octets)).to_utc(UTC) is None
    assert decode_date_time(bytes.fromhex(octets)).to_utc(BERLIN) is None


def test_deviation_with_the_wrong_sign_or_none_worth_reading() -> None:
    value = decode_date_time(bytes.fromhex("07e8070505 0d1e0000 007880"))
    assert value.to_utc(deviation=Deviation.INVERTED) == moment(2024, 7, 5, 11, 30)
    assert value.to_utc(BERLIN, Deviation.IGNORED) == moment(2024, 7, 5, 11, 30)
    assert value.to_utc(deviation=Deviation.IGNORED) is None


@pytest.mark.parametrize(("status", "hour"), [("80", 0), ("00", 1), ("ff", 0)])
def test_the_dst_bit_decides_in_the_hour_that_comes_twice(status: str, hour: int) -> None:
    # Sunday, 27 October 2024, 02:30 in Berlin comes as summer and as winter time.
    octets = bytes.fromhex("07e80a1b07021e00 008000" + status)
    assert decode_date_time(octets).to_utc(BERLIN) == moment(2024, 10, 27, hour, 30)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("ffff03feff020000 00ffc400", "*-03-last 02:00:00+01:00"),
        ("fffffefdffffffff ff8000ff", "*-dst-begin-second-last *:*:*"),
        ("fffffdffff173b00 05012c00", "*-dst-end-* 23:59:00.05-05:00"),
        ("07e80101010000ff ff000000", "2024-01-01 00:00:*+00:00"),
    ],
)
def test_text_with_wildcards(octets: str, text: str) -> None:
    assert str(decode_date_time(bytes.fromhex(octets))) == text


def test_a_rule_for_the_beginning_of_daylight_saving_time() -> None:
    rule = CosemDateTime(CosemDate(month=3, day=LAST_DAY, weekday=7), CosemTime(2, 0, 0, 0), -60, 0)
    assert rule.to_bytes().hex() == "ffff03fe0702000000ffc400"
    assert CosemDate(month=DST_BEGIN).to_bytes().hex() == "fffffeffff"


@given(st.binary(min_size=12, max_size=12))
def test_octets_round_trip(octets: bytes) -> None:
    value = decode_date_time(octets)
    assert value.to_bytes() == octets
    assert CosemDate.from_bytes(octets[:5]).to_bytes() == octets[:5]
    assert CosemTime.from_bytes(octets[5:9]).to_bytes() == octets[5:9]
    assert str(value)
    value.to_utc(UTC)
    value.to_utc(BERLIN)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    st.integers(-720, 840),
)
def test_moments_round_trip(value: datetime, offset: int) -> None:
    octets = CosemDateTime.from_utc(value, offset).to_bytes()
    assert decode_date_time(octets).to_utc() == value.replace(microsecond=value.microsecond // 10_000 * 10_000)


def test_the_head_end_sets_a_clock() -> None:
    value = CosemDateTime.from_utc(moment(2024, 7, 5, 11, 30), 120, status=ClockStatus.DST)
    assert value.to_bytes() == bytes.fromhex("07e80705050d1e0000ff8880")
    assert (
        CosemDateTime.from_utc(moment(2024, 7, 5, 11, 30), status=None).to_bytes().hex() == "07e80705050b1e00000000ff"
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x07E80A1B, 0x07E8021D, 0x07E7021D, 0xFFFF0101, 0x07E80101]),
            st.sampled_from([0x01000000, 0x01173B3B, 0xFF021E00, 0x010FFF00, 0x011800FF, 0xFFFFFFFF]),
            st.sampled_from([0x00800000, 0x00800080, 0x32FFC400, 0xFF003C80, 0x638000FF]),
        )
    ),
    st.sampled_from([None, UTC, BERLIN, timezone(timedelta(minutes=-90))]),
)
def test_many_at_once_are_the_same_as_one_by_one(words: list[tuple[int, int, int]], zone: timezone | None) -> None:
    reader = EpochReader(zone)
    each = [b"".join(word.to_bytes(4, "big") for word in triple) for triple in words]
    assert reader.read_all(b"".join(each)) == [reader.read(octets) for octets in each]


def test_caches_are_bounded() -> None:
    reader = EpochReader()
    for second in range(10_000):
        octets = CosemDateTime.from_utc(moment(2024, 1, 1) + timedelta(seconds=second)).to_bytes()
        assert reader.read(octets) == 1_704_067_200_000 + second * 1000


@pytest.mark.parametrize("size", range(12))
def test_cut_short(size: int) -> None:
    with pytest.raises(DecodeError):
        decode_date_time(PUSH[:size])
    with pytest.raises(DecodeError):
        EpochReader().read(b"\x09\x0c" + PUSH[:size], 2)


@pytest.mark.parametrize(
    "value", [CosemDate(year=70000), CosemDate(month=256), CosemTime(hour=-1), CosemTime(hundredths=300)]
)
def test_fields_that_do_not_fit(value: CosemDate | CosemTime) -> None:
    with pytest.raises(LocalProtocolError):
        value.to_bytes()

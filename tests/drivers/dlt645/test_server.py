"""The meter's side, octet by octet: who answers what, and what nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.dlt645 import driver
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import ConfigError, LinkError
from headend.model.objects import ReadPlan
from headend.protocols.dlt645.frame import Address, Frame, decode_frame, encode_frame
from headend.standards.dlt645 import registers
from headend.transport.memory import MemoryLink

LIBRARY = Library()
WRITABLE = [each.di for each in registers() if each.access == "rw"]


class Hearer:
    """Keeps what meters say."""

    def __init__(self, link: MemoryLink) -> None:
        self.said = b""
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.said += data

    def link_lost(self, error: LinkError) -> None:
        pass


class Direct:
    """A link without a loop: what is written is told at once."""

    tap = None
    is_open = True

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write

    def set_receiver(self, receiver: Any, buffered: bytes = b"") -> None:  # noqa: ARG002 - shape of Link
        self.receive = receiver.data_received

    def abort(self) -> None:
        raise AssertionError


@pytest.fixture
def ask(bench: Any) -> Callable[..., Any]:
    """Send a frame of these parts, and give the parts of what is answered; None when nothing is."""
    hearer = Hearer(bench.near)

    async def asked(address: str, control: int, data: str = "") -> tuple[str, int, str] | None:
        hearer.said = b""
        bench.near.write(bytes.fromhex(bench.frame(address, control, data)))
        await bench.settle()
        return bench.opened(hearer.said) if hearer.said else None

    return asked


async def test_the_address_is_told_to_anybody_alone(bench: Any, ask: Any) -> None:
    """The request is the standard's own, with the octets of the clause (7.3)."""
    bench.meter(number=7)
    assert bench.frame("AAAAAAAAAAAA", 0x13) == "68aaaaaaaaaaaa681300df16"
    assert await ask("AAAAAAAAAAAA", 0x13) == ("000000000007", 0x93, "070000000000")
    assert await ask("000000000007", 0x13) is None
    assert await ask("999999999999", 0x13) is None


@pytest.mark.parametrize(
    ("address", "answers"),
    [
        ("000000000007", True),
        ("AAAAAAAAAAAA", True),
        ("AAAAAAAA0007", True),
        ("AAAAAAAA0008", False),
        ("999999999999", False),
        ("000000000008", False),
    ],
)
async def test_who_is_meant_by_an_address(bench: Any, ask: Any, address: str, answers: bool) -> None:
    bench.meter(number=7)
    said = await ask(address, 0x11, "00000100")
    assert (said is not None) is answers
    if said is not None:
        assert said[:2] == ("000000000007", 0x91)


async def test_a_meter_of_1997_answers_everybody_and_other_function_codes(bench: Any, ask: Any) -> None:
    bench.meter("generic-dlt645-1997", number=7)
    said = await ask("999999999999", 0x01, "1090")
    assert said is not None
    assert said[:2] == ("000000000007", 0x81)
    assert await ask("000000000007", 0x11, "00000100") is None
    assert (await ask("000000000007", 0x01, "ffd0")) == ("000000000007", 0xC1, "02")


@pytest.mark.parametrize(
    ("control", "data", "error"),
    [
        (0x11, "0000ff00", "02"),  # no such data
        (0x11, "00000100" + "05", "01"),  # rows of what has none
        (0x14, "06030004" + "02111111" + "00000000" + "050000", "04"),  # a wrong password
        (0x14, "06030004" + "09000000" + "00000000" + "050000", "04"),  # a level that is not known
        (0x14, "06030004" + "02000000" + "00000000" + "0500", "01"),  # too short
        (0x14, "06030004" + "02000000" + "00000000" + "0e0000", "01"),  # no digits
        (0x14, "00000100" + "02000000" + "00000000" + "00000000", "04"),  # what cannot be written
        (0x14, "0c010004" + "02000000" + "00000000" + "00000000000000", "01"),  # no date
        (0x1C, "02000000" + "00000000" + "5a00" + "000000010199", "01"),  # no such command
        (0x1C, "02000000" + "00000000" + "1a00" + "000000010101", "01"),  # too late
        (0x1A, "04000000" + "00000000", "04"),  # a level that is not enough
    ],
)
async def test_what_is_refused_and_why(bench: Any, ask: Any, control: int, data: str, error: str) -> None:
    meter = bench.meter(number=7)
    assert await ask("7", control, data) == ("000000000007", control | 0xC0, error)
    assert meter.relay_closed()


async def test_freezing_by_broadcast_is_done_by_all_and_answered_by_nobody(bench: Any, ask: Any) -> None:
    """The frame of the standard: 99 99 99 99 is now."""
    for number in (7, 8):
        bench.meter(number=number)
    assert await ask("999999999999", 0x16, "99999999") is None
    for number in (7, 8):
        said = await ask(str(number), 0x11, "01000105")
        assert said is not None
        assert said[2] == "01000105" + "0012211125"  # 12:00 of 2025-11-21


async def test_an_address_is_given_to_the_only_meter(bench: Any, ask: Any) -> None:
    bench.meter(number=7)
    assert await ask("AAAAAAAAAAAA", 0x15, "563412000000") == ("000000123456", 0x95, "")
    assert await ask("123456", 0x11, "01040004") == ("000000123456", 0x91, "01040004" + "563412000000")
    assert await ask("7", 0x11, "01040004") is None


async def test_long_answers_are_handed_out_in_parts_of_two_hundred_octets_at_most(bench: Any, ask: Any) -> None:
    bench.meter(number=7)
    said = await ask("7", 0x11, "00000006" + "12")
    assert said is not None
    assert said[1] == 0xB1
    parts = [said[2][8:]]
    for sequence in range(1, 30):
        said = await ask("7", 0x12, "00000006" + f"{sequence:02x}")
        assert said is not None
        assert len(said[2]) <= 400
        assert said[2][-2:] == f"{sequence:02x}"
        parts.append(said[2][8:-2])
        if said[1] == 0x92:
            break
    rows = bytes.fromhex("".join(parts))
    assert rows[:2] == b"\xa0\xa0"
    assert rows.count(b"\xe5\xa0\xa0") == 11
    assert rows[-1] == 0xE5


async def test_status_words_in_one_block(bench: Any, ask: Any) -> None:
    meter = bench.meter(number=7)
    meter.switch_relay(closed=False)
    assert await ask("7", 0x11, "ff050004") == ("000000000007", 0x91, "ff050004" + "00000000" + "5000" + "0000" * 4)


async def test_phases_that_a_meter_does_not_have(bench: Any, ask: Any) -> None:
    bench.meter("generic-dlt645-1p", number=7)
    said = await ask("7", 0x11, "00ff0102")
    assert said is not None
    assert said[2][12:] == "ffff" * 2


async def test_noise_and_pieces_between_requests(bench: Any, ask: Any) -> None:
    bench.meter(number=7)
    bench.near.write(bytes.fromhex("68 00 fe 68 68"))
    assert await ask("7", 0x11, "01040004") is not None
    octets = bytes.fromhex(bench.frame("7", 0x11, "01040004"))
    bench.near.write(octets[:9])
    await bench.settle()
    bench.near.write(octets[9:])
    await bench.settle()
    assert await ask("7", 0x11, "01040004") is not None


def test_a_file_whose_formats_nobody_knows_is_refused(bench: Any) -> None:
    profile = bench.profile('[[object]]\nref = "00FF0000"')
    with pytest.raises(ConfigError, match="does not know its format"):
        driver.check_file(profile)


async def test_a_format_that_only_the_file_knows(bench: Any, ask: Any) -> None:
    profile = bench.profile('[[object]]\nref = "04A00101"\ntype = "-XX.XX"\nscaler = -2\nemulate = { value = -12.5 }')
    bench.meter(profile, number=7)
    assert await ask("7", 0x11, "0101a004") == ("000000000007", 0x91, "0101a004" + "5092")
    session = await bench.attach(profile, address="7")
    assert (await session.read(bench.plan("04A00101"))).values == [bytes.fromhex("5092")]
    assert (await session.read(ReadPlan(entries=profile.objects))).values == [-1250]


PASSWORD = bytes.fromhex("02000000")


@given(
    st.sampled_from(["generic-dlt645-3p", "generic-dlt645-prepaid", "generic-dlt645-1997"]),
    st.sampled_from([*range(1, 0x1E)]),
    st.one_of(
        st.binary(max_size=24),
        st.builds(
            lambda di, rest: di.to_bytes(4, "little") + rest,
            st.sampled_from([each.di for each in registers()]),
            st.binary(max_size=20),
        ),
        st.builds(
            lambda di, rest: di.to_bytes(4, "little") + PASSWORD + bytes(4) + rest,
            st.sampled_from(WRITABLE),
            st.binary(max_size=9),
        ),
        st.builds(lambda rest: PASSWORD + bytes(4) + rest, st.binary(max_size=9)),
    ),
)
def test_whatever_is_asked_a_meter_answers_or_is_silent(profile: str, control: int, data: bytes) -> None:
    """It never falls over, and goes on with what is asked next."""
    said: list[bytes] = []
    link = Direct(said.append)
    driver.serve(link, VirtualMeter(MeterKind(LIBRARY.get(profile), lambda: 1_763_697_600_000), 7))
    own, anybody = Address.parse("7"), Address.parse("AAAAAAAAAAAA")
    for frame in (Frame(own, control, data), Frame(anybody, 0x13), Frame(own, 0x01, b"\x32\xc0")):
        link.receive(encode_frame(frame))
    answer, _ = decode_frame(said[-1])
    assert answer.control in (0x93, 0x81)

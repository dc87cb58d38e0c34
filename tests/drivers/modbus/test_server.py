"""The meter role, asked by hand: what is mapped, what is refused, who answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.drivers.library import load_profile
from headend.drivers.modbus import driver
from headend.protocols.modbus.framing import Frame, encode_rtu
from headend.transport.memory import MemoryLink


class Asker:
    """A head-end that writes octets and keeps what comes back."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self._got = b""
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self._got += data

    def link_lost(self, _error: Any) -> None:
        self._got += b"LOST"

    async def ask(self, octets: bytes) -> bytes:
        self._got = b""
        self._link.write(octets)
        for _ in range(len(octets) + 5):
            await asyncio.sleep(0)
        return self._got

    async def pdu(self, text: str, unit: int = 1) -> str:
        pdu = bytes.fromhex(text)
        answer = await self.ask(b"\x00\x07\x00\x00\x00" + bytes((len(pdu) + 1, unit)) + pdu)
        if not answer:
            return ""
        assert answer[:4] == b"\x00\x07\x00\x00"
        assert answer[6] == unit
        return answer[7:].hex()


@pytest.fixture
async def asker(bench: Any, acme: Any) -> Asker:
    near, far = bench.pair()
    driver.serve(far, acme)
    return Asker(near)


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        ("04 0000 0002", "04 04 43668000"),  # 230.5 V
        ("04 0001 0001", "04 02 8000"),  # half a value
        ("04 0002 0002", "04 04 00000000"),  # a hole within the gap
        ("04 0003 0002", "04 04 0000 1DC0"),  # into a value: low word first of -123456 = FFFE1DC0
        ("04 0006 0001", "04 02 1386"),
        ("04 0007 0001", "84 02"),  # nothing there
        ("04 0000 0008", "84 02"),
        ("04 0000 000B", "84 03"),  # more than the meter's ten
        ("04 0100 0004", "04 08 000000000001E240"),
        ("03 0000 0001", "83 02"),
        ("03 0020 0004", "03 08 4131370000000000"),
        ("01 0001 0001", "01 01 01"),
        ("01 0001 0003", "01 01 01"),  # lamp on, hole, buzzer off
        ("01 0000 0001", "81 02"),
        ("02 0000 0001", "02 01 01"),
        ("06 0010 003C", "06 0010 003C"),
        ("10 0010 0003 06 001E 40000000", "10 0010 0003"),  # two objects at once
        ("10 0010 0001 02 001E", "10 0010 0001"),
        ("10 0010 0002 04 001E 4000", "90 02"),  # half of the second
        ("10 0011 0002 04 7FC00000", "90 03"),  # not a number
        ("06 0011 0000", "86 02"),
        ("06 0020 0000", "86 02"),  # not writable
        ("05 0001 0000", "05 0001 0000"),
        ("05 0003 0000", "85 02"),
        ("0F 0001 0001 01 00", "0F 0001 0001"),
        ("07", "87 01"),
        ("2B 0E 01 00", "2B 0E 01 81 00 00 03 00 04 41636D65 01 02 4D31 02 03 322E31"),
        ("2B 0E 01 02", "2B 0E 01 81 00 00 01 02 03 322E31"),
        ("2B 0E 02 63", "2B 0E 02 81 00 00 03 00 04 41636D65 01 02 4D31 02 03 322E31"),
        ("2B 0E 04 01", "2B 0E 04 81 00 00 01 01 02 4D31"),
        ("2B 0E 04 09", "AB 02"),
        ("11", "11 0F 01 FF 41636D65204D31203132333435"),  # Acme M1 12345
    ],
)
async def test_answers(asker: Asker, request_: str, response: str) -> None:
    assert await asker.pdu(request_) == bytes.fromhex(response).hex()


async def test_written_values_are_read_back(asker: Asker, acme: Any) -> None:
    await asker.pdu("10 0010 0003 06 001E 40000000")
    assert acme.values[4:6] == [30, 2000.0]
    assert await asker.pdu("03 0010 0003") == bytes.fromhex("03 06 001E 40000000").hex()


async def test_a_value_that_does_not_fit_is_a_device_failure(asker: Asker, acme: Any) -> None:
    assert (await asker.pdu("04 0004 0002")).startswith("0404")
    acme.values[1] = 1e12
    assert await asker.pdu("04 0004 0002") == "8404"
    acme.values[1] = -12345.6
    assert await asker.pdu("04 0004 0002") == "04041dc0fffe"


async def test_the_short_way_answers_as_the_general_one(asker: Asker) -> None:
    """The second time an answer is prepared; a frame that follows at once takes the general way again."""
    request = bytes.fromhex("0001 0000 0006 01 04 0000 0006")
    first = await asker.ask(request)
    assert await asker.ask(request) == first
    assert await asker.ask(request + request) == first + first
    assert await asker.pdu("04 0000 0006", 9) == "840b"


async def test_counters_roll_over(asker: Asker, acme: Any) -> None:
    acme.values[2] = 655.36 + 49.98
    assert await asker.pdu("04 0006 0001") == "04021386"


@pytest.mark.parametrize(("unit", "response"), [(0, "04021386"), (255, "04021386"), (9, "840b")])
async def test_units_in_modbus_tcp(asker: Asker, unit: int, response: str) -> None:
    assert await asker.pdu("04 0006 0001", unit) == response


@pytest.mark.parametrize("split", [0, 1], ids=["whole", "octet by octet"])
async def test_rtu_is_told_by_its_crc(bench: Any, acme: Any, split: int) -> None:
    near, far = bench.pair(split=split)
    driver.serve(far, acme)
    asker = Asker(near)
    read = bytes.fromhex("0400060001")
    assert await asker.ask(encode_rtu(Frame(1, read))) == encode_rtu(Frame(1, bytes.fromhex("04021386")))
    assert await asker.ask(encode_rtu(Frame(9, read))) == b""  # another unit of the bus
    assert await asker.ask(encode_rtu(Frame(0, bytes.fromhex("060010003C")))) == b""  # a broadcast
    assert acme.values[4] == 60


async def test_noise_before_the_first_rtu_request(bench: Any, acme: Any) -> None:
    near, far = bench.pair()
    driver.serve(far, acme)
    answer = await Asker(near).ask(b"\xff\xfe\xfd\xfc" + encode_rtu(Frame(1, bytes.fromhex("0400060001"))))
    assert answer == encode_rtu(Frame(1, bytes.fromhex("04021386")))


async def test_what_is_no_modbus_ends_the_link(asker: Asker) -> None:
    await asker.pdu("04 0006 0001")
    assert (await asker.ask(b"GET / HTTP/1.1\r\n")).endswith(b"LOST")


async def test_pipelined_requests_are_answered_in_order(asker: Asker) -> None:
    request = bytes.fromhex("0001 0000 0006 01 04 0006 0001")
    answer = await asker.ask(request + b"\0\2" + request[2:])
    assert answer == bytes.fromhex("0001 0000 0005 01 04 02 1386 0002 0000 0005 01 04 02 1386")


async def test_a_second_client_talks_to_the_same_meter(bench: Any, acme: Any) -> None:
    askers = []
    for _ in range(2):
        near, far = bench.pair()
        driver.serve(far, acme)
        askers.append(Asker(near))
    await askers[0].pdu("06 0010 002D")
    assert await askers[1].pdu("03 0010 0001") == "0302002d"


async def test_the_cache_of_answers_is_bounded(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headend.drivers.modbus.server._MAX_ANSWERS", 2)
    for address in ("0000", "0004", "0006", "0000"):
        assert (await asker.pdu(f"04 {address} 0001")).startswith("0402")


async def test_numbers_in_text_and_overlapping_objects(bench: Any, fixed_meter: Any) -> None:
    profile = load_profile(
        """
        [meter]
        vendor = "a"
        model = "b"
        protocol = "modbus"
        source = "t"
        [[object]]
        ref = "holding/0/u32"
        quantity = "serial_number"
        [[object]]
        ref = "holding/1/u16"
        [[object]]
        ref = "holding/2/i16"
        """,
        "a-b",
    )
    near, far = bench.pair()
    driver.serve(far, fixed_meter(profile, ["123456", 1, "no number"]))
    assert await Asker(near).pdu("03 0000 0003") == "0306" + "0001e240" + "0000"

"""The opening in mode E between both roles: over memory, as over a serial server, and over a serial port whose speed changes."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.opening import open_mode_e
from headend.drivers.dlms.parameters import Opening, read_params
from headend.errors import LinkClosed, LinkError, RemoteProtocolError
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.objects import ReadPlan
from headend.transport.link import Link
from headend.transport.memory import MemoryLink, memory_pair
from headend.transport.serial import open_serial

SECRETS = {"secret": Secret(b"12345678")}
CALL = bytes.fromhex("af 3f 21 8d 0a")


@pytest.fixture
def opened(meter: Any) -> Any:
    meter.identity = MeterIdentity(manufacturer="ACM", model="A1/x", serial="12345678", system_title="41434d0000000001")
    return meter


def known(endpoint: Endpoint, **params: str) -> Meter:
    return Meter(id="m", protocol="dlms", framing="hdlc", endpoint=endpoint, params=params)


MEMORY = Endpoint(kind=EndpointKind.MEMORY, host="memory")


async def read(link: Link, meter: Meter, model: Any) -> None:
    session = await DlmsDriver().attach(link, meter, model.profile, SECRETS)
    found = await session.read(ReadPlan(entries=model.profile.objects[:3]))
    assert found.values == [12_345_000, 2302, 4200]
    await session.aclose()


def heard(link: MemoryLink) -> list[bytes]:
    octets: list[bytes] = []
    link.tap = lambda _way, data: octets.append(data)
    return octets


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("device", ["", "12345678"])
async def test_a_meter_is_opened_and_read(opened: Any, split: int, device: str) -> None:
    near, far = memory_pair(split=split)
    driver.serve(far, opened)
    octets = heard(near)
    await read(near, known(MEMORY, mode_e="1", mode_e_device=device), opened)
    lines = b"/?" + device.encode() + b"!\r\n/ACM6\\2A1x\r\n\x06262\r\n"
    assert bytes(octet & 0x7F for octet in b"".join(octets)[: len(lines)]) == lines


async def test_a_meter_that_was_released_waits_for_a_call_again(opened: Any) -> None:
    """A ciphered meter is opened to ask for its counter, and then for the association."""
    keys = {name: Secret(bytes(range(first, first + 16))) for name, first in (("ek", 0), ("ak", 0xD0))} | SECRETS
    opened.secrets = keys
    near, far = memory_pair()
    driver.serve(far, opened)
    octets = heard(near)
    session = await DlmsDriver().attach(near, known(MEMORY, client="1", mode_e="1"), opened.profile, keys)
    assert octets.count(CALL) == 2
    await session.aclose()
    near.abort()


async def test_a_meter_that_says_nothing_may_be_in_hdlc_still(opened: Any) -> None:
    near, far = memory_pair()
    driver.serve(far, opened)
    first = await DlmsDriver().attach(near, known(MEMORY), opened.profile, SECRETS)
    octets = heard(near)
    await open_mode_e(near, Opening("", 9600), timeout=0)
    assert octets == [CALL]
    await read(near, known(MEMORY), opened)
    await first.aclose()


async def test_a_head_end_that_goes_on_without_an_answer(opened: Any) -> None:
    """The call was heard, the answer was not."""
    near, far = memory_pair()
    driver.serve(far, opened)
    near.write(b"/?\x7f\r\n" + CALL)
    await read(near, known(MEMORY), opened)


@pytest.mark.parametrize("rest", [b"\x06\xb1\x39\xb2\x8d\n", bytes(5000)])
async def test_a_rate_that_was_not_offered_and_a_call_without_end(opened: Any, rest: bytes) -> None:
    near, far = memory_pair()
    driver.serve(far, opened)
    near.write(CALL + rest)
    await read(near, known(MEMORY, mode_e="1"), opened)


class Bystander:
    """The receiver of a far end that does nothing by itself."""

    def __init__(self, link: Link, answer: bytes) -> None:
        self.link = link
        self.answer = answer
        link.set_receiver(self)

    def data_received(self, _data: bytes) -> None:
        if self.answer:
            self.link.write(self.answer)
        else:
            self.link.abort()

    def link_lost(self, error: LinkError) -> None:
        pass


async def test_a_meter_without_hdlc_and_one_that_hangs_up(opened: Any) -> None:
    near, far = memory_pair()
    Bystander(far, b"/LGZ5ZMD310\r\n")
    with pytest.raises(RemoteProtocolError, match="does not offer HDLC"):
        await DlmsDriver().attach(near, known(MEMORY, mode_e="1"), opened.profile, SECRETS)
    near.abort()
    near, far = memory_pair()
    Bystander(far, b"")
    with pytest.raises(LinkClosed):
        await DlmsDriver().attach(near, known(MEMORY, mode_e="1"), opened.profile, SECRETS)


class Head:
    """An optical head: carries octets between a terminal and a meter, and notes the speed at which each came."""

    def __init__(self, terminal: int, model: Any) -> None:
        self.speeds: list[tuple[bytes, int]] = []
        self._terminal = terminal
        self.link, far = memory_pair()
        driver.serve(far, model)
        self.link.set_receiver(self)
        asyncio.get_running_loop().add_reader(terminal, self._carry)

    def _carry(self) -> None:
        octets = os.read(self._terminal, 4096)
        self.speeds.append((octets[:1], termios.tcgetattr(self._terminal)[4]))
        self.link.write(octets)

    def data_received(self, data: bytes) -> None:
        os.write(self._terminal, data)

    def link_lost(self, error: LinkError) -> None:
        pass

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal)
        self.link.abort()


@pytest.mark.parametrize(("mode_e", "speed"), [("1", termios.B4800), ("2400", termios.B2400)])
async def test_the_speed_of_a_serial_port_changes_once_the_opening_is_over(
    opened: Any, mode_e: str, speed: int
) -> None:
    far, near = os.openpty()
    tty.setraw(near)
    endpoint = Endpoint(kind=EndpointKind.SERIAL, path=os.ttyname(near), baud=5000)
    head = Head(far, opened)
    try:
        link = await open_serial(endpoint.path, 9600, 5)
        await read(link, known(endpoint, mode_e=mode_e), opened)
        await link.aclose()
    finally:
        head.close()
        os.close(near)
        os.close(far)
    in_ascii, in_hdlc = head.speeds[:2], head.speeds[2:]
    assert in_ascii[0] == (CALL[:1], termios.B300)
    assert in_ascii[1][0] == b"\x06"  # a terminal has no line on which it would wait to have left at 300 baud
    assert {first for first, _ in in_hdlc} == {b"\x7e"}
    assert {each for _, each in in_hdlc} == {speed}


def test_the_rate_is_the_highest_that_parameter_or_port_allows() -> None:
    def rate(baud: int, **params: str) -> Opening | None:
        return read_params("hdlc", params, baud).opening

    assert rate(9600) is None
    assert rate(9600, mode_e="0") is None
    assert rate(9600, mode_e="1") == Opening("", 9600)
    assert rate(0, mode_e="1", mode_e_device="42") == Opening("42", 19200)
    assert rate(115200, mode_e="1") == Opening("", 19200)
    assert rate(50, mode_e="1") == Opening("", 300)
    assert rate(19200, mode_e="600") == Opening("", 600)
    assert read_params("wrapper", {"mode_e": "1"}).opening is None

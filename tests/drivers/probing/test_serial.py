"""Discovery on a serial line: a pseudo terminal, whose far end answers at one speed only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Iterator

import pytest

from headend.drivers.dlt645 import driver as dlt645
from headend.drivers.ground import Ground
from headend.drivers.modbus import driver as modbus
from headend.drivers.serial_lines import places, serial_endpoints
from headend.errors import LinkError
from headend.model.meter import Endpoint, EndpointKind
from headend.transport.memory import MemoryLink, memory_pair
from headend.transport.open import open_link

from .support import NOON, TCP, meter


class Bridge:
    """Carries octets between the far end of a terminal and a meter, while the terminal has the meter's speed."""

    def __init__(self, far: int, link: MemoryLink, speed: int) -> None:
        self._far = far
        self._link = link
        self._speed = speed
        link.set_receiver(self)
        asyncio.get_running_loop().add_reader(far, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            data = os.read(self._far, 512)
            if termios.tcgetattr(self._far)[4] == self._speed:
                self._link.write(data)

    def data_received(self, data: bytes) -> None:
        os.write(self._far, data)

    def link_lost(self, error: LinkError) -> None:
        pass

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._far)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    far, near = os.openpty()
    tty.setraw(near)
    try:
        yield far, os.ttyname(near)
    finally:
        os.close(near)
        with contextlib.suppress(OSError):
            os.close(far)


@pytest.mark.parametrize(
    ("protocol", "profile_id", "speed"),
    [("modbus", "eastron-sdm120", termios.B9600), ("dlt645", "generic-dlt645-1p", termios.B4800)],
)
async def test_a_meter_on_a_serial_line(protocol: str, profile_id: str, speed: int) -> None:
    """A pseudo terminal knows no parity: speeds without any come first here."""
    driver = modbus if protocol == "modbus" else dlt645
    loop = asyncio.get_running_loop()
    with terminal() as (far, path):
        near, meters = memory_pair()
        driver.serve(meters, meter(profile_id))
        bridge = Bridge(far, near, speed)
        ground = Ground(
            Endpoint(kind=EndpointKind.SERIAL, path=path, baud=4800, line="8N1"),
            open_link=open_link,
            time=loop.time,
            sleep=asyncio.sleep,
            clock=lambda: NOON,
            timeout=0.3,
        )
        probe = next(probe for probe in driver.probes() if probe.framing != "tcp")
        (sighting,) = await probe.run(ground)
        examination = await driver.examine(ground, sighting)
        assert examination.endpoint.baud == {termios.B9600: 9600, termios.B4800: 4800}[speed]
        bridge.close()
        await near.aclose()
    assert examination.identity.serial.endswith("42")
    assert not examination.stopped


def test_the_own_speed_is_tried_first() -> None:
    line = Endpoint(kind=EndpointKind.SERIAL, path="/dev/ttyS1", baud=19200, line="8E1")
    tried = places(line, "modbus")
    assert tried[0] == line
    assert len(set(tried)) == len(tried) == len(serial_endpoints("/dev/ttyS1", "modbus"))
    usual = serial_endpoints("/dev/ttyS1", "dlt645")[0]
    assert (usual.baud, usual.line) == (2400, "8E1")
    assert places(TCP, "modbus") == (TCP,)


async def test_a_port_that_is_not_there() -> None:
    loop = asyncio.get_running_loop()
    ground = Ground(
        Endpoint(kind=EndpointKind.SERIAL, path="/dev/ttyUSB99"),
        open_link=open_link,
        time=loop.time,
        sleep=asyncio.sleep,
        clock=lambda: NOON,
    )
    for probe in (*modbus.probes(), *dlt645.probes()):
        if probe.framing == "tcp":
            assert await probe.run(ground) == ()
        else:
            with pytest.raises(LinkError):
                await probe.run(ground)

"""The meter file with all functions: what they do in the life of a meter, against what the emulator knows by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.drivers.base import Outgoing
from headend.drivers.dlms import driver
from headend.drivers.dlms.meter.known import KINDS
from headend.drivers.dlms.meter_file import meter_file
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.emulator.waveform import tariff_at
from headend.errors import HeadendError
from headend.protocols.dlms.axdr import decode_data, enum, octet_string, structure
from headend.protocols.dlms.clock import CosemDateTime
from headend.standards.obis import Obis

FRIDAY = 1_763_727_430_000
"""2025-11-21 12:17:10 UTC"""
HOUR = 3_600_000
DAY = 24 * HOUR


class Life:
    """A meter of the file, whose objects are asked without a link."""

    def __init__(self) -> None:
        self.at = FRIDAY
        self.sent: list[Outgoing] = []
        self.woken: dict[int, tuple[int, Any]] = {}
        self.kind = MeterKind(Library().get("generic-dlms-functions"), lambda: FRIDAY)
        self.kind.clock = lambda: self.at
        self.meter = VirtualMeter(self.kind, 12)
        self.plant = meter_file(self.meter.profile).plant

    def read(self, class_id: int, name: str, attribute_id: int = 2) -> Any:
        return decode_data(self.plant.read(self.meter, class_id, Obis.parse(name).to_bytes(), attribute_id))[0]

    def wake(self, number: int, at: int, call: Any) -> None:
        self.woken[number] = at, call

    def send(self, _number: int, outgoing: Outgoing, not_before: int) -> None:
        assert not_before >= outgoing.not_before - 1
        self.sent.append(outgoing)


@pytest.fixture
def life() -> Life:
    return Life()


def test_the_calendar_switches_the_tariffs_that_energy_is_counted_in(life: Life) -> None:
    life.at += 6 * HOUR  # past a first switch
    for _ in range(7 * 24):
        life.at += HOUR
        assert life.read(1, "0-0:96.14.1.255") == tariff_at(life.at) == life.read(1, "0-0:96.14.0.255")


def test_on_special_days_it_is_weekend(life: Life) -> None:
    life.at += 34 * DAY  # 25th December, a Thursday
    assert life.read(1, "0-0:96.14.1.255") == 4


def test_a_billing_period_ends_with_each_month(life: Life) -> None:
    life.at += 75 * DAY
    rows = life.read(7, "0-0:98.1.0.255")
    assert [str(CosemDateTime.from_bytes(row[0]))[:16] for row in rows] == [
        *("2025-12-01 00:00", "2026-01-01 00:00", "2026-02-01 00:00")
    ]
    for _, total, *tariffs in rows:
        assert abs(total - sum(tariffs)) <= len(tariffs)


def test_it_pushes_every_hour_once_it_is_told_where_to(life: Life) -> None:
    life.kind.outside = life
    driver.begin(life.meter)
    assert not life.woken
    setup = life.plant.functions[40, Obis(0, 0, 25, 9, 0).to_bytes()]
    destination = structure(enum(0), octet_string(b"127.0.0.1:4059"), enum(0))
    setup.made.writes[3](life.plant.inside(life.meter), destination)
    end = life.at + 3 * HOUR
    while life.woken[12][0] <= end:
        life.at, call = life.woken[12]
        call()
    assert len(life.sent) == 3
    ear = driver.listen(10_000)
    for outgoing in life.sent:
        (push,) = ear.receive(outgoing.octets)
        assert push.identity.logical_device_name == life.meter.logical_device_name
        notification = driver.understand(push, None, life.meter.profile)
        assert {str(ref) for ref in notification.values} >= {"dlms:3/1-0:1.8.0.255/2", "dlms:3/1-0:32.7.0.255/2"}


def test_every_attribute_can_be_read(life: Life) -> None:
    for (class_id, name), made in life.plant.objects.items():
        for attribute_id in made.reads:
            try:
                encoded = life.plant.read(life.meter, class_id, name, attribute_id)
            except HeadendError:  # the association that is asked: nobody asks here
                assert class_id in (15, 17)
            else:
                value, end = decode_data(encoded)
                assert end == len(encoded)
                assert attribute_id != 1 or value == name
    assert {class_id for class_id, _ in life.plant.functions} == {7, 8, 9, 10, 11, 18, 20, 21, 22, 40, 70, 71}


def test_the_page_of_meter_files_names_every_class_with_functions() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/meter-files.md").read_text()
    for class_id, kind in KINDS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {class_id} "))
        assert len(row.split("|")) == 6
        for option in kind.options:
            assert f"`{option}" in page

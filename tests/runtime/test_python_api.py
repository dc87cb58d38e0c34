"""What `headend.connect` gives, the examples of its page, and how much memory a year of history takes."""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import headend
from headend.drivers.dlms import driver
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.errors import ConfigError, NotFound, ObjectUndefined
from headend.model.job import Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import Rlre, Rlrq
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.axdr import encode_data, octet_string
from headend.protocols.dlms.clock import CosemDateTime
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateResponse
from headend.protocols.wrapper import WrapperFraming
from headend.runtime.connected import Connected
from headend.transport.link import Link
from headend.transport.memory import memory_pair

PAGE = Path(__file__).parents[2] / "docs/reference/python-api.md"
SECTIONS = dict(part.split("\n", 1) for part in PAGE.read_text().split("\n## ")[1:])
EXAMPLES = {
    title: text.split("```python\n", 1)[1].split("```", 1)[0] for title, text in SECTIONS.items() if "```python" in text
}
PROFILE = "7/1-0:99.1.0.255/2"


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path))


def fleet() -> Fleet:
    return Fleet([Group(profile=Library().get("generic-dlms-3p"), framing="wrapper")], seed=5)


def address(of: Fleet) -> str:
    return next(iter(of.roster())).url.partition("?")[0]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    made = fleet()
    await made.start()
    yield address(made)
    await made.aclose()


@pytest.fixture
def url_elsewhere() -> Iterator[str]:
    """A virtual meter in a thread, for examples with an event loop of their own, or none."""
    loop, made = asyncio.new_event_loop(), fleet()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    run(made.start())
    yield address(made)
    run(made.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# --- the page ---


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_examples_run(title: str, url_elsewhere: str, capsys: pytest.CaptureFixture[str]) -> None:
    host, port = url_elsewhere.removeprefix("dlms://").split(":")
    code = EXAMPLES[title].replace("dlms://192.0.2.7", url_elsewhere)
    code = code.replace('("192.0.2.7", 4059)', f'("{host}", {port})')
    assert "192.0.2.7" not in code
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    expected = {
        "One meter": r"MeterIdentity\(.*\n\d+ Wh\n.*voltage|\d+\.\d+",
        "A year of history": r"\d+ Wh\n8640 rows",
        "Commands": r"Verdict\.CONFIRMED 20\d\d-.*\nVerdict\.REFUSED ACTION .*\nobject-undefined False\n",
        "Octets in words": r"^dlms HDLC SNRM .*\n<GetResponse>",
        "Without I/O": r"LinkOpened\(\)\nTrue\n\d+\n",
    }
    assert re.search(expected[title], said), said


def test_every_section_with_code_is_run() -> None:
    assert set(EXAMPLES) == {"One meter", "A year of history", "Commands", "Octets in words", "Without I/O"}
    assert PAGE.read_text().count("```python") == len(EXAMPLES)


# --- names, values, outcomes ---


async def test_names(url: str) -> None:
    async with headend.connect(url) as meter:
        by_address = await meter.read("3/1-0:1.8.0.255/2")
        by_code = await meter.read("1-0:1.8.0.255")
        by_quantity = await meter.read("active_energy_import_total")
        assert by_address.ref == by_code.ref == by_quantity.ref
        assert by_address.unit == by_code.unit == by_quantity.unit == "Wh"
        assert type(by_code.value) is int
        assert by_code.quantity == "active_energy_import_total"
        with pytest.raises(NotFound, match="no object 'what'"):
            await meter.read("what")
        with pytest.raises(ObjectUndefined):
            await meter.read("3/1-0:9.9.9.255/2")
        several = await meter.read_all("frequency", "3/1-0:9.9.9.255/2")
        assert [type(one.error) for one in several] == [type(None), ObjectUndefined]
        everything = await meter.read_all()
        assert len(everything) > 20
        assert await meter.objects() is await meter.objects()
        meter.forget()
        assert len(await meter.read_all()) == len(everything)


async def test_an_event_log_says_in_words_what_happened() -> None:
    made = Fleet([Group(profile=Library().get("generic-dlms-functions"), framing="wrapper")], seed=5)
    await made.start()
    try:
        async with headend.connect(next(iter(made.roster())).url) as meter:
            assert (await meter.disconnect()).verdict is Verdict.CONFIRMED
            (row,) = [row async for row in meter.history("0-0:99.98.2.255")]
        assert row.values == {"1/0-0:96.11.2.255/2": 62, "event": "disconnected remotely"}
        assert row.units.keys() == row.values.keys()
    finally:
        await made.aclose()


async def test_history_by_time_and_by_entry(url: str) -> None:
    async with headend.connect(url) as meter:
        newest = [row async for row in meter.history("1-0:99.1.0.255", first=8637)]
        times = [row.time for row in newest]
        assert len(newest) == 4
        assert None not in times
        assert newest[0].values.keys() == newest[0].units.keys() >= {"active_energy_import_total", "voltage_l1"}
        found = [row async for row in meter.history(PROFILE, start=times[1], end=times[3])]
        assert [row.time for row in found] == times[1:3]
        with pytest.raises(ConfigError, match="not by both"):
            await anext(meter.history(PROFILE, start=times[0], first=1))
        with pytest.raises(ConfigError, match="needs its zone"):
            await anext(meter.history(PROFILE, start=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(("suite", "ciphering"), [(0, "global"), (1, "general-dedicated"), (2, "general-ciphering")])
async def test_a_ciphered_meter_again_and_again(suite: int, ciphering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is as if by a new process: its invocation counters begin where those of the one before have ended."""
    keys = {name: secrets.token_bytes(32 if suite == 2 else 16) for name in ("ek", "ak")}
    params = {"client": "1", "auth": "gmac", "suite": str(suite)}
    given = {name: Secret(key) for name, key in keys.items()}
    made = Fleet([Group(profile=Library().get("generic-dlms-3p"), framing="hdlc", params=params, secrets=given)])
    await made.start()
    try:
        for name, key in keys.items():
            monkeypatch.setenv(f"METER_{name.upper()}", f"hex:{key.hex()}")
        where = (
            f"{address(made)}?client=1&auth=gmac&suite={suite}&ciphering={ciphering}&ek=env:METER_EK&ak=env:METER_AK"
        )
        for _ in range(3):
            async with headend.connect(where) as meter:
                assert (await meter.read("active_energy_import_total")).unit == "Wh"
                rows = [row async for row in meter.history("1-0:99.1.0.255", first=8631)]
                assert len(rows) == 10
                assert (await meter.disconnect()).verdict is Verdict.CONFIRMED
    finally:
        await made.aclose()


async def test_outcomes(url: str) -> None:
    async with headend.connect(f"{url}?profile=generic-dlms-3p") as meter:
        off, on = await meter.disconnect(), await meter.reconnect()
        assert off.verdict is on.verdict is Verdict.CONFIRMED
        written = await meter.write("3/1-0:1.8.0.255/2", 7)
        assert written.verdict is Verdict.REFUSED
        clock = await meter.set_clock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert clock.verdict is Verdict.CONFIRMED
        assert str(clock.observed).startswith("2026-01-02")


# --- a year ---

START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = 365 * 96
YEAR_CONFORMANCE = Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET | Conformance.SELECTIVE_ACCESS
ROW = struct.Struct(">BBBBHBBBBBBBhB" + "BI")
CAPTURED = bytes.fromhex("0102 0204 120008 0906 0000010000ff 0f02 120000 0204 120001 0906 0100600000ff 0f02 120000")


class YearMeter:
    """A meter whose load profile has a year of quarters; each row is encoded when its block is asked for."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.connection = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER, server_sap=1))
        self.made = 0
        link.set_receiver(self)

    def link_lost(self, _error: Exception) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self.connection.receive_data(data)
        while (event := self.connection.next_event()) is not NEED_DATA:
            self.answer(event)
        self.link.write(self.connection.data_to_send())

    def answer(self, event: Any) -> None:
        match event:
            case AssociationRequest():
                initiate = InitiateResponse(conformance=YEAR_CONFORMANCE, max_receive_pdu=0xFFFF)
                self.connection.send(AssociationResponse(initiate=initiate))
            case Rlrq():
                self.connection.send(Rlre())
            case GetRequestNormal(invoke, (7, _, 2)):
                self.connection.answer_get(invoke, self.rows())
            case GetRequestNormal(invoke, (7, _, 3)):
                self.connection.send(GetResponseNormal(invoke, CAPTURED))
            case GetRequestNormal(invoke, (8, _, 2)):
                clock = encode_data(octet_string(CosemDateTime.from_utc(START).to_bytes()))
                self.connection.send(GetResponseNormal(invoke, clock))
            case GetRequestNormal(invoke):
                self.connection.send(GetResponseNormal(invoke, b"\x06\x00\x00\x03\x84"))

    def rows(self) -> Iterator[bytes]:
        yield b"\x01\x82" + YEAR.to_bytes(2, "big")
        for row in range(YEAR):
            self.made += 1
            at = START + row * timedelta(minutes=15)
            weekday = at.isoweekday()
            yield ROW.pack(
                2, 2, 9, 12, at.year, at.month, at.day, weekday, at.hour, at.minute, 0, 0, 0, 0, 6, 10**6 + row
            )


async def test_a_year_is_never_in_memory() -> None:
    """35,040 rows of a time and a count: more than ten megabytes of Python objects, never there at one time."""
    near, far = memory_pair()
    served = YearMeter(far)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    params = {"max_pdu": "2048"}
    about = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params=params)
    session = await driver.attach(near, about, None, {})
    meter = Connected(about, None, session)
    rows, ahead = 0, 0
    tracemalloc.start()
    try:
        async for row in meter.history(PROFILE, start=START, end=START + timedelta(days=365)):
            assert row.time == START + rows * timedelta(minutes=15)
            rows += 1
            ahead = max(ahead, served.made - rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await session.aclose()
    assert rows == YEAR
    assert ahead < 100  # the meter was never asked for more than two blocks beyond what was taken
    assert peak < 1_000_000  # about 100,000 measured


async def test_who_stops_early_asks_for_nothing_more() -> None:
    near, far = memory_pair()
    served = YearMeter(far)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    about = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params={"max_pdu": "2048"})
    session = await driver.attach(near, about, None, {})
    meter = Connected(about, None, session)
    rows = meter.history(PROFILE)
    assert (await anext(rows)).time == START
    await rows.aclose()
    assert served.made < 100
    assert (await meter.read("1/0-0:96.1.0.255/2")).value == 900  # the session goes on
    await session.aclose()

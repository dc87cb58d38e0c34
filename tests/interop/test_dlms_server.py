"""Two other stacks, each in a process of its own, read and command our virtual meter: wrapper and HDLC, none and LLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.meter import Secret
from headend.model.reading import to_millis
from headend.transport.tcp import ListenLimits, listen_tcp

pytestmark = pytest.mark.peers

PEERS = Path(__file__).parent / "peers"
NOW = datetime(2025, 11, 21, 12, 7, 30, tzinfo=UTC)
PASSWORD = "12345678"
PROFILE = load_profile(
    """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -1
type = "uint16"
[[object]]
ref = "1/0-0:96.13.0.255/2"
name = "Consumer message"
writable = true
emulate = { value = "nothing new" }
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 40
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2", "3/1-0:32.7.0.255/2"]
""",
    "acme-a1",
    "this test",
)
ENERGY, VOLTAGE = 1, 2
LOADS = PROFILE.load_profiles[0]
Run = Callable[..., Awaitable[tuple[dict[str, Any], VirtualMeter]]]


@pytest.fixture
async def run(peers_python: str) -> AsyncIterator[Run]:
    """Lets a peer talk to a meter whose clock stands; returns what each step gave, and the meter."""
    listeners = []
    kind = MeterKind(PROFILE, lambda: to_millis(NOW))

    async def run_one(
        script: str, framing: str, auth: str, password: str, max_pdu: int = 0xFFFF
    ) -> tuple[dict[str, Any], VirtualMeter]:
        meter = VirtualMeter(kind, 7, 0, {"auth": auth}, {"secret": Secret(PASSWORD.encode())})
        limits = ListenLimits(loopback=True)
        listener = await listen_tcp("127.0.0.1", 0, lambda link: driver.serve(link, meter), limits)
        listeners.append(listener)
        process = await asyncio.create_subprocess_exec(
            *(peers_python, str(PEERS / script), str(listener.port), framing, *([password] if password else [])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"TZ": "UTC"},
        )
        plan = {"start": (NOW - timedelta(hours=1)).isoformat(), "end": NOW.isoformat(), "max_pdu": max_pdu}
        try:
            async with asyncio.timeout(60):
                output, _ = await process.communicate(json.dumps(plan).encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        steps = [json.loads(line) for line in output.splitlines()]
        return {step.pop("step"): step.get("value", step) for step in steps}, meter

    yield run_one
    for listener in listeners:
        await listener.aclose()


@pytest.mark.parametrize("auth", ["none", "lls"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("script", ["gurux_client.py", "dlmscosem_client.py"])
async def test_a_foreign_head_end_reads_and_commands_the_meter(run: Run, script: str, framing: str, auth: str) -> None:
    password, max_pdu = (PASSWORD, 200) if auth == "lls" else ("", 0xFFFF)  # long answers once in blocks, once whole
    said, meter = await run(script, framing, auth, password, max_pdu)
    at = meter.now()
    assert said.pop("connect") == "associated"
    assert set(said.pop("view")) == {
        "1/0.0.42.0.0.255",
        "1/0.0.96.13.0.255",
        "3/1.0.1.8.0.255",
        "3/1.0.32.7.0.255",
        "7/1.0.99.1.0.255",
        "8/0.0.1.0.0.255",
        "15/0.0.40.0.0.255",
        "17/0.0.41.0.0.255",
        "70/0.0.96.3.10.255",
    }
    energy, volts = round(meter.value(ENERGY, at)), round(meter.value(VOLTAGE, at), 1)
    raw = script.startswith("dlms")
    assert said.pop("scaler_unit") == ([-1, 35] if raw else [0.1, 35])
    assert said.pop("value") == energy
    assert said.pop("name") == meter.identity.logical_device_name
    assert said.pop("clock") == NOW.isoformat()
    assert said.pop("with_list") == [energy, pytest.approx(volts * 10)]
    assert said.pop("columns") == ["8/0.0.1.0.0.255", "3/1.0.1.8.0.255", "3/1.0.32.7.0.255"]
    assert said.pop("entries_in_use") == 40
    rows = [expected_row(meter, entry) for entry in range(1, 41)]
    assert rows[-1][0] == "2025-11-21T12:00:00+00:00"
    assert said.pop("rows") == rows
    by_entry = said.pop("rows_by_entry")
    assert by_entry == ({"unsupported": True} if raw else rows[1:4])
    assert said.pop("rows_by_range") == rows[-4:]
    assert said.pop("write") == f"written by {'dlms-cosem' if raw else 'Gurux'}"
    assert said.pop("disconnect") == [False, 0]
    assert said.pop("reconnect") == [True, 1]
    error = said.pop("unknown")["error"]
    assert "OBJECT_UNDEFINED" in error or "result 4" in error
    assert said.pop("release") == "released"
    assert not said


def expected_row(meter: VirtualMeter, entry: int) -> list[Any]:
    time, (energy, volts) = meter.row(LOADS, entry, meter.now())
    return [datetime.fromtimestamp(time / 1000, UTC).isoformat(), round(energy), round(volts * 10)]


@pytest.mark.parametrize("script", ["gurux_client.py", "dlmscosem_client.py"])
@pytest.mark.parametrize("password", ["", "87654321"])
async def test_a_foreign_head_end_with_the_wrong_password_is_refused(run: Run, script: str, password: str) -> None:
    said, _ = await run(script, "wrapper", "lls", password)
    error = said["connect"]["error"].lower()
    assert "authentication" in error
    assert "error" in said["value"]

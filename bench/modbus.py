"""Polls of a whole Eastron SDM630 over many connections: the session of the Modbus driver and pymodbus, same responder.

Ours makes typed values of the registers; pymodbus is asked for the same registers and left with them. The figure is polls per
second of processor time of the client.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

from bench.common import Meter, Result, Settings, client, interleaved, module, peer, say, server
from headend.drivers.library import Library
from headend.drivers.modbus.driver import ModbusDriver
from headend.drivers.modbus.plan import plan_blocks, read_rules
from headend.model import meter as model
from headend.model.objects import ReadPlan
from headend.services.acquisition.plan import poll_plan
from headend.transport.tcp import connect_tcp

CONNECTIONS = 1000
PROFILE = Library().get("eastron-sdm630")
tasks: list[asyncio.Task[None]] = []


def blocks() -> list[tuple[int, int, int]]:
    """Function, first register and number of registers of each read."""
    found = plan_blocks(poll_plan(PROFILE), read_rules(PROFILE.link, PROFILE.quirks))
    return [(int(block.request.function), block.request.address, block.request.count) for block in found]


async def read(session: Any, plan: ReadPlan, meter: Meter) -> None:
    while True:
        result = await session.read(plan)
        assert not result.errors
        meter.count += 1


async def measure(port: int, seconds: float) -> None:
    meter, plan, driver = Meter(), poll_plan(PROFILE), ModbusDriver()
    endpoint = model.Endpoint(kind=model.EndpointKind.TCP, host="127.0.0.1", port=port)
    known = model.Meter(id="meter", protocol="modbus", framing="tcp", endpoint=endpoint, params={"unit": "1"})
    for _ in range(CONNECTIONS):
        session = await driver.attach(await connect_tcp("127.0.0.1", port, 30), known, PROFILE, {})
        tasks.append(asyncio.create_task(read(session, plan, meter)))
    await asyncio.sleep(0.5)
    meter.begin()
    await asyncio.sleep(seconds)
    say(**meter.end())
    assert not any(task.done() for task in tasks)
    sys.stdin.readline()


def run(settings: Settings) -> list[Result]:
    reads = blocks()
    with server(module("bench.responder", "modbus")) as (_, ready):
        port = ready["port"]
        theirs = peer("pymodbus_reader.py", port, CONNECTIONS, settings.seconds, json.dumps(reads))
        said = interleaved(
            {
                "ours": lambda: client(module("bench.modbus", port, settings.seconds)),
                "pymodbus": lambda: client(theirs),
            },
            settings.repeats,
        )
    return [
        Result(
            benchmark="modbus",
            what=f"SDM630: {len(poll_plan(PROFILE).entries)} values in {len(reads)} reads, {CONNECTIONS:,} connections",
            figure=said["ours"]["per_cpu"],
            unit="polls/s",
            against="pymodbus (registers only)",
            reference=said["pymodbus"]["per_cpu"],
            target=1.5,
            note=f"by the wall {said['ours']['per_wall']:,.0f} and {said['pymodbus']['per_wall']:,.0f}",
        )
    ]


if __name__ == "__main__":
    uvloop.run(measure(int(sys.argv[1]), float(sys.argv[2])))

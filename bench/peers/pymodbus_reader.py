"""Reads the blocks of a meter file with pymodbus: pymodbus_reader.py PORT CONNECTIONS SECONDS [[function, address, count], …]."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import Any

import uvloop
from pymodbus.client import AsyncModbusTcpClient

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
polls = 0


async def read(client: AsyncModbusTcpClient, blocks: list[tuple[int, int, int]]) -> None:
    global polls  # noqa: PLW0603 # the script is its state
    functions: dict[int, Any] = {3: client.read_holding_registers, 4: client.read_input_registers}
    while True:
        for function, address, count in blocks:
            answer = await functions[function](address, count=count, device_id=1)
            assert len(answer.registers) == count
        polls += 1


async def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    blocks = json.loads(sys.argv[4])
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, timeout=30) for _ in range(connections)]
    for client in clients:  # before anybody reads: each connection would wait for a round of all that read already
        assert await client.connect()
    reading = asyncio.gather(*(read(client, blocks) for client in clients))
    await asyncio.sleep(0.5)
    before, cpu, wall = polls, time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    done, cpu, wall = polls - before, time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"per_cpu": done / cpu, "per_wall": done / wall, "busy": cpu / wall}), flush=True)
    sys.stdin.readline()
    reading.cancel()


uvloop.run(main())

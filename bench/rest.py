"""How fast bulk routes answer: a whole head-end over its store, against a bare ASGI application that has its rows at hand.

python bench/rest.py [SECONDS]     responses/s of 10,000 rows each; medians of three interleaved runs of SECONDS

Each server runs in a process of its own; the client keeps one connection busy. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.reading import ReadingBatch, Source
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running

ROWS = 10_000
START = 1_767_225_600_000
MINUTE = 60_000
REPEATS = 3
QUANTITIES = ("voltage_l1", "active_energy_import_total", "frequency", "current_l1")
PATHS = {
    "latest, asked by many": f"/api/v1/readings/latest?limit={ROWS}",
    "latest, never the same": f"/api/v1/readings/latest?limit={ROWS}&quantities={','.join(QUANTITIES)},",
    "series": f"/api/v1/meters/m/readings?quantity=voltage_l1&start={START}&end={START + ROWS * MINUTE}",
}


def fill(settings: Settings) -> None:
    """10,000 series with a latest reading each, and one series of 10,000 readings."""
    with open_store(settings) as store:
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=9)
        store.meters.put(Meter(id="m", protocol="modbus", framing="tcp", endpoint=endpoint, enabled=False))
        store.readings.write(
            ReadingBatch(
                meter_id=f"meter-{number:05}",
                source=Source.POLL,
                received_at=START,
                quantities=QUANTITIES,
                values=(230.1, 1_234_567 + number, 50.02, 4.21),
                measured_at=(START,) * 4,
                quality=(0,) * 4,
            )
            for number in range(ROWS // 4)
        )
        series = ReadingBatch(
            meter_id="m",
            source=Source.HISTORY,
            received_at=START,
            quantities=("voltage_l1",) * ROWS,
            values=[230 + number % 100 / 10 for number in range(ROWS)],
            measured_at=[START + number * MINUTE for number in range(ROWS)],
            quality=(0,) * ROWS,
        )
        store.readings.write([series])


def head_end(pipe: Connection, folder: Path) -> None:
    """A whole head-end that serves until the other side closes the pipe."""
    settings = Settings(data=str(folder), mqtt={"enabled": False}, web={"port": 0})  # type: ignore[arg-type] # sections
    fill(settings)

    async def run() -> None:
        async with running(settings) as started:
            pipe.send(started.web_port)
            await asyncio.to_thread(pipe.poll, None)

    asyncio.run(run())


def bare(pipe: Connection, _folder: Path) -> None:
    """The limit: an application without routes, checks and database, that serialises rows for each request."""
    rows = [
        {"meter_id": f"meter-{n:05}", "quantity": "voltage_l1", "value": 230.1, "measured_at": START, "quality": 0}
        for n in range(ROWS)
    ]

    async def app(_scope: Any, _receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body = orjson.dumps(rows)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", ws="none"))

    async def run() -> None:
        serving = asyncio.create_task(server.serve([listener]))
        pipe.send(listener.getsockname()[1])
        await asyncio.to_thread(pipe.poll, None)
        server.should_exit = True
        await serving

    asyncio.run(run())


def measure(port: int, path: str, seconds: float) -> tuple[float, int]:
    """Responses/s over one connection, and the octets of one response."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        count, size, since = 0, 0, time.perf_counter()
        while time.perf_counter() - since < seconds:
            asked = path + str(count) if path.endswith(",") else path
            connection.sendall(f"GET {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            size = receive(connection)
            count += 1
        return count / (time.perf_counter() - since), size


def receive(connection: socket.socket) -> int:
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        buffer += connection.recv(1 << 20)
    head, _, rest = buffer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    left = size - len(rest)
    while left > 0:
        left -= len(connection.recv(1 << 20))
    return size


def main(seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        ports, pipes = {}, []
        for target in (head_end, bare):
            near, far = context.Pipe()
            context.Process(target=target, args=(far, Path(temporary)), daemon=True).start()
            ports[target.__name__] = near.recv()
            pipes.append(near)
        runs = [("bare", ports["bare"], "/"), *((name, ports["head_end"], path) for name, path in PATHS.items())]
        rates: dict[str, list[float]] = {name: [] for name, _, _ in runs}
        sizes: dict[str, int] = {}
        for _ in range(REPEATS):
            for name, port, path in runs:
                rate, sizes[name] = measure(port, path, seconds)
                rates[name].append(rate)
        for pipe in pipes:
            pipe.send("stop")
        limit = statistics.median(rates["bare"])
        results = {
            name: {
                "responses_per_second": round(statistics.median(each), 1),
                "of_bare": round(statistics.median(each) / limit, 2),
                "octets": sizes[name],
            }
            for name, each in rates.items()
        }
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    print(json.dumps({"bench": "rest", "rows": ROWS, **results, "machine": machine}))


if __name__ == "__main__":
    main(float((*sys.argv[1:], "3")[0]))

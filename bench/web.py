"""Ten thousand rows over HTTP: ours from the database, against bare Starlette with orjson from memory, same server.

Both serve with uvicorn on uvloop in a process of their own; a client on the other core asks over eight connections that stay
open. The figure is responses per second of processor time of the server, its threads included.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.common import CLIENT_CORE, Result, module, say, server, start
from bench.common import Settings as Bench
from bench.storage import START
from headend.model import meter as model
from headend.model.reading import ReadingBatch, Source
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running
from headend.telemetry import configure_logging

ROWS = 10_000
CONNECTIONS = 8
QUANTITY = "voltage_l1"
TIMES = [START + n * 1000 for n in range(ROWS)]
VALUES = [(2250 + n % 100) / 10 for n in range(ROWS)]
PATHS = {
    "series": f"/api/v1/meters/meter/readings?quantity={QUANTITY}&start={START}&end={TIMES[-1] + 1}&limit={ROWS}",
    "latest": f"/api/v1/readings/latest?limit={ROWS}",
    "bare-series": "/columns",
    "bare-latest": "/rows",
}


def batch(meter_id: str, times: list[int], values: list[Any]) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=Source.POLL,
        received_at=times[-1],
        quantities=[QUANTITY] * len(times),
        values=values,
        measured_at=times,
        quality=[0] * len(times),
    )


async def ours(folder: Path) -> None:
    """The whole head-end, with a meter that nobody polls."""
    values = {"data": str(folder), "web": {"port": 0}, "mqtt": {"enabled": False}}
    settings = Settings.model_validate(values)
    with open_store(settings) as store:
        store.readings.write([batch("meter", TIMES, VALUES)])
        store.readings.write([batch(f"other-{n:05}", [TIMES[n]], [VALUES[n]]) for n in range(ROWS)])
        endpoint = model.Endpoint(kind=model.EndpointKind.TCP, host="127.0.0.1", port=1)
        store.meters.put(model.Meter(id="meter", protocol="dlms", framing="wrapper", endpoint=endpoint, enabled=False))

    async def served(ready: Callable[[int], object]) -> None:
        async with running(settings) as head_end:
            assert head_end.web_port is not None
            ready(head_end.web_port)
            await asyncio.Event().wait()

    await until_told(served)


async def bare() -> None:
    """Bodies of the same shape from what is in memory already, serialised for each request."""
    columns = {"measured_at": TIMES, "values": VALUES, "quality": [0] * ROWS}
    rows = [(f"other-{n:05}", QUANTITY, VALUES[n], TIMES[n], 0, TIMES[n], "poll") for n in range(ROWS)]

    async def column_route(_request: Request) -> Response:
        return Response(orjson.dumps(columns), media_type="application/json")

    async def row_route(_request: Request) -> Response:
        return Response(orjson.dumps({"rows": rows}), media_type="application/json")

    app = Starlette(routes=[Route("/columns", column_route), Route("/rows", row_route)])

    async def served(ready: Callable[[int], object]) -> None:
        runner = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http="h11"))
        running = asyncio.create_task(runner.serve())
        while not runner.started:  # noqa: ASYNC110 # nobody tells us
            await asyncio.sleep(0.01)
        ready(runner.servers[0].sockets[0].getsockname()[1])
        await running

    await until_told(served)


async def until_told(serving: Callable[[Callable[[int], object]], Awaitable[None]]) -> None:
    """Serve; each line on standard input tells the processor time; end with it."""
    task = asyncio.ensure_future(serving(lambda port: say(port=port)))
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        say(cpu=time.process_time())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Asking(asyncio.Protocol):
    """Asks for the same again when the whole answer is there."""

    responses = 0
    request: bytes

    def connection_made(self, transport: Any) -> None:
        self.transport, self.left, self.head = transport, 0, b""
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.left:
            self.head += data
            head, blank, body = self.head.partition(b"\r\n\r\n")
            if not blank:
                return
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self.left, self.head, data = int(length.split(b":")[1]), b"", body
        self.left -= len(data)
        if not self.left:
            type(self).responses += 1
            self.transport.write(self.request)


async def ask(port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    octets = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()
    kind = cast("type[Asking]", type("kind", (Asking,), {"request": octets}))
    for _ in range(CONNECTIONS):
        await loop.create_connection(kind, "127.0.0.1", port)
    say(ready=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(responses=kind.responses)


def rate(who: str, what: str, seconds: float) -> float:
    with server(module("bench.web", who)) as (process, ready):
        asker = start(module("bench.web", "ask", ready["port"], PATHS[what]), CLIENT_CORE)
        try:
            asker.line()
            time.sleep(0.5)
            cpu, count = json.loads(process.ask())["cpu"], json.loads(asker.ask())["responses"]
            time.sleep(seconds)
            cpu, count = json.loads(process.ask())["cpu"] - cpu, json.loads(asker.ask())["responses"] - count
        finally:
            asker.stop()
    return float(count / cpu)


def run(settings: Bench) -> list[Result]:
    titles = {
        "latest": (f"latest {ROWS:,} readings as JSON, shared for a second", 0.6),
        "series": (f"a series of {ROWS:,} readings, from SQLite each time", None),
    }
    results = []
    for what, (title, target) in titles.items():
        taken: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(settings.repeats):
            taken["bare"].append(rate("bare", f"bare-{what}", settings.seconds))
            taken["ours"].append(rate("ours", what, settings.seconds))
        results.append(
            Result(
                benchmark="web",
                what=title,
                figure=statistics.median(taken["ours"]),
                unit="responses/s",
                against="Starlette and orjson, from memory",
                reference=statistics.median(taken["bare"]),
                target=target,
            )
        )
    return results


def main() -> None:
    match sys.argv[1:]:
        case ["ours"]:
            with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
                configure_logging(level="error", json=False)
                uvloop.run(ours(Path(temporary)))
        case ["bare"]:
            uvloop.run(bare())
        case ["ask", port, path]:
            uvloop.run(ask(int(port), path))


if __name__ == "__main__":
    main()

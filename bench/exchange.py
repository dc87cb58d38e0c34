"""Reads a second over many connections: a bare client, the session of the DLMS driver, and gurux-dlms in threads.

All of them ask the same responder, in a process and on a core of its own. A figure is reads per second of processor time
of the client, which is all that limits it; on a quiet machine it is the same by the clock on the wall, which is noted.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

from bench.common import Meter, Result, Settings, client, interleaved, module, peer, say, server
from bench.responder import CLIENT, METER
from headend.drivers.dlms.conversation import PreparedGet
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.parameters import Addressing
from headend.drivers.dlms.plans import prepare
from headend.drivers.dlms.refs import cosem_ref
from headend.model import meter as model
from headend.model.objects import ObjectEntry, ObjectRef, ReadPlan
from headend.transport.tcp import connect_tcp

SIZES = (1000, 10_000)
GURUX_CONNECTIONS = 50
REF = "3/1-0:1.8.0.255/2"
AT_ONCE = 500


def request(framing: str) -> PreparedGet:
    return prepare([cosem_ref(REF)], Addressing(framing=framing, client=CLIENT, server=METER))


class Bare(asyncio.Protocol):
    """Asks again as soon as an answer is there: no deadline, no check, no coroutine."""

    meter: Meter
    octets: bytes

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, _data: bytes) -> None:
        self.meter.count += 1
        self.transport.write(self.octets)


async def bare(framing: str, port: int, size: int, meter: Meter) -> None:
    found = request(framing).frames[1]
    octets = found if isinstance(found, bytes) else found.build(0x10)
    made = type("made", (Bare,), {"meter": meter, "octets": octets})
    loop = asyncio.get_running_loop()
    for first in range(0, size, AT_ONCE):
        count = min(AT_ONCE, size - first)
        opened = await asyncio.gather(*(loop.create_connection(made, "127.0.0.1", port) for _ in range(count)))
        for transport, _ in opened:
            transport.write(octets)


async def sessions(framing: str, port: int, size: int, meter: Meter) -> None:
    """One coroutine a meter that reads a plan of one entry again and again."""
    driver = DlmsDriver()
    plan = ReadPlan(entries=(ObjectEntry(ref=ObjectRef("dlms", REF), quantity="active_energy_import"),))
    endpoint = model.Endpoint(kind=model.EndpointKind.TCP, host="127.0.0.1", port=port)
    known = model.Meter(id="meter", protocol="dlms", framing=framing, endpoint=endpoint)

    async def attach() -> Any:
        return await driver.attach(await connect_tcp("127.0.0.1", port, 30), known, None, {})

    async def read(session: Any) -> None:
        (value,) = (await session.read(plan)).values
        assert value == 100_000
        while True:
            await session.read(plan)
            meter.count += 1

    for first in range(0, size, AT_ONCE):
        opened = await asyncio.gather(*(attach() for _ in range(min(AT_ONCE, size - first))))
        tasks.extend(asyncio.create_task(read(session)) for session in opened)


tasks: list[asyncio.Task[None]] = []


async def measure(what: str, framing: str, port: int, size: int, seconds: float) -> None:
    meter = Meter()
    await {"bare": bare, "session": sessions}[what](framing, port, size, meter)
    await asyncio.sleep(0.5)
    meter.begin()
    await asyncio.sleep(seconds)
    say(**meter.end())
    assert not any(task.done() for task in tasks)
    sys.stdin.readline()


def run(settings: Settings) -> list[Result]:
    results = []
    for framing, sizes in (("wrapper", SIZES), ("hdlc", SIZES[:1])):
        with server(module("bench.responder", framing)) as (_, ready):
            for size in sizes:

                def one(what: str, size: int = size, framing: str = framing, port: int = ready["port"]) -> Any:
                    return lambda: client(module("bench.exchange", what, framing, port, size, settings.seconds))

                said = interleaved({what: one(what) for what in ("bare", "session")}, settings.repeats)
                results.append(
                    Result(
                        benchmark="exchange",
                        what=f"DlmsSession.read over {framing}, {size:,} connections",
                        figure=said["session"]["per_cpu"],
                        unit="reads/s",
                        against="a bare uvloop client",
                        reference=said["bare"]["per_cpu"],
                        target=0.45 if framing == "wrapper" else None,
                        note=f"by the wall {said['session']['per_wall']:,.0f} of {said['bare']['per_wall']:,.0f}",
                    )
                )
            if framing == "wrapper":
                results.append(against_gurux(settings, ready["port"], results[0].figure))
    return results


def against_gurux(settings: Settings, port: int, ours: float) -> Result:
    command = peer("gurux_reader.py", port, GURUX_CONNECTIONS, settings.seconds)
    said = interleaved({"gurux": lambda: client(command)}, settings.repeats)["gurux"]
    return Result(
        benchmark="exchange",
        what=f"the same against a thread a meter ({GURUX_CONNECTIONS} meters)",
        figure=ours,
        unit="reads/s",
        against="gurux-dlms",
        reference=said["per_cpu"],
        note=f"by the wall {said['per_wall']:,.0f}",
    )


if __name__ == "__main__":
    what, framing, *numbers = sys.argv[1:]
    port, size, seconds = int(numbers[0]), int(numbers[1]), float(numbers[2])
    uvloop.run(measure(what, framing, port, size, seconds))

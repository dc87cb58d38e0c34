"""Ten thousand virtual meters: a sanity check with room to spare; the figures are measured in bench/."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from headend.errors import LinkError
from headend.transport.loop import run
from headend.transport.tcp import connect_tcp, raise_descriptor_limit

METERS = 10_000
SERVER = f"""
import json, os, sys, time
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.transport.loop import run

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    import asyncio
    loop = asyncio.get_running_loop()
    profile = Library().get("eastron-sdm630")
    base, begun = resident(), time.perf_counter()
    fleet = Fleet([Group(profile=profile, count={METERS}, first_address="127.40.0.1")])
    await fleet.start()
    print(json.dumps({{"start": time.perf_counter() - begun, "port": fleet._listeners[0].port}}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps({{"links": fleet.links, "octets": resident() - base, "cpu": time.process_time()}}), flush=True)
    await fleet.aclose()

run(main())
"""


class OneAnswer:
    """Waits for the answer to one request."""

    def __init__(self) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.done.done():
            self.done.set_result(data)

    def link_lost(self, error: LinkError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


READ_VOLTAGES = bytes.fromhex("000100000006010400000006")


@pytest.mark.slow
def test_ten_thousand_meters_start_and_are_all_served_at_once() -> None:
    if raise_descriptor_limit() < METERS + 1000:
        pytest.skip("this machine allows too few descriptors")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert server.stdin
    assert server.stdout
    try:
        started = json.loads(server.stdout.readline())

        def ask() -> Any:
            server.stdin.write("\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        async def storm() -> Any:
            async def one(number: int) -> Any:
                host = f"127.40.{(number + 1) >> 8}.{(number + 1) & 255}"
                link = await connect_tcp(host, started["port"], 60)
                answer = OneAnswer()
                link.set_receiver(answer)
                link.write(READ_VOLTAGES)
                assert len(await answer.done) == 21
                return link

            links = await asyncio.gather(*(one(number) for number in range(METERS)))
            seen = await asyncio.get_running_loop().run_in_executor(None, ask)
            for link in links:
                link.abort()
            return seen

        seen = run(storm())
    finally:
        server.stdin.close()
        server.wait(20)
        server.stdout.close()
    assert seen["links"] == METERS
    assert started["start"] < 1
    assert seen["cpu"] < 5  # of the machine's time, not of the clock on the wall, which other tests slow down
    assert seen["octets"] / METERS < 6_000

"""Ten thousand virtual meters: a sanity check with room to spare; the figures are measured in bench/."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from headend.drivers.registrations import built_in
from headend.errors import LinkError
from headend.transport.link import Link
from headend.transport.loop import run
from headend.transport.tcp import AcceptedLink, connect_tcp, listen_tcp, raise_descriptor_limit

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
    profile = Library().get(sys.argv[1])
    base, begun = resident(), time.perf_counter()
    fleet = Fleet([Group(profile=profile, count={METERS}, first_address="127.40.0.1")])
    await fleet.start()
    print(json.dumps({{"start": time.perf_counter() - begun, "port": fleet._listeners[0].port}}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps({{"links": fleet.links, "octets": resident() - base}}), flush=True)
    await fleet.aclose()

run(main())
"""


class Client:
    """Asks one thing after the other."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        link.set_receiver(self)

    async def ask(self, request: str) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        self.link.write(bytes.fromhex(request))
        return await self.answer

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    def link_lost(self, error: LinkError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


READ_VOLTAGES = "0001 0000 0006 01 04 0000 0006"
ASSOCIATE = "0001 0010 0001 001F 601DA109060760857405080101BE10040E01000000065F1F0400007E1F04B0"
READ_ENERGY = "0001 0010 0001 000D C001C1 0003 0100010800FF 02 00"

# meter file -> what is asked, and what the answers begin with
CONVERSATIONS = {
    "eastron-sdm630": [(READ_VOLTAGES, "0001 0000 000F 01 04 0C")],
    "generic-dlms-3p": [(ASSOCIATE, "0001 0001 0010"), (READ_ENERGY, "0001 0001 0010 0009 C401C100 06")],
}


@pytest.mark.slow
@pytest.mark.parametrize("profile_id", CONVERSATIONS)
def test_ten_thousand_meters_start_and_are_all_served_at_once(profile_id: str) -> None:
    if raise_descriptor_limit() < METERS + 1000:
        pytest.skip("this machine allows too few descriptors")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, profile_id],
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
            links: list[Link] = []

            async def one(number: int) -> None:
                host = f"127.40.{(number + 1) >> 8}.{(number + 1) & 255}"
                link = await connect_tcp(host, started["port"], 60)
                links.append(link)
                client = Client(link)
                for request, begins in CONVERSATIONS[profile_id]:
                    assert (await client.ask(request)).startswith(bytes.fromhex(begins))

            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(METERS):
                        group.create_task(one(number))
                return await asyncio.get_running_loop().run_in_executor(None, ask)
            finally:
                for link in links:
                    link.abort()
                await asyncio.sleep(0)

        seen = run(storm())
    finally:
        server.stdin.close()
        server.wait(20)
        server.stdout.close()
    assert seen["links"] == METERS
    assert started["start"] < 1
    assert seen["octets"] / METERS < 6_500


CALLERS = f"""
import json, os, sys
from headend.drivers.calling import Dialogue
from headend.drivers.library import Library
from headend.drivers.registrations import built_in
from headend.emulator.dialling import Dial
from headend.emulator.fleet import Fleet, Group
from headend.transport.loop import run

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    import asyncio
    dial = Dial(host="127.0.0.1", port=int(sys.argv[1]), dialogue=Dialogue(built_in().get("longi")), spread=0.0)
    group = Group(profile=Library().get("ivy-em114070"), count={METERS}, first_address="127.40.0.1", dial=dial)
    base, fleet = resident(), Fleet([group])
    await fleet.start()
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        seen = {{"links": fleet.links, "tasks": len(asyncio.all_tasks()), "octets": resident() - base}}
        seen["descriptors"] = len(os.listdir("/proc/self/fd"))
        print(json.dumps(seen), flush=True)
    await fleet.aclose()

run(main())
"""


class Listener:
    """A head-end that acknowledges logins, and notes who has called, and from where."""

    def __init__(self) -> None:
        self.registration = built_in().get("longi")
        self.numbers: set[str] = set()
        self.sources: set[str] = set()
        self.all_there = asyncio.Event()

    def take(self, link: AcceptedLink) -> None:
        link.set_receiver(Caller(self, link))

    def logged_in(self, link: Link, data: bytes) -> None:
        login: Any = self.registration.match(data)
        link.write(login.acknowledgement)
        self.numbers.add(login.number)
        self.sources.add(link.peer.rpartition(":")[0])
        if len(self.numbers) == METERS:
            self.all_there.set()


class Caller:
    """One of them; its login comes whole, as it is sent."""

    def __init__(self, listener: Listener, link: Link) -> None:
        self.listener, self.link = listener, link

    def data_received(self, data: bytes) -> None:
        self.listener.logged_in(self.link, data)

    def link_lost(self, error: LinkError) -> None:
        pass


@pytest.mark.slow
def test_ten_thousand_meters_dial_in_from_one_process() -> None:
    if raise_descriptor_limit() < METERS + 1000:
        pytest.skip("this machine allows too few descriptors")

    async def storm() -> Any:
        called = Listener()
        listener = await listen_tcp("127.0.0.1", 0, called.take)
        fleet = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CALLERS, str(listener.port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert fleet.stdin
        assert fleet.stdout
        try:
            async with asyncio.timeout(100):
                await called.all_there.wait()
                fleet.stdin.write(b"\n")
                seen = json.loads(await fleet.stdout.readline())
        finally:
            fleet.stdin.close()
            await fleet.wait()
            await listener.aclose()
        assert len(called.sources) == METERS
        return seen

    seen = run(storm())
    assert seen["links"] == METERS
    assert seen["tasks"] <= 2
    assert seen["octets"] / METERS < 6_500
    assert seen["descriptors"] < METERS + 100

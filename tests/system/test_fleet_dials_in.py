"""A fleet of several kinds dials in to a head-end that knows it from the emulator's own list, and is polled over its own calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headend.drivers.library import Library
from headend.emulator.fleet_file import load_fleet
from headend.model.meter import Secret
from headend.runtime.database import open_store
from headend.runtime.importing import enter, read_list
from headend.runtime.settings import load_settings

from .served import HeadEnd, configured

FLEET = """
[[group]]
profile = "ivy-em114070"
name = "ivy-{number}"
count = 4
first_address = "127.60.0.1"
dial = "tcp://127.0.0.1:PORT"
spread = 0
retry = 0.1
[[group]]
profile = "momas-mmx313"
name = "momas-{number}"
secrets = { secret = "text:12345678" }
count = 2
first_address = "127.60.1.1"
dial = "tcp://127.0.0.1:PORT"
retry = 0.1
spread = 0
[[group]]
profile = "generic-dlms-1p"
name = "bare-{number}"
framing = "apdu"
registration = "longi"
number = "77{number:010}"
count = 2
first_address = "127.60.2.1"
dial = "tcp://127.0.0.1:PORT"
retry = 0.1
spread = 0
[[group]]
profile = "generic-dlt645-1p"
name = "dlt-{number}"
registration = "dtu-digits"
number = "{number:012}"
count = 2
first_address = "127.60.4.1"
dial = "tcp://127.0.0.1:PORT"
retry = 0.1
spread = 0
[[group]]
profile = "eastron-sdm630"
name = "panel-{number}"
framing = "rtu"
units = [1, 2, 3]
registration = "longi"
number = "88{number:010}"
count = 3
first_address = "127.60.3.1"
dial = "tcp://127.0.0.1:PORT"
retry = 0.1
spread = 0
"""
NAMES = {
    *("ivy-1", "ivy-2", "ivy-3", "ivy-4", "momas-5", "momas-6", "bare-7", "bare-8", "dlt-9", "dlt-10"),
    *("panel-11", "panel-12", "panel-13"),
}
WITHIN = 60.0


async def until(true: Callable[[], Awaitable[set[str]]], wanted: set[str]) -> None:
    deadline = time.monotonic() + WITHIN
    while not (found := await true()) >= wanted:
        assert time.monotonic() < deadline, wanted - found
        await asyncio.sleep(0.2)


def test_a_fleet_is_polled_over_the_connections_that_it_opens(tmp_path: Path) -> None:
    password = Secret(b"12345678")
    library = Library()

    def fleet_for(port: int) -> Any:
        return load_fleet(FLEET.replace("PORT", str(port)), library, lambda _place, _name: password)

    roster = json.dumps([{"url": one.url, "name": one.name} for one in fleet_for(1).roster()])
    with open_store(load_settings(configured(tmp_path, ""))) as store:
        done = enter(store, read_list(roster, library, poll_seconds=1.0), {"secret": password})
        assert done.added == len(NAMES)
    with HeadEnd(tmp_path, "", {"HEADEND_GATEWAY__SETTLE": "0"}) as head_end:
        port = int(head_end.dialling_in[0].rpartition(":")[2])

        async def read_since(start: int) -> set[str]:
            answer = await asyncio.to_thread(head_end.get, "api/v1/meters?limit=100")
            return {
                meter["id"]
                for meter in answer["items"]
                if meter["state"]["online"] and meter["state"]["reads_ok"] and meter["state"]["last_seen"] >= start
            }

        async def meet() -> None:
            fleet = fleet_for(port)
            await fleet.start()
            try:
                await until(lambda: read_since(0), NAMES)
                for line in fleet._dialler.lines:  # the radio cell goes away, and all come back
                    line._call.abort()
                at = time.time_ns() // 1_000_000 + 500
                await until(lambda: read_since(at), NAMES)
            finally:
                await fleet.aclose()

        asyncio.run(meet())
        assert head_end.stop() == 0

"""Everything at once, from one settings file: SDM630s behind a gateway, HDLC, a thousand wrapper meters, some that dial in.

The meters are another process; mosquitto is the broker of the default sink. What is stored is counted in the database, what is
delivered at mosquitto: the head-end is asked for its completeness, and the two must agree.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiomqtt

from soak.dialling_in import HEADEND, Figures, Ports, Site, until

POLL_SECONDS: Final = 60
WRAPPER: Final = 1000
DIALLING: Final = 20
SETTLED_MINUTES: Final = 10
"""the memory that the head-end has then, with all load profiles read, is compared with that of the end"""
COMPLETE_SECONDS: Final = 900
"""within which what the meters recorded last, and what they had before, is there"""

FLEET: Final = """
[fleet]
seed = 11

[[group]]
profile = "eastron-sdm630"
name = "sdm630-{{number}}"
count = 3
units = [1, 2, 3]
first_address = "127.60.0.1"
port = {gateway}

[[group]]
profile = "generic-dlms-3p"
name = "hdlc-{{number}}"
count = 1
first_address = "127.60.1.1"
port = 3333
framing = "hdlc"
params = {{ client = 1, auth = "lls" }}
secrets = {{ secret = "env:SOAK_PASSWORD" }}
history_days = 2

[[group]]
profile = "generic-dlms-1p"
name = "wrapper-{{number:05}}"
count = {wrapper}
first_address = "127.60.4.1"
port = {dlms}
history_days = 2

[[group]]
profile = "ivy-em114070"
name = "ivy-{{number:05}}"
count = {dialling}
first_address = "127.60.2.1"
dial = "tcp://127.0.0.1:{gate}"

[[group]]
profile = "generic-dlt645-1p"
name = "dlt-{{number:05}}"
count = {dialling}
first_address = "127.60.3.1"
dial = "tcp://127.0.0.1:{gate}"
registration = "usr"
number = "9{{number:07}}"
"""
SETTINGS: Final = """data = {data}

[web]
port = {web}

[gateway]
places = ["tcp://127.0.0.1:{gate}"]

[mqtt]
broker = "mqtt://127.0.0.1:{mqtt}"

[ledger]
backfill_days = 1

[log]
level = "warning"
"""


@dataclass(slots=True)
class Everything(Ports):
    """Where everybody listens."""

    gateway: int
    dlms: int


class Together(Site):
    """Head-end, meters, broker, with one settings file that declares the meters."""

    def __init__(self, folder: Path, ports: Everything) -> None:
        super().__init__(folder, ports, 3 + 1 + WRAPPER + 2 * DIALLING, embedded=False)
        self.places = ports

    async def start(self) -> None:
        """Meters first, then the settings that name them, then the head-end."""
        ports = self.places
        values = {"wrapper": WRAPPER, "dialling": DIALLING, "gateway": ports.gateway, "dlms": ports.dlms}
        (self.folder / "fleet.toml").write_text(FLEET.format(gate=ports.gate, **values))
        self.broker()
        command = (*HEADEND, "emulate", str(self.folder / "fleet.toml"), "--json")
        self.run("fleet", *command, output=self.folder / "meters.json")
        await until("the list of meters", 120, self._listed)
        meters = json.loads((self.folder / "meters.json").read_text())
        settings = SETTINGS.format(
            data=json.dumps(str(self.folder / "data")), web=ports.web, gate=ports.gate, mqtt=ports.mqtt
        )
        for meter in meters:
            url = meter["url"] + ("&secret=env:SOAK_PASSWORD" if "auth=lls" in meter["url"] else "")
            settings += f"\n[[meters]]\nurl = {json.dumps(url)}\nname = {json.dumps(meter['name'])}\npoll = 60\n"
        config = self.folder / "headend.toml"
        config.write_text(settings)
        key = [*HEADEND, "key", "add", "soak", "--role", "admin", "--config", str(config)]
        said = await asyncio.to_thread(subprocess.run, key, check=True, capture_output=True)
        self.client.headers["Authorization"] = f"Bearer {said.stdout.decode().strip()}"
        self.run("serve", *HEADEND, "serve", "--config", str(config))
        await until("the head-end", 120, self._answers)

    def _listed(self) -> bool:
        try:
            return len(json.loads((self.folder / "meters.json").read_text())) == self.meters
        except (OSError, ValueError):
            return False

    async def get(self, path: str, **params: str) -> Any:
        """What REST says."""
        answer = await self.client.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def polls(self, since: int) -> Counter[str]:
        """How many times each meter was read since a time (milliseconds), in the database, by its fullest series."""
        query = """SELECT s.meter_id, count(*) FROM readings r JOIN series s ON s.number = r.point >> 25
        WHERE 1577836800000 + r.quarter * 21600000 + (r.point & 33554431) >= ? AND r.note & 7 = 0 GROUP BY s.number"""
        found: Counter[str] = Counter()
        with sqlite3.connect(f"file:{self.folder / 'data' / 'headend.db'}?mode=ro", uri=True) as database:
            for meter_id, count in database.execute(query, (since,)):
                found[meter_id] = max(found[meter_id], count)
        return found


async def heard(site: Together, ids: set[str], twice: Counter[str]) -> None:
    """Keep the ids of everything that the broker is given."""
    async with aiomqtt.Client(
        "127.0.0.1", site.ports.mqtt, identifier="soak", clean_session=False, max_queued_incoming_messages=0
    ) as client:
        await client.subscribe("headend/v1/meters/+/telemetry", qos=1)
        async for message in client.messages:
            body = json.loads(bytes(message.payload))
            number = (body[0] if isinstance(body, list) else body).get("id", "")
            if number in ids:
                twice[number] += 1
            ids.add(number)


async def run(folder: Path, ports: Everything, minutes: float) -> Figures:
    """The whole of it."""
    figures = Figures()
    site = Together(folder, ports)
    ids: set[str] = set()
    twice: Counter[str] = Counter()
    listening = None
    try:
        await site.start()
        listening = asyncio.create_task(heard(site, ids, twice))
        figures.note("meters", site.meters)
        await until("all online", 300, lambda: _all_online(site))
        since, began = time.time_ns() // 1_000_000, time.monotonic()
        used, settled = site.processor("serve"), 0
        for minute in range(1, round(minutes) + 1):
            await asyncio.sleep(max(0.0, began + 60 * minute - time.monotonic()))
            if minute == min(SETTLED_MINUTES, round(minutes)):
                settled = site.memory("serve")
            if minute % 10 == 0:
                figures.note(f"resident MB after {minute} minutes", round(site.memory("serve") / 1e6, 1))
        figures.note("share of a core", round((site.processor("serve") - used) / (time.monotonic() - began), 3))
        figures.expect("growth of memory", round(site.memory("serve") / settled, 3), most=1.1)
        whole = round(minutes)
        await asyncio.sleep(5)
        polls = site.polls(since)
        figures.expect(
            "meters with a read for each minute", sum(n >= whole - 1 for n in polls.values()), least=site.meters
        )
        figures.expect(
            "share of reads that came",
            round(sum(min(n, whole) for n in polls.values()) / (whole * site.meters), 5),
            least=0.999,
        )
        status = await site.get("/api/v1/status")
        figures.expect("meters offline", status["offline"], most=0)
        figures.note("messages at the broker", len(ids))
        figures.note("messages that came twice, with the same id", sum(twice.values()))
        await complete(site, figures)
    finally:
        if listening is not None:
            listening.cancel()
        await site.stop()
    return figures


async def complete(site: Together, figures: Figures) -> None:
    """What the head-end says of load profiles, once it had the time to read what is due."""
    began, days = time.monotonic(), []
    while time.monotonic() - began < COMPLETE_SECONDS:
        days = (await site.get("/api/v1/completeness", days="3"))["days"]
        if not any(day["missing"] for day in days):
            break
        await asyncio.sleep(5)
    expected, arrived = (sum(day[name] for day in days) for name in ("expected", "arrived"))
    figures.expect("intervals of load profiles expected", expected, least=WRAPPER * 4 * 12)
    figures.expect("completeness, percent", round(100 * arrived / max(1, expected), 4), least=100, most=100)
    figures.note("seconds until it was so, after the end", round(time.monotonic() - began, 1))


async def _all_online(site: Together) -> bool:
    return int((await site.status())["online"]) >= site.meters

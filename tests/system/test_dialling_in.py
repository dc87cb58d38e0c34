"""A DLMS meter dials in to a head-end that runs, is polled and read over its own connection, and comes back after it was cut."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.drivers.recognition import Kind
from headend.drivers.registrations import built_in
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.access import Role
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings
from headend.storage.store import wall_millis
from headend.transport.stream import StreamLink
from headend.transport.tcp import connect_tcp

from .served import HeadEnd, configured

NUMBER = "210600402941"
PROFILE = """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
"""


class Login:
    """Waits for the acknowledgement; then the meter has the link."""

    def __init__(self, link: StreamLink, meter: VirtualMeter) -> None:
        self.acknowledged: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._link = link
        self._meter = meter
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        driver.serve(self._link, self._meter)
        self.acknowledged.set_result(data)

    def link_lost(self, error: Exception) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_exception(error)


async def dial(port: int) -> StreamLink:
    meter = VirtualMeter(MeterKind(load_profile(PROFILE, "acme-a1", "this test"), wall_millis), 7, 0, {}, {})
    link = await connect_tcp("127.0.0.1", port, 10)
    login = Login(link, meter)
    sent = built_in().get("longi").encode(Kind.LOGIN, {"device": "meter", "number": NUMBER, "option": "00"})
    link.write(sent)
    assert built_in().get("longi").is_acknowledgement(sent, await asyncio.wait_for(login.acknowledged, 30))
    return link


async def until(head_end: HeadEnd, path: str, wanted: str) -> Any:
    """Ask until the answer holds something."""
    deadline = time.monotonic() + 60
    while True:
        answer = await asyncio.to_thread(head_end.get, path)
        if wanted in json.dumps(answer):
            return answer
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.2)


def test_a_meter_is_polled_over_the_connection_that_it_opens(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "acme-a1.toml").write_text(PROFILE, encoding="utf-8")
    with open_store(load_settings(configured(tmp_path, ""))) as store:
        url = parse_url(f"inbound://{NUMBER}?protocol=dlms&framing=wrapper&profile=acme-a1")
        store.meters.put(url.meter("m1", poll_seconds=2.0))
        key = store.access.create_key("tests", Role.OPERATOR)
    env = {"HEADEND_PROFILES": json.dumps([str(library)]), "HEADEND_GATEWAY__SETTLE": "0"}
    with HeadEnd(tmp_path, "", env) as head_end:
        port = int(head_end.dialling_in[0].rpartition(":")[2])

        async def meet() -> None:
            first = await dial(port)
            await until(head_end, "api/v1/readings/latest", "active_energy_import_total")
            answer = await asyncio.to_thread(
                httpx.post,
                f"{head_end.url}api/v1/meters/m1/read",
                json={},
                headers={"Authorization": f"Bearer {key}"},
                timeout=30,
            )
            assert answer.status_code == 200, answer.text
            first.abort()
            await until(head_end, "api/v1/events", "METER_DISCONNECTED")
            second = await dial(port)
            meter = await until(head_end, "api/v1/meters/m1", '"online": true')
            assert meter["state"]["reads_ok"]
            second.abort()

        asyncio.run(meet())
        assert head_end.stop() == 0

"""A head-end that is killed in the middle of a relay command, as processes: the command is never sent a second time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.model.access import Role
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings

from .served import COMMAND, HeadEnd, configured
from .test_dialling_in import NUMBER, PROFILE, dial, until

ACTION_ON_DISCONNECT_CONTROL = bytes.fromhex("0046")
"""class 70, after the tag, the choice and the invoke id of an ACTION request"""


class Relay:
    """Passes everything on to a meter and counts the actions on its relay; their answers are kept back."""

    def __init__(self, port: int, *, deliver: bool) -> None:
        self.port = 0
        self.actions = 0
        self.asked = asyncio.Event()
        self._meter = port
        self._deliver = deliver
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: writer.transport.abort())

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        meter_reader, meter_writer = await asyncio.open_connection("127.0.0.1", self._meter)
        with suppress(OSError):
            while request := await reader.read(65536):
                if request[8:9] == b"\xc3" and request[11:13] == ACTION_ON_DISCONNECT_CONTROL:
                    self.actions += 1
                    self.asked.set()
                    if self._deliver:
                        meter_writer.write(request)
                        await meter_reader.read(65536)
                    await reader.read(65536)  # until the head-end is gone
                    break
                meter_writer.write(request)
                writer.write(await meter_reader.read(65536))
        meter_writer.transport.abort()


@pytest.fixture
async def open_relay(meter_ports: dict[str, int]) -> AsyncIterator[Callable[..., Awaitable[Relay]]]:
    relays: list[Relay] = []

    async def make(*, deliver: bool) -> Relay:
        relays.append(Relay(meter_ports["wrapper"], deliver=deliver))
        await relays[0].start()
        return relays[0]

    yield make
    for relay in relays:
        await relay.aclose()


def said(*arguments: str, key: str, server: str) -> Any:
    """What a command of headend prints as JSON."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json", "--server", server],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HEADEND_KEY": key},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("carried", [True, False], ids=["carried-out", "lost-on-the-way"])
async def test_a_head_end_that_is_killed_in_the_middle_of_a_relay_command(
    tmp_path: Path, open_relay: Callable[..., Awaitable[Relay]], *, carried: bool
) -> None:
    relay = await open_relay(deliver=carried)
    configured(tmp_path, "[poll]\ntimeout = 30\n")
    with open_store(load_settings(tmp_path / "headend.toml")) as store:
        url = parse_url(f"dlms://127.0.0.1:{relay.port}?profile=generic-dlms-1p")
        store.meters.put(url.meter("m1", name="m1", poll_seconds=0))
        key = store.access.create_key("ops", Role.ADMIN)
    headers = {"Authorization": f"Bearer {key}"}

    def begin() -> tuple[HeadEnd, str]:
        head_end = HeadEnd(tmp_path, "[poll]\ntimeout = 30\n")
        path = f"{head_end.url}api/v1/meters/m1/commands"
        asked = {"kind": "disconnect"}
        job = httpx.post(path, json=asked, headers={**headers, "Idempotency-Key": "k"}, timeout=20).json()
        confirm = f"{head_end.url}api/v1/jobs/{job['id']}/confirm"
        assert httpx.post(confirm, json={"code": job["code"]}, headers=headers, timeout=20).status_code == 202
        return head_end, job["id"]

    def resume(job_id: str) -> tuple[Any, Any]:
        with HeadEnd(tmp_path, "[poll]\ntimeout = 30\n") as head_end:
            again = {"kind": "disconnect"}
            path = f"{head_end.url}api/v1/meters/m1/commands"
            repeated = httpx.post(path, json=again, headers={**headers, "Idempotency-Key": "k"}, timeout=20).json()
            assert (repeated["id"], repeated["started_at"] is None) == (job_id, False)

            def ended() -> Any:
                job = head_end.get(f"api/v1/jobs/{job_id}")
                return job if job["state"] in ("succeeded", "failed") else None

            head_end.wait(ended)
            job = said("job", "show", job_id, key=key, server=head_end.url)
            check = httpx.get(f"{head_end.url}api/v1/audit/check", headers=headers, timeout=20).json()
            trail = httpx.get(f"{head_end.url}api/v1/audit", headers=headers, timeout=20).json()
            assert check == {"verdict": "whole", "flaws": []}
            assert head_end.stop() == 0
            return job, [row["action"] for row in trail["items"]]

    head_end, job_id = await asyncio.to_thread(begin)
    with head_end:
        async with asyncio.timeout(60):
            await relay.asked.wait()
        await asyncio.to_thread(head_end.stop, signal.SIGKILL)
    job, actions = await asyncio.to_thread(resume, job_id)
    assert (job["state"], job["verdict"]) == (("succeeded", "confirmed") if carried else ("failed", "refused"))
    assert "stopped while it was under way" in job["detail"]
    assert relay.actions == 1
    assert actions == [
        "command-verified",
        "command-finished",
        "command-begun",
        "command-confirmed",
        "command-proposed",
    ]


def test_a_command_waits_for_a_meter_that_dials_in(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "acme-a1.toml").write_text(PROFILE, encoding="utf-8")
    with open_store(load_settings(configured(tmp_path, ""))) as store:
        url = parse_url(f"inbound://{NUMBER}?protocol=dlms&framing=wrapper&profile=acme-a1")
        store.meters.put(url.meter("m1", poll_seconds=0))
        key = store.access.create_key("ops", Role.OPERATOR)
    env = {"HEADEND_PROFILES": json.dumps([str(library)]), "HEADEND_GATEWAY__SETTLE": "0"}
    with HeadEnd(tmp_path, "", env) as head_end:
        port = int(head_end.dialling_in[0].rpartition(":")[2])

        async def meet() -> None:
            asked = await asyncio.to_thread(
                httpx.post,
                f"{head_end.url}api/v1/meters/m1/commands",
                json={"kind": "set-clock"},
                headers={"Authorization": f"Bearer {key}"},
                timeout=30,
            )
            path = f"api/v1/jobs/{asked.json()['id']}"
            waiting = await until(head_end, path, "has not dialled in")
            assert waiting["state"] == "queued"
            link = await dial(port)
            assert (await until(head_end, path, "succeeded"))["verdict"] == "confirmed"
            link.abort()

        asyncio.run(meet())
        assert head_end.stop() == 0

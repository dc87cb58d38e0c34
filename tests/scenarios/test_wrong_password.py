"""A meter that refuses a password hears it once, whoever asks, and as often as everything is started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from headend.cli.main import app
from headend.errors import AuthenticationFailed, HeadendError
from headend.model.access import Role
from headend.model.event import Event, EventType
from headend.model.meter import Secret
from headend.model.url import parse_url
from headend.runtime.connect import connect
from headend.runtime.database import open_store
from headend.runtime.settings import Settings, WebSettings
from headend.runtime.wiring import running

PASSWORD = "WRONG-PW"
FAILURE = bytes.fromhex("0001000100010019 6117 a109060760857405080101 a203020101 a305a10302010d")
"""AARE: rejected-permanent (1), authentication-failure (13)"""
NO_REASON = FAILURE[:-1] + b"\x01"
"""AARE: rejected-permanent (1), no-reason-given (1), as some meters put it"""


class Meter:
    """Refuses every association in the same words, and keeps what it was asked."""

    def __init__(self, refusal: bytes) -> None:
        self.refusal = refusal
        self.heard: list[bytes] = []
        self.port = 0
        self._links: set[asyncio.StreamWriter] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        while asked := await reader.read(1000):
            self.heard.append(asked)
            writer.write(self.refusal)

    async def hang_up(self) -> None:
        for writer in self._links:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._links), return_exceptions=True)

    def url(self, password: str = PASSWORD, client: int = 1) -> str:
        return f"dlms://127.0.0.1:{self.port}?client={client}&auth=lls&profile=generic-dlms-1p&secret=text:{password}"


@asynccontextmanager
async def listening(refusal: bytes) -> AsyncIterator[Meter]:
    meter = Meter(refusal)
    server = await asyncio.start_server(meter.talk, "127.0.0.1", 0)
    meter.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield meter
        finally:
            await meter.hang_up()


def settings_for(folder: Path) -> Settings:
    return Settings.model_validate({"data": str(folder), "web": {"enabled": False}, "mqtt": {"enabled": False}})


async def serve_until_it_fails(settings: Settings) -> Event:
    """Run the head-end until a poll has failed, and ask for the meter's readings besides."""
    async with running(settings) as head_end:
        events = head_end.bus.subscribe("test", Event)
        with pytest.raises(HeadendError):
            await head_end.poller.poll_now("m")
        async with asyncio.timeout(30):
            while (event := await anext(events)).type is not EventType.READ_FAILED:
                pass
    return event


async def asked_by_url(url: str, folder: Path) -> HeadendError:
    with pytest.raises(HeadendError) as caught:
        async with connect(url, data=folder):
            raise AssertionError("an association that was refused")
    return caught.value


@pytest.mark.parametrize("refusal", [FAILURE, NO_REASON], ids=["authentication-failure", "no-reason-given"])
async def test_it_is_heard_once(
    refusal: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path))
    settings = settings_for(tmp_path)
    async with listening(refusal) as meter:
        parsed = parse_url(meter.url())
        with open_store(settings) as store:
            store.meters.put(parsed.meter("m", poll_seconds=0.2))
            store.secrets.put("m", "secret", Secret(PASSWORD.encode()))
        said = [str((await serve_until_it_fails(settings)).data) for _ in range(2)]
        for _ in range(2):
            error = await asked_by_url(meter.url(), tmp_path)
            assert isinstance(error, AuthenticationFailed)
            said.append(f"{error} {error.hint} {error!r}")
        assert len(meter.heard) == 1
        assert PASSWORD.encode() in meter.heard[0]
        assert "not tried again" in said[-1]

        await asked_by_url(meter.url("ANOTHER1"), tmp_path)  # it was changed, so it is tried, and so is another client
        await asked_by_url(meter.url(client=2), tmp_path)
        assert len(meter.heard) == 3
        await asked_by_url(meter.url("ANOTHER1"), tmp_path)
        assert len(meter.heard) == 3

        await unlocked(meter.url("ANOTHER1"))  # somebody says that the meter was changed
        await asked_by_url(meter.url("ANOTHER1"), tmp_path)
        assert len(meter.heard) == 4
    assert PASSWORD.encode() not in everything_in(tmp_path)
    for text in (caplog.text, *said):
        assert PASSWORD not in text
        assert PASSWORD.encode().hex() not in text


async def test_over_rest_only_a_change_of_a_secret_counts(tmp_path: Path) -> None:
    async with listening(FAILURE) as meter:
        settings = settings_for(tmp_path).model_copy(update={"web": WebSettings(port=0)})
        with open_store(settings) as store:
            store.meters.put(parse_url(meter.url()).meter("m", poll_seconds=0))
            store.secrets.put("m", "secret", Secret(PASSWORD.encode()))
            key = store.access.create_key("k", Role.ADMIN)
        async with running(settings) as head_end:
            client = httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{head_end.web_port}/api/v1/meters",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
            )
            async with client:

                async def ask() -> httpx.Response:
                    answer = await client.post("/m/read", json={"refs": ["1/0-0:42.0.0.255/2"]})
                    assert answer.json()["code"] == "authentication-failed"
                    assert PASSWORD not in answer.text
                    return answer

                for _ in range(2):
                    await ask()
                meter_now = await client.get("/m")
                changed = await client.patch(
                    "/m", json={"name": "ground floor"}, headers={"If-Match": meter_now.headers["etag"]}
                )
                assert changed.status_code == 200
                assert "not tried again" in (await ask()).text
                assert len(meter.heard) == 1
                same = await client.put("/m/secrets/secret", json={"value": f"text:{PASSWORD}"})
                assert same.status_code == 204
                for _ in range(2):
                    await ask()
                assert len(meter.heard) == 2


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def unlocked(url: str) -> None:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["unlock", url])
    assert result.exit_code == 0
    assert result.output == ""

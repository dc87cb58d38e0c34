"""mosquitto, as tests run it: on loopback, for anybody, keeping everything for whoever is slow."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class Mosquitto:
    """A broker with a configuration file."""

    def __init__(self, config: Path, port: int) -> None:
        self._config = config
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it takes connections."""
        assert PROGRAM is not None
        self._process = await asyncio.create_subprocess_exec(
            *(PROGRAM, "-c", str(self._config)), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(60):
            while True:
                assert self._process.returncode is None, f"mosquitto has ended: {self._config.read_text()}"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def stop(self) -> None:
        """Returns when it has ended."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@asynccontextmanager
async def mosquitto(folder: Path, port: int, *lines: str) -> AsyncIterator[Mosquitto]:
    """A broker while the block runs; `lines` are more of its configuration. Skips where none is installed."""
    if PROGRAM is None:
        pytest.skip("no mosquitto on this machine (Debian package mosquitto): make test installs it")
    config = folder / "mosquitto.conf"
    usual = ("user root", f"listener {port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0")
    config.write_text("\n".join((*usual, *lines, "")))
    broker = Mosquitto(config, port)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.stop()

"""The served head-end on a disk that is full for a while: nothing acknowledged is lost, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.mosquitto_server import mosquitto
from tests.ports import free_port

from .killing import FLEET, SETTINGS, Outcome, Received, collected, delivered, stored_readings
from .served import HeadEnd, Meters, configured, enter

TIMES = int(os.environ.get("HEADEND_DISK_FULL", "1"))
DISK = "24m"
METERS = 20


class Disk:
    """A small file system of its own, that can be filled."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self, _head_end: HeadEnd) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self, _head_end: HeadEnd) -> None:
        self._filler.unlink()


class Limit:
    """For who may not mount one: no file of the head-end may grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self, head_end: HeadEnd) -> None:
        largest = (self._folder / "headend.db-wal").stat().st_size
        _, hard = resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE, (largest, hard))

    def free(self, head_end: HeadEnd) -> None:
        _, hard = resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(head_end.child.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk | None]:
    """A file system of a few megabytes in a folder; None where none may be mounted."""
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(180 + 90 * TIMES)
@pytest.mark.parametrize("how", ["disk", "limit"])
async def test_nothing_acknowledged_is_lost_on_a_full_disk(
    tmp_path: Path, how: str, record_property: Callable[[str, object], None]
) -> None:
    (tmp_path / "data").mkdir()
    if how == "limit":
        await _fill_again_and_again(tmp_path, Limit(tmp_path / "data"), record_property)
        return
    with small_disk(tmp_path / "data") as disk:
        if disk is None:
            pytest.skip("this user may not mount a file system")
        await _fill_again_and_again(tmp_path, disk, record_property)


async def _fill_again_and_again(
    folder: Path, disk: Disk | Limit, record_property: Callable[[str, object], None]
) -> None:
    port = free_port()
    settings = SETTINGS.format(port=port)
    configured(folder, settings)
    received = Received()
    async with mosquitto(folder, port), collected(port, received):
        with await asyncio.to_thread(Meters, folder, FLEET.format(count=METERS, port=free_port())) as fleet:
            await asyncio.to_thread(enter, folder, fleet.roster, 0.5)
            with await asyncio.to_thread(HeadEnd, folder, settings) as head_end:
                acknowledged = await asyncio.to_thread(_trouble, head_end, disk)
                fleet.stop()
                await delivered(head_end, folder, received)
                assert await asyncio.to_thread(head_end.stop) == 0, head_end.said
        outcome = Outcome(received, await asyncio.to_thread(stored_readings, folder), 0)
    outcome.check()
    assert len(outcome.stored) >= acknowledged
    record_property("times that the disk was full", TIMES)
    record_property("readings acknowledged", acknowledged)
    record_property("readings in the database", len(outcome.stored))
    record_property("readings in the database and never delivered", len(outcome.stored - received.ids.keys()))


def _trouble(head_end: HeadEnd, disk: Disk | Limit) -> int:
    """Fill the disk and make room so many times; how many readings the head-end has stored, as it says."""
    acknowledged = head_end.wait_stored(50)
    for _ in range(TIMES):
        disk.fill(head_end)
        head_end.until("database does not take readings")
        disk.free(head_end)
        head_end.until("database takes readings again")
        acknowledged = head_end.wait_stored(acknowledged + 200)
    return acknowledged

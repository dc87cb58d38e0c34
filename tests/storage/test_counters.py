"""Invocation counters in their file: never the same one twice, whoever asks, and whatever happens in between."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.errors import StorageError
from headend.storage.counters import CounterFile

TAKES = """
import sys
from pathlib import Path
from headend.storage.counters import CounterFile
counters = CounterFile(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    print(counters.reserve("k", 0, 16), flush=True)
counters.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "counters.db"


@pytest.fixture
def counters(path: Path) -> Iterator[CounterFile]:
    made = CounterFile(path)
    yield made
    made.close()


def test_blocks_follow_each_other(counters: CounterFile) -> None:
    assert not counters.path.exists()  # nobody needed it yet
    assert counters.load("k") is None
    assert counters.reserve("k", 0, 256) == 0
    assert counters.reserve("k", 0, 256) == 256
    assert counters.load("k") == 512
    assert counters.reserve("k", 5000, 256) == 5000
    assert counters.reserve("k", 10, 256) == 5256  # never lowered
    assert counters.reserve("other", 7, 1) == 7
    counters.close()
    assert counters.load("k") == 5512
    assert stat.S_IMODE(counters.path.stat().st_mode) == 0o600


def test_two_processes_and_many_threads_share_it(counters: CounterFile) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", TAKES, str(counters.path), "40"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(counters.reserve("k", 0, 16) for _ in range(40))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        out, _ = child.communicate(timeout=60)
        taken += map(int, out.split())
    assert sorted(taken) == list(range(0, 16 * 200, 16))


def test_what_was_taken_before_a_kill_is_not_given_again(counters: CounterFile) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", TAKES, str(counters.path), "1000000"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate(timeout=60)
    said += map(int, rest.split()[:-1])  # the last line may be cut
    assert counters.reserve("k", 0, 16) > max(said)


def test_every_reservation_is_on_the_disk(counters: CounterFile) -> None:
    counters.reserve("k", 0, 1)
    assert counters._file._connection is not None
    assert counters._file._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: each commit is flushed


@pytest.mark.parametrize("damage", [b"this is no database, but it is long enough to look like one" * 20, None])
def test_without_the_file_nothing_is_handed_out(path: Path, damage: bytes | None) -> None:
    if damage is None:
        path.parent.write_bytes(b"a file where the folder should be")
    else:
        path.parent.mkdir()
        path.write_bytes(damage)
    counters = CounterFile(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="cannot be kept") as refused:
            counters.reserve("k", 0, 1)
        assert "nothing is ciphered" in refused.value.hint
    counters.close()

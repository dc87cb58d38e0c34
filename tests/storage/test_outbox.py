from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import StorageError
from headend.storage.outbox import Outbox


def outbox(folder: Path, *, max_messages: int = 1000, max_octets: int = 1 << 20) -> Outbox:
    return Outbox(folder / "outbox.db", max_messages=max_messages, max_octets=max_octets)


def numbered(*numbers: int) -> list[tuple[str, bytes]]:
    return [(f"t/{number}", b"%d" % number) for number in numbers]


def test_messages_come_back_in_their_order_and_the_file_goes_with_the_last(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    assert box.first(10) == []
    assert not box.path.exists()
    assert box.append(numbered(1, 2)) == 0
    assert box.append(numbered(3)) == 0
    assert [(each.topic, each.payload) for each in box.first(10)] == numbered(1, 2, 3)
    box.remove(box.first(2)[-1].id)
    assert [each.payload for each in box.first(10)] == [b"3"]
    assert (box.messages, box.octets) == (1, 4)
    box.remove(box.first(1)[-1].id)
    assert (box.messages, box.octets) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_waits_outlives_the_process(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.append(numbered(1, 2))
    box.close()
    again = outbox(tmp_path)
    assert (again.messages, again.octets) == (box.messages, box.octets)
    assert [each.payload for each in again.first(10)] == [b"1", b"2"]
    again.close()


def test_what_was_appended_outlives_a_kill(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from headend.storage.outbox import Outbox
        box = Outbox(Path({str(tmp_path / "outbox.db")!r}), max_messages=1000, max_octets=1 << 20)
        for number in range(10):
            box.append([("t", b"%d" % number)])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -9
    box = outbox(tmp_path)
    assert [each.payload for each in box.first(20)] == [b"%d" % number for number in range(10)]
    box.close()


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    box = outbox(tmp_path, max_messages=3)
    assert box.append(numbered(1, 2)) == 0
    assert box.append(numbered(3, 4, 5)) == 2
    assert [each.payload for each in box.first(10)] == [b"3", b"4", b"5"]
    assert box.append(numbered(*range(10, 20))) == 10
    assert [each.payload for each in box.first(10)] == [b"17", b"18", b"19"]
    box.close()


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    box = outbox(tmp_path, max_octets=1000)
    assert box.append([("t", bytes(499))]) == 0
    assert box.append([("t", bytes(499))]) == 0
    assert box.append([("t", bytes(9))]) == 1
    assert (box.messages, box.octets) == (2, 510)
    assert box.append([("t", bytes(2000))]) == 3
    assert (box.messages, box.octets) == (0, 0)
    box.close()


@given(st.lists(st.one_of(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 40))))
def test_it_counts_right_and_keeps_its_bounds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[bytes] | int]
) -> None:
    box = outbox(tmp_path_factory.mktemp("outbox"), max_messages=20, max_octets=400)
    expected: list[bytes] = []
    for step in steps:
        if isinstance(step, int):
            if page := box.first(step):
                assert [each.payload for each in page] == expected[:step]
                box.remove(page[-1].id)
                expected = expected[step:]
        else:
            gone = box.append([("t", payload) for payload in step])
            expected = [*expected, *step][gone:]
            assert len(expected) <= 20
        assert box.messages == len(expected)
        assert box.octets == sum(len(payload) + 1 for payload in expected) <= 400
    box.close()


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StorageError, match=r"outbox\.db"):
        outbox(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    box = Outbox(tmp_path / "file" / "outbox.db", max_messages=1, max_octets=1)
    with pytest.raises(StorageError, match=r"outbox\.db"):
        box.append(numbered(1))
    assert box.messages == 0

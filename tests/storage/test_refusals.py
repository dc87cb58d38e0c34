"""What meters have refused, in its file: known again by another process, and no help to whoever reads it."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.errors import StorageError
from headend.model.meter import Secret
from headend.storage.refusals import RefusalFile

GUESS = {"secret": Secret(b"guess-1234"), "ek": Secret(bytes(range(16)))}
REASON = "the meter refuses the association: authentication-failure"
ASK = """
import sys
from pathlib import Path
from headend.model.meter import Secret
from headend.storage.refusals import RefusalFile
refusals = RefusalFile(Path(sys.argv[1]))
print(refusals.reason("here", {"ek": Secret(bytes(range(16))), "secret": Secret(b"guess-1234")}))
refusals.close()
"""


@pytest.fixture
def refusals(tmp_path: Path) -> Iterator[RefusalFile]:
    made = RefusalFile(tmp_path / "data" / "refusals.db")
    yield made
    made.close()


def test_the_same_secrets_at_the_same_place(refusals: RefusalFile, tmp_path: Path) -> None:
    assert refusals.reason("here", GUESS) == ""
    refusals.add("here", GUESS, REASON)
    assert refusals.reason("here", GUESS) == REASON
    assert refusals.reason("there", GUESS) == ""
    path = tmp_path / "data" / "refusals.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = subprocess.run([sys.executable, "-c", ASK, str(path)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == REASON


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": Secret(b"guess-1235")},
        {"ek": Secret(bytes(16))},
        {"ak": Secret(b"")},
        {"secret": Secret(b"guess-1234\0\0\0\2ek"), "ek": Secret(b"")},
    ],
)
def test_other_secrets_are_other_secrets(refusals: RefusalFile, changed: dict[str, Secret]) -> None:
    refusals.add("here", GUESS, REASON)
    assert refusals.reason("here", GUESS | changed) == ""
    refusals.add("here", GUESS | changed, "again")
    assert refusals.reason("here", GUESS | changed) == "again"
    assert refusals.reason("here", GUESS) == ""  # the last ones count: somebody has changed them since


def test_what_is_forgotten_may_be_tried_again(refusals: RefusalFile) -> None:
    refusals.forget("here")
    refusals.add("here", GUESS, REASON)
    refusals.forget("here")
    assert refusals.reason("here", GUESS) == ""


def test_the_secrets_are_not_in_the_file(refusals: RefusalFile, tmp_path: Path) -> None:
    refusals.add("here", GUESS, REASON)
    first = b"".join(path.read_bytes() for path in sorted((tmp_path / "data").iterdir()))
    assert b"authentication-failure" in first
    for secret in GUESS.values():
        assert secret.reveal() not in first
        assert secret.reveal().hex().encode() not in first


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    refusals = RefusalFile(tmp_path / "data" / "refusals.db")
    with pytest.raises(StorageError, match="which secrets meters refuse"):
        refusals.reason("here", GUESS)

"""Meter files that are kept: revisions, changes by hand, what is left after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.errors import ConfigError, Conflict, NotFound, StorageError
from headend.storage.profiles import ProfileFolder

NOON = 1_763_726_400_000


@pytest.fixture
def folder(tmp_path: Path) -> ProfileFolder:
    return ProfileFolder(tmp_path / "profiles", lambda: NOON)


def keep(folder: ProfileFolder, text: str, **more: object) -> int:
    return folder.keep("a", lambda number: f"{text} {number}", actor="user:anna", action="changed", **more).number  # type: ignore[arg-type]


def test_every_change_is_a_revision_and_the_old_ones_stay(folder: ProfileFolder) -> None:
    assert folder.text("a") is None
    assert folder.history("a") == []
    assert [keep(folder, "one"), keep(folder, "two"), keep(folder, "three", least=7)] == [1, 2, 7]
    assert folder.ids() == ["a"]
    assert folder.text("a") == "three 7"
    assert [(each.number, each.text, each.actor, each.at) for each in folder.history("a")] == [
        (1, "one 1", "user:anna", NOON), (2, "two 2", "user:anna", NOON), (7, "three 7", "user:anna", NOON),
    ]  # fmt: skip
    assert folder.revision("a", 2).text == "two 2"
    with pytest.raises(NotFound, match="no revision 3"):
        folder.revision("a", 3)


def test_who_changed_another_revision_than_the_newest_is_told(folder: ProfileFolder) -> None:
    keep(folder, "one", before=0)
    with pytest.raises(Conflict, match="revision 1 by now"):
        keep(folder, "two", before=0)
    keep(folder, "two", before=1)
    folder.retire("a", actor="user:anna")
    assert keep(folder, "again", before=0) == 4


def test_what_is_retired_is_gone_but_for_its_history(folder: ProfileFolder) -> None:
    keep(folder, "one")
    assert folder.retire("a", actor="user:bob").text is None
    assert folder.ids() == []
    assert folder.text("a") is None
    assert [each.action for each in folder.history("a")] == ["changed", "retired"]
    with pytest.raises(NotFound):
        folder.retire("a", actor="user:bob")


def test_a_change_by_hand_becomes_a_revision_of_its_own(folder: ProfileFolder) -> None:
    keep(folder, "one")
    (folder.path / "a.toml").write_text("by hand")
    assert [(each.number, each.text, each.actor) for each in folder.history("a")] == [
        (1, "one 1", "user:anna"),
        (2, "by hand", "file"),
    ]
    assert len(folder.history("a")) == 2


def test_a_line_that_was_not_finished_is_left_out_and_written_over(folder: ProfileFolder) -> None:
    keep(folder, "one")
    keep(folder, "two")
    lines = folder.path / "history" / "a.jsonl"
    data = lines.read_bytes()
    lines.write_bytes(data[:-20])
    assert [each.text for each in folder.history("a")] == ["one 1", "two 2"]
    assert keep(folder, "three") == 3
    assert [each.text for each in folder.history("a")] == ["one 1", "two 2", "three 3"]


def test_a_damaged_history_is_told(folder: ProfileFolder) -> None:
    keep(folder, "one")
    (folder.path / "history" / "a.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(StorageError, match="damaged"):
        folder.history("a")


@pytest.mark.parametrize("profile_id", ["", "../a", "a/b", "A", ".a", "a..b", "a" * 65, "history/x", "a\n"])
def test_an_id_that_is_no_plain_file_name_is_refused(folder: ProfileFolder, profile_id: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the id"):
        folder.text(profile_id)

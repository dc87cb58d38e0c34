"""Meter files that the head-end keeps: a folder with one TOML file each, and beside them every revision there has been.

```text
profiles/acme-a1.toml              what is in force
profiles/history/acme-a1.jsonl     a line for each revision: number, time, who, what was done, digest, text (null: retired)
```

The file is what counts. One that somebody has changed by hand, or that was written when the process was killed before its line
was, is noted as a revision of its own as soon as somebody asks.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from headend.errors import ConfigError, Conflict, NotFound, StorageError

FOUND: Final = "found"
"""what was done to a file by hand"""
RETIRED: Final = "retired"
BY_HAND: Final = "file"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRevision:
    """One revision of a meter file; `text` is None for one that was retired. `at` in milliseconds."""

    number: int
    at: int
    actor: str
    action: str
    digest: str
    text: str | None


def check_profile_id(profile_id: str) -> str:
    """An id that may be the name of a file; raises ConfigError."""
    if not _ID.fullmatch(profile_id) or ".." in profile_id:
        raise ConfigError(
            f"{profile_id!r} cannot be the id of a meter profile",
            hint="letters a to z, digits, - _ and ., up to 64 of them",
        )
    return profile_id


class ProfileFolder:
    """The folder. Methods block, raise StorageError, and may be called from any thread."""

    def __init__(self, path: Path, millis: Callable[[], int]) -> None:
        self.path = path
        self._millis = millis
        self._lock = threading.RLock()

    def ids(self) -> Sequence[str]:
        """Ids of the files in force, sorted."""
        return sorted(path.stem for path in self.path.glob("*.toml"))

    def text(self, profile_id: str) -> str | None:
        """The text in force; None where there is none."""
        path = self._file(profile_id)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{path} cannot be read: {error}") from error

    def history(self, profile_id: str) -> Sequence[ProfileRevision]:
        """All revisions, oldest first; none for an id that was never kept."""
        with self._lock:
            known = self._read(profile_id)
            text = self.text(profile_id)
            if text is not None and (not known or known[-1].digest != _digest(text)):
                known = [*known, self._note(profile_id, known, BY_HAND, FOUND, text)]
            return known

    def revision(self, profile_id: str, number: int) -> ProfileRevision:
        """One revision; raises NotFound."""
        for each in self.history(profile_id):
            if each.number == number:
                return each
        raise NotFound(f"the profile {profile_id!r} has no revision {number}")

    def keep(
        self,
        profile_id: str,
        make: Callable[[int], str],
        *,
        actor: str,
        action: str,
        least: int = 1,
        before: int | None = None,
    ) -> ProfileRevision:
        """A new revision, of at least the number `least`; `make` is given its number and makes the text.

        Raises Conflict when the newest revision is not the one `before`; 0 says that there must be none in force.
        """
        with self._lock:
            known = self.history(profile_id)
            newest = known[-1].number if known and known[-1].text is not None else 0
            if before is not None and before != newest:
                raise Conflict(
                    f"the profile {profile_id!r} has revision {newest or 'none'} by now, not {before}",
                    hint="look at it again before changing it",
                )
            number = max(least, known[-1].number + 1 if known else 1)
            text = make(number)
            self._replace(profile_id, text)
            return self._note(profile_id, known, actor, action, text, number)

    def retire(self, profile_id: str, *, actor: str) -> ProfileRevision:
        """Take a file away; its revisions stay. Raises NotFound."""
        with self._lock:
            known = self.history(profile_id)
            if not known or known[-1].text is None:
                raise NotFound(f"the head-end keeps no profile {profile_id!r}")
            try:
                self._file(profile_id).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{self._file(profile_id)} cannot be removed: {error.strerror}") from error
            return self._note(profile_id, known, actor, RETIRED, None)

    def _file(self, profile_id: str) -> Path:
        return self.path / f"{check_profile_id(profile_id)}.toml"

    def _history_file(self, profile_id: str) -> Path:
        return self.path / "history" / f"{check_profile_id(profile_id)}.jsonl"

    def _replace(self, profile_id: str, text: str) -> None:
        path = self._file(profile_id)
        fresh = path.with_suffix(".new")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", hint="check the disk and the folder"
            ) from error

    def _read(self, profile_id: str) -> list[ProfileRevision]:
        path = self._history_file(profile_id)
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            # what follows the last line feed was being written when the process was killed
            return [ProfileRevision(**orjson.loads(line)) for line in lines[:-1] if line]
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{path} is damaged: {error}", reason="damaged", hint="compare it with a backup"
            ) from error

    def _note(
        self,
        profile_id: str,
        known: Sequence[ProfileRevision],
        actor: str,
        action: str,
        text: str | None,
        number: int | None = None,
    ) -> ProfileRevision:
        row: dict[str, Any] = {
            "number": number or (known[-1].number + 1 if known else 1),
            "at": self._millis(),
            "actor": actor,
            "action": action,
            "digest": "" if text is None else _digest(text),
            "text": text,
        }
        path = self._history_file(profile_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                _begin_line(path, file.tell(), file.truncate)
                file.write(orjson.dumps(row) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", hint="check the disk and the folder"
            ) from error
        return ProfileRevision(**row)


def _begin_line(path: Path, size: int, truncate: Callable[[int], object]) -> None:
    """Drop the beginning of a line that was never finished."""
    if size:
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            truncate(data.rfind(b"\n") + 1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

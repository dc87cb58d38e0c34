"""What meters have refused, in a small SQLite file of its own, so that a restart or another command does not try it again.

The secrets themselves are not in there. A digest that is slow to make, with a salt for each, tells whether the same ones are
about to be tried; whoever reads the file learns as little as from a list of hashed passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headend.model.meter import Secret
from headend.storage.small import SmallFile

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS refusals (place TEXT PRIMARY KEY, salt BLOB NOT NULL, digest BLOB NOT NULL,"
    " reason TEXT NOT NULL) WITHOUT ROWID, STRICT"
)
_HINT: Final = "no secret is sent without it: check owner, mode and space of the data folder"
_SALT: Final = 16


class RefusalFile:
    """The last secrets that were refused at each place. May be called from any thread and in several processes."""

    def __init__(self, path: Path) -> None:
        self._file = SmallFile(path, _TABLE, what="which secrets meters refuse", hint=_HINT)

    def add(self, place: str, secrets: Mapping[str, Secret], reason: str) -> None:
        """These secrets were refused there; the ones before are forgotten."""
        salt = os.urandom(_SALT)
        self._file.run(
            "INSERT OR REPLACE INTO refusals VALUES (:place, :salt, :digest, :reason)",
            {"place": place, "salt": salt, "digest": _digest(secrets, salt), "reason": reason},
        )

    def reason(self, place: str, secrets: Mapping[str, Secret]) -> str:
        """Why these secrets were refused there the last time; empty when they were not."""
        row = self._file.run("SELECT salt, digest, reason FROM refusals WHERE place = :place", {"place": place})
        if row is None or not hmac.compare_digest(row[1], _digest(secrets, row[0])):
            return ""
        return str(row[2])

    def forget(self, place: str) -> None:
        """Whatever was refused there may be tried again."""
        self._file.run("DELETE FROM refusals WHERE place = :place", {"place": place})

    def close(self) -> None:
        """Close the file; it is opened again when it is needed again."""
        self._file.close()


def _digest(secrets: Mapping[str, Secret], salt: bytes) -> bytes:
    """Takes tens of milliseconds, on purpose."""
    octets = b"".join(
        len(part).to_bytes(4) + part
        for name, secret in sorted(secrets.items())
        for part in (name.encode(), secret.reveal())
    )
    return hashlib.scrypt(octets, salt=salt, n=1 << 14, r=8, p=1)

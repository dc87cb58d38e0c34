"""Confirmation codes: bound to a job and to who asked for it, gone with the process, wrong a few times only.

A code is made from the job and a key that only this process has: nothing is stored, and whoever repeats a request is told
the same code again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from headend.model.job import Job

MAX_WRONG: Final = 3
_MODULUS: Final = 10**6


class Codes:
    """Makes codes and checks them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._wrong: dict[str, int] = {}

    def of(self, job: Job) -> str:
        """Six digits."""
        digest = hmac.digest(self._key, f"{job.id} {job.actor}".encode(), hashlib.sha256)
        return f"{int.from_bytes(digest[:8]) % _MODULUS:06}"

    def check(self, job: Job, code: str) -> bool:
        """Is this the code of a job? Counts those that are not."""
        if hmac.compare_digest(self.of(job).encode(), code.strip().encode()):
            return True
        self._wrong[job.id] = self._wrong.get(job.id, 0) + 1
        return False

    def exhausted(self, job: Job) -> bool:
        """True when nothing more may be tried."""
        return self._wrong.get(job.id, 0) >= MAX_WRONG

    def forget(self, job: Job) -> None:
        """The job waits for no confirmation any longer."""
        self._wrong.pop(job.id, None)

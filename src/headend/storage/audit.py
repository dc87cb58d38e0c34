"""The audit trail: rows that are only ever appended, each with a SHA-256 digest over the digest before it and its own content.

A row that is changed, removed, put in or moved breaks the chain. A tail that is cut off does not: so the number and digest of
the last row also stand in a small file beside the database (`NAME.audit`), which is written after every row. The file may
lag behind the table when the process is killed, never the other way round.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from headend.errors import StorageError
from headend.model.audit import HEADEND, Action, AuditEntry, AuditRow, Flaw
from headend.model.meter import NO_PARAMS
from headend.model.reading import Value
from headend.storage.engine import Database
from headend.storage.schema import audit as table

_BEGIN: Final = bytes(32)
"""what the first row is chained to"""
_COLUMNS: Final = (table.c.number, table.c.at, table.c.actor, table.c.action, table.c.subject, table.c.data)


class Audit:
    """The audit trail."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis
        self._lock = threading.Lock()
        self._checked = False
        self._last: tuple[int, bytes] | None = None
        """number and digest of the row that was added last"""
        self.tail_file = database.beside.with_name(f"{database.beside.name}.audit")

    def append(self, actor: str, action: Action, subject: str, data: Mapping[str, Value] = NO_PARAMS) -> None:
        """Keep what somebody did."""
        with self.transaction() as connection:
            self.add(connection, AuditEntry(actor=actor, action=action, subject=subject, data=data))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that changes the database and keeps what is added by `add`, or does neither."""
        with self._lock:
            before = self._last
            with self._database.write() as connection:
                yield connection
            if self._last is not before and self._last is not None:
                self._write_tail(*self._last)

    def add(self, connection: sa.Connection, entry: AuditEntry) -> None:
        """Keep an entry, inside a `transaction`."""
        number, before = _last(connection)
        if not self._checked:
            known = read_tail(self.tail_file)
            if known[0] > number if known is not None else number > 1:
                row, digest = known or (number, b"")
                missing: dict[str, Value] = {"row": row, "digest": digest.hex()}
                lost = AuditEntry(actor=HEADEND, action=Action.TAIL_MISSING, subject="audit", data=missing)
                number, before = self._insert(connection, number, before, lost)
            self._checked = True
        self._last = self._insert(connection, number, before, entry)

    def _insert(self, connection: sa.Connection, last: int, before: bytes, entry: AuditEntry) -> tuple[int, bytes]:
        row: dict[str, Any] = {
            "number": last + 1,
            "at": self._millis(),
            "actor": entry.actor,
            "action": entry.action.value,
            "subject": entry.subject,
            "data": _canonical(dict(entry.data)),
        }
        digest = _digest(before, tuple(row.values()))
        connection.execute(table.insert(), {**row, "digest": digest})
        return last + 1, digest

    def _write_tail(self, number: int, digest: bytes) -> None:
        """Note the last row beside the database. Where that cannot be written the next row does it."""
        fresh = self.tail_file.with_name(f"{self.tail_file.name}.new")
        with contextlib.suppress(OSError):
            fresh.touch(mode=0o600)
            fresh.write_text(f"{number} {digest.hex()}\n", encoding="ascii")
            fresh.replace(self.tail_file)

    def take_over(self, other: Audit) -> None:
        """The rows of another database are in this one now: so what is noted of the last one is noted beside this one."""
        tail = read_tail(other.tail_file)
        if tail is not None:
            self._write_tail(*tail)

    def begin_tail(self) -> None:
        """Note the last row, where nothing is noted: after a backup came to another machine."""
        with self._database.read() as connection:
            number, digest = _last(connection)
        if number and read_tail(self.tail_file) is None:
            self._write_tail(number, digest)

    def list(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
    ) -> Sequence[AuditRow]:
        """Rows, newest first, from the first one before the number `before`."""
        query = sa.select(table)
        for column, wanted in ((table.c.actor, actor), (table.c.action, action), (table.c.subject, subject)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(table.c.number < before)
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query.order_by(table.c.number.desc()).limit(limit))]

    def rows(self) -> Iterator[AuditRow]:
        """All rows, oldest first."""
        with self._database.read() as connection:
            query = sa.select(table).order_by(table.c.number)
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield _row(row)

    def verify(self) -> Sequence[Flaw]:
        """What is wrong with the trail; empty when it is whole."""
        flaws: list[Flaw] = []
        tail = read_tail(self.tail_file)
        last, before = 0, _BEGIN
        noted: bytes | None = None
        with self._database.read() as connection:
            query = sa.select(*_COLUMNS, table.c.digest).order_by(table.c.number)
            for row in connection.execution_options(yield_per=1000).execute(query):
                number, digest = row.number, row.digest
                if number != last + 1:
                    flaws.append(Flaw(last + 1, f"{number - last - 1} rows are missing"))
                elif digest != _digest(before, tuple(row)[:-1]):
                    flaws.append(Flaw(number, "does not fit to its digest and the row before it"))
                if row.action == Action.TAIL_MISSING.value:
                    flaws.append(Flaw(number, f"rows were cut off before this one: {row.data}"))
                if tail is not None and number == tail[0]:
                    noted = digest
                last, before = number, digest
        if tail is None:
            if last:
                flaws.append(Flaw(last, f"{self.tail_file} is missing, which notes the last row"))
        elif tail[0] > last:
            flaws.append(Flaw(last + 1, f"rows are missing at the end: there was a row {tail[0]}"))
        elif noted != tail[1]:
            flaws.append(Flaw(tail[0], "is another row than it was when it was the last"))
        return flaws


def read_tail(path: Path) -> tuple[int, bytes] | None:
    """The number and digest of what was the last row; None where nothing is noted. Raises StorageError for nonsense."""
    try:
        number, digest = path.read_text(encoding="ascii").split()
        return int(number), bytes.fromhex(digest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}", reason="damaged", hint="compare it with a backup"
        ) from error


def _last(connection: sa.Connection) -> tuple[int, bytes]:
    query = sa.select(table.c.number, table.c.digest).order_by(table.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return (0, _BEGIN) if row is None else (row.number, row.digest)


def _digest(before: bytes, content: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(before + _canonical(list(content)).encode()).digest()


def _canonical(content: object) -> str:
    """JSON in one way only: sorted names, no blanks, ASCII."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _row(row: sa.Row[Any]) -> AuditRow:
    return AuditRow(
        number=row.number,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        data=json.loads(row.data),
        digest=row.digest,
    )

"""Logins of people, which outlive a restart. Only digests of tokens are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

import sqlalchemy as sa

from headend.model.access import Role, User
from headend.storage.engine import Database
from headend.storage.schema import logins, users

SEEN_EVERY_MS = 60_000
"""How exactly the time of last use is kept: a look-up writes no more often."""


class Logins:
    """Open logins."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis

    def open(self, user_name: str, *, lifetime_ms: int, idle_ms: int) -> str:
        """Start a login of a user who exists; returns its token, which is not kept. Ended ones of all users are cleared away."""
        token, now = secrets.token_urlsafe(32), self._millis()
        row = {
            "digest": _digest(token),
            "user_name": user_name,
            "idle_ms": idle_ms,
            "seen_at": now,
            "ends_at": now + lifetime_ms,
        }
        with self._database.write() as connection:
            connection.execute(logins.delete().where(_ended(now)))
            connection.execute(logins.insert(), row)
        return token

    def user(self, token: str) -> User | None:
        """Whose login it is, with the role of this moment; None when it has ended or idled for too long."""
        now, mine = self._millis(), logins.c.digest == _digest(token)
        query = sa.select(users.c.name, users.c.role, users.c.created_at, logins.c.seen_at)
        query = query.join_from(logins, users).where(mine, sa.not_(_ended(now)))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if now - row.seen_at >= SEEN_EVERY_MS:
            with self._database.write() as connection:
                connection.execute(logins.update().where(mine), {"seen_at": now})
        return User(name=row.name, role=Role(row.role), created_at=row.created_at)

    def close(self, token: str) -> None:
        """End a login, if it is one."""
        with self._database.write() as connection:
            connection.execute(logins.delete().where(logins.c.digest == _digest(token)))

    def close_all(self, user_name: str) -> None:
        """End all logins of a user."""
        with self._database.write() as connection:
            connection.execute(logins.delete().where(logins.c.user_name == user_name))


def _ended(now: int) -> sa.ColumnElement[bool]:
    return sa.or_(logins.c.ends_at <= now, logins.c.seen_at + logins.c.idle_ms <= now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

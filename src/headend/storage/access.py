"""Users and API keys. Passwords are kept as Argon2id hashes; of a key only a SHA-256 digest is kept, it being random enough.

A key is `hk_ID_SECRET`: the id finds the row, the secret is compared in constant time.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from headend.errors import Conflict, NotFound, StorageError
from headend.model.access import ApiKey, Role, User
from headend.storage.engine import Database
from headend.storage.schema import api_keys, logins, users

KEY_PREFIX = "hk"
USED_EVERY_MS = 60_000
"""How exactly `last_used_at` is kept: a check of a key writes no more often."""


class Access:
    """Who may use the head-end. Making and checking passwords takes tens of milliseconds, on purpose."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis
        self._hasher = PasswordHasher()
        self._nobody = ""
        self._used: dict[str, int] = {}

    def check_password(self, name: str, password: str) -> User | None:
        """The user, when the password is right; takes as long when there is no such user."""
        self._nobody = self._nobody or self._hasher.hash(secrets.token_hex())
        with self._database.read() as connection:
            row = connection.execute(sa.select(users).where(users.c.name == name)).one_or_none()
        try:
            self._hasher.verify(row.password_hash if row else self._nobody, password)
        except VerificationError:
            return None
        if row is None:
            return None
        if self._hasher.check_needs_rehash(row.password_hash):
            with self._database.write() as connection:
                hashed = {"password_hash": self._hasher.hash(password)}
                connection.execute(users.update().where(users.c.name == name), hashed)
        return User(name=row.name, role=Role(row.role), created_at=row.created_at)

    def users(self) -> Sequence[User]:
        """All users by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(users).order_by(users.c.name)).all()
        return [User(name=row.name, role=Role(row.role), created_at=row.created_at) for row in rows]

    def put_user(self, name: str, role: Role, password: str | None) -> User:
        """Make or change a user and end its logins; None keeps the password, and raises NotFound for a new user."""
        fields = (
            {"role": role.value}
            if password is None
            else {
                "role": role.value,
                "password_hash": self._hasher.hash(password),
            }
        )
        with self._database.write() as connection:
            created_at = connection.execute(
                sa.select(users.c.created_at).where(users.c.name == name)
            ).scalar_one_or_none()
            if created_at is not None:
                connection.execute(users.update().where(users.c.name == name), fields)
                connection.execute(logins.delete().where(logins.c.user_name == name))
            elif password is None:
                raise NotFound(f"no user {name!r}", hint="a new user needs a password")
            else:
                created_at = self._millis()
                connection.execute(users.insert(), {**fields, "name": name, "created_at": created_at})
        return User(name=name, role=role, created_at=created_at)

    def remove_user(self, name: str) -> None:
        """Remove a user and its logins; raises NotFound."""
        with self._database.write() as connection:
            if not connection.execute(users.delete().where(users.c.name == name)).rowcount:
                raise NotFound(f"no user {name!r}")

    def check_key(self, key: str) -> ApiKey | None:
        """The key's record, when it is one of ours and has not expired."""
        prefix, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        if prefix != KEY_PREFIX or not secret or not key.isascii():
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        now = self._millis()
        if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
            return None
        if row.expires_at is not None and row.expires_at <= now:
            return None
        if now - self._used.get(key_id, row.last_used_at or 0) >= USED_EVERY_MS:
            self._used[key_id] = now
            used = api_keys.update().where(api_keys.c.id == key_id)
            # Who comes to free a full disk must get in: the time of use is the lesser loss.
            with contextlib.suppress(StorageError), self._database.write() as connection:
                connection.execute(used, {"last_used_at": now})
        return _key(row)

    def keys(self) -> Sequence[ApiKey]:
        """All keys by name."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(api_keys).order_by(api_keys.c.name))]

    def create_key(self, name: str, role: Role, *, expires_at: int | None = None) -> str:
        """Make a key and return it: it is never shown again; raises Conflict for a name that is taken."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(24)
        row = {
            "id": key_id,
            "name": name,
            "role": role.value,
            "digest": _digest(secret),
            "created_at": self._millis(),
            "expires_at": expires_at,
        }
        with self._database.write() as connection:
            if connection.execute(sa.select(api_keys.c.id).where(api_keys.c.name == name)).one_or_none():
                raise Conflict(f"an API key {name!r} exists already")
            connection.execute(api_keys.insert(), row)
        return f"{KEY_PREFIX}_{key_id}_{secret}"

    def remove_key(self, name: str) -> None:
        """Revoke a key; raises NotFound."""
        with self._database.write() as connection:
            if not connection.execute(api_keys.delete().where(api_keys.c.name == name)).rowcount:
                raise NotFound(f"no API key {name!r}")


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

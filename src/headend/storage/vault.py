"""Secrets of meters, sealed with a key that is not in the database.

Each is sealed by AES-256-GCM under a random nonce; meter id and name are authenticated with it, so that a sealed secret is
of no use in another's row. A database remembers a sealed proof of its key: a store does not open with another one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headend.errors import ConfigError, NotFound, StorageError
from headend.model.meter import Secret
from headend.storage.engine import Database
from headend.storage.schema import secrets as table
from headend.storage.schema import vault_proof

KEY_OCTETS = 32
_NONCE_OCTETS = 12
_VERSION = b"\x01"
_PROOF = b"headend vault"
_WAITING = "waiting "
"""before the names of secrets that jobs are to change others to"""


class Secrets:
    """The sealed secrets; `key` None leaves them closed. Raises ConfigError for a key that is not the database's."""

    def __init__(self, database: Database, key: bytes | None) -> None:
        self._database = database
        self._cipher: AESGCM | None = None
        if key is None:
            return
        if len(key) != KEY_OCTETS:
            raise ConfigError(
                f"the vault key has {len(key)} octets, not {KEY_OCTETS}", hint="name the key file that headend made"
            )
        self._cipher = AESGCM(key)
        with database.read() as connection:
            proof = connection.execute(sa.select(vault_proof.c.sealed)).scalar_one_or_none()
        if proof is None:
            with database.write() as connection:
                connection.execute(vault_proof.insert(), {"id": 1, "sealed": self._seal(_PROOF, "", "")})
        elif self._open(proof, "", "") != _PROOF:
            raise ConfigError(
                f"the vault key does not open the secrets in {database.name}",
                hint="restore the key file that belongs to this database; without it the secrets must be entered again",
            )

    def put(self, meter_id: str, name: str, secret: Secret) -> None:
        """Keep a secret of a meter, in the place of one of that name."""
        sealed = self._seal(secret.reveal(), meter_id, name)
        mine = sa.and_(table.c.meter_id == meter_id, table.c.name == name)
        with self._database.write() as connection:
            if not connection.execute(table.update().where(mine), {"sealed": sealed}).rowcount:
                connection.execute(table.insert(), {"meter_id": meter_id, "name": name, "sealed": sealed})

    def get(self, meter_id: str, name: str) -> Secret:
        """One secret; raises NotFound."""
        query = sa.select(table.c.sealed).where(table.c.meter_id == meter_id, table.c.name == name)
        with self._database.read() as connection:
            sealed = connection.execute(query).scalar_one_or_none()
        if sealed is None:
            raise NotFound(f"meter {meter_id!r} has no secret {name!r}")
        octets = self._open(sealed, meter_id, name)
        if octets is None:
            raise StorageError(
                f"the secret {name!r} of meter {meter_id!r} is damaged", reason="damaged", hint="enter it again"
            )
        return Secret(octets)

    def names(self, meter_id: str) -> Sequence[str]:
        """Which secrets a meter has; needs no key. Those that wait for a change of the meter are not among them."""
        mine = sa.and_(table.c.meter_id == meter_id, sa.not_(table.c.name.startswith(_WAITING)))
        query = sa.select(table.c.name).where(mine).order_by(table.c.name)
        with self._database.read() as connection:
            return connection.execute(query).scalars().all()

    def delete(self, meter_id: str, name: str) -> None:
        """Remove a secret; raises NotFound."""
        chosen = table.delete().where(table.c.meter_id == meter_id, table.c.name == name)
        with self._database.write() as connection:
            if not connection.execute(chosen).rowcount:
                raise NotFound(f"meter {meter_id!r} has no secret {name!r}")

    def keep_waiting(self, meter_id: str, name: str, job_id: str, secret: Secret) -> None:
        """Keep what a job is to change a secret to, beside the present one."""
        self.put(meter_id, _waiting(name, job_id), secret)

    def waiting(self, meter_id: str, name: str, job_id: str) -> Secret:
        """What a job is to change a secret to; raises NotFound."""
        return self.get(meter_id, _waiting(name, job_id))

    def adopt(self, meter_id: str, name: str, job_id: str) -> None:
        """The meter has taken the new secret: it replaces the old one."""
        octets = self.waiting(meter_id, name, job_id)
        self.put(meter_id, name, octets)
        self.drop(meter_id, name, job_id)

    def drop(self, meter_id: str, name: str, job_id: str) -> None:
        """The meter has not taken the new secret, and will not."""
        with contextlib.suppress(NotFound):
            self.delete(meter_id, _waiting(name, job_id))

    def forget(self, connection: sa.Connection, meter_id: str) -> None:
        """Remove all secrets of a meter, inside a transaction of the caller."""
        connection.execute(table.delete().where(table.c.meter_id == meter_id))

    def _seal(self, octets: bytes, meter_id: str, name: str) -> bytes:
        nonce = os.urandom(_NONCE_OCTETS)
        return _VERSION + nonce + self._key().encrypt(nonce, octets, _place(meter_id, name))

    def _open(self, sealed: bytes, meter_id: str, name: str) -> bytes | None:
        """The octets, or None where key, place or octets are not those of the sealing."""
        nonce, sealed = sealed[1 : 1 + _NONCE_OCTETS], sealed[1 + _NONCE_OCTETS :]
        try:
            return self._key().decrypt(nonce, sealed, _place(meter_id, name))
        except (InvalidTag, ValueError):
            return None

    def _key(self) -> AESGCM:
        if self._cipher is None:
            raise ConfigError("the store was opened without its vault key", hint="name the key file that headend made")
        return self._cipher


def _waiting(name: str, job_id: str) -> str:
    return f"{_WAITING}{job_id} {name}"


def _place(meter_id: str, name: str) -> bytes:
    return _VERSION + len(meter_id.encode()).to_bytes(4) + meter_id.encode() + name.encode()

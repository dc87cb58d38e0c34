"""`user` and `key`: who may use the console and REST."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import typer

from headend.cli.output import print_json, print_table
from headend.errors import ConfigError
from headend.model.access import Role
from headend.model.audit import Action
from headend.runtime.database import open_store
from headend.runtime.settings import settings_of
from headend.storage.store import Store

MIN_PASSWORD = 10


@contextmanager
def _store(config: str | None, data: str | None) -> Iterator[Store]:
    with open_store(settings_of(config, data)) as store:
        yield store


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise ConfigError(f"no role {text!r}", hint="one of " + ", ".join(role.value for role in Role)) from None


def _password() -> str:
    """Asked for twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise ConfigError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_PASSWORD:
        raise ConfigError(f"expected a password of at least {MIN_PASSWORD} characters")
    return password


def add_user(name: str, *, role: str, config: str | None, data: str | None) -> None:
    """Make a user, or give one a new role and password."""
    chosen = _role(role)
    with _store(config, data) as store:
        store.access.put_user(name, chosen, _password())
        store.audit.append(_shell(), Action.USER_CHANGED, f"user:{name}", {"role": chosen.value})
    typer.echo(f"{name} may sign in as {chosen.value}")


def list_users(*, config: str | None, data: str | None, as_json: bool) -> None:
    """All users."""
    with _store(config, data) as store:
        rows = [(user.name, user.role.value, _day(user.created_at)) for user in store.access.users()]
    _show(("name", "role", "created"), rows, as_json=as_json)


def remove_user(name: str, *, config: str | None, data: str | None) -> None:
    """Remove a user."""
    with _store(config, data) as store:
        store.access.remove_user(name)
        store.audit.append(_shell(), Action.USER_REMOVED, f"user:{name}")
    typer.echo(f"{name} is removed")


def add_key(name: str, *, role: str, config: str | None, data: str | None) -> None:
    """Make a key and print it, alone on standard output."""
    chosen = _role(role)
    with _store(config, data) as store:
        key = store.access.create_key(name, chosen)
        store.audit.append(_shell(), Action.KEY_CREATED, f"key:{name}", {"role": chosen.value})
    typer.echo(key)
    typer.echo(f"key {name} ({chosen.value}); it is shown only now", err=True)


def list_keys(*, config: str | None, data: str | None, as_json: bool) -> None:
    """All keys, without the keys themselves."""
    with _store(config, data) as store:
        rows = [(key.name, key.role.value, _day(key.created_at)) for key in store.access.keys()]  # noqa: SIM118 - keys of machines, not of a dict
    _show(("name", "role", "created"), rows, as_json=as_json)


def revoke_key(name: str, *, config: str | None, data: str | None) -> None:
    """Revoke a key."""
    with _store(config, data) as store:
        store.access.remove_key(name)
        store.audit.append(_shell(), Action.KEY_REMOVED, f"key:{name}")
    typer.echo(f"key {name} is revoked")


def _shell() -> str:
    """Who works at the command line of this machine, as the audit trail names them."""
    return f"shell:{getpass.getuser()}"


def _day(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).date().isoformat()


def _show(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)

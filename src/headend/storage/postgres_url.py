"""`postgresql://USER@HOST:PORT/DATABASE`: what it may say, without a password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from headend.errors import ConfigError

SCHEMES: Final = ("postgresql", "postgres")
PARAMETERS: Final = (
    "channel_binding",
    "host",
    "passfile",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
)
"""what may stand behind the question mark, as libpq knows it"""
_HINT: Final = "write postgresql://USER@HOST:PORT/DATABASE"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A parsed URL: what libpq is told, and the name for people."""

    parameters: Mapping[str, str]
    name: str


def is_postgres(text: str) -> bool:
    """Does a text name a PostgreSQL database?"""
    return text.partition("://")[0] in SCHEMES


def parse_postgres_url(text: str) -> PostgresUrl:
    """Read a URL; raises ConfigError, which never repeats what may be a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError("the database URL cannot be read", hint=_HINT) from None
    given = dict(parse_qsl(parts.query))
    if parts.password is not None or "password" in given or "@" in parts.path:
        raise ConfigError(
            "the database URL holds a password",
            hint="say where it is by `password` in [storage], or use a file: PGPASSFILE",
        )
    unknown = sorted(set(given) - set(PARAMETERS))
    if unknown:
        raise ConfigError(
            f"the database URL does not take {', '.join(unknown)}", hint=f"it takes {', '.join(PARAMETERS)}"
        )
    known = {
        "user": unquote(parts.username or ""),
        "host": unquote(parts.hostname or ""),
        "port": str(port or ""),
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    if not known["dbname"] and "service" not in given:
        raise ConfigError("the database URL names no database", hint=_HINT)
    return PostgresUrl(
        parameters={name: value for name, value in {**known, **given}.items() if value}, name=_name(parts)
    )


def _name(parts: SplitResult) -> str:
    """The URL again, as it was given but for the scheme."""
    query = f"?{parts.query}" if parts.query else ""
    return f"postgresql://{parts.netloc}{quote(unquote(parts.path))}{query}"

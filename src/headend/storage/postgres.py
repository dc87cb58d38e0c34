"""The database as one of a PostgreSQL server: connecting, migrating, transactions, the seam where errors become StorageError.

Writers of all processes queue for one lock, so that what they write becomes visible in the order in which they wrote it.
Each thing that could wait for ever has a limit: connecting, locks, statements, transactions that somebody left open, and a
peer that is gone without saying so. A connection that a restart of the server broke is replaced when it is needed next.
"""

from __future__ import annotations

import json
import math
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from psycopg.types.json import set_json_dumps
from psycopg.types.string import StrDumper
from sqlalchemy.ext.compiler import compiles

from headend.errors import ConfigError, StorageError
from headend.storage.engine import migrate
from headend.storage.postgres_binary import (
    DoubleDumper,
    Doubles,
    Int4Dumper,
    Int4s,
    Int8Dumper,
    Int8s,
    TextDumper,
    Texts,
)
from headend.storage.postgres_url import PostgresUrl

LOCK_SECONDS: Final = 10.0
"""How long a writer waits for others before the store says that the database is locked."""
CLAIM_SECONDS: Final = 2.0
"""How long a head-end waits for another one on the same database, which may be about to end."""
OLDEST: Final = (13, 0)
"""The first server version whose housekeeping reaches partitions that are only ever added to."""

_CONNECT: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "headend",
    "client_encoding": "utf8",
}
_COMMON: Final = {
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "300s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "client_min_messages": "warning",
    "plan_cache_mode": "force_custom_plan",  # a plan for given days reads, and locks, their partitions only
    "random_page_cost": "1.1",  # what is asked for lies in memory or on what has no heads to move
    "jit": "off",
    "timezone": "UTC",
}
_WRITER: Final = {
    **_COMMON,
    "synchronous_commit": "on",
    "default_transaction_isolation": "read\\ committed",
    "enable_hashjoin": "off",  # a thousand of a million series are found by their key, not by reading them all
    "enable_mergejoin": "off",
}
_READER: Final = {
    **_COMMON,
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "repeatable\\ read",
}
_WRITING: Final = (0x68656164, 1)
_OWNING: Final = (0x68656164, 2)
"""advisory locks: of who writes, and of the head-end that has the database"""
_QUEUE: Final = f"SELECT pg_advisory_xact_lock({_WRITING[0]}, {_WRITING[1]})"

_ARRAYS: Final = ((Int4s, Int4Dumper), (Int8s, Int8Dumper), (Doubles, DoubleDumper), (Texts, TextDumper))

_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "53100": ("full", "free space on the server, or shorten the retention of readings"),
    "53200": ("failed", "let the server lock more tables at once (max_locks_per_transaction)"),
    "55P03": ("locked", "another process writes for long; try again"),
    "57014": ("locked", "it took too long; try again"),
    "40P01": ("locked", "try again"),
    "40001": ("locked", "try again"),
    "53300": ("away", "let the server take more connections (max_connections)"),
    "57P01": ("away", "it works again as soon as the server does"),
    "57P02": ("away", "it works again as soon as the server does"),
    "57P03": ("away", "it works again as soon as the server does"),
    "25P03": ("away", "try again"),
    "25006": ("failed", "the server takes no changes: is it a standby?"),
    "42501": ("failed", "give the user of the URL the database, or all rights in its schema public"),
    "XX001": ("damaged", "restore a backup"),
    "XX002": ("damaged", "make the index anew with REINDEX"),
}


class PostgresDatabase:
    """A `Database` of a PostgreSQL server."""

    def __init__(self, url: PostgresUrl, password: str, beside: Path) -> None:
        """`password` empty: none, or the one of libpq's password file."""
        self.name = url.name
        self.beside = beside
        self._lock = threading.Lock()
        self._closed = False
        self._claimed = False
        given = {**url.parameters, **({"password": password} if password else {})}
        self._writer = _engine(given, _WRITER, pool_size=1, max_overflow=0)
        self._reader = _engine(given, _READER, pool_size=4, max_overflow=8)
        sa.event.listen(self._writer, "connect", self._claim_again)
        sa.event.listen(self._writer, "begin", _queue)
        try:
            with self._mapped(), self._writer.begin() as connection:
                self._check_server(connection)
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                migrate(connection, self.name)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot of the database."""
        self._check_open()
        with self._mapped(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def glance(self) -> Iterator[psycopg.Connection]:
        """For one statement, which is a snapshot by itself: two round trips fewer than `read`."""
        self._check_open()
        with self._mapped(), self._reader.connect() as connection:
            own = driver(connection)
            own.autocommit = True
            try:
                yield own
            finally:
                if not own.closed:
                    own.autocommit = False

    @contextmanager
    def write(self, on_failure: Callable[[], None] | None = None) -> Iterator[sa.Connection]:
        """A transaction that changes the database; the server has it on its disk when this returns.

        `on_failure` is called when nothing of it came to pass, or nobody knows, before anybody else of this process may write.
        """
        with self._lock, self._mapped():
            self._check_open()
            try:
                with self._writer.begin() as connection:
                    yield connection
            except BaseException:
                if on_failure:
                    on_failure()
                raise

    def sync(self) -> None:
        """Nothing to do: every transaction waits for the server's disk."""

    def claim(self) -> None:
        """Keep the database for this head-end; raises ConfigError when another one has it.

        The lock belongs to the connection that writes, and is taken again by each that replaces it: who lost the database to
        another head-end while the server was away can write no more.
        """
        with self._lock, self._mapped(), self._writer.connect() as connection:
            try:
                _own(driver(connection))
            except psycopg.errors.LockNotAvailable:
                raise ConfigError(
                    f"{self.name}: another head-end works on this database", hint="stop it, or name another database"
                ) from None
            self._claimed = True

    def damage(self) -> str:
        """Which indexes the server itself calls invalid; more is for the server's own tools."""
        query = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
        with self.read() as connection:
            names = connection.exec_driver_sql(query).scalars().all()
        return f"invalid indexes: {', '.join(names)}" if names else ""

    def close(self) -> None:
        """Close all connections; transactions still open in other threads end with theirs. May be called twice."""
        self._closed = True
        with self._lock:
            self._reader.dispose()
            self._writer.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self.name}: the store is closed", reason="closed")

    def _check_server(self, connection: sa.Connection) -> None:
        version = connection.dialect.server_version_info or ()
        if version < OLDEST:
            found = ".".join(map(str, version))
            raise ConfigError(
                f"{self.name}: PostgreSQL {found} is too old", hint=f"{OLDEST[0]} is the first that will do"
            )
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            hint = "make the database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            raise ConfigError(f"{self.name}: the database is encoded in {encoding}, not UTF8", hint=hint)

    def _claim_again(self, connection: psycopg.Connection, _record: object) -> None:
        if self._claimed:
            try:
                _own(connection)
            except psycopg.errors.LockNotAvailable:
                connection.close()
                raise StorageError(
                    f"{self.name}: another head-end has taken the database over",
                    reason="locked",
                    hint="stop one of them",
                ) from None

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The seam: what the driver and SQLAlchemy raise leaves as StorageError."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._storage_error(error.orig) from error.orig
        except psycopg.Error as error:
            raise self._storage_error(error) from error
        except (sa.exc.PendingRollbackError, sa.exc.DisconnectionError) as error:
            raise StorageError(f"{self.name}: the connection is gone", reason="away", hint="try again") from error
        except sa.exc.TimeoutError as error:
            raise StorageError(f"{self.name}: all connections are busy", reason="locked", hint="try again") from error
        except UnicodeEncodeError as error:
            raise ConfigError("a name holds half of a character (a lone surrogate)", hint="write it anew") from error

    def _storage_error(self, error: BaseException | None) -> StorageError | ConfigError:
        state = getattr(error, "sqlstate", None) or ""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        text = lines[0] if state else "; ".join(line.strip() for line in lines)
        if state.startswith("22"):
            return ConfigError(f"{self.name} cannot keep this: {text}")
        if state in _REASONS:
            reason, hint = _REASONS[state]
        elif state.startswith("08") or (
            not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        ):
            reason, hint = "away", "is the server up, and does it let this user in? It works again as soon as it does"
        else:
            reason, hint = "failed", ""
        return StorageError(f"{self.name}: {text}", reason=reason, hint=hint)


def driver(connection: sa.Connection) -> psycopg.Connection:
    """The driver's own connection inside a transaction, for what is done for every reading."""
    return cast("psycopg.Connection", connection.connection.driver_connection)


def _engine(given: Mapping[str, str], options: Mapping[str, str], *, pool_size: int, max_overflow: int) -> sa.Engine:
    said = " ".join(f"-c {name}={value}" for name, value in options.items())

    def connect() -> psycopg.Connection:
        connection = psycopg.connect(**cast("dict[str, Any]", {**_CONNECT, **given}), options=said)
        connection.adapters.register_dumper(str, _Text)
        for kind, dumper in _ARRAYS:
            connection.adapters.register_dumper(kind, dumper)
        set_json_dumps(_to_json, connection)
        return connection

    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=LOCK_SECONDS,
        hide_parameters=True,
    )
    sa.event.listen(engine, "checkout", _refuse_broken)
    return engine


def _refuse_broken(connection: psycopg.Connection, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection on which the server has said goodbye; nobody else speaks without being asked."""
    said = True
    if not connection.closed:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        said = bool(poll.poll(0))
    if said:
        raise sa.exc.DisconnectionError


def _queue(connection: sa.Connection) -> None:
    driver(connection).execute(_QUEUE)


def _own(connection: psycopg.Connection) -> None:
    """Take the lock of the head-end that has the database, for as long as the connection lasts."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {CLAIM_SECONDS * 1000:.0f}")
        connection.execute("SELECT pg_advisory_lock(%s, %s)", _OWNING)


class _Text(StrDumper):
    """Texts of meters may hold NUL, which PostgreSQL does not take: it becomes the mark of what cannot be shown."""

    def dump(self, obj: str) -> Any:  # noqa: ANN401 # as the driver declares it
        """The octets of a text."""
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


@compiles(sa.Text, "postgresql")
def _text(_type: sa.Text, _compiler: object, **how: object) -> str:
    """Columns of texts are in the order of their octets, as in SQLite, whatever the language of the database."""
    return 'TEXT COLLATE "C"' if isinstance(how.get("type_expression"), sa.Column) else "TEXT"


def _to_json(value: object) -> str:
    """JSON as PostgreSQL takes it: numbers that are none become texts, characters that are none the mark for that."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_plain(value))
    return json.dumps(_plain(value)) if "\\u0000" in text or "\\ud" in text else text


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value

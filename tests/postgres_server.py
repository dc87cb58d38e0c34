"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket only, from the binaries that Debian installs."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from headend.storage.store import Store

_FAST = "-c fsync=off -c full_page_writes=off -c max_connections=60 -c shared_buffers=64MB -c autovacuum=off"


def binaries() -> Path | None:
    """The folder with the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    return Path(there).parent if there else None


class Server:
    """A running server; `url` names its databases. It refuses to run as root: then it is the user `nobody`."""

    def __init__(self, folder: Path, programs: Path, options: str = _FAST) -> None:
        self.folder = folder
        self._programs = programs
        self._options = f"{options} -c listen_addresses='' -c unix_socket_directories={folder}"
        self._names = (f"test_{number}" for number in itertools.count())
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        said = ["--encoding=UTF8", "--no-sync", "--auth=trust", "--username=headend"]
        if int(programs.parent.name if programs.parent.name.isdigit() else 0) >= 15:
            said += ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]  # not in the order of octets
        self._run("initdb", *said)
        self.start()

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        log = self.folder / "log"
        self._run("pg_ctl", "--wait", "--timeout=60", "-l", os.fspath(log), "-o", self._options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast`, or `immediate` as a crash would."""
        self._run("pg_ctl", "--wait", "--mode", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self.folder / "data", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )

    def url(self, name: str, user: str = "headend") -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}@/{name}?host={self.folder}"

    def make(self, template: str = "template1") -> str:
        """Make a database like another one; returns its name."""
        name = next(self._names)
        self.tell(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever still uses it."""
        self.tell(f"DROP DATABASE {name} WITH (FORCE)")

    def tell(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement beside whatever is tested; returns its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def server(options: str = _FAST) -> Iterator[Server]:
    """A server that is gone, with all it held, when the block ends."""
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL server is installed: make test installs it")
    with tempfile.TemporaryDirectory(prefix="headend-pg-", ignore_cleanup_errors=True) as folder:
        running = Server(Path(folder), programs, options)
        try:
            yield running
        finally:
            running.stop()


def template(running: Server, folder: Path) -> str:
    """A database at the newest revision, to make others like it in no time."""
    name = running.make()
    Store.open(running.url(name), vault_key=None, folder=folder).close()
    return name

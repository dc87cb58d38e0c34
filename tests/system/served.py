"""`headend serve` and `headend emulate` as processes, seen from outside."""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headend.model.meter import Secret
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings

COMMAND = [sys.executable, "-m", "headend.cli.main"]
WITHIN = 60.0


class Process:
    """A command; its lines of standard error (logs as JSON) come one by one."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.child = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.lines: list[str] = []
        self._passed: list[dict[str, Any]] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self._new.put(line)
        self._new.put(None)

    def until(self, event: str) -> dict[str, Any]:
        """The oldest line of the log that says this and was not waited for yet, in whatever order things happen."""
        for said in self._passed:
            if said.get("event") == event:
                self._passed.remove(said)
                return said
        deadline = time.monotonic() + WITHIN
        while True:
            line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"it ended: {''.join(self.lines)}"
            self.lines.append(line)
            if line.startswith("{"):
                said = json.loads(line)
                if said.get("event") == event:
                    return said
                self._passed.append(said)

    def stop(self, number: int = signal.SIGTERM, within: float = 30.0) -> int:
        """Send a signal; the exit code."""
        self.child.send_signal(number)
        return self.child.wait(within)

    @property
    def said(self) -> str:
        """All of standard error, once it has ended."""
        self._reader.join(10)
        while not self._new.empty():
            line = self._new.get()
            self.lines.append(line or "")
        return "".join(self.lines)

    @contextmanager
    def ended_unless_ready(self) -> Iterator[None]:
        """Who has not begun well is nobody's to end."""
        try:
            yield
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(10)
        self._reader.join(10)
        for stream in (self.child.stdout, self.child.stderr):
            assert stream is not None
            stream.close()


class HeadEnd(Process):
    """`headend serve`, ready. Settings are TOML; `data` is the folder."""

    def __init__(self, folder: Path, settings: str = "", env: Mapping[str, str] | None = None) -> None:
        super().__init__("serve", "--config", str(configured(folder, settings)), env=env)
        with self.ended_unless_ready():
            ready = self.until("head-end ready")
        self.meters: int = ready["meters"]
        self.url: str = ready["console"]
        self.mqtt: int = ready["mqtt"]
        self.listening: list[str] = ready["listening"]
        self.dialling_in: list[str] = ready["dialling_in"]

    def get(self, path: str) -> Any:
        answer = httpx.get(self.url + path, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(self) -> int:
        """Readings that it says are in the database."""
        for line in httpx.get(f"{self.url}metrics", timeout=20).text.splitlines():
            if line.startswith("headend_readings_stored_total "):
                return int(float(line.split()[1]))
        raise AssertionError("no such metric")

    def wait_stored(self, count: int) -> int:
        return self.wait(lambda: stored if (stored := self.stored()) >= count else None)

    def wait(self, look: Any) -> Any:
        """Look until something is there."""
        deadline = time.monotonic() + WITHIN
        while (found := look()) is None:
            assert time.monotonic() < deadline, "it never came"
            assert self.child.poll() is None, self.said
            time.sleep(0.05)
        return found


def configured(folder: Path, settings: str) -> Path:
    """A settings file with free ports, unless `settings` says more."""
    text = f'data = "{folder / "data"}"\n[log]\njson_lines = true\n{settings}'
    for section, line in (("web", "port = 0"), ("mqtt", "embedded_port = 0")):
        head = f"[{section}]\n"
        if head not in text:
            text += head
        if line.split()[0] not in text.partition(head)[2].partition("[")[0]:
            text = text.replace(head, f"{head}{line}\n")
    path = folder / "headend.toml"
    path.write_text(text)
    return path


class Meters(Process):
    """`headend emulate FLEET.toml`, ready."""

    def __init__(self, folder: Path, fleet: str, env: Mapping[str, str] | None = None) -> None:
        path = folder / "fleet.toml"
        path.write_text(fleet)
        super().__init__("emulate", str(path), "--json", env=env)
        with self.ended_unless_ready():
            assert self.child.stdout is not None
            line = self.child.stdout.readline()
            assert line, f"it ended: {self.said}"
            self.roster: list[dict[str, str]] = json.loads(line)


def enter(folder: Path, roster: list[dict[str, str]], poll_seconds: float, secret: str = "") -> None:
    """Put meters into the database of a head-end that is configured."""
    with open_store(load_settings(folder / "headend.toml")) as store:
        for line in roster:
            url = parse_url(line["url"])
            store.meters.put(url.meter(line["name"], name=line["name"], poll_seconds=poll_seconds))
            if url.params.get("auth") == "lls":
                store.secrets.put(line["name"], "secret", Secret(secret.encode()))


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """A self-signed pair for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headend")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files

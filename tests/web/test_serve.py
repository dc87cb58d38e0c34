from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headend.errors import ConfigError
from headend.storage.store import Store
from headend.web import serve as serving
from headend.web.serve import serve
from headend.web.settings import WebSettings

from .support import KEY, Time, World


@contextlib.asynccontextmanager
async def served(folder: Path, settings: WebSettings) -> AsyncIterator[int]:
    """A server on a port of its own."""
    with Store.open(folder / "headend.db", vault_key=KEY) as store:
        head_end = World(store, Time(), settings, folder)
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(head_end.app, settings, port.set_result))
        done, _ = await asyncio.wait([task, port], return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            await task
        try:
            yield port.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_real_server_answers_and_stops(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0)) as port, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/api/v1/health")
        assert answer.json() == {"status": "ok"}
        assert "server" not in answer.headers
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_follower_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"text/event-stream" in await reader.readuntil(b"retry: 2000\n\n")
    rest = await reader.read()
    assert rest.endswith(b"0\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
async def test_a_request_that_never_ends_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(serving._TimedProtocol, "HEADER_SECONDS", 0.05)
    async with served(tmp_path, WebSettings(port=0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()


async def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 40_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_taken_port_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0)) as port:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            async with served(tmp_path / "other", WebSettings(port=port)):
                pass


async def test_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    settings = WebSettings(port=0, tls_certificate=certificate, tls_key=key)
    context = ssl.create_default_context(cafile=str(certificate))
    async with served(tmp_path, settings) as port, httpx.AsyncClient(verify=context) as client:
        answer = await client.get(f"https://localhost:{port}/api/v1/health")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_tls_files_that_do_not_fit_are_an_error_that_says_so(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    for settings in (
        WebSettings(port=0, tls_certificate=tmp_path / "nothing.pem"),
        WebSettings(port=0, tls_certificate=certificate, tls_key=certificate),
    ):
        with pytest.raises(ConfigError, match="TLS files"):
            async with served(tmp_path, settings):
                pass


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"

"""Serving the application from the event loop of the head-end: uvicorn, without its signals and logs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from headend.errors import ConfigError
from headend.web.live import LiveFeed
from headend.web.settings import WebSettings


class _TimedProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose request line and headers take too long to arrive."""

    HEADER_SECONDS = 10.0
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the timer exactly while a request is incomplete."""
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._due is None:
            self._due = self.loop.call_later(self.HEADER_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class _Server(uvicorn.Server):
    """A server that leaves signals to the head-end, says when it listens, and ends the streams when it stops."""

    def __init__(self, config: uvicorn.Config, feed: LiveFeed, ready: Callable[[int], object]) -> None:
        super().__init__(config)
        self._feed = feed
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the port."""
        await super().startup(sockets)
        for listener in sockets or ():
            self._ready(listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the streams end, which would go on for ever, then stop."""
        self._feed.close()
        await super().shutdown(sockets)


async def serve(app: FastAPI, settings: WebSettings, ready: Callable[[int], object] = lambda _port: None) -> None:
    """Serve until cancelled; then answer what is under way within three seconds. `ready` is called with the port.

    Raises ConfigError when it cannot listen or the TLS files do not fit.
    """
    with _listen(settings) as listener:
        server = _Server(_config(app, settings), app.state.feed, ready)
        serving = asyncio.create_task(server.serve([listener]), name="web-server")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise


def _listen(settings: WebSettings) -> socket.socket:
    """A bound socket."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the web server cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            hint="set web.host and web.port",
        ) from error
    return listener


def _config(app: FastAPI, settings: WebSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=_TimedProtocol,
        ws="websockets-sansio" if settings.mbmd else "none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        limit_concurrency=settings.max_live_clients + 500,
        h11_max_incomplete_event_size=16_384,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except OSError as error:
        raise ConfigError(f"the TLS files of the web server cannot be used: {error}") from error
    return config

"""The embedded MQTT broker: amqtt (3.1.1), bounded, for demonstrations and small sites. Use mosquitto for real ones.

amqtt queues without limit for a client that does not read. Here the connections are ours: a client that lets more than a
megabyte wait, or takes nothing for five seconds, is cut off, and so is one that connects and says nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BaseContext, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from headend.errors import ConfigError
from headend.model.meter import Secret

MAX_WAITING: Final = 1 << 20
MAX_PACKET: Final = 1 << 20
DRAIN_SECONDS: Final = 5.0
HELLO_SECONDS: Final = 10.0
MAX_CLIENTS: Final = 1000
_LISTENER: Final = "default"

log = structlog.get_logger(__name__)


class UserPlugin(BaseAuthPlugin):  # type: ignore[misc] # amqtt has no types
    """Lets in the users that the settings name."""

    @dataclass
    class Config:
        """User name to the SHA-256 digest of the password."""

        users: dict[str, str] = field(default_factory=dict, repr=False)

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._users: Mapping[str, str] = self.config.users

    async def authenticate(self, *, session: Session) -> bool | None:
        """Compare digests in constant time; an unknown user takes as long."""
        given = hashlib.sha256((session.password or "").encode()).hexdigest()
        known = self._users.get(session.username or "", "0" * 64)
        return hmac.compare_digest(given, known)


class _Reader(StreamReaderAdapter):  # type: ignore[misc] # amqtt has no types
    """Cuts off a client that announces a packet nobody has room for."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        super().__init__(reader)
        self._transport = transport

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET:
            self._transport.close()
            return b""
        data: bytes = await super().read(n)
        return data


class _Writer(StreamWriterAdapter):  # type: ignore[misc] # amqtt has no types
    """Cuts off a client that does not take what it is sent; notes whether the broker has answered at all."""

    spoke = False

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer)
        self._transport = writer.transport

    def write(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() > MAX_WAITING:
            self._transport.abort()
            return
        self.spoke = True
        super().write(data)

    async def drain(self) -> None:
        try:
            await asyncio.wait_for(super().drain(), DRAIN_SECONDS)
        except TimeoutError:
            self._transport.abort()


class EmbeddedBroker:
    """The broker and its one listener."""

    def __init__(self, host: str, port: int, users: Mapping[str, Secret]) -> None:
        """Without users everybody on this machine may come; beyond loopback that is refused by the runtime."""
        self.host = host
        self.port = port
        self._users = users
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; `port` is the real one afterwards. Raises ConfigError when the address cannot be had."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        plugins: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        if self._users:
            digests = {name: hashlib.sha256(word.reveal()).hexdigest() for name, word in self._users.items()}
            plugins = {f"{UserPlugin.__module__}.{UserPlugin.__name__}": {"users": digests}}
        config = BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL, max_connections=MAX_CLIENTS)},
            session_expiry_interval=3600,
            plugins=plugins,
        )
        self._broker = Broker(config)
        await self._broker.start()
        try:
            self._server = await asyncio.start_server(self._client, self.host, self.port, backlog=1024)
        except OSError as error:
            await self._broker.shutdown()
            raise ConfigError(
                f"the embedded broker cannot listen on {self.host}:{self.port}: {error.strerror or error}",
                hint="choose another port with mqtt.embedded_port, or name your own broker with mqtt.broker",
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and all clients."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients:
            writer.transport.abort()
        if self._broker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broker.shutdown(), 5)

    async def _client(self, stream_reader: asyncio.StreamReader, stream_writer: asyncio.StreamWriter) -> None:
        if self._broker is None or len(self._clients) >= MAX_CLIENTS:
            stream_writer.transport.abort()
            return
        self._clients.add(stream_writer)
        reader, writer = _Reader(stream_reader, stream_writer.transport), _Writer(stream_writer)
        hello = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._expect, writer, stream_writer)
        try:
            await self._broker.external_connected(reader, writer, _LISTENER)
        except Exception as error:  # noqa: BLE001 - whatever amqtt makes of a client that has left
            log.debug("client of the embedded broker left", reason=repr(error))
        finally:
            hello.cancel()
            self._clients.discard(stream_writer)
            stream_writer.transport.abort()

    @staticmethod
    def _expect(answered: _Writer, writer: asyncio.StreamWriter) -> None:
        if not answered.spoke:
            writer.transport.abort()

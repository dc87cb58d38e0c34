"""What all sinks that speak MQTT have in common: the options that name a broker, and a connection whose failures are SinkErrors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import aiomqtt

from headend.errors import ConfigError, SinkError
from headend.northbound.client import Broker, Client, Reachable, broker_from_url
from headend.northbound.message import Message
from headend.northbound.sink import Surroundings

VERSIONS: Final = ("5", "3.1.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Options of a sink that speaks MQTT."""

    broker: str = field(metadata={"description": "mqtt://HOST[:PORT], or mqtts:// for TLS"})
    username: str = field(default="", metadata={"description": "user at the broker"})
    password: str = field(default="", metadata={"description": "the user's password, as env:NAME or file:PATH"})
    version: str = field(default="5", metadata={"description": "of MQTT: 5 or 3.1.1"})
    client_id: str = field(default="", metadata={"description": "name at the broker; empty lets it choose one"})
    ca_file: str = field(default="", metadata={"description": "PEM file of the authority that vouches for the broker"})
    certificate: str = field(default="", metadata={"description": "PEM file of a client certificate"})
    key_file: str = field(default="", metadata={"description": "PEM file of its key"})


def broker_of(options: BrokerOptions, surroundings: Surroundings) -> Broker:
    """The broker that options name; raises ConfigError."""
    host, port, tls = broker_from_url(options.broker, f"sinks.{surroundings.name}.broker")
    if options.version not in VERSIONS:
        raise ConfigError(f"sinks.{surroundings.name}.version: expected 5 or 3.1.1, got {options.version!r}")
    return Broker(
        host=host,
        port=port,
        tls=tls,
        ca_file=options.ca_file,
        certificate=options.certificate,
        key_file=options.key_file,
        username=options.username,
        password=surroundings.secret(options.password) if options.password else None,
        version=options.version,
        client_id=options.client_id,
    )


@asynccontextmanager
async def connection(
    broker: Reachable, will: Message | None = None, subscribe: Iterable[str] = ()
) -> AsyncIterator[Client]:
    """A connection that has subscribed to some filters; raises SinkError when the broker cannot be had."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(_leaving(broker, will))
            if filters := [(each, 1) for each in subscribe]:
                await client.subscribe(filters)
        except (aiomqtt.MqttError, OSError) as error:
            raise SinkError(f"the broker is away: {error}") from error
        yield client


@asynccontextmanager
async def _leaving(broker: Reachable, will: Message | None) -> AsyncIterator[Client]:
    """A connection; a broker that is gone by the end needs no goodbye."""
    connecting = broker.connect(will)
    client = await connecting.__aenter__()
    try:
        yield client
    finally:
        with suppress(aiomqtt.MqttError, OSError):
            await connecting.__aexit__(None, None, None)


async def incoming(client: Client) -> AsyncGenerator[aiomqtt.Message, None]:
    """What comes on subscribed topics, while the connection stands; raises SinkError when it is lost."""
    try:
        async for message in client.messages:
            yield message
    except (aiomqtt.MqttError, OSError) as error:
        raise SinkError(f"the broker is away: {error}") from error

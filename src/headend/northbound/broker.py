"""The embedded MQTT broker: amqtt (3.1.1), bounded, for demonstrations and small sites. Use mosquitto for real ones.

The connections, TCP and WebSocket alike, are ours: a client has to say who it is before amqtt hears of it, everything it sends
passes a gate, what it does not take is not kept for long, and its topics are checked. Requests of a user who is known are put
under the user's name (`…/command/request/NAME`), so that whoever answers them knows who asks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog
from amqtt.adapters import WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import ApplicationMessage, Session
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response
from websockets.typing import Subprotocol

from headend.errors import ConfigError, RemoteProtocolError
from headend.model.meter import Secret
from headend.northbound import packets
from headend.northbound.gate import Gate, Limits, Source, TcpWriter, WebSocketSource, WebSocketWriter, read_packet
from headend.northbound.rights import EVERYTHING, User, authenticate, covers, user

_LISTENER: Final = "default"
_REFUSED: Final = 0x80
MAX_HELLO: Final = 65536

log = structlog.get_logger(__name__)
_quiet = logging.getLogger("headend.websockets")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketPlace:
    """Where WebSockets are taken: pages of other sites are not let in unless their origin is named."""

    port: int
    origins: Sequence[str] = ()


class Admitted(BaseAuthPlugin):  # type: ignore[misc] # amqtt has no types
    """Tells amqtt that whoever came past the gate may come in, and bounds what is kept for those who are away."""

    @dataclass
    class Config:
        """How many messages are kept."""

        waiting: int = 1000

    async def authenticate(self, *, session: Session) -> bool | None:
        """Yes."""
        if not isinstance(session.retained_messages, _Newest):
            session.retained_messages = _Newest(self.config.waiting)
        return True


class _Newest(asyncio.Queue[ApplicationMessage]):
    """Holds the newest so many."""

    async def put(self, item: ApplicationMessage) -> None:
        if self.full():
            self.get_nowait()
        self.put_nowait(item)


class _Broker(Broker):  # type: ignore[misc] # amqtt has no types
    """amqtt with rights and limits."""

    def __init__(
        self,
        config: BrokerConfig,
        limits: Limits,
        user_of: Callable[[str | None], User | None],
        may_publish: Callable[[User, str], bool],
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._user_of = user_of
        self._may_publish = may_publish

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        """Called by amqtt for every subscription, message and receiver; what is received was checked when it was asked for."""
        if action == Action.RECEIVE:
            return True
        asking = self._user_of(session.username)
        if asking is None:
            return False
        return self._may_publish(asking, topic) if action == Action.PUBLISH else asking.may_subscribe(topic)

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Take a subscription of a client that has not too many yet."""
        for empty in [each for each, followers in self.subscriptions.items() if not followers]:
            del self.subscriptions[empty]
        asking = self._user_of(session.username)
        taken = sum(1 for each in self.subscriptions.values() if any(one is session for one, _ in each))
        if not (asking and asking.trusted) and taken >= self._limits.subscriptions:
            return _REFUSED
        code: int = await super().add_subscription(subscription, session)
        return code

    async def retain_message(
        self, source_session: Session | None, topic_name: str | None, data: bytes | None, qos: int | None = None
    ) -> None:
        """Keep a message, unless clients have had too many kept already."""
        saying = self._user_of(source_session.username if source_session else None)
        full = (
            data and topic_name not in self.retained_messages and len(self.retained_messages) >= self._limits.retained
        )
        if full and not (saying and saying.trusted):
            log.warning("the embedded broker retains no more messages", limit=self._limits.retained)
            return
        await super().retain_message(source_session, topic_name, data, qos)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Amqtt would offer a client that connects whatever anybody has subscribed to."""
        followers = self.subscriptions.get(subscription[0], ())
        if any(one is session for one, _ in followers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


def _check_origin(named: Sequence[str], socket: ServerConnection, request: HttpRequest) -> Response | None:
    """Turns away pages of other sites, also those whose name somebody makes point here; programs come as from this address."""
    origin = request.headers.get("Origin")
    if origin is None or origin in named:
        return None
    place = urlsplit(origin)
    if place.netloc == request.headers.get("Host") and is_address(place.hostname or ""):
        return None
    return socket.respond(HTTPStatus.FORBIDDEN, "this origin is not named in mqtt.embedded_ws_origins\n")


def is_address(host: str) -> bool:
    """True for an address, or the name of this machine itself."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


class EmbeddedBroker:
    """The broker and its listeners."""

    def __init__(
        self,
        host: str,
        port: int,
        users: Iterable[User],
        *,
        requests: Sequence[str] = (),
        websocket: WebSocketPlace | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`requests` are the filters of topics on which somebody asks something.

        Without users everybody who can connect may read all, and ask; beyond this machine that is refused by the runtime.
        """
        self.host = host
        self.port = port
        self.websocket_port: int | None = None
        self.own_name = f"headend@{secrets.token_hex(4)}"
        """the head-end's own user, made anew at each start"""
        self.own_password = Secret(secrets.token_urlsafe(24).encode())
        self._requests = tuple(requests)
        self._websocket = websocket
        self._limits = limits or Limits()
        named = {each.name: each for each in users}
        self._anonymous = None if named else User(name="", publish=self._requests)
        own = user(self.own_name, self.own_password, subscribe=EVERYTHING, publish=EVERYTHING, trusted=True)
        self._users: Mapping[str, User] = {**named, own.name: own}
        self._broker: _Broker | None = None
        self._servers: list[asyncio.Server | Server] = []
        self._cuts: set[Callable[[], None]] = set()

    @property
    def clients(self) -> int:
        """Open connections, without that of the head-end."""
        return max(0, len(self._cuts) - 1)

    async def start(self) -> None:
        """Listen; `port` is the real one afterwards. Raises ConfigError when an address cannot be had."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        config = BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            session_expiry_interval=3600,
            plugins={f"{Admitted.__module__}.{Admitted.__name__}": {"waiting": self._limits.waiting}},
        )
        self._broker = _Broker(config, self._limits, self._user_of, self._may_publish)
        await self._broker.start()
        try:
            self.port = await self._listen(self.port, "embedded_port", self._listen_tcp)
            if self._websocket is not None:
                self.websocket_port = await self._listen(
                    self._websocket.port, "embedded_ws_port", partial(self._listen_websocket, self._websocket)
                )
        except ConfigError:
            await self.stop()
            raise

    async def _listen(self, port: int, setting: str, listen: Callable[[int], Any]) -> int:
        try:
            server = await listen(port)
        except OSError as error:
            raise ConfigError(
                f"the embedded broker cannot listen on {self.host}:{port}: {error.strerror or error}",
                hint=f"choose another port with mqtt.{setting}, or name your own broker with mqtt.broker",
            ) from error
        self._servers.append(server)
        return int(next(iter(server.sockets)).getsockname()[1])

    async def _listen_tcp(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._tcp_client, self.host, port, backlog=1024)

    async def _listen_websocket(self, place: WebSocketPlace, port: int) -> Server:
        full = self._is_full

        class Connection(ServerConnection):
            """Hangs up before anything is said when there is no room."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if full(self.server.handlers):
                    self.transport.abort()

        return await serve(
            self._websocket_client,
            self.host,
            port,
            create_connection=Connection,
            process_request=partial(_check_origin, tuple(place.origins)),
            subprotocols=[Subprotocol("mqtt")],
            compression=None,
            open_timeout=self._limits.hello_seconds,
            max_size=self._limits.message_octets + 16,
            ping_interval=None,
            logger=_quiet,
            server_header=None,
        )

    async def stop(self) -> None:
        """Close the listeners and all clients."""
        for server in self._servers:
            server.close()
        for cut in list(self._cuts):
            cut()
        if self._broker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broker.shutdown(), 5)
        for server in self._servers:
            with suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 5)
        self._servers.clear()

    async def _tcp_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._client(reader, TcpWriter(writer), writer.transport.abort)

    async def _websocket_client(self, socket: ServerConnection) -> None:
        await self._client(WebSocketSource(socket), WebSocketWriter(socket), socket.transport.abort)

    def _is_full(self, more: Collection[object] = ()) -> bool:
        return len(self._cuts) >= self._limits.clients or len(more) > self._limits.clients

    async def _client(self, source: Source, writer: WriterAdapter, cut: Callable[[], None]) -> None:
        if self._broker is None or self._is_full():
            cut()
            return
        self._cuts.add(cut)
        try:
            async with asyncio.timeout(self._limits.hello_seconds):
                hello = await read_packet(source, MAX_HELLO)
                who = packets.decode_connect(hello)
                code, admitted = self._admit(who)
                if admitted is None:
                    writer.write(packets.connack(code))
                    await writer.drain()
                    await writer.close()
                    return
            route = partial(self._route, admitted.name)
            gate = Gate(source, admitted, hello, who.keep_alive, self._limits, route=route, cut=cut)
            await self._broker.external_connected(gate, writer, _LISTENER)
        except (EOFError, OSError, RemoteProtocolError) as error:
            log.debug("client of the embedded broker was sent away", reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever amqtt makes of a client that has left
            log.debug("client of the embedded broker left", reason=repr(error))
        finally:
            self._cuts.discard(cut)
            cut()

    def _admit(self, who: packets.Connect) -> tuple[int, User | None]:
        """The answer to a CONNECT, and the user where it is yes. A client id belongs to the user who has it."""
        if who.version != packets.VERSION:
            return packets.WRONG_VERSION, None
        admitted = self._anonymous if not who.username else None
        admitted = admitted or authenticate(self._users, who.username, who.password)
        if admitted is None or (who.will_topic and not self._may_publish(admitted, who.will_topic)):
            return packets.WRONG_PASSWORD, None
        sessions = self._broker.sessions if self._broker is not None else {}
        known = sessions.get(who.client_id)
        if (not who.client_id and not who.clean) or (known and (known[0].username or "") != who.username):
            return packets.WRONG_CLIENT_ID, None
        if known is None and len(sessions) >= 2 * self._limits.clients:
            return packets.NO_ROOM, None
        return packets.ACCEPTED, admitted

    def _user_of(self, username: str | None) -> User | None:
        return self._users.get(username) if username else self._anonymous

    def _may_publish(self, saying: User, topic: str) -> bool:
        """Nobody asks in the name of somebody else, whatever topics the user has."""
        above, _, last = topic.rpartition("/")
        if not saying.trusted and any(covers(each, above) for each in self._requests):
            return last == quote(saying.name, safe="") and saying.may_publish(topic)
        return saying.may_publish(topic)

    def _route(self, name: str, topic: str) -> str:
        """Requests go under the name of who asks."""
        if name and name != self.own_name and any(covers(each, topic) for each in self._requests):
            return f"{topic}/{quote(name, safe='')}"
        return topic

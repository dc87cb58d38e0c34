"""MQTT as the settings say: the embedded broker or another one, and the sink that speaks with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

import structlog

from headend.errors import ConfigError
from headend.model.access import Actor, Role
from headend.model.meter import Secret
from headend.northbound.broker import EmbeddedBroker, WebSocketPlace
from headend.northbound.client import Broker, broker_from_url
from headend.northbound.deliveries import Deliveries
from headend.northbound.gate import Limits
from headend.northbound.layouts import Layout, Stats
from headend.northbound.mqtt import MqttSink, Report, address_of, layouts_of
from headend.northbound.rights import EVERYTHING, User, user
from headend.northbound.voice import Voice
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings
from headend.runtime.settings_delivery import MqttSettings
from headend.runtime.sinks import OWN, SinkTable, add_sink, requests_of
from headend.storage.store import wall_millis
from headend.web.parts import WebParts
from headend.web.settings import is_loopback

log = structlog.get_logger(__name__)


def add_mqtt(settings: Settings, parts: WebParts, deliveries: Deliveries, broker: EmbeddedBroker | None) -> None:
    """Add the sink of `[mqtt]`."""
    mqtt = settings.mqtt
    if not mqtt.enabled:
        return
    voice = Voice(
        layouts(mqtt),
        version=parts.version,
        roster=parts.roster,
        address=partial(_address, parts),
        qos=mqtt.qos,
        retain=mqtt.retain,
    )
    requests = requests_of(parts, partial(actor_of, mqtt), commands=mqtt.commands)
    stats = partial(_stats, parts, broker, wall_millis())
    report = Report(mqtt.stats_seconds, stats) if mqtt.stats_seconds else None
    sink = MqttSink(mqtt_target(mqtt, broker), voice, wall_millis, requests.answer, report=report, bus=parts.bus)
    add_sink(settings, parts, deliveries, SinkTable(kind="mqtt"), OWN, sink)


def actor_of(mqtt: MqttSettings, user: str) -> Actor:
    """Who asks. Somebody unknown may do what the settings allow everybody who may publish requests."""
    if user in mqtt.roles:
        return Actor(f"mqtt:{user}", Role(mqtt.roles[user]))
    return Actor(f"mqtt:{user}" if user else "mqtt", Role.DISPATCHER if mqtt.commands else Role.OPERATOR)


def layouts(mqtt: MqttSettings) -> list[Layout]:
    """What is published, in the order of the settings."""
    return layouts_of(mqtt.layouts, mqtt.prefix, mqtt.ivy_prefix, "mqtt")


def _address(parts: WebParts, meter_id: str) -> str:
    """Where a meter is, or calls from."""
    caller = parts.gateway.caller_of(meter_id)
    if caller is not None:
        return caller.host
    return address_of(parts.roster, meter_id)


def _stats(parts: WebParts, broker: EmbeddedBroker | None, since: int, sink: MqttSink) -> Stats:
    states = list(parts.roster)
    online = Counter(state.online for state in states)
    polls = Counter(state.meter.poll_seconds for state in states if state.meter.enabled)
    now = wall_millis()
    own = next(state for state in parts.deliveries.states() if state.name == OWN)
    return Stats(
        at=now,
        uptime=(now - since) // 1000,
        meters=len(states),
        online=online[True],
        offline=online[False],
        poll_seconds=max(polls, key=lambda seconds: polls[seconds], default=0.0),
        polled_at=max((state.last_seen for state in states if state.last_seen), default=None),
        clients=broker.clients if broker else None,
        connections=len(parts.gateway.callers),
        messages={
            "sent": own.delivered,
            "failed": own.failed,
            "refused": own.refused,
            "dropped": own.lost,
            "waiting": own.backlog,
        },
        published=dict(sink.voice.published),
        requests=sink.requests,
    )


def embedded_broker(mqtt: MqttSettings) -> EmbeddedBroker | None:
    """The embedded broker, unless another one is named; raises ConfigError for one that everybody could reach."""
    if not mqtt.enabled or mqtt.broker:
        return None
    if not mqtt.embedded_users and not is_loopback(mqtt.embedded_host):
        raise ConfigError(
            f"the embedded broker would take anybody on {mqtt.embedded_host}",
            hint="name users in mqtt.embedded_users, or keep mqtt.embedded_host on loopback",
        )
    if mqtt.commands and not mqtt.embedded_users:
        raise ConfigError(
            "mqtt.commands with an embedded broker without users would let anybody switch meters",
            hint="name users in mqtt.embedded_users",
        )
    requests = [layout.topics.requests for layout in layouts(mqtt)]
    return EmbeddedBroker(
        mqtt.embedded_host,
        mqtt.embedded_port,
        _users(mqtt, requests),
        requests=requests,
        websocket=None
        if mqtt.embedded_ws_port is None
        else WebSocketPlace(port=mqtt.embedded_ws_port, origins=mqtt.embedded_ws_origins),
        limits=Limits(
            clients=mqtt.embedded_clients,
            message_octets=mqtt.embedded_message_octets,
            messages_per_second=mqtt.embedded_messages_per_second,
            subscriptions=mqtt.embedded_subscriptions,
            retained=mqtt.embedded_retained,
        ),
    )


def _users(mqtt: MqttSettings, requests: Sequence[str]) -> list[User]:
    """Everybody reads everything; who has a role asks, under the own name."""
    if mqtt.commands and not mqtt.roles:
        log.warning("nobody may publish requests at the embedded broker", hint="name users in mqtt.roles")
    for setting, names in (("roles", mqtt.roles), ("embedded_rights", mqtt.embedded_rights)):
        if unknown := set(names) - set(mqtt.embedded_users):
            raise ConfigError(f"mqtt.{setting}: no such user of the embedded broker: {', '.join(sorted(unknown))}")
    users = []
    for name, password in _passwords(mqtt.embedded_users).items():
        rights = mqtt.embedded_rights.get(name)
        asks = tuple(f"{each}/{quote(name, safe='')}" for each in requests) if name in mqtt.roles else ()
        subscribe, publish = (rights.subscribe, rights.publish) if rights else (EVERYTHING, ())
        users.append(user(name, password, subscribe=subscribe, publish=publish + asks))
    return users


def _passwords(places: Mapping[str, str]) -> dict[str, Secret]:
    return {name: resolve_secret(place, f"mqtt.embedded_users.{name}") for name, place in places.items()}


def mqtt_target(mqtt: MqttSettings, embedded: EmbeddedBroker | None) -> Broker:
    """The broker that the sink connects to."""
    if embedded is not None:
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(embedded.host, embedded.host)  # noqa: S104 - replaced
        name, password = embedded.own_name, embedded.own_password
        return Broker(host=host, port=embedded.port, username=name, password=password, version="3.1.1")
    host, port, tls = broker_from_url(mqtt.broker)
    return Broker(
        host=host,
        port=port,
        tls=tls,
        ca_file=mqtt.ca_file,
        certificate=mqtt.certificate,
        key_file=mqtt.key_file,
        username=mqtt.username,
        password=resolve_secret(mqtt.password, "mqtt.password") if mqtt.password else None,
        version=mqtt.version,
        client_id=mqtt.client_id,
    )

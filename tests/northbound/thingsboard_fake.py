"""A strict stand-in for a ThingsBoard server behind mosquitto, made from its documentation and the published rules of its JSON.

```text
sink ──MQTT──> Door ──MQTT──> mosquitto <──MQTT── Server
```

The Door (`thingsboard_door`) does what the platform's transport does with a connection: it knows devices by access tokens, keeps
them apart, counts, and throws out. The Server stores what a server would have stored, as the type it would have been stored as,
and writes down each breach of the contract in `violations`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

import aiomqtt

MAX_PAYLOAD: Final = 65_536
PUBLISHED: Final = frozenset(
    {
        "v1/devices/me/telemetry",
        "v1/devices/me/attributes",
        "v1/gateway/connect",
        "v1/gateway/disconnect",
        "v1/gateway/telemetry",
        "v1/gateway/attributes",
        "v1/gateway/attributes/request",
        "v1/gateway/rpc",
        "/provision/request",
    }
)
NUMBERED: Final = ("v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/", "v1/devices/me/attributes/request/")
Kind = tuple[str, Any]
"""how a value is stored, and what: ("long", 5), ("double", 2.5), ("string", "a"), ("boolean", True), ("json", {…})"""


@dataclass(frozen=True)
class Number:
    """A number of JSON, as it was written."""

    text: str


class Counter:
    """N in SECONDS, from a bucket that refills evenly."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size, self.rate, self.level, self.at = size, size / seconds, float(size), time.monotonic()

    def take(self, wanted: int) -> bool:
        now = time.monotonic()
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < wanted:
            return False
        self.level -= wanted
        return True


def counters(text: str) -> list[Counter]:
    return [Counter(int(each.split(":")[0]), float(each.split(":")[1])) for each in text.split(",") if each]


@dataclass
class Connection:
    """What the server knows of one connection."""

    token: str
    name: str
    devices: set[str] = field(default_factory=set)


class Server:
    """What a server would do. `limits` is its answer to getSessionLimits; None: it does not know that method."""

    def __init__(self, port: int, *, limits: Mapping[str, Any] | None = None) -> None:
        self.port = port
        self.limits = limits
        self.tokens: dict[str, str] = {}
        """access token -> device"""
        self.gateways: set[str] = set()
        self.violations: list[str] = []
        self.series: dict[str, dict[str, dict[int, Kind]]] = defaultdict(lambda: defaultdict(dict))
        self.attributes: dict[str, dict[str, Kind]] = defaultdict(dict)
        self.shared: dict[str, dict[str, Any]] = defaultdict(dict)
        """shared attributes of devices, as somebody has set them"""
        self.asked: list[tuple[str, Any]] = []
        """(device, request for attributes)"""
        self.types: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        """(connect or disconnect, device)"""
        self.latencies: list[dict[str, Any]] = []
        self.provisioning: dict[str, str] = {}
        self.log: list[tuple[str, str, Any]] = []
        """(device, key, value) in the order in which they came"""
        self.messages = 0
        self.points = 0
        self.connections: dict[str, Connection] = {}
        """those that are open"""
        self._known: dict[str, Connection] = {}
        self.rates: dict[str, list[Counter]] = {}
        self._calls: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._news = asyncio.Event()
        self._client: aiomqtt.Client
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._client = aiomqtt.Client("127.0.0.1", self.port, username="server")
        await self._client.__aenter__()
        await self._client.subscribe("t/#", qos=1)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.__aexit__(None, None, None)

    # --- what tests ask ---

    def device(self, token: str, name: str, *, gateway: bool = False) -> None:
        self.tokens[token] = name
        if gateway:
            self.gateways.add(token)

    def limit(self, kind: str, text: str) -> None:
        """Count `messages`, `telemetry`, `points` of all connections together."""
        self.rates[kind] = counters(text)

    async def until(self, what: Callable[[], object], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not what():
                self._news.clear()
                await self._news.wait()

    def values(self, device: str, key: str) -> dict[int, Any]:
        return {at: value for at, (_, value) in self.series[device][key].items()}

    def connected(self) -> set[str]:
        return {device for each in self.connections.values() for device in each.devices}

    async def call(self, device: str | None, method: str, params: Any = None, *, number: int | None = None) -> Any:
        """A remote call for a device behind the gateway, or for the only device that is connected."""
        number = next(self._numbers) if number is None else number
        if device is None:
            connection = next(iter(self.connections.values()))
            topic, body = f"v1/devices/me/rpc/request/{number}", {"method": method, "params": params}
        else:
            connection = next(each for each in self.connections.values() if device in each.devices)
            topic = "v1/gateway/rpc"
            body = {"device": device, "data": {"id": number, "method": method, "params": params}}
        answer = self._calls[device or connection.token, number] = asyncio.get_running_loop().create_future()
        await self._say(connection, topic, body)
        async with asyncio.timeout(30):
            return await answer

    async def say(self, topic: str, body: Any) -> None:
        """Say something to the only connection."""
        await self._say(next(iter(self.connections.values())), topic, body)

    # --- what the door asks ---

    def admit(self, token: str, topic: str, payload: bytes, qos: int, retain: bool) -> str:
        """Why the platform would close the connection; empty for what it takes; `later` for what is over the limits."""
        if topic not in PUBLISHED and not topic.startswith(NUMBERED):
            return f"unknown topic {topic}"
        if topic.startswith("v1/gateway/") and token not in self.gateways:
            return f"{topic} by a device that is no gateway"
        if len(payload) > MAX_PAYLOAD:
            return f"{len(payload)} octets on {topic}"
        if qos > 1 or retain:
            return f"QoS {qos}, retain {retain} on {topic}"
        points = _points(topic, payload)
        wanted = [("telemetry", 1), ("points", points)] if points else [("messages", 1)]
        for kind, number in wanted:
            if not all(each.take(number) for each in self.rates.get(kind, ())):
                self._breach(f"limit of {kind} exceeded on {topic}")
                return "later"
        return ""

    def opened(self, connection: Connection) -> None:
        self.connections[connection.name] = self._known[connection.name] = connection
        self._news.set()

    def closed(self, name: str) -> None:
        self.connections.pop(name, None)
        self._news.set()

    def _breach(self, what: str) -> None:
        self.violations.append(what)

    # --- what the server does ---

    async def _serve(self) -> None:
        async for message in self._client.messages:
            _, token, name, topic = message.topic.value.split("/", 3)
            connection = self._known.get(name) or Connection(token, name)
            self.messages += 1
            try:
                await self._take(
                    connection, topic, json.loads(bytes(message.payload), parse_float=Number, parse_int=Number)
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._breach(f"{topic}: {type(error).__name__} {error}: {bytes(message.payload)[:200]!r}")
            self._news.set()

    async def _say(self, connection: Connection, topic: str, body: Any) -> None:
        await self._client.publish(f"s/{connection.token}/{connection.name}/{topic}", json.dumps(body), qos=1)

    async def _take(self, connection: Connection, topic: str, body: Any) -> None:
        if topic == "/provision/request":
            await self._provision(connection, body)
        elif topic == "v1/devices/me/telemetry":
            for each in body if isinstance(body, list) else [body]:
                self._row(self.tokens[connection.token], each)
        elif topic == "v1/devices/me/attributes":
            self._attributes(self.tokens[connection.token], body)
        elif topic.startswith(NUMBERED[0]):
            if _plain(body)["method"] == "getSessionLimits" and self.limits is not None:
                await self._say(connection, topic.replace("request", "response"), self.limits)
        elif topic.startswith(NUMBERED[1]):
            self._answer(connection.token, int(topic.rpartition("/")[2]), _plain(body))
        elif topic.startswith(NUMBERED[2]):
            device, asked = self.tokens[connection.token], _plain(body)
            self.asked.append((device, asked))
            ours = {name: value for name, (_, value) in self.attributes[device].items()}
            found = {
                scope: {name: values[name] for name in asked.get(f"{scope}Keys", "").split(",") if name in values}
                for scope, values in (("client", ours), ("shared", self.shared[device]))
            }
            said = {scope: values for scope, values in found.items() if values}
            await self._say(connection, topic.replace("request", "response"), said)
        elif topic == "v1/gateway/attributes/request":
            await self._tell(connection, _plain(body))
        else:
            self._gateway(connection, topic.rpartition("/")[2], body)

    async def _tell(self, connection: Connection, asked: dict[str, Any]) -> None:
        """Attributes of a device behind a gateway. A single value comes without its name, whatever was asked for."""
        device = asked["device"]
        self.asked.append((device, asked))
        if device not in connection.devices:
            self._breach(f"attributes of {device!r} are asked for, which is not connected")
        if (
            not isinstance(asked["id"], int)
            or not isinstance(asked["client"], bool)
            or ("key" in asked) == ("keys" in asked)
        ):
            self._breach(f"a wrong request for attributes: {asked}")
        ours = {name: value for name, (_, value) in self.attributes[device].items()}
        values = ours if asked["client"] else self.shared[device]
        found = {name: values[name] for name in asked.get("keys", [asked.get("key")]) if name in values}
        said: dict[str, Any] = {"id": asked["id"], "device": device}
        if found:
            said |= {"value": next(iter(found.values()))} if len(found) == 1 else {"values": found}
        await self._say(connection, "v1/gateway/attributes/response", said)

    def _gateway(self, connection: Connection, what: str, body: Any) -> None:
        if what == "connect":
            device = body["device"]
            if device in connection.devices:
                self._breach(f"{device!r} is connected already")
            connection.devices.add(device)
            self.types.setdefault(device, body.get("type", "default"))
            self.history.append(("connect", device))
        elif what == "disconnect":
            if body["device"] not in connection.devices:
                self._breach(f"{body['device']!r} is not connected")
            connection.devices.discard(body["device"])
            self.history.append(("disconnect", body["device"]))
        elif what == "rpc":
            self._answer(body["device"], int(body["id"].text), _plain(body["data"]))
        elif what in ("telemetry", "attributes"):
            if not body:
                self._breach(f"an empty message on {what}")
            if len(body) > 1:
                self._breach(
                    f"{len(body)} devices in one message: only the first is sure to be stored when it is acknowledged"
                )
            for device, said in body.items():
                if device not in connection.devices:
                    self._breach(f"{what} of {device!r}, which is not connected")
                if what == "attributes":
                    self._attributes(device, said)
                elif not isinstance(said, list):
                    self._breach(f"telemetry of {device!r} is no array")
                else:
                    for each in said:
                        self._row(device, each)
        else:
            self._breach(f"unexpected v1/gateway/{what}")

    def _row(self, device: str, row: dict[str, Any]) -> None:
        metadata = row.pop("metadata", None)
        if metadata is not None:
            self.latencies.append({name: _plain(metadata[name]) for name in ("connector", "receivedTs", "publishedTs")})
        if "ts" in row and "values" in row:
            at, values = int(row["ts"].text), row["values"]
        else:
            if "ts" in row or "values" in row:
                self._breach(f"a time without values, or values without time: {row}")
            at, values = int(time.time() * 1000), row
        for key, value in values.items():
            if (stored := self._stored(key, value)) is not None:
                before = self.series[device][key].get(at)
                if before is not None and before != stored:
                    self._breach(f"{device} {key} at {at}: {before} is overwritten by {stored}")
                self.series[device][key][at] = stored
                self.log.append((device, key, stored[1]))
                self.points += 1

    def _attributes(self, device: str, said: dict[str, Any]) -> None:
        for key, value in said.items():
            if (stored := self._stored(key, value)) is not None:
                self.attributes[device][key] = stored

    def _stored(self, key: str, value: Any) -> Kind | None:
        if value is None:
            return None
        if isinstance(value, str):
            if not is_parsable(value):
                return "string", value
            self._breach(f"{key}: the text {value!r} becomes a number")
            return stored_number(value)
        if isinstance(value, bool):
            return "boolean", value
        if isinstance(value, Number):
            stored = stored_number(value.text)
            if stored[0] == "string":
                self._breach(f"{key}: the number {value.text} becomes a text")
            return stored
        return "json", _plain(value)

    def _answer(self, device: str, number: int, data: Any) -> None:
        waiting = self._calls.pop((device, number), None)
        if waiting is None:
            self._breach(f"an answer to the call {number} of {device!r}, which nobody waits for")
        elif not waiting.done():
            waiting.set_result(data)

    async def _provision(self, connection: Connection, body: dict[str, Any]) -> None:
        if self.provisioning.get(body["provisionDeviceKey"]) != body["provisionDeviceSecret"]:
            answer = {"status": "NOT_FOUND", "errorMsg": "no profile with these credentials"}
        elif body["deviceName"] in self.tokens.values():
            answer = {"status": "FAILURE", "errorMsg": "device exists"}
        else:
            token = f"token-of-{body['deviceName'].replace('/', '-')}"
            self.device(token, body["deviceName"])
            answer = {"status": "SUCCESS", "credentialsType": "ACCESS_TOKEN", "credentialsValue": token}
        await self._say(connection, "/provision/response", answer)


def is_parsable(text: str) -> bool:
    """Whether the platform takes a text for a number: digits, a minus before them, one point that is not the last."""
    body = text.removeprefix("-")
    if not body or body.endswith(".") or body.count(".") > 1:
        return False
    return all(each.isdecimal() for each in body if each != ".")


def stored_number(text: str) -> Kind:
    """As what the platform stores a number: 64-bit integers, doubles of up to 16 decimals, text for all others."""
    number = Decimal(text)
    exponent = number.normalize().as_tuple().exponent
    scale = -int(number.as_tuple().exponent)
    is_simple = "." in text and "e" not in text.lower()
    if (not number or int(exponent) >= 0) and not is_simple:
        whole = int(number)
        return ("long", whole) if -(1 << 63) <= whole < 1 << 63 else ("string", f"{number:f}")
    return ("double", float(number)) if scale <= 16 else ("string", f"{number:f}")


def _plain(value: Any) -> Any:
    if isinstance(value, Number):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _points(topic: str, payload: bytes) -> int:
    """Data points of telemetry and attributes, as the platform counts them."""
    try:
        body = json.loads(payload)
        if topic == "v1/devices/me/attributes":
            return len(body)
        if topic == "v1/gateway/attributes":
            return sum(len(each) for each in body.values())
        if topic == "v1/devices/me/telemetry":
            rows = body if isinstance(body, list) else [body]
        elif topic == "v1/gateway/telemetry":
            rows = [row for each in body.values() for row in each]
        else:
            return 0
        return sum(len(row.get("values", row)) for row in rows)
    except (ValueError, AttributeError, TypeError):
        return 0

"""What the embedded broker must know of MQTT 3.1.1 packets before it lets anybody further: who connects, and what is asked.

```text
fixed header: kind and flags (1), remaining length (1 to 4, seven bits each, low ones first)
CONNECT:   00 04 'MQTT' 04 | flags | keep alive (2) | client id | will topic, will message | user name | password
PUBLISH:   topic | packet id (2), where QoS > 0 | payload
SUBSCRIBE: packet id (2) | (filter | QoS)…          UNSUBSCRIBE: packet id (2) | filter…
```

Texts are UTF-8 after their length in two octets. Pure; everything wrong raises RemoteProtocolError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from headend.errors import RemoteProtocolError

CONNECT: Final = 0x10
PUBLISH: Final = 0x30
PUBREC: Final = 0x50
PUBREL: Final = 0x60
SUBSCRIBE: Final = 0x80
UNSUBSCRIBE: Final = 0xA0
_PUBACK: Final = 0x40
_PUBCOMP: Final = 0x70
PINGREQ: Final = 0xC0
_DISCONNECT: Final = 0xE0
_SHORT: Final = {_PUBACK: 2, PUBREC: 2, PUBREL: 2, _PUBCOMP: 2, PINGREQ: 0, _DISCONNECT: 0}
"""kinds of packets with nothing in them but, some of them, a packet id"""
MAX_LENGTH_OCTETS: Final = 4
VERSION: Final = 4

ACCEPTED: Final = 0
WRONG_VERSION: Final = 1
WRONG_CLIENT_ID: Final = 2
NO_ROOM: Final = 3
WRONG_PASSWORD: Final = 4
"""return codes of CONNACK"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Who wants to come in; only `version` where that is none we speak. `password` never shows."""

    version: int
    client_id: str = ""
    clean: bool = True
    keep_alive: int = 0
    will_topic: str = ""
    username: str = ""
    password: bytes = b""

    def __repr__(self) -> str:
        return f"Connect({self.client_id!r}, {self.username!r})"


def connack(code: int) -> bytes:
    """The answer to a CONNECT that is refused."""
    return bytes((0x20, 2, 0, code))


def puback(packet_id: int) -> bytes:
    """The acknowledgement of a PUBLISH with QoS 1."""
    return bytes((_PUBACK, 2, packet_id >> 8, packet_id & 0xFF))


def encode_packet(first: int, body: bytes) -> bytes:
    """A whole packet of its first octet and what follows the length."""
    length, octets = len(body), bytearray((first,))
    while True:
        octets.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(octets) + body


def body_of(packet: bytes) -> bytes:
    """What follows the fixed header of a whole packet."""
    at = 1
    while packet[at] & 0x80:
        at += 1
    return packet[at + 1 :]


class _Fields:
    """The fields of a body, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._body):
            raise RemoteProtocolError("MQTT packet", offset=self.at, expected=f"{count} octets more")
        part = self._body[self.at : end]
        self.at = end
        return part

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        at = self.at
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError("MQTT packet", offset=at, expected="UTF-8") from None
        if "\0" in text:
            raise RemoteProtocolError("MQTT packet", offset=at, expected="no NUL in a text")
        return text

    @property
    def more(self) -> bool:
        return self.at < len(self._body)

    def end(self) -> None:
        if self.more:
            raise RemoteProtocolError("MQTT packet", offset=self.at, expected="the end of the packet")


def decode_connect(packet: bytes) -> Connect:
    """Read a CONNECT."""
    if packet[0] != CONNECT:
        raise RemoteProtocolError("MQTT packet", offset=0, expected="CONNECT", got=f"{packet[0]:02X}")
    fields = _Fields(body_of(packet))
    name, version = fields.text(), fields.number(1)
    if name not in ("MQTT", "MQIsdp"):
        raise RemoteProtocolError("MQTT packet", offset=2, expected="MQTT")
    if version != VERSION or name != "MQTT":
        return Connect(version=version)
    flags, keep_alive = fields.number(1), fields.number(2)
    if flags & 1 or (flags & 0x38 and not flags & 4) or (flags & 0x40 and not flags & 0x80):
        raise RemoteProtocolError("MQTT CONNECT", offset=7, expected="flags that go together", got=f"{flags:02X}")
    client_id = fields.text()
    will_topic = fields.text() if flags & 4 else ""
    if flags & 4:
        fields.binary()
        _topic(will_topic)
    username = fields.text() if flags & 0x80 else ""
    password = fields.binary() if flags & 0x40 else b""
    fields.end()
    return Connect(
        version=version,
        client_id=client_id,
        clean=bool(flags & 2),
        keep_alive=keep_alive,
        will_topic=will_topic,
        username=username,
        password=password,
    )


def without_keep_alive(packet: bytes) -> bytes:
    """The same CONNECT with a keep alive of 0."""
    body = body_of(packet)
    return encode_packet(packet[0], body[:8] + b"\0\0" + body[10:])


def decode_publish(packet: bytes) -> tuple[str, int, int]:
    """Topic, QoS and packet id (0 with QoS 0) of a PUBLISH."""
    qos = packet[0] >> 1 & 3
    fields = _Fields(body_of(packet))
    topic = fields.text()
    _topic(topic)
    if qos == 3:
        raise RemoteProtocolError("MQTT PUBLISH", offset=0, expected="a QoS of 0 to 2", got="3")
    return topic, qos, fields.number(2) if qos else 0


def with_topic(packet: bytes, topic: str) -> bytes:
    """The same PUBLISH, never retained, on another topic."""
    body, octets = body_of(packet), topic.encode()
    old = int.from_bytes(body[:2], "big")
    return encode_packet(packet[0] & 0xFE, len(octets).to_bytes(2, "big") + octets + body[2 + old :])


def _topic(topic: str) -> None:
    if not topic or topic.startswith("$") or set("+#") & set(topic):
        raise RemoteProtocolError("MQTT packet", expected="a topic without wildcards", got=repr(topic[:40]))


def filters(packet: bytes) -> Iterator[str]:
    """The topic filters of a SUBSCRIBE or UNSUBSCRIBE."""
    fields = _Fields(body_of(packet))
    fields.number(2)
    asked = packet[0] & 0xF0 == SUBSCRIBE
    if not fields.more:
        raise RemoteProtocolError("MQTT packet", offset=2, expected="a topic filter")
    while fields.more:
        text = fields.text()
        if not text or (asked and fields.number(1) > 2):
            raise RemoteProtocolError("MQTT packet", offset=fields.at, expected="a topic filter and a QoS of 0 to 2")
        yield text


def check_short(packet: bytes) -> None:
    """Let only packets through that a client may send and that hold nothing of interest."""
    if _SHORT.get(packet[0] & 0xF0) != len(packet) - 2:
        raise RemoteProtocolError("MQTT packet", offset=0, expected="what a client may say", got=packet[:4].hex(" "))

"""The edge node of one session: sequence numbers, aliases, births, deaths and data, in their order. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote

from headend.errors import ConfigError
from headend.model.reading import ReadingBatch
from headend.northbound.message import Message
from headend.northbound.sparkplug.device import Device
from headend.northbound.sparkplug.payload import Datatype, Metric, Payload, encode_payload

NAMESPACE: Final = "spBv1.0"
REBIRTH: Final = "Node Control/Rebirth"
METRICS_AT_ONCE: Final = 1000
"""in one message; a load profile of a month has more"""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of an edge node."""

    group: str
    node: str

    def __post_init__(self) -> None:
        for name, text in (("group", self.group), ("edge_node", self.node)):
            if not text or set("+/#\0") & set(text):
                raise ConfigError(f"{name}: expected a name without +, / and #, got {text!r}")

    def of_node(self, verb: str) -> str:
        """A topic of the node: NBIRTH, NDEATH, NDATA, NCMD."""
        return f"{NAMESPACE}/{self.group}/{verb}/{self.node}"

    def of_device(self, verb: str, meter_id: str) -> str:
        """A topic of a meter: DBIRTH, DDEATH, DDATA, DCMD."""
        return f"{NAMESPACE}/{self.group}/{verb}/{self.node}/{quote(meter_id, safe=' :@,;=')}"

    @property
    def commands(self) -> list[str]:
        """Filters for all commands to us."""
        return [self.of_node("NCMD"), f"{NAMESPACE}/{self.group}/DCMD/{self.node}/+"]


def death(topics: Topics, bd_seq: int, now: int) -> Message:
    """The death of the node: what the broker says when we are gone, and what we say when we go."""
    payload = Payload(timestamp=now, metrics=[_bd_seq(bd_seq, now)])
    return Message(topics.of_node("NDEATH"), encode_payload(payload), qos=1)


def _bd_seq(bd_seq: int, now: int) -> Metric:
    return Metric(name="bdSeq", timestamp=now, datatype=Datatype.INT64, value=bd_seq)


class Node:
    """An edge node between its birth and its death."""

    def __init__(
        self,
        topics: Topics,
        bd_seq: int,
        version: str,
        clock: Callable[[], int],
        live_seconds: Callable[[str, str], float],
    ) -> None:
        """`live_seconds` tells for how long a value of a meter's quantity is of the present."""
        self.topics = topics
        self.bd_seq = bd_seq
        self.devices: dict[str, Device] = {}
        self._version = version
        self._clock = clock
        self._live_seconds = live_seconds
        self._seq = 255
        self._aliases = 0
        self._counts: dict[str, int] = {}
        self._count_aliases = {name: self._alias() for name in ("Meters/Total", "Meters/Online", "Properties/Version")}

    # --- what there is ---

    def enter(self, meter_id: str, keys: Iterable[str]) -> Device:
        """A device with these metrics, which keep the aliases and values that they had in this session."""
        before = self.devices.get(meter_id)
        aliases = before.aliases if before else {}
        device = self.devices[meter_id] = Device(
            meter_id,
            {key: aliases[key] if key in aliases else self._alias() for key in keys},
            {} if before is None else before.last,
            alive=before is not None and before.alive,
        )
        return device

    def _alias(self) -> int:
        self._aliases += 1
        return self._aliases

    # --- what is said ---

    def birth(self, total: int, online: int) -> Message:
        """The birth of the node: with it all sequence numbers begin anew, and all devices have to be born again."""
        self._seq = 255
        for device in self.devices.values():
            device.alive = False
        now = self._clock()
        self._counts = {"Meters/Total": total, "Meters/Online": online}
        version = Metric(
            name="Properties/Version",
            alias=self._count_aliases["Properties/Version"],
            timestamp=now,
            datatype=Datatype.STRING,
            value=self._version,
        )
        metrics = [
            _bd_seq(self.bd_seq, now),
            Metric(name=REBIRTH, timestamp=now, datatype=Datatype.BOOLEAN, value=False),
            version,
            *(self._count(name, value, now, named=True) for name, value in self._counts.items()),
        ]
        return self._said(self.topics.of_node("NBIRTH"), metrics, born=True)

    def counted(self, total: int, online: int) -> list[Message]:
        """How many meters there are, where that has changed."""
        counts = {"Meters/Total": total, "Meters/Online": online}
        now = self._clock()
        changed = [self._count(name, value, now) for name, value in counts.items() if self._counts[name] != value]
        self._counts = counts
        return [self._said(self.topics.of_node("NDATA"), changed)] if changed else []

    def device_birth(self, device: Device) -> Message:
        """The birth of a device; repeated when it has a metric more. Values that are no more of the present are stale."""
        device.alive = True
        return self._said(
            self.topics.of_device("DBIRTH", device.meter_id),
            device.birth(self._clock(), partial(self._live_seconds, device.meter_id)),
            born=True,
        )

    def device_death(self, device: Device) -> list[Message]:
        """The death of a device, if it lives."""
        if not device.alive:
            return []
        device.alive = False
        return [self._said(self.topics.of_device("DDEATH", device.meter_id), [])]

    def data(self, device: Device, batch: ReadingBatch, *, late: bool) -> list[Message]:
        """What a batch brings of a living device."""
        metrics = device.metrics(batch, late=late)
        topic = self.topics.of_device("DDATA", device.meter_id)
        starts = range(0, len(metrics), METRICS_AT_ONCE)
        return [self._said(topic, metrics[start : start + METRICS_AT_ONCE]) for start in starts]

    def _count(self, name: str, value: int, now: int, *, named: bool = False) -> Metric:
        return Metric(
            name=name if named else "",
            alias=self._count_aliases[name],
            timestamp=now,
            datatype=Datatype.INT32,
            value=value,
        )

    def _said(self, topic: str, metrics: list[Metric], *, born: bool = False) -> Message:
        self._seq = (self._seq + 1) % 256
        payload = Payload(timestamp=self._clock(), metrics=metrics, seq=self._seq)
        return Message(topic, encode_payload(payload, with_datatypes=born), qos=0)

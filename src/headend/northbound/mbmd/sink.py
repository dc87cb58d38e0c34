"""The sink that publishes as mbmd does: a topic for each measurement, three decimals, nothing retained but the status.

mbmd tells of the present only, and its topics have no time: what comes late is taken for delivered, and not said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from headend.errors import ConfigError, SinkError
from headend.model.journal import Entry
from headend.model.mbmd import amount, device_topic, measurement_topic, names
from headend.model.reading import ReadingBatch
from headend.northbound.brokered import BrokerOptions, broker_of, connection, incoming
from headend.northbound.client import Broker, Client, publish_all
from headend.northbound.message import Message
from headend.northbound.present import present_values
from headend.northbound.sink import Refusal, Sink, SinkKind, Surroundings
from headend.services.roster import MeterState

GOODBYE: Final = 3.0
"""seconds that the broker may take at the end"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MbmdOptions(BrokerOptions):
    """Options of a sink of the kind `mbmd`."""

    topic: str = field(default="mbmd", metadata={"description": "root of all topics"})


def make(options: MbmdOptions, surroundings: Surroundings) -> Sink:
    """A sink; raises ConfigError."""
    topic = options.topic
    if not topic or topic.startswith(("/", "$")) or topic.endswith("/") or set("+#") & set(topic):
        raise ConfigError(f"sinks.{surroundings.name}.topic: expected a topic like mbmd, got {topic!r}")
    return MbmdSink(topic, surroundings, broker_of(options, surroundings))


class MbmdSink:
    """One broker."""

    def __init__(self, topic: str, surroundings: Surroundings, broker: Broker) -> None:
        self._topic = topic
        self._around = surroundings
        self._broker = broker
        self._names: dict[str, tuple[MeterState, set[str], Mapping[str, str]]] = {}
        """by meter: for which state of it, for which quantities, their measurements"""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[MbmdChannel]:
        """Connect, say so; say at the end that we go."""
        status = f"{self._topic}/status"
        will = Message(status, b"disconnected", retain=True)
        async with connection(self._broker, will) as client:
            await publish_all(client, [Message(status, b"connected", retain=True)])
            try:
                yield MbmdChannel(self, client)
            finally:
                with suppress(SinkError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await publish_all(client, [will])

    def messages(self, batch: ReadingBatch) -> Iterator[Message]:
        """What a batch says of the present, as far as mbmd has a name for it."""
        state = self._around.roster.find(batch.meter_id)
        if state is None:
            return
        live_seconds = partial(self._around.live_seconds, state.meter)
        known = self._measurements(state, batch)
        root = f"{self._topic}/{device_topic(batch.meter_id)}"
        for key, value in present_values(batch, lambda key: live_seconds(key) if key in known else None).items():
            number = amount(known[key], value)
            if number is not None:
                yield Message(f"{root}/{measurement_topic(known[key])}", f"{number:.3f}".encode())

    def _measurements(self, state: MeterState, batch: ReadingBatch) -> Mapping[str, str]:
        """The names for all that is polled of a meter or came of it, so that they do not depend on what a batch holds."""
        meter = state.meter
        known = self._names.get(meter.id)
        if known is None or known[0] is not state:
            profile = self._around.profile(meter)
            entries = profile.objects if profile else ()
            known = (state, {each.quantity for each in entries if each.quantity}, {})
        quantities = known[1] | set(batch.quantities)
        if not known[2] or quantities != known[1]:
            known = self._names[meter.id] = (state, quantities, names(quantities))
        return known[2]


class MbmdChannel:
    """A connection to the broker."""

    def __init__(self, sink: MbmdSink, client: Client) -> None:
        self._sink = sink
        self._client = client

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Publish what is of the present; events have no place in mbmd."""
        if not late:
            batches = [entry.item for entry in entries if isinstance(entry.item, ReadingBatch)]
            await publish_all(self._client, [message for batch in batches for message in self._sink.messages(batch)])
        return ()

    async def attend(self) -> None:
        """Nobody asks anything; raises SinkError when the connection is lost."""
        async for _ in incoming(self._client):
            pass


kind: Final = SinkKind(name="mbmd", options=MbmdOptions, make=make)

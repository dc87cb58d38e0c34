"""The webhook sink: CloudEvents to an HTTP server, signed, in order.

What the server answers decides: 2xx takes them. 400, 409, 413 and 422 refuse them for good: in the modes of single events the
one, in batches the courier finds out which, and a proxy of Kafka reports of each. 410 means never again: the sink is away until the
head-end starts anew. 429 and 503 are heeded with their Retry-After. All else (401, 403, 404, 415, redirects) is of settings:
nothing is set aside, all waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.journal import Entry
from headend.model.jsontext import dumps
from headend.northbound.http import Answer, Connection, Http, HttpOptions
from headend.northbound.sink import Channel, Refusal, SinkKind, Surroundings
from headend.northbound.webhook import cloudevents, kafka
from headend.northbound.webhook.signing import key_of, signed

REFUSED: Final = (400, 409, 413, 422)
GONE: Final = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions(HttpOptions):
    """Options of a webhook."""

    mode: Literal["batch", "structured", "binary", "kafka"] = field(
        default="batch",
        metadata={
            "description": "of CloudEvents: batch (many in one request), or one a request, structured or binary; kafka: records"
            " for a REST proxy, whose `url` ends in `/v3/clusters/ID/topics/NAME/records`"
        },
    )
    batch: int = field(
        default=100, metadata={"description": "events in one request of the modes batch and kafka, at most 500"}
    )
    source: str = field(
        default="/headend",
        metadata={"description": "URI reference of this head-end: with the id it names an event for ever"},
    )
    type_prefix: str = field(
        default="io.headend", metadata={"description": "begins the type of all events, as a domain turned round"}
    )
    secrets: tuple[str, ...] = field(
        default=(),
        metadata={
            "description": "places (env:NAME, file:PATH) of `whsec_…`; with several each signs, so that they can be changed"
        },
    )
    token: str = field(default="", metadata={"description": "place of a bearer token"})
    handshake: bool = field(
        default=False, metadata={"description": "ask with OPTIONS whether events are welcome, as CloudEvents has it"}
    )
    origin: str = field(default="headend", metadata={"description": "WebHook-Request-Origin of that question"})


class WebhookSink:
    """A webhook as the options name it."""

    def __init__(self, options: WebhookOptions, surroundings: Surroundings) -> None:
        """Raises ConfigError."""
        place = f"sinks.{surroundings.name}"
        if not 1 <= options.batch <= 500:
            raise ConfigError(f"{place}.batch: expected 1 to 500")
        if not options.source or not options.source.isascii() or any(each.isspace() for each in options.source):
            raise ConfigError(f"{place}.source: expected a URI reference")
        self._options = options
        self._clock = surroundings.clock
        self._http = Http(options, surroundings)
        self._keys = [key_of(surroundings.secret(each), f"{place}.secrets") for each in options.secrets]
        self._token = surroundings.secret(options.token) if options.token else None
        self._agent = f"headend/{surroundings.version}"
        self._gone = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        """A connection, after the handshake where one is wanted."""
        if self._gone:
            raise SinkError("the receiver wants no more (410 Gone)")
        headers = {"user-agent": self._agent}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.reveal().decode()}"
        async with self._http.connect(headers) as connection:
            rate = await self._shake_hands(connection) if self._options.handshake else None
            yield _WebhookChannel(self, connection, 60.0 / rate if rate else 0.0)

    async def _shake_hands(self, connection: Connection) -> float | None:
        """Ask whether events are welcome; the requests a minute that are, or None for any number (HTTP webhooks, 4.1)."""
        origin = self._options.origin
        answer = await connection.send(b"", {"webhook-request-origin": origin}, method="OPTIONS")
        self._note(answer)
        allowed = answer.headers.get("webhook-allowed-origin", "")
        if not answer.ok or allowed not in ("*", origin):
            raise SinkError(f"the receiver does not welcome {origin!r}: {answer}")
        rate = answer.headers.get("webhook-allowed-rate", "*")
        try:
            return max(float(rate), 0.1) if rate != "*" else None
        except ValueError:
            return None

    def _note(self, answer: Answer) -> None:
        if answer.status == GONE:
            self._gone = True
            raise SinkError("the receiver wants no more (410 Gone)")

    async def post(self, connection: Connection, message_id: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send one request, signed now; returns an answer that takes it or refuses it for good."""
        marks = signed(self._keys, message_id, self._clock() // 1000, body)
        content = _streamed(body) if self.is_kafka else body
        answer = await connection.send(content, headers | marks)
        self._note(answer)
        if not answer.ok and answer.status not in REFUSED:
            raise SinkError(str(answer))
        return answer

    def single(self, entry: Entry) -> tuple[bytes, dict[str, str]]:
        """The request of one event."""
        source, prefix = self._options.source, self._options.type_prefix
        if self._options.mode == "binary":
            said = cloudevents.attributes(entry, source=source, prefix=prefix)
            return dumps(cloudevents.data(entry)), cloudevents.binary_headers(said)
        body = dumps(cloudevents.structured(entry, source=source, prefix=prefix))
        return body, {"content-type": cloudevents.STRUCTURED}

    def batch(self, entries: Sequence[Entry]) -> tuple[bytes, dict[str, str]]:
        """The request of many."""
        if self.is_kafka:
            body = kafka.records(entries, source=self._options.source, prefix=self._options.type_prefix)
            return body, {"content-type": cloudevents.JSON}
        body = cloudevents.batched(entries, source=self._options.source, prefix=self._options.type_prefix)
        return body, {"content-type": cloudevents.BATCH}

    @property
    def most(self) -> int:
        """Events in a request; 0: one each, not in a batch."""
        return self._options.batch if self._options.mode in ("batch", "kafka") else 0

    @property
    def is_kafka(self) -> bool:
        """Whether events are records for a proxy, which reports of each."""
        return self._options.mode == "kafka"


class _WebhookChannel:
    """Delivers over one connection."""

    def __init__(self, sink: WebhookSink, connection: Connection, spacing: float) -> None:
        """`spacing` are seconds between requests."""
        self._sink = sink
        self._connection = connection
        self._spacing = spacing
        self._next = 0.0

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """One request after the other; a refused event is told by number, a refused batch is narrowed down by the courier."""
        del late  # events say themselves when they were measured
        if most := self._sink.most:
            return [
                each
                for start in range(0, len(entries), most)
                for each in await self._bring_batch(entries[start : start + most])
            ]
        refusals = []
        for entry in entries:
            body, headers = self._sink.single(entry)
            answer = await self._post(entry.id, body, headers)
            if not answer.ok:
                refusals.append(Refusal(entry.number, str(answer)))
        return refusals

    async def _bring_batch(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        body, headers = self._sink.batch(entries)
        answer = await self._post(f"{entries[0].id}-{entries[-1].id}", body, headers)
        if not answer.ok:
            raise SinkRefused(str(answer))
        return kafka.refusals(entries, answer.text, REFUSED) if self._sink.is_kafka else ()

    async def _post(self, message_id: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self._spacing:
            now = asyncio.get_running_loop().time()
            self._next = max(now, self._next) + self._spacing
            await asyncio.sleep(self._next - self._spacing - now)
        return await self._sink.post(self._connection, message_id, body, headers)

    async def attend(self) -> None:
        """A receiver asks nothing."""
        await asyncio.Event().wait()


async def _streamed(body: bytes) -> AsyncIterator[bytes]:
    """A body in chunks, by which a proxy knows that it holds more than one record."""
    yield body


kind: Final = SinkKind(name="webhook", options=WebhookOptions, make=WebhookSink)

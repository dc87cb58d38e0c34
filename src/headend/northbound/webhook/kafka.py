"""CloudEvents as records of Kafka, through a REST proxy (its API v3): the binary mode of the Kafka protocol binding. Pure.

One JSON object for each record, one behind the other; the proxy answers with as many reports, in the same order:

```text
{"key": {"type": "BINARY", "data": …}, "headers": [{"name": "ce_id", "value": …}, …], "value": {"type": "BINARY", "data": …}}
{"error_code": 200, "cluster_id": …, "topic_name": …, "partition_id": 0, "offset": 17}
```

All octets are base64, so that nobody writes our numbers anew. The key is the meter: its records are in one partition, in order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from headend.errors import SinkError
from headend.model.journal import Entry
from headend.model.jsontext import dumps
from headend.northbound.sink import Refusal
from headend.northbound.webhook import cloudevents

TAKEN: Final = 200


def records(entries: Sequence[Entry], *, source: str, prefix: str) -> bytes:
    """The body of a request."""
    return b"\n".join(dumps(_record(entry, source, prefix)) for entry in entries)


def _record(entry: Entry, source: str, prefix: str) -> dict[str, Any]:
    said = cloudevents.attributes(entry, source=source, prefix=prefix)
    headers = {f"ce_{name}": value for name, value in said.items() if name != "datacontenttype"}
    headers["content-type"] = said["datacontenttype"]
    return {
        "key": {"type": "BINARY", "data": _base64(said["partitionkey"].encode())},
        "headers": [{"name": name, "value": _base64(value.encode())} for name, value in headers.items()],
        "value": {"type": "BINARY", "data": _base64(dumps(cloudevents.data(entry)))},
    }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def refusals(entries: Sequence[Entry], answer: str, refused: Sequence[int]) -> list[Refusal]:
    """What the reports of the proxy refuse for good; raises SinkError where one is missing, or asks to come again.

    Their codes begin with those of HTTP (40002, 42206); `refused` are those that mean never.
    """
    reports = list(_reports(answer))
    if len(reports) < len(entries):
        raise SinkError(f"the proxy reports of {len(reports)} of {len(entries)} records: {answer[-300:]}")
    found = []
    for entry, report in zip(entries, reports, strict=False):
        code = report.get("error_code")
        if code == TAKEN:
            continue
        reason = f"the proxy answers {code}: {report.get('message', '')}"
        if not isinstance(code, int) or int(str(code)[:3]) not in refused:
            raise SinkError(reason)
        found.append(Refusal(entry.number, reason))
    return found


def _reports(answer: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    text = answer.strip()
    while at < len(text):
        try:
            report, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        if isinstance(report, dict):
            yield report
        while at < len(text) and text[at].isspace():
            at += 1

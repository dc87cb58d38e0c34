"""A reader of Sparkplug payloads of its own: the wire format of Protocol Buffers first, then names by the published field numbers.

Written apart from the package's own, from the encoding page of protobuf.dev and chapter 6 of the specification; it knows nothing
of what the package means to say.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import Any

PAYLOAD = {1: "timestamp", 2: "metrics", 3: "seq", 4: "uuid", 5: "body"}
METRIC = {
    1: "name",
    2: "alias",
    3: "timestamp",
    4: "datatype",
    5: "is_historical",
    6: "is_transient",
    7: "is_null",
    8: "metadata",
    9: "properties",
    10: "int_value",
    11: "long_value",
    12: "float_value",
    13: "double_value",
    14: "boolean_value",
    15: "string_value",
    16: "bytes_value",
    17: "dataset_value",
    18: "template_value",
}
PROPERTY = {
    1: "type",
    2: "is_null",
    3: "int_value",
    4: "long_value",
    5: "float_value",
    6: "double_value",
    8: "string_value",
}
VALUES = {name for name in METRIC.values() if name.endswith("_value")}
# datatype -> the field that holds its value
HOLDER = {
    **dict.fromkeys((1, 2, 3, 5, 6, 7), "int_value"),
    **dict.fromkeys((4, 8, 13), "long_value"),
    9: "float_value",
    10: "double_value",
    11: "boolean_value",
    12: "string_value",
    14: "string_value",
}


def _number(stream: io.BytesIO) -> int:
    total = shift = 0
    while True:
        octet = stream.read(1)
        assert octet, "cut off"
        total += (octet[0] % 128) << shift
        shift += 7
        if octet[0] < 128:
            return total


def raw(octets: bytes) -> list[tuple[int, Any]]:
    stream, found = io.BytesIO(octets), []
    while stream.tell() < len(octets):
        field_number, wire = divmod(_number(stream), 8)
        if wire == 0:
            found.append((field_number, _number(stream)))
        elif wire == 1:
            found.append((field_number, struct.unpack("<d", stream.read(8))[0]))
        elif wire == 5:
            found.append((field_number, struct.unpack("<f", stream.read(4))[0]))
        else:
            assert wire == 2, wire
            length = _number(stream)
            content = stream.read(length)
            assert len(content) == length
            found.append((field_number, content))
    return found


def _once(octets: bytes, names: dict[int, str]) -> dict[str, Any]:
    rows = raw(octets)
    assert len(rows) == len({number for number, _ in rows}), "a field that may occur once occurs twice"
    return {names[number]: value for number, value in rows}


@dataclass
class Metric:
    fields: dict[str, Any]
    properties: dict[str, tuple[int, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.fields.get("name", b"").decode())

    @property
    def value(self) -> Any:
        found = [self.fields[name] for name in VALUES if name in self.fields]
        assert len(found) <= 1
        if not found:
            assert self.fields.get("is_null") == 1
            return None
        assert "is_null" not in self.fields
        return found[0].decode() if isinstance(found[0], bytes) else found[0]


@dataclass
class Said:
    timestamp: int | None
    seq: int | None
    metrics: list[Metric]

    def metric(self, name: str) -> Metric:
        (found,) = [each for each in self.metrics if each.name == name]
        return found


def read(octets: bytes) -> Said:
    rows = raw(octets)
    assert {number for number, _ in rows} <= set(PAYLOAD)
    single = {PAYLOAD[number]: value for number, value in rows if number != 2}
    metrics = []
    for number, value in rows:
        if number == 2:
            fields = _once(value, METRIC)
            metrics.append(Metric(fields, _properties(fields["properties"]) if "properties" in fields else {}))
    return Said(single.get("timestamp"), single.get("seq"), metrics)


def _properties(octets: bytes) -> dict[str, tuple[int, Any]]:
    rows = raw(octets)
    keys = [value.decode() for number, value in rows if number == 1]
    values = [_once(value, PROPERTY) for number, value in rows if number == 2]
    assert len(keys) == len(values), "tck-id-payloads-propertyset-keys-array-size"
    found = {}
    for key, value in zip(keys, values, strict=True):
        (content,) = [each for name, each in value.items() if name.endswith("_value")]
        found[key] = (value["type"], content.decode() if isinstance(content, bytes) else content)
    return found


def write(metrics: list[dict[str, Any]], timestamp: int = 1) -> bytes:
    """A command, as a host sends it: metrics by the names of their fields."""
    numbers = {name: number for number, name in METRIC.items()}

    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + number(value // 128)

    def one(name: str, value: Any) -> bytes:
        if isinstance(value, str):
            return number(numbers[name] * 8 + 2) + number(len(value.encode())) + value.encode()
        if isinstance(value, float):
            return number(numbers[name] * 8 + 1) + struct.pack("<d", value)
        return number(numbers[name] * 8) + number(int(value))

    said = b"\x08" + number(timestamp)
    for metric in metrics:
        content = b"".join(one(name, value) for name, value in metric.items())
        said += b"\x12" + number(len(content)) + content
    return said

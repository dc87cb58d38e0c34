"""Payloads of telemetry: rows of one device, in pieces that the platform takes. Pure.

A message is about one device only: the platform acknowledges a message about several as soon as it has one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from headend.errors import SinkRefused

Row = tuple[int, dict[str, Any]]
"""a time, and what there is of it by key"""
_FRAME: Final = 64
"""octets around a row: time, names of the fields, commas"""
_METADATA: Final = 120


@dataclass(frozen=True, slots=True)
class Piece:
    """A payload with the number of data points in it."""

    payload: bytes
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What fits into one message."""

    octets: int
    points: int


def merge(rows: dict[int, dict[str, Any]], more: Mapping[int, Mapping[str, Any]]) -> None:
    """Put rows beside others of the same device: what has the same time goes together; what came last counts."""
    for at, values in more.items():
        known = rows.get(at)
        if known is None:
            rows[at] = dict(values)
        else:
            known.update(values)


def pieces(
    rows: Mapping[int, dict[str, Any]], room: Room, device: str | None, metadata: Mapping[str, Any] | None = None
) -> Iterator[Piece]:
    """Messages for rows, oldest first: arrays for the device API, or `{device: array}` where a device is named.

    Raises SinkRefused for a value that no message holds.
    """
    ordered = [(at, rows[at]) for at in sorted(rows) if rows[at]]
    if not ordered:
        return
    whole = _piece(ordered, device, metadata)
    if len(whole.payload) <= room.octets and whole.points <= room.points:
        yield whole
        return
    around = 4 + (len(orjson.dumps(device)) + 4 if device is not None else 0)
    held: list[Row] = []
    octets = points = 0
    for row, length in _narrow(ordered, room, around + (_METADATA if metadata else 0)):
        if held and (octets + length > room.octets - around or points + len(row[1]) > room.points):
            yield _piece(held, device, metadata)
            held, octets, points = [], 0, 0
        held.append(row)
        octets += length
        points += len(row[1])
    yield _piece(held, device, metadata)


def _piece(rows: Sequence[Row], device: str | None, metadata: Mapping[str, Any] | None) -> Piece:
    more = {"metadata": metadata} if metadata else {}
    said = [{"ts": at, "values": values, **more} for at, values in rows]
    return Piece(orjson.dumps(said if device is None else {device: said}), sum(len(values) for _, values in rows))


def _narrow(rows: Iterable[Row], room: Room, around: int) -> Iterator[tuple[Row, int]]:
    """Rows that fit into a message each, with their octets: longer ones are parted, and keep their time."""
    for at, values in rows:
        part: dict[str, Any] = {}
        octets = around
        for key, value in values.items():
            length = len(orjson.dumps({key: value}))
            if length + _FRAME + around > room.octets:
                raise SinkRefused(f"a value of {length} octets: the platform takes messages of {room.octets} octets")
            if part and (octets + length + _FRAME > room.octets - around or len(part) >= room.points):
                yield (at, part), octets + _FRAME
                part, octets = {}, around
            part[key] = value
            octets += length
        yield (at, part), octets + _FRAME

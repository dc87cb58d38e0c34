"""IEC 61968-9: a MeterReadings message (edition of 2011) in the event message of IEC 61968-100, for meter data management systems.

Intervals are IntervalBlocks of their ReadingType, stamped with their end; momentary values are Readings. Amounts are in base units
(multiplier 0). The order of elements is that of the published schemas.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from headend.model.interval import Derivation, Form, Interval, Series, written
from headend.model.meter import Meter
from headend.model.reading import Quality
from headend.northbound.exports.reading_type import reading_type
from headend.northbound.exports.text import utc
from headend.northbound.exports.xml import CHUNK, DECLARATION, element, empty
from headend.services.exports import Document, ExportFormat, MeterSeries

MESSAGE: Final = "http://iec.ch/TC57/2011/schema/message"
READINGS: Final = "http://iec.ch/TC57/2011/MeterReadings#"
_SPACE = uuid.UUID("b1f1c9c4-2f8e-5c0a-9a3b-6f4d1f6c2f10")

DERIVED: Final = "2.11.0"
"""quality codes: system (1 meter, 2 this head-end), category, index"""
QUALITIES: Final = (
    (Quality.ESTIMATED, "2.8.0"),
    (Quality.CLOCK_INVALID, "1.4.9"),
    (Quality.OUT_OF_RANGE, "2.6.0"),
    (Quality.MANUAL, "1.4.131"),
)


def quality_codes(interval: Interval) -> list[str]:
    """The codes of what is to be known of an interval; none of a good one."""
    if not interval.status:
        return []
    if interval.status & Derivation.INTERPOLATED:
        rest = interval.quality & ~Quality.ESTIMATED
        return [DERIVED, *(code for flag, code in QUALITIES if rest & flag)]
    return [code for flag, code in QUALITIES if interval.quality & flag]


def write(meters: Iterable[MeterSeries], document: Document) -> Iterator[bytes]:
    """The message, in pieces."""
    pieces: list[str] = []
    size = 0
    for piece in _message(meters, document):
        pieces.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(pieces).encode()
            pieces, size = [], 0
    yield "".join(pieces).encode()


def _message(meters: Iterable[MeterSeries], document: Document) -> Iterator[str]:
    said = repr((document.start, document.end, document.created_at, document.meters, document.quantities))
    number = str(uuid.uuid5(_SPACE, said))
    yield f'{DECLARATION}<EventMessage xmlns="{MESSAGE}"><Header>'
    yield element("Verb", "created") + element("Noun", "MeterReadings") + element("Revision", "2.0")
    yield element("Timestamp", utc(document.created_at)) + element("Source", document.sender or "Headend")
    yield element("MessageID", number) + element("CorrelationID", number)
    yield f'</Header><Payload><MeterReadings xmlns="{READINGS}">'
    for meter, all_series in meters:
        yield "<MeterReading>"
        for series in all_series:
            if series.channel.form is not Form.MOMENT:
                yield from _block(series)
        yield _meter(meter)
        for series in all_series:
            if series.channel.form is Form.MOMENT:
                kind = empty("ReadingType", ref=reading_type(series.channel))
                for each in series.intervals:
                    yield f"<Readings>{_value(each)}{kind}</Readings>"
        yield "</MeterReading>"
    yield "</MeterReadings></Payload></EventMessage>\n"


def _block(series: Series) -> Iterator[str]:
    first = next(series.intervals, None)
    if first is None:
        return
    yield "<IntervalBlocks>"
    for each in chain((first,), series.intervals):
        period = element("start", utc(each.start)), element("end", utc(each.end))
        yield f"<IntervalReadings>{_value(each)}<timePeriod>{period[1]}{period[0]}</timePeriod></IntervalReadings>"
    yield empty("ReadingType", ref=reading_type(series.channel)) + "</IntervalBlocks>"


def _value(interval: Interval) -> str:
    qualities = (
        f"<ReadingQualities>{empty('ReadingQualityType', ref=code)}</ReadingQualities>"
        for code in quality_codes(interval)
    )
    return "".join(
        (
            element("reportedDateTime", utc(interval.read_at)),
            element("source", interval.source.name.lower()),
            element("timeStamp", utc(interval.end)),
            element("value", written(interval.value)),
            *qualities,
        )
    )


def _meter(meter: Meter) -> str:
    names = [(meter.id, "MeterID")]
    if meter.identity.serial:
        names.append((meter.identity.serial, "SerialNumber"))
    said = "".join(
        f"<Names>{element('name', name)}<NameType>{element('name', kind)}"
        f"<NameTypeAuthority>{element('name', 'Headend')}</NameTypeAuthority></NameType></Names>"
        for name, kind in names
    )
    return f"<Meter>{element('mRID', meter.id)}{said}</Meter>"


IEC61968: Final = ExportFormat(
    name="iec61968-9",
    label="IEC 61968-9 MeterReadings",
    media_type="application/xml",
    suffix=".xml",
    write=write,
    takes=lambda channel: bool(reading_type(channel)),
)

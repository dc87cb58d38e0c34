"""Green Button: NAESB REQ.21 ESPI in an Atom feed, for customers and those they share their usage with.

Energy by intervals, a block for each local day. Amounts are whole base units (powerOfTenMultiplier 0): registers are cut to
whole Wh before they are subtracted, so that blocks add up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from typing import Final
from urllib.parse import quote

from headend.model.interval import Channel, Derivation, Form, Interval
from headend.model.reading import Quality, from_millis
from headend.northbound.exports.dst import local_time
from headend.northbound.exports.text import utc
from headend.northbound.exports.xml import DECLARATION, element, empty, text
from headend.services.exports import Document, ExportFormat, MeterSeries, zone_of

ATOM: Final = "http://www.w3.org/2005/Atom"
ESPI: Final = "http://naesb.org/espi"
BASE: Final = "/espi/1_1/resource"
_SPACE = uuid.UUID("5d3c1c7e-6f0b-5b64-8c41-0d9b8a3c7e21")
_UNITS = {"Wh": 72, "varh": 73, "VAh": 71}
_PHASES = {"": 224, "l1": 128, "l2": 64, "l3": 32}
_ELECTRICITY, _DELTA, _ENERGY, _NORMAL = 1, 4, 12, 12
_INTERPOLATED, _DERIVED, _QUESTIONABLE, _MANUAL = 9, 11, 10, 7


def takes(channel: Channel) -> bool:
    """Energy that flows one way or the other."""
    words = channel.quantity.key.split("_")
    return channel.quantity.unit in _UNITS and channel.form is not Form.MOMENT and bool({"import", "export"} & {*words})


def quality_of(interval: Interval) -> int | None:
    """QualityOfReading; None for a good one."""
    if not interval.status:
        return None
    if interval.status & Derivation.INTERPOLATED:
        return _INTERPOLATED
    if interval.quality & (Quality.CLOCK_INVALID | Quality.OUT_OF_RANGE):
        return _QUESTIONABLE
    if interval.quality & Quality.ESTIMATED:
        return _DERIVED
    return _MANUAL if interval.quality & Quality.MANUAL else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the feed: `up` is the collection it stands in."""

    up: str
    name: str
    title: str
    content: str
    related: Sequence[str] = ()

    @property
    def href(self) -> str:
        return f"{self.up}/{self.name}"

    def written(self, updated: str) -> bytes:
        links = [("self", self.href), ("up", self.up), *(("related", each) for each in self.related)]
        return "".join(
            (
                "<entry>",
                element("id", f"urn:uuid:{uuid.uuid5(_SPACE, self.href)}"),
                *(empty("link", rel=rel, href=BASE + href) for rel, href in links),
                element("title", self.title),
                f"<content>{self.content}</content>",
                element("published", updated),
                element("updated", updated),
                "</entry>\n",
            )
        ).encode()


def _espi(name: str, content: str) -> str:
    return f'<{name} xmlns="{ESPI}">{content}</{name}>'


def write(meters: Iterable[MeterSeries], document: Document) -> Iterator[bytes]:
    """The feed, in pieces of a block each."""
    zone, updated = zone_of(document.zone), utc(document.created_at)
    feed = uuid.uuid5(_SPACE, repr((document.start, document.end, document.meters, document.quantities)))
    yield (
        f'{DECLARATION}<feed xmlns="{ATOM}">{element("id", f"urn:uuid:{feed}")}'
        f"{element('title', 'Green Button Usage Feed')}{element('updated', updated)}"
        f"{empty('link', rel='self', href=BASE + '/Batch/RetailCustomer/1/UsagePoint')}\n"
    ).encode()
    times = _local_time(zone, document)
    yield times.written(updated)
    for meter, all_series in meters:
        point = f"/RetailCustomer/1/UsagePoint/{quote(meter.id, safe='')}"
        readings = f"{point}/MeterReading"
        content = _espi("UsagePoint", "<ServiceCategory><kind>0</kind></ServiceCategory>")
        place, _, name = point.rpartition("/")
        yield _Entry(place, name, meter.name or meter.id, content, (readings, times.href)).written(updated)
        for series in all_series:
            channel = series.channel
            number = quote(channel.quantity.key)
            kind = _Entry(
                "/ReadingType", f"{quote(meter.id, safe='')}-{number}", channel.quantity.label, _type(channel)
            )
            reading = f"{readings}/{number}"
            blocks = f"{reading}/IntervalBlock"
            yield _Entry(
                readings, number, channel.quantity.label, _espi("MeterReading", ""), (blocks, kind.href)
            ).written(updated)
            yield kind.written(updated)
            for day, found in groupby(
                series.intervals, key=lambda each: from_millis(each.start).astimezone(zone).date()
            ):
                yield _Entry(blocks, f"{day:%Y%m%d}", str(day), _block(list(found))).written(updated)
    yield b"</feed>\n"


def _local_time(zone: tzinfo, document: Document) -> _Entry:
    said = local_time(zone, (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=document.start)).year)
    content = "".join(
        (
            element("dstEndRule", f"{said.end_rule:08X}"),
            element("dstOffset", said.dst_offset),
            element("dstStartRule", f"{said.start_rule:08X}"),
            element("tzOffset", said.offset),
        )
    )
    return _Entry("/LocalTimeParameters", "1", text(zone), _espi("LocalTimeParameters", content))


def _type(channel: Channel) -> str:
    flow = 19 if "_export_" in channel.quantity.key else 1
    fields = (
        ("accumulationBehaviour", _DELTA),
        ("commodity", _ELECTRICITY),
        ("dataQualifier", _NORMAL),
        ("flowDirection", flow),
        ("intervalLength", channel.period // 1000),
        ("kind", _ENERGY),
        ("phase", _PHASES[channel.quantity.phase]),
        ("powerOfTenMultiplier", 0),
        ("timeAttribute", 0),
        *((("tou", channel.quantity.tariff),) if channel.quantity.tariff else ()),
        ("uom", _UNITS[channel.quantity.unit]),
    )
    return _espi("ReadingType", "".join(element(name, value) for name, value in fields))


def _block(intervals: Sequence[Interval]) -> str:
    return _espi(
        "IntervalBlock",
        _period("interval", intervals[0].start, intervals[-1].end) + "".join(map(_reading, intervals)),
    )


def _reading(interval: Interval) -> str:
    quality = quality_of(interval)
    said = f"<ReadingQuality>{element('quality', quality)}</ReadingQuality>" if quality is not None else ""
    period = _period("timePeriod", interval.start, interval.end)
    return f"<IntervalReading>{said}{period}{element('value', interval.value)}</IntervalReading>"


def _period(name: str, start: int, end: int) -> str:
    return f"<{name}>{element('duration', (end - start) // 1000)}{element('start', start // 1000)}</{name}>"


GREEN_BUTTON: Final = ExportFormat(
    name="espi",
    label="Green Button (NAESB ESPI)",
    media_type="application/atom+xml; charset=utf-8",
    suffix=".xml",
    write=write,
    digits=0,
    takes=takes,
)

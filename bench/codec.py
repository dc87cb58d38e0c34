"""Codecs without a wire: GET rounds and load profiles, against gurux-dlms, dlms-cosem and bare `struct` on the same octets.

Processor time, medians of interleaved batches. A round is what a session does for a read, but for link and Future: take an
invoke id and the prepared frame of it, note the request; check the frame of the answer, decode it, note the answer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bench.common import Here, Result, Settings, There, per_second
from bench.exchange import request
from bench.responder import CLIENT, LLC, METER, NORMAL, aare, hdlc_answer, wrapper_answer
from headend.drivers.dlms.conversation import PreparedGet
from headend.drivers.dlms.parameters import Addressing, ClientFraming
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.axdr import (
    Tag,
    TypeDescription,
    array,
    compact_array,
    decode_data,
    encode_data,
    octet_string,
    structure,
    uint32,
)
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest
from headend.protocols.dlms.initiate import Conformance, InitiateRequest
from headend.protocols.dlms.layout import Row
from headend.protocols.dlms.rows import RowStream, decode_rows, times
from headend.protocols.dlms.template import decode_get_response
from headend.protocols.hdlc import Address
from headend.protocols.hdlc.frame import build_frame
from headend.protocols.wrapper import wrap

ROWS = 1000
ELEMENTS = [
    structure(
        octet_string(CosemDateTime.from_utc(datetime(2024, 1, 1, tzinfo=UTC) + row * timedelta(minutes=15)).to_bytes()),
        *(uint32(1000 * column + row) for column in range(5)),
    )
    for row in range(ROWS)
]
PROFILE = encode_data(array(*ELEMENTS))
DESCRIPTION = TypeDescription(Tag.STRUCTURE, (TypeDescription(Tag.OCTET_STRING), *[TypeDescription(Tag.UINT32)] * 5))
COMPACT = encode_data(compact_array(DESCRIPTION, [element.plain() for element in ELEMENTS]))
BARE = struct.Struct(">4x12sxIxIxIxIxI")
READER = EpochReader()


def associated(framing: ClientFraming, answer: Callable[[bytes], bytes]) -> DlmsConnection:
    """A connection after opening and association."""
    connection = DlmsConnection(Role.CLIENT, framing)
    connection.open()
    proposal = InitiateRequest(conformance=Conformance.GET, max_receive_pdu=0xFFFF)
    for event in (None, AssociationRequest(initiate=proposal)):
        if event is not None:
            connection.send(event)
        octets = connection.data_to_send()
        if octets:
            connection.receive_data(answer(octets))
        while connection.next_event() is not NEED_DATA:
            pass
    return connection


def get_round(name: str, answer: Callable[[bytes], bytes]) -> Callable[[], object]:
    framing = Addressing(framing=name, client=CLIENT, server=METER).make_framing()
    connection = associated(framing, answer)
    prepared: PreparedGet = request(name)
    answers: dict[bytes, bytes] = {}

    def round_trip() -> object:
        invoke = connection.next_invoke_id() & 0x0F
        connection.request_sent(prepared.heads[invoke])
        octets = framing.request(prepared.frames[invoke])  # type: ignore[arg-type] # of an equal framing
        found = framing.receive_apdu(answers[octets])
        assert found is not None
        value = decode_get_response(*found, invoke)
        connection.request_answered()
        return value

    def first() -> object:
        """Learn what the meter answers to each of the frames there are."""

        class Learning(dict[bytes, bytes]):
            def __missing__(self, octets: bytes) -> bytes:
                found = self[octets] = answer(octets)
                return found

        nonlocal answers
        answers = Learning()
        values = {round_trip() for _ in range(16)}
        answers = dict(answers)
        return values

    assert first() == {100_000}
    return round_trip


def typed_rows() -> list[tuple[object, ...]]:
    """Rows with times as aware `datetime`, as the peers make them (theirs are naive)."""
    rows, _ = decode_rows(PROFILE)
    moments = times([row[0] for row in rows], READER)
    return [(datetime.fromtimestamp((at or 0) / 1000, UTC), *row[1:]) for at, row in zip(moments, rows, strict=True)]


def timed_rows() -> tuple[list[int | None], list[Row]]:
    """Rows and their times in milliseconds, as the head-end keeps them."""
    rows, _ = decode_rows(PROFILE)
    return times([row[0] for row in rows], READER), rows


def streamed_rows() -> int:
    stream = RowStream()
    return sum(len(stream.feed(PROFILE[at : at + 1000])) for at in range(0, len(PROFILE), 1000))


WORKS: dict[str, Callable[[], object]] = {
    "wrapper": get_round("wrapper", wrapper_answer),
    "hdlc": get_round("hdlc", hdlc_answer),
    "typed": typed_rows,
    "timed": timed_rows,
    "untimed": lambda: decode_rows(PROFILE),
    "compact": lambda: decode_rows(COMPACT),
    "streamed": streamed_rows,
    "generic": lambda: decode_data(PROFILE),
    "floor": lambda: list(BARE.iter_unpack(memoryview(PROFILE)[4:])),
}


def peers() -> dict[str, There]:
    """The other stacks, told what meters answer."""
    addresses = Address.client(CLIENT).encode() + Address.server(METER).encode()
    frames = [build_frame(addresses, ((n + 1) & 7) << 5 | 0x10 | n << 1, LLC + NORMAL[1]) for n in range(8)]
    given = {
        "wrapper": [wrap(NORMAL[1], METER, CLIENT).hex()],
        "hdlc": [frame.hex() for frame in frames],
        "profile": [
            (struct.pack(">HHHH", 1, METER, CLIENT, (len(PROFILE) + 4) & 0xFFFF) + NORMAL[1][:4] + PROFILE).hex()
        ],
        "aare": [aare().hex()],
    }
    found = {"gurux-dlms": There("gurux_codec.py"), "dlms-cosem": There("dlmscosem_codec.py")}
    for there in found.values():
        there.begin(json.dumps(given))
    return found


TARGETS = {
    ("wrapper", "gurux-dlms"): 20,
    ("wrapper", "dlms-cosem"): 12,
    ("hdlc", "gurux-dlms"): 15,
    ("hdlc", "dlms-cosem"): 30,
    ("typed", "gurux-dlms"): 40,
    ("typed", "dlms-cosem"): 20,
}
TITLES = {
    "wrapper": ("GET of a u32 over the wrapper", "wrapper"),
    "hdlc": ("GET of a u32 over HDLC, both check sequences both ways", "hdlc"),
    "typed": (f"load profile of {ROWS:,} rows and 6 columns to typed rows with times", "profile"),
}


def run(settings: Settings) -> list[Result]:
    here, there = Here(WORKS), peers()
    batches = 3 * settings.repeats
    results = []
    try:
        for work, (title, theirs) in TITLES.items():
            rates = per_second({"ours": (here, work)} | {name: (it, theirs) for name, it in there.items()}, batches)
            scale, unit = (1, "rounds/s") if work != "typed" else (ROWS, "rows/s")
            results += [
                Result(
                    benchmark="codec",
                    what=title,
                    figure=rates["ours"] * scale,
                    unit=unit,
                    against=name,
                    reference=rates[name] * scale,
                    target=TARGETS[work, name],
                )
                for name in there
            ]
    finally:
        for it in there.values():
            it.close()
    return results + rows(here, batches)


def rows(here: Here, batches: int) -> list[Result]:
    works = ("floor", "untimed", "timed", "compact", "streamed", "generic")
    rates = {name: ROWS * rate for name, rate in per_second({work: (here, work) for work in works}, batches).items()}
    titles = {
        "untimed": ("load profile to rows, as array", 5e6),
        "timed": ("load profile to rows and times in milliseconds", 1.5e6),
        "compact": ("load profile to rows, as compact-array", None),
        "streamed": ("load profile to rows, in blocks of 1,000 octets", None),
        "generic": ("load profile by the generic decoder, which knows no rows", None),
    }
    return [
        Result(
            benchmark="codec",
            what=title,
            figure=rates[name],
            unit="rows/s",
            target=least,
            note=f"{rates[name] / rates['floor']:.2f} of struct.iter_unpack, which checks nothing ({rates['floor']:,.0f} rows/s)",
        )
        for name, (title, least) in titles.items()
    ]

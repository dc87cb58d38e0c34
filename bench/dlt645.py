"""Reads in DL/T 645-2007 without a wire: request and answer to a value, against dlt645 on the same octets.

Processor time, medians of interleaved batches. A round is what a client does for a read, but for link and Future: make the
request, check the frame of the answer and that it is the one to the request, decode its value. `prepared` knows the request
beforehand, `general` makes events of everything, as the meter's side does.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from bench.common import PEERS, Contender, Here, Result, Settings, There, per_second
from headend.protocols.base import Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.formats import Layout
from headend.protocols.dlt645.frame import Address, Frame, encode_frame
from headend.protocols.dlt645.prepared import PreparedRead
from headend.protocols.dlt645.requests import Read
from headend.protocols.dlt645.responses import Data

METER = Address.parse("000000000161")
READS = {
    "voltage": (0x02010100, "XXX.X", (100.1,)),
    "energy": (0x00010000, "XXXXXX.XX", (7502.64,)),
}
TITLES = {"voltage": "read of a voltage", "energy": "read of an energy"}


def answer(name: str) -> bytes:
    """What the meter says."""
    di, written, values = READS[name]
    return encode_frame(Frame(METER, 0x91, di.to_bytes(4, "little") + Layout.parse(written).encode(values)))


def prepared(name: str) -> Callable[[], object]:
    di, written, values = READS[name]
    read, connection, octets = (
        PreparedRead(METER, di, Layout.parse(written)),
        Dlt645Connection(Role.CLIENT),
        answer(name),
    )

    def act() -> object:
        connection.begin(read)
        return connection.complete(read, octets)

    assert act() == values
    return act


def general(name: str) -> Callable[[], object]:
    di, written, values = READS[name]
    layout, connection, octets = Layout.parse(written), Dlt645Connection(Role.CLIENT), answer(name)

    def act() -> object:
        connection.send(RequestTo(METER, Read(di)))
        connection.data_to_send()
        connection.receive_data(octets)
        event = connection.next_event()
        assert isinstance(event, AnswerFrom)
        assert isinstance(event.response, Data)
        return layout.decode(event.response.data)

    assert act() == values
    return act


def served() -> Callable[[], object]:
    """The meter's side of the read of a voltage."""
    di, written, values = READS["voltage"]
    connection, octets, said = Dlt645Connection(Role.SERVER), answer("voltage"), Layout.parse(written).encode(values)
    request = PreparedRead(METER, di, Layout.parse(written)).octets

    def act() -> object:
        connection.receive_data(request)
        event = connection.next_event()
        assert isinstance(event, RequestTo)
        connection.send(AnswerFrom(METER, Data(di, said)))
        return connection.data_to_send()

    assert act() == octets
    return act


def run(settings: Settings) -> list[Result]:
    works = {f"{name} {way.__name__}": way(name) for name in READS for way in (prepared, general)}
    here = Here(works | {"served": served()})
    known = subprocess.run([str(PEERS), "-c", "import dlt645"], check=False, capture_output=True).returncode == 0
    there = There("dlt645_codec.py") if known else None
    results = []
    try:
        if there is not None:
            there.begin(json.dumps({name: answer(name).hex() for name in READS}))
        for name, title in TITLES.items():
            contenders: dict[str, tuple[Contender, str]] = {
                way: (here, f"{name} {way}") for way in ("prepared", "general")
            }
            if there is not None:
                contenders["dlt645"] = (there, name)
            rates = per_second(contenders, 3 * settings.repeats)
            results += [
                Result(
                    benchmark="dlt645",
                    what=f"{title}, {way}",
                    figure=rates[way],
                    unit="rounds/s",
                    against="dlt645" if there is not None else "",
                    reference=rates.get("dlt645"),
                    target=target if there is not None else None,
                    note="" if there is not None else "dlt645 is not among the other stacks",
                )
                for way, target in (("prepared", 5.0), ("general", None))
            ]
    finally:
        if there is not None:
            there.close()
    rate = per_second({"served": (here, "served")}, 3 * settings.repeats)["served"]
    return [*results, Result(benchmark="dlt645", what="a meter answers a read", figure=rate, unit="answers/s")]

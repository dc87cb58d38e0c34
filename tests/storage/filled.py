"""A store with something in every table, and what its parts answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from headend.model.access import Role
from headend.model.audit import Action
from headend.model.device import DeviceQuery
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Cursor
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.reading import ReadingBatch, Source
from headend.storage import schema
from headend.storage.keeping import Keeper
from headend.storage.store import Store

from .test_discovery import finding, job
from .test_events_jobs import job as a_job
from .test_ledger import DAY, opened
from .test_statistics import SLOT, figures

EVER = (-(2**62), 2**62)
CARRIED = {"readings", "receipts", "series"}
NOON = 1_772_366_400_000


def fill(store: Store) -> None:
    """Through the parts where they are easily had, and a row straight into each table that is empty after that."""
    meter = Meter(
        id="m1",
        name="Hall ÄÖ",
        protocol="dlms",
        framing="wrapper",
        endpoint=Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=4059),
        identity=MeterIdentity(serial="S1"),
        tags=("x", "ä"),
    )
    store.meters.put(meter, revision=0)
    store.secrets.put("m1", "ak", Secret(b"\x00\xffsecret"))
    store.access.put_user("ada", Role.ADMIN, "a good long password")
    store.access.create_key("grafana", Role.VIEWER)
    store.logins.open("ada", lifetime_ms=10**9, idle_ms=10**9)
    store.events.append(
        [
            Event(
                type=EventType.METER_ONLINE,
                severity=Severity.INFO,
                occurred_at=n,
                meter_id="m1",
                data={"n": n, "x": math.nan},
            )
            for n in range(500)
        ]
    )
    store.events.purge(100)
    store.jobs.put(a_job(1))
    for n in range(3):
        store.audit.append("user:ada", Action.USER_CHANGED, f"user:{n}", {"text": "ä", "n": n})
    store.scans.add(job())
    store.devices.record([finding(), finding(at=200, facts={"protocol": "modbus", "functions": "3:0"})])
    store.statistics.add(SLOT, {"m1": figures(3, 0.1, 7.0)})
    opened(store)
    values = [1, 2.5, True, -(2**70), math.nan, math.inf, -0.0, "on", "half \ud800", "nul \0"]
    batch = ReadingBatch(
        meter_id="m1",
        source=Source.PUSH,
        received_at=NOON,
        quantities=["e"] * len(values) + ["U"],
        values=[*values, "last"],
        measured_at=[NOON - n * 40_000_000 for n in range(len(values))] + [NOON + 5],
        quality=[0, 1, 33] + [0] * (len(values) - 2),
    )
    Keeper(store.readings, store.journal).write([batch])
    store.summaries.turn(NOON // 86_400_000 + 1)
    Keeper(store.readings, store.journal).write([batch])  # late for the day that is summarised
    store.summaries.purge(15, NOON // 86_400_000 - 2)
    store.journal.save("mqtt", Cursor(store.journal.head, ((1, 5),)))
    with store._database.write() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name not in CARRIED and not connection.execute(sa.select(table).limit(1)).first():
                connection.execute(table.insert(), {column.name: _some(column) for column in table.columns})


def _some(column: sa.Column[Any]) -> object:
    if column.foreign_keys:
        return 1
    if column.nullable:
        return None
    kinds: Mapping[type, object] = {
        sa.JSON: {"b": [1, 2.5, None, "nul \0"], "a": {"ä": True}},
        sa.LargeBinary: bytes(range(256)),
        sa.Boolean: True,
        sa.BigInteger: 2**62,
        sa.Integer: 7,
        sa.Float: 0.1,
        sa.Text: "täxt",
    }
    return next(value for kind, value in kinds.items() if isinstance(column.type, kind))


def answers(store: Store) -> dict[str, Any]:
    """What the parts say; `repr`, so that nan equals itself."""
    read = store.readings
    found = {
        "meters": store.meters.list(limit=1000),
        "secrets": [store.secrets.get("m1", name).reveal() for name in store.secrets.names("m1")],
        "users": store.access.users(),
        "ada": store.access.check_password("ada", "a good long password"),
        "keys": store.access.keys(),
        "events": [
            (each.number, each.event.type, {k: str(v) for k, v in each.event.data.items()})
            for each in store.events.list(limit=1000)
        ],
        "jobs": store.jobs.list(),
        "audit": (list(store.audit.rows()), store.audit.verify()),
        "scans": store.scans.list(),
        "devices": store.devices.list(DeviceQuery()),
        "statistics": store.statistics.of_fleet(SLOT, SLOT + 1),
        "ledger": (store.ledger.books(), store.ledger.fleet(DAY, DAY + 5)),
        "journal": (store.journal.read(0, 2**62), store.journal.load("mqtt"), store.journal.count([(0, 2**62)])),
        "latest": read.latest(),
        "summaries": (store.summaries.waiting(), read.aggregate("m1", "U", NOON - 10**9, NOON + 10**9, 3_600_000)),
        "readings": [
            read.received(meter, quantity, *EVER)
            for meter, quantity in zip(read.latest().meter_ids, read.latest().quantities, strict=True)
        ],
    }
    return {name: repr(said) for name, said in found.items()}

"""The layout of the gateway for IVY meters, against the payloads of its public description."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headend.errors import (
    AccessDenied,
    CapabilityError,
    ConfigError,
    ConnectRefused,
    HeadendError,
    LinkTimeout,
    NotFound,
    ObjectUndefined,
    PermissionDenied,
    RemoteProtocolError,
)
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry
from headend.model.quantity import quantity
from headend.model.reading import ReadingBatch, Source, Value
from headend.northbound.ivy import REGISTERS, IvyLayout, quantity_of, quantity_of_data_id
from headend.northbound.layouts import HeadendLayout, Stats
from headend.northbound.topics import Request, Topics, UnknownMethod, UnknownRegister
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.services.roster import Roster
from tests.services.support import meter

METER, AT = "000000001234", 1705320000000
IVY = IvyLayout(Topics("ivy/v1"))


def batch(*rows: tuple[str, Value, int]) -> ReadingBatch:
    return ReadingBatch(
        meter_id=METER,
        source=Source.POLL,
        received_at=AT,
        quantities=[row[0] for row in rows],
        values=[row[1] for row in rows],
        measured_at=[row[2] for row in rows],
        quality=[0] * len(rows),
    )


def event(what: EventType, severity: Severity = Severity.WARNING, **data: Value) -> Event:
    return Event(type=what, severity=severity, occurred_at=AT, meter_id=METER, data=data)


def test_a_single_reading() -> None:
    (payload,) = IVY.telemetry(batch(("active_energy_import_total", 1234560, AT)))
    assert json.loads(payload) == {
        "ts": AT,
        "meterId": METER,
        "dataId": "0x00010000",
        "register": "TOTAL_ACTIVE_POSITIVE",
        "value": 1234.56,
        "rawValue": 123456,
        "unit": "kWh",
    }


def test_several_readings() -> None:
    (payload,) = IVY.telemetry(
        batch(("active_energy_import_total", 1234560, AT), ("voltage_l1", 230.5, AT), ("current_l1", 15.234, AT))
    )
    assert json.loads(payload) == {
        "ts": AT,
        "meterId": METER,
        "values": {
            "TOTAL_ACTIVE_POSITIVE": {"value": 1234.56, "unit": "kWh"},
            "VOLTAGE_A": {"value": 230.5, "unit": "V"},
            "CURRENT_A": {"value": 15.234, "unit": "A"},
        },
        "isBatch": True,
    }


def test_several_times_are_several_messages_in_order() -> None:
    said = [json.loads(each) for each in IVY.telemetry(batch(("voltage_l1", 2.0, AT + 9), ("voltage_l1", 1.0, AT)))]
    assert [(each["ts"], each["value"], each["rawValue"]) for each in said] == [(AT, 1.0, 10), (AT + 9, 2.0, 20)]


@pytest.mark.parametrize(
    ("key", "value", "register", "said", "raw", "unit"),
    [
        ("active_power_total", 3500, "ACTIVE_POWER_TOTAL", 3500, 3500, "W"),
        ("power_factor_total", 0.985, "POWER_FACTOR_TOTAL", 0.985, 985, ""),
        ("frequency", 49.98, "FREQUENCY", 49.98, 4998, "Hz"),
        ("relay_closed", True, "RELAY_STATUS", 0, 0, ""),
        ("relay_closed", False, "RELAY_STATUS", 1, 1, ""),
        ("credit_balance", 12.5, "BALANCE_MONEY", 12.5, 1250, "currency"),
        ("active_energy_abs_total", 1234567, "TOTAL_ENERGY_ABSOLUTE", 1234.567, 1234567, "kWh"),
        ("reactive_energy_q1_total", 1500, "REACTIVE_ENERGY_Q1_TOTAL", 1.5, 1500, "kvarh"),
        ("serial_number", "4711", "SERIAL_NUMBER", "4711", "4711", ""),
        ("no_such_quantity", 5, "NO_SUCH_QUANTITY", 5, 5000, ""),
    ],
)
def test_units_and_names(key: str, value: Value, register: str, said: Value, raw: Value, unit: str) -> None:
    payload = json.loads(IVY.telemetry(batch((key, value, AT)))[0])
    assert (payload["register"], payload["value"], payload["rawValue"], payload["unit"]) == (register, said, raw, unit)


def test_every_register_is_a_quantity_of_the_catalogue_and_is_found_by_its_names() -> None:
    for register in REGISTERS:
        assert quantity(register.quantity).key == register.quantity
        assert quantity_of(register.name) == quantity_of(register.name.lower()) == register.quantity
        assert quantity_of(register.quantity) == register.quantity
        if register.data_id:
            assert quantity_of_data_id(register.data_id) == register.quantity
    assert len({register.quantity for register in REGISTERS}) == len(REGISTERS)
    assert quantity_of("TOTAL_ACTIVE_IMPORT") == "active_energy_import_total"
    assert quantity_of("NONSENSE") is None
    assert quantity_of_data_id("FFFFFFFF") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event(EventType.METER_ONLINE, Severity.INFO), ("METER_ONLINE", "info", {})),
        (event(EventType.METER_OFFLINE, code="x", reason="y"), ("METER_OFFLINE", "warning", {})),
        (
            event(
                EventType.ALARM_RAISED, kind="OVERVOLTAGE", phase="l1", value=255.5, threshold=250, unit="V", rule="r"
            ),
            ("OVERVOLTAGE", "warning", {"phase": "A", "value": 255.5, "threshold": 250, "unit": "V"}),
        ),
        (
            event(EventType.ALARM_RAISED, Severity.CRITICAL, kind="COMMUNICATION_LOST", phase=""),
            ("COMMUNICATION_LOST", "critical", {}),
        ),
        (event(EventType.ALARM_RAISED, kind="METER_OFFLINE"), None),
        (event(EventType.ALARM_RAISED, kind="CUSTOM"), None),
        (event(EventType.ALARM_CLEARED, kind="OVERVOLTAGE"), None),
        (event(EventType.READ_FAILED), None),
    ],
)
def test_events(given: Event, expected: tuple[str, str, dict[str, Any]] | None) -> None:
    payload = IVY.event(given)
    if expected is None:
        assert payload is None
        return
    name, severity, data = expected
    assert payload is not None
    assert json.loads(payload) == {"ts": AT, "meterId": METER, "event": name, "severity": severity, "data": data}


def test_states() -> None:
    assert json.loads(IVY.status(METER, AT, online=True, address="192.168.1.100")) == {
        "ts": AT,
        "meterId": METER,
        "online": True,
        "ip": "192.168.1.100",
    }
    assert json.loads(IVY.status(METER, AT, online=False, address="x")) == {"ts": AT, "meterId": METER, "online": False}
    assert json.loads(IVY.gateway(AT, online=True, version="1", uptime=3600)) == {
        "ts": AT,
        "status": "online",
        "version": "1",
        "name": "Headend",
        "uptime": 3600,
    }
    assert json.loads(IVY.gateway(AT, online=False)) == {"ts": AT, "status": "offline"}


STATS = Stats(
    at=AT,
    uptime=60,
    meters=10,
    online=5,
    offline=2,
    poll_seconds=60.0,
    polled_at=AT - 60000,
    clients=2,
    connections=4,
    messages={"sent": 1000, "failed": 0, "stored": 3, "dropped": 0, "waiting": 1},
    published={"telemetry": 500, "status": 50, "events": 10},
    requests=7,
)


def test_figures() -> None:
    assert json.loads(IVY.stats(STATS)) == {
        "ts": AT,
        "meters": {"connected": 5, "total": 10},
        "mqtt": {"clients": 2, "messagesPublished": 1000},
        "publisher": {"telemetryPublished": 500, "statusPublished": 50, "eventsPublished": 10, "errors": 0},
        "polling": {"enabled": True, "interval": 60000, "lastCycle": AT - 60000},
    }
    ours = json.loads(HeadendLayout(Topics("headend/v1")).stats(STATS))
    assert ours["meters"] == {"total": 10, "online": 5, "offline": 2}
    assert ours["messages"]["waiting"] == 1
    assert (ours["connections"], ours["clients"], ours["requests"]) == (4, 2, 7)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectRefused("no"), "Meter not connected"),
        (NotFound("no meter 'x'"), "Meter not connected"),
        (LinkTimeout("5 s"), "Command timeout"),
        (UnknownRegister("no register 'X'"), "Invalid register"),
        (ObjectUndefined("no"), "Invalid register"),
        (UnknownMethod("no method 'x'"), "Invalid command"),
        (CapabilityError("no relay"), "Invalid command"),
        (ConfigError("state: expected open or close"), "Invalid command: state: expected open or close"),
        (AccessDenied("read-write-denied"), "Protocol error: read-write-denied"),
        (RemoteProtocolError("bad frame"), "Protocol error: bad frame"),
        (PermissionDenied("ada may not"), "ada may not"),
    ],
)
def test_errors(error: HeadendError, text: str) -> None:
    assert json.loads(IVY.refusal("7", AT, error)) == {"ts": AT, "id": "7", "success": False, "error": text}


def test_what_was_read_is_shown_in_the_units_of_there() -> None:
    request = Request(meter_id=METER, id="7", method="read_register", params={})
    row = {"ref": "dlms:x", "quantity": "active_energy_import_total", "value": 1500, "unit": "Wh", "timestamp": AT}
    shown = {"register": "TOTAL_ACTIVE_POSITIVE", "dataId": "0x00010000", "value": 1.5, "unit": "kWh", "timestamp": AT}
    assert json.loads(IVY.response(request, AT, row)) == {"ts": AT, "id": "7", "success": True, "result": shown}
    several = Request(meter_id=METER, id="7", method="read_all", params={})
    failed = {"quantity": "frequency", "error": "access-denied", "detail": "the meter says no"}
    answer = json.loads(IVY.response(several, AT, {"readings": {"TOTAL_ACTIVE_POSITIVE": row, "frequency": failed}}))
    assert answer["result"]["readings"] == {
        "TOTAL_ACTIVE_POSITIVE": {"value": 1.5, "unit": "kWh"},
        "FREQUENCY": {"error": "the meter says no"},
    }


def test_both_layouts_speak_of_the_same() -> None:
    roster = Roster(Bus(), lambda: AT)
    roster.load([meter(METER, "10.0.0.7")])
    layouts = [IVY, HeadendLayout(Topics("headend/v1"))]
    voice = Voice(layouts, version="1", roster=roster, address=lambda _meter: "10.0.0.7")
    said = voice.messages(Entry(0x1A, batch(("voltage_l1", 230.5, AT))), AT + 7)
    assert [message.topic for message in said] == [
        f"ivy/v1/meters/{METER}/telemetry",
        f"headend/v1/meters/{METER}/telemetry",
    ]
    own = json.loads(said[1].payload)
    assert (own["id"], own["published_at"]) == ("1a", AT + 7)
    came = Entry(1, event(EventType.METER_ONLINE, Severity.INFO))
    assert [message.topic.rpartition("/")[2] for message in voice.messages(came, AT)] == ["events", "events"]
    roster.state(METER).online = True
    said = voice.messages(came, AT)
    assert [message.topic.rpartition("/")[2] for message in said] == ["events", "events", "status", "status"]
    assert json.loads(said[2].payload)["ip"] == json.loads(said[3].payload)["address"] == "10.0.0.7"
    assert voice.statuses() == said[2:]
    went = Entry(2, event(EventType.METER_OFFLINE))
    assert all(not message.retain for message in voice.messages(went, AT, late=True)), "it has come back since"
    assert all(not message.retain for message in voice.messages(Entry(3, event(EventType.METER_REMOVED)), AT))
    roster.remove(METER)
    said = voice.messages(Entry(3, event(EventType.METER_REMOVED)), AT, late=True)
    assert [message.payload for message in said if message.retain] == [b"", b""]
    assert voice.statuses() == []
    assert voice.published["telemetry"] == 2
    assert voice.published["status"] == 4
    assert [message.topic for message in voice.gateway(AT, online=True)] == [
        "ivy/v1/gateway/status",
        "headend/v1/gateway/status",
    ]
    assert [message.topic for message in voice.stats(STATS)] == ["ivy/v1/gateway/stats", "headend/v1/gateway/stats"]


def test_the_newest_readings_can_be_retained_but_not_late_ones() -> None:
    voice = Voice([HeadendLayout(Topics("h"))], version="1", roster=Roster(Bus(), lambda: AT), qos=0, retain=True)
    entry = Entry(1, batch(("voltage_l1", 230.5, AT)))
    assert [(message.retain, message.qos) for message in voice.messages(entry, AT)] == [(True, 0)]
    assert [(message.retain, message.qos) for message in voice.messages(entry, AT, late=True)] == [(False, 0)]

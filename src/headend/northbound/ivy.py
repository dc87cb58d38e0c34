"""The layout of a gateway for IVY and DL/T 645 meters, for those whose programs read `ivy/v1/meters/…`.

Names of registers, units and texts of errors are those of its public description (olivenet-iot/ivy-4g-gateway, MQTT API).
`dataId` is the data identifier of DL/T 645-2007 for what the name says, also where that description has another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from headend.errors import (
    CapabilityError,
    ConfigError,
    DecodeError,
    HeadendError,
    LinkError,
    LinkTimeout,
    MeterError,
    NotFound,
    ObjectUndefined,
    RemoteProtocolError,
    SecurityError,
)
from headend.model.event import Event, EventType
from headend.model.jsontext import dumps
from headend.model.quantity import base_unit, quantity
from headend.model.reading import ReadingBatch, Value
from headend.northbound.layouts import Stats
from headend.northbound.topics import Request, Stamp, Topics, UnknownMethod, UnknownRegister

NAME: Final = "Headend"


@dataclass(frozen=True, slots=True)
class Register:
    """A register by its name there: the quantity, its data identifier, the unit and how many decimals it is sent with."""

    name: str
    quantity: str
    data_id: str
    unit: str
    decimals: int


def _registers() -> tuple[Register, ...]:
    rows = [
        Register("TOTAL_ACTIVE_POSITIVE", "active_energy_import_total", "00010000", "kWh", 2),
        Register("TOTAL_ACTIVE_NEGATIVE", "active_energy_export_total", "00020000", "kWh", 2),
        Register("TOTAL_REACTIVE_POSITIVE", "reactive_energy_import_total", "00030000", "kvarh", 2),
        Register("TOTAL_REACTIVE_NEGATIVE", "reactive_energy_export_total", "00040000", "kvarh", 2),
        Register("TOTAL_ENERGY_ABSOLUTE", "active_energy_abs_total", "", "kWh", 3),
        Register("VOLTAGE_TOTAL", "voltage_total", "", "V", 2),
        Register("CURRENT_TOTAL", "current_total", "", "A", 3),
        Register("CURRENT_NEUTRAL", "current_neutral", "02800001", "A", 3),
        Register("ACTIVE_POWER_IMPORT", "active_power_import_total", "", "W", 0),
        Register("ACTIVE_POWER_EXPORT", "active_power_export_total", "", "W", 0),
        Register("REACTIVE_POWER_IMPORT", "reactive_power_import_total", "", "var", 0),
        Register("REACTIVE_POWER_EXPORT", "reactive_power_export_total", "", "var", 0),
        Register("APPARENT_POWER_IMPORT", "apparent_power_import_total", "", "VA", 0),
        Register("FREQUENCY", "frequency", "02800002", "Hz", 2),
        Register("RELAY_STATUS", "relay_closed", "", "", 0),
        Register("BALANCE_ENERGY", "credit_energy", "00900100", "kWh", 2),
        Register("BALANCE_MONEY", "credit_balance", "00900200", "currency", 2),
    ]
    rows += [Register(f"TARIFF_{n}_ACTIVE", f"active_energy_import_t{n}", f"00010{n}00", "kWh", 2) for n in range(1, 5)]
    for name, key, number, unit, decimals, summed in (
        ("VOLTAGE", "voltage", "0201", "V", 1, False),
        ("CURRENT", "current", "0202", "A", 3, False),
        ("ACTIVE_POWER", "active_power", "0203", "W", 0, True),
        ("REACTIVE_POWER", "reactive_power", "0204", "var", 0, True),
        ("APPARENT_POWER", "apparent_power", "0205", "VA", 0, True),
        ("POWER_FACTOR", "power_factor", "0206", "", 3, True),
    ):
        phases = [("TOTAL", "total", "00")] * summed + [("A", "l1", "01"), ("B", "l2", "02"), ("C", "l3", "03")]
        rows += [
            Register(f"{name}_{tail}", f"{key}_{phase}", f"{number}{digits}00", unit, decimals)
            for tail, phase, digits in phases
        ]
    return tuple(rows)


REGISTERS: Final = _registers()
_BY_QUANTITY: Final = MappingProxyType({each.quantity: each for each in REGISTERS})
_BY_DATA_ID: Final = MappingProxyType({each.data_id: each for each in REGISTERS if each.data_id})
_BY_NAME: Final[Mapping[str, Register]] = MappingProxyType(
    {each.name: each for each in REGISTERS}
    | {
        alias: _BY_QUANTITY[key]
        for alias, key in (
            ("TOTAL_ACTIVE_IMPORT", "active_energy_import_total"),
            ("TOTAL_ACTIVE_EXPORT", "active_energy_export_total"),
            ("TOTAL_REACTIVE_IMPORT", "reactive_energy_import_total"),
            ("TOTAL_REACTIVE_EXPORT", "reactive_energy_export_total"),
            *((f"TARIFF_{n}_ACTIVE_IMPORT", f"active_energy_import_t{n}") for n in range(1, 5)),
        )
    }
)
_LARGE: Final = {"Wh": "kWh", "varh": "kvarh", "VAh": "kVAh"}

_EVENTS: Final = frozenset(
    {
        "METER_ONLINE",
        "METER_OFFLINE",
        "COMMUNICATION_LOST",
        "OVERVOLTAGE",
        "UNDERVOLTAGE",
        "OVERCURRENT",
        "OVERLOAD",
        "LOW_POWER_FACTOR",
        "LOW_BALANCE",
        "RELAY_TRIPPED",
        "RELAY_CLOSED",
    }
)
_PHASES: Final = {"l1": "A", "l2": "B", "l3": "C"}


def quantity_of(register: str) -> str | None:
    """The quantity that a register is, by its name there or by our own key; None for a name that is neither."""
    known = _BY_NAME.get(register.upper())
    if known is not None:
        return known.quantity
    try:
        return quantity(register).key
    except NotFound:
        return None


def quantity_of_data_id(data_id: str) -> str | None:
    """The quantity of a data identifier in eight hexadecimal digits."""
    known = _BY_DATA_ID.get(data_id)
    return known.quantity if known else None


def register_of(key: str) -> Register:
    """The register of a quantity; what has no name there is called by its key, energies in thousands."""
    known = _BY_QUANTITY.get(key)
    if known is not None:
        return known
    try:
        unit = quantity(key).unit
    except NotFound:
        unit = ""
    return Register(key.upper(), key, "", _LARGE.get(unit, "" if unit == "1" else unit), 3)


def shown(register: Register, value: Value) -> Value:
    """A value in base units as it is sent there: energies in thousands, a relay as 0 (closed) or 1 (open)."""
    if register.quantity == "relay_closed" and isinstance(value, bool):
        return int(not value)
    if isinstance(value, bool) or not isinstance(value, int | float) or register.unit in ("", "currency"):
        return value
    power = base_unit(register.unit)[1]
    return value / 10**power if power else value


@dataclass(frozen=True, slots=True)
class IvyLayout:
    """See above."""

    topics: Topics

    def telemetry(self, batch: ReadingBatch, _stamp: Stamp | None = None) -> Sequence[bytes]:
        """One message per measuring time, oldest first; one value alone has another form than several."""
        times: dict[int, dict[str, Value]] = {}
        for key, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
            times.setdefault(at, {})[key] = value
        return [
            self._single(batch.meter_id, at, *next(iter(values.items())))
            if len(values) == 1
            else self._several(batch.meter_id, at, values)
            for at, values in sorted(times.items())
        ]

    def _single(self, meter_id: str, at: int, key: str, value: Value) -> bytes:
        register = register_of(key)
        said = shown(register, value)
        body: dict[str, Any] = {"ts": at, "meterId": meter_id}
        if register.data_id:
            body["dataId"] = f"0x{register.data_id}"
        body |= {"register": register.name, "value": said, "rawValue": _raw(register, said), "unit": register.unit}
        return dumps(body)

    def _several(self, meter_id: str, at: int, values: Mapping[str, Value]) -> bytes:
        named = [(register_of(key), value) for key, value in values.items()]
        rows = {register.name: {"value": shown(register, value), "unit": register.unit} for register, value in named}
        return dumps({"ts": at, "meterId": meter_id, "values": rows, "isBatch": True})

    def event(self, event: Event, _stamp: Stamp | None = None) -> bytes | None:
        """Meters that come and go, and alarms that are raised."""
        name, data = event.type.value, event.data
        if event.type is EventType.ALARM_RAISED:
            name = str(data.get("kind", ""))
            if name in ("METER_ONLINE", "METER_OFFLINE"):
                return None
        elif event.type not in (EventType.METER_ONLINE, EventType.METER_OFFLINE):
            return None
        if name not in _EVENTS or not event.meter_id:
            return None
        more = {key: data[key] for key in ("value", "threshold", "unit") if data.get(key) not in (None, "")}
        phase = _PHASES.get(str(data.get("phase", "")).lower())
        if phase:
            more = {"phase": phase, **more}
        return dumps(
            {
                "ts": event.occurred_at,
                "meterId": event.meter_id,
                "event": name,
                "severity": event.severity.value,
                "data": more,
            }
        )

    def status(self, meter_id: str, at: int, *, online: bool, address: str) -> bytes:
        """Online or not, and from where."""
        body: dict[str, Any] = {"ts": at, "meterId": meter_id, "online": online}
        return dumps(body | ({"ip": address} if online and address else {}))

    def gateway(self, at: int, *, online: bool, version: str = "", uptime: int = 0) -> bytes:
        """Online or not."""
        if not online:
            return dumps({"ts": at, "status": "offline"})
        return dumps({"ts": at, "status": "online", "version": version, "name": NAME, "uptime": uptime})

    def stats(self, stats: Stats) -> bytes:
        """The figures that were there."""
        return dumps(
            {
                "ts": stats.at,
                "meters": {"connected": stats.online, "total": stats.meters},
                "mqtt": {"clients": stats.clients or 0, "messagesPublished": stats.messages.get("sent", 0)},
                "publisher": {
                    "telemetryPublished": stats.published.get("telemetry", 0),
                    "statusPublished": stats.published.get("status", 0),
                    "eventsPublished": stats.published.get("events", 0),
                    "errors": stats.messages.get("failed", 0),
                },
                "polling": {
                    "enabled": stats.poll_seconds > 0,
                    "interval": round(stats.poll_seconds * 1000),
                    "lastCycle": stats.polled_at,
                },
            }
        )

    def response(self, request: Request, at: int, result: object) -> bytes:
        """The result, values in the units of there; a command that is not confirmed, or was not done, is no success."""
        body: dict[str, Any] = {"ts": at, "id": request.id, "success": True, "result": result}
        if isinstance(result, dict):
            error = _not_done(result)
            if error:
                body = {"ts": at, "id": request.id, "success": False, "error": error, "result": result}
            elif request.method == "read_register":
                body["result"] = _read(result)
            elif isinstance(result.get("readings"), dict):
                rows = {_name(name, row): _short(row) for name, row in result["readings"].items()}
                body["result"] = result | {"readings": rows}
        return dumps(body)

    def refusal(self, request_id: str, at: int, error: HeadendError) -> bytes:
        """One of the texts of there, where one fits."""
        return dumps({"ts": at, "id": request_id, "success": False, "error": error_text(error)})


def _not_done(result: Mapping[str, Any]) -> str:
    """Why a command is no success; empty where it is one, or no command."""
    if result.get("confirmation") == "required":
        return "Confirmation required"
    if result.get("state") in ("queued", "expired", "cancelled"):
        return "Meter not connected"
    if result.get("state") == "running" or result.get("verdict") == "unknown":
        return "Command timeout"
    if result.get("verdict") in ("refused", "not-sent"):
        return f"Protocol error: {result.get('detail', '')}"
    return ""


def _read(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of a read: `quantity`, `value`, `unit` become `register`, `dataId` and what is shown there."""
    key = row.get("quantity")
    if not key or "value" not in row:
        return row
    register = register_of(str(key))
    rest = {name: row[name] for name in row if name not in ("quantity", "value", "unit", "ref")}
    data_id = {"dataId": f"0x{register.data_id}"} if register.data_id else {}
    return (
        {"register": register.name} | data_id | {"value": shown(register, row["value"]), "unit": register.unit} | rest
    )


def _name(asked: str, row: Mapping[str, Any]) -> str:
    """The name under which a row is told: that by which it was asked for, unless that was our own key."""
    return register_of(asked).name if row.get("quantity") == asked else asked


def _short(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if "value" not in row:
        return {"error": row.get("detail") or row.get("error", "")}
    read = _read(row)
    return {"value": read["value"], "unit": read["unit"]}


def _raw(register: Register, said: Value) -> Value:
    """The number as it would stand in a register of that many decimals."""
    if isinstance(said, bool | str) or said - said != 0:
        return said
    raw: int = round(said * 10**register.decimals)
    return raw


def error_text(error: HeadendError) -> str:
    """What consumers look for; everything else speaks for itself."""
    if isinstance(error, LinkTimeout):
        return "Command timeout"
    if isinstance(error, UnknownRegister | ObjectUndefined):
        return "Invalid register"
    if isinstance(error, UnknownMethod | CapabilityError):
        return "Invalid command"
    if isinstance(error, LinkError | NotFound):
        return "Meter not connected"
    if isinstance(error, MeterError | RemoteProtocolError | DecodeError | SecurityError):
        return f"Protocol error: {error}"
    if isinstance(error, ConfigError):
        return f"Invalid command: {error}"
    return str(error)

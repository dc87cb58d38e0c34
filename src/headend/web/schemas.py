"""What goes in and out as JSON: the only place with pydantic in the web layer."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from headend.model.access import Role

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class _In(BaseModel):
    """A request body: unknown fields are refused, and what was given never comes back in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str
    expected: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no meter 'm9'"])
    code: str = Field(examples=["not-found"])
    hint: str = ""
    errors: list[FieldError] = []


class Health(BaseModel):
    """Liveness."""

    status: Literal["ok", "degraded"]


class Version(BaseModel):
    """Which Headend this is."""

    name: str = "headend"
    version: str = Field(examples=["0.1.0"])


class QuantityOut(BaseModel):
    """One row of the catalogue; readings are in `unit`."""

    key: str = Field(examples=["active_energy_import_total"])
    unit: str = Field(examples=["Wh"])
    kind: str = Field(examples=["cumulative"])
    label: str = Field(examples=["Active energy, import"])
    phase: str
    tariff: int
    obis: str = Field(examples=["1-0:1.8.0.255"])


class Quantities(BaseModel):
    """The catalogue."""

    items: list[QuantityOut]


class ProfileSummary(BaseModel):
    """A meter model in the library."""

    id: str = Field(examples=["eastron-sdm630"])
    vendor: str
    model: str
    protocol: str = Field(examples=["modbus"])
    state: str = Field(examples=["EMULATED"])
    revision: int


class Profiles(BaseModel):
    """The library."""

    items: list[ProfileSummary]


class ProfileObject(BaseModel):
    """One object of a meter model."""

    ref: str = Field(examples=["modbus:input/0x0156/f32"])
    quantity: str
    name: str
    unit: str
    poll: bool
    writable: bool
    note: str


class ProfileHistory(BaseModel):
    """One load profile of a meter model."""

    ref: str = Field(examples=["dlms:7/1-0:99.1.0.255/2"])
    name: str
    period_seconds: int
    capacity: int
    columns: list[str]


class ProfileOut(ProfileSummary):
    """A meter model with its objects."""

    source: str
    note: str
    objects: list[ProfileObject]
    load_profiles: list[ProfileHistory]


class DecodeIn(_In):
    """Octets to explain."""

    hex: str = Field(max_length=200_000, examples=["0001 0000 0006 01 04 0000 0006"])
    protocol: str = Field("", examples=["modbus"])


class DecodedField(BaseModel):
    """One field of a layer."""

    name: str
    value: str
    offset: int
    length: int


class DecodedLayer(BaseModel):
    """One layer of a frame."""

    name: str
    offset: int
    length: int
    fields: list[DecodedField]
    layers: list[DecodedLayer]
    error: str


class Decoded(BaseModel):
    """What the octets mean."""

    protocol: str
    length: int
    layer: DecodedLayer


class LoginIn(_In):
    """A login."""

    user: str = Field(min_length=1, max_length=64, examples=["ada"])
    password: str = Field(min_length=1, max_length=256)


class Whoami(BaseModel):
    """Who asks: a user, a key, or nobody (who may read on this machine)."""

    kind: Literal["user", "key", "nobody"]
    name: str
    role: Role


class UserOut(BaseModel):
    """Somebody who logs in."""

    name: str
    role: Role
    created_at: int


class Users(BaseModel):
    """All users."""

    items: list[UserOut]


class UserIn(_In):
    """A new user."""

    name: Name = Field(examples=["ada"])
    role: Role
    password: str = Field(min_length=10, max_length=256)


class UserChange(_In):
    """A new role or password; what is absent stays."""

    role: Role | None = None
    password: str | None = Field(None, min_length=10, max_length=256)


class PasswordChange(_In):
    """The user's own new password."""

    old: str = Field(min_length=1, max_length=256)
    new: str = Field(min_length=10, max_length=256)


class KeyOut(BaseModel):
    """The key of a machine; the key itself is shown once, when it is made."""

    name: str
    role: Role
    created_at: int
    expires_at: int | None
    last_used_at: int | None = Field(description="to the minute")


class Keys(BaseModel):
    """All keys."""

    items: list[KeyOut]


class KeyIn(_In):
    """A new key."""

    name: Name = Field(examples=["poller-1"])
    role: Role
    expires_at: int | str | None = Field(None, examples=["2027-01-01T00:00:00Z"])


class KeyMade(BaseModel):
    """A key that was made, with its text."""

    name: str
    role: Role
    expires_at: int | None
    key: str


MeterId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[^\s,]{1,64}$")]
MAX_TEXT = 200
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class EndpointModel(_In):
    """Where a meter is reached."""

    kind: Literal["tcp", "udp", "serial", "inbound"] = "tcp"
    host: Text = ""
    port: int = Field(0, ge=0, le=65535)
    path: Text = ""
    baud: int = Field(9600, ge=50, le=4_000_000)
    line: str = Field("8N1", pattern="^[78][NEO][12]$")


class MeterFields(_In):
    """What can be set on a meter. Say how it is reached by `url`, or by `protocol`, `framing`, `endpoint` and `params`."""

    url: str | None = Field(None, max_length=1000, examples=["modbus://127.0.0.1:5020/1?profile=eastron-sdm630"])
    protocol: Text | None = Field(None, examples=["modbus"])
    framing: Text | None = Field(None, examples=["tcp"])
    endpoint: EndpointModel | None = None
    params: dict[Text, Text] | None = Field(None, examples=[{"unit": "1"}])
    name: Text | None = Field(None, examples=["Feeder 1"])
    profile_id: Text | None = Field(None, examples=["eastron-sdm630"])
    poll_seconds: float | None = Field(None, ge=0, le=86_400 * 31, allow_inf_nan=False)
    enabled: bool | None = None
    tags: list[Tag] | None = Field(None, max_length=50, examples=[["hall-2"]])


class MeterIn(MeterFields):
    """A new meter. Without `id` it gets one from its name or address."""

    id: MeterId | None = Field(None, examples=["feeder-1"])
    secrets: dict[str, str] = Field(
        {}, max_length=8, description="secrets by name (`secret`, `ek`, `ak`, `mk`), each `hex:…` or `text:…`"
    )


class Identity(BaseModel):
    """What a meter says about itself."""

    serial: str
    manufacturer: str
    model: str
    firmware: str
    logical_device_name: str
    system_title: str
    meter_address: str


class MeterState(BaseModel):
    """What is known of a meter since the head-end started."""

    online: bool | None = Field(description="null until it was tried")
    last_seen: int | None
    last_error_code: str
    last_error_text: str
    last_error_at: int | None
    reads_ok: int
    reads_failed: int


class MeterOut(BaseModel):
    """A meter. Its revision is also the ETag; a change names it in If-Match."""

    id: str
    revision: int
    name: str
    url: str = Field(description="how it is reached, without secrets")
    protocol: str
    framing: str
    endpoint: EndpointModel
    params: dict[str, str]
    profile_id: str
    identity: Identity
    poll_seconds: float
    enabled: bool
    tags: list[str]
    state: MeterState


class MeterPage(BaseModel):
    """Some meters, by id; `next` is the cursor of the following page, null at the end."""

    items: list[MeterOut]
    total: int
    next: str | None


class SecretNames(BaseModel):
    """Which secrets a meter has. Their values never leave the head-end."""

    names: list[str]


class SecretIn(_In):
    """A secret, as `hex:…` or `text:…`."""

    value: str = Field(max_length=1024, examples=["hex:000102030405060708090A0B0C0D0E0F"])


class Rows(BaseModel):
    """A table: names of the columns, and rows in their order."""

    columns: list[str]
    rows: list[list[int | float | str | bool | None]]


class LatestOut(Rows):
    """The newest reading of each series."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "columns": ["meter_id", "quantity", "value", "measured_at", "quality", "received_at", "source"],
                "rows": [["feeder-1", "voltage_l1", 230.2, 1700000000000, 0, 1700000000042, "poll"]],
            }
        }
    )


class SeriesOut(BaseModel):
    """Readings of one quantity as parallel columns, oldest first; `next` is where to go on, null at the end.

    With `bucket`: one row for each span that has numbers, `measured_at` its start, instead of values and quality.
    """

    meter_id: str
    quantity: str
    unit: str
    measured_at: list[int]
    values: list[int | float | str | bool | None] | None = None
    quality: list[int] | None = None
    minimum: list[float] | None = None
    maximum: list[float] | None = None
    mean: list[float] | None = None
    last: list[float] | None = None
    count: list[int] | None = None
    next: int | None


def _fits(value: bool | float | str) -> bool | float | str:  # noqa: FBT001 # a value may be a switch
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number within 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"a text of at most {MAX_TEXT} characters")
    return value


ValueIn = Annotated[StrictBool | StrictInt | StrictFloat | StrictStr, AfterValidator(_fits)]


class ReadingIn(_In):
    """One reading, in the base unit of its quantity. `measured_at` is milliseconds or ISO 8601; absent: now."""

    meter_id: str = Field(max_length=64, examples=["feeder-1"])
    quantity: str = Field(max_length=100, examples=["active_energy_import_total"])
    value: ValueIn = Field(examples=[1_234_500])
    measured_at: int | str | None = Field(None, examples=["2026-01-01T00:15:00Z"])
    quality: int = Field(0, ge=0, le=0x3F)


class Submission(_In):
    """Readings to take in, all or none."""

    readings: list[ReadingIn] = Field(min_length=1, max_length=10_000)


class Accepted(BaseModel):
    """How many readings were taken in; they are stored within a second."""

    accepted: int


class ReadIn(_In):
    """What to read: object references of the meter, or nothing for all that is polled."""

    refs: list[Text] | None = Field(None, min_length=1, max_length=200, examples=[["dlms:3/1-0:1.8.0.255/2"]])


class ReadValue(BaseModel):
    """One value that was read; an amount is in the base unit of its quantity, or in `unit`, or raw when there is neither."""

    ref: str
    quantity: str
    unit: str
    value: Any
    quality: int


class ReadMissing(BaseModel):
    """One value that did not come."""

    ref: str
    quantity: str
    code: str
    reason: str


class ReadOut(BaseModel):
    """What a read brought."""

    meter_id: str
    measured_at: int
    values: list[ReadValue]
    missing: list[ReadMissing]


class ObjectOut(BaseModel):
    """One object of a meter."""

    ref: str
    name: str
    quantity: str
    unit: str
    class_id: int | None
    class_name: str
    version: int | None
    history: bool
    attributes: dict[str, str]
    methods: dict[str, str]


class Objects(BaseModel):
    """The object list of a meter."""

    items: list[ObjectOut]


class HistoryColumnOut(BaseModel):
    """One column of a load profile."""

    ref: str
    quantity: str
    unit: str


class HistoryOut(BaseModel):
    """Rows of a load profile; `truncated` when the limit ended them."""

    meter_id: str
    ref: str
    columns: list[HistoryColumnOut]
    times: list[int | None]
    rows: list[list[Any]]
    quality: list[int]
    truncated: bool


class CommandIn(_In):
    """A command; `confirm` repeats the id of the meter."""

    kind: Literal["disconnect", "reconnect", "set-clock", "write", "invoke"]
    params: dict[Text, ValueIn] = Field({}, max_length=20)
    confirm: str = Field(max_length=64)


class CommandOut(BaseModel):
    """How a command ended."""

    verdict: Literal["confirmed", "refused", "unknown"]
    detail: str
    observed: int | float | str | bool | None


class EventOut(BaseModel):
    """An event, and who has seen it."""

    number: int
    type: str = Field(examples=["METER_OFFLINE"])
    severity: str = Field(examples=["warning"])
    meter_id: str = Field(description="empty for events of the head-end itself")
    occurred_at: int
    recorded_at: int
    data: dict[str, int | float | str | bool]
    acknowledged_by: str
    acknowledged_at: int | None


class EventPage(BaseModel):
    """Some events, newest first; `next` is the cursor of older ones, null at the end."""

    items: list[EventOut]
    next: int | None


class Status(BaseModel):
    """The head-end at a glance."""

    version: str
    uptime_seconds: int
    meters: int
    online: int
    offline: int
    untried: int
    readings_stored: int
    readings_per_second: float
    readings_waiting: int
    pressure: float
    live_clients: int


class PlainReadingIn(BaseModel):
    """A reading of a simple meter, in V, A, W and Wh."""

    model_config = ConfigDict(
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {"meter_id": "1", "voltage": 230.1, "current": 4.2, "power": 966.0, "energy": 1234567.0}
        },
    )

    meter_id: int | MeterId
    voltage: float | None = Field(None, allow_inf_nan=False)
    current: float | None = Field(None, allow_inf_nan=False)
    power: float | None = Field(None, allow_inf_nan=False)
    energy: float | None = Field(None, allow_inf_nan=False)
    timestamp: int | str | None = None


class PlainReading(BaseModel):
    """A reading of a simple meter, in V, A, W and Wh; what the meter does not measure is null."""

    meter_id: str
    timestamp: str
    voltage: float | None
    current: float | None
    power: float | None
    energy: float | None


class PlainMeter(BaseModel):
    """A meter in the plain API."""

    meter_id: str
    name: str
    online: bool | None

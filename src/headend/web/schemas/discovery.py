"""Scans, and the devices that they find."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from headend.web.schemas.base import In, Tag, Text

DeviceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Targets = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
Params = dict[str, Text]
Secrets = dict[str, Annotated[str, StringConstraints(max_length=1000)]]


class ScanIn(In):
    """What to scan. What is absent is as the settings say."""

    targets: Targets = Field(
        description="networks, ranges, addresses, host names and serial ports, with blanks, commas or lines between",
        examples=["10.1.0.0/24 10.2.0.1-10.2.0.99"],
    )
    ports: Text = Field("", examples=["4059,4060,8000-8010"])
    exclude: str = Field("", max_length=100_000)
    rate: float | None = Field(None, gt=0, description="connections a second")
    window: int | None = Field(None, gt=0, description="connections under way at once")
    timeout: float | None = Field(None, gt=0, le=60, description="seconds to wait for a connection")
    examine: bool = True
    exhaustive: bool = Field(default=False, description="every probe everywhere")
    again: bool = Field(default=False, description="also what was examined a short while ago")
    credentials: bool = Field(default=False, description="use those that are kept for networks")
    reason: Text = ""


class ProgressOut(BaseModel):
    """How far a scan is."""

    targets: int
    done: int
    states: dict[str, int] = Field(examples=[{"open": 3, "closed": 250}])
    waiting: int
    examined: int
    skipped: int
    devices: int
    new: int
    nobody: int
    seconds_left: float | None


class ScanOut(BaseModel):
    """A scan. Times in milliseconds."""

    id: str
    state: Literal["queued", "running", "finished", "cancelled", "failed"]
    request: dict[str, Any]
    actor: str
    reason: str
    created_at: int
    started_at: int | None
    ended_at: int | None
    progress: ProgressOut
    error: str


class ScanList(BaseModel):
    """Scans, newest first; `next` is `before` of the next page."""

    items: list[ScanOut]
    next: str | None


class HitOut(BaseModel):
    """An open place."""

    host: str
    port: int
    at: int
    banner: str = Field(description="what it said unasked, in hexadecimal")
    outcome: str = Field(description="identified, skipped, nobody; empty while nobody has looked into it")
    note: str


class HitPage(BaseModel):
    """Open places by host and port."""

    items: list[HitOut]
    next: str | None


class NetworkOut(BaseModel):
    """What a scan found in one of its targets."""

    target: str
    states: dict[str, int]
    devices: int
    vendors: dict[str, int]


class ReportOut(BaseModel):
    """All that a scan found, target by target; devices of an unknown vendor are under the empty text."""

    scan: ScanOut
    networks: list[NetworkOut]
    vendors: dict[str, int]
    protocols: dict[str, int]
    nobody: dict[str, int]


class DeviceOut(BaseModel):
    """Somebody who was found, as a line of a list. Times in milliseconds."""

    number: int
    id: str
    url: str
    protocol: str
    framing: str
    host: str
    port: int
    state: Literal["new", "adopted", "ignored"]
    first_seen: int
    last_seen: int
    changed_at: int
    scan: str
    vendor: str = Field(description="empty when it is unknown")
    model: str
    firmware: str
    serial: str
    confidence: float
    method: str
    profile_id: str = Field(description="the meter file that fits; empty where none does")
    digest: str
    objects: int
    coverage: float | None
    stopped: str
    meter_id: str


class DevicePageOut(BaseModel):
    """Devices in the order in which they were found; `next` is `after` of the next page."""

    items: list[DeviceOut]
    total: int
    next: int | None


class DeviceDetail(DeviceOut):
    """A device with what follows from its examination. The octets that prove it are at `/evidence`."""

    identity: dict[str, str]
    params: dict[str, str]
    classification: dict[str, Any]
    page: dict[str, Any] = Field(description="facts, association matrix and objects: headend-meter-identity/1")
    values: dict[str, str] = Field(description="what single objects held")
    associations: int = Field(description="that were asked for during the examination")
    drafted: bool = Field(description="a meter file was drafted: at `/draft`")


class EvidenceOut(BaseModel):
    """What went over the wire in one step, in hexadecimal."""

    probe: str
    at: int
    sent: str
    received: str
    note: str


class EvidenceList(BaseModel):
    """All steps of an examination; facts and trials name them by their place, from 0."""

    items: list[EvidenceOut]


class PastOut(BaseModel):
    """What the fingerprint was from a time on."""

    at: int
    digest: str
    facts: dict[str, str]


class PastList(BaseModel):
    """The fingerprints that a device had, the present one last."""

    items: list[PastOut]


class ExamineIn(In):
    """How deep to look. Secrets are tried once, and never shown."""

    params: Params = Field(default_factory=dict)
    secrets: Secrets = Field(default_factory=dict)
    credentials: bool = Field(default=False, description="without secrets: those that are kept for it")
    exhaustive: bool = False
    keep: bool = Field(default=False, description="keep the secrets for the device")
    reason: Text = ""


class PlaceIn(ExamineIn):
    """A place to look into: a meter URL, or `tcp://HOST:PORT`."""

    target: Text = Field(examples=["tcp://10.1.0.7:4059"])


class SeenOut(BaseModel):
    """Who was found there; or why nobody."""

    devices: list[DeviceOut]
    nothing: str
    evidence: list[EvidenceOut]


class ChosenIn(In):
    """Which devices: by their ids, or all that a query chooses."""

    ids: list[DeviceId] = Field([], max_length=20_000)
    all: bool = Field(default=False, description="instead of ids: every new device that the following choose")
    vendor: Text | None = None
    protocol: Text | None = None
    scan: Text | None = None
    search: Text = ""


class AdoptIn(ChosenIn):
    """How they become meters."""

    name: Text = "{vendor} {serial}"
    tags: list[Tag] = Field([], max_length=100)
    poll_seconds: float = Field(60.0, ge=0, le=86400)
    enabled: bool = True
    profile_id: Text = ""
    drafts: bool = Field(default=True, description="keep drafts where no meter file fits")
    credentials: bool = Field(default=False, description="read them with those kept for their network")


class AdoptedOut(BaseModel):
    """What became of one."""

    device_id: str
    meter_id: str
    new: bool
    error: str


class AdoptedList(BaseModel):
    """What became of each."""

    items: list[AdoptedOut]


class CountOut(BaseModel):
    """How many were changed."""

    devices: int


class ProfileFromDevice(In):
    """Under which id the draft is kept; made of vendor and model without one."""

    id: Text = ""


class ProfileKept(BaseModel):
    """The profile that the draft is."""

    id: str


class CredentialsIn(In):
    """What is kept for a network or tag: it replaces what was."""

    params: Params = Field(default_factory=dict)
    secrets: Secrets = Field(default_factory=dict)


class CredentialsOut(BaseModel):
    """What is kept: of secrets the names alone."""

    name: str
    params: dict[str, str]
    secrets: list[str]


class CredentialsList(BaseModel):
    """All that is kept."""

    items: list[CredentialsOut]


class ComparisonOut(BaseModel):
    """What two fingerprints are to each other."""

    verdict: str
    text: str
    updated: bool
    similarity: float
    changes: list[dict[str, Any]]


class Ready(BaseModel):
    """One part of the head-end, and whether it works."""

    part: str
    ready: bool
    text: str


class SummaryOut(BaseModel):
    """What there is, and what works."""

    templates: int
    instances: int
    meters: int
    online: int
    devices: int
    new_devices: int
    profiles: int
    kept_profiles: int
    alarms: int
    scans_running: int
    parts: list[Ready]

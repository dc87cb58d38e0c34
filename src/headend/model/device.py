"""A device: somebody whom discovery has found at a place, with all that is known of it; a meter of ours once it is adopted."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headend.errors import ConfigError
from headend.model.discovery import Examination, Sighting
from headend.model.fingerprint import Classification, Fingerprint
from headend.model.meter import NO_PARAMS, Endpoint, Meter
from headend.model.url import format_url


class DeviceState(enum.Enum):
    """What we have done about it."""

    NEW = "new"
    ADOPTED = "adopted"
    """it is a meter of ours"""
    IGNORED = "ignored"
    """it is not to be shown among the new ones"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One line of what was found. Times in milliseconds."""

    number: int
    """grows with each device; the order of lists"""
    id: str
    """the same for the same place and address, whenever it is found"""
    url: str
    """how it is read, without a profile"""
    protocol: str
    framing: str
    host: str
    port: int
    state: DeviceState
    first_seen: int
    last_seen: int
    """when it answered for the last time"""
    changed_at: int
    """when its fingerprint became what it is"""
    scan: str = ""
    """the last scan that found it; empty where it was examined by itself"""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    confidence: float = 0.0
    method: str = ""
    profile_id: str = ""
    """the meter file that fits"""
    digest: str = ""
    objects: int = 0
    coverage: float | None = None
    """share of its objects that have a known quantity or meaning; None where it shows none"""
    stopped: str = ""
    """why its examination ended early"""
    meter_id: str = ""
    """under which it was adopted"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What is kept of a device beside its line: what it was found by, what it showed, and what follows from that."""

    sighting: Sighting
    examination: Examination
    fingerprint: Fingerprint
    classification: Classification
    draft: str = ""
    """a meter file for it, in the state DRAFT"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an examination came to: how it goes into the store."""

    papers: Papers
    at: int
    coverage: float | None = None
    meter_id: str = ""
    """the meter of ours that it is; empty where it is none"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became of a finding in the store."""

    device: Device
    new: bool
    changed: bool
    """it was known, with another fingerprint"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFingerprint:
    """What the fingerprint of a device was from a time on."""

    at: int
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceQuery:
    """Which devices; what is None or empty chooses nothing. Those beyond the number `after`, by their numbers."""

    state: DeviceState | None = None
    vendor: str | None = None
    """the empty text: those of an unknown vendor"""
    protocol: str | None = None
    scan: str | None = None
    """found by that scan, whatever found them later"""
    search: str = ""
    """part of URL, serial number, vendor, model or names that it says"""
    after: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePage:
    """Some of the devices that a query chooses, and how many there are in all."""

    items: Sequence[Device]
    total: int
    next: int | None
    """`after` of the next page; None for the last"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What is kept for the meters of a network or with a tag: the parameters go with secrets, which are in the vault."""

    name: str
    """a network in CIDR notation, or a tag"""
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    secrets: Sequence[str] = ()
    """names of those that are kept"""


def device_id(endpoint: Endpoint, sighting: Sighting) -> str:
    """The same for the same place, protocol and address."""
    params = "&".join(f"{name}={value}" for name, value in sorted(sighting.params.items()))
    text = f"{(sighting.endpoint or endpoint).wire} {sighting.protocol}+{sighting.framing}?{params}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def url_of(examination: Examination) -> str:
    """How the meter is read that was examined; the name of its wire where no URL can say it."""
    meter = Meter(
        id="",
        protocol=examination.protocol,
        framing=examination.framing,
        endpoint=examination.endpoint,
        params=examination.params,
    )
    try:
        return format_url(meter)
    except ConfigError:  # of a protocol that URLs have no scheme for
        return examination.endpoint.wire

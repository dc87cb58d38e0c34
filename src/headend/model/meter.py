"""A meter, how it is reached, and who it says it is."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from headend.errors import ConfigError

NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class EndpointKind(enum.Enum):
    """What carries the bytes."""

    TCP = "tcp"
    UDP = "udp"
    SERIAL = "serial"
    INBOUND = "inbound"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a meter is reached. `wire` names the link that meters may share: the key of a lane.

    A serial port has a speed and a character format: data bits, parity, stop bits.
    """

    kind: EndpointKind
    host: str = ""
    port: int = 0
    path: str = ""
    baud: int = 9600
    line: str = "8N1"

    @property
    def wire(self) -> str:
        """Text that is equal for all meters on one link."""
        if self.kind in (EndpointKind.TCP, EndpointKind.UDP):
            return f"{self.kind.value}://{self.host}:{self.port}"
        return f"{self.kind.value}://{self.path or self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterIdentity:
    """What a meter says about itself; empty text means that it did not say."""

    serial: str = ""
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    logical_device_name: str = ""
    system_title: str = ""
    meter_address: str = ""


class Secret:
    """Octets that never show: no repr, no str, no pickling. `reveal()` is called where the wire needs them."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """The octets."""
        return self._octets

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._octets == self._octets

    def __hash__(self) -> int:
        return hash(self._octets)

    def __reduce__(self) -> str:
        raise ConfigError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One meter as the head-end keeps it.

    `protocol` names the driver and `framing` its variant (`wrapper`, `hdlc`; `tcp`, `rtu`). `params` are the driver's
    addressing parameters as text, e.g. `client`, `server`, `auth` or `unit`; the driver parses them once at attach.
    Secrets are kept apart, in the store, under the meter's id. `poll_seconds` 0 means: not polled.
    """

    id: str
    protocol: str
    framing: str
    endpoint: Endpoint
    name: str = ""
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    profile_id: str = ""
    identity: MeterIdentity = field(default_factory=MeterIdentity)
    poll_seconds: float = 60.0
    enabled: bool = True
    tags: tuple[str, ...] = ()

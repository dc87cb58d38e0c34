"""The DL/T 645 driver as everybody above the drivers sees it; see `headend.drivers.base.Driver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.drivers.base import NO_SECRETS, Capability, Overheard
from headend.drivers.dlt645 import explaining, parameters, recorded, refs, server
from headend.drivers.dlt645.client import Dlt645Session
from headend.drivers.dlt645.meter.image import image_of
from headend.drivers.dlt645.wire import Wire
from headend.drivers.knowledge import Knowledge
from headend.drivers.pushless import Pushless
from headend.errors import CapabilityError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headend.drivers.base import Defect, Layer, MeterModel, Secrets, Sniff, Sniffed
    from headend.drivers.ground import Ground, Probe
    from headend.model.discovery import Examination, Sighting
    from headend.model.meter import Meter
    from headend.model.objects import ObjectEntry, ObjectRef
    from headend.model.profile import MeterProfile
    from headend.model.reading import Value
    from headend.protocols.base import CounterStore
    from headend.transport.link import Link

_FRAMINGS = ("", "tcp", "serial")


class Dlt645Driver(Pushless):
    """DL/T 645-2007 and -1997: the same frames over TCP and serial lines."""

    name = "dlt645"
    ports = (8899, 4196, 10001, 20108, 4001)
    capabilities = frozenset(Capability) - {Capability.PUSH}

    def probes(self) -> Sequence[Probe]:
        """The questions of discovery, cheap and harmless first."""
        from headend.drivers.dlt645 import probing  # noqa: PLC0415 - for discovery only

        return probing.probes()

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Secrets = NO_SECRETS) -> Examination:  # noqa: ARG002 - reading takes no password
        """What its identifiers tell."""
        from headend.drivers.dlt645.examining import examine  # noqa: PLC0415 - for discovery only

        return await examine(ground, sighting)

    def parse_ref(self, text: str) -> ObjectRef:
        """`00010000`, `0001FF00`, `9010`, `01010000/time` and their like; raises ConfigError."""
        return refs.parse_ref(text)

    def holds_secret(self, ref: ObjectRef) -> bool:
        """The passwords of the ten levels."""
        return refs.data_ref(ref.address).di in refs.PASSWORDS

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """What most meters of 2007 have, or a pattern: `00[01-0A][00-04]00`."""
        from headend.drivers.dlt645.candidates import candidates  # noqa: PLC0415 - for probes only

        return candidates(text)

    def check_params(self, params: Mapping[str, Value]) -> None:
        """`address`, `version`, `operator`, `level`, `leader`, `clock`, `blocks`, `zone`; raises ConfigError."""
        parameters.check_params(params)

    def use_counters(self, store: CounterStore) -> None:
        """DL/T 645 counts nothing."""

    async def attach(
        self,
        link: Link,
        meter: Meter,
        profile: MeterProfile | None,
        secrets: Secrets,
        *,
        buffered: bytes = b"",
        timeout: float = 5.0,
        knowledge: Knowledge | None = None,
    ) -> Dlt645Session:
        """A session with one meter; no octet is sent."""
        if meter.framing not in _FRAMINGS:
            raise ConfigError(f"unknown framing {meter.framing!r} of DL/T 645", hint="tcp or serial")
        said = parameters.parameters_of(meter, profile)
        password = parameters.password_of(secrets, said.level)
        wire = Wire(link, said, timeout, meter.endpoint.line)
        wire.start(buffered)
        return Dlt645Session(wire, said, password, profile, knowledge=knowledge or Knowledge())

    def serve(self, link: Link, model: MeterModel) -> None:
        """Play a meter; called again for the same link, one more meter on its line."""
        server.serve(link, model)

    def spoil(self, data: bytes, defect: Defect) -> bytes:
        """Frames have an address and a checksum."""
        return recorded.spoil(data, defect)

    def imitate(self, profile: MeterProfile) -> MeterProfile:
        """It has no object lists."""
        return profile

    def check_file(self, profile: MeterProfile) -> None:
        """Every object has a format, in the tables or in the file."""
        image_of(profile)

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:  # noqa: ARG002 - a frame is whole or not
        """By a whole frame with a right checksum."""
        return recorded.sniff(data, at)

    def spoken(self, secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
        """The password."""
        return recorded.spoken(secrets)

    def reseal(self, data: bytes) -> bytes:
        """Frames with right checksums."""
        return recorded.reseal(data)

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:  # noqa: ARG002 - requests have no numbers
        """The same request has the same octets."""
        return None

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """Data identifiers that were read, by the meter file."""
        from headend.drivers.dlt645 import overhearing  # noqa: PLC0415 - for recordings only

        return overhearing.overhear(exchanges, profile)

    def explain(self, data: bytes, secrets: Secrets = NO_SECRETS) -> Layer:  # noqa: ARG002 - nothing is ciphered
        """Decode frames."""
        return explaining.explain(data)

    def translate(self, data: bytes, secrets: Secrets = NO_SECRETS) -> str:  # noqa: ARG002 - ditto
        """DL/T 645 has no notation in XML."""
        raise CapabilityError("dlt645: there is no notation in XML")

"""The Modbus driver as everybody above the drivers sees it; see `headend.drivers.base.Driver`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headend.drivers.base import (
    NO_SECRETS,
    Capability,
    Defect,
    Layer,
    MeterModel,
    Overheard,
    Secrets,
    Sniff,
    Sniffed,
)
from headend.drivers.ground import Ground, Probe
from headend.drivers.knowledge import Knowledge
from headend.drivers.modbus import explaining, plan, recognising, refs, server
from headend.drivers.modbus.client import ModbusSession
from headend.drivers.modbus.wire import Wire
from headend.drivers.pushless import Pushless
from headend.errors import CapabilityError, ConfigError
from headend.model.discovery import Examination, Sighting
from headend.model.meter import Meter
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.protocols.base import CounterStore
from headend.transport.link import Link

_FRAMINGS = {"": False, "tcp": False, "rtu": True}


class ModbusDriver(Pushless):
    """Modbus over TCP (MBAP), and RTU over TCP or a serial line."""

    name = "modbus"
    ports = (502, 1502, 5020, 503, 802, 4196, 7701)
    capabilities = frozenset({Capability.READ, Capability.WRITE, Capability.OBJECTS})

    def probes(self) -> Sequence[Probe]:
        """The questions of discovery, cheap and harmless first."""
        from headend.drivers.modbus import probing  # noqa: PLC0415 - for discovery only

        return probing.probes()

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Secrets = NO_SECRETS) -> Examination:  # noqa: ARG002 - Modbus has no secrets
        """What identification objects, server id and identification registers tell."""
        from headend.drivers.modbus.examining import examine  # noqa: PLC0415 - for discovery only

        return await examine(ground, sighting)

    def parse_ref(self, text: str) -> ObjectRef:
        """`input/0x0034/f32` and its like; raises ConfigError."""
        return refs.parse_ref(text)

    def holds_secret(self, ref: ObjectRef) -> bool:  # noqa: ARG002 - it would be a matter of the model
        """Registers hold none that are known."""
        return False

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """The registers of a range: `input/0x0000-0x0050/f32`."""
        from headend.drivers.modbus.candidates import candidates  # noqa: PLC0415 - for probes only

        return candidates(text)

    def check_params(self, params: Mapping[str, Value]) -> None:
        """`unit`, `max_registers`, `gap`; raises ConfigError naming the parameter."""
        plan.check_params(params)

    def use_counters(self, store: CounterStore) -> None:
        """Modbus counts nothing."""

    async def attach(
        self,
        link: Link,
        meter: Meter,
        profile: MeterProfile | None,
        secrets: Secrets,  # noqa: ARG002 - Modbus has no secrets
        *,
        buffered: bytes = b"",
        timeout: float = 5.0,
        knowledge: Knowledge | None = None,
    ) -> ModbusSession:
        """A session with one unit; no octet is sent. One that may learn begins hopeful."""
        if meter.framing not in _FRAMINGS:
            raise ConfigError(f"unknown framing {meter.framing!r} of Modbus", hint="tcp or rtu")
        params: dict[str, Value] = {**(profile.link if profile else {}), **meter.params}
        quirks = profile.quirks if profile else frozenset[str]()
        rules = plan.read_rules(params, quirks, gap=0 if knowledge is None else plan.HOPEFUL_GAP)
        unit_id = plan.number(params, "unit", 1)
        wire = Wire(link, rtu=_FRAMINGS[meter.framing])
        wire.start(buffered)
        return ModbusSession(wire, unit_id, profile, rules, timeout, knowledge=knowledge or Knowledge())

    def serve(self, link: Link, model: MeterModel) -> None:
        """Play a meter; called again for the same link, one more unit on its wire. The framing is told by the client."""
        server.serve(link, model)

    def spoil(self, data: bytes, defect: Defect) -> bytes:
        """Both framings have a unit id, RTU a CRC."""
        return recognising.spoil(data, defect)

    def imitate(self, profile: MeterProfile) -> MeterProfile:
        """It has no object lists."""
        return profile

    def check_file(self, profile: MeterProfile) -> None:
        """There is nothing but what all need."""

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:  # noqa: ARG002 - a frame is whole or not
        """MBAP by its header, RTU by its CRC."""
        return recognising.sniff(data, at)

    def spoken(self, secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:  # noqa: ARG002 - there are none
        """Modbus knows no secrets."""
        return ()

    def reseal(self, data: bytes) -> bytes:
        """Nothing is ever masked."""
        return data

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
        """The transaction identifier of MBAP."""
        same = request[2:] == recorded[2:] and recognising.is_mbap(request) and answer[:2] == recorded[:2]
        return request[:2] + answer[2:] if same else None

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """Registers that were read, by the meter file."""
        from headend.drivers.modbus import overhearing  # noqa: PLC0415 - for recordings only

        return overhearing.overhear(exchanges, profile)

    def explain(self, data: bytes, secrets: Secrets = NO_SECRETS) -> Layer:  # noqa: ARG002 - nothing is ciphered
        """Decode frames, or a bare PDU."""
        return explaining.explain(data)

    def translate(self, data: bytes, secrets: Secrets = NO_SECRETS) -> str:  # noqa: ARG002 - ditto
        """Modbus has no notation in XML."""
        raise CapabilityError("modbus: there is no notation in XML")

"""The DLMS driver as everybody above the drivers sees it; see `headend.drivers.base.Driver`.

Both roles, and with them the cryptography, are loaded when a link is given: checking a meter file or explaining octets needs
neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.drivers.base import (
    NO_SECRETS,
    Capability,
    Defect,
    Ear,
    Layer,
    MeterModel,
    Notification,
    Overheard,
    Push,
    PushList,
    Secrets,
    Sniff,
    Sniffed,
)
from headend.drivers.dlms import explaining, parameters, redaction, refs, sniffing, spoiling
from headend.drivers.knowledge import Knowledge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headend.drivers.dlms.client import DlmsSession
    from headend.drivers.dlms.security import Counters
    from headend.drivers.ground import Ground, Probe
    from headend.model.discovery import Examination, Sighting
    from headend.model.meter import Meter
    from headend.model.objects import ObjectEntry, ObjectRef
    from headend.model.profile import MeterProfile
    from headend.model.reading import Value
    from headend.protocols.base import CounterStore
    from headend.transport.link import Link


class DlmsDriver:
    """DLMS/COSEM over the TCP or UDP wrapper and over HDLC."""

    name = "dlms"
    ports: tuple[int, ...] = (4059, 4060, 3333, 8899, 4061)
    capabilities = frozenset(Capability) - {Capability.FREEZE, Capability.RESET, Capability.SECRETS}

    def __init__(self) -> None:
        self._store: CounterStore | None = None
        self._counters: Counters | None = None

    def use_counters(self, store: CounterStore) -> None:
        """Keep invocation counters there; without a store they are asked from each meter once in each process."""
        if store is not self._store:
            self._store, self._counters = store, None

    @property
    def counters(self) -> Counters:
        """The invocation counters of all meters that this driver speaks with."""
        if self._counters is None:
            from headend.drivers.dlms.security import Counters  # noqa: PLC0415 - see above

            self._counters = Counters(self._store)
        return self._counters

    def probes(self) -> Sequence[Probe]:
        """Listen, an AARQ in the wrapper, SNRM; an AARQ without either where everything is to be tried."""
        from headend.drivers.dlms.probing.sighting import probes  # noqa: PLC0415 - see above

        return probes(self.ports)

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Secrets = NO_SECRETS) -> Examination:
        """All that the meter shows without a password; with those of its owner, what it shows to him."""
        from headend.drivers.dlms.probing.examining import examine  # noqa: PLC0415 - see above

        return await examine(ground, sighting, secrets, self.counters)

    def parse_ref(self, text: str) -> ObjectRef:
        """`3/1-0:1.8.0.255/2`: class, logical name, attribute (2 when it is left out); raises ConfigError."""
        return refs.parse_ref(text)

    def holds_secret(self, ref: ObjectRef) -> bool:
        """Associations and security setups."""
        return refs.cosem_ref(ref.address).class_id in refs.SECRET_CLASSES

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """The published OBIS codes, or those of a pattern: `3/1-0:[1-99].7.0.255/2`."""
        from headend.drivers.dlms.candidates import candidates  # noqa: PLC0415 - see above

        return candidates(text)

    def check_params(self, params: Mapping[str, Value]) -> None:
        """Check link and association parameters; raises ConfigError naming the parameter."""
        parameters.check_params(params)

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
    ) -> DlmsSession:
        """Open the framing, associate, and return the session."""
        from headend.drivers.dlms import client  # noqa: PLC0415 - see above

        known = knowledge or Knowledge()
        return await client.attach(
            *(link, meter, profile, secrets),
            counters=self.counters,
            buffered=buffered,
            timeout=timeout,
            knowledge=known,
        )

    def serve(self, link: Link, model: MeterModel) -> None:
        """Play a meter; the framing is told by the client."""
        from headend.drivers.dlms import server  # noqa: PLC0415 - see above

        server.serve(link, model)

    def spoil(self, data: bytes, defect: Defect) -> bytes:
        """Wrapper frames have an address, HDLC frames all of it."""
        return spoiling.spoil(data, defect)

    def imitate(self, profile: MeterProfile) -> MeterProfile:
        """Registers and load profiles get values; what else is listed shows what it held, or nothing."""
        from headend.drivers.dlms import imitating  # noqa: PLC0415 - for emulators alone

        return imitating.imitate(profile)

    def check_file(self, profile: MeterProfile) -> None:
        """Make the objects of a virtual meter."""
        from headend.drivers.dlms import meter_file  # noqa: PLC0415 - see above

        meter_file.check(profile)

    def begin(self, model: MeterModel) -> None:
        """Plan the pushes of a meter."""
        from headend.drivers.dlms import server  # noqa: PLC0415 - see above

        server.begin(model)

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:
        """A wrapper frame, an HDLC frame or an APDU without either."""
        return sniffing.sniff(data, at, silent=silent)

    def listen(self, max_octets: int) -> Ear:
        """Hear pushes in HDLC, the wrapper or M-Bus long frames, whichever comes."""
        from headend.drivers.dlms.hearing import DlmsEar  # noqa: PLC0415 - see above

        return DlmsEar(max_octets)

    def unseal(self, push: Push, meter: Meter, profile: MeterProfile | None, secrets: Secrets) -> Push:
        """Decipher a push and refuse one that came before or is less protected than the meter's parameters say."""
        from headend.drivers.dlms import unsealing  # noqa: PLC0415 - see above

        security = parameters.parameters_of(meter, profile).security
        return unsealing.unseal(push, meter, security, secrets, self.counters)

    def understand(
        self, push: Push, meter: Meter | None, profile: MeterProfile | None, lists: Sequence[PushList] = ()
    ) -> Notification:
        """Decode a push in plain."""
        from headend.drivers.dlms import understanding  # noqa: PLC0415 - see above

        zone = parameters.parameters_of(meter, profile).zone if meter is not None else None
        return understanding.understand(push, zone, profile, lists)

    def spoken(self, secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
        """The password, which the AARQ holds in plain, and keys, which nobody should send so."""
        return redaction.spoken(secrets)

    def reseal(self, data: bytes) -> bytes:
        """HDLC frames have check sequences; the wrapper has none."""
        return redaction.reseal(data)

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
        """The invoke-id of a service in a wrapper frame."""
        return redaction.renumber(request, recorded, answer)

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """GET of attributes, in HDLC, the wrapper or neither."""
        from headend.drivers.dlms import overhearing  # noqa: PLC0415 - for recordings only

        return overhearing.overhear(exchanges, profile)

    def explain(self, data: bytes, secrets: Secrets = NO_SECRETS) -> Layer:
        """Decode frames, or a bare APDU; `secrets` as `explaining.KEYS` names them decipher it."""
        return explaining.explain(data, secrets)

    def translate(self, data: bytes, secrets: Secrets = NO_SECRETS) -> str:
        """All APDUs in the XML notation of DLMS translators."""
        from headend.drivers.dlms import translating  # noqa: PLC0415 - loads all decoders

        return translating.translate(data, secrets)

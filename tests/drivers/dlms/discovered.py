"""Discovery over links in memory: a ground, the probes and the examination at one virtual meter, and all that was sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from headend.drivers.base import NO_SECRETS, Secrets
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.ground import Budget, Ground
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.discovery import Examination, Sighting
from headend.model.meter import Endpoint, EndpointKind, Secret
from headend.model.profile import MeterProfile
from headend.protocols.base import NEED_DATA, ApduReceived, Role
from headend.protocols.dlms.acse import Aarq, Mechanism, Rlrq
from headend.protocols.dlms.apdu.get import GetRequestNext, GetRequestNormal, GetRequestWithList
from headend.protocols.dlms.apdu.short import ReadRequest
from headend.protocols.dlms.apdu.table import Apdu, decode_apdu
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import Kind
from headend.protocols.hdlc.segmentation import Assembly
from headend.protocols.wrapper import Header, WrapperFraming
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver
from headend.transport.memory import memory_pair

NOON = 1_763_726_400_000
PROFILE = Library().get("generic-dlms-1p")
HARMLESS = (Aarq, Rlrq, GetRequestNormal, GetRequestNext, GetRequestWithList, ReadRequest)
"""All that discovery says."""
DRIVER = DlmsDriver()


class Place:
    """A meter, or whoever else is behind `opened`, and what went to it in each connection."""

    def __init__(self, opened: Callable[[], Link], *, budget: Budget | None = None, timeout: float = 2.0) -> None:
        loop = asyncio.get_running_loop()
        self.driver = DlmsDriver()
        self.sent: list[bytearray] = []
        self.links: list[Link] = []
        self._opened = opened
        self.ground = Ground(
            Endpoint(kind=EndpointKind.MEMORY, host="meter"),
            open_link=self._open_link,
            time=loop.time,
            sleep=asyncio.sleep,
            clock=lambda: NOON + round(loop.time() * 1000),
            budget=budget,
            timeout=timeout,
        )

    async def _open_link(self, _endpoint: Endpoint, _timeout: float) -> Link:
        assert all(not link.is_open for link in self.links), "one link at a time"
        link = self._opened()
        octets = bytearray()
        self.sent.append(octets)
        self.links.append(link)
        return Spied(link, octets)

    async def sight(self, framing: str = "") -> Sighting | None:
        """What the probes find, one after the other; those of one framing alone, as virtual meters speak all of them."""
        for probe in self.driver.probes():
            if framing in {"", probe.framing} and (not probe.exhaustive or framing == "apdu"):
                found = await probe.run(self.ground)
                if found:
                    return found[0]
        return None

    async def examine(
        self, sighting: Sighting | None = None, secrets: Secrets = NO_SECRETS, *, framing: str = ""
    ) -> Examination:
        """The whole way; who examines leaves no link open."""
        sighting = sighting or await self.sight(framing)
        assert sighting is not None
        examination = await self.driver.examine(self.ground, sighting, secrets)
        assert all(not link.is_open for link in self.links)
        return examination

    def apdus(self) -> list[Apdu]:
        """Everything that was said, decoded."""
        return [decode_apdu(apdu) for octets in self.sent for apdu in spoken(bytes(octets))]


class Spied(LinkAround[Link]):
    """A link whose octets are kept on their way out."""

    __slots__ = ("octets",)

    def __init__(self, link: Link, octets: bytearray) -> None:
        super().__init__(link)
        self.octets = octets

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        self.link.set_receiver(receiver, buffered)

    def write(self, data: bytes) -> None:
        self.octets += data
        self.link.write(data)


def spoken(octets: bytes) -> list[bytes]:
    """The APDUs in what was sent over one connection, in whatever framing."""
    if octets[:1] == b"\x7e":
        return list(_in_hdlc(octets))
    framing = WrapperFraming(Role.SERVER, delimiter=Delimiter(), header=Header.AS_RECEIVED, client_sap=16, server_sap=1)
    framing.receive_data(octets)
    apdus = []
    while (event := framing.next_event()) is not NEED_DATA:
        assert isinstance(event, ApduReceived)
        apdus.append(event.apdu)
    return apdus


def _in_hdlc(octets: bytes) -> Iterator[bytes]:
    extractor = FrameExtractor()
    extractor.receive_data(octets)
    assembly = Assembly(llc_required=True)
    last = -1
    while (frame := extractor.next_frame()) is not NEED_DATA:
        if frame.kind is Kind.SNRM:
            last = -1
        if frame.kind is Kind.I and frame.send_sequence != last:
            last = frame.send_sequence
            apdu = assembly.add(frame.information, more=frame.segmented)
            if apdu:
                yield apdu


def assert_harmless(apdus: list[Apdu]) -> None:
    """No password, no proof, nothing written or invoked."""
    assert {type(apdu) for apdu in apdus} <= set(HARMLESS)
    for apdu in apdus:
        if isinstance(apdu, Aarq):
            assert apdu.mechanism != Mechanism.LLS
            assert apdu.authentication_value.strip(b"headend-probing!") == b""
            assert apdu.mechanism is not None or not apdu.authentication_value


def virtual_meter(
    params: Mapping[str, str], secrets: Mapping[str, bytes], profile: MeterProfile = PROFILE
) -> VirtualMeter:
    """A virtual meter of ours."""
    return VirtualMeter(
        MeterKind(profile, lambda: NOON), 7, 0, params, {name: Secret(octets) for name, octets in secrets.items()}
    )


def served(meter: VirtualMeter, around: Callable[[Link], Link] = lambda link: link) -> Callable[[], Link]:
    """Connections to a meter, whose end of them may be spoilt."""

    def opened() -> Link:
        near, far = memory_pair()
        DRIVER.serve(around(far), meter)
        return near

    return opened

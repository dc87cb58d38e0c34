"""What a meter told somebody else: the attributes that were read in a recorded conversation, in plain. Pure."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from headend.drivers.base import Overheard
from headend.drivers.dlms.answers import Scale, to_scale
from headend.drivers.dlms.listing import OBJECT_LIST, info_of
from headend.drivers.dlms.plans import scaler_ref
from headend.drivers.dlms.refs import SECRET_CLASSES, VALUE_CLASSES, CosemRef
from headend.errors import DecodeError, RemoteProtocolError
from headend.protocols.base import NEED_DATA
from headend.protocols.dlms.apdu.get import (
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithDatablock,
    GetResponseWithList,
    decode_results,
)
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.octets import Reader
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import Kind
from headend.protocols.hdlc.segmentation import Assembly
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headend.model.objects import ObjectInfo, ObjectRef, RawValue
    from headend.model.profile import MeterProfile

_HEADER: Final = 8
_FLAG: Final = 0x7E
_INVOKE_ID: Final = 0x0F
_MOST: Final = 1 << 20
"""octets of one attribute in blocks"""


def overhear(exchanges: Sequence[tuple[bytes, bytes]], _profile: MeterProfile | None) -> Overheard:
    """The values of plain attributes, with the scalers that were read, too; what is in the object list where that was read."""
    first = next((request for request, _ in exchanges if request), b"")
    framing = "hdlc" if first[:1] == bytes((_FLAG,)) else "wrapper" if first[:2] == b"\x00\x01" else "apdu"
    said = _Said()
    sides = (_Side(framing), _Side(framing))
    for request, answer in exchanges:
        for apdu in sides[0].apdus(request):
            said.asked(apdu)
        for apdu in sides[1].apdus(answer):
            said.answered(apdu)
    seen: dict[ObjectRef, tuple[RawValue, int, str]] = {}
    infos: dict[ObjectRef, ObjectInfo] = {}
    for ref, raw in said.values.items():
        if (
            ref.member == OBJECT_LIST.member
            and ref.class_id in VALUE_CLASSES - SECRET_CLASSES
            and not isinstance(raw, list)
        ):
            scale = _scale(ref, said.values)
            seen[ref.object_ref] = raw, scale.exponent, scale.unit
            infos[ref.object_ref] = info_of(ref.class_id, ref.obis)
    params = {}
    if framing == "wrapper" and len(first) >= _HEADER:
        client, server = int.from_bytes(first[2:4], "big"), int.from_bytes(first[4:6], "big")
        params = {"client": str(client), "server": str(server)}
    return Overheard(seen=seen, infos=infos, framing=framing, params=params)


def _scale(ref: CosemRef, values: Mapping[CosemRef, RawValue]) -> Scale:
    """As the meter told it to whoever asked; where nobody did, the value is taken as it is."""
    at = scaler_ref(ref)
    if at is None or at not in values:
        return Scale(0, "")
    found = to_scale(values[at], at)
    return found if isinstance(found, Scale) else Scale(0, "")


class _Said:
    """Requests that wait for their answers, and the values that came."""

    def __init__(self) -> None:
        self.values: dict[CosemRef, RawValue] = {}
        self._waiting: dict[int, tuple[CosemRef | None, ...]] = {}
        self._blocks = bytearray()

    def asked(self, apdu: bytes) -> None:
        """A request of the client."""
        with suppress(RemoteProtocolError):
            match decode_apdu(apdu):
                case GetRequestNormal(invoke, attribute, None):
                    self._expect(invoke, (_ref(attribute),))
                case GetRequestWithList(invoke, attributes):
                    self._expect(invoke, tuple(_ref(each) if access is None else None for each, access in attributes))

    def answered(self, apdu: bytes) -> None:
        """An answer of the meter."""
        with suppress(RemoteProtocolError):
            match decode_apdu(apdu):
                case GetResponseNormal(invoke, result):
                    self._take(self._waiting.pop(invoke & _INVOKE_ID, ()), (result,))
                case GetResponseWithList(invoke, results):
                    self._take(self._waiting.pop(invoke & _INVOKE_ID, ()), results)
                case GetResponseWithDatablock(invoke, last, _, bytes(octets)):
                    self._add(invoke & _INVOKE_ID, octets, last=last)

    def _expect(self, invoke: int, refs: tuple[CosemRef | None, ...]) -> None:
        self._waiting[invoke & _INVOKE_ID] = refs
        self._blocks.clear()

    def _add(self, invoke: int, octets: bytes, *, last: bool) -> None:
        self._blocks += octets[: _MOST - len(self._blocks)]
        if last:
            whole, refs = bytes(self._blocks), self._waiting.pop(invoke, ())
            self._blocks.clear()
            self._take(refs, (whole,) if len(refs) == 1 else decode_results(Reader(whole)))

    def _take(self, refs: Sequence[CosemRef | None], results: Sequence[object]) -> None:
        for ref, result in zip(refs, results, strict=False):
            if ref is not None and isinstance(result, bytes):
                value, end = decode_data(result)
                if end == len(result):
                    self.values[ref] = value


def _ref(attribute: tuple[int, bytes, int]) -> CosemRef:
    class_id, name, member = attribute
    return CosemRef(class_id, Obis.from_bytes(name), member)


class _Side:
    """What one of the two says, out of its frames."""

    def __init__(self, framing: str) -> None:
        self._framing = framing
        self._frames = FrameExtractor()
        self._assembly = Assembly(llc_required=True)
        self._last = -1
        self._rest = b""

    def apdus(self, octets: bytes) -> Iterator[bytes]:
        """The APDUs that these octets complete."""
        if self._framing == "hdlc":
            yield from self._in_hdlc(octets)
        elif self._framing == "wrapper" and not self._rest and octets[:1] not in (b"", b"\x00"):
            yield octets  # some meters leave the wrapper out
        elif self._framing == "wrapper":
            self._rest += octets
            while len(self._rest) >= _HEADER and self._rest[:2] == b"\x00\x01":
                end = _HEADER + int.from_bytes(self._rest[6:8], "big")
                if len(self._rest) < end:
                    return
                apdu, self._rest = self._rest[_HEADER:end], self._rest[end:]
                yield apdu
            if self._rest[:2] not in (b"", b"\x00", b"\x00\x01"):
                self._rest = b""
        elif octets:
            yield octets

    def _in_hdlc(self, octets: bytes) -> Iterator[bytes]:
        self._frames.receive_data(octets)
        while True:
            try:
                frame = self._frames.next_frame()
                if frame is NEED_DATA:
                    return
                if frame.kind in (Kind.SNRM, Kind.UA):
                    self._last = -1
                if frame.kind is Kind.I and frame.send_sequence != self._last:
                    self._last = frame.send_sequence
                    apdu = self._assembly.add(frame.information, more=frame.segmented)
                    if apdu:
                        yield apdu
            except (RemoteProtocolError, DecodeError):
                continue

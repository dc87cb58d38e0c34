"""HDLC frames octet by octet (IEC 62056-46, 6.4), also damaged ones, and those found in the middle of a stream. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.scribe import Field, Octets, Scribe
from headend.drivers.dlms.explaining.stream import Stream, payload_layer
from headend.drivers.dlms.explaining.words import hex_text
from headend.errors import RemoteProtocolError
from headend.protocols.hdlc.address import Address, decode_address
from headend.protocols.hdlc.crc import RESIDUE, fcs16
from headend.protocols.hdlc.frame import FINAL, FLAG, MIN_LENGTH, SEGMENTED, TYPE_3, Kind

LLC: Final = {b"\xe6\xe6\x00": "E6 E6 00 (command)", b"\xe6\xe7\x00": "E6 E7 00 (response)"}
"""LLC headers (IEC 62056-46, 5.3)."""

_KINDS: Final = {kind.value: kind for kind in Kind}
_MID_FRAME: Final = "the recording begins within a frame: these octets are its end"
_TELLING: Final = 16
"""Octets whose parity is no accident."""
_PARAMETERS: Final = {
    0x05: "maximum information field, transmit",
    0x06: "maximum information field, receive",
    0x07: "window size, transmit",
    0x08: "window size, receive",
}
_NAMED_SAPS: Final = {0x00: "no station", 0x01: "management", 0x10: "public client"}


@dataclass(frozen=True, slots=True)
class Found:
    """A frame in the input: places of its parts, and whether its check sequences hold."""

    start: int
    """of the format field"""
    source_at: int
    control_at: int
    header_end: int
    end: int
    destination: Address
    source: Address
    problem: str
    """what is wrong, in words; empty for a good frame"""

    @property
    def has_information(self) -> bool:
        """False when the HCS is the only check sequence."""
        return self.end > self.header_end


def parse_frame(data: bytes, start: int) -> Found | None:
    """The frame whose format field is at `start`, good or damaged; None when these octets look like no frame at all."""
    if len(data) - start < 2 or data[start] >> 4 != TYPE_3 >> 12:
        return None
    length = (data[start] & 0x07) << 8 | data[start + 1]
    try:
        destination, source_at = decode_address(data, start + 2)
        source, control_at = decode_address(data, source_at)
    except RemoteProtocolError:
        return None
    header_end, end = control_at + 3, start + length
    if length < MIN_LENGTH or end < header_end or header_end < end < header_end + 3:
        return None
    problem = _problem(data, start, header_end, end)
    return Found(start, source_at, control_at, header_end, end, destination, source, problem)


def _problem(data: bytes, start: int, header_end: int, end: int) -> str:
    """What is wrong with a frame, by the first part that is."""
    if len(data) < header_end:
        return f"the frame is cut short: {end - start} octets are told, {len(data) - start} are there"
    header_name = "HCS" if end > header_end else "FCS"
    wrong = _check(header_name, data, start, header_end)
    if wrong:
        return wrong
    if len(data) < end:
        return f"the frame is cut short: {end - start} octets are told, {len(data) - start} are there"
    wrong = _check("FCS", data, start, end)
    if wrong or len(data) == end or data[end] == FLAG:
        return wrong
    return f"no closing flag (at octet {end}, expected 7E, got {data[end]:02X})"


def _check(name: str, data: bytes, start: int, end: int) -> str:
    if fcs16(data[start:end], 0) == RESIDUE:
        return ""
    expected = fcs16(data[start : end - 2], 0).to_bytes(2, "little").hex()
    return f"{name} wrong (at octet {end - 2}, expected {expected}, got {data[end - 2 : end].hex()})"


def find_frames(data: bytes) -> list[Found]:
    """All good frames, in their order. The opening flag of the first one may be missing."""
    found: list[Found] = []
    at = 0
    first = parse_frame(data, 0)
    if first is not None and not first.problem:
        found.append(first)
        at = first.end
    while (flag := data.find(FLAG, at)) >= 0:
        frame = parse_frame(data, flag + 1)
        if frame is not None and not frame.problem:
            found.append(frame)
            at = frame.end
        else:
            at = flag + 1
    return found


def explain_hdlc(data: bytes, dialogue: Dialogue) -> Layer:
    """All frames of the input, what lies between them, and the APDUs that they carry."""
    octets = Octets.whole(data)
    session = _Session(octets, dialogue)
    good = find_frames(data)
    at = 0
    for frame in good:
        session.gap(at, frame.start, lost=bool(session.frames))
        session.frame(frame)
        at = frame.end
    session.gap(at, len(data), lost=False)
    return session.finish(good=len(good))


class _Session:
    """Goes through the pieces of an input and puts segments together."""

    def __init__(self, octets: Octets, dialogue: Dialogue) -> None:
        self.octets = octets
        self.frames = 0
        self._stream = Stream(dialogue)
        self._segments: list[Octets] = []
        self._stations: tuple[Address, Address] | None = None
        self._headed: Address | None = None

    def gap(self, start: int, end: int, *, lost: bool) -> None:
        """Octets without a good frame: damaged frames where they can be told, and what cannot be."""
        data = self.octets.data
        at = start
        while at < end:
            while at < end and data[at] == FLAG:
                at += 1
            if at >= end:
                return
            flagged = at > 0 and data[at - 1] == FLAG
            frame = parse_frame(data, at) if flagged or at == 0 else None
            if frame is not None and self._belongs(frame, end):
                self.frame(frame)
                at = frame.end
                continue
            stop = data.find(FLAG, at, end)
            stop = end if stop < 0 else stop
            self._skip(at, stop, lost=lost, begun=flagged and data[at] >> 4 == TYPE_3 >> 12 and stop == len(data))
            at = stop

    def _belongs(self, frame: Found, end: int) -> bool:
        """True for a damaged frame that ends where frames end, or that is cut off by the end of the input."""
        data = self.octets.data
        if frame.end > len(data):
            return end == len(data)
        return frame.end <= end and (frame.end == len(data) or data[frame.end] == FLAG)

    def _skip(self, start: int, end: int, *, lost: bool, begun: bool) -> None:
        """Octets that belong to no frame: before the first one they are the end of what was not recorded."""
        where = (
            "before the first frame" if not self.frames else "after the last frame" if not lost else "between frames"
        )
        fields: tuple[Field, ...] = (("octets", hex_text(self.octets.data[start:end]), start, end - start),)
        if not self.frames and not begun and not lost:
            fields += (("peculiarity", _MID_FRAME, start, end - start),)
        error = ""
        if begun:
            error = f"the frame is cut short (at octet {end})"
        elif lost:
            error = f"{end - start} octets are no frame (at octet {start}, expected a format field A0 to AF)"
        self._stream.layers.append(
            Layer(name=f"skipped, {where}", offset=start, length=end - start, fields=fields, error=error)
        )

    def frame(self, frame: Found) -> None:
        """One frame, good or damaged."""
        self.frames += 1
        octets = self.octets
        control = octets.data[frame.control_at : frame.control_at + 1]
        kind = _kind(control[0]) if control else None
        fields = list(_header_fields(octets.data, frame, kind))
        layers: list[Layer] = []
        information = octets.part(frame.header_end, max(frame.header_end, frame.end - 2))
        segmented = bool(octets.data[frame.start] << 8 & SEGMENTED)
        complete: Octets | None = None
        if frame.has_information and information.data:
            if kind in {Kind.I, Kind.UI}:
                fields += _llc_field(information, frame.header_end)
                fields += self._peculiarities(frame, kind, information, segmented=segmented)
                complete = self._assemble(frame, information, fields, segmented=segmented)
            elif kind in {Kind.SNRM, Kind.UA}:
                layers.append(_parameters(information))
            else:
                fields.append(("information", hex_text(information.data), frame.header_end, len(information.data)))
        alone = complete is not None and complete.places == information.places[-len(complete.data) :]
        if complete is not None and alone:
            layers.append(payload_layer(complete, self._stream.dialogue))
        if frame.has_information and frame.end <= len(octets.data):
            fields.append(("FCS", _checked(octets.data, frame.start, frame.end), frame.end - 2, 2))
        name = f"HDLC {kind.name if kind else 'frame'}{' (segment)' if segmented else ''} (IEC 62056-46, 6.4)"
        fields.sort(key=lambda field: field[2])
        start = frame.start - (frame.start > 0)
        end = min(frame.end + 1, len(octets.data))
        error = frame.problem or ("" if kind else f"control field unknown (at octet {frame.control_at})")
        self._stream.layers.append(
            Layer(name=name, offset=start, length=end - start, fields=tuple(fields), layers=tuple(layers), error=error)
        )
        if complete is not None:
            if not alone:
                self._put_together(complete)
            self._stream.joined(complete)

    def _peculiarities(
        self, frame: Found, kind: Kind | None, information: Octets, *, segmented: bool
    ) -> Iterator[Field]:
        """What this frame does in the way of some meters."""
        at, size = frame.header_end, len(information.data)
        headed = information.data[:3] in LLC
        if kind is Kind.UI and segmented and not self._segments:
            yield ("peculiarity", "segments in UI frames, as some meters push them", at, size)
        if kind is Kind.UI and not headed and not self._segments and self._headed == frame.source:
            yield ("peculiarity", "no LLC header: only the first frame of the push has it", at, size)
        self._headed = frame.source if headed else self._headed
        inside = self.octets.data.find(FLAG, frame.start, frame.end)
        if inside >= 0 and not frame.problem:
            yield ("peculiarity", "7E within the frame: its length tells where it ends", inside, 1)

    def _assemble(self, frame: Found, information: Octets, fields: list[Field], *, segmented: bool) -> Octets | None:
        """The APDU that a frame completes, without the LLC header; None while segments are missing."""
        stations = (frame.source, frame.destination)
        if stations != self._stations:
            self._missing()
            self._stations = stations
        self._segments.append(information)
        if segmented or len(self._segments) > 1:
            what = f"{len(information.data)} octets, segment {len(self._segments)}{'' if segmented else ' (the last)'}"
            fields.append(("information", what, frame.header_end, len(information.data)))
        if segmented:
            return None
        whole = self._segments[0] if len(self._segments) == 1 else Octets.join(self._segments)
        self._segments = []
        return whole.part(3) if whole.data[:3] in LLC else whole

    def _put_together(self, octets: Octets) -> None:
        offset, length = octets.span(0, len(octets.data))
        layers = (payload_layer(octets, self._stream.dialogue),)
        self._stream.layers.append(
            Layer(name="put together from segments", offset=offset, length=length, layers=layers)
        )

    def _missing(self) -> None:
        """Segments whose last one never comes: what is there of their APDU is shown."""
        if not self._segments:
            return
        count = len(self._segments)
        whole = Octets.join(self._segments)
        self._segments = []
        self._stream.problems.append(
            f"the APDU is incomplete: more segments were announced after segment {count} (at octet {whole.after})"
        )
        self._put_together(whole.part(3) if whole.data[:3] in LLC else whole)

    def finish(self, *, good: int) -> Layer:
        """One layer over all frames."""
        self._missing()
        if not good and _is_seven_bits(self.octets.data):
            self._stream.problems.append(
                "every octet has even parity: recorded as 8N1 where the line is 7E1, so a bit of each is lost (at octet 0)"
            )
        if not self.frames and not self._stream.problems and not any(each.error for each in self._stream.layers):
            self._stream.problems.append("no HDLC frame (at octet 0, expected 7E A0 to 7E AF)")
        return self._stream.finish("HDLC (IEC 62056-46)", len(self.octets.data))


def _is_seven_bits(data: bytes) -> bool:
    """True for a recording whose highest bits are parity bits."""
    return len(data) >= _TELLING and all(octet.bit_count() % 2 == 0 for octet in data)


def _kind(control: int) -> Kind | None:
    if not control & 0x01:
        return Kind.I
    return _KINDS.get(control & 0x0F if not control & 0x02 else control & ~FINAL)


def _header_fields(data: bytes, frame: Found, kind: Kind | None) -> Iterator[Field]:
    start, length = frame.start, frame.end - frame.start
    segmented = ", segmented: more follow" if data[start] << 8 & SEGMENTED else ""
    yield ("frame format", f"type 3, {length} octets{segmented}", start, 2)
    yield ("destination", _address(frame.destination), start + 2, frame.source_at - start - 2)
    yield ("source", _address(frame.source), frame.source_at, frame.control_at - frame.source_at)
    control = data[frame.control_at : frame.control_at + 1]
    if control:
        yield ("control", _control(control[0], kind), frame.control_at, 1)
    if frame.header_end <= len(data):
        name = "HCS" if frame.has_information else "FCS"
        yield (name, _checked(data, start, frame.header_end), frame.header_end - 2, 2)


def _checked(data: bytes, start: int, end: int) -> str:
    shown = data[end - 2 : end].hex().upper()
    return f"{shown} (right)" if fcs16(data[start:end], 0) == RESIDUE else f"{shown} (wrong)"


def _address(address: Address) -> str:
    top = (1 << (14 if address.size == 4 else 7)) - 1
    upper = "all stations" if address.upper == top else str(address.upper)
    if address.size == 1:
        name = _NAMED_SAPS.get(address.upper, "")
        return f"{upper} ({name})" if name else upper
    lower = "all stations" if address.lower == top else str(address.lower)
    return f"{address.upper}/{address.lower} (upper {upper}, lower {lower})"


def _control(control: int, kind: Kind | None) -> str:
    final = ", P/F" if control & FINAL else ""
    if kind is None:
        return f"{control:02X} (unknown)"
    numbers = ""
    if kind is Kind.I:
        numbers = f", N(S) {control >> 1 & 0x07}, N(R) {control >> 5}"
    elif kind in {Kind.RR, Kind.RNR}:
        numbers = f", N(R) {control >> 5}"
    return f"{control:02X} ({kind.name}{numbers}{final})"


def _llc_field(information: Octets, at: int) -> list[Field]:
    name = LLC.get(information.data[:3])
    return [("LLC", name, at, 3)] if name else []


def _parameters(information: Octets) -> Layer:
    """What SNRM proposes and UA confirms (IEC 62056-46, 6.4.4.4.3.2)."""
    scribe = Scribe(information)
    error = ""
    try:
        scribe.number("format", 1, lambda value: f"{value:02X}")
        while scribe.reader.left:
            scribe.number("group", 1, lambda value: f"{value:02X}" + (" (negotiation)" if value == 0x80 else ""))
            start = scribe.reader.offset
            end = scribe.reader.length("group length") + scribe.reader.offset
            scribe.note("group length", str(end - scribe.reader.offset), start)
            while scribe.reader.offset < end:
                start = scribe.reader.offset
                parameter = scribe.reader.u8("parameter")
                value = int.from_bytes(scribe.reader.string("parameter"), "big")
                scribe.note(_PARAMETERS.get(parameter, f"parameter {parameter:02X}"), str(value), start)
    except RemoteProtocolError as problem:
        error = information.say(problem)
    return scribe.layer("parameters (IEC 62056-46, 6.4.4.4.3.2)", error)

"""The ear of a listener: octets of whatever framing carries pushes, to whole APDUs and what they say of their sender. Pure.

```text
7E A0 …           HDLC: UI frames, segmented ones too, and the I-frames of Kaifa
00 01 … 0F        wrapper, in TCP and in datagrams
68 L L 68         M-Bus long frames
0F, C2, DB …      APDUs without wrapper, at the beginning of what comes or between wrapper frames
```

The framing is told by the first thing that begins like one of them; what comes before, such as the rest of a frame, is noise.
Wrapper streams that lose step are searched anew; the other framings find their own way back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from headend.drivers.base import Push, Sniff, Sniffed
from headend.drivers.dlms.explaining.tags import APDU_NAMES
from headend.drivers.dlms.nodes import read_data
from headend.drivers.dlms.pushes import read_push
from headend.drivers.dlms.sniffing import sniff
from headend.drivers.dlms.unsealing import is_sealed
from headend.drivers.mapping import octets_to_text
from headend.errors import DecodeError, RemoteProtocolError
from headend.model.meter import MeterIdentity
from headend.protocols.base import NEED_DATA, ApduReceived, NeedData, Role
from headend.protocols.dlms.apdu.notification import DataNotification, decode_data_notification
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.dlms.octets import Reader
from headend.protocols.gateway import REQUEST, decode_routed
from headend.protocols.hdlc import HdlcListener
from headend.protocols.hdlc.frame import FLAG, MAX_HEADER, decode_header
from headend.protocols.mbus import START as MBUS_START
from headend.protocols.mbus import MbusFraming
from headend.protocols.wrapper import HEADER_LENGTH, VERSION, WrapperFraming
from headend.standards.flag import from_octets
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Iterator

Heard: TypeAlias = HdlcListener | WrapperFraming | MbusFraming

GENERAL_BLOCK: Final = 0xE0
_LAST_BLOCK: Final = 0x80
_TITLED: Final = frozenset({0xDB, 0xDC})
_TITLED_SECOND: Final = frozenset({0xDD, 0xDF})
"""general-ciphering and general-signing: a transaction id stands before the title of the originator."""
_PUSHES: Final = frozenset({0x0F, 0xC2, 0xCA, 0xD2, 0xDB, 0xDC, 0xDF})
"""What a meter says unasked, without wrapper; one of these in noise is told by what follows it."""
_ANSWERS: Final = frozenset(
    tag for tag, name in APDU_NAMES.items() if name.endswith("-response") or name in {"AARE", "RLRE"}
)
_BEGINNINGS: Final = frozenset({REQUEST, *APDU_NAMES})
_NAME: Final = Obis(0, 0, 42, 0, 0, 255)
_SERIALS: Final = (Obis(0, 0, 96, 1, 0, 255), Obis(0, 0, 96, 1, 1, 255))
NOBODY: Final = MeterIdentity()
_MAX_WRONG: Final = 16
"""Complaints about one read; more noise than that says nothing more."""


class DlmsEar:
    """See `headend.drivers.base.Ear`."""

    __slots__ = ("_blocks", "_framing", "_max", "_waiting", "named")

    def __init__(self, max_octets: int) -> None:
        self.named = False
        self._max = max_octets
        self._framing: Heard | None = None
        self._waiting = bytearray()
        self._blocks = Blocks(max_octets)

    def receive(self, data: bytes) -> list[Push | RemoteProtocolError]:
        """The pushes that these octets complete, and what was wrong between them."""
        found: list[Push | RemoteProtocolError] = []
        wrong = 0
        for each in self._take(data):
            wrong += isinstance(each, RemoteProtocolError)
            if wrong <= _MAX_WRONG or isinstance(each, Push):
                found.append(each)
        return found

    def boundary(self) -> None:
        """A datagram ends here: each begins with a frame."""
        self._waiting.clear()
        if isinstance(self._framing, HdlcListener):
            self._framing.abandon()
        elif not isinstance(self._framing, MbusFraming):
            self._framing = None

    def _take(self, data: bytes) -> Iterator[Push | RemoteProtocolError]:
        while data:
            if self._framing is None:
                self._waiting += data
                data = self._hunt()
            framing = self._framing
            if framing is None:
                return
            yield from self._hear(framing, data)
            # A wrapper stream that has lost step is gone; what follows is searched for a new beginning.
            data, self._waiting = bytes(self._waiting), bytearray()

    def _hunt(self) -> bytes:
        """Choose the framing by the first thing that begins like one; the octets from there on."""
        waiting = self._waiting
        for at in range(len(waiting)):
            framing = begins(waiting, at, self._max)
            if framing is None:
                continue
            octets, self._waiting = bytes(waiting[at:]), bytearray()
            if framing is NEED_DATA:
                self._waiting += octets
                return b""
            self._framing = framing
            return octets
        waiting.clear()
        return b""

    def _hear(self, framing: Heard, data: bytes) -> Iterator[Push | RemoteProtocolError]:
        try:
            framing.receive_data(data)
        except RemoteProtocolError as error:
            self._framing = None
            yield error
            return
        while True:
            try:
                event = framing.next_event()
                if event is NEED_DATA:
                    return
                if isinstance(event, ApduReceived) and (push := self._push(framing, event)) is not None:
                    yield push
            except RemoteProtocolError as error:
                yield error
                if isinstance(framing, WrapperFraming):
                    self._framing = None
                    self._waiting += framing.take_rest()
                    return

    def _push(self, framing: Heard, event: ApduReceived) -> Push | None:
        """The push that an APDU is or completes, None for an answer that comes too late for whoever has asked.

        Raises RemoteProtocolError for what cannot be one.
        """
        routed = decode_routed(event.apdu)
        apdu = routed.apdu if routed is not None else event.apdu
        if apdu[0] == GENERAL_BLOCK:
            joined = self._blocks.add(apdu, (event.source, event.destination))
            if joined is None:
                return None
            apdu = joined
        if apdu[0] in _ANSWERS:
            return None
        if apdu[0] not in APDU_NAMES:
            raise DecodeError("APDU", offset=0, expected="a known tag", got=f"{apdu[0]:02x}")
        device = octets_to_text(routed.device) if routed is not None else ""
        address = _address(framing, event.source)
        sealed = is_sealed(apdu)
        identity = NOBODY if self.named else sender_of(apdu, device)
        return Push(octets=apdu, identity=identity, address=address, sealed=sealed)


def begins(data: bytearray, at: int, max_octets: int) -> Heard | NeedData | None:
    """The framing that begins at an offset, NEED_DATA when it may, None when none does."""
    first = data[at]
    if first == FLAG:
        if at + 1 == len(data):
            return NEED_DATA
        try:
            header = decode_header(data[at + 1 : at + 1 + MAX_HEADER])
        except RemoteProtocolError:
            return None
        return NEED_DATA if header is None else HdlcListener(max_octets)
    if first in _PUSHES and at == 0:
        told = sniff(bytes(data))
        if isinstance(told, Sniffed):
            return _wrapper(max_octets)
        return NEED_DATA if told is Sniff.NEED_DATA else None
    if first == VERSION[0]:
        head = data[at : at + HEADER_LENGTH + 1]
        if head[:2] != VERSION[: len(head)]:
            return None
        if len(head) <= HEADER_LENGTH:
            return NEED_DATA
        plausible = 0 < (head[6] << 8 | head[7]) <= max_octets and head[HEADER_LENGTH] in _BEGINNINGS
        return _wrapper(max_octets) if plausible else None
    if first == MBUS_START:
        head = data[at : at + 4]
        if len(head) < 4:
            return NEED_DATA
        return MbusFraming(Role.CLIENT) if head[1] == head[2] and head[3] == MBUS_START else None
    return None


def _wrapper(max_octets: int) -> WrapperFraming:
    """For the wrapper, and for pushes without it in between."""
    limit = min(max_octets, 0xFFFF)
    return WrapperFraming(Role.SERVER, max_apdu=limit, delimiter=Delimiter(limit, firsts=_PUSHES))


def _address(framing: Heard, source: int) -> str:
    if isinstance(framing, WrapperFraming) and not source:
        return "apdu"
    if isinstance(framing, HdlcListener):
        return f"hdlc {source >> 14}/{source & 0x3FFF}"
    return f"{'wrapper' if isinstance(framing, WrapperFraming) else 'mbus'} {source}"


class Blocks:
    """General block transfers, one at a time, joined without an answer: pushes come in unconfirmed streams."""

    __slots__ = ("_data", "_from", "_limit", "_lost", "_next")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._from: tuple[int, int] | None = None
        self._next = 1
        self._lost = False

    def add(self, apdu: bytes, stations: tuple[int, int]) -> bytes | None:
        """The APDU that a block completes; raises RemoteProtocolError when one is missing, which ends the transfer."""
        reader = Reader(apdu, 1)
        control = reader.u8("block control")
        number = reader.u16("block number")
        reader.u16("block number acknowledged")
        data = reader.string("block data")
        reader.finish("general-block-transfer")
        if number == 1:
            self._data.clear()
            self._from, self._next, self._lost = stations, 1, False
        if self._lost or (self._from == stations and number < self._next):
            return None  # the rest of what was given up, or a block that came twice
        if self._from != stations or number != self._next:
            self._lost = True
            raise RemoteProtocolError("block of a push missing", expected=str(self._next), got=str(number))
        self._data += data
        self._next += 1
        if len(self._data) > self._limit:
            self._lost = True
            raise RemoteProtocolError("push too long", expected=f"at most {self._limit} octets", got="more")
        if not control & _LAST_BLOCK:
            return None
        self._from, self._next = None, 1
        whole = bytes(self._data)
        self._data.clear()
        if not whole:
            raise RemoteProtocolError("a general block transfer of nothing")
        return whole


def sender_of(apdu: bytes, device: str = "") -> MeterIdentity:
    """What an APDU says, without a key, about who sent it; `device` is the address behind a gateway."""
    try:
        title = _title(apdu)
        name, serial = _named(apdu) if apdu[0] == DataNotification.TAG else (b"", "")
    except RemoteProtocolError:
        title, name, serial = b"", b"", ""
    return MeterIdentity(
        system_title=title.hex(),
        manufacturer=from_octets(name) or from_octets(title) or "",
        logical_device_name=octets_to_text(name),
        serial=device or serial,
    )


def _title(apdu: bytes) -> bytes:
    reader = Reader(apdu, 1)
    if apdu[0] in _TITLED_SECOND:
        reader.string("transaction id")
    elif apdu[0] not in _TITLED:
        return b""
    title = reader.string("system title")
    return title if len(title) == 8 else b""


def _named(apdu: bytes) -> tuple[bytes, str]:
    """Logical device name and serial number in the body of a push."""
    said = decode_data_notification(Reader(apdu, 1))
    name, serials = b"", {}
    for each in read_push(read_data(said.body), tagged_date_time=said.tagged_date_time):
        raw = each.raw
        octets = raw.encode() if isinstance(raw, str) else raw if isinstance(raw, bytes) else b""
        if each.obis == _NAME:
            name = octets
        elif each.obis in _SERIALS:
            serials[each.obis] = octets_to_text(octets)
    return name, next((serials[obis] for obis in _SERIALS if obis in serials), "")

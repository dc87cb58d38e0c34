"""APDUs that meters push without a link, to whatever address they please: consumer ports, dial-in modems."""

from __future__ import annotations

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, NeedData
from headend.protocols.hdlc.address import Address
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import Frame, Kind
from headend.protocols.hdlc.segmentation import MAX_APDU, Assembly


class HdlcListener:
    """Takes UI frames, and I-frames (Kaifa pushes with those), from anybody to anybody; says nothing itself."""

    __slots__ = ("_assembly", "_extractor", "_stations")

    def __init__(self, max_apdu: int = MAX_APDU) -> None:
        """`max_apdu` bounds what is put together from segments."""
        self._extractor = FrameExtractor()
        self._assembly = Assembly(llc_required=False, limit=max_apdu)
        self._stations: tuple[Address, Address] | None = None

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; RemoteProtocolError when the bounded buffer overflows."""
        self._extractor.receive_data(data)

    def abandon(self) -> None:
        """Give up an incomplete frame: a datagram has ended."""
        self._extractor.abandon()

    def next_event(self) -> ApduReceived | NeedData:
        """The next APDU, or NEED_DATA; RemoteProtocolError for wrong octets, which are dropped."""
        while (frame := self._next_frame()) is not NEED_DATA:
            stations = (frame.source, frame.destination)
            if stations != self._stations:
                self._assembly.data.clear()
                self._stations = stations
            if frame.kind in {Kind.UI, Kind.I}:
                apdu = self._assembly.add(frame.information, more=frame.segmented)
                if apdu:
                    return ApduReceived(apdu, frame.source.packed, frame.destination.packed, unsolicited=True)
        return NEED_DATA

    def _next_frame(self) -> Frame | NeedData:
        try:
            return self._extractor.next_frame()
        except RemoteProtocolError:
            self._assembly.data.clear()
            raise

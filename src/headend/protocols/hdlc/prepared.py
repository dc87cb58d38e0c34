"""Requests that are sent again and again: the frame is looked up, not built."""

from __future__ import annotations

from headend.protocols.hdlc.frame import build_frame
from headend.protocols.hdlc.segmentation import Segment


class PreparedFrames:
    """One APDU as a single I-frame, by control field; each is built when first needed.

    It belongs to a pair of addresses, not to a connection: meters with equal addresses share it.
    """

    __slots__ = ("addresses", "apdu", "frames", "segment", "size")

    def __init__(self, llc: bytes, apdu: bytes, addresses: bytes) -> None:
        self.apdu = apdu
        self.addresses = addresses
        self.segment: Segment = (llc + apdu, False)
        self.size = len(llc) + len(apdu)
        self.frames: dict[int, bytes] = {}

    def build(self, control: int) -> bytes:
        """Make and keep the frame with this control field."""
        frame = self.frames[control] = build_frame(self.addresses, control, self.segment[0])
        return frame

"""The numbers of the I-frames of one link, and those not yet acknowledged (IEC 62056-46, 6.4.3.3 and 6.4.4.4.3.3)."""

from __future__ import annotations

from headend.errors import RemoteProtocolError
from headend.protocols.hdlc.frame import FINAL
from headend.protocols.hdlc.segmentation import Segment


class Window:
    """`outgoing` is what is to be sent; its first `unacknowledged` items have been sent, up to number `send_next` - 1."""

    __slots__ = ("outgoing", "receive_next", "send_next", "size", "unacknowledged")

    def __init__(self) -> None:
        self.outgoing: list[Segment] = []
        self.reset(1)

    def reset(self, size: int) -> None:
        """A new link: all numbers zero, nothing to send, at most `size` frames unacknowledged."""
        self.size = size
        self.send_next = self.receive_next = self.unacknowledged = 0
        self.outgoing.clear()

    def is_valid(self, receive_sequence: int) -> bool:
        """True when the peer can have counted so far."""
        return (receive_sequence - self.send_next + self.unacknowledged) & 7 <= self.unacknowledged

    def acknowledge(self, receive_sequence: int) -> bool:
        """Drop the frames before `receive_sequence`, which the peer has got; true when there were any."""
        first = (self.send_next - self.unacknowledged) & 7
        if not self.is_valid(receive_sequence):
            raise RemoteProtocolError(
                "HDLC N(R) of a frame never sent", expected=f"{first} to {self.send_next}", got=str(receive_sequence)
            )
        count = (receive_sequence - first) & 7
        del self.outgoing[:count]
        self.unacknowledged -= count
        return count > 0

    def go_back(self) -> None:
        """Everything unacknowledged is to be sent again."""
        self.send_next = (self.send_next - self.unacknowledged) & 7
        self.unacknowledged = 0

    def take_burst(self) -> list[tuple[int, Segment]]:
        """What may be sent now, with its control fields, the last with the P/F bit; it counts as sent."""
        end = min(len(self.outgoing), self.size)
        burst: list[tuple[int, Segment]] = []
        for index in range(self.unacknowledged, end):
            control = self.receive_next << 5 | self.send_next << 1 | (FINAL if index == end - 1 else 0)
            burst.append((control, self.outgoing[index]))
            self.send_next = (self.send_next + 1) & 7
        self.unacknowledged = end
        return burst

    def add_sent(self, segment: Segment) -> None:
        """A frame that was sent by itself, when nothing else was waiting."""
        self.outgoing.append(segment)
        self.unacknowledged = 1
        self.send_next = (self.send_next + 1) & 7

    def take_all_acknowledged(self) -> None:
        """The next frame came in, and acknowledges everything that was sent."""
        self.outgoing.clear()
        self.unacknowledged = 0
        self.receive_next = (self.receive_next + 1) & 7

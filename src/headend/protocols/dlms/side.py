"""What a connection is to its owner whatever is said: octets in and out, what was agreed on, and invoke ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.protocols.dlms.apdu.access import LONG_CONFIRMED, LONG_HIGH_PRIORITY, LONG_INVOKE_ID
from headend.protocols.dlms.apdu.descriptor import CONFIRMED, HIGH_PRIORITY, INVOKE_ID
from headend.protocols.dlms.blocks import MIN_PDU
from headend.protocols.dlms.channel import NO_LIMIT

if TYPE_CHECKING:
    from headend.protocols.base import Framing, Role
    from headend.protocols.dlms.channel import Channel
    from headend.protocols.dlms.initiate import Conformance


class Side:
    """One side of an association, as far as the conversation does not matter; `DlmsConnection` is the rest."""

    __slots__ = ("_channel", "_framing", "_invoke_id", "_long_invoke_id", "role")

    def __init__(self, role: Role, framing: Framing, channel: Channel) -> None:
        """`framing` plays the same role, and `channel` goes over it."""
        self.role = role
        self._framing = framing
        self._channel = channel
        self._invoke_id = self._long_invoke_id = 0

    def open(self) -> None:
        """Client: open the framing; LinkOpened follows from `next_event`."""
        self._framing.open()

    def close(self) -> None:
        """Close the framing; LinkReleased follows from `next_event`."""
        self._framing.close()

    @property
    def conformance(self) -> Conformance:
        """What both sides have agreed on."""
        return self._channel.conformance

    @property
    def max_send_pdu(self) -> int:
        """The longest APDU that the other side takes."""
        return self._channel.max_pdu

    @property
    def max_request(self) -> int:
        """The longest request before it is ciphered."""
        return self._channel.max_pdu - self._channel.overhead

    @property
    def longest_answer(self) -> int:
        """The longest answer before it is ciphered, in general blocks if both sides do them."""
        return self._channel.longest - self._channel.overhead

    def take_refused(self) -> int:
        """How many notifications were dropped since the last call because they are not protected as they must be."""
        refused, self._channel.refused = self._channel.refused, 0
        return refused

    def next_invoke_id(self) -> int:
        """The invoke-id-and-priority octet of the next request: confirmed, high priority, another id than the last."""
        self._invoke_id = (self._invoke_id + 1) & INVOKE_ID
        return CONFIRMED | HIGH_PRIORITY | self._invoke_id

    def next_long_invoke_id(self) -> int:
        """The same for ACCESS, in four octets."""
        self._long_invoke_id = (self._long_invoke_id + 1) & LONG_INVOKE_ID
        return LONG_CONFIRMED | LONG_HIGH_PRIORITY | self._long_invoke_id

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when the bounded buffer overflows."""
        self._framing.receive_data(data)

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        return self._framing.data_to_send()

    def _agree(self, conformance: Conformance, limit: int, dedicated_key: bytes = b"") -> None:
        """An association stands; `limit` is the longest APDU that the other side has named, 0 for none."""
        least = MIN_PDU + self._channel.overhead
        self._channel.agreed(conformance, max(limit, least) if limit else NO_LIMIT, dedicated_key)

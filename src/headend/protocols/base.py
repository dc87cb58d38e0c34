"""What every protocol shares: roles, NEED_DATA, the bounded receive buffer, and the shapes of what it works with."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from headend.errors import RemoteProtocolError


class Role(enum.Enum):
    """The side we play: CLIENT is the head-end, SERVER is the meter."""

    CLIENT = "client"
    SERVER = "server"


class NeedData(enum.Enum):
    """Type of the NEED_DATA sentinel, so that `event is NEED_DATA` narrows."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return self.value


NEED_DATA: Final = NeedData.NEED_DATA
"""Returned by `next_event()` when the bytes so far are a valid beginning. Never for bytes that can never be valid."""


class ReceiveBuffer:
    """Octets received and not yet consumed, bounded.

    Overflow raises RemoteProtocolError: nobody who keeps to a protocol gets there, because each framing consumes complete
    frames and drops noise as it goes.
    """

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        """`limit` is the greatest number of octets kept, e.g. the largest frame plus one read."""
        self._data = bytearray()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add received octets; raises RemoteProtocolError beyond the limit (the buffer is emptied then)."""
        if len(self._data) + len(data) > self._limit:
            size = len(self._data) + len(data)
            self._data.clear()
            raise RemoteProtocolError(
                "too many octets without a frame", expected=f"at most {self._limit}", got=str(size)
            )
        self._data += data

    def view(self) -> bytearray:
        """The octets themselves, for parsing in place; do not keep a reference over `consume`."""
        return self._data

    def consume(self, count: int) -> bytes:
        """Take `count` octets off the front and return them."""
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._data.clear()


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """The framing layer is ready to carry APDUs (HDLC: UA received or sent; wrapper: at once)."""


@dataclass(frozen=True, slots=True)
class LinkReleased:
    """The peer ended the data link (HDLC: DISC or DM)."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApduReceived:
    """One complete APDU. `source` and `destination` are wrapper wPorts or packed HDLC addresses (upper << 14 | lower).

    `unsolicited` is true for what arrives outside request and response (HDLC UI frames).
    """

    apdu: bytes
    source: int
    destination: int
    unsolicited: bool = False


class Delimiter(Protocol):
    """Finds the ends of APDUs in a stream that has no frames."""

    def find_end(self, octets: bytes | bytearray) -> int | None:
        """The offset after the APDU that `octets` begin with; None while it is not complete.

        After None the next call is for the same octets and more. Raises RemoteProtocolError for what no APDU begins with; then,
        and after an end, the next call is for another APDU.
        """


FramingEvent: TypeAlias = LinkOpened | LinkReleased | ApduReceived


class Framing(Protocol):
    """Carries APDUs over a byte stream: the wrapper or HDLC. Injected into the DLMS connection, which knows neither.

    The same calls in both roles. Every method is synchronous and does no I/O; `data_to_send` is flushed by the owner after
    each call. Errors in received bytes raise RemoteProtocolError from `next_event`, after which the framing has dropped
    the offending octets and goes on with the following ones.
    """

    role: Role

    @property
    def is_open(self) -> bool:
        """True when APDUs can be sent."""

    def open(self) -> None:
        """Client: start the link (HDLC queues SNRM). Wrapper: nothing to do. LinkOpened follows from `next_event`."""

    def close(self) -> None:
        """Client: end the link (HDLC queues DISC). LinkReleased follows from `next_event`."""

    def send_apdu(self, apdu: bytes) -> None:
        """Queue one APDU, segmented as negotiated; raises LocalProtocolError when not open."""

    def send_unsolicited(self, apdu: bytes) -> None:
        """Queue one APDU that nobody has asked for; where the sides take turns, outside of them."""

    def pass_turn(self) -> None:
        """What was received wants no answer: where the sides take turns, let the other one go on."""

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; raises RemoteProtocolError when the bounded buffer overflows."""

    def next_event(self) -> FramingEvent | NeedData:
        """The next complete event, or NEED_DATA; raises RemoteProtocolError for octets that can never be valid."""

    def data_to_send(self) -> bytes:
        """Octets to write now; empty when there are none."""


class StandingFraming:
    """What framings share that have no link to be opened: they are open from the start until `close()`."""

    __slots__ = ("_buffer", "_events", "_open", "_out")

    def __init__(self, limit: int) -> None:
        """`limit` bounds the octets that wait."""
        self._buffer = ReceiveBuffer(limit)
        self._events: list[FramingEvent] = []
        self._out = bytearray()
        self._open = True

    @property
    def is_open(self) -> bool:
        """True until `close()`."""
        return self._open

    def open(self) -> None:
        """There is nothing to negotiate: LinkOpened follows at once."""
        self._open = True
        self._events.append(LinkOpened())

    def close(self) -> None:
        """Nothing goes over the wire: LinkReleased follows at once."""
        self._open = False
        self._events.append(LinkReleased())

    def send_apdu(self, apdu: bytes) -> None:
        """Queue one APDU."""
        raise NotImplementedError

    def send_unsolicited(self, apdu: bytes) -> None:
        """The same as `send_apdu`."""
        self.send_apdu(apdu)

    def pass_turn(self) -> None:
        """Nobody waits for a turn here."""

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; RemoteProtocolError when the bounded buffer overflows."""
        self._buffer.append(data)

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        out = bytes(self._out)
        self._out.clear()
        return out


class CounterStore(Protocol):
    """Hands out counters by name. What it has handed out must outlive the process, and a loss of power."""

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""

    def reserve(self, name: str, least: int, count: int) -> int:
        """Reserve `count` counters in a row, none below `least`, and return the first. Nobody gets one of them again."""


class Connection(Protocol):
    """One protocol conversation. `next_event` promises: an event, NEED_DATA, or RemoteProtocolError; anything else is our bug."""

    role: Role

    def send(self, event: Any) -> None:  # noqa: ANN401 - each protocol has its own closed set of events
        """Queue an event; raises LocalProtocolError when the state forbids it."""

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets."""

    def next_event(self) -> Any:  # noqa: ANN401
        """The next event, or NEED_DATA."""

    def data_to_send(self) -> bytes:
        """Octets to write now."""

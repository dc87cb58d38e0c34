"""The gateway protocol of DLMS (Green Book 10.10): APDUs for meters behind a concentrator, by network and device address.

```text
 E6 request  | network id | length of the address | physical device address | APDU
 E7 response |   one octet                           often digits in ASCII
```

The prefix stands before each APDU, ciphered or not, within whatever carries APDUs to the gateway. An APDU without it is the
gateway's own. A push of a meter bears E6 too: it is a request of that meter, sent on by the gateway.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import ApduReceived, Framing, FramingEvent, NeedData, Role

REQUEST: Final = 0xE6
RESPONSE: Final = 0xE7
MAX_ADDRESS: Final = 0xFF
_HEADER: Final = 3
_SENT: Final = {Role.CLIENT: REQUEST, Role.SERVER: RESPONSE}


class Routed(NamedTuple):
    """An APDU and the meter that it is for, or from."""

    response: bool
    network: int
    device: bytes
    apdu: bytes


def prefix(tag: int, network: int, device: bytes) -> bytes:
    """What stands before each APDU; raises LocalProtocolError for an address that does not fit."""
    if not 0 <= network <= 0xFF or not 0 < len(device) <= MAX_ADDRESS:
        raise LocalProtocolError(f"no meter behind a gateway: network {network}, {len(device)} octets of address")
    return bytes((tag, network, len(device))) + device


def decode_routed(data: bytes) -> Routed | None:
    """The parts of a routed APDU; None for one without a prefix. Raises RemoteProtocolError when it is cut short."""
    if data[:1] not in {b"\xe6", b"\xe7"}:
        return None
    end = _HEADER + (data[2] if len(data) > 2 else 0)
    if len(data) <= end:
        raise RemoteProtocolError(
            "gateway prefix cut short", offset=len(data), expected=f"more than {end} octets", got=str(len(data))
        )
    return Routed(data[0] == RESPONSE, data[1], data[_HEADER:end], data[end:])


class Carrier(Framing, Protocol):
    """A framing that prepares requests, as the wrapper and HDLC do."""

    def prepare(self, apdu: bytes) -> Any:  # noqa: ANN401 - each framing prepares in its own way
        """What `request` sends for this APDU."""

    def request(self, prepared: Any) -> bytes:  # noqa: ANN401
        """The octets of a prepared request."""


class GatewayFraming:
    """A `Framing` around another one: everything sent is for one meter behind the gateway (or, as SERVER, from it).

    What comes from the gateway itself, or from other meters behind it, is passed on as `unsolicited` when it is a request;
    an answer of another meter raises RemoteProtocolError, because it answers nothing of ours.
    """

    def __init__(self, inner: Carrier, *, network: int, device: bytes) -> None:
        self.role = inner.role
        self.inner = inner
        self._network, self._device = network, device
        self._prefix = prefix(_SENT[inner.role], network, device)

    @property
    def is_open(self) -> bool:
        """Whether the inner framing is."""
        return self.inner.is_open

    def open(self) -> None:
        """Open the inner framing."""
        self.inner.open()

    def close(self) -> None:
        """Close the inner framing."""
        self.inner.close()

    def send_apdu(self, apdu: bytes) -> None:
        """Queue one APDU with the prefix before it."""
        self.inner.send_apdu(self._prefix + apdu)

    def send_unsolicited(self, apdu: bytes) -> None:
        """Queue one APDU that nobody has asked for."""
        self.inner.send_unsolicited(self._prefix + apdu)

    def pass_turn(self) -> None:
        """Let the other side go on."""
        self.inner.pass_turn()

    def prepare(self, apdu: bytes) -> Any:  # noqa: ANN401 - what the inner framing makes of it
        """The frame of an APDU that will be sent again and again by `request`."""
        return self.inner.prepare(self._prefix + apdu)

    def request(self, prepared: Any) -> bytes:  # noqa: ANN401
        """`send_apdu` and `data_to_send` in one."""
        return self.inner.request(prepared)

    def receive_apdu(self, _data: bytes) -> None:
        """There is no short way through a gateway: None, and nothing has happened."""

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets."""
        self.inner.receive_data(data)

    def data_to_send(self) -> bytes:
        """Octets to write now."""
        return self.inner.data_to_send()

    def next_event(self) -> FramingEvent | NeedData:
        """The next event of the inner framing, an APDU without its prefix."""
        event = self.inner.next_event()
        if not isinstance(event, ApduReceived):
            return event
        routed = decode_routed(event.apdu)
        if routed is None:
            # An exception of the gateway itself answers our request: it says that the meter cannot be reached.
            return event
        ours = (routed.network, routed.device) == (self._network, self._device)
        if routed.response and not ours:
            raise RemoteProtocolError(
                "answer of another meter behind the gateway", expected=self._device.hex(), got=routed.device.hex()
            )
        asked = routed.response is (self.role is Role.CLIENT)
        return ApduReceived(
            routed.apdu, event.source, event.destination, unsolicited=event.unsolicited or not (ours and asked)
        )

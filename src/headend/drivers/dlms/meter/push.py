"""Push setup (class 40): a data-notification with the values of some objects, to a destination, when somebody says `push`.

Who says so is a client, or a script that a schedule or a monitor runs. The message is ciphered under the global key, in a
general-glo-ciphering APDU, where the security policy of the meter's client protects responses; otherwise it is plain.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple
from zlib import crc32

from headend.drivers.base import MeterModel, Outgoing
from headend.drivers.dlms.meter.forms import CAPTURED, DATE_TIME, OCTETS, UINT8, UINT16, enumerated, record, rows
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method
from headend.drivers.dlms.meter.load_profiles import LoadBuffer
from headend.drivers.dlms.meter.times import NEVER, following
from headend.drivers.dlms.meter_objects import CLOCK, Refused
from headend.drivers.dlms.meter_security import setup_of, title_of
from headend.errors import HeadendError
from headend.model.meter import EndpointKind
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.axdr import (
    NULL,
    Data,
    Tag,
    array,
    decode_typed,
    encode_data,
    encode_length,
    enum,
    octet_string,
    structure,
    uint8,
    uint16,
)
from headend.protocols.dlms.clock import CosemDateTime
from headend.protocols.dlms.selective import EntryDescriptor
from headend.protocols.hdlc.address import Address
from headend.protocols.wrapper import wrap

PUSH_SETUP: Final = 40
_OBJECTS, _DESTINATION, _WINDOWS, _RANDOM, _RETRIES, _DELAY = range(2, 8)
_TCP, _UDP, _HDLC = 0, 1, 5
_TRANSPORTS: Final = {_TCP: EndpointKind.TCP, _UDP: EndpointKind.UDP, _HDLC: EndpointKind.TCP}
_BUFFER: Final = (7, 2)
_A_XDR: Final = 0
_MOST_OBJECTS: Final = 100
_LONG_INVOKE_ID: Final = 0xFFFFFF
_STRUCTURE: Final = bytes((Tag.STRUCTURE,))
_NO_VALUE: Final = encode_data(NULL)
_GRACE: Final = 60_000
"""How long after its last try a push may still go out that is overdue; an older one is not sent any more."""


class Destination(NamedTuple):
    """Where pushes go, and how they are framed."""

    transport: int
    host: str
    port: int


class PushSetup(Function):
    """What is pushed, where to, when at the earliest, and how often it is tried."""

    class_id = PUSH_SETUP
    holds: ClassVar[Holds] = {
        _OBJECTS: Held(rows(CAPTURED, most=_MOST_OBJECTS), array()),
        _DESTINATION: Held(
            record(enumerated(_TCP, _UDP, _HDLC), OCTETS, enumerated(_A_XDR)),
            structure(enum(_TCP), octet_string(b""), enum(_A_XDR)),
        ),
        _WINDOWS: Held(rows(record(DATE_TIME, DATE_TIME)), array()),
        _RANDOM: Held(UINT16, uint16(0)),
        _RETRIES: Held(UINT8, uint8(0)),
        _DELAY: Held(UINT16, uint16(0)),
    }

    def methods(self) -> dict[int, Method]:
        """Push."""
        return {1: lambda model, _: self.push(model)}

    def destination(self, model: MeterModel) -> Destination | None:
        """Where pushes go; None where that is not `HOST:PORT`."""
        transport, octets, _ = self.plain(model, _DESTINATION)
        host, _, port = octets.decode("latin-1").rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 0xFFFF:
            return None
        return Destination(transport, host.strip("[]"), int(port))

    def is_heard(self, model: MeterModel) -> bool:
        """True when it has a destination."""
        return self.destination(model) is not None

    def push(self, model: MeterModel) -> None:
        """Hand a message over to be sent; raises Refused without a destination."""
        destination, now = self.destination(model), model.now()
        if destination is None:
            raise Refused(DataAccessResult.OTHER_REASON)
        not_before = self._not_before(model, now)
        if not_before == NEVER:
            raise Refused(DataAccessResult.OTHER_REASON)
        retries, delay = self.plain(model, _RETRIES), self.plain(model, _DELAY)
        model.post(
            Outgoing(
                kind=_TRANSPORTS[destination.transport],
                host=destination.host,
                port=destination.port,
                octets=self._framed(model, destination.transport, self._apdu(model)),
                not_before=not_before,
                not_after=not_before + retries * delay * 1000 + _GRACE,
                retries=retries,
                delay=delay,
            )
        )

    def _not_before(self, model: MeterModel, now: int) -> int:
        """The beginning of the communication window that is open now or opens next, and a random while."""
        zone, at = self.plant.zone_of(model), now
        windows = [tuple(map(CosemDateTime.from_bytes, window)) for window in self.plain(model, _WINDOWS)]
        if windows:
            begins = [following(start.date, start.time, now, zone) for start, _ in windows]
            ends = [following(end.date, end.time, now, zone) for _, end in windows]
            is_open = any(end < begin for begin, end in zip(begins, ends, strict=True))
            at = now if is_open else min(begins)
        spread: int = self.plain(model, _RANDOM)
        if not spread or at == NEVER:
            return at
        return at + crc32(title_of(model) + now.to_bytes(8, "big")) % (spread * 1000 + 1)

    # --- the message ---

    def _apdu(self, model: MeterModel) -> bytes:
        """The data-notification, ciphered where the policy wants it."""
        sent = (self.state(model) or 0) + 1 & _LONG_INVOKE_ID
        self.remember(model, sent)
        values = [self._value(model, each) for each in self.plain(model, _OBJECTS)]
        body = _STRUCTURE + encode_length(len(values)) + b"".join(values)
        apdu = DataNotification(sent, self._time(model), body).encode()
        setup = setup_of(model, self.plant.party(model).clients[0])
        ciphering = setup.make_ciphering(setup.client_title) if setup is not None else None
        return apdu if ciphering is None else ciphering.protect(apdu)

    def _time(self, model: MeterModel) -> bytes:
        """The time of the meter's clock, without its type."""
        clock = next(iter(self.plant.of_class(CLOCK)), None)
        shown = clock.made.reads[2](self.plant.inside(model)) if clock is not None else b""
        return shown[2:] if len(shown) == 14 else b""

    def _value(self, model: MeterModel, pushed: list[object]) -> bytes:
        """One object of the list, encoded; null-data for what cannot be read."""
        class_id, name, attribute_id, index = pushed
        assert isinstance(class_id, int)  # noqa: S101 - the form of the list
        assert isinstance(name, bytes)  # noqa: S101 - ditto
        assert isinstance(attribute_id, int)  # noqa: S101 - ditto
        assert isinstance(index, int)  # noqa: S101 - ditto
        try:
            buffer = self.plant.functions.get((class_id, name))
            if isinstance(buffer, LoadBuffer) and (class_id, attribute_id) == _BUFFER and index:
                held = decode_typed(self.plant.read(model, class_id, name, 7))[0].value
                first = max(1, int(held if isinstance(held, int) else 0) - index + 1)
                return b"".join(buffer.pieces(self.plant.inside(model), EntryDescriptor(first).to_selection()))
            encoded = self.plant.read(model, class_id, name, attribute_id)
        except (Refused, HeadendError):
            return _NO_VALUE
        return _element(encoded, index) if index else encoded

    def _framed(self, model: MeterModel, transport: int, apdu: bytes) -> bytes:
        """One frame, or several of HDLC."""
        addressing = self.plant.party(model).parameters.addressing
        if transport != _HDLC:
            return wrap(apdu, addressing.server, addressing.client)
        framing = addressing.make_hdlc_server()
        framing.send_unsolicited(apdu, Address.client(addressing.client))
        return framing.data_to_send()


def _element(encoded: bytes, index: int) -> bytes:
    """The element of a structure or an array, from 1."""
    value = decode_typed(encoded)[0].value
    if isinstance(value, tuple) and index <= len(value) and isinstance(value[index - 1], Data):
        return encode_data(value[index - 1])
    return _NO_VALUE

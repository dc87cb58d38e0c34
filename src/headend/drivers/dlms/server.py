"""The meter's side: a virtual meter on a link. No task, no timer; an association exists only while somebody has one.

There are two ways for a request. The fast one answers a GET of an open association from the octets in which it came:
the descriptor is looked up in the table of the meter file, and one frame is written. Everything else goes through framing
and connection, which know all cases; both ways give the same octets.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_conversation import MeterConversation
from headend.drivers.dlms.meter_file import MeterFile, meter_file
from headend.drivers.dlms.meter_objects import Refused
from headend.drivers.dlms.meter_opening import MeterOpening, is_call
from headend.drivers.dlms.meter_security import setup_of
from headend.drivers.dlms.meter_silence import Silence
from headend.errors import HeadendError, LinkError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, FramingEvent, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.delimiting import FIRST_OCTETS
from headend.protocols.hdlc import HdlcConnection
from headend.protocols.wrapper import HEADER_LENGTH, VERSION, WrapperFraming, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headend.drivers.base import MeterModel
    from headend.drivers.dlms.meter_clients import Device
    from headend.drivers.dlms.meter_objects import Association, Read
    from headend.drivers.dlms.parameters import Parameters
    from headend.transport.link import Link

_AARQ: Final = 0x60
_NEVER: Final = bytes(32)
"""What no frame begins with."""
_GET_NORMAL: Final = b"\xc0\x01"
_GET_WITH_LIST: Final = b"\xc0\x03"
_NORMAL: Final = 13
"""Octets of a GET request for one attribute without selective access."""
_LIST_HEAD: Final = 4
_LIST_ITEM: Final = 10
_SHORT: Final = 0x80
"""Values shorter than this are answered with a ready head."""


def serve(link: Link, model: MeterModel) -> None:
    """Play a meter on a link; the framing is told by the client. Raises ConfigError for a meter file that is wrong, KeyMissing."""
    file, parameters = _file_of(model)
    saps = _saps(file.devices(parameters))
    link.set_receiver(MeterLink(link, model, file, parameters, saps))


def begin(model: MeterModel) -> None:
    """Let a meter do what it does of its own accord; raises as `serve` does."""
    file, _ = _file_of(model)
    file.plant.be_up_to_date(model)


def _file_of(model: MeterModel) -> tuple[MeterFile, Parameters]:
    """The compiled meter file and the parameters of a meter."""
    file = meter_file(model.profile)
    parameters = file.parameters(frozenset(model.params.items()))
    setups = [setup_of(model, client) for client in file.clients(parameters)]  # says now what is missing or wrong
    secured = any(setup is not None for setup in setups)
    if secured or parameters.short_names or parameters.versions != file.versions:
        file = meter_file(model.profile, secured=secured, short=parameters.short_names, versions=parameters.versions)
    return file, parameters


@lru_cache(maxsize=256)
def _saps(devices: Sequence[Device]) -> frozenset[int]:
    return frozenset(device.sap for device in devices)


@lru_cache(maxsize=256)
def _request_heads(client_sap: int, server_sap: int) -> tuple[bytes, bytes]:
    """What a GET of one attribute begins with before the invoke id, and what any request begins with before its length."""
    frame = wrap(_GET_NORMAL + bytes(_NORMAL - 2), client_sap, server_sap)
    return frame[: HEADER_LENGTH + 2], frame[:6]


@lru_cache(maxsize=256)
def _answer_heads(client_sap: int, server_sap: int, count: int) -> tuple[bytes, ...]:
    """What comes before the invoke id in answers to a GET, wrapper header and all, by the length of the value."""
    answers = (b"\xc4\x01" + bytes(2 + length) for length in range(count))
    return tuple(wrap(answer, server_sap, client_sap)[: HEADER_LENGTH + 2] for answer in answers)


def _is_frame(data: bytes) -> bool:
    """True when the length in the wrapper header is that of what follows it."""
    return len(data) > HEADER_LENGTH and data[6] << 8 | data[7] == len(data) - HEADER_LENGTH


class MeterLink:
    """The owner of a link in the meter role."""

    __slots__ = (
        "_association", "_conversations", "_current", "_devices", "_file", "_framing", "_framings", "_hdlc", "_head", "_link",
        "_list_head", "_model", "_opening", "_parameters", "_reads", "_replies", "_silence",
    )  # fmt: skip

    def __init__(
        self, link: Link, model: MeterModel, file: MeterFile, parameters: Parameters, devices: frozenset[int]
    ) -> None:
        """`devices` are the addresses of its logical devices."""
        self._link = link
        self._model = model
        self._file = file
        self._reads: Mapping[bytes, Read] = {}  # those of the association
        self._devices = devices
        self._parameters = parameters
        self._framings: Sequence[WrapperFraming | HdlcConnection] = ()
        self._framing: WrapperFraming | HdlcConnection | None = None  # that of the last APDU
        self._conversations: dict[tuple[int, int], MeterConversation] = {}  # by client and logical device
        self._current: MeterConversation | None = None  # that of the last APDU
        self._association: Association | None = None
        self._head = self._list_head = _NEVER  # of the wrapper frames that may be answered the fast way
        self._hdlc: HdlcConnection | None = None  # while its frames may
        self._opening: MeterOpening | None = None  # while it is under way
        self._replies: tuple[bytes, ...] = ()
        self._silence: Silence | None = None  # while HDLC has been opened

    def data_received(self, data: bytes) -> None:
        """Octets came in: answer the requests in them."""
        if len(data) == HEADER_LENGTH + _NORMAL and data.startswith(self._head):
            read = self._reads.get(data[11:])
            if read is not None:
                try:
                    value = read(self._association)  # type: ignore[arg-type] # there is one when the head matches
                except (HeadendError, Refused):
                    value = b""
                if 0 < len(value) < len(self._replies):
                    self._link.write(self._replies[len(value)] + data[10:11] + b"\x00" + value)
                    return
        elif self._hdlc is not None:
            found = self._hdlc.receive_apdu(data)
            if found is not None:
                answer = self._answer(*found)
                if answer is not None:
                    self._link.write(self._hdlc.reply(answer))
                else:
                    self._take_request(data[found[1] : found[2]])
                return
        elif data.startswith(self._list_head) and _is_frame(data):
            answer = self._answer(data, HEADER_LENGTH, len(data))
            if answer is not None:
                self._link.write(VERSION + data[4:6] + data[2:4] + len(answer).to_bytes(2, "big") + answer)
                return
        self._receive(data)

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - shape of Receiver
        """The link is gone, and the association with it."""
        self._framing = self._hdlc = self._current = self._association = None
        self._framings = ()
        if self._silence is not None:
            self._silence.stop()
        self._conversations.clear()

    # --- the fast way ---

    def _answer(self, data: bytes, start: int, end: int) -> bytes | None:
        """The answer to a GET of attributes that are in the table; None when it is something else."""
        association, reads = self._association, self._reads
        kind = data[start : start + 2]
        if association is None:
            return None
        try:
            if kind == _GET_NORMAL and end - start == _NORMAL:
                value = reads[data[start + 3 : end]](association)
                answer = b"\xc4\x01" + data[start + 2 : start + 3] + b"\x00" + value
            elif kind == _GET_WITH_LIST and association.with_list:
                items = start + _LIST_HEAD
                if end - items != data[start + 3] * _LIST_ITEM or data[start + 3] > 0x7F:
                    return None
                keys = [data[at : at + _LIST_ITEM] for at in range(items, end, _LIST_ITEM)]
                values = [reads[key](association) for key in keys]
                answer = b"\xc4\x03" + b"\x00".join([data[start + 2 : items], *values])
            else:
                return None
        except (HeadendError, Refused, LookupError):
            return None
        return answer if len(answer) <= association.max_send_pdu else None

    # --- the general way ---

    def _receive(self, data: bytes) -> None:
        if self._opening is not None or (is_call(data) and not any(framing.is_open for framing in self._framings)):
            self._opening = self._opening or MeterOpening(self._link, self._model.identity)
            taken = self._opening.take(data)
            if taken is None:
                return
            data, self._opening = taken, None
        for framing in self._framings or self._open(data):
            try:
                framing.receive_data(data)
            except RemoteProtocolError:
                self._link.abort()
                return
            if not self._take_all(framing):
                return
        self._flush()

    def _take_all(self, framing: WrapperFraming | HdlcConnection) -> bool:
        """Take what a framing has received; False when the link has ended by it."""
        while self._framings:
            try:
                received = framing.next_event()
            except RemoteProtocolError:
                if isinstance(framing, WrapperFraming):
                    self._link.abort()
                    return False
                continue
            if received is NEED_DATA:
                break
            self._take(framing, received)
        return True

    def _open(self, data: bytes) -> Sequence[WrapperFraming | HdlcConnection]:
        """The framing that the client speaks, by its first octet; a meter with HDLC passes over noise.

        Without wrapper there is an AARQ at first, or any APDU of an association that stands already.

        In HDLC each logical device is a station of its own, which hears only what is said to it.
        """
        addressing = self._parameters.addressing
        bare = FIRST_OCTETS if self._parameters.preset is not None else {_AARQ}
        if data[0] in bare or (data[0] == VERSION[0] and addressing.bare):
            self._framings = (addressing.make_bare_server(),)
        elif data[0] == VERSION[0]:
            own = addressing.server if len(self._devices) == 1 else None
            self._framings = (WrapperFraming(Role.SERVER, server_sap=own),)
        else:
            self._framings = tuple(replace(addressing, server=sap).make_hdlc_server() for sap in sorted(self._devices))
        return self._framings

    def _flush(self) -> None:
        """Send what waits, and see whether the fast way is open."""
        framing, current, association = self._framing, self._current, self._association
        octets = b"".join([each.data_to_send() for each in self._framings])
        self._head = self._list_head = _NEVER
        self._hdlc = None
        if association is not None and current is not None and current.is_open and current.is_plain:
            self._reads = current.view.reads
            if isinstance(framing, HdlcConnection):
                self._hdlc = framing
            elif framing is not None and framing.is_idle:
                client_sap, server_sap = association.client_sap, association.server_sap
                self._head, self._list_head = _request_heads(client_sap, server_sap)
                self._replies = _answer_heads(client_sap, server_sap, min(_SHORT, association.max_send_pdu - 3))
        if octets:
            self._link.write(octets)

    def _take(self, framing: WrapperFraming | HdlcConnection, received: FramingEvent) -> None:
        """One event of the framing. A model that fails in the middle of an answer costs the link."""
        try:
            self._handle(framing, received)
        except HeadendError:
            self._link.abort()

    def _handle(self, framing: WrapperFraming | HdlcConnection, received: FramingEvent) -> None:
        if isinstance(received, LinkReleased):
            for key, ended in list(self._conversations.items()):
                if ended.framing is framing:
                    ended.release(received)
                    del self._conversations[key]
            if self._framing is framing:
                self._current = self._association = None
            if self._silence is not None and not any(each.is_open for each in self._framings):
                self._silence.stop()
                self._silence = None
        elif isinstance(received, LinkOpened) and self._silence is None and self._parameters.inactivity:
            self._silence = Silence(self._link, self._parameters.inactivity, self._forget)
        if not isinstance(received, ApduReceived) or received.unsolicited:
            return
        shift = 14 if isinstance(framing, HdlcConnection) else 0
        client_sap, server_sap = key = received.source >> shift, received.destination >> shift
        if server_sap not in self._devices:
            return
        conversation = self._conversations.get(key)
        if conversation is None:
            conversation = MeterConversation(framing, client_sap, server_sap, self._model, self._file, self._parameters)
        try:
            conversation.take(received)
        finally:
            if conversation.is_over:
                self._conversations.pop(key, None)
            else:
                self._conversations[key] = conversation
            self._framing, self._current, self._association = framing, conversation, conversation.association

    def _forget(self) -> None:
        """The client was silent for too long: its link is over, and what it does next is answered with DM."""
        for framing in self._framings:
            framing.close()
            self._take_all(framing)
        self._flush()

    def _take_request(self, apdu: bytes) -> None:
        """An APDU that was taken from its frame the fast way."""
        association, framing = self._association, self._framing
        if association is not None and framing is not None:
            saps = association.client_sap << 14, association.server_sap << 14
            self._take(framing, ApduReceived(apdu, *saps))
        self._flush()

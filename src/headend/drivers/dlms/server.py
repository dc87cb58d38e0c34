"""The meter's side: a virtual meter on a link. No task, no timer; an association exists only while somebody has one.

There are two ways for a request. The fast one answers a GET of an open association from the octets in which it came:
the descriptor is looked up in the table of the meter file, and one frame is written. Everything else goes through framing
and connection, which know all cases; both ways give the same octets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_conversation import MeterConversation
from headend.drivers.dlms.meter_file import MeterFile, meter_file
from headend.drivers.dlms.meter_security import client_of, setup_of
from headend.errors import HeadendError, LinkError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, FramingEvent, LinkReleased, Role
from headend.protocols.hdlc import HdlcConnection
from headend.protocols.wrapper import HEADER_LENGTH, VERSION, WrapperFraming, wrap

if TYPE_CHECKING:
    from headend.drivers.base import MeterModel
    from headend.drivers.dlms.meter_objects import Association
    from headend.drivers.dlms.parameters import Parameters
    from headend.transport.link import Link

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
    file = meter_file(model.profile)
    parameters = file.parameters(frozenset(model.params.items()))
    if setup_of(model, client_of(parameters)) is not None:  # says now what is missing or wrong
        file = meter_file(model.profile, secured=True)
    link.set_receiver(MeterLink(link, model, file, parameters))


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
        "_association", "_conversations", "_current", "_file", "_framing", "_hdlc", "_head", "_link", "_list_head", "_model",
        "_parameters", "_reads", "_replies",
    )  # fmt: skip

    def __init__(self, link: Link, model: MeterModel, file: MeterFile, parameters: Parameters) -> None:
        self._link = link
        self._model = model
        self._file = file
        self._reads = file.reads
        self._parameters = parameters
        self._framing: WrapperFraming | HdlcConnection | None = None
        self._conversations: dict[int, MeterConversation] = {}  # by client
        self._current: MeterConversation | None = None  # that of the last APDU
        self._association: Association | None = None
        self._head = self._list_head = _NEVER  # of the wrapper frames that may be answered the fast way
        self._hdlc: HdlcConnection | None = None  # while its frames may
        self._replies: tuple[bytes, ...] = ()

    def data_received(self, data: bytes) -> None:
        """Octets came in: answer the requests in them."""
        if len(data) == HEADER_LENGTH + _NORMAL and data.startswith(self._head):
            read = self._reads.get(data[11:])
            if read is not None:
                try:
                    value = read(self._association)  # type: ignore[arg-type] # there is one when the head matches
                except HeadendError:
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
        except (HeadendError, LookupError):
            return None
        return answer if len(answer) <= association.max_send_pdu else None

    # --- the general way ---

    def _receive(self, data: bytes) -> None:
        framing = self._framing
        if framing is None:
            framing = self._open(data)
        try:
            framing.receive_data(data)
        except RemoteProtocolError:
            self._link.abort()
            return
        while self._framing is not None:
            try:
                received = framing.next_event()
            except RemoteProtocolError:
                if isinstance(framing, WrapperFraming):
                    self._link.abort()
                    return
                continue
            if received is NEED_DATA:
                break
            self._take(received)
        self._flush()

    def _open(self, data: bytes) -> WrapperFraming | HdlcConnection:
        """The framing that the client speaks, by its first octet; a meter with HDLC passes over noise."""
        addressing = self._parameters.addressing
        if data[:1] == VERSION[:1]:
            framing: WrapperFraming | HdlcConnection = WrapperFraming(Role.SERVER, server_sap=addressing.server)
        else:
            framing = addressing.make_hdlc_server()
        self._framing = framing
        return framing

    def _flush(self) -> None:
        """Send what waits, and see whether the fast way is open."""
        framing, current, association = self._framing, self._current, self._association
        if framing is None:
            return
        octets = framing.data_to_send()
        self._head = self._list_head = _NEVER
        self._hdlc = None
        if association is not None and current is not None and current.is_open and current.is_plain:
            if isinstance(framing, HdlcConnection):
                self._hdlc = framing
            elif framing.is_idle:
                client_sap, server_sap = association.client_sap, association.server_sap
                frame = wrap(_GET_NORMAL + bytes(_NORMAL - 2), client_sap, server_sap)
                self._head = frame[: HEADER_LENGTH + 2]
                self._list_head = frame[:6]
                self._replies = _answer_heads(client_sap, server_sap, min(_SHORT, association.max_send_pdu - 3))
        if octets:
            self._link.write(octets)

    def _take(self, received: FramingEvent) -> None:
        """One event of the framing. A model that fails in the middle of an answer costs the link."""
        try:
            self._handle(received)
        except HeadendError:
            self._link.abort()

    def _handle(self, received: FramingEvent) -> None:
        framing = self._framing
        if framing is None:
            return
        if isinstance(received, LinkReleased):
            for ended in self._conversations.values():
                ended.release(received)
            self._conversations.clear()
            self._current = self._association = None
        if not isinstance(received, ApduReceived) or received.unsolicited:
            return
        hdlc = isinstance(framing, HdlcConnection)
        client_sap = received.source >> 14 if hdlc else received.source
        conversation = self._conversations.get(client_sap)
        if conversation is None:
            conversation = MeterConversation(framing, client_sap, self._model, self._file, self._parameters)
        try:
            conversation.take(received)
        finally:
            if conversation.is_over:
                self._conversations.pop(client_sap, None)
            else:
                self._conversations[client_sap] = conversation
            self._current, self._association = conversation, conversation.association

    def _take_request(self, apdu: bytes) -> None:
        """An APDU that was taken from its frame the fast way."""
        client_sap = self._association.client_sap if self._association is not None else 0
        self._take(ApduReceived(apdu, client_sap << 14, 0))
        self._flush()

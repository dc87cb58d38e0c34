"""One HDLC link as client or meter: opening, numbering, acknowledging, releasing; a `Framing` for DLMS."""

from __future__ import annotations

from typing import Final

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, FramingEvent, LinkOpened, LinkReleased, NeedData, Role
from headend.protocols.hdlc.address import Address
from headend.protocols.hdlc.crc import RESIDUE, fcs16
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import (
    FINAL,
    FLAG,
    MAX_LENGTH,
    SEGMENTED,
    TYPE_3,
    Frame,
    Kind,
    build_frame,
    build_header,
    max_information,
)
from headend.protocols.hdlc.parameters import DEFAULT_LIMITS, Limits, decode_limits, encode_limits
from headend.protocols.hdlc.prepared import PreparedFrames
from headend.protocols.hdlc.rejection import INFORMATION_LENGTH, RECEIVE_NUMBER, encode_rejection, explain_rejection
from headend.protocols.hdlc.segmentation import LLC_SENT, LLC_SIZE, Assembly, split_apdu
from headend.protocols.hdlc.state import TRANSITIONS, Action, Call, State
from headend.protocols.hdlc.window import Window

_CONNECTED: Final = State.CONNECTED
_PEER: Final = {Role.CLIENT: Role.SERVER, Role.SERVER: Role.CLIENT}


class HdlcConnection:
    """Carries APDUs between one client and one meter.

    Several meters may share the wire: frames of others are passed over in silence. There is no timer: when the answer
    stays away for too long, the owner of a client calls `retransmit`. Half-duplex throughout: who has sent a frame with
    the P/F bit waits for one. A meter may take its time to answer an APDU; a second poll meanwhile is answered with RR.
    """

    # fmt: off
    __slots__ = (
        "_addresses", "_any_client", "_assembly", "_client", "_events", "_extractor", "_incoming", "_information",
        "_limits", "_llc", "_my_limits", "_output", "_peer_busy", "_peer_llc", "_recovering", "_server", "_size", "_state",
        "_turn", "_ui_assembly", "_window", "role",
    )
    # fmt: on

    def __init__(
        self, role: Role, *, client: Address | None = None, server: Address, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """`limits` are our own, as proposed in SNRM or UA. A meter without `client` serves whichever opens the link."""
        if role is Role.CLIENT and client is None:
            raise LocalProtocolError("an HDLC client needs an address")
        self.role = role
        self._any_client = client is None
        self._my_limits = limits
        self._llc, self._peer_llc = LLC_SENT[role], LLC_SENT[_PEER[role]]
        self._state = State.DISCONNECTED
        self._extractor = FrameExtractor()
        self._events: list[FramingEvent] = []
        self._output = bytearray()
        self._assembly = Assembly(llc_required=True)
        self._ui_assembly = Assembly(llc_required=False)
        self._window = Window()
        self._set_stations(client or Address(0), server)
        self._reset(limits)

    def _set_stations(self, client: Address, server: Address) -> None:
        self._client, self._server = client, server
        to_server, to_client = server.encode() + client.encode(), client.encode() + server.encode()
        ours = self.role is Role.CLIENT
        self._addresses, self._incoming = (to_server, to_client) if ours else (to_client, to_server)
        self._information = 6 + len(self._incoming)  # where it begins in a received frame

    def _reset(self, limits: Limits) -> None:
        """Begin a link, or end it: all numbers zero, nothing under way, nobody's turn."""
        self._limits = limits
        self._size = min(limits.max_information_transmit, max_information(self._addresses))
        self._window.reset(limits.window_transmit)
        self._turn = self._peer_busy = self._recovering = False
        self._assembly.data.clear()

    @property
    def state(self) -> State:
        """State of the link."""
        return self._state

    @property
    def is_open(self) -> bool:
        """True when APDUs can be sent."""
        return self._state is State.CONNECTED

    @property
    def peer_is_busy(self) -> bool:
        """True after RNR: what is to be sent waits until the peer says RR, for which a client asks by `retransmit`."""
        return self._peer_busy

    @property
    def limits(self) -> Limits:
        """What was negotiated, or our own limits while there is no link."""
        return self._limits

    # What our side asks for ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Client: queue SNRM; LinkOpened, or LinkReleased when the meter refuses, follows from `next_event`."""
        self._perform(Call.OPEN)

    def close(self) -> None:
        """Client: queue DISC, in any state, for a lost link may stand at the other end; LinkReleased follows.

        A meter just forgets the link, and answers the next poll with DM.
        """
        self._perform(Call.CLOSE)

    def send_apdu(self, apdu: bytes) -> None:
        """Queue one APDU, segmented as negotiated; LocalProtocolError when the link is not open."""
        self._perform(Call.SEND, apdu)

    def pass_turn(self) -> None:
        """Let the other side go on, with an RR, when it is our turn and we have nothing to say."""
        if self.is_open and self._turn and not self._flush():
            self._poll()

    def retransmit(self) -> None:
        """Client, when the peer has been silent too long: repeat what is unanswered, or poll with RR for what is missing.

        An incomplete frame received so far is given up. LocalProtocolError when there is nothing to wait for.
        """
        self._perform(Call.RETRANSMIT)

    def send_unsolicited(self, apdu: bytes, client: Address | None = None) -> None:
        """Queue one APDU in UI frames, which need no link: a push of a meter (to `client`), a broadcast of a client."""
        addresses = self._addresses if client is None else client.encode() + self._server.encode()
        control = Kind.UI.value | (FINAL if self.role is Role.SERVER else 0)
        for information, more in split_apdu(self._llc, apdu, self._size):
            self._output += build_frame(addresses, control, information, SEGMENTED if more else 0)

    def data_to_send(self) -> bytes:
        """Octets to write now; empty when there are none."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def _perform(self, call: Call, apdu: bytes = b"") -> None:
        transition = TRANSITIONS[self.role].get((self._state, call))
        if transition is None:
            raise LocalProtocolError(f"HDLC {self.role.value}, {self._state.value}: cannot {call.value}")
        action, self._state = transition
        match action:
            case Action.SEND_SNRM:
                self._reset(self._my_limits)
                self._extractor.abandon()
                proposal = b"" if self._my_limits == DEFAULT_LIMITS else encode_limits(self._my_limits)
                self._send_unnumbered(Kind.SNRM, self._addresses, proposal)
            case Action.SEND_DISC:
                self._reset(self._my_limits)
                self._extractor.abandon()
                self._send_unnumbered(Kind.DISC, self._addresses)
            case Action.QUEUE:
                self._window.outgoing += split_apdu(self._llc, apdu, self._size)
                self._flush()
            case Action.RECOVER:
                self._recover()
            case Action.CLOSED:
                self._released("closed by this side")
            case _:  # IGNORE
                pass

    # What the peer sends ------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Hand over received octets; RemoteProtocolError when the bounded buffer overflows."""
        self._extractor.receive_data(data)

    def next_event(self) -> FramingEvent | NeedData:
        """LinkOpened, ApduReceived, LinkReleased or NEED_DATA; flush `data_to_send` after each call.

        RemoteProtocolError for wrong octets, which are dropped, and for a frame that may not come now.
        """
        while not self._events:
            try:
                frame = self._extractor.next_frame()
            except RemoteProtocolError:
                self._ui_assembly.data.clear()
                raise
            if frame is NEED_DATA:
                return NEED_DATA
            if self._concerns_us(frame):
                self._handle(frame)
        return self._events.pop(0)

    def _concerns_us(self, frame: Frame) -> bool:
        if self.role is Role.SERVER:
            if frame.kind is Kind.UI:
                return frame.destination.calls(self._server)
            if frame.source.is_reserved:
                return False
            anybody = self._any_client and (frame.kind is Kind.SNRM or self._state is State.DISCONNECTED)
            return frame.destination.matches(self._server) and (anybody or frame.source.matches(self._client))
        if frame.kind is Kind.UA and frame.source.matches(self._client):
            # There are meters that answer SNRM with the addresses the wrong way round; no echo of ours is a UA.
            return frame.destination.matches(self._server)
        addressed = frame.kind is Kind.UI or frame.destination.matches(self._client)
        return addressed and frame.source.matches(self._server)

    def _handle(self, frame: Frame) -> None:
        transition = TRANSITIONS[self.role].get((self._state, frame.kind))
        if transition is None:
            raise RemoteProtocolError(
                f"HDLC {self.role.value}, {self._state.value}: {frame.kind.name} may not be received"
            )
        action, state = transition
        match action:
            case Action.RECEIVE_I | Action.RECEIVE_S if self.role is Role.SERVER and (wrong := self._wrong(frame)):
                self._reject(frame, wrong)
                state = State.DISCONNECTED
            case Action.RECEIVE_I:
                self._receive_i(frame)
            case Action.RECEIVE_S:
                self._receive_s(frame)
            case Action.RECEIVE_UI:
                self._deliver(self._ui_assembly.add(frame.information, more=frame.segmented), frame)
            case Action.OPENED:
                self._opened(self._my_limits.negotiate(decode_limits(frame.information)))
            case Action.ACCEPT:
                self._accept(frame)
            case Action.RELEASE:
                self._released("DISC received")
                self._answer(Kind.UA, frame)
            case Action.RELEASED:
                self._released("DM received: the meter is disconnected")
            case Action.REFUSED:
                self._released("DM received: the meter refuses the link")
            case Action.CLOSED:
                self._released("closed by this side")
            case Action.ANSWER_DM:
                self._answer(Kind.DM, frame)
            case Action.REJECTED:
                self._released(f"FRMR received: {explain_rejection(frame.information)}")
            case _:  # IGNORE
                pass
        self._state = state

    def _opened(self, limits: Limits) -> None:
        self._reset(limits)
        self._turn = self.role is Role.CLIENT
        self._events.append(LinkOpened())

    def _released(self, reason: str) -> None:
        self._reset(self._my_limits)
        self._events.append(LinkReleased(reason))

    def _accept(self, frame: Frame) -> None:
        limits = self._my_limits.negotiate(decode_limits(frame.information))
        if self.is_open:
            self._released("SNRM received: the client begins anew")
        self._set_stations(frame.source, frame.destination)
        self._opened(limits)
        self._answer(Kind.UA, frame, encode_limits(limits))

    def _answer(self, kind: Kind, frame: Frame, information: bytes = b"") -> None:
        """Answer a poll; a command without the poll bit wants no answer."""
        if frame.final:
            self._send_unnumbered(kind, frame.source.encode() + frame.destination.encode(), information)

    def _wrong(self, frame: Frame) -> int:
        """What a meter finds wrong with a numbered frame, as FRMR says it; 0: nothing."""
        if not self._window.is_valid(frame.receive_sequence):
            return RECEIVE_NUMBER
        return INFORMATION_LENGTH if len(frame.information) > self._limits.max_information_receive else 0

    def _reject(self, frame: Frame, wrong: int) -> None:
        """Say so, if we may speak, and forget the link: the client has to begin anew."""
        self._answer(
            Kind.FRMR, frame, encode_rejection(frame, self._window.send_next, self._window.receive_next, wrong)
        )
        self._released("a frame of the client was rejected (FRMR)")

    def _deliver(self, apdu: bytes | None, frame: Frame) -> None:
        if apdu:
            unsolicited = frame.kind is Kind.UI
            self._events.append(ApduReceived(apdu, frame.source.packed, frame.destination.packed, unsolicited))

    # Numbered frames ----------------------------------------------------------------------------------------------

    def _receive_i(self, frame: Frame) -> None:
        window = self._window
        ahead = (frame.send_sequence - window.receive_next) & 7
        if ahead:
            # A repetition of what we have, or a frame after one that was lost: not taken, and the peer told where we are.
            acknowledged = window.is_valid(frame.receive_sequence) and window.acknowledge(frame.receive_sequence)
            repeated = ahead >= self._limits.window_receive
            if frame.final and (acknowledged or not repeated or self.role is Role.SERVER):
                self._proceed(progress=acknowledged, poll=True)
            return
        window.acknowledge(frame.receive_sequence)
        window.receive_next = (window.receive_next + 1) & 7
        if frame.final:
            self._turn = True
            self._peer_busy = False
        apdu = self._assembly.add(frame.information, more=frame.segmented)
        self._deliver(apdu, frame)
        if frame.final:
            self._proceed(progress=True, poll=not apdu)

    def _receive_s(self, frame: Frame) -> None:
        acknowledged = self._window.acknowledge(frame.receive_sequence)
        resumed = self._peer_busy and frame.kind is Kind.RR
        self._peer_busy = frame.kind is Kind.RNR
        if frame.final:
            progress = acknowledged or resumed
            wanting = progress or bool(self._assembly.data) or self.role is Role.SERVER
            self._proceed(progress=progress, poll=wanting and not (self._peer_busy and self.role is Role.CLIENT))

    def _proceed(self, *, progress: bool, poll: bool) -> None:
        """It is our turn. Send what is left, from what the peer has not got on; else, if `poll`, an RR.

        A client does so without progress only once: answers to repeated polls must not breed. After that the deadline
        of its owner decides. A meter owes an answer to every poll.
        """
        self._turn = True
        if self.role is Role.CLIENT and not progress and self._recovering:
            return
        self._window.go_back()
        if not self._flush() and poll:
            self._poll()
        self._recovering = not progress and not self._turn

    def _recover(self) -> None:
        self._extractor.abandon()
        self._turn = True
        self._recovering = False
        self._window.go_back()
        if not self._flush():
            self._poll()

    def _flush(self) -> bool:
        """Send I-frames up to the window; false when there are none, or may be none, to send."""
        if not self._turn or self._peer_busy:
            return False
        burst = self._window.take_burst()
        for control, (information, more) in burst:
            self._output += build_frame(self._addresses, control, information, SEGMENTED if more else 0)
        self._turn = not burst
        return bool(burst)

    def _poll(self) -> None:
        """Send RR: a client asks to go on, a meter says that it has nothing."""
        self._output += build_frame(self._addresses, self._window.receive_next << 5 | FINAL | Kind.RR.value)
        self._turn = False

    def _send_unnumbered(self, kind: Kind, addresses: bytes, information: bytes = b"") -> None:
        self._output += build_frame(addresses, kind.value | FINAL, information)

    # The hot path: the same, without objects ----------------------------------------------------------------------

    def prepare(self, apdu: bytes) -> PreparedFrames:
        """An APDU that will be sent again and again by `request`, on any connection with our addresses."""
        return PreparedFrames(self._llc, apdu, self._addresses)

    def request(self, prepared: PreparedFrames) -> bytes:
        """`send_apdu` and `data_to_send` in one, without building anything when one frame suffices and may go now."""
        window = self._window
        if (
            not self._turn
            or window.outgoing
            or self._output
            or self._peer_busy
            or prepared.size > self._size
            or prepared.addresses != self._addresses
        ):
            self.send_apdu(prepared.apdu)
            return self.data_to_send()
        self._turn = False
        control = window.receive_next << 5 | FINAL | window.send_next << 1
        window.add_sent(prepared.segment)
        return prepared.frames.get(control) or prepared.build(control)

    def reply(self, apdu: bytes) -> bytes:
        """`send_apdu` and `data_to_send` in one, for an APDU that is sent once."""
        window = self._window
        if not self._turn or window.outgoing or self._output or self._peer_busy or len(apdu) + LLC_SIZE > self._size:
            self.send_apdu(apdu)
            return self.data_to_send()
        self._turn = False
        control = window.receive_next << 5 | FINAL | window.send_next << 1
        information = self._llc + apdu
        window.add_sent((information, False))
        return build_frame(self._addresses, control, information)

    def receive_apdu(self, data: bytes) -> tuple[bytes, int, int] | None:
        """`receive_data` and `next_event` in one for the common case; the buffer, start and end of the APDU in it.

        The common case: `data` is exactly one good I-frame for us, final, not segmented, the next in order, and
        acknowledges all that we have sent. In any other case None, and nothing has happened: go the general way.
        """
        window = self._window
        length = len(data) - 2
        control = window.send_next << 5 | FINAL | window.receive_next << 1
        information = self._information
        if (
            self._state is not _CONNECTED
            or self._assembly.data
            or self._events
            or not self._extractor.idle
            or len(window.outgoing) != window.unacknowledged
            or not information + LLC_SIZE + 2 <= length <= MAX_LENGTH
            or data[-1] != FLAG
            or not data.startswith(build_header(self._incoming, control, TYPE_3 | length))
            or not data.startswith(self._peer_llc, information)
            or fcs16(data[information:-1], RESIDUE) != RESIDUE
        ):
            return None
        window.take_all_acknowledged()
        self._turn = True
        self._recovering = self._peer_busy = False
        return data, information + LLC_SIZE, length - 1

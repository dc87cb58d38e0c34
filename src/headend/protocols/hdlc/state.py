"""The life of an HDLC link: every state, everything that can happen, and what is done then (IEC 62056-46, 6.4.4).

The client is the primary station, the meter the secondary one (unbalanced, normal response mode): the client opens and
closes the link and polls; the meter speaks only when polled, UI frames apart.

```text
client   DISCONNECTED ──open: SNRM──▶ CONNECTING ──UA──▶ CONNECTED ──close: DISC──▶ DISCONNECTING ──UA, DM──▶ DISCONNECTED
meter    DISCONNECTED ──SNRM: UA──▶ CONNECTED ──DISC: UA──▶ DISCONNECTED          (SNRM while connected: begins anew)
```

What is not in `TRANSITIONS` is refused: asked for by our side, it is a LocalProtocolError; received, a frame that this
role may never get, a RemoteProtocolError that changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, TypeAlias

from headend.protocols.base import Role
from headend.protocols.hdlc.frame import Kind


class State(enum.Enum):
    """State of the link; the meter knows only the first and the third."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"


class Call(enum.Enum):
    """What our own side asks for."""

    OPEN = "open"
    CLOSE = "close"
    SEND = "send"
    RETRANSMIT = "retransmit"


class Action(enum.Enum):
    """What is done on the way to the next state."""

    SEND_SNRM = "send_snrm"
    SEND_DISC = "send_disc"
    QUEUE = "queue"
    RECOVER = "recover"
    OPENED = "opened"
    RELEASED = "released"
    REFUSED = "refused"
    CLOSED = "closed"
    REJECTED = "rejected"
    ACCEPT = "accept"
    RELEASE = "release"
    ANSWER_DM = "answer_dm"
    RECEIVE_I = "receive_i"
    RECEIVE_S = "receive_s"
    RECEIVE_UI = "receive_ui"
    IGNORE = "ignore"


Input: TypeAlias = Kind | Call
Transitions: TypeAlias = Mapping[tuple[State, Input], tuple[Action, State]]

_OFF: Final = State.DISCONNECTED
_OPENING: Final = State.CONNECTING
_ON: Final = State.CONNECTED
_CLOSING: Final = State.DISCONNECTING

TRANSITIONS: Final[Mapping[Role, Transitions]] = {
    Role.CLIENT: {
        (_OFF, Call.OPEN): (Action.SEND_SNRM, _OPENING),
        (_OFF, Call.CLOSE): (Action.SEND_DISC, _CLOSING),  # ends a link that somebody else has left open
        (_OFF, Kind.UI): (Action.RECEIVE_UI, _OFF),
        (_OFF, Kind.I): (Action.IGNORE, _OFF),
        (_OFF, Kind.RR): (Action.IGNORE, _OFF),
        (_OFF, Kind.RNR): (Action.IGNORE, _OFF),
        (_OFF, Kind.UA): (Action.IGNORE, _OFF),
        (_OFF, Kind.DM): (Action.IGNORE, _OFF),
        (_OFF, Kind.FRMR): (Action.IGNORE, _OFF),
        (_OPENING, Call.CLOSE): (Action.SEND_DISC, _CLOSING),
        (_OPENING, Call.RETRANSMIT): (Action.SEND_SNRM, _OPENING),
        (_OPENING, Kind.UA): (Action.OPENED, _ON),
        (_OPENING, Kind.DM): (Action.REFUSED, _OFF),
        (_OPENING, Kind.FRMR): (Action.REJECTED, _OFF),
        (_OPENING, Kind.UI): (Action.RECEIVE_UI, _OPENING),
        (_OPENING, Kind.I): (Action.IGNORE, _OPENING),  # the rest of an earlier link
        (_OPENING, Kind.RR): (Action.IGNORE, _OPENING),
        (_OPENING, Kind.RNR): (Action.IGNORE, _OPENING),
        (_ON, Call.SEND): (Action.QUEUE, _ON),
        (_ON, Call.CLOSE): (Action.SEND_DISC, _CLOSING),
        (_ON, Call.RETRANSMIT): (Action.RECOVER, _ON),
        (_ON, Kind.I): (Action.RECEIVE_I, _ON),
        (_ON, Kind.RR): (Action.RECEIVE_S, _ON),
        (_ON, Kind.RNR): (Action.RECEIVE_S, _ON),
        (_ON, Kind.UI): (Action.RECEIVE_UI, _ON),
        (_ON, Kind.UA): (Action.IGNORE, _ON),  # the answer to a repeated SNRM
        (_ON, Kind.DM): (Action.RELEASED, _OFF),
        (_ON, Kind.FRMR): (Action.REJECTED, _OFF),
        (_CLOSING, Call.CLOSE): (Action.IGNORE, _CLOSING),
        (_CLOSING, Call.RETRANSMIT): (Action.SEND_DISC, _CLOSING),
        (_CLOSING, Kind.UA): (Action.CLOSED, _OFF),
        (_CLOSING, Kind.DM): (Action.CLOSED, _OFF),
        (_CLOSING, Kind.FRMR): (Action.REJECTED, _OFF),
        (_CLOSING, Kind.UI): (Action.RECEIVE_UI, _CLOSING),
        (_CLOSING, Kind.I): (Action.IGNORE, _CLOSING),
        (_CLOSING, Kind.RR): (Action.IGNORE, _CLOSING),
        (_CLOSING, Kind.RNR): (Action.IGNORE, _CLOSING),
    },
    Role.SERVER: {
        (_OFF, Kind.SNRM): (Action.ACCEPT, _ON),
        (_OFF, Kind.DISC): (Action.ANSWER_DM, _OFF),
        (_OFF, Kind.I): (Action.ANSWER_DM, _OFF),
        (_OFF, Kind.RR): (Action.ANSWER_DM, _OFF),
        (_OFF, Kind.RNR): (Action.ANSWER_DM, _OFF),
        (_OFF, Kind.UI): (Action.RECEIVE_UI, _OFF),
        (_OFF, Call.CLOSE): (Action.IGNORE, _OFF),
        (_ON, Call.SEND): (Action.QUEUE, _ON),
        (_ON, Call.CLOSE): (Action.CLOSED, _OFF),  # without a word: the next poll is answered with DM
        (_ON, Kind.SNRM): (Action.ACCEPT, _ON),
        (_ON, Kind.DISC): (Action.RELEASE, _OFF),
        (_ON, Kind.I): (Action.RECEIVE_I, _ON),
        (_ON, Kind.RR): (Action.RECEIVE_S, _ON),
        (_ON, Kind.RNR): (Action.RECEIVE_S, _ON),
        (_ON, Kind.UI): (Action.RECEIVE_UI, _ON),
    },
}

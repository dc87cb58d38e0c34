"""The conversation of one association: states, messages and every transition, for both roles.

Client and server share one conversation, so they share one table: each side makes the same step, one when it sends the message
and the other when it receives it. `SENDER` says which side may send what. There is one request at a time.

```text
            AARQ              AARE_ACCEPTED             REQUEST
  IDLE ─────────▶ ASSOCIATING ─────────▶ ASSOCIATED ───────────▶ REQUESTED
   ▲ ▲                 │                 ▲   │    ◀───────────    │    ▲
   │ └─AARE_REFUSED────┘                 │   │   RESPONSE    BLOCK│    │NEXT
   │                                     │   │RLRQ                ▼    │
   └──────────────────── RLRE ─── RELEASING ◀┘                   BLOCKS
```

BLOCKS is the pause of a block transfer: the server has sent a block that is not the last, or has taken one that is not the
last, and the client goes on with the next one, or may give the rest up by asking for something else. Each block of a long
request of short-name referencing is a REQUEST of its own, which the server answers with its number. An UNCONFIRMED request
has no answer. An AARQ on an open association begins a new one, because a client that lost its link without a release has no
other way. A server may answer a release that it knows nothing of, and may report an EXCEPTION at any time; what it answers
is then over. A NOTIFICATION changes nothing.
"""

from __future__ import annotations

import enum
from typing import Final

from headend.protocols.base import Role


class State(enum.Enum):
    """Where the conversation is."""

    IDLE = "idle"
    ASSOCIATING = "associating"
    ASSOCIATED = "associated"
    REQUESTED = "requested"
    BLOCKS = "blocks"
    RELEASING = "releasing"

    __hash__ = object.__hash__  # members are singletons; the hash of Enum costs more than the rest of a step


class Message(enum.Enum):
    """What can be said, as far as the conversation cares."""

    AARQ = "AARQ"
    AARE_ACCEPTED = "AARE (accepted)"
    AARE_REFUSED = "AARE (refused)"
    REQUEST = "request"
    UNCONFIRMED = "request without an answer"
    BLOCK = "block of a transfer that goes on"
    NEXT = "next block, or request for it"
    RESPONSE = "response"
    EXCEPTION = "exception response"
    NOTIFICATION = "notification"
    RLRQ = "RLRQ"
    RLRE = "RLRE"

    __hash__ = object.__hash__


SENDER: Final = {
    Message.AARQ: Role.CLIENT,
    Message.AARE_ACCEPTED: Role.SERVER,
    Message.AARE_REFUSED: Role.SERVER,
    Message.REQUEST: Role.CLIENT,
    Message.UNCONFIRMED: Role.CLIENT,
    Message.BLOCK: Role.SERVER,
    Message.NEXT: Role.CLIENT,
    Message.RESPONSE: Role.SERVER,
    Message.EXCEPTION: Role.SERVER,
    Message.NOTIFICATION: Role.SERVER,
    Message.RLRQ: Role.CLIENT,
    Message.RLRE: Role.SERVER,
}

TRANSITIONS: Final[dict[State, dict[Message, State]]] = {
    State.IDLE: {
        Message.AARQ: State.ASSOCIATING,
        Message.RLRQ: State.RELEASING,
        Message.EXCEPTION: State.IDLE,
        Message.NOTIFICATION: State.IDLE,
    },
    State.ASSOCIATING: {
        Message.AARE_ACCEPTED: State.ASSOCIATED,
        Message.AARE_REFUSED: State.IDLE,
        Message.EXCEPTION: State.IDLE,
        Message.NOTIFICATION: State.ASSOCIATING,
    },
    State.ASSOCIATED: {
        Message.AARQ: State.ASSOCIATING,
        Message.REQUEST: State.REQUESTED,
        Message.UNCONFIRMED: State.ASSOCIATED,
        Message.NEXT: State.REQUESTED,
        Message.EXCEPTION: State.ASSOCIATED,
        Message.NOTIFICATION: State.ASSOCIATED,
        Message.RLRQ: State.RELEASING,
    },
    State.REQUESTED: {
        Message.BLOCK: State.BLOCKS,
        Message.RESPONSE: State.ASSOCIATED,
        Message.EXCEPTION: State.ASSOCIATED,
        Message.NOTIFICATION: State.REQUESTED,
    },
    State.BLOCKS: {
        Message.AARQ: State.ASSOCIATING,
        Message.REQUEST: State.REQUESTED,
        Message.UNCONFIRMED: State.ASSOCIATED,
        Message.NEXT: State.REQUESTED,
        Message.EXCEPTION: State.ASSOCIATED,
        Message.NOTIFICATION: State.BLOCKS,
        Message.RLRQ: State.RELEASING,
    },
    State.RELEASING: {
        Message.RLRE: State.IDLE,
        Message.EXCEPTION: State.IDLE,
        Message.NOTIFICATION: State.RELEASING,
    },
}

ACSE: Final = frozenset({Message.AARQ, Message.AARE_ACCEPTED, Message.AARE_REFUSED, Message.RLRQ, Message.RLRE})
"""Messages that are APDUs of ACSE."""

AWAITING: Final = frozenset({State.ASSOCIATING, State.REQUESTED, State.RELEASING})
"""States in which the server owes an answer."""


def step(state: State, message: Message) -> State | None:
    """The state after the message, or None when it may not be said now."""
    return TRANSITIONS[state].get(message)

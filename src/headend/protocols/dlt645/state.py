"""The conversation of DL/T 645: states, what can be said, and every transition, for both roles.

Head-end and meter share one conversation, so they share one table: each makes the same step, one when it sends and the other
when it receives. `SENDER` says which side may say what. There is one request at a time.

```text
          REQUEST, NEXT                 PART
  IDLE ─────────────────▶ REQUESTED ───────────▶ FOLLOWING
   ▲ ▲                     │     ▲                │     │
   │ └─ANSWER─REFUSAL──────┘     └─REQUEST──NEXT──┘     │
   └───────────────SILENCE, UNANSWERED──────────────────┘
```

FOLLOWING is the pause of a long answer: the meter has said that more follows, and the head-end asks for it, or asks for
something else. UNANSWERED is what nobody answers: a broadcast, or the time. SILENCE is a request that is over without an
answer: the head-end has waited long enough, or the meter was not meant.
"""

from __future__ import annotations

import enum
from typing import Final

from headend.protocols.base import Role


class State(enum.Enum):
    """Where the conversation is."""

    IDLE = "idle"
    REQUESTED = "requested"
    FOLLOWING = "following"

    __hash__ = object.__hash__  # members are singletons; the hash of Enum costs more than the rest of a step


class Message(enum.Enum):
    """What can be said, as far as the conversation cares."""

    REQUEST = "request"
    UNANSWERED = "request that nobody answers"
    NEXT = "request for what follows, or for the last part again"
    PART = "answer, more follows"
    ANSWER = "answer"
    REFUSAL = "refusal"
    SILENCE = "no answer"

    __hash__ = object.__hash__


SENDER: Final = {
    Message.REQUEST: Role.CLIENT,
    Message.UNANSWERED: Role.CLIENT,
    Message.NEXT: Role.CLIENT,
    Message.PART: Role.SERVER,
    Message.ANSWER: Role.SERVER,
    Message.REFUSAL: Role.SERVER,
}
"""Who says it; SILENCE is nobody's."""

TRANSITIONS: Final[dict[State, dict[Message, State]]] = {
    State.IDLE: {
        Message.REQUEST: State.REQUESTED,
        Message.UNANSWERED: State.IDLE,
        Message.NEXT: State.REQUESTED,
        Message.SILENCE: State.IDLE,
    },
    State.REQUESTED: {
        Message.PART: State.FOLLOWING,
        Message.ANSWER: State.IDLE,
        Message.REFUSAL: State.IDLE,
        Message.SILENCE: State.IDLE,
    },
    State.FOLLOWING: {
        Message.REQUEST: State.REQUESTED,
        Message.UNANSWERED: State.IDLE,
        Message.NEXT: State.REQUESTED,
        Message.SILENCE: State.IDLE,
    },
}


def step(state: State, message: Message) -> State | None:
    """The state after the message, or None when it may not be said now."""
    return TRANSITIONS[state].get(message)

"""The relay, for systems whose users only have a switch: command, confirmation, read-back."""

from __future__ import annotations

from typing import Final

import structlog

from headend.errors import HeadendError
from headend.model.access import Role
from headend.model.job import CommandKind
from headend.northbound.sink import Surroundings
from headend.northbound.topics import Request

SECONDS: Final = 60.0
"""that a command waits for its meter: a switch that turns an hour later helps nobody"""

log = structlog.get_logger(__name__)


def may_switch(around: Surroundings) -> bool:
    """Whether the role of a sink is enough for the relay."""
    return around.role is not None and around.role.includes(Role.DISPATCHER)


async def switch(around: Surroundings, meter_id: str, *, closed: bool) -> None:
    """Switch a relay, then read the meter: what is shown is what it says. What goes wrong is logged, and shown by nothing changing.

    A switch has no second step: where a command has to be confirmed by its code, whoever turned the switch has confirmed it. Where
    somebody else has to confirm it, it waits for that.
    """
    kind = CommandKind.RECONNECT if closed else CommandKind.DISCONNECT
    asked = Request(meter_id=meter_id, id="", method=kind.value, params={}, deadline=SECONDS)
    try:
        told = await around.answer(asked)
        match told:
            case {"confirmation": "required", "job": str(job), "code": str(code)} if code:
                await around.answer(
                    Request(meter_id=meter_id, id="", method="confirm", params={"job": job, "code": code})
                )
    except HeadendError as error:
        log.warning("a relay was not switched", sink=around.name, meter=meter_id, code=error.code, reason=str(error))
    except Exception:
        log.exception("a relay was not switched", sink=around.name, meter=meter_id)
    try:
        await around.answer(Request(meter_id=meter_id, id="", method="read", params={}))
    except HeadendError as error:
        log.warning("a relay was not read back", sink=around.name, meter=meter_id, code=error.code)
    except Exception:
        log.exception("a relay was not read back", sink=around.name, meter=meter_id)
